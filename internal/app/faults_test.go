package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/check"
	"sluice/internal/lab/testfleet"
	"sluice/internal/lab/trouble"
)

// What the program promises, shown on a fleet of isolated hosts with real sshd, while things break. Every story
// tells the truth of the hosts (files that the commands wrote there) from what the program says, and ends with the
// same questions: does the whole journal keep the rules, is nothing left on the hosts, and is no secret anywhere.

func TestMain(m *testing.M) {
	trouble.Launch()
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	if err := left(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// left is what still runs when all should have ended. etcd's server for its peers may hold a connection for five seconds more, and with it the one
// who called: its connections undo the deadline by which net/http ends the wait for a request.
func left() (err error) {
	for end := time.Now().Add(10 * time.Second); ; {
		if err = goleak.Find(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// built is the program, built once for all stories.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "sluice-faults-"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", built.dir, "sluice/cmd/sluice").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("building the program: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "sluice")
}

// patience bounds every wait of a story. It is long because machines that run tests are slow.
const patience = 4 * time.Minute

// world is a fleet, a person's home with the program's state, and all that the program said.
type world struct {
	t       *testing.T
	ctx     context.Context
	f       *testfleet.Fleet
	program string
	state   string
	runs    []*run
	spoken  bytes.Buffer    // what commands printed that ended at once
	gone    map[string]bool // hosts that nobody can clean up
	secrets []string
}

// newWorld starts a fleet. When the story ends, its last questions are asked.
func newWorld(t *testing.T, c testfleet.Config) *world {
	t.Helper()
	t.Parallel()
	f := testfleet.Start(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w := &world{t: t, ctx: ctx, f: f, program: program(t), state: filepath.Join(f.Home, ".local/state/sluice"), gone: map[string]bool{},
		secrets: []string{testfleet.Password}}
	t.Cleanup(func() {
		defer cancel()
		w.verify()
	})
	return w
}

// slow marks stories that the quick loop leaves out.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short leaves out stories that take long")
	}
}

// hosts is a fleet of n plain hosts.
func hosts(n int) testfleet.Config { return testfleet.Config{Hosts: n} }

// host is the host of that number, from 1.
func (w *world) host(n int) *testfleet.Host { return w.f.Hosts[n-1] }

// fleet writes a fleet file and returns its path.
func (w *world) fleet(text string) string {
	w.t.Helper()
	path := filepath.Join(w.f.Home, "fleet.yaml")
	w.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// limited is a fleet file with all hosts in one group, so many of which may be out at once.
func (w *world) limited(limit int) string {
	w.t.Helper()
	return w.fleet(fmt.Sprintf("tag: {app: {web: [\"host[1-%d]\"]}}\nconstraint: {$app: %d}\n", len(w.f.Hosts), limit))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Commands of the stories. The file counts says how often a command ran; it waits for the file go.
const (
	counts = "/tmp/count"
	count  = "echo \"$SLUICE_ATTEMPT\" >>" + counts
	goFile = "/tmp/go"
	hold   = "until [ -e " + goFile + " ]; do sleep 0.05; done"
)

// lines is the number of lines of a file on a host; 0 where there is none.
func (w *world) lines(h *testfleet.Host, path string) int {
	w.t.Helper()
	b, err := h.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

// ran says how often the command of the story ran on each host, as it must have.
func (w *world) ran(want ...int) {
	w.t.Helper()
	for i, n := range want {
		if got := w.lines(w.host(i+1), counts); got != n {
			w.t.Errorf("the command ran %d times on %s, want %d", got, w.host(i+1), n)
		}
	}
}

// letGo lets held commands end.
func (w *world) letGo(hosts ...*testfleet.Host) {
	w.t.Helper()
	for _, h := range hosts {
		w.must(h.WriteFile(goFile, nil, 0o644))
	}
}

// running returns when the command counts itself on the host for the nth time.
func (w *world) running(h *testfleet.Host, n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("the command runs on %s", h), func() bool { return w.lines(h, counts) >= n })
}

// until looks again and again until it is so.
func (w *world) until(what string, so func() bool) {
	w.t.Helper()
	w.within(patience, what, so)
}

func (w *world) within(limit time.Duration, what string, so func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// say runs a command of the program to its end and returns what it printed.
func (w *world) say(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	var out, errs bytes.Buffer
	cmd := w.f.Command(w.ctx, w.program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("sluice %q: %v", args, err)
	}
	w.spoken.Write(out.Bytes())
	w.spoken.Write(errs.Bytes())
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// ok is say for commands that must succeed.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	out, errs, code := w.say(args...)
	if code != 0 {
		w.t.Fatalf("sluice %q ended with %d: %s%s", args, code, out, errs)
	}
	return out
}

// lastOf decodes the last line of JSON that a command printed.
func lastOf[T any](t *testing.T, text string) (v T) {
	t.Helper()
	text = strings.TrimSpace(text)
	if err := json.Unmarshal([]byte(text[strings.LastIndexByte(text, '\n')+1:]), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// journal reads the whole log.
func (w *world) journal() (events []sluice.Event) {
	w.t.Helper()
	log, err := sqlitelog.Open(w.ctx, sqlitelog.Config{Dir: w.state})
	w.must(err)
	defer func() { w.must(log.Close()) }()
	for {
		more, err := log.Read(w.ctx, sluice.DefaultNamespace, uint64(len(events)), 10000)
		w.must(err)
		if len(more) == 0 {
			return events
		}
		events = append(events, more...)
	}
}

// outcomes are the last outcomes of a job's hosts, from the journal.
func (w *world) outcomes(job sluice.JobID) map[sluice.Host]sluice.TaskFinished {
	w.t.Helper()
	out := map[sluice.Host]sluice.TaskFinished{}
	for _, e := range w.journal() {
		if b, ok := e.Body.(sluice.TaskFinished); ok && e.Job == job {
			out[b.Host] = b
		}
	}
	return out
}

// outcome checks how a host's task ended.
func (w *world) outcome(job sluice.JobID, h *testfleet.Host, want sluice.Outcome) sluice.TaskFinished {
	w.t.Helper()
	got, ok := w.outcomes(job)[sluice.Host(h.Name)]
	if !ok || got.Outcome != want {
		w.t.Errorf("%s: outcome %q (%s), want %q", h, got.Outcome, got.Reason, want)
	}
	return got
}

// output is what an attempt printed, as it is kept.
func (w *world) output(job sluice.JobID, a sluice.AttemptID) string {
	w.t.Helper()
	outputs, err := diroutputs.New(filepath.Join(w.state, "outputs"))
	w.must(err)
	defer func() { w.must(outputs.Close(job)) }()
	r, err := outputs.Open(job, a, "stdout")
	w.must(err)
	defer func() { w.must(r.Close()) }()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	w.must(err)
	return b.String()
}

// verify asks the last questions of every story.
func (w *world) verify() {
	for _, r := range w.runs {
		if !r.over() && !w.t.Failed() {
			w.t.Errorf("%s has not ended", r)
		}
		_ = r.cmd.Process.Kill()
		<-r.ended
	}
	if !w.t.Failed() && len(w.runs) > 0 {
		w.checkJournal()
		w.checkJobs()
		w.checkHosts()
		w.checkSecrets()
	}
	if w.t.Failed() {
		for _, r := range w.runs {
			w.t.Log(r.story())
		}
	}
}

func (w *world) checkJournal() {
	for _, v := range check.Log(w.journal()) {
		w.t.Errorf("the journal breaks a rule: %v", v)
	}
}

// checkJobs sees that every job has ended and nobody claims one.
func (w *world) checkJobs() {
	for line := range strings.Lines(w.ok("-o", "json", "jobs", "--all")) {
		j := lastOf[struct {
			Job, State string
			Driven     bool
		}](w.t, line)
		if j.Driven || !slices.Contains([]string{"succeeded", "failed", "cancelled", "halted"}, j.State) {
			w.t.Errorf("job %s is still %s (driven: %v)", j.Job, j.State, j.Driven)
		}
	}
	claims, err := os.ReadDir(filepath.Join(w.state, "drivers"))
	if err != nil || len(claims) > 0 {
		w.t.Errorf("claims are left: %v, %v", claims, err)
	}
}

// checkHosts sees that the program left no process, no directory and no file on any host.
func (w *world) checkHosts() {
	for _, h := range w.f.Hosts {
		if w.gone[h.Name] {
			continue
		}
		w.tidy(h)
	}
}

// tidy waits until nothing of the program is on a host: the last session ends a moment after the program.
func (w *world) tidy(h *testfleet.Host) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := w.leftOn(h)
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Errorf("left on %s: %q", h, left)
			return
		}
	}
}

// leftOn lists what does not belong on a host: processes other than those that it booted with, and places of
// attempts.
func (w *world) leftOn(h *testfleet.Host) (left []string) {
	processes, err := h.Processes()
	w.must(err)
	for _, p := range processes {
		line := strings.Join(p.Args, " ")
		booted := p.PID == 1 || p.PPID == 1 && (strings.HasPrefix(line, "sleep 0.0") || strings.HasPrefix(line, "/usr/sbin/sshd")) ||
			strings.HasPrefix(line, "sshd: /usr/sbin/sshd")
		if !booted {
			left = append(left, fmt.Sprintf("process %d %q", p.PID, line))
		}
	}
	out, err := h.Exec(w.ctx, "ls -d /var/lib/sluice* /var/tmp/sluice* /tmp/sluice* 2>/dev/null || :")
	w.must(err)
	return append(left, strings.Fields(out)...)
}

// checkSecrets searches what the program wrote and said for what it must not: passwords, and the private key.
func (w *world) checkSecrets() {
	key, err := os.ReadFile(w.f.Identity)
	w.must(err)
	secrets := append(slices.Clone(w.secrets), strings.Split(string(key), "\n")[2])
	look := func(where string, data []byte) {
		for _, s := range secrets {
			if bytes.Contains(data, []byte(s)) {
				w.t.Errorf("%s contains the secret %q", where, s)
			}
		}
	}
	look("what commands printed", w.spoken.Bytes())
	for _, r := range w.runs {
		look("the output of "+r.String(), r.stdout.Bytes())
		look("the errors of "+r.String(), r.stderr.Bytes())
	}
	for _, e := range w.journal() {
		b, err := json.Marshal(e)
		w.must(err)
		look("the journal", b)
	}
	w.must(filepath.WalkDir(w.state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	}))
}
