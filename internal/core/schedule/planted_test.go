package schedule_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// planted are bugs, each breaking one guard. They are written into a copy of the sources that only the build of one
// test sees; the properties must find every one of them. A guard that can be taken out without a property noticing
// is not guarded.
var planted = []struct{ name, file, right, wrong string }{
	{"a failed host gives its place back", "task.go", "h.bad = &mark{job: t.job.id(), why: string(b.Outcome), since: at, reason: b.Reason}", "h.bad = nil"},
	{"an unknown outcome frees the host", "task.go", "h.unknown = b.Outcome == sluice.Unknown", "h.unknown = false"},
	{"a running host is not counted", "state.go", "out: busy || h.bad != nil || h.held != nil", "out: h.bad != nil || h.held != nil"},
	{"a held host is not counted", "state.go", "out: busy || h.bad != nil || h.held != nil", "out: busy || h.bad != nil"},
	{"the limit is passed by one", "rules.go", "g.out+1 <= limit)", "g.out <= limit)"},
	{"a host that is out already needs no room at all", "rules.go", "return g.busy+1 <= limit && (ownPlace || g.out+1 <= limit)", "return ownPlace || g.busy+1 <= limit && g.out+1 <= limit"},
	{"two attempts on a host at once", "rules.go", "return h.attempt != nil || h.held != nil || h.retired != nil", "return h.held != nil || h.retired != nil"},
	{"what an operator holds is started", "rules.go", "return h.attempt != nil || h.held != nil || h.retired != nil", "return h.attempt != nil || h.retired != nil"},
	{"a retired host is started", "decide.go", "h.retired != nil || !j.readOnly() && h.barred()", "!j.readOnly() && (h.attempt != nil || h.held != nil)"},
	{"only the rules in force count", "class.go", "if rs := t.job.frozen; rs != nil && rs != s.force {\n\t\tfor _, g := range rs.groupsOf(t.host) {\n\t\t\tout", "if rs := t.job.frozen; false {\n\t\tfor _, g := range rs.groupsOf(t.host) {\n\t\t\tout"},
	{"new rules do not reach jobs that go on", "rules.go", "s.tearDown(j)\n\t\tj.dirty = true", "_ = j"},
	{"--max-parallel is forgotten", "class.go", "if t.job.limit != nil {\n\t\tout", "if false {\n\t\tout"},
	{"the budget lets one more fail", "decide.go", "j.failures > j.budget }", "j.failures > j.budget+1 }"},
	{"a stage opens behind a failure", "gate.go", "failed > st.limit {", "false {"},
	{"a stage opens before the last one is done", "gate.go", "if st.unsettled > 0 || failed", "if failed"},
	{"nobody needs to approve", "gate.go", "if st.gate.Approve && !st.approved {\n\t\tif", "if false {\n\t\tif"},
	{"a pause takes no time", "gate.go", "if d.in.Now.Before(st.pauseTill) {\n\t\t\treturn false\n\t\t}", ""},
	{"refused logins stop nobody", "decide.go", "const maxRefused = 2", "const maxRefused = 200"},
	{"a halt is not heard", "state.go", "return j.halting != nil || j.halted != nil", "return j.halted != nil"},
	{"the concurrency is one too high", "decide.go", "limit > 0 && j.running >= limit {\n\t\treturn nil", "limit > 0 && j.running > limit {\n\t\treturn nil"},
	{"a failed job has succeeded", "decide.go", "if !t.outcome.Passed() {\n\t\t\treturn sluice.Failed", "if t.outcome == sluice.Failed {\n\t\t\treturn sluice.Failed"},
	{"a release frees what runs", "state.go", "if h.attempt != nil && h.unknown {", "if h.attempt != nil {"},
	{"a lock keeps nobody out", "decide.go", "o != j && o.spec.Options.Lock == j.spec.Options.Lock &&", "false &&"},
	{"a lock is taken from who runs", "decide.go", "(s.inLine(o, j) < 0 || o.running > 0)", "o.number < j.number"},
	{"a read-only success heals a host", "task.go", "if !j.readOnly() {\n\t\ts.setHost(t.host, func(h *host) { conclude", "if true {\n\t\th := &s.hosts[t.host]\n\t\th.last = t.ref()\n\t\ts.setHost(t.host, func(h *host) { conclude"},
	{"a later job does not yield", "decide.go", "d.reserve(j)", "_ = j"},
	{"a class that waits is never looked at again", "class.go", "c.woken, w.woken = nil, nil\n\t\tw.wake()", "c.woken, w.woken = nil, nil"},
	{"a snapshot forgets when a pause ends", "restore.go", "st.pauseTill = r.time()", "r.time()"},
	{"a snapshot forgets what was given up", "restore.go", "res.stopped, res.givenUp = flags&1 != 0, flags&2 != 0", "res.stopped = flags&1 != 0"},
	{"a release does not reach jobs that are packed", "state.go", "if j.packed.tally.of(sluice.Unknown) == 0 {", "if true {"},
	{"an attempt whose job was packed is lost", "restore.go", "if !d.over(j) || pins[i] {", "if !d.over(j) {"},
	{"percentages round up", "../../../amount.go", "return a.n * members / 10000", "return (a.n*members + 9999) / 10000"},
}

func TestPlantedBugsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: builds the package once for every bug")
	}
	if os.Getenv("SLUICE_PLANTED") != "" {
		t.Skip("skipped: this is the build with a bug")
	}
	for _, bug := range planted {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			overlay := plant(t, bug.file, bug.right, bug.wrong)
			cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-overlay", overlay, "-count=1",
				"-run", "^(TestInvariants|TestEveryJobEnds|TestWhyIsTrue|TestFoldIsAFunction|TestSnapshotIsTheFold|TestCapacity|TestALockIsNotTakenFromWhoRuns)$", ".",
				"-rapid.checks=5000", "-rapid.seed=7", "-rapid.steps=60", "-rapid.nofailfile", "-rapid.shrinktime=0s", "-failfast")
			cmd.Env = append(os.Environ(), "SLUICE_PLANTED=1")
			out, err := cmd.CombinedOutput()
			switch {
			case strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]"):
				t.Fatalf("the bug does not build:\n%s", out)
			case err == nil:
				t.Errorf("nobody noticed")
			case !strings.Contains(string(out), "--- FAIL") && !strings.Contains(string(out), "panic:"):
				t.Fatalf("it failed otherwise: %v\n%s", err, out)
			}
		})
	}
}

// plant writes a copy of a source file with the bug in it, and the overlay that puts it in the file's place.
func plant(t *testing.T, file, right, wrong string) string {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), right); n != 1 {
		t.Fatalf("%s has %d places like\n%s", file, n, right)
	}
	absolute, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bad := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(bad, []byte(strings.Replace(string(source), right, wrong, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {absolute: bad}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
