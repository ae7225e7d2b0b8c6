package sluice_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ptr[T any](v T) *T { return &v }

// samples has one event of every type, with every field set.
func samples(t testing.TB) []sluice.Event {
	t.Helper()
	hosts := []sluice.Host{"web01", "web02", "web03", "db1"}
	rules, err := sluice.NewRules(hosts, []sluice.Constraint{{Name: "$app", Groups: []sluice.Group{
		{Name: "$app.web", Limit: sluice.Percent(15), Members: []sluice.Host{"web01", "web02", "web03"}},
		{Name: "$app.db", Limit: sluice.Count(1), Members: []sluice.Host{"db1"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	job := sluice.Job{ID: "0123456789ab", Namespace: "prod", By: "ann@laptop", Fleet: "fleet.yaml", Expression: "all", Command: "uptime",
		Action: sluice.Action{Kind: sluice.RunCommand, Shell: "uptime"},
		Options: sluice.Options{MaxFailures: ptr(sluice.Percent(10)), MaxParallel: ptr(sluice.Count(2)), Concurrency: 64, ReadOnly: true,
			Timeout: time.Minute, JobTimeout: time.Hour, Reconnect: 2 * time.Minute, TTY: true, Prompts: []string{"assphrase: $"},
			Sudo: "app", Env: map[string]string{"V": "1"}, NoHooks: true, OutputLimit: 16, AskPassword: true, AskSudoPassword: true, AskPassphrase: true},
		Targets: []sluice.Host{"web01", "web02", "db1"}, Rules: rules.Digest,
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Tracks: []sluice.Track{{Name: "rollout", Stages: []sluice.Stage{
			{Name: "$canary", Hosts: []sluice.Host{"web02"}, MaxFailures: 1, Gate: sluice.Gate{MaxFailures: sluice.Count(1), Pause: time.Minute,
				Approve: true, Ramp: []sluice.Amount{sluice.Count(1), sluice.Percent(100)}}},
			{Name: "rest", Entry: 1, Hosts: []sluice.Host{"web01", "db1"}}}}},
		SSH:      sluice.SSH{User: "deploy", Port: 22, Identity: []string{"~/.ssh/id"}, Jump: []string{"bastion"}},
		HostSSH:  map[sluice.Host]sluice.SSH{"db1": {Address: "192.0.2.7", Transport: "ssh"}},
		Target:   sluice.TargetSettings{Dir: "/var/lib/sluice", PreHooks: "/etc/sluice/pre.d", PostHooks: "/etc/sluice/post.d"},
		Approval: sluice.Approval{By: sluice.AnotherApproves}}
	bodies := []sluice.Body{
		sluice.RulesApplied{Rules: rules, By: "ann@laptop"}, sluice.JobSubmitted{Submitted: job}, sluice.JobStarted{Driver: "ann@laptop pid 7"},
		sluice.StageOpened{Track: "rollout", Stage: "$canary", Index: 1},
		sluice.GateWaiting{Track: "rollout", Stage: "$canary", Kind: sluice.GatePause, Until: time.Date(2026, 1, 2, 3, 5, 5, 0, time.UTC)},
		sluice.GatePassed{Track: "rollout", Stage: "$canary", Kind: sluice.GateApproval, By: "bob", Plan: "sha256:" + strings.Repeat("0", 64)},
		sluice.TaskStarted{Host: "web02", Attempt: "0123456789ab-1-1", Track: "rollout", Stage: "$canary"},
		sluice.TaskStep{Host: "web02", Attempt: "0123456789ab-1-1", Step: "pre/10-drain", ExitCode: 3, DurationMS: 20},
		sluice.TaskFinished{Host: "web02", Attempt: "0123456789ab-1-1", Outcome: sluice.Failed, ExitCode: ptr(3), DurationMS: 1500,
			Reason: "the command ended with 3", Refused: true, Truncated: []string{"stdout"}, Leftovers: []int{4711}},
		sluice.TaskFinished{Host: "db1", Outcome: sluice.Skipped, Reason: "broken", NotStarted: true, By: "bob"},
		sluice.TaskRetried{Hosts: []sluice.Host{"web02"}, By: "bob"},
		sluice.NewTaskOutput("web02", "0123456789ab-1-1", "stdout", 5, []byte("hello\n")),
		sluice.NewTaskOutput("web02", "0123456789ab-1-1", "stderr", 0, []byte{0xff, 0}),
		sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "lunch", By: "bob", Kill: true},
		sluice.JobHalted{Reason: "no room", Rule: sluice.RuleConstraint, Constraint: "$app", Group: "$app.web", Holders: []sluice.Host{"web02"}, Generation: 1},
		sluice.JobResumed{By: "bob", Generation: 2, MaxFailures: ptr(sluice.Count(3))},
		sluice.JobCancelling{By: "bob", Reason: "wrong fleet"},
		sluice.JobFinished{Outcome: sluice.Cancelled, Counts: map[sluice.Outcome]int{sluice.Succeeded: 1, sluice.Cancelled: 2}},
		sluice.TaskWithdrawn{Host: "db1", Attempt: "0123456789ab-2-1", Reason: "the password was refused twice"},
		sluice.HostHeld{Host: "db1", Reason: "disk", By: "bob"}, sluice.HostReleased{Host: "db1", Reason: "new disk", By: "bob"},
		sluice.HostRetired{Host: "db1", Reason: "gone", By: "bob"}, sluice.HostReturned{Host: "db1", Reason: "back", By: "bob"},
		sluice.FleetApplied{Version: 2, Bundle: "sha256:" + strings.Repeat("0", 64), Rules: rules.Digest, Hosts: 4, By: "ann@laptop", Note: "web03 is new"},
	}
	var out []sluice.Event
	for i, b := range bodies {
		e := sluice.Event{Seq: uint64(i + 1), Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Body: b}
		if !strings.HasPrefix(b.Type(), "host.") && !strings.HasPrefix(b.Type(), "rules.") && !strings.HasPrefix(b.Type(), "fleet.") {
			e.Job = job.ID
		}
		out = append(out, e)
	}
	for _, b := range append(accessBodies(), webhookBodies()...) {
		out = append(out, sluice.Event{Seq: uint64(len(out) + 1), Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Body: b})
	}
	removed := sluice.OutputRemoved{Bytes: 4711, Reason: "older than 30 days", Archive: "0123456789ab.tar.zst", Digest: "sha256:" + strings.Repeat("0", 64), By: "server"}
	for _, b := range append([]sluice.Body{removed}, releaseBodies(job)...) {
		out = append(out, sluice.Event{Seq: uint64(len(out) + 1), Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Job: job.ID, Body: b})
	}
	for _, b := range clusterBodies() {
		out = append(out, sluice.Event{Seq: uint64(len(out) + 1), Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), Body: b})
	}
	return out
}

// releaseBodies are a deploy and a rollback, with what their attempts prove.
func releaseBodies(job sluice.Job) []sluice.Body {
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	back := map[sluice.Host]sluice.Installed{"db1": {Version: "1.1", Manifest: digest("4"), Config: digest("5")}}
	release := sluice.Release{App: "shop", Env: "prod", Cluster: "eu", Version: "1.2", Artifact: digest("1"), Manifest: digest("2"), Config: digest("3"),
		Deploy: sluice.Deploy{Root: "/srv/shop", User: "shop", Group: "www-data", Keep: 5, NoHooks: true,
			Services: []sluice.Service{{Name: "shop", By: "systemd", Reload: true}},
			Checks:   []sluice.HealthCheck{{Kind: "http", At: "http://:8080/up", Status: 200, Every: time.Second, Timeout: 2 * time.Second, Successes: 3}},
			Waits:    sluice.Waits{Drain: time.Minute, Healthy: 2 * time.Minute, Steady: 10 * time.Second}}}
	job.Command, job.Action = "deploy shop@1.2 to prod", sluice.Action{Kind: sluice.DeployTo, Release: &release, Back: back}
	undo := job
	undo.Command, undo.Action = "roll back shop in prod", sluice.Action{Kind: sluice.RollBack, Release: &sluice.Release{App: "shop", Env: "prod", Deploy: sluice.Deploy{Root: "/srv/shop"}}, Back: back}
	return []sluice.Body{sluice.JobSubmitted{Submitted: job}, sluice.JobSubmitted{Submitted: undo},
		sluice.TaskFinished{Host: "db1", Attempt: "0123456789ab-2-1", Outcome: sluice.Succeeded, ExitCode: ptr(0), DurationMS: 900,
			Release: &sluice.Activation{App: "shop", Env: "prod", Live: sluice.Installed{Version: "1.2", Manifest: digest("6"), Config: digest("3")}, Before: back["db1"]}}}
}

func webhookBodies() []sluice.Body {
	return []sluice.Body{
		sluice.WebhookSet{Webhook: sluice.Webhook{ID: "chat", URL: "https://chat.example.com/in", Events: []string{"job.*"}, Namespaces: []sluice.Namespace{"prod"}}, By: "ann"},
		sluice.WebhookRemoved{ID: "chat", By: "ann"},
		sluice.WebhookGaveUp{ID: "chat", In: "prod", Event: 7, What: "job.halted", Tries: 12, Reason: "status 503"},
	}
}

// TestEventsAreReadForEver: the golden file is what earlier versions wrote. It is only ever added to.
func TestEventsAreReadForEver(t *testing.T) {
	const golden = "testdata/events.jsonl"
	var now bytes.Buffer
	for _, e := range samples(t) {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		now.Write(append(b, '\n'))
	}
	if *update {
		if err := os.WriteFile(golden, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, now.Bytes()) {
		t.Errorf("events are written in another form than before; a reader of old journals must still understand both\n%s", now.Bytes())
	}
	lines := bytes.Split(bytes.TrimSpace(kept), []byte("\n"))
	for i, want := range samples(t) {
		var got sluice.Event
		if err := json.Unmarshal(lines[i], &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as\n%+v\nwant\n%+v", want.Body.Type(), got, want)
		}
	}
}

func TestUnknownEventsAreKept(t *testing.T) {
	const line = `{"v":2,"seq":9,"time":"2030-01-01T00:00:00Z","type":"moon.phase","job":"0123456789ab","phase":"full"}`
	var e sluice.Event
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(e); err != nil || string(b) != line {
		t.Errorf("it came back as %s (%v)", b, err)
	}
}

func TestRangesKeepOrderAndMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "hosts")
		var hosts []sluice.Host
		for i := range n {
			hosts = append(hosts, sluice.Host(fmt.Sprintf("h%d", i)))
		}
		members := rapid.SliceOfNDistinct(rapid.SampledFrom(hosts), 0, n, rapid.ID[sluice.Host]).Draw(t, "members")
		if len(members) == 0 {
			members = nil
		}
		rules, err := sluice.NewRules(hosts, []sluice.Constraint{{Name: "c", Groups: []sluice.Group{{Name: "g", Members: members}}}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(sluice.RulesApplied{Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		var back sluice.RulesApplied
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if got := back.Rules.Constraints[0].Groups[0].Members; !reflect.DeepEqual(got, members) {
			t.Fatalf("%v came back as %v", members, got)
		}
	})
}

func TestStrangersAreRefused(t *testing.T) {
	_, err := sluice.NewRules([]sluice.Host{"a"}, []sluice.Constraint{{Name: "c", Groups: []sluice.Group{{Members: []sluice.Host{"b"}}}}})
	if err == nil {
		t.Error("a group may have members that the fleet does not know")
	}
	for _, bad := range []string{`"0-5"`, `"-1"`, `"2-1"`, `"x"`, `"0,0-1"`} {
		line := `{"v":1,"seq":1,"time":"2026-01-01T00:00:00Z","type":"rules.applied","hosts":["a","b"],"constraints":[{"name":"c","groups":[{"name":"g","limit":1,"members":` + bad + `}]}]}`
		var e sluice.Event
		if err := json.Unmarshal([]byte(line), &e); err == nil {
			t.Errorf("%s of two hosts is read as %+v", bad, e.Body)
		}
	}
}

func FuzzEvent(f *testing.F) {
	for _, e := range samples(f) {
		b, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var e sluice.Event
		if json.Unmarshal(line, &e) != nil {
			return
		}
		b, err := json.Marshal(e)
		if err != nil {
			return // a plan whose hosts are none of the targets
		}
		var again sluice.Event
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, b)
		}
		if _, unknown := e.Body.(sluice.UnknownBody); unknown || e.Job != "" && !e.Job.Valid() {
			return // somebody else wrote it; or no log takes it
		}
		if seq, job, err := sluice.Glance(b); err != nil || seq != again.Seq || job != again.Job {
			t.Fatalf("a glance sees event %d of %q (%v), not %d of %q\n%s", seq, job, err, again.Seq, again.Job, b)
		}
	})
}

// TestGlance: what is seen at a glance is what a reader would see, whoever wrote it.
func TestGlance(t *testing.T) {
	lines := []string{
		`{"v":1,"seq":7,"time":"2026-01-02T03:04:05Z","type":"x"}`,
		`{"v":1,"seq":7,"time":"2026-01-02T03:04:05Z","type":"x","job":"0123456789ab","host":"a"}`,
		`{"v":1,"seq":7,"time":"2026-01-02T03:04:05Z","type":"x","host":"a","job":"0123456789ab"}`,
		`{"v":1,"seq":7,"time":"2026-01-02T03:04:05Z","type":"x","host":"a","in":{"job":"0123456789ab"}}`,
		`{"v":1,"seq":7,"time":"2026-01-02T03:04:05Z","type":"x","job" : "0123456789ab"}`,
		`{"v":1,"seq":7,"time":"2026-01-02T03:04:05Z","type":"a\"b","job":"0123456789ab"}`,
		`{"v":1,"seq":7,"time":"2026-01-02T03:04:05Z","type":"x","text":"\",\"job\":\"0123456789ab\""}`,
		`{"v":2,"seq":7,"later":1,"time":"2026-01-02T03:04:05Z","type":"x","job":"0123456789ab"}`,
		`{"seq":7, "v":1,"job":"0123456789ab","time":"2026-01-02T03:04:05Z","type":"x"}`,
	}
	for _, e := range samples(t) {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	for _, line := range lines {
		var e sluice.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if seq, job, err := sluice.Glance([]byte(line)); err != nil || seq != e.Seq || job != e.Job {
			t.Errorf("event %d of %q (%v), not %d of %q: %s", seq, job, err, e.Seq, e.Job, line)
		}
	}
	for _, bad := range []string{``, `{}`, `{"v":1,"seq":7`, `{"v":1,"seq":-7,"time":"x","type":"x"}`, `{"seq":7,"time":"2026-01-02T03:04:05Z","type":"x"}`} {
		if _, _, err := sluice.Glance([]byte(bad)); err == nil {
			t.Errorf("taken for an event: %s", bad)
		}
	}
}

func TestSecretsShowNothing(t *testing.T) {
	s := sluice.NewSecret([]byte("hunter2"))
	b, err := json.Marshal(map[string]any{"s": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%s %v %+v %#v %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%+v", struct{ S sluice.Secret }{s}), string(b)} {
		if strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e746572") || strings.Contains(shown, "104 117") {
			t.Errorf("it shows: %s", shown)
		}
	}
	if string(s.Reveal()) != "hunter2" || !s.Set() || (sluice.Secret{}).Set() {
		t.Error("it does not keep the text")
	}
	s.Wipe()
	if len(s.Reveal()) != 0 {
		t.Error("it is not wiped")
	}
}

func TestIDs(t *testing.T) {
	id := sluice.NewAttemptID("0123456789ab", 12, 3)
	job, host, n, ok := id.Parse()
	if job != "0123456789ab" || host != 12 || n != 3 || !ok {
		t.Errorf("%s is read as %s %d %d %v", id, job, host, n, ok)
	}
	for _, bad := range []string{"", "x", "0123456789ab-1", "0123456789ab-1-0", "0123456789ab-01-1", "0123456789ab--1-1", "0123456789ai-1-1", "../456789ab-1-1"} {
		if _, _, _, ok := sluice.AttemptID(bad).Parse(); ok {
			t.Errorf("%q is taken for an attempt", bad)
		}
	}
	for name, want := range map[string]bool{"web01": true, "a.b-c_d": true, "": false, "-x": false, ".x": false, "a b": false, "a/b": false, "ä": false,
		strings.Repeat("a", 253): true, strings.Repeat("a", 254): false} {
		if sluice.ValidHost(name) != want {
			t.Errorf("ValidHost(%q) is %v", name, !want)
		}
	}
}
