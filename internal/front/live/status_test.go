package live

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// addressed is a script on hosts that the fleet file has addresses for.
func addressed(hosts ...sluice.Host) *script {
	s := newScript(hosts...)
	b := s.events[0].Body.(sluice.JobSubmitted)
	b.Submitted.By = "ann@laptop"
	b.Submitted.HostSSH = map[sluice.Host]sluice.SSH{}
	for i, h := range hosts {
		b.Submitted.HostSSH[h] = sluice.SSH{Address: fmt.Sprintf("node-%d.example.com", i+1)}
	}
	s.events[0].Body = b
	return s
}

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		name string
		tell func() *script
		o    StatusOptions
	}{
		{name: "unreachable", tell: func() *script {
			s := addressed(web(12)...)
			for i, h := range web(12) {
				at := fmt.Sprintf("root@node-%d.example.com:22: ", i+1)
				switch {
				case i < 4: // as the kernel says it
					s.end(h, sluice.Unreachable, 0, fmt.Sprintf("%sdial tcp 10.0.%d.7:22: connect: connection refused", at, i))
				case i < 6:
					s.end(h, sluice.Unreachable, 0, fmt.Sprintf("%sdial tcp [fd00::%d]:22: i/o timeout", at, i))
				case i < 8:
					s.end(h, sluice.Unknown, 0, fmt.Sprintf("%sread tcp 10.9.9.9:%d->10.0.%d.7:22: connection reset", at, 40000+i, i))
				case i < 10:
					s.end(h, sluice.Unreachable, 0, fmt.Sprintf("no host key is known for [10.0.%d.7]:2222; have a look at it with: sluice host enrol %s", i, h))
				case i == 10: // alone, so nothing is taken out
					s.end(h, sluice.Failed, 0, at+"login refused")
				default:
					s.end(h, sluice.Failed, 3, "the command ended with 3")
				}
			}
			s.wait(time.Minute)
			s.add(sluice.JobFinished{Outcome: sluice.Failed, Counts: map[sluice.Outcome]int{sluice.Failed: 2, sluice.Unreachable: 8, sluice.Unknown: 2}})
			return s
		}},
		{name: "jump", tell: func() *script {
			s := newScript(web(4)...)
			for i, h := range web(4) {
				if i < 2 {
					s.end(h, sluice.Unreachable, 0, fmt.Sprintf("ann@10.0.0.%d:22 via ann@10.1.1.1:22: connection refused", i))
				} else {
					s.end(h, sluice.Unreachable, 0, "jump host gate: ann@10.1.1.1:22: dial tcp 10.1.1.1:22: connect: connection refused")
				}
			}
			return s
		}, o: StatusOptions{Driven: true, Now: storyStart.Add(time.Minute)}},
		{name: "left", tell: func() *script {
			s := newScript(web(6)...)
			s.end("web01", sluice.Failed, 3, "the command ended with 3")
			s.add(sluice.TaskRetried{Hosts: []sluice.Host{"web01"}}, sluice.TaskStarted{Host: "web01", Attempt: "again"})
			s.end("web02", sluice.Succeeded, 0, "")
			s.add(sluice.GateWaiting{Stage: "$canary", Kind: sluice.GateApproval})
			return s
		}, o: StatusOptions{Now: storyStart.Add(90 * time.Second)}},
		{name: "halted", tell: func() *script {
			s := newScript(web(6)...)
			s.end("web01", sluice.Failed, 3, "the command ended with 3")
			s.add(sluice.TaskFinished{Host: "web02", Outcome: sluice.Skipped, Reason: "is away\x1b[2J"})
			s.add(sluice.JobHalted{Rule: sluice.RuleConstraint, Reason: "$app has no room"})
			return s
		}, o: StatusOptions{Zone: time.FixedZone("CET", 3600)}},
		{name: "unplaced", tell: func() *script { // web02 ended meanwhile
			s := newScript(web(3)...)
			s.add(sluice.TaskStarted{Host: "web01", Attempt: "first"}, sluice.TaskStarted{Host: "web03", Attempt: "third"})
			s.end("web02", sluice.Succeeded, 0, "")
			return s
		}, o: StatusOptions{Driven: true, Now: storyStart.Add(time.Minute), Unplaced: map[sluice.Host]string{
			"web01": "no worker of pool dmz is connected", "web02": "no worker of pool dmz is connected"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b strings.Builder
			if err := Status(&b, tc.tell().job(), tc.o); err != nil {
				t.Fatal(err)
			}
			golden(t, "status/"+tc.name+".txt", b.String())
		})
	}
}

func TestReasons(t *testing.T) {
	type said struct {
		host          sluice.Host
		address, text string
	}
	for _, tc := range []struct {
		name string
		says []said
		want string
	}{
		{"the same words", []said{{"a", "", "a fire on 10.0.0.1"}, {"b", "", "a fire on 10.0.0.1"}}, "a b: a fire on 10.0.0.1"},
		{"names", []said{{"web1", "", "lookup web1.example.com: no such host"}, {"web10", "", "lookup web10.example.com: no such host"}},
			"web1 web10: lookup HOST.example.com: no such host"},
		{"a part of another name", []said{{"web1", "", "web10 is in the way of web1"}, {"web2", "", "web10 is in the way of web2"}},
			"web1 web2: web10 is in the way of HOST"},
		{"an address of the fleet file", []said{{"a", "n1.example.com", "n1.example.com: no answer"}, {"b", "n2.example.com", "n2.example.com: no answer"}},
			"a b: ADDRESS: no answer"},
		{"an address of ssh_config", []said{{"a", "", "ann@n1:22: no answer from n1"}, {"b", "", "ann@n2:22: no answer from n2"}},
			"a b: ann@ADDRESS:22: no answer from ADDRESS"},
		{"alone", []said{{"a", "", "a at 10.0.0.1:22"}}, "a: a at 10.0.0.1:22"},
		{"another thing", []said{{"a", "", "10.0.0.1: full"}, {"b", "", "10.0.0.2: gone"}}, "a: 10.0.0.1: full\nb: 10.0.0.2: gone"},
		{"other places to jump from", []said{{"a", "", "x@10.0.0.1:22 via x@10.1.0.1:22: no"}, {"b", "", "x@10.0.0.2:22 via x@10.1.0.2:22: no"}},
			"a: x@10.0.0.1:22 via x@10.1.0.1:22: no\nb: x@10.0.0.2:22 via x@10.1.0.2:22: no"},
		{"nothing", []said{{"a", "", ""}, {"b", "", ""}}, "a b: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r view.Reasons
			for _, s := range tc.says {
				r.Add(s.host, s.address, s.text)
			}
			var got []string
			for _, one := range r.All() {
				var hosts []string
				for _, h := range one.Hosts {
					hosts = append(hosts, string(h))
				}
				got = append(got, strings.Join(hosts, " ")+": "+one.Text)
			}
			if text := strings.Join(got, "\n"); text != tc.want {
				t.Errorf("got\n%s\nwant\n%s", text, tc.want)
			}
		})
	}
}

// TestTakenUpAgain: of what happened before, one line is left.
func TestTakenUpAgain(t *testing.T) {
	for name, o := range map[string]LineOptions{"again": {}, "again-quiet": {Quiet: true}} {
		t.Run(name, func(t *testing.T) {
			s := newScript(web(6)...)
			s.end("web01", sluice.Succeeded, 0, "")
			s.end("web02", sluice.Failed, 3, "the command ended with 3")
			s.end("web03", sluice.Unreachable, 0, "no answer")
			s.add(sluice.TaskStarted{Host: "web04", Attempt: "d"})
			past := s.events
			s.events = nil
			s.wait(time.Hour)
			s.add(sluice.JobResumed{By: "ann@laptop"}, sluice.TaskRetried{Hosts: []sluice.Host{"web02"}, By: "ann@laptop"})
			s.add(sluice.TaskFinished{Host: "web04", Attempt: "d", Outcome: sluice.Succeeded, DurationMS: 1000})
			s.end("web02", sluice.Failed, 3, "the command ended with 3")
			var b strings.Builder
			l := NewLines(&b, o)
			l.Past(past, "goes on")
			for _, e := range s.events {
				l.Event(e)
			}
			l.Close()
			golden(t, "lines/"+name+".txt", b.String())
		})
	}
}

// TestLinesSayWhoWaitsForAWorker: an attempt that no worker has taken runs as far as the log goes. Where nothing else runs,
// it is said; beside hosts on which something happens, it is not.
func TestLinesSayWhoWaitsForAWorker(t *testing.T) {
	const job = sluice.JobID("0123456789ab")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	wait := []schedule.Wait{{Hosts: 1, Reason: schedule.Reason{Host: "a", Rule: sluice.RuleWorker, Text: "no worker of pool dmz is connected"}}}
	for running, want := range map[int]bool{1: true, 2: false} {
		var b strings.Builder
		l := NewLines(&b, LineOptions{})
		for i, body := range []sluice.Body{
			sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Targets: []sluice.Host{"a", "b"},
				Tracks: []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: []sluice.Host{"a", "b"}}}}}}}, sluice.JobStarted{},
			sluice.TaskStarted{Host: "a", Attempt: sluice.NewAttemptID(job, 0, 1), Track: "all", Stage: "all"}, sluice.TaskStarted{Host: "b", Attempt: sluice.NewAttemptID(job, 1, 1), Track: "all", Stage: "all"},
		}[:2+running] {
			l.Event(sluice.Event{Seq: uint64(i + 1), Time: now, Job: job, Body: body})
		}
		l.Waits(wait)
		if got := strings.Contains(b.String(), "no worker of pool dmz"); got != want {
			t.Errorf("with %d that run it says\n%s", running, b.String())
		}
	}
}
