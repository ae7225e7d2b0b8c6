package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice"
	"sluice/internal/app/private"
)

// learned has a server of a cluster know the keys of hosts that any of them was told to know: the log names them. Each is made known once:
// what a person takes out of this machine's known_hosts afterwards stays out.
type learned struct {
	log     sluice.Log
	file    string // says what has been done
	learn   func(ctx context.Context, k sluice.LearnedKey) error
	trouble func(text string)

	turn    chan struct{}     // is held by whoever uses what follows, for one key at most
	read    uint64            // events of [sluice.AccessNamespace]
	open    map[place]toLearn // are not known here yet: the newest for each
	kept    learnedAt         // is in the file
	reopens []uint64          // are open by the file, and not read yet
}

// place is what a key is known for.
type place struct {
	host    sluice.Host
	address string
	port    int
}

type toLearn struct {
	seq  uint64
	key  sluice.LearnedKey
	told bool // that it cannot be learned
	next time.Time
}

const (
	learnedName  = "hostkeys.json"
	learnEvery   = time.Second
	learnWithin  = 2 * time.Second  // another program may hold the file
	refusedAgain = 10 * time.Second // until a key is tried again that this machine refuses
	learnSoon    = time.Second      // a server that is about to own the log waits for it
	learnedBatch = 10_000
)

// learnedAt is what is kept of it.
type learnedAt struct {
	Seq uint64 `json:"seq"` // of the last event that was read
	// Open are the events up to Seq whose keys are not known here yet. Without them one that is refused for good would have all that
	// came after it learned again, also what was taken out.
	Open []uint64 `json:"open,omitempty"`
}

func newLearned(data string, log sluice.Log, learn func(context.Context, sluice.LearnedKey) error, trouble func(string)) (*learned, error) {
	l := &learned{log: log, file: filepath.Join(data, learnedName), learn: learn, trouble: trouble, turn: make(chan struct{}, 1), open: map[place]toLearn{}}
	text, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	var at learnedAt
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "which keys of hosts this server has learned", Err: err, Hint: "remove " + l.file + ": then it learns all of them again"}
	}
	l.read, l.reopens, l.kept = at.Seq, at.Open, at
	return l, nil
}

// upTo has it go on from where this server's copy of the log ends, if it had read more: that part was lost, with the power or in a recovery,
// and comes again or is another one now.
func (l *learned) upTo(heads []sluice.Head) {
	end := uint64(0)
	for _, h := range heads {
		if h.Namespace == sluice.AccessNamespace {
			end = h.Seq
		}
	}
	l.read = min(l.read, end)
	l.reopens = slices.DeleteFunc(slices.Clone(l.reopens), func(seq uint64) bool { return seq > end })
}

// run learns what comes, until ctx ends.
func (l *learned) run(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		if err := l.catchUp(ctx); err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			l.trouble("the keys of hosts that other servers were told to know cannot be learned: " + told)
		}
		select {
		case <-ctx.Done():
		case <-time.After(learnEvery):
		}
	}
}

// soon is catchUp for somebody who cannot wait for long: run does the rest.
func (l *learned) soon(ctx context.Context) error {
	within, done := context.WithTimeout(ctx, learnSoon)
	defer done()
	return l.catchUp(within)
}

// catchUp makes known what the log has now. A key that this machine refuses, since it knows another one, is told and tried again.
func (l *learned) catchUp(ctx context.Context) error {
	for more := true; more; {
		if err := l.inTurn(ctx, func() (err error) { more, err = l.readOn(ctx); return err }); err != nil {
			return err
		}
	}
	var all []place
	if err := l.inTurn(ctx, func() error { all = l.due(); return nil }); err != nil {
		return err
	}
	for _, at := range all {
		if err := l.inTurn(ctx, func() error { return l.learnOne(ctx, at) }); err != nil {
			return err
		}
	}
	return l.inTurn(ctx, l.keep)
}

// inTurn does one thing while nobody else does one.
func (l *learned) inTurn(ctx context.Context, do func() error) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	return do()
}

// readOn reads some of what was not read yet, and reports whether there may be more.
func (l *learned) readOn(ctx context.Context) (more bool, err error) {
	if len(l.reopens) > 0 {
		events, err := l.log.Read(ctx, sluice.AccessNamespace, l.reopens[0]-1, 1)
		if err != nil {
			return false, err
		}
		l.take(events)
		l.reopens = l.reopens[1:]
		return true, nil
	}
	events, err := l.log.Read(ctx, sluice.AccessNamespace, l.read, learnedBatch)
	if err != nil {
		return false, err
	}
	l.take(events)
	return len(events) == learnedBatch, nil
}

// due are those whose keys are to be tried now, the oldest first.
func (l *learned) due() (out []place) {
	for at, k := range l.open {
		if !time.Now().Before(k.next) {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(l.open[a].seq, l.open[b].seq) })
	return out
}

// learnOne tries a key that was due. The error is that there is no time for it.
func (l *learned) learnOne(ctx context.Context, at place) error {
	k, is := l.open[at]
	if !is || time.Now().Before(k.next) { // somebody else did it meanwhile
		return nil
	}
	within, done := context.WithTimeout(ctx, learnWithin)
	err := l.learn(within, k.key)
	done()
	switch {
	case err == nil:
		delete(l.open, at)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !k.told:
		l.trouble("the key of " + string(at.host) + ", which the servers were told to know, cannot be learned here: " + err.Error())
	}
	k.told, k.next = true, time.Now().Add(refusedAgain)
	l.open[at] = k
	return nil
}

// take has the keys of events be learned.
func (l *learned) take(events []sluice.Event) {
	for _, e := range events {
		l.read = max(l.read, e.Seq)
		if n, is := e.Body.(sluice.AccessNoted); is && n.Key != nil && n.Refused == "" {
			l.open[place{n.Key.Host, n.Key.SSH.Address, n.Key.SSH.Port}] = toLearn{seq: e.Seq, key: *n.Key}
		}
	}
}

// keep writes down what has been done, if it is not there.
func (l *learned) keep() error {
	at := learnedAt{Seq: l.read}
	for _, k := range l.open {
		at.Open = append(at.Open, k.seq)
	}
	slices.Sort(at.Open)
	if at.Seq == l.kept.Seq && slices.Equal(at.Open, l.kept.Open) {
		return nil
	}
	text, err := json.Marshal(at)
	if err == nil {
		err = private.Write(l.file, append(text, '\n'))
	}
	if err == nil {
		l.kept = at
	}
	return err
}
