package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
)

// elsewhere is a worker in this process, on data that outlives it.
type elsewhere struct {
	s    *served
	name sluice.WorkerName
	data string
	log  strings.Builder
	stop func() error
}

func (s *served) worker(name sluice.WorkerName, pools ...sluice.Pool) *elsewhere {
	s.t.Helper()
	w := &elsewhere{s: s, name: name, data: filepath.Join(s.t.TempDir(), string(name))}
	i, err := s.client.InviteWorker(s.t.Context(), name, pools)
	if err != nil {
		s.t.Fatal(err)
	}
	w.start(i.Token)
	return w
}

func (w *elsewhere) program(token string) *app.Worker {
	return &app.Worker{Data: w.data, Server: w.s.workers, Token: sluice.NewSecret([]byte(token)), Limit: 4, Home: w.s.t.TempDir(),
		Env: func(string) string { return "" }, Environ: []string{"PATH=" + os.Getenv("PATH")}, Clock: app.Now,
		Log: slog.New(slog.NewTextHandler(w.s.t.Output(), nil)), LocalTargets: true}
}

func (w *elsewhere) start(token string) {
	w.s.t.Helper()
	ctx, cancel := context.WithCancel(w.s.t.Context())
	ready, ended := make(chan sluice.WorkerName, 1), make(chan error, 1)
	p := w.program(token)
	p.Ready = func(name sluice.WorkerName) { ready <- name }
	go func() { ended <- p.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		w.s.t.Fatalf("the worker ended: %v", err)
	}
	var once bool
	w.stop = func() error {
		if once {
			return nil
		}
		once = true
		cancel()
		return <-ended
	}
	w.s.t.Cleanup(func() { _ = w.stop() })
}

// health waits until a worker is as it is said to be.
func (s *served) health(name sluice.WorkerName, want string) api.Worker {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		list, err := s.client.Workers(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, w := range list {
			if w.Name == name && w.Health == want {
				return w
			}
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s is never %s: %+v", name, want, list)
		}
	}
}

// await waits for a file with so many lines.
func await(t *testing.T, path string, lines int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		b, _ := os.ReadFile(path)
		if strings.Count(string(b), "\n") >= lines {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has %q", path, b)
		}
	}
}

func (s *served) succeeded(id sluice.JobID, hosts int) {
	s.t.Helper()
	if b, ok := s.end(id).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded || b.Counts[sluice.Succeeded] != hosts {
		s.t.Fatalf("it ended with %+v", b)
	}
}

func (s *served) submit(targets, command string) sluice.JobID {
	s.t.Helper()
	j, err := s.client.Submit(s.t.Context(), api.Submit{Targets: targets, Command: command})
	if err != nil {
		s.t.Fatal(err)
	}
	return j.ID
}

// ranOnce says that a command that appends to a file ran once on each host.
func ranOnce(t *testing.T, dir string, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		b, err := os.ReadFile(fmt.Sprintf("%s/web%d", dir, i))
		if err != nil || strings.Count(string(b), "\n") != 1 {
			t.Errorf("on web%d it ran %q, error %v", i, b, err)
		}
	}
}

func newServed(t *testing.T) *served {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), noWorker: true, listen: "127.0.0.1:0", lease: 3 * time.Second}
	s.start()
	s.listen = s.workers // the next one is found there, too
	s.apply(localFleet)
	return s
}

// TestWorkers: without a worker of its own, a server has jobs carried out elsewhere; output and outcomes come back.
func TestWorkers(t *testing.T) {
	s := newServed(t)
	marks := t.TempDir()
	id := s.submit("$web", "echo $SLUICE_ATTEMPT >>"+marks+"/$SLUICE_HOST; echo I am $SLUICE_HOST")
	s.worker("w1")
	s.worker("w2")
	s.succeeded(id, 4)
	ranOnce(t, marks, 4)
	if got := s.health("w1", "connected"); got.Limit != 4 || len(got.SealKey) != 32 || got.Certificate == nil {
		t.Errorf("w1 is %+v", got)
	}
	out, err := s.client.Output(t.Context(), string(id), "web3", "stdout", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var text [64]byte
	if n, _ := out.Read(text[:]); string(text[:n]) != "I am web3\n" {
		t.Errorf("web3 printed %q", text[:n])
	}
}
