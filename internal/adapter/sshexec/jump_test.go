package sshexec

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
)

func hop(s *sshd) string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Twenty hosts behind two jump hosts, all at once: one connection to each jump host.
func TestJumpHostsAreShared(t *testing.T) {
	h := newHome(t)
	first, second, target := startSSHD(t, h), startSSHD(t, h), startSSHD(t, h)
	tr := h.transport(t)
	var wg sync.WaitGroup
	links := make([]sluice.Link, 20)
	for i := range links {
		wg.Go(func() {
			s := target.ssh()
			s.Jump = []string{hop(first), hop(second)}
			s.Identity = []string{h.path(".ssh/id_ed25519"), fmt.Sprint("/not-there/", i)} // each its own connection
			links[i] = connect(t, tr, sluice.Host(fmt.Sprint("web", i)), s)
			if got := do(t, links[i], "cat; echo $SSH_CONNECTION", "in "); !strings.HasSuffix(strings.TrimSpace(got.stdout), fmt.Sprint(target.port)) {
				t.Errorf("got %+v", got)
			}
		})
	}
	wg.Wait()
	if a, b, c := first.connections(), second.connections(), target.connections(); a != 1 || b != 1 || c != 20 {
		t.Errorf("%d, %d and %d connections", a, b, c)
	}
	if st := tr.Stats(); st.Open != 22 {
		t.Errorf("got %+v", st)
	}
	jump := links[0].(*link).shared.conn.via.conn
	for _, l := range links {
		_ = l.Close()
	}
	select {
	case <-jump.dead:
	case <-short(t).Done():
		t.Error("the jump host is still connected")
	}
}

func TestJumpFromConfig(t *testing.T) {
	h := newHome(t)
	bastion, target := startSSHD(t, h), startSSHD(t, h)
	h.write(t, ".ssh/config", fmt.Sprintf("Host bastion\n HostName 127.0.0.1\n Port %d\n ProxyJump none\nHost *\n ProxyJump bastion\n", bastion.port))
	tr := h.transport(t)
	l := connect(t, tr, "web1", target.ssh())
	if got := do(t, l, "head -c 3000000 /dev/zero | wc -c; cat | wc -c", strings.Repeat("x", 1<<20)); got.stdout != "3000000\n1048576\n" {
		t.Errorf("got %+v", got)
	}
	_ = l.Close()
	if bastion.connections() != 1 {
		t.Error("not through the jump host")
	}
	direct := target.ssh()
	direct.Jump = []string{"none"}
	_ = connect(t, tr, "web1", direct).Close()
	if bastion.connections() != 1 {
		t.Error("through the jump host, although the fleet says none")
	}
}

func TestJumpFailures(t *testing.T) {
	h := newHome(t)
	bastion, target := startSSHD(t, h), startSSHD(t, h)
	through := func(jump ...string) sluice.SSH {
		s := target.ssh()
		s.Jump = jump
		return s
	}
	tr := h.transport(t)
	t.Run("the target is down", func(t *testing.T) {
		s := through(hop(bastion))
		s.Port = freePort(t)
		h.write(t, ".ssh/config", "Host web1\n HostKeyAlias "+target.name()+"\n")
		wantFailure(t, failure(t, tr, "web1", s), sluice.NoRoute, "cannot reach it", "Connection refused")
		h.write(t, ".ssh/config", "")
	})
	t.Run("the jump host is down", func(t *testing.T) {
		h.write(t, ".ssh/config", "Host 127.0.0.1\n HostKeyAlias "+target.name()+"\nHost web1\n HostKeyAlias "+bastion.name()+"\n")
		s := through(fmt.Sprintf("127.0.0.1:%d", freePort(t)))
		wantFailure(t, failure(t, tr, "web1", s), sluice.NoRoute, "jump host 127.0.0.1", "refused")
		h.write(t, ".ssh/config", "")
	})
	t.Run("the jump host is unknown", func(t *testing.T) {
		wantFailure(t, failure(t, tr, "web1", through("localhost:"+fmt.Sprint(bastion.port))), sluice.HostKeyBad, "sluice host enrol localhost")
	})
	t.Run("in circles", func(t *testing.T) {
		h.write(t, ".ssh/config", "Host *\n ProxyJump bastion\n")
		wantFailure(t, failure(t, tr, "web1", target.ssh()), sluice.NoRoute, "go in circles: web1, bastion, bastion")
		h.write(t, ".ssh/config", "")
	})
	t.Run("nonsense", func(t *testing.T) {
		wantFailure(t, failure(t, tr, "web1", through("-oProxyCommand=id")), sluice.NoRoute, "is not [user@]host[:port]")
	})
	t.Run("forwarding is forbidden", func(t *testing.T) {
		strict := startSSHD(t, h, "AllowTcpForwarding no")
		wantFailure(t, failure(t, tr, "web1", through(hop(strict))), sluice.NoRoute, "cannot reach it")
	})
	if st := tr.Stats(); st.Open != 0 {
		t.Errorf("connections are left: %+v", st)
	}
}

// A jump host that dies takes the links through it with it.
func TestJumpHostDies(t *testing.T) {
	h := newHome(t)
	target := startSSHD(t, h)
	bastion := serveSSH(t, h, anyKey(), forwardTo(target.port))
	s := target.ssh()
	s.Jump = []string{fmt.Sprintf("127.0.0.1:%d", bastion.port)}
	l := connect(t, h.transport(t), "web1", s)
	defer func() { _ = l.Close() }()
	session, err := l.Start(t.Context(), "echo up; cat", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Stdout().Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	bastion.hangUp()
	if _, err := io.ReadAll(session.Stdout()); err != nil {
		t.Error(err)
	}
	if _, err := session.Wait(); !errors.Is(err, sluice.ErrLinkLost) {
		t.Errorf("got %v", err)
	}
}

// forwardTo is a jump host for one port.
func forwardTo(port int) channels {
	return func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
		var wg sync.WaitGroup
		wg.Go(func() { ssh.DiscardRequests(reqs) })
		for nc := range chans {
			to, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				_ = nc.Reject(ssh.ConnectionFailed, "down")
				continue
			}
			ch, reqs, err := nc.Accept()
			if err != nil {
				break
			}
			wg.Go(func() { ssh.DiscardRequests(reqs) })
			wg.Go(func() { _, _ = io.Copy(ch, to); _ = ch.Close() })
			wg.Go(func() { _, _ = io.Copy(to, ch); _ = to.Close() })
		}
		wg.Wait()
	}
}

// A jump host that answers nothing holds up neither those who connect nor those who leave.
func TestSilentJumpHost(t *testing.T) {
	h := newHome(t)
	target := startSSHD(t, h)
	bastion := serveSSH(t, h, anyKey(), func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
		go ssh.DiscardRequests(reqs)
		for range chans { // and no answer
		}
	})
	tr := h.transport(t, func(c *Config) { c.ConnectTimeout = time.Second })
	s := target.ssh()
	s.Jump = []string{fmt.Sprintf("127.0.0.1:%d", bastion.port)}
	wantFailure(t, failure(t, tr, "web1", s), sluice.NoRoute, "no connection within 1s")
	wantFailure(t, failure(t, tr, "web1", s), sluice.NoRoute, "no connection within 1s")
	if bastion.accepted() != 2 {
		t.Errorf("%d connections to the jump host: one that does not answer must not be used again", bastion.accepted())
	}
}
