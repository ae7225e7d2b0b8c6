package sshexec

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// tunnel is a connection that a host forwards: a jump host, or one that was asked to dial. The library's channels cannot
// be closed from this side while somebody reads or writes: they wait for the other side to agree, and a hostile host does
// not. So between them and the user of the tunnel are pipes, and the goroutines that wait for the host belong to the
// connection to it.
type tunnel struct {
	in     *io.PipeReader // what the channel sends
	out    *io.PipeWriter // what goes to the channel
	remote net.Addr
	once   sync.Once
}

// tunnelBuffer is small because there are two per host behind a jump host.
const tunnelBuffer = 16 << 10

// newTunnel takes the channel over; both goroutines end when the channel does.
func newTunnel(c *conn, ch ssh.Channel, remote net.Addr) *tunnel {
	fromHost, in := io.Pipe()
	toHost, out := io.Pipe()
	c.spawn(func() {
		_, err := io.CopyBuffer(onlyWriter{in}, onlyReader{ch}, make([]byte, tunnelBuffer))
		_ = in.CloseWithError(err)
		_ = toHost.CloseWithError(net.ErrClosed)
	})
	c.spawn(func() {
		_, _ = io.CopyBuffer(onlyWriter{ch}, onlyReader{toHost}, make([]byte, tunnelBuffer))
		_ = ch.Close()
		_ = toHost.CloseWithError(net.ErrClosed)
	})
	return &tunnel{in: fromHost, out: out, remote: remote}
}

// onlyReader and onlyWriter hide ReadFrom and WriteTo, so that the buffer's size holds.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

func (t *tunnel) Read(p []byte) (int, error)  { return t.in.Read(p) }
func (t *tunnel) Write(p []byte) (int, error) { return t.out.Write(p) }

func (t *tunnel) Close() error {
	t.once.Do(func() {
		_ = t.in.CloseWithError(net.ErrClosed)
		_ = t.out.Close()
	})
	return nil
}

func (t *tunnel) LocalAddr() net.Addr  { return tunnelAddr{t.remote.Network(), ""} }
func (t *tunnel) RemoteAddr() net.Addr { return t.remote }

var errNoDeadline = errors.New("a tunnel has no deadlines; close it")

func (t *tunnel) SetDeadline(time.Time) error      { return errNoDeadline }
func (t *tunnel) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (t *tunnel) SetWriteDeadline(time.Time) error { return errNoDeadline }

type tunnelAddr struct{ network, address string }

func (a tunnelAddr) Network() string { return a.network }
func (a tunnelAddr) String() string  { return a.address }

// directTCPIP is the request for a tunnel (RFC 4254, 7.2).
func directTCPIP(address string, port int) []byte {
	return ssh.Marshal(&struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{address, uint32(port), "127.0.0.1", 0})
}

func hostPort(address string, port int) string { return net.JoinHostPort(address, strconv.Itoa(port)) }
