package live

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// script folds a job on hosts that ends as it is told.
type script struct {
	events []sluice.Event
	at     time.Time
}

func newScript(hosts ...sluice.Host) *script {
	s := &script{at: storyStart}
	s.add(sluice.JobSubmitted{Submitted: sluice.Job{ID: storyJob, Command: "systemctl restart app", Targets: hosts, Tracks: []sluice.Track{
		{Name: sluice.Unconstrained, Stages: []sluice.Stage{{Name: sluice.Unconstrained, Hosts: hosts}}}}}}, sluice.JobStarted{},
		sluice.StageOpened{Track: sluice.Unconstrained, Stage: sluice.Unconstrained})
	return s
}

func (s *script) add(bodies ...sluice.Body) {
	for _, b := range bodies {
		s.events = append(s.events, sluice.Event{Seq: uint64(len(s.events) + 1), Time: s.at, Job: storyJob, Body: b})
	}
}

func (s *script) wait(d time.Duration) { s.at = s.at.Add(d) }

func (s *script) end(h sluice.Host, o sluice.Outcome, code int, reason string) {
	b := sluice.TaskFinished{Host: h, Attempt: sluice.NewAttemptID(storyJob, 0, 1), Outcome: o, Reason: reason, DurationMS: 12000}
	if o == sluice.Succeeded || o == sluice.Failed {
		b.ExitCode = &code
	}
	s.add(sluice.TaskStarted{Host: h, Attempt: b.Attempt}, b)
}

func (s *script) job() *view.Job { return view.Fold(s.events) }

// kept are outputs by host and stream.
type kept map[string]string

func (p kept) read(h sluice.Host, stream string) ([]byte, bool, error) {
	if p[string(h)+" error"] != "" {
		return nil, false, errors.New(p[string(h)+" error"])
	}
	return []byte(p[string(h)+" "+stream]), p[string(h)+" cut"] != "" && stream == "stdout", nil
}

func web(n int) (out []sluice.Host) {
	for i := range n {
		out = append(out, sluice.Host(fmt.Sprintf("web%02d", i+1)))
	}
	return out
}

func TestSummary(t *testing.T) {
	finish := func(s *script, o sluice.Outcome, counts map[sluice.Outcome]int) {
		s.wait(34 * time.Second)
		s.add(sluice.JobFinished{Outcome: o, Counts: counts})
	}
	for _, tc := range []struct {
		name string
		tell func() (*script, kept)
		o    SummaryOptions
	}{
		{name: "succeeded", tell: func() (*script, kept) {
			s, p := newScript(web(7)...), kept{}
			for _, h := range web(7) {
				s.end(h, sluice.Succeeded, 0, "")
				p[string(h)+" stdout"] = "restarted\n"
			}
			p["web05 stdout"] = "restarted,\twith a tab and \x1b[31mred\x1b[0m\r\nno newline"
			p["web06 cut"] = "yes"
			finish(s, sluice.Succeeded, map[sluice.Outcome]int{sluice.Succeeded: 7})
			return s, p
		}},
		{name: "failed", tell: func() (*script, kept) {
			s, p := newScript(web(8)...), kept{}
			for i, h := range web(8) {
				switch {
				case i == 2 || i == 6:
					s.end(h, sluice.Failed, 3, "the command ended with 3")
					p[string(h)+" stderr"] = "app: no such unit\n"
				case i == 3 || i == 4:
					s.end(h, sluice.Unreachable, 0, "lookup "+string(h)+": no such host")
				case i == 5:
					s.end(h, sluice.Unknown, 0, "the link was lost")
					p[string(h)+" error"] = "disk on fire"
				case i == 7:
					s.add(sluice.TaskFinished{Host: h, Outcome: sluice.Skipped, Reason: "broken for weeks"})
				default:
					s.end(h, sluice.Succeeded, 0, "")
					p[string(h)+" stdout"] = strings.Repeat("a line\n", 160)
				}
			}
			finish(s, sluice.Failed, map[sluice.Outcome]int{sluice.Succeeded: 2, sluice.Failed: 2, sluice.Unreachable: 2, sluice.Unknown: 1, sluice.Skipped: 1})
			return s, p
		}, o: SummaryOptions{Lines: 4}},
		{name: "halted-constraint", tell: func() (*script, kept) {
			s := newScript(web(20)...)
			s.end("web01", sluice.Succeeded, 0, "")
			s.end("web03", sluice.Failed, 1, "the command ended with 1")
			s.add(sluice.JobHalted{Rule: sluice.RuleConstraint, Reason: "$app.web has no room: 2 of 20 hosts may be out, 2 are", Constraint: "$app",
				Group: "$app.web", Holders: []sluice.Host{"web03", "db7"}})
			return s, kept{}
		}},
		{name: "halted-budget", tell: func() (*script, kept) {
			s := newScript(web(3)...)
			s.end("web01", sluice.TimedOut, 0, "killed at its time limit")
			s.add(sluice.JobHalted{Rule: sluice.RuleBudget, Reason: "1 failed, and the job may have 0", Holders: []sluice.Host{"web01"}})
			return s, kept{}
		}},
		{name: "halted-operator", tell: func() (*script, kept) {
			s := newScript(web(3)...)
			s.end("web01", sluice.Succeeded, 0, "")
			s.add(sluice.JobHalted{Rule: sluice.RuleOperator, Reason: "interrupted by ann@laptop"})
			return s, kept{}
		}},
		{name: "cancelled", tell: func() (*script, kept) {
			s := newScript(web(4)...)
			s.end("web01", sluice.Succeeded, 0, "")
			s.end("web02", sluice.Cancelled, 0, "killed by a cancel")
			finish(s, sluice.Cancelled, map[sluice.Outcome]int{sluice.Succeeded: 1, sluice.Cancelled: 3})
			return s, kept{}
		}},
		{name: "going-on", tell: func() (*script, kept) {
			s := newScript(web(4)...)
			s.end("web01", sluice.Succeeded, 0, "")
			s.add(sluice.GateWaiting{Track: "t", Stage: "$canary", Kind: sluice.GateApproval})
			return s, kept{}
		}, o: SummaryOptions{Now: storyStart.Add(time.Minute)}},
		{name: "ascii", tell: func() (*script, kept) {
			s := newScript("web01")
			s.end("web01", sluice.Failed, 1, "the command ended with 1")
			finish(s, sluice.Failed, map[sluice.Outcome]int{sluice.Failed: 1})
			return s, kept{"web01 stdout": "Grüße\n" + strings.Repeat("x", longestShown+100)}
		}},
		{name: "quiet", tell: func() (*script, kept) {
			s := newScript(web(3)...)
			s.end("web01", sluice.Failed, 1, "the command ended with 1")
			s.end("web02", sluice.Succeeded, 0, "")
			s.end("web03", sluice.Succeeded, 0, "")
			finish(s, sluice.Failed, map[sluice.Outcome]int{sluice.Failed: 1, sluice.Succeeded: 2})
			return s, kept{"web01 stderr": "why\n", "web02 stdout": "never shown\n"}
		}, o: SummaryOptions{FailuresOnly: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Unicode = tc.name != "ascii"
			s, p := tc.tell()
			var b strings.Builder
			if err := Summary(&b, s.job(), p.read, tc.o); err != nil {
				t.Fatal(err)
			}
			golden(t, "summary/"+tc.name+".txt", b.String())
		})
	}
}

func TestSummaryKeepsApartWhatDiffers(t *testing.T) {
	s := newScript(web(4)...)
	for _, h := range web(4) {
		s.end(h, sluice.Succeeded, 0, "")
	}
	// The same bytes, once over both streams, are not the same output.
	p := kept{"web01 stdout": "ab", "web02 stdout": "a", "web02 stderr": "b", "web03 stdout": "ab\n", "web04 stdout": "ab"}
	var b strings.Builder
	if err := Summary(&b, s.job(), p.read, SummaryOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "web[01,04]: ok") || strings.Count(b.String(), ": ok") != 3 {
		t.Errorf("%s", b.String())
	}
}

func BenchmarkSummary(b *testing.B) {
	hosts := make([]sluice.Host, 10000)
	for i := range hosts {
		hosts[i] = sluice.Host(fmt.Sprintf("web%05d", i))
	}
	s, p := newScript(hosts...), kept{}
	for i, h := range hosts {
		s.end(h, sluice.Succeeded, 0, "")
		p[string(h)+" stdout"] = strings.Repeat(fmt.Sprintf("output of kind %d\n", i%13), 20)
	}
	j := s.job()
	for b.Loop() {
		var out strings.Builder
		if err := Summary(&out, j, p.read, SummaryOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestLines(t *testing.T) {
	tell := func(l *Lines) {
		s := newScript(web(4)...)
		s.wait(time.Second)
		s.add(sluice.TaskStarted{Host: "web01", Attempt: "a"}, sluice.TaskStarted{Host: "web02", Attempt: "b"})
		s.add(sluice.NewTaskOutput("web01", "a", "stdout", 0, []byte("one\ntw")), sluice.NewTaskOutput("web02", "b", "stderr", 0, []byte("\xff\x1b[2J\r\n")),
			sluice.NewTaskOutput("web01", "a", "stdout", 6, []byte("o\nthree")))
		s.wait(11 * time.Second)
		code := 3
		s.add(sluice.TaskFinished{Host: "web01", Attempt: "a", Outcome: sluice.Succeeded, DurationMS: 11000},
			sluice.TaskFinished{Host: "web02", Attempt: "b", Outcome: sluice.Failed, ExitCode: &code, Reason: "the command ended with 3", DurationMS: 11000})
		s.add(sluice.GateWaiting{Stage: "$canary", Kind: sluice.GatePause, Until: s.at.Add(time.Minute)}, sluice.GateWaiting{Stage: "$canary", Kind: sluice.GateApproval},
			sluice.GatePassed{Stage: "$canary", Kind: sluice.GatePause}, sluice.GatePassed{Stage: "$canary", Kind: sluice.GateApproval, By: "bob@desk"})
		for _, e := range s.events {
			l.Event(e)
		}
		waits := []schedule.Wait{{Reason: schedule.Reason{Rule: sluice.RuleConstraint, Text: "$app has no room: 1 of 4 hosts may be out, 1 are",
			Holders: []schedule.Holder{{Host: "web02", Job: storyJob, Why: "failed"}, {Host: "db1", Job: "000000000002", Why: "running"}, {Host: "db2", Why: "held"}}}, Hosts: 2}}
		l.Waits(waits)
		l.Waits(waits)
		l.Notice("the journal\nis slow")
		s.events = nil
		s.add(sluice.JobHalted{Rule: sluice.RuleConstraint, Reason: "$app has no room", Holders: []sluice.Host{"web02"}},
			sluice.JobResumed{By: "ann@laptop"}, sluice.TaskRetried{Hosts: []sluice.Host{"web02"}, By: "ann@laptop"},
			sluice.JobCancelling{By: "ann@laptop"}, sluice.JobFinished{Outcome: sluice.Cancelled, Counts: map[sluice.Outcome]int{sluice.Succeeded: 1, sluice.Cancelled: 3}})
		for _, e := range s.events {
			l.Event(e)
		}
		l.Event(sluice.Event{Body: sluice.NewTaskOutput("web03", "c", "stdout", 0, []byte("left over"))})
		l.Close()
	}
	for name, o := range map[string]LineOptions{"plain": {Unicode: true}, "verbose": {Verbose: true, Output: true}, "quiet": {Quiet: true, Output: true, Verbose: true}} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			tell(NewLines(&b, o))
			golden(t, "lines/"+name+".txt", b.String())
		})
	}
}

func FuzzShown(f *testing.F) {
	for _, s := range []string{"", "plain\r", "\x1b[2J\x9b", "\u202e\u200b", strings.Repeat("é", longestShown), "\xff\xfe"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, raw string, utf bool) {
		raw, _, _ = strings.Cut(raw, "\n")
		for _, r := range (Screen{Unicode: utf}).shown(raw) {
			if r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || !utf && r > '~' {
				t.Fatalf("%q lets %U through", raw, r)
			}
		}
	})
}
