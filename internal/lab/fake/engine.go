package fake

import (
	"context"
	"slices"
	"strings"
	"sync"

	"sluice"
)

// Engine is a [sluice.Engine] in memory, for all servers of a cluster at once.
type Engine struct {
	Faults Faults

	mu      sync.Mutex
	records map[sluice.Namespace][]sluice.Record
	trimmed map[sluice.Namespace]int // how many records were forgotten
	owner   *engineTerm              // nil: nobody
	terms   uint64
	news    chan struct{} // closed at the next change
}

// The points of an engine.
const (
	EngineAppend = "engine.append" // before anything of an append is done
	EngineResult = "engine.result" // after the append is durable: the caller cannot know that
	EngineRead   = "engine.read"   // Heads, Owner, and before each batch of Follow
)

// NewEngine returns an engine that is empty and that nobody owns.
func NewEngine() *Engine {
	return &Engine{records: map[sluice.Namespace][]sluice.Record{}, trimmed: map[sluice.Namespace]int{}, news: make(chan struct{})}
}

var _ sluice.Engine = (*Engine)(nil)

func (e *Engine) changed() {
	close(e.news)
	e.news = make(chan struct{})
}

type engineTerm struct {
	e      *Engine
	who    sluice.Owner
	number uint64
	over   chan struct{}
}

// Own waits until nobody owns the log, and has this server own it.
func (e *Engine) Own(ctx context.Context, who sluice.Owner) (sluice.Term, error) {
	for {
		e.mu.Lock()
		if e.owner == nil {
			e.terms++
			e.owner = &engineTerm{e, who, e.terms, make(chan struct{})}
			t := e.owner
			e.changed()
			e.mu.Unlock()
			return t, nil
		}
		news := e.news
		e.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-news:
		}
	}
}

// Owner says who owns the log.
func (e *Engine) Owner(ctx context.Context) (sluice.Owner, uint64, error) {
	if err := e.Faults.pass(ctx, EngineRead); err != nil {
		return sluice.Owner{}, 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owner == nil {
		return sluice.Owner{}, 0, nil
	}
	return e.owner.who, e.owner.number, nil
}

// Expire ends the term of the owner as if nothing had been heard of it. The owner need not know: quiet keeps it from that.
func (e *Engine) Expire(quiet bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owner == nil {
		return
	}
	if !quiet {
		close(e.owner.over)
	}
	e.owner = nil
	e.changed()
}

// Lose forgets the last n records of a namespace, as an engine must not.
func (e *Engine) Lose(ns sluice.Namespace, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	have := e.records[ns]
	e.records[ns] = slices.Clip(have[:len(have)-n])
	e.changed()
}

func (t *engineTerm) Number() uint64        { return t.number }
func (t *engineTerm) Over() <-chan struct{} { return t.over }

// Lasts reports whether it goes on.
func (t *engineTerm) Lasts() bool {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	return t.e.owner == t
}

// Resign ends the term.
func (t *engineTerm) Resign(context.Context) error {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.owner == t {
		close(t.over)
		t.e.owner = nil
		t.e.changed()
	}
	return nil
}

// Append appends a record.
func (t *engineTerm) Append(ctx context.Context, r sluice.Record) error {
	if err := t.e.Faults.pass(ctx, EngineAppend); err != nil {
		return err
	}
	if err := t.add(r); err != nil {
		return err
	}
	return t.e.Faults.pass(ctx, EngineResult)
}

func (t *engineTerm) add(r sluice.Record) error {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.owner != t {
		return sluice.Errorf(sluice.Conflict, "this server does not own the log any more")
	}
	have := t.e.records[r.Namespace]
	var end sluice.Record
	if len(have) > 0 {
		end = have[len(have)-1]
	}
	if r.First != end.Last+1 || r.Prev != end.Hash {
		return sluice.Errorf(sluice.Conflict, "the log ends with event %d", end.Last)
	}
	r.Payload = slices.Clone(r.Payload)
	t.e.records[r.Namespace] = append(slices.Clip(have), r)
	t.e.changed()
	return nil
}

// Heads are the ends of all namespaces.
func (e *Engine) Heads(ctx context.Context) (out []sluice.Head, err error) {
	if err := e.Faults.pass(ctx, EngineRead); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, have := range e.records {
		if len(have) > 0 {
			out = append(out, have[len(have)-1].Head())
		}
	}
	slices.SortFunc(out, func(a, b sluice.Head) int { return strings.Compare(string(a.Namespace), string(b.Namespace)) })
	return out, nil
}

// Follow hands on records as they are, and then as they come.
func (e *Engine) Follow(ctx context.Context, after map[sluice.Namespace]uint64, visit func([]sluice.Record) error) error {
	seen := map[sluice.Namespace]uint64{}
	for ns, seq := range after {
		seen[ns] = seq
	}
	for {
		if err := e.Faults.pass(ctx, EngineRead); err != nil {
			return err
		}
		batch, news, err := e.behind(seen)
		if err == nil && len(batch) > 0 {
			err = visit(batch)
		}
		if err != nil {
			return err
		}
		for _, r := range batch {
			seen[r.Namespace] = r.Last
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

func (e *Engine) behind(seen map[sluice.Namespace]uint64) (batch []sluice.Record, news <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ns, have := range e.records {
		for i, r := range have {
			if r.Last <= seen[ns] {
				continue
			}
			if i < e.trimmed[ns] {
				return nil, nil, sluice.Errorf(sluice.NotFound, "event %d of the namespace %s is not kept any more", seen[ns]+1, ns)
			}
			r.Payload = slices.Clone(r.Payload)
			batch = append(batch, r)
		}
	}
	return batch, e.news, nil
}

// Trim forgets records.
func (e *Engine) Trim(_ context.Context, upTo []sluice.Head) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range upTo {
		for i, r := range e.records[h.Namespace] {
			if r.Last <= h.Seq {
				e.trimmed[h.Namespace] = max(e.trimmed[h.Namespace], i+1)
			}
		}
	}
	return nil
}
