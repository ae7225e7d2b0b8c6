package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/systemd"
	"sluice/internal/app"
	"sluice/internal/lab/testfleet"
	"sluice/internal/lab/trouble"
	"sluice/sealed"
)

// elsewhere is a worker in this process, on data that outlives it.
type elsewhere struct {
	s    *served
	name sluice.WorkerName
	data string
	over sluice.Transport  // nil: as the program does
	set  func(*app.Worker) // changes how it is set up; may be nil
	stop func() error
	ends func() error // waits until it ends by itself

	ahead time.Duration // its clock
	log   slog.Handler  // nil: the test's
}

func (s *served) worker(name sluice.WorkerName, pools ...sluice.Pool) *elsewhere {
	s.t.Helper()
	return s.workerOver(nil, name, pools...)
}

func (s *served) workerOver(over sluice.Transport, name sluice.WorkerName, pools ...sluice.Pool) *elsewhere {
	s.t.Helper()
	w := &elsewhere{s: s, name: name, over: over, data: filepath.Join(s.t.TempDir(), string(name))}
	i, err := s.client.InviteWorker(s.t.Context(), name, pools)
	if err != nil {
		s.t.Fatal(err)
	}
	w.start(i.Token)
	return w
}

func (w *elsewhere) program(token string) *app.Worker {
	if w.log == nil {
		w.log = slog.NewTextHandler(w.s.t.Output(), nil)
	}
	p := &app.Worker{Data: w.data, Servers: []string{w.s.workers}, Token: sluice.NewSecret([]byte(token)), Limit: 4, Home: w.s.t.TempDir(),
		Env: func(string) string { return "" }, Environ: []string{"PATH=" + os.Getenv("PATH")}, Over: w.over,
		Clock: func() time.Time { return app.Now().Add(w.ahead) }, Log: slog.New(w.log), LocalTargets: true}
	if w.set != nil {
		w.set(p)
	}
	return p
}

func (w *elsewhere) start(token string) {
	w.s.t.Helper()
	ctx, cancel := context.WithCancel(w.s.t.Context())
	ready, ended := make(chan sluice.WorkerName, 1), make(chan error, 1)
	p := w.program(token)
	p.Ready = func(name sluice.WorkerName, _ sealed.Key) { ready <- name }
	go func() { ended <- p.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		w.s.t.Fatalf("the worker ended: %v", err)
	}
	var once bool
	w.ends = func() error {
		if once {
			return nil
		}
		once = true
		return <-ended
	}
	w.stop = func() error { cancel(); return w.ends() }
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
		s.t.Fatalf("it ended with %+v\n%s", b, s.story(id))
	}
}

// story is all that the log has of a job.
func (s *served) story(id sluice.JobID) string {
	events, err := s.client.Events(s.t.Context(), string(id), 0)
	text := fmt.Sprintln(err)
	for _, e := range events {
		line, _ := json.Marshal(e)
		text += string(line) + "\n"
	}
	return text
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

func newServed(t *testing.T) *served { return newServedWith(t, nil) }

func newServedWith(t *testing.T, log slog.Handler) *served {
	s := &served{t: t, log: log, data: filepath.Join(t.TempDir(), "data"), noWorker: true, workersListen: "127.0.0.1:0", lease: 3 * time.Second}
	s.start()
	s.workersListen = s.workers // the next one is found there, too
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

// process is a worker that can be killed.
type process struct {
	s       *served
	data    string
	cmd     *exec.Cmd
	program string           // "": this version
	wrong   *trouble.Trouble // nil: nothing is
	says    io.Writer        // nil: the test
}

func (s *served) process(name sluice.WorkerName) *process {
	s.t.Helper()
	p := &process{s: s}
	p.enrol(name)
	return p
}

// enrol starts a worker that is new.
func (p *process) enrol(name sluice.WorkerName) {
	s := p.s
	s.t.Helper()
	p.data = filepath.Join(s.t.TempDir(), string(name))
	i, err := s.client.InviteWorker(s.t.Context(), name, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	token := filepath.Join(s.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(i.Token+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	at := s.workers
	if s.via != "" {
		at = s.via
	}
	p.start("--server", at, "--enrol-file", token)
	s.health(name, "connected")
}

func (p *process) start(args ...string) {
	t := p.s.t
	t.Helper()
	if p.program == "" {
		p.program = program(t)
	}
	p.cmd = exec.Command(p.program, append([]string{"worker", "--data", p.data, "--local-targets", "--limit", "4"}, args...)...)
	p.cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	if p.s.fleet != nil {
		p.cmd.Env = p.s.fleet.Env()
	}
	p.cmd.Stderr = t.Output()
	if p.says != nil {
		p.cmd.Stderr = p.says
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin(t, p.cmd, p.wrong)
	cmd := p.cmd
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(syscall.SIGCONT)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

// begin starts a program, with what shall go wrong with it.
func begin(t *testing.T, cmd *exec.Cmd, wrong *trouble.Trouble) {
	t.Helper()
	if wrong == nil {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return
	}
	err := wrong.Start(cmd)
	if errors.Is(err, trouble.ErrUnavailable) {
		t.Skip("skipped:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wrong.Close)
}

func (p *process) signal(sig syscall.Signal) {
	p.s.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.s.t.Fatal(err)
	}
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		_ = p.cmd.Wait()
	}
}

// held is a command that says that it runs, and waits for the file go.
func held(marks string) string {
	return "echo $SLUICE_ATTEMPT >>" + marks + "/$SLUICE_HOST; echo began; until [ -e " + marks + "/go ]; do sleep 0.05; done; echo ended"
}

func letGo(t *testing.T, marks string) {
	t.Helper()
	if err := os.WriteFile(marks+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *served) printed(id sluice.JobID, h sluice.Host, want string) {
	s.t.Helper()
	out, err := s.client.Output(s.t.Context(), string(id), h, "stdout", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	if text, err := io.ReadAll(out); err != nil || string(text) != want {
		s.t.Errorf("%s printed %q, error %v", h, text, err)
	}
}

// TestWorkerIsKilled: what a killed worker had is joined by another one, and the command runs once.
func TestWorkerIsKilled(t *testing.T) {
	for _, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSTOP} {
		t.Run(fmt.Sprintf("signal%d", how), func(t *testing.T) {
			s := newServed(t)
			// On this machine itself, commands end with the worker that let go of them; behind sshd they do not.
			s.fleet = testfleet.StartPlain(t, 1)
			s.apply("tag: {web: [host1]}\n")
			w1 := s.process("w1")
			marks := t.TempDir()
			id := s.submit("host1", held(marks))
			await(t, marks+"/host1", 1)
			w1.signal(how)
			s.process("w2")
			s.health("w1", "lost")
			if how == syscall.SIGSTOP {
				w1.signal(syscall.SIGCONT)
				s.health("w1", "connected")
			}
			letGo(t, marks)
			s.succeeded(id, 1)
			if b, err := os.ReadFile(marks + "/host1"); err != nil || strings.Count(string(b), "\n") != 1 {
				t.Errorf("it ran %q, error %v", b, err)
			}
			s.printed(id, "host1", "began\nended\n")
		})
	}
}

// TestServerIsAway: a worker that has no server carries on, keeps the outcome, and hands it over later, also after a
// restart of its own.
func TestServerIsAway(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			s := newServed(t)
			w := s.process("w1")
			marks := t.TempDir()
			id := s.submit("web1", held(marks))
			await(t, marks+"/web1", 1)
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			letGo(t, marks)
			for end := time.Now().Add(time.Minute); ; {
				kept, _ := filepath.Glob(w.data + "/outcomes/*.json")
				if len(kept) == 1 {
					break
				}
				if time.Now().After(end) {
					t.Fatal("no outcome is kept")
				}
			}
			if restart {
				w.signal(syscall.SIGKILL)
				w.start()
			}
			s.start()
			s.succeeded(id, 1)
			ranOnce(t, marks, 1)
			s.printed(id, "web1", "began\nended\n")
			for end := time.Now().Add(time.Minute); ; {
				kept, _ := filepath.Glob(w.data + "/outcomes/*.json")
				if len(kept) == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the worker keeps %q for ever", kept)
				}
			}
		})
	}
}

// TestDrainAndRemove: a worker that drains gets nothing new, and what a removed one had is joined by another.
func TestDrainAndRemove(t *testing.T) {
	s := newServed(t)
	s.worker("w1")
	if err := s.client.DrainWorker(t.Context(), "w1", false); err != nil {
		t.Fatal(err)
	}
	s.health("w1", "draining")
	marks := t.TempDir()
	id := s.submit("web1", held(marks))
	w2 := s.worker("w2")
	await(t, marks+"/web1", 1)
	if w := s.health("w2", "connected"); w.Running != 1 {
		t.Errorf("w2 is %+v", w)
	}
	if err := s.client.DrainWorker(t.Context(), "w1", true); err != nil {
		t.Fatal(err)
	}
	if err := s.client.RemoveWorker(t.Context(), "w2"); err != nil {
		t.Fatal(err)
	}
	letGo(t, marks)
	s.succeeded(id, 1)
	ranOnce(t, marks, 1)
	if err := w2.ends(); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("the removed worker ended with %v", err)
	}
	if err := w2.program("").Run(t.Context()); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("the removed worker comes again: %v", err)
	}
}

// nowhere is a transport whose hosts do not answer.
type nowhere struct{ asked chan sluice.Host }

func (n nowhere) Connect(ctx context.Context, h sluice.Host, _ sluice.SSH) (sluice.Link, error) {
	n.asked <- h
	<-ctx.Done()
	return nil, ctx.Err()
}

func (nowhere) Close() error { return nil }

// TestAHaltReachesAWorker: what a worker was given and has not started is given back when the job is halted, and the job
// rests; it does not wait for a host that does not answer.
func TestAHaltReachesAWorker(t *testing.T) {
	s := newServed(t)
	hosts := nowhere{make(chan sluice.Host, 10)}
	s.workerOver(hosts, "w1")
	id := s.submit("web1", "true")
	if h := <-hosts.asked; h != "web1" {
		t.Errorf("it connects to %s", h)
	}
	if _, err := s.client.Halt(t.Context(), id, "enough"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last, err := s.client.Follow(ctx, string(id), 0, func(sluice.Event) {}, nil)
	if _, is := last.Body.(sluice.JobHalted); err != nil || !is {
		t.Fatalf("it ends with %+v, error %v\n%s", last.Body, err, s.story(id))
	}
	if story := s.story(id); !strings.Contains(story, `"task.withdrawn"`) || strings.Contains(story, `"task.finished"`) {
		t.Errorf("what did not start is told otherwise:\n%s", story)
	}
}

// TestPools: a host is reached by workers of its pool alone, and a cancel ends what waits for one.
func TestPools(t *testing.T) {
	s := newServed(t)
	s.apply(localFleet + "host:\n  web2: {pool: dmz}\n")
	s.worker("w1")
	marks := t.TempDir()
	id := s.submit("web1,web2", "echo $SLUICE_ATTEMPT >>"+marks+"/$SLUICE_HOST")
	await(t, marks+"/web1", 1)
	if _, err := os.Stat(marks + "/web2"); err == nil {
		t.Error("it ran on web2, which no worker reaches")
	}
	s.worker("w2", "dmz")
	s.succeeded(id, 2)
	ranOnce(t, marks, 2)
}

// TestWorkersAreMeasured: whoever collects metrics sees who is connected, what waits for whom, and whose lease was lost.
func TestWorkersAreMeasured(t *testing.T) {
	metrics := freeAddress(t)
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), noWorker: true, workersListen: "127.0.0.1:0", lease: 3 * time.Second,
		set: func(a *app.Server) { a.MetricsListen = metrics }}
	s.start()
	s.apply(localFleet + "host:\n  web2: {pool: dmz}\n")
	says := func(lines ...string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			text := call(t, "GET", "http://"+metrics+"/metrics", "")
			if !slices.ContainsFunc(lines, func(l string) bool { return !strings.Contains(text, "\n"+l+"\n") }) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("it never says all of %q:\n%s", lines, text)
			}
		}
	}
	s.submit("web2", "true")
	says(`sluice_attempts_waiting{pool="dmz"} 1`)
	w := s.worker("w1", "dmz", "default")
	says(`sluice_attempts_waiting{pool="dmz"} 0`, `sluice_workers{health="connected",pool="dmz"} 1`, `sluice_workers{health="connected",pool="default"} 1`,
		`sluice_workers_limit{pool="dmz"} 4`, `sluice_worker_leases_lost_total{pool="dmz"} 0`)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	says(`sluice_workers{health="lost",pool="dmz"} 1`, `sluice_workers{health="connected",pool="dmz"} 0`, `sluice_workers_limit{pool="dmz"} 0`,
		`sluice_worker_leases_lost_total{pool="dmz"} 1`)
}

// TestTheServiceManagerIsToldOfAWorker: it is ready when it may start attempts and not before, lives while its server is
// away, and says when it stops.
func TestTheServiceManagerIsToldOfAWorker(t *testing.T) {
	s := newServed(t)
	w := s.worker("w1")
	if err := errors.Join(w.stop(), s.stop()); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "sd") // the names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	env := map[string]string{"NOTIFY_SOCKET": dir + "/s", "WATCHDOG_USEC": "30000"}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: env["NOTIFY_SOCKET"], Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	hears := func() string {
		t.Helper()
		b := make([]byte, 100)
		if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	// until reads what it says while it lives, and returns the first other thing.
	until := func() string {
		for {
			if got := hears(); got != "WATCHDOG=1" {
				return got
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	p := w.program("")
	p.Manager = systemd.Find(func(name string) string { return env[name] }, os.Getpid())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for range 10 {
		if got := hears(); got != "WATCHDOG=1" {
			t.Fatalf("without a server it says %q", got)
		}
	}
	s.start()
	if got := until(); got != "READY=1" {
		t.Errorf("with a server it says %q", got)
	}
	s.health("w1", "connected")
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if got := hears(); got != "WATCHDOG=1" {
			t.Errorf("when the server is away it says %q", got)
		}
	}
	stop()
	if got := until(); got != "STOPPING=1" {
		t.Errorf("at its end it says %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestEnrolment: a token is good once, for its worker, from its server, for a while.
func TestEnrolment(t *testing.T) {
	s := newServed(t)
	first, err := s.client.InviteWorker(t.Context(), "w1", nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.client.InviteWorker(t.Context(), "w1", nil)
	if err != nil {
		t.Fatal(err)
	}
	other := &served{t: t, data: filepath.Join(t.TempDir(), "other"), noWorker: true, workersListen: "127.0.0.1:0"}
	other.start()
	enrol := func(token string, at *served) error {
		w := &elsewhere{s: at, name: "w1", data: filepath.Join(t.TempDir(), "w")}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := w.program(token)
		p.Ready = func(sluice.WorkerName, sealed.Key) { cancel() }
		return p.Run(ctx)
	}
	if err := enrol(first.Token, s); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a token in whose place another was made: %v", err)
	}
	if err := enrol(strings.Replace(second.Token, ".w1.", ".w2.", 1), s); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a token under another name: %v", err)
	}
	if err := enrol(second.Token, other); err == nil || !strings.Contains(err.Error(), "not the server") {
		t.Errorf("a token of another server: %v", err)
	}
	if err := enrol(second.Token, s); err != nil {
		t.Errorf("the token: %v", err)
	}
	if err := enrol(second.Token, s); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("the same token again: %v", err)
	}
	if err := enrol("sluicew.w1.1.x.y", s); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("no token: %v", err)
	}
}

// TestWorkerLimit: the server's own worker has as much room as it is told, and what is no number of attempts is refused.
func TestWorkerLimit(t *testing.T) {
	for limit, want := range map[int]int{0: sluice.DefaultConcurrency, 7: 7} {
		s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), set: func(s *app.Server) { s.WorkerLimit = limit }}
		s.start()
		list, err := s.client.Workers(t.Context())
		if err != nil || len(list) != 1 || list[0].Limit != want {
			t.Errorf("%+v, error %v", list, err)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{"0", "-1", "many", "100001"} {
		out, err := exec.Command(program(t), "server", "--data", t.TempDir(), "--worker-limit", text).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--worker-limit is a number of attempts") {
			t.Errorf("%s: %s", text, out)
		}
	}
}
