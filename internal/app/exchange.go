package app

import (
	"context"
	"net"
	"slices"
	"sync"
)

// exchange hands the connections of one listener to whoever has asked for them last: to a server while it owns the log, and to what
// answers in its place while another one does.
type exchange struct {
	l net.Listener

	mu     sync.Mutex
	takers []*taker // the last one gets what comes
	over   bool
}

// taker is a listener that gets the connections while it is the last one.
type taker struct {
	x     *exchange
	conns chan net.Conn
	done  chan struct{}
}

func newExchange(l net.Listener) *exchange { return &exchange{l: l} }

// run accepts connections until ctx ends. Those that nobody takes are closed.
func (x *exchange) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = x.l.Close() })
	defer stop()
	defer x.end()
	for {
		c, err := x.l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		x.hand(ctx, c)
	}
}

func (x *exchange) hand(ctx context.Context, c net.Conn) {
	for {
		t := x.last()
		if t == nil {
			_ = c.Close()
			return
		}
		select {
		case t.conns <- c:
			return
		case <-t.done: // another one is the last now
		case <-ctx.Done():
			_ = c.Close()
			return
		}
	}
}

func (x *exchange) last() *taker {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.takers) == 0 {
		return nil
	}
	return x.takers[len(x.takers)-1]
}

// end closes all takers: nothing comes any more.
func (x *exchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	for _, t := range x.takers {
		close(t.done)
	}
	x.takers = nil
}

// take is a listener that gets all connections from now on, until it is closed or another one is taken. Closing it leaves the exchange
// as it is.
func (x *exchange) take() net.Listener {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := &taker{x, make(chan net.Conn), make(chan struct{})}
	if x.over {
		close(t.done)
		return t
	}
	x.takers = append(x.takers, t)
	return t
}

func (t *taker) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.done:
		return nil, net.ErrClosed
	}
}

func (t *taker) Addr() net.Addr { return t.x.l.Addr() }

func (t *taker) Close() error {
	t.x.mu.Lock()
	defer t.x.mu.Unlock()
	if i := slices.Index(t.x.takers, t); i >= 0 {
		t.x.takers = slices.Delete(t.x.takers, i, i+1)
		close(t.done)
	}
	return nil
}
