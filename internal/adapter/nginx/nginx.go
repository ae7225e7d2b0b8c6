// Package nginx takes servers out of upstreams of nginx and puts them back: it implements [sluice.Balancer] by marking them
// "down" in the file that has the upstream, and a reload. It runs its programs on the balancer's host through whoever hands
// it a way, and must not know which that is, nor why a server goes.
//
// A pool is an upstream, a server is called by its address as the file has it. Only its line is changed. What is put in
// place is checked by nginx before, put in place by a rename, and put back where nginx does not take it up; several who do
// that at once wait for each other.
//
// nginx does not tell draining from maintenance. A server that is down is drained when the workers from before the reload
// have ended, since they may still hand it requests that they were sent earlier; as long as there are some, at least one is
// counted as in flight. Nor does nginx tell which servers it found dead: up means not marked down.
package nginx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// Config says where nginx is. Run and File are needed.
type Config struct {
	Run  sluice.Run
	File string // that has the upstreams, on the balancer's host
	PID  string // the file with the number of the master; DefaultPID if ""
	// Check and Reload are shell text; DefaultCheck and DefaultReload if "".
	Check, Reload string
	// Within is how long nginx may take for a reload; DefaultWithin if 0.
	Within time.Duration
}

// What is meant where nothing is said.
const (
	DefaultPID    = "/run/nginx.pid"
	DefaultCheck  = "nginx -t -q"
	DefaultReload = "nginx -s reload"
	DefaultWithin = 15 * time.Second
)

// Statuses of the scripts.
const (
	isBroken     = 65
	isNotThere   = 66
	isChanged    = 69
	isNotRunning = 71
	isBusy       = 75
)

// Balancer is one nginx.
type Balancer struct{ cfg Config }

var _ sluice.Balancer = (*Balancer)(nil)

// New makes a balancer. Nothing is read yet.
func New(cfg Config) *Balancer {
	put := func(to *string, otherwise string) {
		if *to == "" {
			*to = otherwise
		}
	}
	put(&cfg.PID, DefaultPID)
	put(&cfg.Check, DefaultCheck)
	put(&cfg.Reload, DefaultReload)
	if cfg.Within == 0 {
		cfg.Within = DefaultWithin
	}
	return &Balancer{cfg}
}

// seen is what there is to know of an nginx.
type seen struct {
	text      string
	changing  map[string]bool // "POOL SERVER" whose change was cut off, or goes on
	workers   int
	ending    int
	counted   bool
	connected map[string]int // by the remote address, as the kernel writes it
}

func (b *Balancer) read(ctx context.Context) (seen, error) {
	out, err := b.run(ctx, reading, nil)
	if err != nil {
		return seen{}, err
	}
	s := seen{changing: map[string]bool{}, connected: map[string]int{}}
	for {
		line, rest, ok := strings.Cut(out, "\n")
		if !ok {
			return seen{}, errors.New("the answer of the balancer's host was cut off")
		}
		out = rest
		kind, what, _ := strings.Cut(line, " ")
		switch kind {
		case "file":
			s.text = out
			if s.workers == 0 {
				return seen{}, errors.New("nginx has no workers")
			}
			return s, nil
		case "changing":
			s.changing[what] = true
		case "current":
			s.workers++
		case "old":
			s.ending++
		case "counted":
			s.counted = true
		case "connected":
			address, n, _ := strings.Cut(what, " ")
			s.connected[address], _ = strconv.Atoi(n)
		}
	}
}

// Pool implements [sluice.Balancer].
func (b *Balancer) Pool(ctx context.Context, pool string) (sluice.BalancedPool, error) {
	now, err := b.read(ctx)
	if err != nil {
		return sluice.BalancedPool{}, err
	}
	lines, err := upstream(now.text, pool)
	if err != nil {
		return sluice.BalancedPool{}, b.inFile(err)
	}
	out := sluice.BalancedPool{Name: pool}
	for _, l := range lines {
		s := now.server(pool, l)
		if i := indexOf(out.Servers, s.Name); i >= 0 { // the same server twice, to give it more
			out.Servers[i].Weight += s.Weight
			if out.Servers[i].State != s.State {
				out.Servers[i].State = sluice.ServerUnknown
			}
			continue
		}
		out.Servers = append(out.Servers, s)
	}
	return out, nil
}

func indexOf(all []sluice.BalancedServer, name string) int {
	for i := range all {
		if all[i].Name == name {
			return i
		}
	}
	return -1
}

func (n seen) server(pool string, l serverLine) sluice.BalancedServer {
	_, down := l.param("down")
	_, backup := l.param("backup")
	s := sluice.BalancedServer{Name: l.name, Address: addressOf(l.name), State: sluice.ServerUp, Weight: l.weight(), Backup: backup, InFlight: -1}
	if kernels := kernelForms(s.Address); n.counted && kernels != nil {
		s.InFlight = 0
		for _, k := range kernels {
			s.InFlight += n.connected[k]
		}
	}
	switch {
	case n.changing[pool+" "+l.name]:
		s.State = sluice.ServerUnknown
	case down && n.ending == 0:
		s.State, s.InFlight = sluice.ServerMaintenance, 0
	case down:
		s.State = sluice.ServerDraining
		if s.InFlight == 0 {
			s.InFlight = 1
		}
	}
	return s
}

// Set implements [sluice.Balancer].
func (b *Balancer) Set(ctx context.Context, pool, server string, state sluice.ServerState) error {
	if state != sluice.ServerUp && !state.Out() {
		return fmt.Errorf("nginx cannot be told to have a server %s", state)
	}
	if strings.ContainsAny(pool+server, " \n") {
		return sluice.Errorf(sluice.Config, "%q and %q are not the names of an upstream and a server", pool, server)
	}
	const often = 5
	for range often {
		now, err := b.read(ctx)
		if err != nil {
			return err
		}
		text, err := mark(now.text, pool, server, state.Out())
		if err != nil {
			return b.inFile(err)
		}
		if text == now.text && !now.changing[pool+" "+server] {
			return nil
		}
		changed, err := b.change(ctx, now.text, text, pool+" "+server)
		if changed || err != nil {
			return err
		}
	}
	return sluice.Errorf(sluice.Conflict, "%s is changed by somebody else again and again", b.cfg.File)
}

// change has nginx run with another text. It reports false where the text was not what it was taken for.
func (b *Balancer) change(ctx context.Context, from, to, what string) (bool, error) {
	tries := max(1, int(b.cfg.Within/(100*time.Millisecond)))
	_, err := b.run(ctx, changing, []byte(to), strconv.Itoa(tries), what, digest(from), digest(to), b.cfg.Check, b.cfg.Reload)
	var failed *failure
	if errors.As(err, &failed) && failed.status.Code == isChanged {
		return false, nil
	}
	return err == nil, err
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// failure is a script that ended otherwise than well.
type failure struct {
	status sluice.ExitStatus
	text   string
}

func (f *failure) Error() string {
	if f.text == "" {
		return fmt.Sprintf("the balancer's host ended it with status %d%s", f.status.Code, f.status.Signal)
	}
	return f.text
}

func (b *Balancer) run(ctx context.Context, script string, stdin []byte, args ...string) (string, error) {
	ran, err := b.cfg.Run(ctx, append([]string{"/bin/sh", "-c", script, "sluice", b.cfg.File, b.cfg.PID}, args...), stdin)
	if err != nil {
		return "", err
	}
	if ran.Status == (sluice.ExitStatus{}) {
		return string(ran.Stdout), nil
	}
	f := &failure{ran.Status, strings.TrimSpace(string(ran.Stderr))}
	code := map[int]sluice.Code{isBroken: sluice.Config, isNotThere: sluice.NotFound, isBusy: sluice.Conflict}[ran.Status.Code]
	if code == "" {
		return "", f
	}
	return "", &sluice.Error{Code: code, Text: "nginx", Err: f}
}

// inFile says which file an error is about.
func (b *Balancer) inFile(err error) error {
	return &sluice.Error{Code: sluice.CodeOf(err), Text: path.Clean(b.cfg.File), Err: err}
}
