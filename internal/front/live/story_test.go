package live

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/core/rehearse"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got\n%s\nwant\n%s", path, got, want)
	}
}

const storyJob = sluice.JobID("k3m9x2p7qz4t")

var storyStart = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// storyFleet has n hosts in two places, a few of them canaries, and a limit on what may be out at once.
func storyFleet(n int, gate sluice.Gate) *sluice.Fleet {
	f := &sluice.Fleet{Namespace: "prod", Tags: map[sluice.Tag][]sluice.Host{}}
	tag := func(t sluice.Tag, h sluice.Host) {
		if len(f.Tags[t]) == 0 {
			f.TagOrder = append(f.TagOrder, t)
		}
		f.Tags[t] = append(f.Tags[t], h)
	}
	digits := len(fmt.Sprint(n))
	for i := range n {
		h := sluice.Host(fmt.Sprintf("web%0*d", digits, i+1))
		f.Hosts = append(f.Hosts, h)
		switch {
		case i < max(1, n/20):
			tag("canary", h)
		case i < n/2:
			tag("colo.north", h)
		default:
			tag("colo.south", h)
		}
		tag("app", h)
	}
	entry := func(t sluice.Tag, g sluice.Gate) sluice.Entry {
		return sluice.Entry{Name: "$" + string(t), Hosts: f.Tags[t], Gate: g}
	}
	f.Sequences = []sluice.Sequence{{Name: "rollout", Entries: []sluice.Entry{entry("canary", gate),
		entry("colo.north", sluice.Gate{MaxFailures: sluice.Percent(20)}), entry("colo.south", sluice.Gate{})}}}
	f.Constraints = []sluice.Constraint{{Name: "$app", Groups: []sluice.Group{{Name: "$app", Limit: sluice.Percent(15), Members: f.Hosts}}}}
	return f
}

// storyOf is what a rehearsal of a job on the fleet writes to the log.
func storyOf(tb fataler, f *sluice.Fleet, o rehearse.Options, edit func(*sluice.Job)) ([]sluice.Event, rehearse.Result) {
	tb.Helper()
	p, targets, err := plan.Make(f, f.Hosts)
	if err != nil {
		tb.Fatal(err)
	}
	rules, err := sluice.NewRules(f.Hosts, f.Constraints)
	if err != nil {
		tb.Fatal(err)
	}
	job := sluice.Job{ID: storyJob, Namespace: f.Namespace, By: "ann@laptop", Command: "apt-get -y install nginx", Targets: targets,
		Tracks: p.Tracks, Rules: rules.Digest, Options: sluice.Options{Concurrency: sluice.DefaultConcurrency, Reconnect: time.Minute}}
	if edit != nil {
		edit(&job)
	}
	if o.Duration == 0 {
		o.Duration = 30 * time.Second
	}
	o.Start, o.PatienceFor = storyStart, time.Hour
	var events []sluice.Event
	r, err := rehearse.Run(f, rules, job, o, func(e sluice.Event) { events = append(events, e) })
	if err != nil {
		tb.Fatal(err)
	}
	return events, r
}

// upTo folds the events until a time after the start, with the reasons of that moment.
func upTo(tb fataler, events []sluice.Event, after time.Duration) (*view.Job, []schedule.Wait) {
	tb.Helper()
	j, s := view.New(), schedule.New()
	for _, e := range events {
		if e.Time.Sub(storyStart) > after {
			break
		}
		if err := s.Apply(e); err != nil {
			tb.Fatal(err)
		}
		if e.Job != "" {
			j.Apply(e)
		}
	}
	return j, s.Waits(storyJob)
}

func said(h sluice.Host) string {
	return "E: \x1b[31mSub-process\x1b[0m /usr/bin/dpkg on " + string(h) + " returned an error code (1)"
}

func screen(width, height int, after time.Duration) Screen {
	return Screen{Width: width, Height: height, Unicode: true, Now: storyStart.Add(after), Footer: "Ctrl-C halts; twice cancels", Last: said}
}

// frame draws a border, so that golden files show the size.
func frame(lines []string, s Screen) string {
	var b strings.Builder
	rule := "+" + strings.Repeat("-", s.Width) + "+\n"
	b.WriteString(rule)
	for i := range s.Height {
		l := ""
		if i < len(lines) {
			l = lines[i]
		}
		b.WriteString("|" + l + spaces(s.Width-width(l)) + "|\n")
	}
	return b.String() + rule
}

// fataler is a test, a benchmark or a property.
type fataler interface {
	Helper()
	Fatal(...any)
}
