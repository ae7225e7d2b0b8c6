package sqlitelog

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice"
)

// How often the follower looks for appends of other processes: often while they come, less often while nothing
// happens. Looking costs about ten microseconds.
const (
	pollOften  = 5 * time.Millisecond
	pollSeldom = 50 * time.Millisecond
)

// Wait returns when there are events after the number `after`.
func (l *Log) Wait(ctx context.Context, ns sluice.Namespace, after uint64) error {
	if err := l.mayRead(ctx, ns); err != nil {
		return err
	}
	defer l.follow.watch()()
	for {
		// First the channel, then the look: what is appended in between closes the channel.
		head, known, news := l.follow.head(ns)
		if !known {
			end, err := l.head(ctx, l.read, ns)
			if err != nil {
				return l.problem("reading", err)
			}
			head = end.seq
			l.follow.learn(ns, head, news)
		}
		if head > after {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.done:
			return errClosed
		}
	}
}

// lookAround says how often other connections have committed. It asks the writing connection, for which what this
// process commits itself does not count; while that is in use, ok is false.
func (l *Log) lookAround(ctx context.Context) (version int64, ok bool, err error) {
	select {
	case <-l.turn:
	default:
		return 0, false, nil
	}
	defer l.leave()
	rows, err := l.w.QueryContext(context.WithoutCancel(ctx), "PRAGMA data_version")
	if err != nil {
		return 0, true, err
	}
	for rows.Next() {
		err = errors.Join(err, rows.Scan(&version))
	}
	return version, true, errors.Join(err, rows.Err(), rows.Close())
}

// follower tells waiters that the journal has changed. It looks for what others appended only while somebody waits.
type follower struct {
	look   func(context.Context) (version int64, ok bool, err error)
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // something to look for

	mu      sync.Mutex
	news    chan struct{}               // closed at the next change
	heads   map[sluice.Namespace]uint64 // where namespaces end, as far as that is known to hold until the next change
	waiting int
}

// startFollower starts to follow what happens from now on. stop ends it.
func startFollower(ctx context.Context, look func(context.Context) (int64, bool, error)) (*follower, error) {
	f := &follower{look: look, ended: make(chan struct{}), wake: make(chan struct{}, 1), news: make(chan struct{}),
		heads: map[sluice.Namespace]uint64{}}
	version, _, err := f.look(ctx)
	if err != nil {
		return nil, err
	}
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go f.run(ctx, version)
	return f, nil
}

func (f *follower) stop() {
	f.cancel()
	<-f.ended
}

// watch keeps the follower looking until the returned function is called.
func (f *follower) watch() (end func()) {
	f.add(1)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return func() { f.add(-1) }
}

func (f *follower) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting += n
}

// head returns where a namespace ends, if that is known, and a channel that is closed at the next change.
func (f *follower) head(ns sluice.Namespace) (head uint64, known bool, news <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	head, known = f.heads[ns]
	return head, known, f.news
}

// learn keeps where a namespace ends, unless there was a change since news was asked for.
func (f *follower) learn(ns sluice.Namespace, head uint64, news <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.news == news {
		f.heads[ns] = head
	}
}

// appended wakes all who wait: this process has moved the end of a namespace.
func (f *follower) appended(ns sluice.Namespace, head uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heads[ns] = head
	f.announce()
}

// changed wakes all who wait: somebody else has done something.
func (f *follower) changed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.heads)
	f.announce()
}

func (f *follower) announce() {
	close(f.news)
	f.news = make(chan struct{})
}

func (f *follower) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting == 0
}

func (f *follower) run(ctx context.Context, seen int64) {
	defer close(f.ended)
	every := pollOften
	for {
		if f.idle() {
			select {
			case <-ctx.Done():
				return
			case <-f.wake:
			}
			every = pollOften
			continue
		}
		// A look that fails counts as a change: who waits then looks, and gets the error.
		version, ok, err := f.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !busy(err):
			f.changed()
			every = pollSeldom
		case err == nil && ok && version != seen:
			seen, every = version, pollOften
			f.changed()
		default:
			every = min(every+every/8, pollSeldom)
		}
		if pause(ctx, every) != nil {
			return
		}
	}
}
