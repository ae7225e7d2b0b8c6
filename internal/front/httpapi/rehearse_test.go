package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/run/control"
)

// TestPlanForAPicture: numbers are whole where names are left out; it says what a person is asked, and how to type the same.
func TestPlanForAPicture(t *testing.T) {
	w := shopWorld(t)
	if _, err := w.service.ChangeHosts(t.Context(), "prod", control.Hold, []sluice.Host{"web04"}, "disk"); err != nil {
		t.Fatal(err)
	}
	c := w.client(w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod"}))
	s := api.Submit{Namespace: "prod", Targets: "all", Command: "systemctl restart app", Options: api.Options{MaxParallel: "2", Sudo: "root"}}
	p, err := c.PlanNames(t.Context(), s, 2)
	if err != nil || p.Count != 12 || len(p.Targets) != 2 || p.FleetVersion != 1 || p.FleetDigest == "" {
		t.Fatalf("%+v, error %v", p, err)
	}
	var stages []string
	for _, tr := range p.Tracks {
		for _, st := range tr.Stages {
			stages = append(stages, fmt.Sprintf("%s/%s %d of %d", tr.Name, st.Name, len(st.Hosts), st.Count))
		}
	}
	want := "rollout/$canary 1 of 1, rollout/$app.web [2] 2 of 2, rollout/$app.web [100%] 2 of 7, unconstrained/unconstrained 2 of 2"
	if got := strings.Join(stages, ", "); got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
	if got := fmt.Sprint(p.Constraints); got != "[{$app $app.web 30% 3 10 10 1} {$app $app.db 30% 1 2 2 0} {max-parallel max-parallel 2 2 12 12 1}]" {
		t.Errorf("constraints %s", got)
	}
	if len(p.Asks) != 1 || !strings.Contains(p.Asks[0], "12 hosts are more than 5") {
		t.Errorf("asks %q", p.Asks)
	}
	if i := slices.IndexFunc(p.Worst, func(x api.WorstCase) bool { return x.Tag == "app.web" }); i < 0 || p.Worst[i].Out != 2 {
		t.Errorf("the worst case %+v", p.Worst)
	}
	if p.CommandLine != "sluice run --namespace prod -t all --sudo --max-parallel 2 -- 'systemctl restart app'" {
		t.Errorf("typed as %s", p.CommandLine)
	}
	if !strings.Contains(p.Curl, `{"namespace":"prod","targets":"all","command":"systemctl restart app","options":{"max_parallel":"2","sudo":"root"}}`) {
		t.Errorf("called as %s", p.Curl)
	}
}

// TestRehearse: failures stop the job where the rule says, what is out takes up room, and nothing is done.
func TestRehearse(t *testing.T) {
	w := shopWorld(t)
	c := w.client(w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod"}))
	s := api.Submit{Namespace: "prod", Targets: "$app.web"}
	ask := func(p api.Pretence) api.Rehearsal {
		t.Helper()
		r, err := c.Rehearse(t.Context(), api.Rehearse{Submit: s, Rehearsal: p})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := ask(api.Pretence{})
	if r.State != "succeeded" || r.End != "succeeds" || r.Counts[sluice.Succeeded] != 10 || r.NotStarted != 0 || r.Most != 3 || r.Seconds != 600+5*30 || len(r.Stages) != 3 {
		t.Errorf("%+v", r)
	}
	r = ask(api.Pretence{Fail: "web[03-06]", Duration: "10s"})
	if r.State != "halted" || r.Halted == nil || r.Halted.Group != "$app.web" || r.Holding.Count != 3 || r.NotStarted != 5 || r.Counts[sluice.Failed] != 3 {
		t.Errorf("%+v, %+v", r, r.Halted)
	}
	r = ask(api.Pretence{Fail: "$canary"})
	if r.State != "halted" || r.NotStarted != 9 || r.Most != 1 {
		t.Errorf("the canary fails: %+v", r)
	}
	if _, err := w.service.ChangeHosts(t.Context(), "prod", control.Hold, []sluice.Host{"web10"}, "disk"); err != nil {
		t.Fatal(err)
	}
	s.Targets = "$app.web ! web10"
	if r := ask(api.Pretence{}); r.OutBefore.Text != "web10" || r.Most != 3 || r.Points[0].Out != 2 || r.Seconds <= ask(api.Pretence{Fresh: true}).Seconds {
		t.Errorf("with one out: %+v", r)
	}
	for _, p := range []api.Pretence{{Fail: "120%"}, {Fail: "$wbe"}, {Duration: "-1s"}, {Jitter: "3"}} {
		if _, err := c.Rehearse(t.Context(), api.Rehearse{Submit: s, Rehearsal: p}); sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), "rehearsal.") {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if jobs, err := w.service.Jobs(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs, error %v", len(jobs), err)
	}
}

// TestRehearsalsAreBounded: whoever asks without end is slowed down, others are not.
func TestRehearsalsAreBounded(t *testing.T) {
	w := shopWorld(t)
	w.still()
	vera, olga := w.token("vera", sluice.Grant{Role: access.Viewer}), w.client(w.token("olga", sluice.Grant{Role: access.Viewer}))
	n, status := 0, http.StatusOK
	for ; n < 1000; n++ {
		if status = w.post(vera, "/api/v1/rehearse", `{"namespace":"prod","targets":"all"}`, &api.Problem{}); status != http.StatusOK {
			break
		}
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("status %d after %d rehearsals", status, n)
	}
	if n == 0 || n > 100 {
		t.Errorf("%d rehearsals at once", n)
	}
	if _, err := olga.Rehearse(t.Context(), api.Rehearse{Submit: api.Submit{Namespace: "prod", Targets: "all"}}); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

// TestAskedAgain: what was asked for makes the same job.
func TestAskedAgain(t *testing.T) {
	w := shopWorld(t)
	c := w.client(w.token("ann", sluice.Grant{Role: access.Admin, Namespace: "prod"}))
	if _, err := c.ApplyFleet(t.Context(), "prod", bundle(t, shop+"ssh: {user: fleet}\ntarget: {pre_hooks: /fleet/pre.d, post_hooks: /fleet/post.d}\n"), "", -1); err != nil {
		t.Fatal(err)
	}
	blob, err := c.Put(t.Context(), strings.NewReader("#!/bin/sh\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range asks(blob.Digest) {
		t.Run(name, func(t *testing.T) {
			s.Namespace, s.Targets = "prod", "$app.web & !$canary"
			j, err := c.Submit(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.Asked(t.Context(), string(j.ID))
			if err != nil {
				t.Fatal(err)
			}
			again.ID = j.ID // with the same id, anything else would be a conflict
			if k, err := c.Submit(t.Context(), again.Submit); err != nil || k.ID != j.ID {
				t.Errorf("%+v: %+v, error %v", again.Submit, k, err)
			}
			k, err := c.Job(t.Context(), string(j.ID))
			if err != nil || k.PlanDigest != j.PlanDigest {
				t.Errorf("error %v", err)
			}
			if again.User != s.User || again.Options.Hooks != s.Options.Hooks {
				t.Errorf("user %q, hooks %q", again.User, again.Options.Hooks)
			}
		})
	}
}

func asks(digest string) map[string]api.Submit {
	return map[string]api.Submit{
		"a command": {Command: "echo 'it''s' $HOME"},
		"words":     {Argv: []string{"echo", "a b", "it's"}},
		"a script":  {Script: &api.Script{Digest: digest, Name: "it's a script.sh", Args: []string{"--x", "y z"}}},
		"a copy":    {Copy: &api.Copy{Digest: digest, Name: "a b", Dest: "/etc/x y"}},
		"a fetch":   {Fetch: "/etc/hosts"},
		"options": {Command: "true", User: "deploy", Options: api.Options{MaxFailures: "5%", MaxParallel: "2", Concurrency: 3, ReadOnly: true, Timeout: "1m30s",
			JobTimeout: "2h0m0s", Reconnect: "1m0s", Sudo: "app", Env: map[string]string{"A": "b c"}, NoHooks: true, Hooks: "/srv/hooks", TTY: true, Prompts: []string{"word:"}}},
	}
}
