package sshexec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
)

var errNo = errors.New("no")

func noKeys(t testing.TB, h *home) { h.write(t, ".ssh/config", "IdentityFile none\n") }

func passwords(want string) *ssh.ServerConfig {
	return &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		if string(p) == want {
			return nil, nil
		}
		return nil, errNo
	}}
}

// asking asks rounds of questions; the last answer must be the password.
func asking(want string, rounds ...[]string) *ssh.ServerConfig {
	return &ssh.ServerConfig{KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		last := ""
		for _, questions := range rounds {
			echos := make([]bool, len(questions))
			for i, q := range questions {
				echos[i] = q[len(q)-1] == '!' // "Name!" is asked with echo
			}
			answers, err := ask("", "", questions, echos)
			if err != nil {
				return nil, err
			}
			if len(answers) > 0 {
				last = answers[len(answers)-1]
			}
		}
		if last != want {
			return nil, errNo
		}
		return nil, nil
	}}
}

func TestPassword(t *testing.T) {
	both := passwords("right")
	both.KeyboardInteractiveCallback = asking("right", []string{"Password: "}).KeyboardInteractiveCallback
	for _, c := range []struct {
		name     string
		server   *ssh.ServerConfig
		password string
		failure  sluice.ConnectFailure // "" is success
		offered  bool                  // Password of the ConnectError
		accepted []bool
	}{
		{"right", passwords("right"), "right", "", false, []bool{true}},
		{"wrong", passwords("right"), "wrong", sluice.AuthRefused, true, []bool{false}},
		{"none", passwords("right"), "", sluice.NeedSecret, false, nil},
		{"asked", asking("right", []string{"Password: "}), "right", "", false, []bool{true}},
		{"asked in words", asking("right", []string{"root's PASSWORD on x:"}, []string{}), "right", "", false, []bool{true}},
		{"asked, wrong", asking("right", []string{"Password: "}), "wrong", sluice.AuthRefused, true, []bool{false}},
		{"asked, none", asking("right", []string{"Password: "}), "", sluice.NeedSecret, false, nil},
		{"asked twice", asking("right", []string{"Password: "}, []string{"Password: "}), "right", sluice.AuthRefused, true, []bool{false}},
		{"once in all methods", both, "wrong", sluice.AuthRefused, true, []bool{false}},
		{"asked with echo", asking("right", []string{"Password!"}), "right", sluice.AuthRefused, false, nil},
		{"asked for something else", asking("right", []string{"One-time code: "}), "right", sluice.AuthRefused, false, nil},
		{"asked for more", asking("right", []string{"Password: ", "Password again: "}), "right", sluice.AuthRefused, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t)
			noKeys(t, h)
			s := serveSSH(t, h, c.server, obey)
			who := &creds{password: c.password}
			tr := h.transport(t, with(who))
			if c.failure == "" {
				l := connect(t, tr, "web1", s.ssh())
				if got := do(t, l, "exit 4", ""); got.status.Code != 4 {
					t.Errorf("got %+v", got)
				}
				_ = l.Close()
			} else {
				err := failure(t, tr, "web1", s.ssh())
				wantFailure(t, err, c.failure)
				if err.Password != c.offered {
					t.Errorf("Password is %v: %v", err.Password, err)
				}
				if c.failure == sluice.NeedSecret && !errors.Is(err, sluice.ErrNoSecret) {
					t.Errorf("%v does not wrap ErrNoSecret", err)
				}
			}
			if !slices.Equal(who.accepted, c.accepted) {
				t.Errorf("done was called with %v, want %v", who.accepted, c.accepted)
			}
			if s.accepted() != 1 {
				t.Errorf("%d connections: a login must not be tried again", s.accepted())
			}
			for _, host := range who.hosts {
				if host != "web1" {
					t.Errorf("the password was asked for %s", host)
				}
			}
		})
	}
}

// Keys first: where one is enough, nobody is asked for a password.
func TestPasswordOnlyIfNeeded(t *testing.T) {
	h := newHome(t)
	config := passwords("right")
	config.PublicKeyCallback = anyKey().PublicKeyCallback
	s := serveSSH(t, h, config, obey)
	who := &creds{password: "right"}
	_ = connect(t, h.transport(t, with(who)), "web1", s.ssh()).Close()
	if who.logins != 0 {
		t.Error("the password was asked for")
	}
	h.write(t, ".ssh/config", "PreferredAuthentications password,publickey\n")
	_ = connect(t, h.transport(t, with(who)), "web1", s.ssh()).Close()
	if who.logins != 1 {
		t.Error("the order of ssh_config is not followed")
	}
	h.write(t, ".ssh/config", "PasswordAuthentication no\nPubkeyAuthentication no\n")
	wantFailure(t, failure(t, h.transport(t, with(who)), "web1", s.ssh()), sluice.AuthRefused)
	if who.logins != 1 {
		t.Error("a password was asked for although ssh_config forbids it")
	}
}

func TestKeyAndPassword(t *testing.T) {
	h := newHome(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PasswordCallback: passwords("right").PasswordCallback}}
	}}
	s := serveSSH(t, h, config, obey)
	who := &creds{password: "right"}
	_ = connect(t, h.transport(t, with(who)), "web1", s.ssh()).Close()
	wrong := &creds{password: "wrong"}
	err := failure(t, h.transport(t, with(wrong)), "web1", s.ssh())
	wantFailure(t, err, sluice.AuthRefused)
	if !slices.Equal(who.accepted, []bool{true}) || !slices.Equal(wrong.accepted, []bool{false}) || !err.Password {
		t.Errorf("%v, %v, %+v", who.accepted, wrong.accepted, err)
	}
}

// A password that is right, before a second step that fails, was accepted.
func TestPasswordThenKey(t *testing.T) {
	h := newHome(t)
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
			PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errNo },
		}}
	}}
	s := serveSSH(t, h, config, obey)
	who := &creds{password: "right"}
	err := failure(t, h.transport(t, with(who)), "web1", s.ssh())
	wantFailure(t, err, sluice.AuthRefused)
	if !slices.Equal(who.accepted, []bool{true}) || err.Password {
		t.Errorf("%v, %+v", who.accepted, err)
	}
}

// A host that hangs up on the password may have counted it.
func TestHangUpAfterThePassword(t *testing.T) {
	h := newHome(t)
	noKeys(t, h)
	var mu sync.Mutex
	var s *goServer
	config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
		mu.Lock()
		defer mu.Unlock()
		s.hangUp()
		return nil, errNo
	}}
	mu.Lock()
	s = serveSSH(t, h, config, obey)
	mu.Unlock()
	who := &creds{password: "right"}
	err := failure(t, h.transport(t, with(who)), "web1", s.ssh())
	wantFailure(t, err, sluice.AuthRefused)
	if !err.Password || !slices.Equal(who.accepted, []bool{false}) || s.accepted() != 1 {
		t.Errorf("%+v, %v, %d connections", err, who.accepted, s.accepted())
	}
}

// Waiting for one's turn with the password is no fault of the host, and holds no place that others need.
func TestWaitingForThePassword(t *testing.T) {
	h := newHome(t)
	noKeys(t, h)
	s := serveSSH(t, h, passwords("right"), obey)
	who := &creds{password: "right", turn: make(chan struct{}), waiting: make(chan struct{}, 3)}
	tr := h.transport(t, with(who), func(c *Config) { c.HandshakeTimeout, c.Handshakes = 5*time.Second, 1 })
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			other := s.ssh()
			other.User = fmt.Sprint("user", i)
			_ = connect(t, tr, "web1", other).Close()
		})
	}
	for range 3 { // there is one place, and all of them get as far
		<-who.waiting
	}
	close(who.turn)
	wg.Wait()

	ctx, cancel := context.WithCancel(t.Context())
	stuck := &creds{password: "right", turn: make(chan struct{}), waiting: make(chan struct{}, 1)}
	tr = h.transport(t, with(stuck))
	done := make(chan error, 1)
	go func() {
		_, err := tr.Connect(ctx, "web1", s.ssh())
		done <- err
	}()
	<-stuck.waiting
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(stuck.accepted) > 0 {
		t.Error("done was called for a password that was not given out")
	}
}
