package sshexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
)

// maxIntrusions is the number of channels that a host may try to open before it is dropped.
const maxIntrusions = 64

// conn is an authenticated connection.
type conn struct {
	t     *Transport
	d     *destination
	wire  *wire
	ssh   ssh.Conn
	chans <-chan ssh.NewChannel
	reqs  <-chan *ssh.Request

	via    *shared // the connection to the jump host that this one goes through
	shared *shared

	dead chan struct{} // closed when the connection has ended

	// Of the goroutine that looks after all connections.
	seen   uint64
	silent time.Duration
	asking atomic.Bool

	mu     sync.Mutex
	ended  bool           // no goroutine may be added any more
	wg     sync.WaitGroup // of sessions, tunnels and questions
	cause  error          // why the connection was closed from this side
	active int            // sessions
	freed  chan struct{}  // closed and replaced when a session ends
}

func newConn(t *Transport, d *destination, w *wire, c ssh.Conn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) *conn {
	return &conn{
		t: t, d: d, wire: w, ssh: c, chans: chans, reqs: reqs,
		dead: make(chan struct{}), freed: make(chan struct{}),
	}
}

// spawn runs f in a goroutine that the connection's end waits for. It reports false if the connection has
// ended. A panic in f ends the connection, not the process.
func (c *conn) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer c.caught()
		f()
	}()
	return true
}

func (c *conn) caught() {
	if r := recover(); r != nil {
		c.close(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
	}
}

// serve refuses all that the host wants, until the connection ends, and then cleans up.
func (c *conn) serve() {
	defer c.t.wg.Done()
	c.refuse()
	c.t.retire(c.shared)
	c.close(ended(c.ssh.Wait()))
	close(c.dead)
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.wg.Wait()
	c.t.dropped(c)
}

func (c *conn) refuse() {
	defer c.caught()
	intrusions := 0
	for c.chans != nil || c.reqs != nil {
		select {
		case ch, ok := <-c.chans:
			if !ok {
				c.chans = nil
				continue
			}
			if intrusions++; intrusions > maxIntrusions {
				c.close(errors.New("the host kept opening channels"))
			}
			_ = ch.Reject(ssh.Prohibited, "this client accepts no channels")
		case req, ok := <-c.reqs:
			if !ok {
				c.reqs = nil
				continue
			}
			_ = req.Reply(false, nil)
		}
	}
}

// close ends the connection; serve does the rest. The first cause is kept.
func (c *conn) close(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	_ = c.wire.Close()
}

// ended says for people how the library saw the connection end.
func ended(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New("the host closed the connection")
	}
	return errors.New(printable(err.Error()))
}

// why says why the connection ended.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		return errors.New("the connection ended")
	}
	return c.cause
}

// lost is the error of what was cut off while it ran.
func (c *conn) lost() error { return fmt.Errorf("%w: %s: %w", sluice.ErrLinkLost, c.d, c.why()) }

// lookedAt is called every beat. A connection that is silent is asked for a sign of life; any byte is one.
func (c *conn) lookedAt(beat time.Duration) {
	if now := c.wire.reads.Load(); now != c.seen {
		c.seen, c.silent = now, 0
		return
	}
	c.silent += beat
	switch limit := c.d.keepAlive * time.Duration(c.d.misses+1); {
	case c.silent >= limit:
		c.close(fmt.Errorf("no sign of life for %s", c.silent))
	case c.silent >= c.d.keepAlive && !c.asking.Swap(true):
		c.spawn(func() {
			_, _, _ = c.ssh.SendRequest("keepalive@openssh.com", true, nil)
			c.asking.Store(false)
		})
	}
}

// tunnel opens a connection to an address that the host can reach. A host that does not answer in time is not asked again.
func (c *conn) tunnel(ctx context.Context, address string, port int) (net.Conn, error) {
	t, err := c.forward(ctx, "direct-tcpip", directTCPIP(address, port), tunnelAddr{"tcp", hostPort(address, port)})
	var refused *ssh.OpenChannelError
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("%s cannot reach it: %s", c.d.host, printable(refused.Message))
	case err != nil:
		if ctx.Err() != nil {
			c.t.retire(c.shared)
		}
		return nil, err
	}
	return t, nil
}

// forward opens a channel that the host forwards to somewhere.
func (c *conn) forward(ctx context.Context, kind string, payload []byte, to tunnelAddr) (*tunnel, error) {
	type answer struct {
		tunnel *tunnel
		err    error
	}
	answers := make(chan answer, 1)
	ok := c.spawn(func() {
		ch, reqs, err := c.ssh.OpenChannel(kind, payload)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		c.spawn(func() { ssh.DiscardRequests(reqs) })
		tunnel := newTunnel(c, ch, to)
		select {
		case <-ctx.Done():
			_ = tunnel.Close()
		default:
		}
		answers <- answer{tunnel: tunnel}
	})
	if !ok {
		return nil, c.why()
	}
	select {
	case a := <-answers:
		return a.tunnel, a.err
	case <-ctx.Done():
		c.spawn(func() { // whoever opens it later closes it
			if a := <-answers; a.tunnel != nil {
				_ = a.tunnel.Close()
			}
		})
		return nil, context.Cause(ctx)
	}
}
