package app_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/client"
	"sluice/internal/adapter/authority"
	"sluice/internal/app"
	"sluice/internal/lab/testfleet"
	"sluice/sealed"
)

// soon looks again and again until it is so.
func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the test is over")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// onSSHD is a server without a worker, before hosts with sshd: what was started there lives on when its worker does not.
func onSSHD(t *testing.T, hosts int) *served {
	s := newServed(t)
	s.fleet = testfleet.StartPlain(t, hosts)
	s.apply(fmt.Sprintf("tag: {web: [\"host[1-%d]\"]}\n", hosts))
	return s
}

// once says that a command ran once on a host.
func once(t *testing.T, marks, host string) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(marks, host)); err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("on %s it ran %q, error %v", host, b, err)
	}
}

// shifted is a clock that can be set.
type shifted struct{ by atomic.Int64 }

func (c *shifted) now() time.Time { return app.Now().Add(time.Duration(c.by.Load())) }

// early is a server of another time, with a worker that enrolled then.
func early(t *testing.T, clock *shifted, by time.Duration) (*served, *elsewhere) {
	clock.by.Store(int64(by))
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), noWorker: true, workersListen: "127.0.0.1:0", lease: 3 * time.Second,
		set: func(server *app.Server) { server.Clock = clock.now }}
	s.start()
	s.workersListen = s.workers
	s.apply(localFleet)
	w := &elsewhere{s: s, name: "w1", data: filepath.Join(t.TempDir(), "w1"),
		set: func(p *app.Worker) { p.Clock, p.Look = clock.now, 20*time.Millisecond }}
	i, err := s.client.InviteWorker(t.Context(), w.name, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.start(i.Token)
	return s, w
}

// TestCertificateIsRenewed: after two thirds of its life a worker has its certificate renewed, whatever runs meanwhile, and
// comes again under the new one.
func TestCertificateIsRenewed(t *testing.T) {
	clock := &shifted{}
	s, w := early(t, clock, -17*time.Hour) // so that what is made after that time is good by the true one, too
	marks := t.TempDir()
	id := s.submit("web1", held(marks))
	await(t, marks+"/web1", 1)
	first := s.health("w1", "connected").Certificate
	text, err := os.ReadFile(filepath.Join(w.data, "certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	clock.by.Store(int64(-2 * time.Hour)) // after 15 hours it is not due
	if now := s.health("w1", "connected").Certificate; !now.Equal(*first) {
		t.Errorf("it is renewed at once: until %v, not %v", now, first)
	}
	clock.by.Store(0)
	soon(t, "the certificate is renewed", func() bool {
		now := s.health("w1", "connected").Certificate
		return now.After(*first)
	})
	soon(t, "the worker has it", func() bool {
		now, err := os.ReadFile(filepath.Join(w.data, "certificate.pem"))
		return err == nil && string(now) != string(text)
	})
	if err := s.stop(); err != nil { // so the line has to be opened anew
		t.Fatal(err)
	}
	s.start()
	s.health("w1", "connected")
	letGo(t, marks)
	s.succeeded(id, 1)
	ranOnce(t, marks, 1)
	s.printed(id, "web1", "began\nended\n")
}

// warned keeps what a program warned of.
type warned struct {
	slog.Handler
	text chan string
}

func (w warned) Handle(_ context.Context, r slog.Record) error {
	select {
	case w.text <- r.Message:
	default:
	}
	return nil
}

// TestExpiredCertificateIsRefused: by the worker itself, and by the server where the worker's clock is wrong.
func TestExpiredCertificateIsRefused(t *testing.T) {
	s := newServed(t)
	w := s.worker("w1")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	clock := &shifted{}
	clock.by.Store(int64(-25 * time.Hour))
	expire(t, s.data, w, clock.now)
	if err := w.program("").Run(t.Context()); sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), "ended at") {
		t.Errorf("the worker, by its own clock: %v", err)
	}
	p := w.program("")
	said := warned{slog.DiscardHandler, make(chan string, 100)}
	p.Clock, p.Log = clock.now, slog.New(enabled{said})
	p.Ready = func(sluice.WorkerName, sealed.Key) { t.Error("the server takes a certificate that has ended") }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for refused := false; !refused; {
		select {
		case text := <-said.text:
			refused = strings.Contains(text, "no line to the server") && strings.Contains(text, "expired certificate")
		case err := <-ended:
			t.Fatalf("the worker ended: %v", err)
		case <-t.Context().Done():
			t.Fatal("it is never said that it is refused")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := s.health("w1", "lost"); got.Running != 0 {
		t.Errorf("w1 is %+v", got)
	}
}

// expire gives a worker a certificate from the server's own authority, made at another time.
func expire(t *testing.T, server string, w *elsewhere, then sluice.Clock) {
	t.Helper()
	path := filepath.Join(w.data, "certificate.pem")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := authority.OpenWorkers(server, then)
	if err != nil {
		t.Fatal(err)
	}
	der, _, _, err := ca.Sign(request, w.name)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(text), "-----END CERTIFICATE-----\n")
	if err := os.WriteFile(path, append(authority.PEM(der), key...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// enabled takes lines of every level.
type enabled struct{ warned }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }

// TestOneWayCut: where what a worker sends is lost, or what is sent to it, what runs goes on and nothing starts. The
// outcome is handed over when the way is open again, and everything ran once.
func TestOneWayCut(t *testing.T) {
	for name, cut := range map[string]testfleet.Faults{
		"to the server": {ToServer: testfleet.Flow{Swallow: true}},
		"to the worker": {ToClient: testfleet.Flow{Swallow: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := onSSHD(t, 2)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			way := testfleet.NewProxy(l, func(ctx context.Context) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", s.workers)
			}, testfleet.Faults{})
			t.Cleanup(func() { _ = way.Close() })
			s.via = l.Addr().String()
			w := s.process("w1")
			marks := t.TempDir()
			runs := s.submit("host1", held(marks))
			await(t, marks+"/host1", 1)
			way.Set(cut)
			if cut.ToServer.Swallow {
				s.health("w1", "lost") // until its lease is over it may still be given something, and start it
			}
			waits := s.submit("host2", held(marks))
			letGo(t, marks)
			soon(t, "the outcome is kept on the worker", func() bool {
				kept, _ := filepath.Glob(w.data + "/outcomes/*.json")
				return len(kept) == 1
			})
			s.health("w1", "lost")
			if _, err := os.Stat(marks + "/host2"); err == nil {
				t.Error("something started while the way was cut")
			}
			way.Set(testfleet.Faults{})
			way.Cut()
			s.succeeded(runs, 1)
			s.succeeded(waits, 1)
			once(t, marks, "host1")
			once(t, marks, "host2")
			s.printed(runs, "host1", "began\nended\n")
		})
	}
}

// TestWorkerIsKilledBeforeItsReport: the command has ended, and nobody but its host knows how. Another worker reads it
// there.
func TestWorkerIsKilledBeforeItsReport(t *testing.T) {
	s := onSSHD(t, 1)
	w1 := s.process("w1")
	marks := t.TempDir()
	id := s.submit("host1", held(marks)+"; echo >"+marks+"/ended; exit 7")
	await(t, marks+"/host1", 1)
	w1.signal(syscall.SIGSTOP)
	letGo(t, marks)
	await(t, marks+"/ended", 1)
	w1.signal(syscall.SIGKILL)
	if kept, _ := filepath.Glob(w1.data + "/outcomes/*.json"); len(kept) > 0 {
		t.Fatalf("it had time to keep %q", kept)
	}
	s.process("w2")
	if b, ok := s.end(id).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Failed {
		t.Errorf("it ended with %+v", b)
	}
	if story := s.story(id); !strings.Contains(story, `"outcome":"failed","exit_code":7`) {
		t.Errorf("the exit status is another one:\n%s", story)
	}
	once(t, marks, "host1")
	s.printed(id, "host1", "began\nended\n")
}

// TestServerIsKilled: kill -9 while a worker elsewhere has a command running. The next server has the true outcome, and the
// command ran once.
func TestServerIsKilled(t *testing.T) {
	s := onSSHD(t, 1)
	dir := t.TempDir()
	address := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	listen := address()
	s.workers = address()
	start := func() *exec.Cmd {
		t.Helper()
		c := exec.Command(program(t), "server", "--no-worker", "--data", filepath.Join(dir, "data"), "--listen", listen, "--worker-listen", s.workers,
			"--admin-token-file", filepath.Join(dir, "token"))
		c.Env, c.Stderr = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, t.Output()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if c.ProcessState == nil {
				_ = c.Process.Kill()
				_ = c.Wait()
			}
		})
		return c
	}
	server := start()
	soon(t, "the first token is there", func() bool { _, err := os.Stat(filepath.Join(dir, "token")); return err == nil })
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	if s.client, err = client.New("http://"+listen, strings.TrimSpace(string(token)), &http.Client{Transport: transport}); err != nil {
		t.Fatal(err)
	}
	s.apply("tag: {web: [host1]}\n")
	s.process("w1")
	marks := t.TempDir()
	id := s.submit("host1", held(marks))
	await(t, marks+"/host1", 1)
	_ = server.Process.Kill()
	_ = server.Wait()
	letGo(t, marks)
	start()
	s.succeeded(id, 1)
	once(t, marks, "host1")
	s.printed(id, "host1", "began\nended\n")
}
