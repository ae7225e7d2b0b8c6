package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	perColo = 50
	colos   = 4
	canary  = 4
)

// house is the processes of one soak: hosts that live on, and a server that is killed.
type house struct {
	t       *testing.T
	program string
	dir     string
	address string
	chance  *rand.Rand

	server  *exec.Cmd
	ended   chan struct{} // the server's
	elapsed []time.Duration
}

func build(t *testing.T, dir string) string {
	program := filepath.Join(dir, "simulated")
	if out, err := exec.Command("go", "build", "-o", program, "sluice/internal/lab/simulated").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func newHouse(t *testing.T, seed uint64) *house {
	dir := t.TempDir()
	h := &house{t: t, dir: dir, program: build(t, dir), chance: rand.New(rand.NewPCG(seed, 1))}
	hosts := exec.Command(h.program, "hosts", h.path("hosts"), h.path("trace"))
	if err := hosts.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hosts.Process.Kill(); _ = hosts.Wait() })
	h.until("the hosts are there", func() bool { _, err := os.Stat(h.path("hosts")); return err == nil })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.address = l.Addr().String()
	_ = l.Close()
	h.start()
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			text, _ := os.ReadFile(h.path("server.log"))
			t.Logf("the server said, at the end:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// until waits for something that is asked for again and again.
func (h *house) until(what string, is func() bool) {
	h.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); {
		if time.Now().After(end) {
			h.t.Fatalf("never: %s", what)
		}
		select {
		case <-h.t.Context().Done():
			h.t.Fatal("the test is over")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (h *house) env() []string {
	token, _ := os.ReadFile(h.path("token"))
	return append(os.Environ(), "SIMULATED_HOSTS="+h.path("hosts"), "HOME="+h.dir, "SLUICE_SERVER=http://"+h.address,
		"SLUICE_TOKEN="+strings.TrimSpace(string(token)))
}

func (h *house) start() {
	h.t.Helper()
	c := exec.Command(h.program, "server", "--data", h.path("data"), "--listen", h.address, "--admin-token-file", h.path("token"), "--log-level", "warn")
	c.Env = append(os.Environ(), "SIMULATED_HOSTS="+h.path("hosts"), "HOME="+h.dir)
	log, err := os.OpenFile(h.path("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.server, h.ended = c, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = c.Wait()
	}(h.ended)
	h.until("the server answers", func() bool {
		if _, err := os.Stat(h.path("token")); err != nil { // it listens before that, and others read it
			return false
		}
		n, err := net.Dial("tcp", h.address)
		if err == nil {
			_ = n.Close()
		}
		return err == nil
	})
}

// kill is kill -9, and waits for the end.
func (h *house) kill() {
	_ = h.server.Process.Kill()
	<-h.ended
}

// run is a command line, to its end or to that of ctx, which is kill -9.
func (h *house) run(ctx context.Context, args ...string) (status int, out string) {
	c := exec.CommandContext(ctx, h.program, args...)
	c.Env = h.env()
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), said.String()
}

func (h *house) rules() rules {
	r := rules{atOnce: perColo / 10, group: func(host string) string { return host[:2] }}
	for c := range colos {
		for i := range perColo {
			r.hosts = append(r.hosts, fmt.Sprintf("c%d-%03d", c, i+1))
		}
	}
	for i := range canary {
		r.first = append(r.first, fmt.Sprintf("c0-%03d", i+1))
	}
	return r
}

func fleet() string {
	var b strings.Builder
	b.WriteString("tag:\n")
	for c := range colos {
		fmt.Fprintf(&b, "  colo.c%d: [\"c%d-[001-%03d]\"]\n", c, c, perColo)
	}
	fmt.Fprintf(&b, "  canary: [\"c0-[001-%03d]\"]\nsequence:\n  rollout:\n    - $canary\n    - $colo\nconstraint:\n  $colo: 10%%\n", canary)
	return b.String()
}

// rounds is how often it is done.
func rounds(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("SLUICE_SOAK_ROUNDS")); err == nil {
		return n
	}
	if testing.Short() {
		return 2
	}
	return 50
}

// TestServerIsKilled: one job after another, while the server and the command line that waits are killed at random. Every
// host runs every job once, within its limits, and whoever asks is told the truth.
func TestServerIsKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SLUICE_SOAK_SEED"), 10, 64); err == nil {
		seed = s
	}
	h := newHouse(t, seed)
	if err := os.WriteFile(h.path("fleet.yaml"), []byte(fleet()), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out := h.run(t.Context(), "fleet", "apply", "-f", h.path("fleet.yaml")); status != 0 {
		t.Fatal(out)
	}
	n, kills := rounds(t), 0
	for round := range n {
		kills += h.round(round)
		if t.Failed() {
			t.Fatalf("round %d of seed %d", round, seed)
		}
	}
	if kills == 0 {
		t.Fatalf("seed %d: every job was over before anything was killed", seed)
	}
	slices.Sort(h.elapsed)
	p := func(share float64) time.Duration {
		return h.elapsed[min(len(h.elapsed)-1, int(share*float64(len(h.elapsed))))].Round(time.Millisecond)
	}
	t.Logf("seed %d: %d rounds on %d hosts, %d kills of the server, 0 violations; killed to listening again: p50 %v, p99 %v", seed, n, colos*perColo, kills, p(0.5), p(0.99))
	if status, out := h.run(t.Context(), "audit", "verify"); status != 0 {
		t.Errorf("the log: %s", out)
	}
}

func (h *house) round(round int) (kills int) {
	key := fmt.Sprintf("round-%d", round)
	args := []string{"run", "-t", "all", "--key", key, "--yes", "-q", "--", "sim 60ms"}
	ctx, stop := context.WithCancel(h.t.Context())
	if h.chance.IntN(3) == 0 { // it is killed, too, and started again with the same key
		ctx, stop = context.WithTimeout(ctx, time.Duration(h.chance.IntN(400))*time.Millisecond)
	}
	defer stop()
	type end struct {
		status int
		out    string
	}
	over := make(chan end, 1)
	go func() {
		status, out := h.run(ctx, args...)
		if ctx.Err() != nil && h.t.Context().Err() == nil {
			status, out = h.run(h.t.Context(), args...)
		}
		over <- end{status, out}
	}()
	var e end
	for running := true; running; {
		select {
		case e = <-over:
			running = false
		case <-time.After(time.Duration(50+h.chance.IntN(600)) * time.Millisecond):
			if kills < 3 {
				at := time.Now()
				h.kill()
				h.start()
				h.elapsed = append(h.elapsed, time.Since(at))
				kills++
			}
		}
	}
	if e.status != 0 {
		h.t.Errorf("round %d ended with %d: %s", round, e.status, e.out)
	}
	status, out := h.run(h.t.Context(), "jobs", "-n", "1", "-o", "json")
	_, rest, _ := strings.Cut(out, `"job":"`)
	job, _, ok := strings.Cut(rest, `"`)
	if status != 0 || !ok {
		h.t.Fatalf("round %d: which job? %s", round, out)
	}
	trace, err := readTrace(h.path("trace"), job)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, w := range wrong(trace, h.rules()) {
		h.t.Errorf("round %d, job %s: %s", round, job, w)
	}
	return kills
}
