package sqlitelog

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"sluice"
)

// settleAfter is how long what a copy has may be in memory alone.
const settleAfter = 200 * time.Millisecond

// settler puts onto the disk what a copy has, and then into the anchor: after a moment, for all that came meanwhile. A record is safe where
// it was first, and comes again from there if this machine loses power; so nobody waits for the disk here. A journal that is the only
// place of its records has none.
type settler struct {
	l      *Log
	wal    *os.File
	wake   chan struct{}
	cancel context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	ends  map[sluice.Namespace]mark // of what this process has committed
	owing map[sluice.Namespace]bool // whose ends are not in the anchor yet
}

// startSettler starts to settle what is committed from now on. stop ends it, and settles all.
func startSettler(ctx context.Context, l *Log, path string) (*settler, error) {
	wal, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := syncDir(l.dir); err != nil { // SQLite does it only where each commit waits for the disk
		return nil, errors.Join(err, wal.Close())
	}
	s := &settler{l: l, wal: wal, wake: make(chan struct{}, 1), ended: make(chan struct{}), ends: map[sluice.Namespace]mark{}, owing: map[sluice.Namespace]bool{}}
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.run(ctx)
	return s, nil
}

func (s *settler) run(ctx context.Context) {
	defer close(s.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if pause(ctx, settleAfter) != nil {
			return
		}
		_ = s.settle(ctx) // who writes next is told
	}
}

func (s *settler) stop() error {
	s.cancel()
	<-s.ended
	err := s.settle(context.Background())
	return errors.Join(err, s.wal.Close())
}

// owe says that ends were committed.
func (s *settler) owe(ends map[sluice.Namespace]mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ns, m := range ends {
		s.ends[ns], s.owing[ns] = m, true
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// end is where this process has committed a namespace to. ok is false where it has not.
func (s *settler) end(ns sluice.Namespace) (m mark, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok = s.ends[ns]
	return m, ok
}

// settle returns when all that was committed before is on the disk, and in the anchor. What fails stops the writing.
func (s *settler) settle(ctx context.Context) error {
	if err := s.l.isBroken(); err != nil {
		return err // a disk that failed once says the next time that all is well
	}
	s.mu.Lock()
	ends := map[sluice.Namespace]mark{}
	for ns := range s.owing {
		ends[ns] = s.ends[ns]
	}
	clear(s.owing)
	s.mu.Unlock()
	if len(ends) == 0 {
		return nil
	}
	// What was committed is in the -wal file, or was brought from there into the database, which SQLite does only with both on the disk.
	if err := s.l.anchor.sync(s.wal); err != nil {
		return s.l.stopWriting(err)
	}
	err := s.l.inPlace()
	if err == nil {
		err = s.l.anchorEnds(ctx, ends)
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for ns := range ends {
			s.owing[ns] = true
		}
		select {
		case s.wake <- struct{}{}: // again
		default:
		}
	}
	return err
}

// anchorEnds writes ends into the anchor that are on the disk.
func (l *Log) anchorEnds(ctx context.Context, ends map[sluice.Namespace]mark) error {
	for _, ns := range slices.Sorted(maps.Keys(ends)) {
		err := l.anchor.write(ctx, ns, ends[ns])
		var known *sluice.Error
		if err != nil && !errors.As(err, &known) {
			return l.stopWriting(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Settled are the ends of all namespaces as far as they stay when the machine loses power now.
func (l *Log) Settled(context.Context) (out []sluice.Head, err error) {
	if l.isClosed() {
		return nil, errClosed
	}
	marks, err := l.anchor.all()
	if err != nil {
		return nil, l.problem("reading", err)
	}
	for _, ns := range slices.Sorted(maps.Keys(marks)) {
		if m := marks[ns]; m.seq > 0 {
			out = append(out, sluice.Head{Namespace: ns, Seq: m.seq, Hash: sluice.ChainHash(m.hash)})
		}
	}
	return out, nil
}
