package peerwire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"sluice"
)

// Carry joins a connection of a worker with the server that owns the log, until one of both ends, or ctx does; then both are closed. An
// error with the code Contact says that nothing of it was read: it may be carried to another server then.
func (c *Client) Carry(ctx context.Context, conn net.Conn) error {
	line, err := c.open(ctx, conn.RemoteAddr().String())
	if err != nil {
		return err
	}
	join(ctx, conn, line)
	return ctx.Err()
}

// open opens a line. It has a connection of its own, on which deadlines and ends of one direction are those of the network.
func (c *Client) open(ctx context.Context, remote string) (_ net.Conn, err error) {
	answer, done := context.WithTimeout(ctx, answerTime)
	defer done()
	raw, err := c.connect(answer, "tcp", c.cfg.Address)
	if err != nil {
		return nil, c.contact(ctx, err)
	}
	config := c.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn := tls.Client(raw, config)
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	failed := func(err error) error {
		if answer.Err() != nil { // then err says that the connection was closed
			err = answer.Err()
		}
		return c.contact(ctx, err)
	}
	cut := context.AfterFunc(answer, func() { _ = raw.Close() })
	defer cut()
	r, err := http.NewRequestWithContext(answer, http.MethodGet, "https://"+c.cfg.Address+prefix+"line", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", lineProtocol)
	r.Header.Set(remoteHeader, remote)
	r.Header.Set(protocolHeader, spoken)
	if err := r.Write(conn); err != nil {
		return nil, failed(err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, failed(err)
	}
	if err := c.said(c.cfg.Name, res); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, sluice.Errorf(sluice.Contact, "the server %s answers what is not understood: %s", c.cfg.Name, res.Status)
	}
	if !cut() {
		return nil, failed(err)
	}
	return &end{Conn: conn, early: early(in), closed: make(chan struct{})}, nil
}

// early is what a reader has read ahead.
func early(r *bufio.Reader) *bytes.Reader {
	text, err := r.Peek(r.Buffered())
	if err != nil {
		text = nil // what is buffered can be read
	}
	return bytes.NewReader(bytes.Clone(text))
}

// end is one end of a line.
type end struct {
	net.Conn
	early  *bytes.Reader
	remote net.Addr // nil: that of the connection

	once   sync.Once
	closed chan struct{}
	failed error // of closing it
}

func (e *end) Read(p []byte) (int, error) {
	if e.early.Len() > 0 {
		return e.early.Read(p)
	}
	return e.Conn.Read(p)
}

func (e *end) RemoteAddr() net.Addr {
	if e.remote != nil {
		return e.remote
	}
	return e.Conn.RemoteAddr()
}

func (e *end) Close() error {
	e.once.Do(func() {
		e.failed = e.Conn.Close()
		close(e.closed)
	})
	return e.failed
}

// CloseWrite says that nothing more is sent.
func (e *end) CloseWrite() error { return closeWrite(e.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// join hands on what two connections say to each other. Where one says that nothing more comes, the other one is told so, and has a moment
// for what it still has to say.
func join(ctx context.Context, a, b net.Conn) {
	var once sync.Once
	both := func() {
		once.Do(func() {
			_ = a.Close()
			_ = b.Close()
		})
	}
	stop := context.AfterFunc(ctx, both)
	late := time.AfterFunc(linger, both)
	late.Stop()
	way := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = closeWrite(to)
		}
		if err != nil {
			both()
			return
		}
		late.Reset(linger)
	}
	var ways sync.WaitGroup
	ways.Go(func() { way(a, b) })
	ways.Go(func() { way(b, a) })
	ways.Wait()
	late.Stop()
	stop()
	both()
}

// addr is an address that is none of TCP.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func addrOf(text string) net.Addr {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return net.TCPAddrFromAddrPort(at)
	}
	return addr(text)
}

// line takes the connection of a worker.
func (s *server) line(w http.ResponseWriter, r *http.Request) {
	var take func(context.Context, net.Conn)
	if s.cfg.Line != nil {
		take = s.cfg.Line()
	}
	if take == nil {
		s.notOwner(w)
		return
	}
	if r.ProtoMajor != 1 || r.Header.Get("Upgrade") != lineProtocol {
		refuse(w, sluice.Errorf(sluice.Usage, "a line is opened on a connection of its own"))
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, err)
		return
	}
	e := &end{Conn: conn, early: early(buffered.Reader), remote: addrOf(r.Header.Get(remoteHeader)), closed: make(chan struct{})}
	defer func() { _ = e.Close() }()
	ctx, done := context.WithCancel(r.Context())
	defer done()
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+lineProtocol+"\r\n"+ownHeader+": "+fineOwn+"\r\n"+protocolHeader+": "+spoken+"\r\n\r\n")
	if err != nil {
		return
	}
	take(ctx, e)
	select {
	case <-e.closed:
	case <-ctx.Done():
	}
}
