package sqlitelog

import (
	"context"
	"database/sql"
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
		news := l.follow.next()
		head, err := l.head(ctx, l.read, ns)
		if err != nil {
			return l.problem("reading", err)
		}
		if head.seq > after {
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

// follower tells waiters that the file has changed. It looks only while somebody waits.
type follower struct {
	conn   *sql.Conn
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // something to look for

	mu      sync.Mutex
	news    chan struct{} // closed at the next change
	waiting int
}

// startFollower starts to follow what happens from now on. stop ends it.
func startFollower(ctx context.Context, conn *sql.Conn) (*follower, error) {
	f := &follower{conn: conn, ended: make(chan struct{}), wake: make(chan struct{}, 1), news: make(chan struct{})}
	version, err := f.version(ctx)
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

// next returns a channel that is closed at the next change.
func (f *follower) next() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.news
}

// changed wakes all who wait.
func (f *follower) changed() {
	f.mu.Lock()
	defer f.mu.Unlock()
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
		version, err := f.version(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !busy(err):
			f.changed()
			every = pollSeldom
		case err == nil && version != seen:
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

// version counts the commits of all other connections. It must be asked on the same one every time.
func (f *follower) version(ctx context.Context) (v int64, err error) {
	err = f.conn.QueryRowContext(context.WithoutCancel(ctx), "PRAGMA data_version").Scan(&v)
	return v, err
}
