package doors

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Doors are where those come in who want something from a server. In a cluster they stay open from one of its lives to the next: who
// comes in between waits.
type Doors struct {
	Stay bool

	mu   sync.Mutex
	kept map[string]*exchange
}

// Open opens a door, or takes over one that was kept open. A nil listener is none, and is asked for again.
func (d *Doors) Open(name string, listen func() (net.Listener, error)) (net.Listener, error) {
	if !d.Stay {
		return listen()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.kept[name]
	if x == nil {
		l, err := listen()
		if err != nil || l == nil {
			return nil, err
		}
		if d.kept == nil {
			d.kept = map[string]*exchange{}
		}
		x = newExchange(l)
		d.kept[name] = x
	}
	return x.take(), nil
}

// Bring brings a connection in that came another way; false where the door is not open.
func (d *Doors) Bring(ctx context.Context, name string, c net.Conn) bool {
	d.mu.Lock()
	x := d.kept[name]
	d.mu.Unlock()
	if x == nil {
		return false
	}
	select {
	case x.conns <- c:
		return true
	case <-x.ctx.Done():
	case <-ctx.Done():
	}
	return false
}

// Address is where a door is that was kept open; nil where it is not open.
func (d *Doors) Address(name string) net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.kept[name]; x != nil {
		return x.l.Addr()
	}
	return nil
}

// Close closes all that were kept open.
func (d *Doors) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.kept {
		x.close()
	}
	d.kept = nil
}

// exchange hands the connections of one listener to whoever has taken it, one after the other.
type exchange struct {
	l      net.Listener
	conns  chan net.Conn
	ctx    context.Context // ends with the listener
	end    context.CancelCauseFunc
	accept sync.WaitGroup
}

func newExchange(l net.Listener) *exchange {
	x := &exchange{l: l, conns: make(chan net.Conn)}
	x.ctx, x.end = context.WithCancelCause(context.Background())
	x.accept.Go(x.run)
	return x
}

// run accepts connections; while nobody takes one, the next ones wait in the system's queue.
func (x *exchange) run() {
	for {
		c, err := x.l.Accept()
		if err != nil {
			x.end(err)
			return
		}
		select {
		case x.conns <- c:
		case <-x.ctx.Done():
			_ = c.Close()
		}
	}
}

func (x *exchange) close() {
	x.end(net.ErrClosed)
	_ = x.l.Close()
	x.accept.Wait()
}

// take is a listener that gets what comes, until it is closed. Closing it leaves the exchange as it is.
func (x *exchange) take() net.Listener {
	t := &taker{x: x}
	t.ctx, t.end = context.WithCancelCause(x.ctx)
	return t
}

// taker gets the connections of an exchange.
type taker struct {
	x   *exchange
	ctx context.Context
	end context.CancelCauseFunc
}

func (t *taker) Accept() (net.Conn, error) {
	if t.ctx.Err() != nil { // rather than a connection that the next one may take
		return nil, t.over()
	}
	select {
	case c := <-t.x.conns:
		return c, nil
	case <-t.ctx.Done():
		return nil, t.over()
	}
}

func (t *taker) over() error {
	if cause := context.Cause(t.ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return net.ErrClosed
}

func (t *taker) Addr() net.Addr { return t.x.l.Addr() }

func (t *taker) Close() error {
	t.end(net.ErrClosed)
	return nil
}
