// Package haproxy takes servers out of backends of HAProxy and puts them back: it implements [sluice.Balancer] with the
// runtime API, over connections that somebody else opens. It must not know why, or how they are opened.
//
// A socket may be that of a process ("stats socket"), or that of the master ("haproxy -S"). The master's knows all
// workers, also those that a reload left to finish what they have: they are asked and told, too, and what is in flight
// there counts. Several sockets are several processes that share the work; what holds must hold in all of them.
//
// A pool is a backend. A reload of HAProxy forgets what it was told, unless it loads its servers' states from a file, so
// who needs a server to stay out looks again.
package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"sluice"
)

// answerLimit is how long one answer may take, maxAnswer how long it may be.
const (
	answerLimit = 10 * time.Second
	maxAnswer   = 16 << 20
)

// Dial opens a connection to a socket.
type Dial func(ctx context.Context) (net.Conn, error)

// Balancer is one HAProxy.
type Balancer struct{ sockets []Dial }

var _ sluice.Balancer = (*Balancer)(nil)

// New makes a balancer of the sockets of its processes; at least one. It opens none yet.
func New(sockets ...Dial) *Balancer { return &Balancer{sockets} }

// process is one process behind a socket.
type process struct {
	dial   Dial
	prefix string // by which the master hands a command on
	old    bool   // it takes no new connections, and ends when those that it has do
}

// processes finds out who is behind the sockets.
func (b *Balancer) processes(ctx context.Context) ([]process, error) {
	if len(b.sockets) == 0 {
		return nil, errors.New("no socket of HAProxy is named")
	}
	var out []process
	for _, dial := range b.sockets {
		answer, err := ask(ctx, process{dial: dial}, "show proc")
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(answer, "#<PID>") { // a process by itself does not know the command
			out = append(out, process{dial: dial})
			continue
		}
		workers := workersOf(dial, answer)
		if len(workers) == 0 {
			return nil, errors.New("the master of HAProxy has no workers")
		}
		out = append(out, workers...)
	}
	return out, nil
}

// workersOf reads the answer of a master.
func workersOf(dial Dial, answer string) (out []process) {
	old := false
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		switch f := strings.Fields(line); {
		case strings.HasPrefix(line, "# "):
			old = line == "# old workers"
		case len(f) > 1 && f[1] == "worker":
			out = append(out, process{dial, "@!" + f[0] + " ", old})
		}
	}
	return out
}

// each asks every process. One that was old and has ended meanwhile has nothing to say.
func (b *Balancer) each(ctx context.Context, do func(process) error) error {
	all, err := b.processes(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		err := do(p)
		if p.old && sluice.CodeOf(err) == sluice.NotFound {
			continue // it is older than the server
		}
		if err != nil && p.old {
			if still, lookErr := b.processes(ctx); lookErr == nil && !has(still, p.prefix) {
				continue
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func has(all []process, prefix string) bool {
	for _, p := range all {
		if p.prefix == prefix {
			return true
		}
	}
	return false
}

// Pool implements [sluice.Balancer].
func (b *Balancer) Pool(ctx context.Context, pool string) (sluice.BalancedPool, error) {
	if err := checkName("pool", pool); err != nil {
		return sluice.BalancedPool{}, err
	}
	merged := merger{pool: pool}
	err := b.each(ctx, func(p process) error {
		servers, err := read(ctx, p, pool)
		if err != nil {
			return err
		}
		return merged.add(servers, p.old)
	})
	if err != nil {
		return sluice.BalancedPool{}, err
	}
	return merged.done()
}

// words are what states are called in the runtime API.
var words = map[sluice.ServerState]string{sluice.ServerUp: "ready", sluice.ServerDraining: "drain", sluice.ServerMaintenance: "maint"}

// Set implements [sluice.Balancer].
func (b *Balancer) Set(ctx context.Context, pool, server string, state sluice.ServerState) error {
	word, ok := words[state]
	if !ok {
		return fmt.Errorf("HAProxy cannot be told to have a server %s", state)
	}
	if err := errors.Join(checkName("pool", pool), checkName("server", server)); err != nil {
		return err
	}
	return b.each(ctx, func(p process) error {
		answer, err := ask(ctx, p, "set server "+pool+"/"+server+" state "+word)
		if err != nil {
			return err
		}
		if p.old && strings.HasPrefix(answer, "Proxy is disabled") {
			return nil // it cannot be told any more; that it is not drained shows when it is read
		}
		return refusal(answer)
	})
}

// refusal is what a command that answers nothing where it worked answers otherwise.
func refusal(answer string) error {
	text := strings.TrimSpace(answer)
	switch {
	case text == "":
		return nil
	case strings.HasPrefix(text, "No such server"), strings.HasPrefix(text, "No such backend"), strings.HasPrefix(text, "No such proxy"), strings.HasPrefix(text, "Can't find backend"):
		return sluice.Errorf(sluice.NotFound, "HAProxy says: %s", text)
	case strings.HasPrefix(text, "Permission denied"):
		return sluice.Errorf(sluice.Config, "HAProxy says: %s", text).WithHint(`the socket needs "level admin" in its "stats socket" line`)
	}
	line, _, _ := strings.Cut(text, "\n")
	return fmt.Errorf("HAProxy says: %.200s", line)
}

// checkName refuses what would be more than a name in a command.
func checkName(what, name string) error {
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.:", c) >= 0) {
			return sluice.Errorf(sluice.Config, "%q is not the name of a %s: HAProxy's have letters, digits, and - _ . :", name, what)
		}
	}
	if name == "" {
		return sluice.Errorf(sluice.Config, "a %s of HAProxy needs a name", what)
	}
	return nil
}

// ask sends a command and returns the whole answer. Each command has a connection of its own: HAProxy answers one and
// closes.
func ask(ctx context.Context, p process, command string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, fmt.Errorf("HAProxy did not answer within %s", answerLimit))
	defer cancel()
	c, err := p.dial(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot reach HAProxy: %w", err)
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	answer, err := exchange(c, p.prefix+command)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("asking HAProxy %q: %w", command, context.Cause(ctx))
	case err != nil:
		return "", fmt.Errorf("asking HAProxy %q: %w", command, err)
	}
	return answer, nil
}

func exchange(c net.Conn, command string) (string, error) {
	if _, err := io.WriteString(c, command+"\n"); err != nil {
		return "", err
	}
	// The master does not close by itself, so the end of the answer ends it. A connection that is cut off ends as one that is
	// over does: half a list of servers must not pass for a list.
	var answer []byte
	buffer := make([]byte, 64<<10)
	for !whole(string(answer)) {
		n, err := c.Read(buffer)
		answer = append(answer, buffer[:n]...)
		if err != nil && !whole(string(answer)) {
			return "", fmt.Errorf("the answer was cut off after %d bytes: %w", len(answer), err)
		}
		if len(answer) > maxAnswer {
			return "", fmt.Errorf("the answer has more than %d bytes", maxAnswer)
		}
	}
	return string(answer), nil
}

// whole reports whether an answer has its end, an empty line.
func whole(answer string) bool { return answer == "\n" || strings.HasSuffix(answer, "\n\n") }
