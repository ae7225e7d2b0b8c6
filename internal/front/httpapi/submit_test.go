package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/core/access"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/run/control"
)

const fleetText = `namespace: prod
tag:
  web: [web1, web2]
  db: [db1]
constraint:
  $web: %s
`

// bundle records a fleet file.
func bundle(t *testing.T, text string) fleet.Bundle {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := fleet.Record(fleetfiles.New(t.Context())).Bundle(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFleets: versions are made in order, shown as they were, and two people do not undo each other's work unseen.
func TestFleets(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.token("ann", sluice.Grant{Role: access.Admin, Namespace: "prod"}))
	one, two := bundle(t, fmt.Sprintf(fleetText, "1")), bundle(t, fmt.Sprintf(fleetText, "2"))
	v1, err := c.ApplyFleet(t.Context(), "prod", one, "the first", 0)
	if err != nil || v1.Version != 1 || v1.Hosts != 3 || v1.By != "ann" {
		t.Fatalf("%+v, error %v", v1, err)
	}
	if again, err := c.ApplyFleet(t.Context(), "prod", one, "", 0); err != nil || again.Version != 1 || !again.Unchanged {
		t.Errorf("%+v, error %v", again, err)
	}
	if v2, err := c.ApplyFleet(t.Context(), "prod", two, "", 1); err != nil || v2.Version != 2 {
		t.Fatalf("%+v, error %v", v2, err)
	}
	if _, err := c.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "50%")), "", 1); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a change of a version that is not current any more: %v", err)
	}
	if _, err := c.ApplyFleet(t.Context(), "test", one, "", -1); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a fleet for a namespace without a right to it: %v", err)
	}
	if _, err := c.ApplyFleet(t.Context(), "prod", map[string]any{"main": "x"}, "", -1); err == nil {
		t.Error("what is no fleet is applied")
	}
	list, err := c.Fleets(t.Context(), "prod")
	if err != nil || len(list) != 2 || list[0].Version != 1 || list[0].Note != "the first" {
		t.Errorf("%+v, error %v", list, err)
	}
	first, err := c.Fleet(t.Context(), "prod", 1, time.Time{})
	if err != nil || first.Digest != v1.Digest || !strings.Contains(fmt.Sprint(first.Fleet), "$web: 1") {
		t.Errorf("%+v, error %v", first, err)
	}
	if hosts, err := c.Hosts(t.Context(), "prod", "$web"); err != nil || !slices.Equal(hosts, []sluice.Host{"web1", "web2"}) {
		t.Errorf("%v, error %v", hosts, err)
	}
	if _, err := c.Hosts(t.Context(), "prod", "$wbe"); sluice.CodeOf(err) != sluice.Usage || !strings.Contains(fmt.Sprint(err), "wbe") {
		t.Errorf("error %v", err)
	}
}

// TestSubmitOnce: whoever asks again, for whatever reason, gets the job that is there, and another job never hides behind
// an id or key that was used.
func TestSubmitOnce(t *testing.T) {
	w := newWorld(t)
	token := w.token("ann", sluice.Grant{Role: access.Admin, Namespace: "prod"})
	c := w.client(token)
	if _, err := c.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "1")), "", -1); err != nil {
		t.Fatal(err)
	}
	s := api.Submit{ID: "abcdefgh0123", Namespace: "prod", Targets: "$web", Command: "true", Options: api.Options{Timeout: "5m", MaxFailures: "50%"}}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if j, err := c.Submit(t.Context(), s); err != nil || j.ID != s.ID || j.Targets != 2 || j.By != "ann" || j.State != "waiting" {
				t.Errorf("%+v, error %v", j, err)
			}
		})
	}
	all.Wait()
	other := s
	other.Command = "false"
	if _, err := c.Submit(t.Context(), other); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("another job of the same id: %v", err)
	}
	byKey := func(key, command string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/api/v1/jobs",
			strings.NewReader(`{"namespace":"prod","targets":"web1","command":"`+command+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		resp, err := w.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		jobs, err := c.Jobs(t.Context(), client.JobsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, fmt.Sprint(len(jobs))
	}
	for i, want := range []struct {
		key, command string
		status       int
		jobs         string
	}{{"build 7", "true", 200, "2"}, {"build 7", "true", 200, "2"}, {"build 7", "false", 409, "2"}, {"build 8", "true", 200, "3"}} {
		if status, jobs := byKey(want.key, want.command); status != want.status || jobs != want.jobs {
			t.Errorf("%d: status %d with %s jobs, want %+v", i, status, jobs, want)
		}
	}
}

// TestSubmitUnderRules: who may submit may not change the rules by the way, nor reach hosts that are not granted.
func TestSubmitUnderRules(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	strict, loose := bundle(t, fmt.Sprintf(fleetText, "1")), bundle(t, fmt.Sprintf(fleetText, "100%"))
	if _, err := admin.ApplyFleet(t.Context(), "prod", strict, "", -1); err != nil {
		t.Fatal(err)
	}
	operator := w.client(w.token("olga", sluice.Grant{Role: access.Operator, Namespace: "prod"}))
	webber := w.client(w.token("will", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	job := api.Submit{Namespace: "prod", Targets: "$web", Command: "true"}
	with := func(change func(*api.Submit)) api.Submit {
		s := job
		change(&s)
		return s
	}
	elsewhere := fmt.Sprintf(fleetText, "1") + "host:\n  web1: {ssh: {address: db1}}\n"
	itself := fmt.Sprintf(fleetText, "1") + "ssh: {transport: local}\n"
	mine := strings.Replace(fmt.Sprintf(fleetText, "1"), "[web1, web2]", "[web1, web2, db1]", 1) // db1 is a web, he says
	for _, c := range []struct {
		name string
		who  interface {
			Submit(context.Context, api.Submit) (api.Job, error)
		}
		what api.Submit
		code sluice.Code
	}{
		{"an operator", operator, job, ""},
		{"the same rules along", operator, with(func(s *api.Submit) { s.Fleet = strict }), ""},
		{"other rules along", operator, with(func(s *api.Submit) { s.Fleet = loose }), sluice.Denied},
		{"other rules, by an administrator", admin, with(func(s *api.Submit) { s.Fleet = loose }), ""},
		{"hosts of one's tag", webber, job, ""},
		{"other hosts", webber, with(func(s *api.Submit) { s.Targets = "all" }), sluice.Denied},
		{"other hosts under the name of one's tag", webber, with(func(s *api.Submit) { s.Fleet = bundle(t, mine) }), sluice.Denied},
		{"the same rules, with another address for a host", operator, with(func(s *api.Submit) { s.Fleet = bundle(t, elsewhere) }), sluice.Denied},
		{"the server's own machine", admin, with(func(s *api.Submit) { s.Fleet = bundle(t, itself) }), sluice.Denied},
		{"another namespace", operator, with(func(s *api.Submit) { s.Namespace = "test" }), sluice.Usage},
		{"no such tag", operator, with(func(s *api.Submit) { s.Targets = "$wbe" }), sluice.Usage},
		{"no command", operator, with(func(s *api.Submit) { s.Command = " " }), sluice.Usage},
		{"two commands", operator, with(func(s *api.Submit) { s.Argv = []string{"true"} }), sluice.Usage},
		{"a bad time", operator, with(func(s *api.Submit) { s.Options.Timeout = "-1s" }), sluice.Usage},
		{"a bad amount", operator, with(func(s *api.Submit) { s.Options.MaxParallel = "some" }), sluice.Usage},
		{"a bad variable", operator, with(func(s *api.Submit) { s.Options.Env = map[string]string{"A B": "1"} }), sluice.Usage},
		{"a bad user", operator, with(func(s *api.Submit) { s.User = "-l root" }), sluice.Usage},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := c.who.Submit(t.Context(), c.what)
			if sluice.CodeOf(err) != c.code || (err == nil) != (c.code == "") {
				t.Errorf("%+v, error %v, want %q", j, err, c.code)
			}
		})
	}
}

// TestAQuestionIsTheServersOwnCommand: no order holds it up, so nobody may make something else of it, and it takes the right to its hosts.
func TestAQuestionIsTheServersOwnCommand(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	text := fmt.Sprintf(fleetText, "1") + "sequence:\n  all: [{target: $web, approve: true}, $db]\n"
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, text), "", -1); err != nil {
		t.Fatal(err)
	}
	webber := w.client(w.token("will", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	s := api.Submit{Namespace: "prod", Targets: "all", Ask: &api.Ask{App: "shop", Env: "prod", Roots: []string{"/srv/shop"}}}
	if _, err := webber.Submit(t.Context(), s); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("without the right to all of its hosts: %v", err)
	}
	for name, change := range map[string]func(*api.Submit){
		"a command":  func(s *api.Submit) { s.Command = "true" },
		"a variable": func(s *api.Submit) { s.Options.Env = map[string]string{"PATH": "/tmp"} },
		"a terminal": func(s *api.Submit) { s.Options.TTY = true },
		"a prompt":   func(s *api.Submit) { s.Options.Prompts = []string{"."} },
		"a root":     func(s *api.Submit) { s.Ask = &api.Ask{App: "shop", Roots: []string{"srv"}} },
		"an app":     func(s *api.Submit) { s.Ask = &api.Ask{App: "$(x)", Roots: []string{"/srv/shop"}} },
	} {
		other := s
		change(&other)
		if j, err := admin.Submit(t.Context(), other); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("with %s: %+v, error %v", name, j, err)
		}
	}
	p, err := admin.Plan(t.Context(), s)
	if err != nil || len(p.Tracks) != 1 || len(p.Tracks[0].Stages) != 1 || p.Tracks[0].Stages[0].Approve {
		t.Errorf("the plan is %+v, error %v", p.Tracks, err)
	}
	j, err := admin.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := w.service.Job(t.Context(), string(j.ID))
	if err != nil {
		t.Fatal(err)
	}
	ask := release.Ask(*s.Ask)
	if spec := made.Spec; !spec.Options.ReadOnly || spec.Action.Shell != ask.Action().Shell || spec.Command != ask.Told() || len(spec.Tracks) != 1 || len(spec.Tracks[0].Stages) != 1 {
		t.Errorf("the job is %+v", spec)
	}
}

// TestBalancersTakeTheRight: a deploy has things done on the hosts of its balancers, so it takes the right to them; how they are
// reached is what the fleet says, whatever is sent along.
func TestBalancersTakeTheRight(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	text := fmt.Sprintf(fleetText, "1") + "host:\n  db1: {ssh: {user: lb, port: 2222}}\n"
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, text), "", -1); err != nil {
		t.Fatal(err)
	}
	kept, err := admin.Put(t.Context(), strings.NewReader("an archive"))
	if err != nil {
		t.Fatal(err)
	}
	release := func(on sluice.Host) api.Submit {
		return api.Submit{Namespace: "prod", Targets: "$web", Release: &sluice.Release{App: "shop", Env: "prod", Version: "1", Artifact: kept.Digest, Manifest: kept.Digest,
			Deploy: sluice.Deploy{Root: "/srv/shop", Keep: 2, Balancers: []sluice.Balancing{{Driver: "exec", At: "/bin/lb", On: on, Pool: "shop", SSH: sluice.SSH{User: "root", Address: "elsewhere"}}}}}}
	}
	webber := w.client(w.token("will", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	if j, err := webber.Submit(t.Context(), release("db1")); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("%+v, error %v", j, err)
	}
	if j, err := webber.Submit(t.Context(), release("web2")); err != nil {
		t.Errorf("%+v, error %v", j, err)
	}
	j, err := admin.Submit(t.Context(), release("db1"))
	if err != nil {
		t.Fatal(err)
	}
	events, err := w.service.Events(t.Context(), j.ID)
	if err != nil || len(events) == 0 {
		t.Fatal(err)
	}
	submitted, _ := events[0].Body.(sluice.JobSubmitted)
	if got := submitted.Submitted.Action.Release.Deploy.Balancers[0].SSH; got.User != "lb" || got.Port != 2222 || got.Address != "" {
		t.Errorf("it is reached by %+v", got)
	}
}

// TestAValidationTakesTheRight: what follows on a deploy is refused with it, before anything starts, where whoever submits it has no right
// to those hosts. Where they are and how they are reached is what the fleet says, whatever is sent along.
func TestAValidationTakesTheRight(t *testing.T) {
	w := newWorld(t)
	token := w.token("root2", sluice.Grant{Role: access.Admin})
	admin := w.client(token)
	text := fmt.Sprintf(fleetText, "1") + "host:\n  db1: {ssh: {user: probe, port: 2222}}\n"
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, text), "", -1); err != nil {
		t.Fatal(err)
	}
	kept, err := admin.Put(t.Context(), strings.NewReader("an archive"))
	if err != nil {
		t.Fatal(err)
	}
	release := func(on, run string) api.Submit {
		return api.Submit{Namespace: "prod", Targets: "$web", Release: &sluice.Release{App: "shop", Env: "prod", Version: "1", Artifact: kept.Digest, Manifest: kept.Digest,
			Validating: &sluice.Validating{Hosts: []sluice.Host{"web2"}, HostSSH: map[sluice.Host]sluice.SSH{"db1": {Address: "elsewhere"}}},
			Deploy:     sluice.Deploy{Root: "/srv/shop", Keep: 2, Validate: &sluice.Validate{Run: run, On: on, Timeout: time.Minute}}}}
	}
	webber := w.client(w.token("will", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	for _, c := range []struct {
		what, on, run string
		code          sluice.Code
		text          string
	}{
		{"another's host", "db1", "check", sluice.Denied, "this release would be validated on db1"},
		{"another's host among one's own", "$web, db1", "check", sluice.Denied, "no grant opens the host db1"},
		{"a host that there is not", "db7", "check", sluice.Config, "db7"},
		{"no command", "first", " ", sluice.Usage, "there is no command in it"},
		{"one's own", "$web", "check", "", ""},
		{"the first", "first", "check", "", ""},
	} {
		j, err := webber.Submit(t.Context(), release(c.on, c.run))
		if sluice.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %+v, error %v", c.what, j, err)
		}
	}
	j, err := admin.Submit(t.Context(), release("db1", "check"))
	if err != nil {
		t.Fatal(err)
	}
	events, err := w.service.Events(t.Context(), j.ID)
	if err != nil || len(events) == 0 {
		t.Fatal(err)
	}
	submitted, _ := events[0].Body.(sluice.JobSubmitted)
	got := submitted.Submitted.Action.Release.Validating
	if ssh := got.HostSSH["db1"]; !slices.Equal(got.Hosts, []sluice.Host{"db1"}) || ssh.User != "probe" || ssh.Port != 2222 || ssh.Address != "" {
		t.Errorf("it is validated on %+v", got)
	}
	a := ask(t, w.api, http.MethodGet, "/api/v1/jobs/"+string(j.ID)+"/release", "Authorization", "Bearer "+token)
	if body := a.Body.String(); a.Code != http.StatusOK || strings.Contains(body, "2222") || !strings.Contains(body, `"validation":{"state":"not run","reason":"the deploy is not over"}`) {
		t.Errorf("%d %s", a.Code, body)
	}
	list, err := admin.Releases(t.Context(), client.LiveQuery{Namespace: "prod"}, 0)
	if err != nil || len(list) == 0 || list[0].Validation == nil || list[0].Validation.State != "not run" {
		t.Errorf("%+v, error %v", list, err)
	}
}

// TestNamedBalancers: what a balancer is that the fleet has a name for, is what the fleet of the server says, and so is its minimum.
func TestNamedBalancers(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	text := fmt.Sprintf(fleetText, "1") + "host:\n  db1: {ssh: {user: lb}}\nbalancer:\n  web: {haproxy: /run/haproxy.sock, on: db1, pool: {shop: 2}}\n"
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, text), "", -1); err != nil {
		t.Fatal(err)
	}
	kept, err := admin.Put(t.Context(), strings.NewReader("an archive"))
	if err != nil {
		t.Fatal(err)
	}
	asking := func(b sluice.Balancing) api.Submit {
		return api.Submit{Namespace: "prod", Targets: "$web", Release: &sluice.Release{App: "shop", Env: "prod", Version: "1", Artifact: kept.Digest, Manifest: kept.Digest,
			Deploy: sluice.Deploy{Root: "/srv/shop", Keep: 2, Balancers: []sluice.Balancing{b}}}}
	}
	j, err := admin.Submit(t.Context(), asking(sluice.Balancing{Name: "web", Driver: "exec", At: "/tmp/mine", On: "web1", Pool: "shop", Server: "{host}"}))
	if err != nil {
		t.Fatal(err)
	}
	events, err := w.service.Events(t.Context(), j.ID)
	if err != nil || len(events) == 0 {
		t.Fatal(err)
	}
	want := sluice.Balancing{Name: "web", Driver: "haproxy", At: "/run/haproxy.sock", On: "db1", SSH: sluice.SSH{User: "lb"}, Pool: "shop", Server: "{host}", Least: sluice.Count(2)}
	if got := events[0].Body.(sluice.JobSubmitted).Submitted.Action.Release.Deploy.Balancers[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	webber := w.client(w.token("will", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	if _, err := webber.Submit(t.Context(), asking(sluice.Balancing{Name: "web", Pool: "shop"})); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("no right to the host of the balancer: %v", err)
	}
	for name, says := range map[string]string{"wbe": `the fleet has no balancer "wbe"`, "web": `the balancer web has no pool "shpo"`} {
		if _, err := admin.Submit(t.Context(), asking(sluice.Balancing{Name: name, Pool: "shpo"})); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; it shall say %s", err, says)
		}
	}
}

// TestSupersedeTakesTheRight: who may submit a job, but not cancel the one that has the lock, does not take it.
func TestSupersedeTakesTheRight(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "1")), "", -1); err != nil {
		t.Fatal(err)
	}
	webber := w.client(w.token("will", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	job := api.Submit{Namespace: "prod", Targets: "all", Command: "true", Options: api.Options{Lock: "one"}}
	first, err := admin.Submit(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	job.Targets, job.Options.Supersede = "$web", true
	if j, err := webber.Submit(t.Context(), job); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("%+v, error %v", j, err)
	}
	if j, err := admin.Submit(t.Context(), job); err != nil {
		t.Errorf("%+v, error %v", j, err)
	}
	if j, err := admin.Job(t.Context(), string(first.ID)); err != nil || !j.Cancelling && j.State != "cancelled" {
		t.Errorf("%+v, error %v", j, err)
	}
	job.Options.Lock = ""
	if _, err := admin.Submit(t.Context(), job); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("error %v", err)
	}
}

// TestAJobNeverTurnsRulesBack: what was planned before the rules changed does not put the old ones in force again.
func TestAJobNeverTurnsRulesBack(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "2")), "", -1); err != nil {
		t.Fatal(err)
	}
	loaded, _, err := w.service.Fleet(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.service.Prepare(t.Context(), control.Request{Fleet: loaded.Fleet(), Targets: []sluice.Host{"web1"}, Command: "true"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "1")), "", -1); err != nil {
		t.Fatal(err)
	}
	now, err := w.service.RulesInForce(t.Context(), "prod")
	if err != nil {
		t.Fatal(err)
	}
	d.Bound = true
	if _, err := w.service.Submit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if j, _, err := w.service.Job(t.Context(), string(d.Job.ID)); err != nil || j.Spec.Rules != now {
		t.Errorf("it goes by other rules than those in force, error %v", err)
	}
	if is, err := w.service.RulesInForce(t.Context(), "prod"); err != nil || is != now {
		t.Errorf("the rules changed, error %v", err)
	}
}
