package sshexec

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/adapter/sshexec/hostkeys"
)

var errClosed = errors.New("the transport is closed")

// Transport reaches hosts over SSH. Make one with [New].
type Transport struct {
	cfg        Config
	config     userConfig
	algorithms chosen

	identities   *fileCache[*identity]
	certificates *fileCache[*ssh.Certificate]
	publics      *fileCache[ssh.PublicKey]
	knownHosts   *fileCache[*hostkeys.DB]
	revoked      *fileCache[*hostkeys.DB]

	slots chan struct{} // places for handshakes
	stats struct{ dials, handshakes, retries atomic.Int64 }

	wg    sync.WaitGroup  // of all goroutines that connections and connecting own
	ctx   context.Context // ends with Close
	close context.CancelCauseFunc

	mu       sync.Mutex
	ofJob    *identity // the key that came with the job, and the sum of its text
	ofJobSum [sha256.Size]byte
	closed   bool
	shared   map[string]*shared // connections to be used, by key of the destination
	live     map[*conn]struct{} // connections that are up
	beat     time.Duration      // interval of the keepalive goroutine; 0: it does not run
}

// shared is a connection that is being made, or was, and those who use it.
type shared struct {
	key    string
	refs   int // links, those who wait for it, and connections through it; guarded by Transport.mu
	ctx    context.Context
	cancel context.CancelCauseFunc
	ready  chan struct{} // closed when conn or err is set
	conn   *conn
	err    error
	idle   *time.Timer
}

// New makes a transport. It reads no file before the first Connect.
func New(cfg Config) (*Transport, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &Transport{
		cfg:          cfg,
		config:       userConfig{home: cfg.Home, user: cfg.UserConfig, system: cfg.SystemConfig, env: cfg.Env},
		certificates: newFileCache(loadCertificate),
		publics:      newFileCache(loadPublic),
		knownHosts:   newFileCache(hostkeys.Parse),
		revoked: newFileCache(func(path string, data []byte) (*hostkeys.DB, error) {
			if data == nil { // a list that is gone revokes nothing, so nothing is trusted
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
			}
			return hostkeys.ParseRevoked(path, data)
		}),
		slots:  make(chan struct{}, cfg.Handshakes),
		shared: map[string]*shared{},
		live:   map[*conn]struct{}{},
	}
	t.ctx, t.close = context.WithCancelCause(context.Background())
	t.identities = newFileCache(t.loadIdentity)
	return t, nil
}

// Stats are counts since the start.
type Stats struct {
	Dials, Handshakes int64
	Retries           int64 // after a host had turned a connection away
	Open              int   // connections
}

// Stats returns the counts.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{
		Dials: t.stats.dials.Load(), Handshakes: t.stats.handshakes.Load(), Retries: t.stats.retries.Load(), Open: len(t.live),
	}
}

// Connect implements [sluice.Transport].
func (t *Transport) Connect(ctx context.Context, h sluice.Host, s sluice.SSH) (sluice.Link, error) {
	d, err := t.destination(h, s)
	if err != nil {
		return nil, &sluice.ConnectError{Host: h, Failure: sluice.NoRoute, Err: err}
	}
	sh, err := t.acquire(ctx, d)
	if err != nil {
		var c *sluice.ConnectError
		if !errors.As(err, &c) {
			return nil, &sluice.ConnectError{Host: h, Failure: sluice.NoRoute, Err: err}
		}
		if c.Host != h { // made for another name of the same host
			own := *c
			own.Host = h
			return nil, &own
		}
		return nil, err
	}
	return &link{t: t, shared: sh}, nil
}

// acquire returns a connection that is up, and takes a reference on it.
func (t *Transport) acquire(ctx context.Context, d *destination) (*shared, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, errClosed
	}
	s := t.shared[d.key]
	if s == nil {
		s = &shared{key: d.key, ready: make(chan struct{})}
		// Others may wait for it longer than the caller does.
		s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		t.shared[d.key] = s
		t.wg.Add(1)
		go t.open(s, d)
	}
	s.refs++
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	t.mu.Unlock()
	select {
	case <-s.ready:
	case <-ctx.Done():
		t.release(s)
		return nil, noRoute(d, "%w", context.Cause(ctx))
	}
	if s.err != nil {
		t.release(s)
		return nil, s.err
	}
	return s, nil
}

// open makes the connection of s.
func (t *Transport) open(s *shared, d *destination) {
	defer t.wg.Done()
	c, err := t.connect(s.ctx, d, nil)
	t.mu.Lock()
	s.conn, s.err = c, err
	if err != nil {
		t.forget(s)
	} else {
		c.shared = s
		t.live[c] = struct{}{}
		t.keepAlive(d.keepAlive)
		t.wg.Add(1)
		go c.serve()
	}
	unused := s.refs == 0 || t.closed
	t.mu.Unlock()
	close(s.ready)
	if c != nil && unused {
		c.close(errClosed)
	}
}

// forget keeps s from being given to anybody else. The lock is held.
func (t *Transport) forget(s *shared) {
	if t.shared[s.key] == s {
		delete(t.shared, s.key)
	}
}

// retire is forget for those who do not hold the lock.
func (t *Transport) retire(s *shared) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(s)
}

// release gives a reference back. Who gives back the last one closes the connection, at once or when it has
// been idle for long enough.
func (t *Transport) release(s *shared) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.refs--; s.refs > 0 {
		return
	}
	if s.conn != nil && t.cfg.Linger > 0 && t.shared[s.key] == s && !t.closed {
		s.idle = time.AfterFunc(t.cfg.Linger, func() { t.expire(s) })
		return
	}
	t.end(s)
}

// expire closes a connection that nobody used for a while.
func (t *Transport) expire(s *shared) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.refs == 0 {
		t.end(s)
	}
}

// end closes a connection, or stops the making of it. The lock is held.
func (t *Transport) end(s *shared) {
	t.forget(s)
	s.cancel(errClosed)
	if s.conn != nil {
		s.conn.close(errClosed)
	}
}

// dropped is called by a connection that has ended.
func (t *Transport) dropped(c *conn) {
	t.mu.Lock()
	delete(t.live, c)
	t.forget(c.shared)
	if c.shared.idle != nil {
		c.shared.idle.Stop()
	}
	c.shared.cancel(errClosed)
	t.mu.Unlock()
	if c.via != nil {
		t.release(c.via)
	}
}

// Close implements [sluice.Transport]. It returns when everything has ended.
func (t *Transport) Close() error {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		t.close(errClosed)
		for _, s := range t.shared {
			if s.idle != nil {
				s.idle.Stop()
			}
			t.end(s)
		}
		for c := range t.live {
			c.close(errClosed)
		}
	}
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

// keepAlive sees to it that the goroutine runs that looks after the connections. The lock is held.
func (t *Transport) keepAlive(interval time.Duration) {
	if t.beat == 0 && !t.closed {
		t.beat = min(interval, t.cfg.KeepAlive) / 3
		t.wg.Add(1)
		go t.lookAfter(t.beat)
	}
}

// lookAfter is one goroutine for all connections: thousands of timers would cost more than a look at each.
func (t *Transport) lookAfter(beat time.Duration) {
	defer t.wg.Done()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-ticker.C:
		}
		t.mu.Lock()
		all := make([]*conn, 0, len(t.live))
		for c := range t.live {
			all = append(all, c)
		}
		t.mu.Unlock()
		for _, c := range all {
			c.lookedAt(beat)
		}
	}
}
