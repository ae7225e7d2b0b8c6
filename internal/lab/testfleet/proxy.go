package testfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Faults are what a proxy does to the connections that go through it. The zero value does nothing to them.
type Faults struct {
	ToServer, ToClient Flow
	// Refuse breaks every new connection as soon as it is accepted.
	Refuse bool
	// Reset breaks connections by a reset; without it they end as if the other side had closed them.
	Reset bool
}

// Flow is one direction of a connection.
type Flow struct {
	Delay   time.Duration // of every byte; how many are on the way is not limited by it
	Rate    int           // bytes in a second; 0 is no limit
	Cut     int64         // the connection is broken after so many bytes in this direction; 0 is never
	Swallow bool          // what is sent is lost, and the connection stays
}

// Proxy is a TCP proxy before one server.
type Proxy struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	ctx      context.Context // of the connections; ends with Close
	stop     context.CancelFunc
	wg       sync.WaitGroup

	mu     sync.Mutex
	faults Faults
	links  map[*link]bool
}

// NewProxy serves what comes to the listener, which it owns, until Close.
func NewProxy(l net.Listener, dial func(context.Context) (net.Conn, error), f Faults) *Proxy {
	p := &Proxy{listener: l, dial: dial, faults: f, links: map[*link]bool{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	return p
}

// Proxy starts a proxy before the sshd of a host. It ends with the fleet.
func (f *Fleet) Proxy(ctx context.Context, h *Host, faults Faults) (*Proxy, error) {
	l, err := f.Listen(ctx, "tcp", net.JoinHostPort(f.IP, "0"))
	if err != nil {
		return nil, err
	}
	p := NewProxy(l, func(ctx context.Context) (net.Conn, error) { return f.Dial(ctx, "tcp", h.Addr()) }, faults)
	f.onClose(p.Close)
	return p, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() *net.TCPAddr { return p.listener.Addr().(*net.TCPAddr) }

// SSHOptions are arguments for ssh by which it reaches the host through the proxy.
func (p *Proxy) SSHOptions(h *Host) []string {
	a := p.Addr()
	return []string{"-o", "HostName=" + a.IP.String(), "-o", fmt.Sprintf("Port=%d", a.Port), "-o", "HostKeyAlias=" + h.Name}
}

// Set changes the faults, for open connections too. What is already on its way is not concerned; bytes are counted
// from the beginning of a connection.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

func (p *Proxy) now() Faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// Cut breaks all open connections now, and returns how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	reset := p.faults.Reset
	p.mu.Unlock()
	for _, l := range links {
		l.end(reset)
	}
	return len(links)
}

// Open is how many connections there are.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Close ends the proxy and its connections. It may be called more than once.
func (p *Proxy) Close() error {
	p.stop()
	err := p.listener.Close()
	p.Cut()
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	l := &link{client: client}
	l.ctx, l.stop = context.WithCancel(p.ctx)
	defer l.end(false)
	if f := p.now(); f.Refuse {
		l.end(f.Reset)
		return
	}
	server, err := p.dial(l.ctx)
	if err != nil {
		l.end(true) // what a refusing server does to the client
		return
	}
	l.server = server
	p.mu.Lock()
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	// The end may have come before the link could be found.
	stop := context.AfterFunc(p.ctx, func() { l.end(false) })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(l, server, client, func(f Faults) Flow { return f.ToServer }) })
	wg.Go(func() { p.pump(l, client, server, func(f Faults) Flow { return f.ToClient }) })
	wg.Wait()
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	ctx            context.Context
	stop           context.CancelFunc
	once           sync.Once
}

// end closes both sides.
func (l *link) end(reset bool) {
	l.once.Do(func() {
		l.stop()
		for _, c := range []net.Conn{l.client, l.server} {
			if c == nil {
				continue
			}
			if tcp, ok := c.(*net.TCPConn); ok && reset {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
		}
	})
}

// parcel is some bytes on their way.
type parcel struct {
	data []byte
	due  time.Time
}

const (
	parcelSize = 16 << 10
	parcels    = 1024 // on the way in one direction: enough for 16 MiB, then the sender waits
)

// pump carries one direction. Reading goes on while what was read waits for its time.
func (p *Proxy) pump(l *link, to, from net.Conn, flow func(Faults) Flow) {
	way := make(chan parcel, parcels)
	var wg sync.WaitGroup
	wg.Go(func() { p.deliver(l, to, way, flow) })
	defer wg.Wait()
	defer close(way)
	for {
		buf := make([]byte, parcelSize)
		n, err := from.Read(buf)
		f := flow(p.now())
		if n > 0 && !f.Swallow {
			select {
			case way <- parcel{buf[:n], time.Now().Add(f.Delay)}:
			case <-l.ctx.Done():
				return
			}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			l.end(p.now().Reset)
		}
		return
	}
}

// deliver writes parcels when they are due, and hands on the end of the stream after the last.
func (p *Proxy) deliver(l *link, to net.Conn, way <-chan parcel, flow func(Faults) Flow) {
	var sent int64
	for parcel := range way {
		if pause(l.ctx, time.Until(parcel.due)) != nil {
			return
		}
		for piece := range slices.Chunk(parcel.data, p.pieceSize(flow)) {
			faults := p.now()
			f := flow(faults)
			if f.Rate > 0 && pause(l.ctx, time.Duration(len(piece))*time.Second/time.Duration(f.Rate)) != nil {
				return
			}
			cut := f.Cut > 0 && sent+int64(len(piece)) >= f.Cut
			if cut {
				piece = piece[:max(0, f.Cut-sent)]
			}
			if _, err := to.Write(piece); err != nil {
				l.end(faults.Reset)
				return
			}
			sent += int64(len(piece))
			if cut {
				l.end(faults.Reset)
				return
			}
		}
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// pieceSize is how much is written at once: under a rate, so little that it flows about twenty times a second.
func (p *Proxy) pieceSize(flow func(Faults) Flow) int {
	if rate := flow(p.now()).Rate; rate > 0 {
		return min(parcelSize, max(1, rate/20))
	}
	return parcelSize
}

// pause waits, but not longer than the context lives.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
