package app_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/core/fleet"
	"sluice/internal/lab/testfleet"
	"sluice/sealed"
)

// Secrets that workers elsewhere open, for a server that has no worker of its own.

const workerAddress = "127.0.0.1:7658"

// newBranch is an office whose server carries nothing out itself.
func newBranch(t *testing.T, c testfleet.Config) *office {
	t.Helper()
	return newOffice(t, c, "--no-worker", "--worker-listen", workerAddress)
}

// outside is a worker in a process of its own.
type outside struct {
	o     *office
	name  sluice.WorkerName
	data  string
	flags []string
	cmd   *exec.Cmd
	spoke spoken
	ended chan struct{}
}

func (o *office) worker(name sluice.WorkerName, flags ...string) *outside {
	o.t.Helper()
	i, err := o.client.InviteWorker(o.ctx, name, nil)
	o.must(err)
	token := filepath.Join(o.f.Home, string(name)+".token")
	o.must(os.WriteFile(token, []byte(i.Token+"\n"), 0o600))
	w := &outside{o: o, name: name, data: filepath.Join(o.f.Home, string(name)), flags: flags}
	w.start("--server", workerAddress, "--enrol-file", token)
	o.t.Cleanup(func() {
		if w.cmd != nil { // after a restart of the server hosts are tidied up when the old leases are over
			o.checkHosts()
		}
		w.stop(syscall.SIGTERM)
	})
	return w
}

func (w *outside) start(flags ...string) {
	w.o.t.Helper()
	w.cmd = w.o.f.Command(w.o.ctx, w.o.program, slices.Concat([]string{"worker", "--data", w.data}, w.flags, flags)...)
	w.cmd.Stdout, w.cmd.Stderr = &w.spoke, &w.spoke
	w.o.must(w.cmd.Start())
	w.ended = make(chan struct{})
	go func(c *exec.Cmd, ended chan<- struct{}) { _ = c.Wait(); close(ended) }(w.cmd, w.ended)
	w.is("connected")
}

// is waits until the worker is as it is said to be.
func (w *outside) is(health string) {
	w.o.t.Helper()
	w.o.until(fmt.Sprintf("%s is %s", w.name, health), func() bool {
		list, err := w.o.client.Workers(w.o.ctx)
		return err == nil && slices.ContainsFunc(list, func(a api.Worker) bool { return a.Name == w.name && a.Health == health })
	})
}

func (w *outside) stop(s syscall.Signal) {
	if w.cmd == nil {
		return
	}
	_ = w.cmd.Process.Signal(s)
	<-w.ended
	w.cmd = nil
	if w.o.t.Failed() {
		w.o.t.Logf("%s said:\n%s", w.name, w.spoke.String())
	}
}

func password() sealed.Content { return sealed.Content{Password: aSecret(testfleet.Password)} }

// TestElsewhereCommandLine: people give secrets to a worker elsewhere as they do to a server's own: they compare its
// fingerprint once, and one that has another key by then gets nothing.
func TestElsewhereCommandLine(t *testing.T) {
	o := newBranch(t, passwordOnly(2))
	w := o.worker("w1")
	run := []string{"run", "-t", "$web", "--concurrency", "1", "--password-fd", "3"}
	_, errs, code := o.tells(testfleet.Password, append(run, "--", count)...)
	_, rest, found := strings.Cut(errs, "--trust-worker ")
	if code != 2 || !found || !strings.Contains(errs, "worker w1 of") {
		t.Fatalf("an unknown worker: status %d, %s", code, errs)
	}
	fingerprint := strings.Fields(rest)[0]
	if !strings.Contains(w.spoke.String(), fingerprint) {
		t.Errorf("the worker does not say %s: %s", fingerprint, w.spoke.String())
	}
	if list, _, _ := o.tells("", "workers"); !strings.Contains(list, fingerprint) {
		t.Errorf("%s is not shown: %s", fingerprint, list)
	}
	o.ran(0, 0)
	if out, errs, code := o.tells(testfleet.Password, slices.Concat(run, []string{"--trust-worker", fingerprint, "--", count})...); code != 0 {
		t.Fatalf("status %d, %s%s", code, out, errs)
	}
	o.ran(1, 1)
	w.stop(syscall.SIGKILL)
	o.must(os.RemoveAll(w.data))
	o.must(o.client.RemoveWorker(o.ctx, "w1"))
	o.worker("w1") // set up anew, or somebody else's
	_, errs, code = o.tells(testfleet.Password, slices.Concat(run, []string{"--trust-worker", fingerprint, "--", count})...)
	if code != 2 || !strings.Contains(errs, "THE KEY OF WORKER w1 IS ANOTHER ONE") {
		t.Errorf("a worker with another key: status %d, %s", code, errs)
	}
	o.ran(1, 1)
}

// TestElsewhereKeyAndSudo: a private key with its passphrase, and the password for sudo, are opened by a worker elsewhere.
func TestElsewhereKeyAndSudo(t *testing.T) {
	o := newBranch(t, testfleet.Config{Hosts: 2, User: testfleet.Deploy, Host: testfleet.HostConfig{Sudo: testfleet.SudoPassword}})
	out, err := exec.CommandContext(o.ctx, "ssh-keygen", "-q", "-p", "-N", "sesame", "-f", o.f.Identity).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(o.f.Identity)
	o.must(err)
	o.must(os.Remove(o.f.Identity))
	o.worker("w1")
	id := o.submit(count+"; id -un", sealed.Content{Sudo: aSecret(testfleet.Password), Passphrase: aSecret("sesame"), PrivateKey: sluice.NewSecret(text)},
		func(s *api.Submit) { s.Options.Sudo = "root" })
	o.succeeds(id, 0)
	o.ran(1, 1)
	printed, err := o.client.Output(o.ctx, string(id), "host2", "stdout", 0)
	o.must(err)
	if b, err := io.ReadAll(printed); err != nil || string(b) != "root\n" {
		t.Errorf("it printed %q, error %v", b, err)
	}
	o.must(printed.Close())
	if _, err := o.client.Retry(o.ctx, id, nil, nil); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("what is over can be retried without its secrets: %v", err)
	}
}

// TestElsewhereWrongPassword: two refusals are the end, on a worker elsewhere as well; other secrets go on.
func TestElsewhereWrongPassword(t *testing.T) {
	slow(t)
	o := newBranch(t, passwordOnly(4))
	o.worker("w1")
	o.worker("w2") // which reaches the same hosts, and must not try
	id := o.submit(count, sealed.Content{Password: aSecret(wrong)}, func(s *api.Submit) { s.Options.Concurrency = 4 })
	o.halted(id, 0, sluice.RuleAuth, "")
	o.until("sshd has written down the refusals", func() bool { return o.said("Failed password") >= 2 })
	if n := o.said("Failed password"); n != 2 {
		t.Errorf("the password was tried %d times, want 2", n)
	}
	if _, err := o.client.Resume(o.ctx, id, nil); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("the refused password would be tried again: %v", err)
	}
	env, err := o.client.SealFor(o.ctx, id, password(), o.sealer, func(*sluice.Job) error { return nil })
	o.must(err)
	events, err := o.client.RetrySealed(o.ctx, id, nil, nil, env)
	o.must(err)
	o.succeeds(id, events[len(events)-1].Seq)
	o.ran(1, 1, 1, 1)
}

// TestElsewhereSigners: the worker's own list says whose secrets it takes, whatever the server says.
func TestElsewhereSigners(t *testing.T) {
	list := filepath.Join(t.TempDir(), "submitters")
	if err := os.WriteFile(list, []byte("# nobody yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newBranch(t, passwordOnly(1))
	o.worker("w1", "--submitters", list)
	id := o.submit(count, password(), nil)
	o.halted(id, 0, sluice.RuleSecrets, "does not know admin")
	o.must(os.WriteFile(list, fmt.Appendf(nil, "admin %s\n", o.sealer.Signer.Public()), 0o600))
	events, err := o.client.Resume(o.ctx, id, nil) // they are still there, and are looked at again
	o.must(err)
	o.succeeds(id, events[len(events)-1].Seq)
	o.ran(1)
}

// TestSignedOnly: a worker that carries out signed jobs alone takes what a person signed, from those alone that it knows,
// and starts nothing of what the server says by itself.
func TestSignedOnly(t *testing.T) {
	list := filepath.Join(t.TempDir(), "submitters")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newBranch(t, testfleet.Config{Hosts: 2})
	o.worker("w1", "--submitters", list, "--signed-only")
	run := []string{"run", "-t", "$web", "--concurrency", "1"}

	out, errs, code := o.tells("", slices.Concat(run, []string{"--detach", "--", count})...) // not signed
	if code != 0 {
		t.Fatalf("status %d, %s", code, errs)
	}
	unsigned := strings.TrimSpace(out)
	o.until("it says that it waits, and why", func() bool {
		out, _, _ := o.tells("", "why", unsigned)
		return strings.Contains(out, "carry out signed jobs alone")
	})

	_, errs, code = o.tells("", slices.Concat(run, []string{"--sign", "--", count})...) // by nobody that it knows
	line := regexp.MustCompile(`admin [A-Za-z0-9+/]{43}=`).FindString(errs)
	if code != 3 || !strings.Contains(errs, "does not know admin") || line == "" {
		t.Fatalf("status %d, %s", code, errs)
	}
	o.ran(0, 0)
	if _, errs, code := o.tells("", "cancel", unsigned); code != 4 {
		t.Fatalf("status %d, %s", code, errs)
	}
	o.must(os.WriteFile(list, []byte(line+"\n"), 0o600)) // as the reason says
	if out, errs, code := o.tells("", slices.Concat(run, []string{"--sign", "--", count})...); code != 0 {
		t.Fatalf("status %d, %s%s", code, out, errs)
	}
	o.ran(1, 1)
}

// TestSignedApproval: where another one has to approve, a worker that carries out signed jobs alone starts nothing that nobody
// but its submitter has signed, whatever the server says; an approval that was not signed is refused before the gate is open.
func TestSignedApproval(t *testing.T) {
	list := filepath.Join(t.TempDir(), "submitters")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newBranch(t, testfleet.Config{Hosts: 1})
	o.worker("w1", "--submitters", list, "--signed-only")
	b, err := fleet.Record(fleetfiles.New(o.ctx)).Bundle(o.fleet("tag: {web: [" + o.host(1).Name + "]}\napproval: {by: another, start: true}\n"))
	o.must(err)
	_, err = o.client.ApplyFleet(o.ctx, "default", b, "", -1)
	o.must(err)
	o.must(o.client.AddPrincipal(o.ctx, "bob", false))
	o.must(o.client.Grant(o.ctx, sluice.Grant{Principal: "bob", Role: "operator"}))
	o.must(o.client.Grant(o.ctx, sluice.Grant{Principal: "bob", Role: "approver"}))
	token, err := o.client.MakeToken(o.ctx, api.TokenWish{Principal: "bob"})
	o.must(err)
	o.must(os.WriteFile(filepath.Join(o.f.Home, "bob.token"), []byte(token.Secret), 0o600))
	bob := func(args ...string) (string, string, int) {
		return o.tells("", append([]string{"--token-file", filepath.Join(o.f.Home, "bob.token")}, args...)...)
	}
	o.must(os.WriteFile(list, fmt.Appendf(nil, "admin %s\n", o.sealer.Signer.Public()), 0o600))
	j, err := o.client.SubmitSealed(o.ctx, api.Submit{ID: "0123456789ab", Targets: "$web", Command: count, Options: api.Options{Signed: true}}, sealed.Content{}, o.sealer)
	o.must(err)
	o.until("it waits", func() bool {
		j, err := o.client.Job(o.ctx, string(j.ID))
		return err == nil && len(j.Gates) == 1
	})
	if _, errs, code := bob("approve", string(j.ID)); code == 0 || !strings.Contains(errs, "--sign") {
		t.Errorf("not signed: status %d, %s", code, errs)
	}
	if out, errs, code := bob("approve", string(j.ID), "--sign"); code != 0 { // with a key that the worker does not know
		t.Fatalf("status %d, %s%s", code, out, errs)
	}
	var line string
	_, err = o.client.Follow(o.ctx, string(j.ID), 0, func(e sluice.Event) {
		if f, is := e.Body.(sluice.TaskFinished); is {
			line = regexp.MustCompile(`bob [A-Za-z0-9+/]{43}=`).FindString(f.Reason)
		}
	}, nil)
	o.must(err)
	if line == "" {
		t.Error("it is not said which key the worker does not know")
	}
	o.ran(0)
	o.must(os.WriteFile(list, fmt.Appendf(nil, "admin %s\n%s\n", o.sealer.Signer.Public(), line), 0o600))
	e, err := o.client.SealFor(o.ctx, j.ID, sealed.Content{}, o.sealer, func(*sluice.Job) error { return nil })
	o.must(err)
	events, err := o.client.RetrySealed(o.ctx, j.ID, nil, nil, e)
	o.must(err)
	o.succeeds(j.ID, events[len(events)-1].Seq)
	o.ran(1)
}

// TestElsewhereServerRestarts: a restart of the server loses what it kept sealed. What runs goes on with the secrets that its
// worker has, nothing starts, and the job goes on when they are given anew.
func TestElsewhereServerRestarts(t *testing.T) {
	o := newBranch(t, passwordOnly(3))
	w := o.worker("w1")
	id := o.submit(count+"; "+hold, password(), nil)
	o.running(o.host(1), 1)
	o.stop(syscall.SIGKILL)
	o.start()
	w.is("connected")
	o.until("the job is halting", func() bool {
		j, err := o.client.Job(o.ctx, string(id))
		return err == nil && j.Halting
	})
	o.letGo(o.f.Hosts...)
	o.halted(id, 0, sluice.RuleSecrets, "needs its secrets again")
	o.ran(1, 0, 0)
	j, err := o.client.Job(o.ctx, string(id))
	if err != nil || j.Counts[sluice.Succeeded] != 1 {
		t.Errorf("what ran has %v, error %v", j.Counts, err)
	}
	if _, err := o.client.Resume(o.ctx, id, nil); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("resumed without them: %v", err)
	}
	o.succeeds(id, o.resume(id, password()))
	o.ran(1, 1, 1)
}

// TestElsewhereWorkerRestarts: a worker that was started anew does not know how often a password was tried. It is not given
// the same again: the job is halted, and goes on when somebody gives its secrets anew, there or to another worker.
func TestElsewhereWorkerRestarts(t *testing.T) {
	slow(t)
	o := newBranch(t, passwordOnly(3))
	w := o.worker("w1")
	id := o.submit(count+"; "+hold, password(), func(s *api.Submit) { s.Options.Reconnect = "5s" })
	o.running(o.host(1), 1)
	w.stop(syscall.SIGKILL)
	w.start()
	o.halted(id, 0, sluice.RuleSecrets, "started anew")
	o.ran(1, 0, 0)
	if _, err := o.client.Resume(o.ctx, id, nil); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("resumed without them: %v", err)
	}
	o.letGo(o.f.Hosts...)
	if _, err := o.client.Settle(o.ctx, id); err != nil { // a worker asks what it can without them
		t.Errorf("asked how it ended: %v", err)
	}
	o.succeeds(id, o.resume(id, password()))
	o.ran(1, 1, 1)
}

// TestElsewhereWorkerIsGone: a worker that does not come back halts the job; another one goes on when it is given the
// secrets, and joins what runs.
func TestElsewhereWorkerIsGone(t *testing.T) {
	slow(t)
	o := newBranch(t, passwordOnly(3))
	w1 := o.worker("w1")
	id := o.submit(count+"; "+hold, password(), func(s *api.Submit) { s.Options.Reconnect = "3s" })
	o.running(o.host(1), 1)
	o.worker("w2")
	w1.stop(syscall.SIGKILL)
	o.halted(id, 0, sluice.RuleSecrets, "w1, which alone had them, is gone")
	o.ran(1, 0, 0)
	o.letGo(o.f.Hosts...)
	o.succeeds(id, o.resume(id, password()))
	if len(o.seen) != 1 || o.seen[0].Name != "w2" {
		t.Errorf("sealed to %v", o.seen)
	}
	o.ran(1, 1, 1)
}

// memory shows look all that a process has in memory, as root reads it, piece by piece; or only the pages with a flag of
// /proc/PID/smaps.
func memory(t *testing.T, pid int, flag string, look func([]byte)) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	nothing := make([]byte, pieceSize+overlap)
	var begin, end int64
	for line := range strings.Lines(string(maps)) {
		words := strings.Fields(line)
		if from, to, is := strings.Cut(words[0], "-"); is {
			begin, _ = strconv.ParseInt(from, 16, 64)
			end, _ = strconv.ParseInt(to, 16, 64)
			if !strings.HasPrefix(words[1], "rw") {
				end = begin
			}
		}
		if words[0] != "VmFlags:" || flag != "" && !slices.Contains(words, flag) {
			continue
		}
		for piece := begin; piece < end; piece += pieceSize {
			b := make([]byte, min(end-piece, pieceSize+overlap))
			n, _ := mem.ReadAt(b, piece) // pages that were never touched may not be there
			if !bytes.Equal(b[:n], nothing[:n]) {
				look(b[:n])
			}
		}
	}
}

const (
	pieceSize = 4 << 20
	overlap   = 1 << 10 // what lies across the end of a piece is seen, too
)

// TestElsewhereCanaries: the server has secrets of every kind go through it, and none of them is to be found in it: not on its
// disk, not in what it says, and not in its memory while the job runs. Nor are they on the worker's disk. What is no secret
// is found in all these places, so that the looking is known to work.
func TestElsewhereCanaries(t *testing.T) {
	slow(t)
	o := newBranch(t, testfleet.Config{Hosts: 2, User: testfleet.Deploy, Host: testfleet.HostConfig{Sudo: testfleet.SudoPassword}})
	answers := o.record()
	login, passphrase, open := chance("pw-"), chance("phrase-"), chance("open-")
	for _, h := range o.f.Hosts {
		o.must(h.SetPassword(o.ctx, testfleet.Deploy, login))
		o.must(h.WriteFile("/var/lib/note", []byte("the password is "+login+" and so on\n"), 0o644))
	}
	out, err := exec.CommandContext(o.ctx, "ssh-keygen", "-q", "-p", "-N", passphrase, "-f", o.f.Identity).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key, err := os.ReadFile(o.f.Identity)
	o.must(err)
	o.must(os.Remove(o.f.Identity))
	canaries := []canary{newCanary("password", login), newCanary("passphrase", passphrase), newCanary("private key", strings.Split(string(key), "\n")[2])}
	everything := func() sealed.Content {
		return sealed.Content{Password: aSecret(login), Sudo: aSecret(login), Passphrase: aSecret(passphrase), PrivateKey: sluice.NewSecret(bytes.Clone(key))}
	}
	w := o.worker("w1")
	command := "cat /var/lib/note; echo " + open + "; " + count + "; " + hold
	id := o.submit(command, everything(), func(s *api.Submit) { s.Options.Sudo = "root" })
	o.running(o.host(1), 1)
	plain := newCanary("what is no secret", open)
	server, worker, looked := sinks{}, false, 0
	lookAtServer := func() {
		memory(t, o.server.Process.Pid, "", func(b []byte) {
			looked += len(b)
			for _, c := range append(canaries[:len(canaries):len(canaries)], plain) {
				server.look(c.name, b, c)
			}
		})
	}
	lookAtServer()
	memory(t, w.cmd.Process.Pid, "", func(b []byte) { worker = worker || canaries[0].in(b) })
	if !worker {
		t.Error("the password is not found in the memory of the worker that uses it, so the looking shows nothing")
	}
	o.stop(syscall.SIGKILL) // with envelopes in its memory
	o.start()
	w.is("connected")
	o.letGo(o.f.Hosts...)
	o.halted(id, 0, sluice.RuleSecrets, "")
	o.succeeds(id, o.resume(id, everything()))
	lookAtServer()
	_, err = o.client.Events(o.ctx, string(id), 0)
	o.must(err)
	r, err := o.client.Output(o.ctx, string(id), "host1", "stdout", 0)
	o.must(err)
	_, err = io.Copy(io.Discard, r)
	o.must(err)
	o.must(r.Close())
	kept := tree(t, w.data)
	o.checkHosts() // they are tidied up when the leases of before the restart are over
	o.stop(syscall.SIGTERM)
	w.stop(syscall.SIGTERM)
	search := func(c canary) sinks {
		s := sinks{"the server's memory": server[c.name]}
		s.look("the server's data", tree(t, o.data), c)
		s.look("what the server said", []byte(o.spoke.String()), c)
		s.look("answers", answers.all.Bytes(), c)
		s.look("the worker's data", append(kept, tree(t, w.data)...), c)
		s.look("what the worker said", []byte(w.spoke.String()), c)
		return s
	}
	for _, c := range canaries {
		if s := search(c); s.total() > 0 {
			t.Errorf("the %s is in %v", c.name, s)
		} else {
			t.Logf("the %s: looked into %v, %d bytes of memory", c.name, s, looked)
		}
	}
	s := search(plain)
	for _, kind := range []string{"the server's memory", "the server's data", "answers"} {
		if s[kind] == 0 {
			t.Errorf("what is no secret was not found in %s, so the looking shows nothing: %v", kind, s)
		}
	}
}

// TestElsewhereIsWiped: when a job is over, its secrets are gone from the pages in which its worker keeps
// them. Copies that libraries made in ordinary memory are out of reach.
func TestElsewhereIsWiped(t *testing.T) {
	slow(t)
	o := newBranch(t, testfleet.Config{Hosts: 1, User: testfleet.Deploy, Host: testfleet.HostConfig{Sudo: testfleet.SudoPassword}})
	secret := chance("pw-")
	o.must(o.f.Hosts[0].SetPassword(o.ctx, testfleet.Deploy, secret))
	w := o.worker("w1")
	id := o.submit(count+"; "+hold, sealed.Content{Sudo: aSecret(secret)}, func(s *api.Submit) { s.Options.Sudo = "root" })
	o.running(o.host(1), 1)
	c := newCanary("password", secret)
	const notDumped = "dd" // what is in no core file
	kept := func() (is bool) {
		memory(t, w.cmd.Process.Pid, notDumped, func(b []byte) { is = is || c.in(b) })
		return is
	}
	if !kept() {
		t.Error("the password is not found where the worker keeps it")
	}
	o.letGo(o.f.Hosts...)
	o.succeeds(id, 0)
	o.until("the worker has wiped it", func() bool { return !kept() })
}
