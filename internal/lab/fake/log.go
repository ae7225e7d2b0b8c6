package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sluice"
)

// Log is a [sluice.Log] in memory. It keeps events as they would be written, so that what does not survive the
// writing does not survive here either.
type Log struct {
	Faults Faults

	turn chan struct{} // holds one token: who has it may append

	mu    sync.Mutex
	lines map[sluice.Namespace][]line
	news  chan struct{} // closed at the next append
}

type line struct {
	job  sluice.JobID
	text []byte
}

var _ sluice.Log = (*Log)(nil)

// NewLog returns an empty log.
func NewLog() *Log {
	l := &Log{turn: make(chan struct{}, 1), lines: map[sluice.Namespace][]line{}, news: make(chan struct{})}
	l.turn <- struct{}{}
	return l
}

// Update appends as one step; see [sluice.Log].
func (l *Log) Update(ctx context.Context, ns sluice.Namespace, after uint64,
	decide func(tail []sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	if err := checkNamespace(ns); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-l.turn:
	}
	defer func() { l.turn <- struct{}{} }()
	if err := l.Faults.pass(ctx, LogUpdate); err != nil {
		return 0, err
	}
	have := l.of(ns)
	if after > uint64(len(have)) {
		return 0, sluice.Errorf(sluice.Contact, "the log lost events: namespace %s ends at %d, but %d were seen", ns, len(have), after)
	}
	tail, err := decode(have[after:], nil)
	if err != nil {
		return 0, err
	}
	events, err := decide(tail)
	if err != nil || len(events) == 0 {
		return uint64(len(have)), err
	}
	fresh, err := encode(uint64(len(have)), events)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	head := l.add(ns, fresh)
	return head, l.Faults.pass(ctx, LogResult)
}

func (l *Log) of(ns sluice.Namespace) []line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.lines[ns])
}

func (l *Log) add(ns sluice.Namespace, fresh []line) (head uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[ns] = append(l.lines[ns], fresh...)
	close(l.news)
	l.news = make(chan struct{})
	return uint64(len(l.lines[ns]))
}

func encode(head uint64, events []sluice.Event) (out []line, err error) {
	for i := range events {
		e := &events[i]
		e.Seq = head + uint64(i) + 1
		if e.Body == nil {
			return nil, errors.New("an event without a body")
		}
		if e.Job != "" && !e.Job.Valid() {
			return nil, fmt.Errorf("%q is no job id", e.Job)
		}
		text, err := json.Marshal(*e)
		if err != nil {
			return nil, err
		}
		var at struct{ Seq uint64 }
		if err := json.Unmarshal(text, &at); err != nil || at.Seq != e.Seq {
			return nil, fmt.Errorf("event %d says that it is %d", e.Seq, at.Seq)
		}
		out = append(out, line{e.Job, text})
	}
	return out, nil
}

// decode reads the lines that are wanted; nil wants all.
func decode(lines []line, wanted func(line) bool) (out []sluice.Event, err error) {
	for _, ln := range lines {
		if wanted != nil && !wanted(ln) {
			continue
		}
		var e sluice.Event
		if err := json.Unmarshal(ln.text, &e); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Read returns up to limit events after the number `after`.
func (l *Log) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) ([]sluice.Event, error) {
	if err := l.mayRead(ctx, ns); err != nil || limit <= 0 {
		return nil, err
	}
	have := l.of(ns)
	have = have[min(after, uint64(len(have))):]
	return decode(have[:min(limit, len(have))], nil)
}

// ReadJob returns the events of a job.
func (l *Log) ReadJob(ctx context.Context, ns sluice.Namespace, job sluice.JobID) ([]sluice.Event, error) {
	if err := l.mayRead(ctx, ns); err != nil {
		return nil, err
	}
	return decode(l.of(ns), func(ln line) bool { return job != "" && ln.job == job })
}

func (l *Log) mayRead(ctx context.Context, ns sluice.Namespace) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkNamespace(ns); err != nil {
		return err
	}
	return l.Faults.pass(ctx, LogRead)
}

// Wait returns when there are events after the number `after`.
func (l *Log) Wait(ctx context.Context, ns sluice.Namespace, after uint64) error {
	if err := l.Faults.pass(ctx, LogWait); err != nil {
		return err
	}
	for {
		l.mu.Lock()
		head, news := uint64(len(l.lines[ns])), l.news
		l.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if head > after {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Namespaces lists the namespaces that have events.
func (l *Log) Namespaces(ctx context.Context) ([]sluice.Namespace, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.lines)), nil
}

// FindJob finds a job by the beginning of its id.
func (l *Log) FindJob(ctx context.Context, prefix string) (sluice.Namespace, sluice.JobID, error) {
	names, err := l.Namespaces(ctx)
	if err != nil {
		return "", "", err
	}
	type place struct {
		ns  sluice.Namespace
		job sluice.JobID
	}
	found := map[place]bool{}
	for _, ns := range names {
		for _, ln := range l.of(ns) {
			if ln.job != "" && strings.HasPrefix(string(ln.job), prefix) {
				found[place{ns, ln.job}] = true
			}
		}
	}
	switch len(found) {
	case 0:
		return "", "", sluice.Errorf(sluice.NotFound, "no job begins with %q", prefix)
	case 1:
		for p := range found {
			return p.ns, p.job, nil
		}
	}
	return "", "", sluice.Errorf(sluice.Conflict, "%d jobs begin with %q", len(found), prefix)
}

func checkNamespace(ns sluice.Namespace) error {
	if ns.Reserved() {
		return nil
	}
	if ok, err := regexp.MatchString(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`, string(ns)); err != nil || !ok {
		return sluice.Errorf(sluice.Usage, "%q is no name of a namespace", string(ns))
	}
	return nil
}
