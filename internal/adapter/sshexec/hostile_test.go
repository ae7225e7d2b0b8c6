package sshexec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
)

// trusting makes some key known for a port, so that the connection is tried.
func trusting(t *testing.T, h *home, port int) {
	t.Helper()
	h.write(t, ".ssh/known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s", port, h.read(t, ".ssh/id_ed25519.pub")))
}

// kexInitPacket is a list of algorithms as a host sends it.
func kexInitPacket(kex, hostKeys, ciphers, macs string) []byte {
	payload := ssh.Marshal(&struct {
		Type                          byte
		Cookie                        [16]byte
		Kex, HostKeys, C1, C2, M1, M2 string
		Comp1, Comp2, Lang1, Lang2    string
		Follows                       bool
		Reserved                      uint32
	}{msgKexInit, [16]byte{}, kex, hostKeys, ciphers, ciphers, macs, macs, "none", "none", "", "", false, 0})
	const padding = 8
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(packet, padding)
	return append(append(packet, payload...), make([]byte, padding)...)
}

const version = "SSH-2.0-Test\r\n"

// Whatever a host does before the login costs one try of bounded length.
func TestHostileBeforeTheLogin(t *testing.T) {
	hold := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	flood := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
			}
		}
	}
	send := func(data string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, data)
			hold(c)
		}
	}
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		text  string
	}{
		{"says nothing", hold, "did not end within"},
		{"says one byte at a time", func(c net.Conn) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := c.Write([]byte("S")); err != nil {
					return
				}
			}
		}, "did not end within"},
		{"talks for ever", flood("welcome\r\n"), ""},
		{"talks for ever on one line", flood("welcome"), ""},
		{"sends a huge list", send(version + "\xff\xff\xff\xff" + strings.Repeat("x", 100)), "too long"},
		{"sends half a list", send(version + string(kexInitPacket("curve25519-sha256", "ssh-ed25519", "aes128-gcm@openssh.com", "")[:40])), "did not end within"},
		{"is no SSH server", send("HTTP/1.0 400 Bad Request\r\n\r\n"), "did not end within"},
		{"sends garbage", send(version + strings.Repeat("\x00\x00\x00\x0c\x04garbage!", 100)), "first packet"},
		{"offers old key exchange", send(version + string(kexInitPacket("diffie-hellman-group14-sha1,diffie-hellman-group1-sha1", "ssh-ed25519", "aes128-gcm@openssh.com", ""))), "no key exchange that is trusted"},
		{"offers group exchange", send(version + string(kexInitPacket("diffie-hellman-group-exchange-sha256", "ssh-ed25519", "aes128-gcm@openssh.com", ""))), "no key exchange that is trusted"},
		{"offers old host keys", send(version + string(kexInitPacket("curve25519-sha256", "ssh-rsa,ssh-dss", "aes128-gcm@openssh.com", ""))), "no host key that is trusted"},
		{"offers old ciphers", send(version + string(kexInitPacket("curve25519-sha256", "ssh-ed25519", "aes128-cbc,3des-cbc,arcfour,none", "hmac-sha2-256-etm@openssh.com"))), "cipher that is trusted"},
		{"offers old MACs", send(version + string(kexInitPacket("curve25519-sha256,"+strictKeyExchange, "ssh-ed25519", "aes128-ctr", "hmac-sha1,hmac-sha2-256,none"))), "MAC that is trusted"},
		{"offers chacha20 without strictness", send(version + string(kexInitPacket("curve25519-sha256", "ssh-ed25519", "chacha20-poly1305@openssh.com", ""))), "CVE-2023-48795"},
		{"offers EtM without strictness", send(version + string(kexInitPacket("curve25519-sha256", "ssh-ed25519", "aes256-ctr", "hmac-sha2-256-etm@openssh.com"))), "CVE-2023-48795"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			s := listen(t, c.serve)
			trusting(t, h, s.port)
			tr := h.transport(t, func(c *Config) { c.HandshakeTimeout = time.Second })
			wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.NoRoute, c.text)
			if s.accepted() != 1 {
				t.Errorf("%d connections", s.accepted())
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	h := newHome(t)
	port := freePort(t)
	trusting(t, h, port)
	tr := h.transport(t)
	wantFailure(t, failure(t, tr, "web1", sluice.SSH{Address: "127.0.0.1", Port: port}), sluice.NoRoute, "refused", fmt.Sprint(port))
	never := h.transport(t, func(c *Config) {
		c.ConnectTimeout = 50 * time.Millisecond
		c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
	})
	wantFailure(t, failure(t, never, "web1", sluice.SSH{Address: "127.0.0.1", Port: port}), sluice.NoRoute, "no connection within 50ms")
}

// A host that turns connections away before it says who it is, is tried again.
func TestBusyHostIsTriedAgain(t *testing.T) {
	h := newHome(t)
	var turned atomic.Int32
	real := startSSHD(t, h)
	door := listen(t, func(c net.Conn) {
		switch turned.Add(1) {
		case 1:
			return // closed at once
		case 2:
			_, _ = io.WriteString(c, "Exceeded MaxStartups\r\n")
			return
		case 3:
			_ = c.(*net.TCPConn).SetLinger(0) // a reset
			return
		}
		to, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", real.port))
		if err != nil {
			return
		}
		defer func() { _ = to.Close() }()
		go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
		_, _ = io.Copy(c, to)
	})
	h.write(t, ".ssh/config", "HostKeyAlias "+real.name()+"\n")
	tr := h.transport(t)
	_ = connect(t, tr, "web1", door.ssh()).Close()
	if st := tr.Stats(); st.Retries != 3 || st.Dials != 4 {
		t.Errorf("got %+v", st)
	}
	never := listen(t, func(net.Conn) {})
	hurry := h.transport(t, func(c *Config) { c.ConnectTimeout, c.HandshakeTimeout = time.Second, time.Second })
	wantFailure(t, failure(t, hurry, "web1", never.ssh()), sluice.NoRoute, "before it said who it is")
	if hurry.Stats().Retries == 0 {
		t.Error("not tried again")
	}
}

func TestMaxStartups(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h, "MaxStartups 1")
	tr := h.transport(t)
	links := make(chan sluice.Link, 10)
	for i := range cap(links) {
		go func() {
			other := s.ssh()
			other.Identity = []string{h.path(".ssh/id_ed25519"), fmt.Sprint("/not-there/", i)}
			l, err := tr.Connect(t.Context(), "web1", other)
			if err != nil {
				t.Error(err)
			}
			links <- l
		}()
	}
	for range cap(links) {
		if l := <-links; l != nil {
			_ = l.Close()
		}
	}
	if tr.Stats().Retries == 0 {
		t.Error("the door was never shut: the test shows nothing")
	}
}

func TestWeakServersAreRefused(t *testing.T) {
	h := newHome(t)
	for _, option := range []string{
		"KexAlgorithms diffie-hellman-group14-sha1", "Ciphers aes256-cbc", "HostKeyAlgorithms ssh-rsa",
	} {
		options := []string{option}
		if strings.HasPrefix(option, "HostKey") {
			keygen(t, h.path("rsa"), "-t", "rsa", "-b", "2048")
			options = append(options, "HostKey "+h.path("rsa"))
		}
		s := startSSHD(t, h, options...)
		wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.NoRoute, "that is trusted, but only")
	}
	s := startSSHD(t, h)
	h.write(t, ".ssh/config", "Ciphers aes128-cbc,3des-cbc\n")
	wantFailure(t, failure(t, h.transport(t), "web1", s.ssh()), sluice.NoRoute, "leaves none that is trusted")
	h.write(t, ".ssh/config", "Ciphers aes256-ctr,aes128-cbc\nKexAlgorithms ^ecdh-sha2-nistp256\nMACs -*256*\n")
	tr := h.transport(t)
	l := connect(t, tr, "web1", s.ssh())
	got := l.(*link).shared.conn.ssh.(ssh.AlgorithmsConnMetadata).Algorithms()
	if got.KeyExchange != "ecdh-sha2-nistp256" || got.Read.Cipher != "aes256-ctr" || got.Write.MAC != "hmac-sha2-512-etm@openssh.com" {
		t.Errorf("got %+v", got)
	}
	_ = l.Close()
}

// After the login: a host that never answers, or wants things itself.
func TestHostileAfterTheLogin(t *testing.T) {
	h := newHome(t)
	discard := func(reqs <-chan *ssh.Request) { go ssh.DiscardRequests(reqs) }
	t.Run("never opens a session", func(t *testing.T) {
		t.Parallel()
		s := serveSSH(t, h, anyKey(), func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
			discard(reqs)
			for range chans {
			}
		})
		tr := h.transport(t, func(c *Config) { c.HandshakeTimeout = 2 * time.Second })
		l := connect(t, tr, "web1", s.ssh())
		_, err := l.Start(t.Context(), "true", false)
		var c *sluice.ConnectError
		if !errors.As(err, &c) || !strings.Contains(err.Error(), "did not open a session") || errors.Is(err, sluice.ErrLinkLost) {
			t.Errorf("got %v", err)
		}
		fresh := connect(t, tr, "web1", s.ssh())
		if s.accepted() != 2 {
			t.Error("the stuck connection is given out again")
		}
		_, _ = l.Close(), fresh.Close()
	})
	t.Run("never answers the command", func(t *testing.T) {
		t.Parallel()
		s := serveSSH(t, h, anyKey(), func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
			discard(reqs)
			for nc := range chans {
				_, reqs, _ := nc.Accept()
				go func() {
					for range reqs { // and no reply
					}
				}()
			}
		})
		tr := h.transport(t, func(c *Config) { c.HandshakeTimeout = 2 * time.Second })
		l := connect(t, tr, "web1", s.ssh())
		if _, err := l.Start(t.Context(), "true", false); !errors.Is(err, sluice.ErrLinkLost) {
			t.Errorf("the command may have been started, and the error is %v", err)
		}
		_ = l.Close()
	})
	t.Run("refuses commands", func(t *testing.T) {
		t.Parallel()
		s := serveSSH(t, h, anyKey(), func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
			discard(reqs)
			for nc := range chans {
				_, reqs, _ := nc.Accept()
				discard(reqs)
			}
		})
		l := connect(t, h.transport(t), "web1", s.ssh())
		_, err := l.Start(t.Context(), "true", false)
		if c := (*sluice.ConnectError)(nil); !errors.As(err, &c) || errors.Is(err, sluice.ErrLinkLost) {
			t.Errorf("got %v", err)
		}
		if _, err = l.Start(t.Context(), "true", true); err == nil || !strings.Contains(err.Error(), "no terminal") {
			t.Errorf("got %v", err)
		}
		_ = l.Close()
	})
	t.Run("opens channels", func(t *testing.T) {
		t.Parallel()
		refused := make(chan error, 2*maxIntrusions)
		s := serveSSH(t, h, anyKey(), func(c *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
			discard(reqs)
			go func() {
				for nc := range chans {
					_ = nc.Reject(ssh.Prohibited, "")
				}
			}()
			for _, kind := range []string{"session", "forwarded-tcpip", "auth-agent@openssh.com", "x11", "direct-tcpip"} {
				_, _, err := c.OpenChannel(kind, nil)
				refused <- err
			}
			for {
				if _, _, err := c.OpenChannel("x11", nil); err == nil {
					refused <- nil
				} else if full := (*ssh.OpenChannelError)(nil); !errors.As(err, &full) {
					return // dropped
				}
			}
		})
		tr := h.transport(t)
		l := connect(t, tr, "web1", s.ssh())
		<-l.(*link).shared.conn.dead
		for len(refused) > 0 {
			if full := (*ssh.OpenChannelError)(nil); !errors.As(<-refused, &full) {
				t.Error("a channel of the host was opened")
			}
		}
		_ = l.Close()
	})
	t.Run("closes no session", func(t *testing.T) {
		t.Parallel()
		s := serveSSH(t, h, anyKey(), func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
			discard(reqs)
			for nc := range chans {
				_, reqs, _ := nc.Accept()
				go func() {
					for req := range reqs {
						_ = req.Reply(true, nil)
					}
				}()
			}
		})
		tr := h.transport(t, func(c *Config) { c.HandshakeTimeout = 2 * time.Second })
		l := connect(t, tr, "web1", s.ssh())
		session, err := l.Start(t.Context(), "true", false)
		if err != nil {
			t.Fatal(err)
		}
		_ = session.Close()
		if _, err := io.ReadAll(session.Stdout()); err != nil {
			t.Error(err)
		}
		_ = l.Close()
	})
}

// freezer is a wire that can be made to carry nothing more, without being cut.
type freezer struct {
	net.Conn
	frozen atomic.Bool
	closed chan struct{}
}

func (f *freezer) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.frozen.Load() {
		<-f.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (f *freezer) Close() error {
	err := f.Conn.Close()
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	return err
}

func TestKeepAlive(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	var f *freezer
	tr := h.transport(t, func(c *Config) {
		c.KeepAlive, c.KeepAliveMisses = 60*time.Millisecond, 20
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			raw, err := d.DialContext(ctx, network, address)
			f = &freezer{Conn: raw, closed: make(chan struct{})}
			return f, err
		}
	})
	l := connect(t, tr, "web1", s.ssh())
	defer func() { _ = l.Close() }()
	// A silent command over many intervals: the host answers for it.
	if got := do(t, l, "sleep 1.6; echo awake", ""); got.stdout != "awake\n" || got.err != nil {
		t.Fatalf("got %+v", got)
	}
	session, err := l.Start(t.Context(), "cat", false)
	if err != nil {
		t.Fatal(err)
	}
	f.frozen.Store(true)
	if _, err := io.ReadAll(session.Stdout()); err != nil {
		t.Error(err)
	}
	if _, err := session.Wait(); !errors.Is(err, sluice.ErrLinkLost) || !strings.Contains(err.Error(), "no sign of life") {
		t.Errorf("got %v", err)
	}
}

func TestCancelledConnect(t *testing.T) {
	h := newHome(t)
	arrived := make(chan struct{}, 2)
	s := listen(t, func(c net.Conn) {
		arrived <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	trusting(t, h, s.port)
	tr := h.transport(t)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := tr.Connect(ctx, "web1", s.ssh())
		first <- err
	}()
	<-arrived
	stay, leave := context.WithCancel(t.Context())
	go func() {
		_, err := tr.Connect(stay, "web1", s.ssh())
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	leave()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() {
		_, err := tr.Connect(t.Context(), "web1", s.ssh())
		first <- err
	}()
	<-arrived
	_ = tr.Close()
	if err := <-first; !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
	wantFailure(t, failure(t, tr, "web1", s.ssh()), sluice.NoRoute, "closed")
}

// Who waits for a connection still gets it when the one who began to make it leaves.
func TestOthersOutliveTheFirst(t *testing.T) {
	h := newHome(t)
	noKeys(t, h)
	s := serveSSH(t, h, passwords("right"), obey)
	who := &creds{password: "right", turn: make(chan struct{}), waiting: make(chan struct{}, 1)}
	tr := h.transport(t, with(who))
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := tr.Connect(ctx, "web1", s.ssh())
		first <- err
	}()
	<-who.waiting
	go func() {
		l, err := tr.Connect(t.Context(), "web1", s.ssh())
		if err == nil {
			_ = l.Close()
		}
		second <- err
	}()
	for refs := 0; refs < 2; {
		tr.mu.Lock()
		for _, sh := range tr.shared {
			refs = sh.refs
		}
		tr.mu.Unlock()
		runtime.Gosched()
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(who.turn)
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func FuzzKexInit(f *testing.F) {
	good := kexInitPacket("curve25519-sha256,"+strictKeyExchange, "ssh-ed25519", "chacha20-poly1305@openssh.com", "")
	f.Add([]byte(version), good, 7)
	f.Add([]byte("welcome\n"+version), kexInitPacket("x", "y", "aes128-ctr", "hmac-sha2-256-etm@openssh.com"), 1)
	f.Add([]byte(version), []byte{0xff, 0xff, 0xff, 0xff, 0}, 3)
	f.Fuzz(func(t *testing.T, head, packet []byte, piece int) {
		offered, data := algorithms{ciphers: ciphers(), macs: macs()}, append(append([]byte{}, head...), packet...)
		whole := kexReader{offered: offered}
		want := whole.feed(data)
		pieces := kexReader{offered: offered}
		var got error
		for rest := data; len(rest) > 0 && got == nil; {
			n := min(max(piece, 1), len(rest))
			got = pieces.feed(rest[:n])
			rest = rest[n:]
			if len(pieces.buf) > maxPreamble+maxKexInit+len(data[:n]) {
				t.Fatalf("%d bytes are kept", len(pieces.buf))
			}
		}
		if (got == nil) != (want == nil) && len(data) < maxPreamble {
			t.Fatalf("in one piece: %v; in pieces of %d: %v", want, piece, got)
		}
	})
}
