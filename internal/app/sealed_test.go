package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/core/fleet"
	"sluice/internal/lab/check"
	"sluice/internal/lab/testfleet"
	"sluice/internal/run/control"
	"sluice/sealed"
)

// A server, as the program is one, among hosts with real sshd, and people who give it the secrets of their jobs.

const serverAddress = "127.0.0.1:7657"

// office is a world with a server in it.
type office struct {
	*world
	data   string
	flags  []string // more of them for the server
	server *exec.Cmd
	spoke  spoken // by the server, all starts together
	ended  chan error
	client *client.Client
	http   *http.Client
	sealer *client.Sealer
	seen   sealed.Known // workers that were trusted
}

func newOffice(t *testing.T, c testfleet.Config, flags ...string) *office {
	t.Helper()
	w := newWorld(t, c)
	o := &office{world: w, data: filepath.Join(w.f.Home, "server"), flags: flags}
	w.state = o.data
	signer, err := sealed.NewSigner()
	w.must(err)
	o.sealer = &client.Sealer{Signer: signer, Trust: func(_ context.Context, k sealed.Known) error {
		o.seen = k
		return nil
	}}
	o.start()
	names := make([]string, len(w.f.Hosts))
	for i, h := range w.f.Hosts {
		names[i] = h.Name
	}
	b, err := fleet.Record(fleetfiles.New(w.ctx)).Bundle(w.fleet("tag: {web: [" + strings.Join(names, ", ") + "]}\n"))
	w.must(err)
	_, err = o.client.ApplyFleet(w.ctx, "default", b, "", -1)
	w.must(err)
	t.Cleanup(o.close)
	return o
}

// spoken is text that is read while more of it comes.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start starts the server and waits until it takes jobs.
func (o *office) start() {
	o.t.Helper()
	token := filepath.Join(o.f.Home, "token")
	o.server = o.f.Command(o.ctx, o.program, append([]string{"server", "--data", o.data, "--listen", serverAddress, "--admin-token-file", token}, o.flags...)...)
	o.server.Stdout, o.server.Stderr = &o.spoke, &o.spoke
	o.must(o.server.Start())
	o.ended = make(chan error, 1)
	go func(c *exec.Cmd, ended chan<- error) { ended <- c.Wait() }(o.server, o.ended)
	if o.http == nil {
		transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return o.f.Dial(ctx, network, serverAddress)
		}}
		o.t.Cleanup(transport.CloseIdleConnections)
		o.http = &http.Client{Transport: transport}
	}
	o.until("the server takes jobs", func() bool {
		resp, err := o.http.Get("http://" + serverAddress + "/readyz")
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	text, err := os.ReadFile(token)
	o.must(err)
	o.secrets = append(o.secrets, strings.TrimSpace(string(text)))
	o.client, err = client.New("http://"+serverAddress, strings.TrimSpace(string(text)), o.http)
	o.must(err)
}

func (o *office) stop(s syscall.Signal) {
	o.t.Helper()
	if o.server == nil {
		return
	}
	defer func() { o.server = nil }()
	_ = o.server.Process.Signal(s)
	select {
	case <-o.ended:
	case <-o.ctx.Done():
		_ = o.server.Process.Kill()
		<-o.ended
	}
}

// close ends the server, and asks the last questions.
func (o *office) close() {
	o.stop(syscall.SIGTERM)
	if o.t.Failed() {
		o.t.Logf("the server said:\n%s", o.spoke.String())
		return
	}
	for _, v := range check.Log(o.journal()) {
		o.t.Errorf("the journal breaks a rule: %v", v)
	}
	o.checkHosts()
}

// submit submits a command with secrets, on all hosts one after another.
func (o *office) submit(command string, c sealed.Content, more func(*api.Submit)) sluice.JobID {
	o.t.Helper()
	s := api.Submit{ID: control.NewJobID(), Targets: "$web", Command: command, Options: api.Options{Concurrency: 1, AskPassword: c.Password.Set(),
		AskSudoPassword: c.Sudo.Set(), AskPassphrase: c.Passphrase.Set(), AskPrivateKey: c.PrivateKey.Set()}}
	if more != nil {
		more(&s)
	}
	j, err := o.client.SubmitSealed(o.ctx, s, c, o.sealer)
	o.must(err)
	return j.ID
}

// end is how a job ends, of what comes after the event seen.
func (o *office) end(id sluice.JobID, seen uint64) sluice.Event {
	o.t.Helper()
	last, err := o.client.Follow(o.ctx, string(id), seen, func(sluice.Event) {}, nil)
	o.must(err)
	return last
}

func (o *office) succeeds(id sluice.JobID, seen uint64) {
	o.t.Helper()
	if b, ok := o.end(id, seen).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded {
		events, _ := o.client.Events(o.ctx, string(id), 0)
		for _, e := range events {
			o.t.Logf("%+v", e.Body)
		}
		o.t.Fatalf("it ended with %+v", b)
	}
}

func (o *office) halted(id sluice.JobID, seen uint64, rule sluice.Rule, says string) {
	o.t.Helper()
	if b, ok := o.end(id, seen).Body.(sluice.JobHalted); !ok || b.Rule != rule || !strings.Contains(b.Reason, says) {
		o.t.Fatalf("it ended with %+v", b)
	}
}

// resume gives a job secrets anew, and lets it go on.
func (o *office) resume(id sluice.JobID, c sealed.Content) (seen uint64) {
	o.t.Helper()
	e, err := o.client.SealFor(o.ctx, id, c, o.sealer, func(*sluice.Job) error { return nil })
	o.must(err)
	events, err := o.client.ResumeSealed(o.ctx, id, nil, e)
	o.must(err)
	if len(events) == 0 {
		return 0
	}
	return events[len(events)-1].Seq
}

func aSecret(s string) sluice.Secret { return sluice.NewSecret([]byte(s)) }

func TestSealedPassword(t *testing.T) {
	o := newOffice(t, passwordOnly(3))
	id := o.submit(count, sealed.Content{Password: aSecret(testfleet.Password)}, nil)
	o.succeeds(id, 0)
	o.ran(1, 1, 1)
	if len(o.seen) != 1 || !strings.Contains(o.spoke.String(), o.seen[0].Key.Fingerprint()) {
		t.Errorf("sealed to %v; the server said %s", o.seen, o.spoke.String())
	}
	// What is over cannot be opened any more, not even by those who gave it.
	if _, err := o.client.Retry(o.ctx, id, nil, nil); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a retry gives %v", err)
	}
	_, err := o.client.Submit(o.ctx, api.Submit{Targets: "$web", Command: "true", Options: api.Options{AskPassword: true}})
	if sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("without its secrets: %v", err)
	}
}

// TestSealedAfterRestart: a restart loses the secrets. The job waits for them, starts nothing without, and goes on when they
// are given anew; what ran runs once.
func TestSealedAfterRestart(t *testing.T) {
	o := newOffice(t, passwordOnly(3))
	content := func() sealed.Content { return sealed.Content{Password: aSecret(testfleet.Password)} }
	id := o.submit(count+"; "+hold, content(), nil)
	o.running(o.host(1), 1)
	o.stop(syscall.SIGKILL)
	o.start()
	o.halted(id, 0, sluice.RuleSecrets, "needs its secrets again")
	o.ran(1, 0, 0)
	_, err := o.client.Resume(o.ctx, id, nil)
	var e *sluice.Error
	if sluice.CodeOf(err) != sluice.Conflict || !errors.As(err, &e) || !strings.Contains(e.Hint, "sluice resume "+string(id)) {
		t.Errorf("resumed without them: %v", err)
	}
	o.letGo(o.f.Hosts...)
	o.succeeds(id, o.resume(id, content()))
	o.ran(1, 1, 1)
}

// TestSealedWrongPassword: two refusals are the end, as without a server, and other secrets go on.
func TestSealedWrongPassword(t *testing.T) {
	slow(t)
	o := newOffice(t, passwordOnly(4))
	id := o.submit(count, sealed.Content{Password: aSecret(wrong)}, func(s *api.Submit) { s.Options.Concurrency = 4 })
	o.halted(id, 0, sluice.RuleAuth, "")
	o.until("sshd has written down the refusals", func() bool { return o.said("Failed password") >= 2 })
	if n := o.said("Failed password"); n != 2 {
		t.Errorf("the password was tried %d times, want 2", n)
	}
	if _, err := o.client.Resume(o.ctx, id, nil); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("the refused password would be tried again: %v", err)
	}
	env, err := o.client.SealFor(o.ctx, id, sealed.Content{Password: aSecret(testfleet.Password)}, o.sealer, func(*sluice.Job) error { return nil })
	o.must(err)
	events, err := o.client.RetrySealed(o.ctx, id, nil, nil, env)
	o.must(err)
	o.succeeds(id, events[len(events)-1].Seq)
	o.ran(1, 1, 1, 1)
}

// TestSealedKeyAndSudo: a private key with its passphrase, and the password for sudo, come with the job; the server has
// neither in a file.
func TestSealedKeyAndSudo(t *testing.T) {
	o := newOffice(t, testfleet.Config{Hosts: 2, User: testfleet.Deploy, Host: testfleet.HostConfig{Sudo: testfleet.SudoPassword}})
	out, err := exec.CommandContext(o.ctx, "ssh-keygen", "-q", "-p", "-N", "sesame", "-f", o.f.Identity).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(o.f.Identity)
	o.must(err)
	o.must(os.Remove(o.f.Identity))
	id := o.submit(count+"; id -un", sealed.Content{Sudo: aSecret(testfleet.Password), Passphrase: aSecret("sesame"), PrivateKey: sluice.NewSecret(text)},
		func(s *api.Submit) { s.Options.Sudo = "root" })
	o.succeeds(id, 0)
	o.ran(1, 1)
	printed, err := o.client.Output(o.ctx, string(id), "host2", "stdout", 0)
	o.must(err)
	b, err := io.ReadAll(printed)
	if err != nil || string(b) != "root\n" {
		t.Errorf("it printed %q, error %v", b, err)
	}
	o.must(printed.Close())
}

// TestSealedExpiry: when the time is over, nothing more starts with the secrets.
func TestSealedExpiry(t *testing.T) {
	o := newOffice(t, passwordOnly(2))
	o.sealer.Life = 5 * time.Second
	id := o.submit(count+"; "+hold, sealed.Content{Password: aSecret(testfleet.Password)}, nil)
	o.running(o.host(1), 1)
	o.until("it is halting", func() bool {
		j, err := o.client.Job(o.ctx, string(id))
		return err == nil && j.Halting
	})
	o.letGo(o.f.Hosts...)
	o.halted(id, 0, sluice.RuleSecrets, "were good until")
	o.ran(1, 0)
	o.sealer.Life = 0
	o.succeeds(id, o.resume(id, sealed.Content{Password: aSecret(testfleet.Password)}))
	o.ran(1, 1)
}

// TestSealedSigners: the worker takes the secrets of somebody from the key that it first saw, and with a list only from those
// who stand in it. What others seal halts the job before it starts.
func TestSealedSigners(t *testing.T) {
	list := filepath.Join(t.TempDir(), "submitters")
	if err := os.WriteFile(list, []byte("# nobody yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, passwordOnly(1), "--submitters", list)
	content := func() sealed.Content { return sealed.Content{Password: aSecret(testfleet.Password)} }
	id := o.submit(count, content(), nil)
	o.halted(id, 0, sluice.RuleSecrets, "does not know admin")
	o.must(os.WriteFile(list, fmt.Appendf(nil, "admin %s\n", o.sealer.Signer.Public()), 0o600))
	o.succeeds(id, o.resume(id, content()))
	thief, err := sealed.NewSigner()
	o.must(err)
	o.sealer.Signer = thief
	id = o.submit(count, content(), nil)
	o.halted(id, 0, sluice.RuleSecrets, thief.Public().Fingerprint())
	o.ran(1)
}

// tells runs the command line against the server, with a password on descriptor 3.
func (o *office) tells(password string, args ...string) (stdout, stderr string, code int) {
	o.t.Helper()
	r, w, err := os.Pipe()
	o.must(err)
	_, err = w.WriteString(password + "\n")
	o.must(errors.Join(err, w.Close()))
	defer func() { o.must(r.Close()) }()
	var out, errs bytes.Buffer
	cmd := o.f.Command(o.ctx, o.program, append([]string{"--server", "http://" + serverAddress, "--token-file", filepath.Join(o.f.Home, "token")}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &errs, []*os.File{r}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		o.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestSealedCommandLine: run, resume and retry take secrets for a server as they do without one; only the worker must be
// known first.
func TestSealedCommandLine(t *testing.T) {
	o := newOffice(t, passwordOnly(2))
	run := []string{"run", "-t", "$web", "--concurrency", "1", "--password-fd", "3"}
	_, errs, code := o.tells(testfleet.Password, append(run, "--", count)...)
	_, rest, found := strings.Cut(errs, "--trust-worker ")
	if code != 2 || !found || !strings.Contains(errs, "is not known here") {
		t.Fatalf("an unknown worker: status %d, %s", code, errs)
	}
	o.ran(0, 0)
	trust := []string{"--trust-worker", strings.Fields(rest)[0]}
	out, errs, code := o.tells(testfleet.Password, slices.Concat(run, trust, []string{"--", count})...)
	if code != 0 {
		t.Fatalf("status %d, %s%s", code, out, errs)
	}
	o.ran(1, 1)
	file := o.fleet("tag: {web: [host1, host2]}\n") // a fleet of one's own, and a worker that is known by now
	if out, errs, code = o.tells(testfleet.Password, slices.Concat(run, []string{"-f", file, "--key", "nightly", "--", count})...); code != 0 {
		t.Fatalf("with a fleet and a key: status %d, %s%s", code, out, errs)
	}
	o.ran(2, 2)
	out, errs, code = o.tells(testfleet.Password, slices.Concat(run, []string{"--detach", "--", count + "; " + hold})...)
	id := strings.TrimSpace(out)
	if code != 0 || !sluice.JobID(id).Valid() {
		t.Fatalf("detached: status %d, %q %s", code, out, errs)
	}
	o.running(o.host(1), 3)
	o.stop(syscall.SIGKILL)
	o.start()
	o.halted(sluice.JobID(id), 0, sluice.RuleSecrets, "needs its secrets again")
	if _, errs, code = o.tells("", "resume", id); code != 2 || !strings.Contains(errs, "--password-fd") {
		t.Errorf("resumed without them: status %d, %s", code, errs)
	}
	o.letGo(o.f.Hosts...)
	if out, errs, code = o.tells(testfleet.Password, "resume", id, "--password-fd", "3"); code != 0 {
		t.Errorf("resumed: status %d, %s%s", code, out, errs)
	}
	o.ran(3, 3)
}

// Where nobody could open secrets, none are taken.
func TestSecretsNeedAWorker(t *testing.T) {
	ask := func(s *served, targets string) (api.Sealing, error) {
		return s.client.Sealing(t.Context(), api.Submit{ID: "0123456789ab", Targets: targets, Command: "true", Options: api.Options{AskPassword: true}}, "")
	}
	refused := func(s *served, targets, says string) {
		t.Helper()
		if _, err := ask(s, targets); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), says) {
			t.Errorf("for %s: %v, want %q", targets, err, says)
		}
	}
	sealedTo := func(s *served, targets, name string) {
		t.Helper()
		if to, err := ask(s, targets); err != nil || len(to.Workers) != 1 || to.Workers[0].Name != name {
			t.Errorf("for %s: sealed to %+v, error %v; want %s", targets, to.Workers, err, name)
		}
	}
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), noWorker: true, workersListen: "127.0.0.1:0", lease: 3 * time.Second}
	s.start()
	s.apply("tag: {web: [\"web[1-4]\"]}\nhost: {web3: {pool: dmz}}\n")
	refused(s, "web1", "the pool default has no worker")
	_, err := s.client.Sealing(t.Context(), api.Submit{ID: "0123456789ab", Targets: "web1", Command: "true", Options: api.Options{Signed: true}}, "")
	if err == nil || !strings.Contains(err.Error(), "could check a signature") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a job that is only signed: %v", err)
	}
	w1 := s.worker("w1")
	sealedTo(s, "web1", "w1")
	refused(s, "web3", "the pool dmz has no worker")
	s.worker("w2", "dmz")
	sealedTo(s, "web3", "w2")
	refused(s, "web1,web3", "none is in all of the pools default and dmz")
	s.worker("w3", "dmz", "default")
	sealedTo(s, "web1,web3", "w3")
	if err := s.client.DrainWorker(t.Context(), "w3", false); err != nil {
		t.Fatal(err)
	}
	refused(s, "web1,web3", "no worker is connected that reaches all hosts")
	if err := w1.stop(); err != nil {
		t.Fatal(err)
	}
	s.health("w1", "lost")
	refused(s, "web1", "no worker is connected")
	with := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	with.start()
	sealedTo(with, "web1", "embedded")
}
