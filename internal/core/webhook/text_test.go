package webhook_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/webhook"
)

// story makes the events of a job, a second and a half apart.
func story(job sluice.Job, bodies ...sluice.Body) []sluice.Event {
	job.ID, job.By = "0123456789ab", "ann@laptop"
	events := []sluice.Event{{Body: sluice.JobSubmitted{Submitted: job}}}
	for _, b := range bodies {
		events = append(events, sluice.Event{Body: b})
	}
	for i := range events {
		events[i].Seq, events[i].Job, events[i].Time = uint64(i+7), job.ID, time.Unix(0, 0).Add(time.Duration(i)*1500*time.Millisecond)
	}
	return events
}

func went(h sluice.Host, from, to string) sluice.TaskFinished {
	return sluice.TaskFinished{Host: h, Outcome: sluice.Succeeded, Release: &sluice.Activation{App: "shop", Env: "prod",
		Live: sluice.Installed{Version: to}, Before: sluice.Installed{Version: from}}}
}

func TestSay(t *testing.T) {
	deploy := sluice.Job{Command: "deploy shop@1.2 to prod", Targets: []sluice.Host{"a", "b", "c", "d"}}
	ended := func(o sluice.Outcome, ok, failed int) sluice.JobFinished {
		return sluice.JobFinished{Outcome: o, Counts: map[sluice.Outcome]int{sluice.Succeeded: ok, sluice.Failed: failed}}
	}
	undone := ended(sluice.Failed, 1, 2)
	undone.Undo = "zzzzzzzzzzzz"
	for _, c := range []struct {
		events []sluice.Event
		want   string
	}{
		{story(deploy), "deploy shop@1.2 to prod by ann@laptop: submitted, for 4 hosts"},
		{story(deploy, sluice.JobStarted{Driver: "x"}), "deploy shop@1.2 to prod by ann@laptop: started"},
		{story(deploy, went("a", "1.1", "1.2"), went("b", "1.1", "1.2"), went("c", "", "1.2"), went("d", "1.2", "1.2"), ended(sluice.Succeeded, 4, 0)),
			"deploy shop@1.2 to prod by ann@laptop: succeeded after 8s: 4 hosts succeeded; 2 hosts from 1.1 to 1.2, 1 host from nothing to 1.2"},
		{story(deploy, went("a", "1.0", "1.1"), went("a", "1.1", "1.2"), ended(sluice.Failed, 1, 2)),
			"deploy shop@1.2 to prod by ann@laptop: failed after 5s: 1 host succeeded, 2 failed; 1 host from 1.0 to 1.2"},
		{story(deploy, undone), "deploy shop@1.2 to prod by ann@laptop: failed after 2s: 1 host succeeded, 2 failed; job zzzzzzzzzzzz brings them back"},
		{story(deploy, sluice.JobHalting{Reason: "two failed"}), "deploy shop@1.2 to prod by ann@laptop: is being halted: two failed"},
		{story(deploy, sluice.JobHalted{Reason: "two failed"}), "deploy shop@1.2 to prod by ann@laptop: halted: two failed"},
		{story(deploy, sluice.JobResumed{By: "bob"}), "deploy shop@1.2 to prod by ann@laptop: resumed by bob"},
		{story(deploy, sluice.JobCancelling{By: "bob", Reason: "no more"}), "deploy shop@1.2 to prod by ann@laptop: is being cancelled by bob: no more"},
		{story(deploy, sluice.GateWaiting{Stage: "$dc"}), "deploy shop@1.2 to prod by ann@laptop: waits for an approval before the stage $dc"},
		{story(deploy, sluice.GateWaiting{Stage: "$dc", Until: time.Unix(60, 0)}), "deploy shop@1.2 to prod by ann@laptop: pauses before the stage $dc until 1970-01-01T00:01:00Z"},
		{story(deploy, sluice.GatePassed{Stage: "$dc"}), "deploy shop@1.2 to prod by ann@laptop: goes on with the stage $dc"},
		{story(sluice.Job{Command: "echo <!channel> @all a&b\nrm secret\x1b[2J"}, sluice.JobStarted{}), "echo ‹!channel› @\u2060all a＆b... by ann@laptop: started"},
	} {
		want := c.want + " (job 0123456789ab in prod)"
		if got := webhook.Say("prod", c.events); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// Whatever a job is called, its sentence is one line of a bounded length, and neither a link nor a call to everybody.
func TestSayIsPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ .@a<>&\n]{0,40}`)).Draw(t, "text")
		got := webhook.Say("prod", story(sluice.Job{Command: text}, sluice.JobHalted{Reason: text}))
		if strings.ContainsAny(got, "<>&\n\r\x1b") || utf8.RuneCountInString(got) > 1100 || !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		for _, call := range []string{" @", ".@", "@@", "‹@"} {
			if i := strings.Index(got, call); i >= 0 && !strings.HasPrefix(got[i+len(call):], "\u2060") {
				t.Fatalf("it may call somebody: %q", got)
			}
		}
	})
}
