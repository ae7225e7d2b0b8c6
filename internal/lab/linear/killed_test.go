package linear

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/goleak"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/app"
	fleetpkg "sluice/internal/core/fleet"
)

const serverOf = "SLUICE_LINEAR_SERVER" // the directory of the server that this process is to be

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverOf); dir != "" {
		beServer(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// beServer is a real server until it is killed.
func beServer(dir string) {
	write := func(name, text string) error {
		if err := os.WriteFile(filepath.Join(dir, name+".new"), []byte(text), 0o600); err != nil {
			return err
		}
		return os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name))
	}
	s := &app.Server{Data: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Home: dir, Env: func(string) string { return "" },
		Environ: []string{"PATH=" + os.Getenv("PATH")}, Clock: app.Now, LocalTargets: true, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		FirstToken: func(secret string) error { return write("token", secret) },
		Started:    func(address string) { _ = write("address", address) }}
	if err := s.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// remote is a server that is killed now and then, and comes back elsewhere.
type remote struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	mu   sync.Mutex
	now  *client.Client
	http *http.Transport
}

func (r *remote) start() {
	r.t.Helper()
	_ = os.Remove(filepath.Join(r.dir, "address"))
	r.cmd = exec.Command(os.Args[0])
	r.cmd.Env = append(os.Environ(), serverOf+"="+r.dir)
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	for begin := time.Now(); ; {
		address, err := os.ReadFile(filepath.Join(r.dir, "address"))
		if err == nil {
			token, err := os.ReadFile(filepath.Join(r.dir, "token"))
			if err != nil {
				r.t.Fatal(err)
			}
			c, err := client.New("http://"+string(address), strings.TrimSpace(string(token)), &http.Client{Transport: r.http, Timeout: 3 * time.Second})
			if err != nil {
				r.t.Fatal(err)
			}
			r.now = c
			return
		}
		if time.Since(begin) > time.Minute {
			r.t.Fatal("the server does not start")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (r *remote) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// restart kills the server in the middle of whatever it does. New questions wait until there is one again.
func (r *remote) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kill()
	r.start()
}

// apply lets commands run on this machine.
func (r *remote) apply() {
	file := filepath.Join(r.dir, "fleet.yaml")
	if err := os.WriteFile(file, []byte("ssh: {transport: local}\ntag:\n  here: [one, two]\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	b, err := fleetpkg.Record(fleetfiles.New(r.t.Context())).Bundle(file)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.now.ApplyFleet(r.t.Context(), ns, b, "", -1); err != nil {
		r.t.Fatal(err)
	}
}

func (r *remote) client() *client.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *remote) ask(ctx context.Context, c call) answer {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	at := r.client()
	var err error
	switch c.op {
	case "submit":
		_, err = at.Submit(ctx, api.Submit{ID: c.job, Targets: []string{"one", "two"}[c.job[len(c.job)-1]-'0'], Command: "sleep 600"})
	case "halt":
		_, err = at.Halt(ctx, c.job, "")
	case "resume":
		_, err = at.Resume(ctx, c.job, nil)
	case "cancel":
		_, err = at.Cancel(ctx, c.job, "")
	default:
		j, err := at.Job(ctx, string(c.job))
		switch code := sluice.CodeOf(err); {
		case err == nil && (j.Halting || j.Cancelling):
			return "stopped"
		case err == nil:
			return word(string(j.State))
		case code == sluice.NotFound:
			return "none"
		}
		return "?"
	}
	return said(err)
}

// TestAKilledServerIsLinearizable: kill -9 of the server in between loses nothing that was answered, and undoes nothing.
func TestAKilledServerIsLinearizable(t *testing.T) {
	r := &remote{t: t, dir: t.TempDir(), http: &http.Transport{}}
	t.Cleanup(r.http.CloseIdleConnections)
	r.start()
	t.Cleanup(func() { r.kill() })
	r.apply()
	var y tally
	kills := 0
	for round := range rounds(12) {
		h := &history{begin: time.Now()}
		jobs := []sluice.JobID{sluice.JobID(fmt.Sprintf("%011d0", round)), sluice.JobID(fmt.Sprintf("%011d1", round))}
		ops := []string{"submit", "halt", "halt", "resume", "resume", "read", "read", "read", "read"}
		var all sync.WaitGroup
		answered := make(chan struct{}, 4*40)
		for i := range 4 {
			rnd := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			all.Go(func() {
				for n := range 40 {
					c := call{jobs[rnd.IntN(2)], ops[rnd.IntN(len(ops))]}
					switch {
					case n == 0:
						c.op = "submit"
					case n > 35 && i == 0:
						c.op = "cancel"
					}
					if h.do(i, c, func() answer { return r.ask(t.Context(), c) }) != "?" {
						answered <- struct{}{}
					}
				}
			})
		}
		go func() { all.Wait(); close(answered) }()
		// By answers, not by the clock: however slow the machine is, most questions are answered. What was not may have
		// happened at any time, and with too many of those no order can be searched for.
		for left := 5 + rand.IntN(20); ; {
			if _, going := <-answered; !going {
				break
			}
			if left--; left <= 0 {
				<-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond) // in the middle of something
				r.restart()
				kills++
				left = 5 + rand.IntN(20)
			}
		}
		for i, id := range jobs { // what is left is ended, which is part of the history
			for _, op := range []string{"cancel", "read"} {
				c := call{id, op}
				h.do(10+i, c, func() answer { return r.ask(t.Context(), c) })
			}
		}
		for _, id := range jobs { // what runs is killed before the next round wants the hosts
			for begin := time.Now(); r.ask(t.Context(), call{id, "read"}) != "over"; {
				if time.Since(begin) > time.Minute {
					t.Logf("job %s was cancelled and is not over", id)
					break
				}
				<-time.After(20 * time.Millisecond)
			}
		}
		if y.check(t, model(outside), h) == porcupine.Illegal {
			for _, o := range h.ops {
				t.Logf("%v", o)
			}
			t.Fatalf("round %d cannot have happened one after another", round)
		}
	}
	t.Logf("%d kills", kills)
	y.report(t)
}
