package sshexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/adapter/sshexec/hostkeys"
)

// Pauses between tries of a host that turns connections away. They grow, and are random so that a thousand
// hosts behind one door do not knock in step.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
)

// errBusy marks what a host does when it has too many half-open connections.
var errBusy = errors.New("the host closed the connection before it said who it is")

// probe asks for a host's key only; the login is not begun.
type probe struct{ key ssh.PublicKey }

var errProbed = errors.New("the host key is known now")

// connect makes a connection. With a probe it only learns the host's key, and returns nil.
func (t *Transport) connect(ctx context.Context, d *destination, p *probe) (*conn, error) {
	known, err := t.known(d)
	if err != nil {
		return nil, t.refuseHost(d, err)
	}
	if len(known.Entries) == 0 && p == nil {
		// What it would show makes no difference.
		return nil, t.refuseHost(d, &hostkeys.Refused{Verdict: hostkeys.Unknown, Name: known.Name})
	}
	var via *shared
	if d.via != nil {
		if via, err = t.acquire(ctx, d.via); err != nil {
			return nil, throughJump(d, err)
		}
	}
	c, err := t.retry(ctx, d, via, known, p)
	if c == nil && via != nil {
		t.release(via)
	}
	return c, err
}

// throughJump keeps the kind of failure of a jump host, and names it.
func throughJump(d *destination, err error) error {
	failed := &sluice.ConnectError{Host: d.host, Failure: sluice.NoRoute, Err: fmt.Errorf("jump host %s: %w", d.via.host, err)}
	var jump *sluice.ConnectError
	if errors.As(err, &jump) {
		failed.Failure, failed.Password = jump.Failure, jump.Password
	}
	return failed
}

// retry tries again while the host is busy and there is time.
func (t *Transport) retry(ctx context.Context, d *destination, via *shared, known hostkeys.Host, p *probe) (*conn, error) {
	begun := time.Now()
	budget := d.connectTimeout + t.cfg.HandshakeTimeout
	pause := firstPause
	for {
		c, err := t.attempt(ctx, d, via, known, p)
		if err == nil || !errors.Is(err, errBusy) || time.Since(begun) > budget {
			return c, err
		}
		t.stats.retries.Add(1)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, noRoute(d, "%w", context.Cause(ctx))
		}
		pause = min(2*pause, maxPause)
	}
}

func noRoute(d *destination, format string, args ...any) error {
	return &sluice.ConnectError{Host: d.host, Failure: sluice.NoRoute, Err: fmt.Errorf("%s: "+format, append([]any{d}, args...)...)}
}

func (t *Transport) refuseHost(d *destination, err error) error {
	var r *hostkeys.Refused
	if errors.As(err, &r) && r.Verdict == hostkeys.Unknown {
		const who = ", as the user that Sluice runs as there,"
		where, there, or := "", "", ""
		switch {
		case t.cfg.Learns:
			or = "; or on " + t.cfg.Machine + who + " with --server local"
		case t.cfg.Machine != "":
			where, there = " on "+t.cfg.Machine+who, "--server local "
		}
		err = fmt.Errorf("%w; if this is its first time, have a look at its key%s with: sluice host enrol %s%s%s", err, where, there, d.host, or)
	}
	return &sluice.ConnectError{Host: d.host, Failure: sluice.HostKeyBad, Err: err}
}

// attempt is one try.
func (t *Transport) attempt(ctx context.Context, d *destination, via *shared, known hostkeys.Host, p *probe) (*conn, error) {
	raw, err := t.dial(ctx, d, via)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if errors.Is(err, syscall.ECONNRESET) { // it was quicker than our connect
			return nil, noRoute(d, "%w: %w", errBusy, err)
		}
		return nil, noRoute(d, "%w", err)
	}
	w := newWire(raw, d.algorithms)
	g, err := startGuard(ctx, t.slots, t.cfg.HandshakeTimeout, func() { _ = w.Close() })
	if err != nil {
		_ = w.Close()
		return nil, noRoute(d, "%w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	l := &login{ctx: ctx, t: t, d: d, guard: g}
	c, err := t.handshake(w, d, known, l, p)
	l.finish(err)
	expired, cancelled := g.stop(), !stop()
	if err == nil {
		c.via = via
		return c, nil // if it was cut off at the last moment, that shows in its use
	}
	_ = w.Close()
	if p != nil && errors.Is(err, errProbed) {
		return nil, nil
	}
	return nil, t.explain(ctx, d, l, err, expired, cancelled)
}

// explain finds out why a handshake failed.
func (t *Transport) explain(ctx context.Context, d *destination, l *login, err error, expired, cancelled bool) error {
	var host *hostkeys.Refused
	var negotiation *ssh.AlgorithmNegotiationError
	if errors.As(err, &host) {
		return t.refuseHost(d, err)
	}
	if failure, cause, ok := l.failure(err); ok && !(cancelled && !l.refused) {
		return &sluice.ConnectError{Host: d.host, Failure: failure, Password: l.refused, Err: cause}
	}
	switch {
	case cancelled:
		return noRoute(d, "%w", context.Cause(ctx))
	case expired:
		return noRoute(d, "the handshake did not end within %s", t.cfg.HandshakeTimeout)
	case errors.As(err, &negotiation):
		return noRoute(d, "the host offers no %s that is trusted, but only %s", negotiation.What, quoteAll(negotiation.RequestedAlgorithms))
	case !l.reached && hangsUp(err):
		return noRoute(d, "%w: %s", errBusy, printable(err.Error()))
	}
	return noRoute(d, "%w", err)
}

func hangsUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (t *Transport) dial(ctx context.Context, d *destination, via *shared) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.connectTimeout, fmt.Errorf("no connection within %s", d.connectTimeout))
	defer cancel()
	t.stats.dials.Add(1)
	if via != nil {
		return via.conn.tunnel(ctx, d.address, d.port)
	}
	address := hostPort(d.address, d.port)
	if t.cfg.Dial != nil {
		return t.cfg.Dial(ctx, d.network, address)
	}
	dialer := net.Dialer{KeepAlive: -1} // there are keepalives of our own
	if d.bind != "" {
		local, err := net.ResolveTCPAddr(d.network, net.JoinHostPort(d.bind, "0"))
		if err != nil {
			return nil, fmt.Errorf("BindAddress: %w", err)
		}
		dialer.LocalAddr = local
	}
	c, err := dialer.DialContext(ctx, d.network, address)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return c, err
}

// handshake runs the library, whose panics over what a host sends cost this attempt only.
func (t *Transport) handshake(w *wire, d *destination, known hostkeys.Host, l *login, p *probe) (c *conn, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("panic in the handshake: %v\n%s", r, debug.Stack())
		}
	}()
	config := &ssh.ClientConfig{
		Config: ssh.Config{KeyExchanges: d.algorithms.kex, Ciphers: d.algorithms.ciphers, MACs: d.algorithms.macs},
		User:   d.user,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) (err error) {
			defer func() { // it runs in a goroutine of the library
				if r := recover(); r != nil {
					err = fmt.Errorf("panic over the host key: %v\n%s", r, debug.Stack())
				}
			}()
			if p != nil {
				p.key = key
				return errProbed
			}
			return known.Check(key, t.cfg.Clock())
		},
		AuthCallback:      l.next,
		HostKeyAlgorithms: known.Algorithms(d.algorithms.hostKeys),
		ClientVersion:     clientVersion,
	}
	if p != nil { // the key itself, not a certificate for it
		config.HostKeyAlgorithms = hostkeys.Host{}.Algorithms(d.algorithms.hostKeys)
	}
	t.stats.handshakes.Add(1)
	sc, chans, reqs, err := ssh.NewClientConn(w, "", config)
	if err != nil {
		return nil, err
	}
	return newConn(t, d, w, sc, chans, reqs), nil
}

const clientVersion = "SSH-2.0-Sluice"

// known gathers what is known of a host's keys.
func (t *Transport) known(d *destination) (hostkeys.Host, error) {
	var files []*hostkeys.DB
	for _, path := range d.knownHosts {
		db, err := t.knownHosts.get(path)
		if err != nil {
			return hostkeys.Host{}, fmt.Errorf("the file of known hosts cannot be used: %w", err)
		}
		files = append(files, db)
	}
	h := hostkeys.Find(files, d.address, d.port, d.alias)
	if d.revoked != "" {
		list, err := t.revoked.get(d.revoked)
		if err != nil {
			return hostkeys.Host{}, fmt.Errorf("the list of revoked host keys cannot be used: %w", err)
		}
		h.Lists = append(h.Lists, list)
	}
	return h, nil
}
