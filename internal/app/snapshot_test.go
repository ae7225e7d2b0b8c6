package app_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/core/plan"
	"sluice/internal/core/rehearse"
)

// longJournal makes a journal of rehearsed jobs, long enough for a snapshot, and returns their ids. The last one is
// halted.
func longJournal(t *testing.T, dir string) (ids []sluice.JobID) {
	t.Helper()
	log, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	f := &sluice.Fleet{Namespace: "prod", Source: "fleet.yaml", Tags: map[sluice.Tag][]sluice.Host{}}
	for i := range 300 {
		f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf("web%03d", i)))
	}
	f.Tags["web"], f.TagOrder = f.Hosts, []sluice.Tag{"web"}
	f.Constraints = []sluice.Constraint{{Name: "$web", Groups: []sluice.Group{{Name: "$web", Limit: sluice.Percent(20), Members: f.Hosts}}}}
	rules, err := sluice.NewRules(f.Hosts, f.Constraints)
	if err != nil {
		t.Fatal(err)
	}
	p, ordered, err := plan.Make(f, f.Hosts)
	if err != nil {
		t.Fatal(err)
	}
	const jobs = 10
	var head uint64
	for n := range jobs {
		id := sluice.JobID(fmt.Sprintf("%012d", n))
		ids = append(ids, id)
		job := sluice.Job{ID: id, Namespace: f.Namespace, By: "ann@laptop", Fleet: f.Source, Expression: "$web", Command: fmt.Sprint("deploy ", n),
			Action: sluice.Action{Kind: sluice.RunCommand, Shell: fmt.Sprint("deploy ", n)}, Targets: ordered, Tracks: p.Tracks, Rules: rules.Digest}
		o := rehearse.Options{Seed: uint64(n), Start: time.Unix(1.7e9+int64(n)*3600, 0).UTC(), Duration: time.Minute, Jitter: 0.5,
			Fail: rehearse.Chance{Share: 0.05}, Lose: rehearse.Chance{Share: 0.01}}
		if n == jobs-1 {
			o.Fail.Share = 0.9
		}
		var events []sluice.Event
		if _, err := rehearse.Run(f, rules, job, o, func(e sluice.Event) {
			e.Seq = 0
			events = append(events, e)
		}); err != nil {
			t.Fatal(err)
		}
		for len(events) > 0 && err == nil {
			part := events[:min(20, len(events))]
			events = events[len(part):]
			head, err = log.Update(t.Context(), f.Namespace, head, func([]sluice.Event) ([]sluice.Event, error) { return part, nil })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// TestSnapshotsChangeNoAnswer: a journal says the same with a snapshot, without one, with a damaged one, and where none
// can be kept.
func TestSnapshotsChangeNoAnswer(t *testing.T) {
	home := t.TempDir()
	state := filepath.Join(home, ".local/state/sluice")
	ids := longJournal(t, state)
	snapshots := filepath.Join(state, "snapshots")
	file := filepath.Join(snapshots, "prod.snapshot")
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), program(t), args...)
		cmd.Env = []string{"HOME=" + home, "TZ=UTC"}
		out, err := cmd.CombinedOutput()
		return fmt.Sprintf("$ sluice %s\n%s(%v)\n", strings.Join(args, " "), out, err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var answers []string
	for _, how := range []string{"without", "with", "damaged", "cut", "nowhere to keep"} {
		_, missing := os.Stat(file)
		switch {
		case how == "without" && missing == nil || how != "without" && missing != nil:
			t.Fatalf("%s: the snapshot is there: %v", how, missing == nil)
		case how == "damaged", how == "cut":
			b, err := os.ReadFile(file)
			must(err)
			if b[len(b)-5] ^= 1; how == "cut" {
				b = b[:len(b)/2]
			}
			must(os.WriteFile(file, b, 0o600))
		case how == "nowhere to keep":
			must(os.RemoveAll(snapshots))
			must(os.WriteFile(snapshots, nil, 0o600))
		}
		var b strings.Builder
		for _, args := range [][]string{{"jobs"}, {"jobs", "-o", "json", "--all"}, {"status"}, {"status", string(ids[2])},
			{"status", string(ids[9]), "-o", "json"}, {"why", "-o", "json"}, {"why", string(ids[9]), "-o", "json"}, {"why", string(ids[3]), "web007"},
			{"host", "list", "--out", "--namespace", "prod", "-o", "json"}, {"halt", string(ids[1])}, {"skip", string(ids[4]), "web000", "--reason", "r"}} {
			b.WriteString(run(args...))
		}
		answers = append(answers, b.String())
		first := strings.Split(answers[0], "\n")
		for i, line := range strings.Split(b.String(), "\n") {
			if i >= len(first) || line != first[i] {
				t.Fatalf("%s: line %d is\n%s\nof\n%s\nand at first it was\n%s", how, i, line, b.String(), answers[0])
			}
		}
	}
	for _, want := range []string{"halted", `"rule":"constraint"`, `"why":"failed"`, `"state":"failed"`} {
		if !strings.Contains(answers[0], want) {
			t.Errorf("nothing is %q in\n%s", want, answers[0])
		}
	}
}
