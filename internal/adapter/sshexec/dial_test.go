package sshexec

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/lab/conform"
)

func TestDial(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	conform.Dialing(t, func(t *testing.T) sluice.Link {
		return connect(t, h.transport(t), "h", s.ssh())
	})
}

// A link that was given back opens nothing, also where others keep the connection.
func TestDialOnALinkGivenBack(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h)
	tr := h.transport(t)
	a, b := connect(t, tr, "h", s.ssh()), connect(t, tr, "h", s.ssh())
	_ = a.Close()
	at := fmt.Sprintf("127.0.0.1:%d", s.port)
	if c, err := a.Dial(t.Context(), "tcp", at); err == nil {
		_ = c.Close()
		t.Error("it opened a connection")
	}
	c, err := b.Dial(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// An administrator may forbid it; then the message says what to look at.
func TestDialForbidden(t *testing.T) {
	h := newHome(t)
	s := startSSHD(t, h, "AllowTcpForwarding no", "AllowStreamLocalForwarding no")
	l := connect(t, h.transport(t), "h", s.ssh())
	for network, address := range map[string]string{"tcp": s.name(), "unix": "/run/x"} {
		if _, err := l.Dial(t.Context(), network, strings.NewReplacer("[", "", "]", "").Replace(address)); err == nil || !strings.Contains(err.Error(), "Forwarding") {
			t.Errorf("%s: %v", network, err)
		}
	}
	if o := do(t, l, "echo on", ""); o.stdout != "on\n" {
		t.Errorf("the link does not go on: %+v", o)
	}
}

// A host that never answers costs its caller no more than the context says, and others keep the connection.
func TestDialUnanswered(t *testing.T) {
	h := newHome(t)
	asked := make(chan struct{}, 1)
	over := make(chan struct{})
	s := serveSSH(t, h, anyKey(), func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel, reqs <-chan *ssh.Request) {
		go ssh.DiscardRequests(reqs)
		for range chans {
			asked <- struct{}{}
			<-over
			return
		}
	})
	tr := h.transport(t)
	l := connect(t, tr, "h", s.ssh())
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := l.Dial(ctx, "tcp", "127.0.0.1:9"); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v", err)
	}
	again := connect(t, tr, "h", s.ssh())
	if n := tr.Stats().Handshakes; n != 1 {
		t.Errorf("%d handshakes: the connection was given up", n)
	}
	_, _ = again.Close(), l.Close()
	close(over)
}
