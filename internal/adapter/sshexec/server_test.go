package sshexec

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"sluice"
)

// goServer is a server for what the real one does not do.
type goServer struct {
	port int

	mu    sync.Mutex
	conns []net.Conn
}

// listen serves each connection with serve, until the test ends.
func listen(t testing.TB, serve func(net.Conn)) *goServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &goServer{port: l.Addr().(*net.TCPAddr).Port}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.hangUp()
		wg.Wait()
	})
	return s
}

// accepted counts the connections.
func (s *goServer) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *goServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

func (s *goServer) ssh() sluice.SSH { return sluice.SSH{Address: "127.0.0.1", Port: s.port} }

// channels is what happens on a connection after the login.
type channels func(c *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request)

// serveSSH is an SSH server that h knows.
func serveSSH(t testing.TB, h *home, config *ssh.ServerConfig, after channels) *goServer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer)
	s := listen(t, func(raw net.Conn) {
		c, chans, reqs, err := ssh.NewServerConn(raw, config)
		if err != nil {
			return
		}
		after(c, chans, reqs)
		_ = c.Close()
		_ = c.Wait()
	})
	text := fmt.Sprintf("[127.0.0.1]:%d %s", s.port, ssh.MarshalAuthorizedKey(signer.PublicKey()))
	f, err := os.OpenFile(h.path(".ssh/known_hosts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
	return s
}

// anyKey lets every key in.
func anyKey() *ssh.ServerConfig {
	return &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
}

// obey runs "exit N" and nothing else.
func obey(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
	var wg sync.WaitGroup
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			break
		}
		wg.Go(func() {
			for req := range reqs {
				_ = req.Reply(req.Type == "exec", nil)
				if req.Type == "exec" {
					code := byte(0)
					_, _ = fmt.Sscanf(strings.TrimLeft(string(req.Payload[4:]), " "), "exit %d", &code)
					_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, code})
					_ = ch.Close()
				}
			}
		})
	}
	wg.Wait()
}
