package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/lab/testfleet"
)

// process is one that is killed now and then, and started again.
type process struct {
	h    *house
	name string
	args []string
	cmd  *exec.Cmd
	over chan struct{}
	back time.Time // when it is to be well again; the zero time: it is
}

func (p *process) start() {
	p.h.t.Helper()
	p.cmd = exec.Command(p.h.program, p.args...)
	p.cmd.Env = p.h.env
	log, err := os.OpenFile(p.h.path(p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.h.t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.h.t.Fatal(err)
	}
	p.over = make(chan struct{})
	go func(cmd *exec.Cmd, over chan struct{}) {
		defer close(over)
		_ = cmd.Wait()
	}(p.cmd, p.over)
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.over
	}
}

// house is the processes of one mix: hosts that live on, a server and workers that are killed.
type house struct {
	mix
	t       *testing.T
	program string
	dir     string
	env     []string
	address string
	token   string
	chance  *rand.Rand
	client  *client.Client

	server *process
	crew   []*process
	sum    figures
	broken []string // what was done, in words
}

func newHouse(t *testing.T, m mix, seed uint64) *house {
	h := &house{mix: m, t: t, dir: t.TempDir(), program: program(t), chance: rand.New(rand.NewPCG(seed, 1))}
	if m.real {
		h.env = testfleet.StartPlain(t, m.colos*m.perColo).Env()
	} else {
		h.env = append(os.Environ(), "SIMULATED_HOSTS="+h.path("hosts"), "HOME="+h.dir)
		h.simulate()
	}
	h.env = append(h.env, "SIMULATED_LEASE="+lease.String())
	h.address = free(t)
	listen := free(t)
	h.server = &process{h: h, name: "server", args: []string{"server", "--data", h.path("data"), "--listen", h.address, "--worker-listen", listen,
		"--admin-token-file", h.path("token"), "--log-level", "info"}}
	if !m.own {
		h.server.args = append(h.server.args, "--no-worker")
	}
	t.Cleanup(h.end)
	h.startServer()
	var token []byte
	var err error
	h.until("the first token is there", func() bool { token, err = os.ReadFile(h.path("token")); return err == nil })
	h.token = strings.TrimSpace(string(token))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	if h.client, err = client.New("http://"+h.address, h.token, &http.Client{Transport: transport}); err != nil {
		t.Fatal(err)
	}
	for i := range m.workers {
		name := fmt.Sprintf("w%d", i+1)
		status, out := h.run(t.Context(), "workers", "invite", name, "-o", "json")
		_, rest, _ := strings.Cut(out, `"token":"`)
		invited, _, ok := strings.Cut(rest, `"`)
		if status != 0 || !ok {
			t.Fatalf("a token for %s: %s", name, out)
		}
		if err := os.WriteFile(h.path(name+".token"), []byte(invited+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w := &process{h: h, name: name, args: []string{"worker", "--data", h.path(name), "--server", listen, "--enrol-file", h.path(name + ".token")}}
		h.crew = append(h.crew, w)
		w.start()
	}
	h.until("the workers are connected", func() bool {
		list, err := h.client.Workers(t.Context())
		n := 0
		for _, w := range list {
			if w.Health == "connected" {
				n++
			}
		}
		return err == nil && n >= m.workers
	})
	if err := os.WriteFile(h.path("fleet.yaml"), []byte(m.fleet()), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out := h.run(t.Context(), "fleet", "apply", "-f", h.path("fleet.yaml")); status != 0 {
		t.Fatal(out)
	}
	return h
}

// free is an address of the loopback that nobody listens at.
func free(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// simulate starts hosts that outlive everything else.
func (h *house) simulate() {
	hosts := exec.Command(h.program, "hosts", h.path("hosts"), h.path("trace"))
	if err := hosts.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = hosts.Process.Kill(); _ = hosts.Wait() })
	h.until("the hosts are there", func() bool { _, err := os.Stat(h.path("hosts")); return err == nil })
}

// end kills what is left, and says what the processes said if something was wrong.
func (h *house) end() {
	if h.t.Failed() {
		h.t.Log(strings.Join(h.broken, "\n"))
	}
	for _, p := range append(slices.Clone(h.crew), h.server) {
		if p.cmd != nil {
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
		}
		p.kill()
		if h.t.Failed() {
			text, _ := os.ReadFile(h.path(p.name + ".log"))
			h.t.Logf("%s said, at the end:\n%s", p.name, text[max(0, len(text)-4000):])
		}
	}
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// patience bounds every wait: machines that run tests are slow.
const patience = 3 * time.Minute

// until waits for something that is asked for again and again.
func (h *house) until(what string, is func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !is(); {
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

// startServer starts the server and waits until it listens.
func (h *house) startServer() {
	h.t.Helper()
	h.server.start()
	h.until("the server answers", func() bool {
		n, err := net.Dial("tcp", h.address)
		if err == nil {
			_ = n.Close()
		}
		return err == nil
	})
}

// run is a command line, to its end or to that of ctx, which is kill -9.
func (h *house) run(ctx context.Context, args ...string) (status int, out string) {
	c := exec.CommandContext(ctx, h.program, args...)
	c.Env = append(slices.Clone(h.env), "SLUICE_SERVER=http://"+h.address, "SLUICE_TOKEN="+h.token)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		h.t.Error(err)
		return -1, ""
	}
	if c.ProcessState == nil { // ctx ended before it began
		return -1, ""
	}
	return c.ProcessState.ExitCode(), said.String()
}
