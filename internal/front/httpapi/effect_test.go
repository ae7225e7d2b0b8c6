package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
)

func (w *world) effect(token string, job sluice.JobID, q client.EffectQuery) api.Effect {
	w.t.Helper()
	e, err := w.client(token).Effect(w.t.Context(), job, q)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// post sends a body as it stands, and takes the problem of the answer.
func (w *world) post(token, path, body string, p *api.Problem) int {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		if err := json.NewDecoder(resp.Body).Decode(p); err != nil {
			w.t.Fatal(err)
		}
	}
	return resp.StatusCode
}

func says(t *testing.T, e api.Effect, want ...string) {
	t.Helper()
	text := strings.Join(e.Says, "\n")
	if e.Refused != nil {
		text += "refused: " + e.Refused.Detail
	}
	for _, x := range want {
		if !strings.Contains(text, x) {
			t.Errorf("%s says\n%s\nand not %q", e.Act, text, x)
		}
	}
}

// head is the number of the last event of the namespace.
func (w *world) head() (n uint64) {
	w.t.Helper()
	events, err := w.log.Read(w.t.Context(), "prod", 0, 10000)
	if err != nil || len(events) == 0 {
		w.t.Fatal(err)
	}
	return events[len(events)-1].Seq
}

// TestEffect: whoever may see a job may ask what an act would do. That changes nothing and leaves nothing in the audit; what
// the act would answer, the effect says.
func TestEffect(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2", "db1")
	vera, olga := w.token("vera", sluice.Grant{Role: access.Viewer}), w.token("olga", sluice.Grant{Role: access.Operator})
	if _, err := w.client(olga).Halt(t.Context(), job, "look first"); err != nil {
		t.Fatal(err)
	}
	before, noted := w.head(), len(w.refusals())

	e := w.effect(vera, job, client.EffectQuery{Act: "resume"})
	says(t, e, "2 hosts start at once: web1, db1.", "web2 waits: $web has room for 1.")
	if e.Starts.Count != 2 || e.State != "running" || e.Touches != 3 || e.Seq != before || len(e.Waits) != 1 || e.Waits[0].Group != "$web" {
		t.Errorf("%+v", e)
	}
	says(t, w.effect(vera, job, client.EffectQuery{Act: "cancel"}), "3 hosts never start", "ends at once: cancelled")
	says(t, w.effect(vera, job, client.EffectQuery{Act: "skip", Hosts: []sluice.Host{"web1"}}), "need not run on web1")
	for q, want := range map[string]client.EffectQuery{"is halted and cannot be halted": {Act: "halt"}, "nothing in job": {Act: "approve"},
		"no target": {Act: "skip", Hosts: []sluice.Host{"stranger"}}, "are known": {Act: "settle"}} {
		if e := w.effect(vera, job, want); e.Refused == nil || !strings.Contains(e.Refused.Detail, q) {
			t.Errorf("%s: %+v", want.Act, e)
		}
	}
	if _, err := w.client(vera).Effect(t.Context(), job, client.EffectQuery{Act: "retire"}); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("an act on hosts, done to a job: %v", err)
	}
	if e, err := w.client(vera).HostsEffect(t.Context(), "prod", client.EffectQuery{Act: "hold", Hosts: []sluice.Host{"db1"}}); err != nil || e.Touches != 1 {
		t.Errorf("%+v, %v", e, err)
	}
	if now := w.head(); now != before || len(w.refusals()) != noted {
		t.Errorf("looking took the log from %d to %d, and the audit has %d refusals more", before, now, len(w.refusals())-noted)
	}
}

// TestSeen: an act that was decided on what was seen is not done where that is not so any more.
func TestSeen(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2", "db1")
	olga := w.token("olga", sluice.Grant{Role: access.Operator})
	if _, err := w.client(olga).Halt(t.Context(), job, ""); err != nil {
		t.Fatal(err)
	}
	send := func(act, more string) (int, api.Problem) {
		t.Helper()
		var p api.Problem
		status := w.post(olga, "/api/v1/jobs/"+string(job)+"/"+act, `{"seen":"`+more, &p)
		return status, p
	}
	seen := w.effect(olga, job, client.EffectQuery{Act: "resume"}).Seen
	skip := w.effect(olga, job, client.EffectQuery{Act: "skip", Hosts: []sluice.Host{"web1"}}).Seen
	if status, p := send("resume", `nonsense"}`); status != http.StatusUnprocessableEntity {
		t.Errorf("nonsense: %d %+v", status, p)
	}
	if status, p := send("resume", seen+`"}`); status != http.StatusOK {
		t.Fatalf("nothing came between: %d %+v", status, p)
	}
	status, p := send("resume", seen+`"}`)
	if status != http.StatusConflict || !strings.Contains(p.Detail, "it was halted and is going on") || !strings.Contains(p.Hint, "decide again") {
		t.Errorf("it was resumed already: %d %+v", status, p)
	}
	if status, p := send("skip", skip+`","hosts":["web1"],"reason":"r"}`); status != http.StatusConflict {
		t.Errorf("what was skipped when it was halted is going on: %d %+v", status, p)
	}

	hosts := []sluice.Host{"db1"}
	e, err := w.client(olga).HostsEffect(t.Context(), "prod", client.EffectQuery{Act: "hold", Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client(olga).ChangeHosts(t.Context(), "prod", "retire", hosts, "gone"); err != nil {
		t.Fatal(err)
	}
	body := `{"hosts":["db1"],"reason":"r","seen":"` + e.Seen + `"}`
	if status := w.post(olga, "/api/v1/namespaces/prod/hosts/hold", body, &p); status != http.StatusConflict {
		t.Errorf("the host was retired in between: %d %+v", status, p)
	}
}

// TestEffectAsksTheRights: whoever resumes a job takes it over; who may not submit it starts nothing with that.
func TestEffectAsksTheRights(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1")
	w.service.May = func(_ context.Context, _ *sluice.Job, by string) error {
		if by == "carl" {
			return sluice.Errorf(sluice.Denied, "carl may not submit")
		}
		return nil
	}
	must(t, w.keeper.Change(t.Context(), w.admin, sluice.RoleDefined{Role: "clerk", May: []sluice.Right{sluice.SeeJobs, sluice.ControlJob}, By: "root"}))
	if _, err := w.service.Halt(t.Context(), job, ""); err != nil {
		t.Fatal(err)
	}
	e := w.effect(w.token("carl", sluice.Grant{Role: "clerk"}), job, client.EffectQuery{Act: "resume"})
	says(t, e, "Nothing starts", "carl may not submit")
	if e.Halted == nil || e.Halted.Rule != sluice.RuleRights || e.State != "halted" {
		t.Errorf("%+v", e)
	}
	if e := w.effect(w.token("olga", sluice.Grant{Role: access.Operator}), job, client.EffectQuery{Act: "resume"}); e.Starts.Count != 1 {
		t.Errorf("%+v", e)
	}
}

// TestEffectNamesNoJobsOfOthers: what starts elsewhere is told, but neither which job it is nor on which hosts, to whoever may
// not see it.
func TestEffectNamesNoJobsOfOthers(t *testing.T) {
	w := newWorld(t)
	if _, err := w.service.ChangeHosts(t.Context(), "prod", control.Hold, []sluice.Host{"web1"}, "repair"); err != nil {
		t.Fatal(err)
	}
	other := w.submit("web2") // $web has one place, and that is held
	if _, err := w.service.Drivers.Claim(other); err != nil {
		t.Fatal(err)
	}
	q := client.EffectQuery{Act: "release", Hosts: []sluice.Host{"web1"}}
	w.fleet.Tags["one"] = []sluice.Host{"web1"}
	e, err := w.client(w.token("one", sluice.Grant{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"one"}})).HostsEffect(t.Context(), "prod", q)
	if err != nil || len(e.Others) != 1 || e.Others[0].Job != "" || e.Others[0].Starts.Count != 1 || e.Others[0].Starts.Text != "" || strings.Contains(strings.Join(e.Says, ""), "web2") {
		t.Errorf("%+v, %v", e, err)
	}
	says(t, e, "which you may not see, starts on 1 host")
	e, err = w.client(w.token("vera", sluice.Grant{Role: access.Viewer})).HostsEffect(t.Context(), "prod", q)
	if err != nil || len(e.Others) != 1 || e.Others[0].Job != other {
		t.Errorf("%+v, %v", e, err)
	}
	says(t, e, "Job "+string(other)+" starts on 1 host at once: web2")
}

// TestEffectOfLostSecrets: a job that lost its secrets is resumed by a command line; its effect is the same refusal.
func TestEffectOfLostSecrets(t *testing.T) {
	w := newWorldWith(t, func(c *httpapi.Config) { c.Secrets = lostSecrets{} })
	d, err := w.service.Prepare(t.Context(), control.Request{Fleet: w.fleet, Targets: []sluice.Host{"web1"}, Command: "true", Options: sluice.Options{AskPassword: true}})
	must(t, err)
	_, err = w.service.Submit(t.Context(), d)
	must(t, err)
	_, err = w.service.Halt(t.Context(), d.Job.ID, "")
	must(t, err)
	olga := w.token("olga", sluice.Grant{Role: access.Operator})
	e := w.effect(olga, d.Job.ID, client.EffectQuery{Act: "resume"})
	_, err = w.client(olga).Resume(t.Context(), d.Job.ID, nil)
	if e.Refused == nil || err == nil || e.Refused.Detail != err.Error() || !strings.Contains(e.Refused.Hint, "sluice resume") {
		t.Errorf("foreseen %+v, done %v", e.Refused, err)
	}
}

type lostSecrets struct{ httpapi.Secrets }

func (lostSecrets) Has(sluice.JobID) bool { return false }

// TestEffectConfirms: above the fleet's limit the effect says that people are asked twice; never about a halt.
func TestEffectConfirms(t *testing.T) {
	w := newWorld(t)
	b := bundle(t, "namespace: prod\nconfirm_above: 2\ntag: {web: [web1, web2], db: [db1]}\n")
	if _, err := w.service.ApplyFleet(t.Context(), b, "", -1); err != nil {
		t.Fatal(err)
	}
	job := w.submit("web1", "web2", "db1")
	olga := w.token("olga", sluice.Grant{Role: access.Operator})
	for act, want := range map[string]bool{"halt": false, "cancel": true} {
		if e := w.effect(olga, job, client.EffectQuery{Act: act}); e.Confirm != want || e.ConfirmAbove != 2 {
			t.Errorf("%s: %+v", act, e)
		}
	}
	for hosts, want := range map[int]bool{2: false, 3: true} {
		e, err := w.client(olga).HostsEffect(t.Context(), "prod", client.EffectQuery{Act: "hold", Hosts: []sluice.Host{"web1", "web2", "db1"}[:hosts]})
		if err != nil || e.Confirm != want {
			t.Errorf("%d hosts: %+v, %v", hosts, e, err)
		}
	}
	if !slices.Contains(w.effect(olga, job, client.EffectQuery{Act: "halt"}).Says, "Nothing more starts.") {
		t.Error("a halt says nothing")
	}
}
