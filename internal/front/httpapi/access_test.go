package httpapi_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
)

// TestMatrix is every route, for every role, in its own namespace, in another, in one whose name begins or ends like it,
// bound to the right tag and to another. Who gets in is what the table of rights says, and nobody else.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	roles, err := w.keeper.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wheres := []struct {
		name string
		ns   sluice.Namespace
		tags []sluice.Tag
		in   bool // it is about prod, and web1 is among the hosts
	}{
		{"everywhere", "", nil, true}, {"here", "prod", nil, true}, {"elsewhere", "lab", nil, false}, {"longer", "prod2", nil, false},
		{"shorter", "pro", nil, false}, {"ends so", "eprod", nil, false}, {"tagged", "prod", []sluice.Tag{"web"}, true},
		{"other tag", "prod", []sluice.Tag{"db"}, false}, {"tag that begins so", "prod", []sluice.Tag{"we"}, false},
	}
	tried := 0
	job := w.submit("web1")
	for role, may := range roles {
		for _, where := range wheres {
			name := sluice.Principal(string(role) + "." + strings.ReplaceAll(where.name, " ", "_"))
			token := w.token(name, sluice.Grant{Role: role, Namespace: where.ns, Tags: where.tags})
			for _, r := range w.api.Routes() {
				want := where.in && slices.Contains(may, r.Right)
				switch {
				case strings.Contains(r.Path, "{token}"): // of somebody else
					want = slices.Contains(may, sluice.GiveAccess) && where.ns == ""
				case r.Right == "":
					want = true
				case forServer(r):
					want = slices.Contains(may, r.Right) && where.ns == "" && where.tags == nil
				case forAnybody(r): // what is in a list is another question; see TestListsKeepToTags
					want = slices.Contains(may, r.Right)
				case r.Method == http.MethodPut && strings.HasSuffix(r.Path, "/fleet"):
					want = want && where.tags == nil // rules are for all hosts
				case r.Path == "/api/v1/converge": // nothing is on record there; of which hosts it takes the right, TestConverge says
					want = (where.ns == "" || where.ns == "prod") && slices.Contains(may, r.Right)
				case r.Method == http.MethodGet && strings.Contains(r.Path, "/namespaces/") && !strings.HasSuffix(r.Path, "/hosts/effect") && !strings.Contains(r.Path, "{host}"):
					// any host of the namespace is enough
					want = (where.ns == "" || where.ns == "prod") && slices.Contains(may, r.Right)
				}
				tried++
				status := w.send(r, job, token)
				if in := status != http.StatusForbidden && status != http.StatusUnauthorized; in != want || status >= 500 {
					t.Errorf("%s %s: status %d for %s %s, want in: %v", r.Method, r.Path, status, role, where.name, want)
				}
			}
		}
	}
	if tried < 500 {
		t.Errorf("only %d tries", tried)
	}
}

// TestTooOften: who comes too often is told when to come again, by a problem; a good token from the same address is let in.
func TestTooOften(t *testing.T) {
	w := newWorld(t)
	w.still()
	get := func(token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/api/v1/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := w.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	status, again, n := 0, "", 0
	for n = 0; n < 100 && status != http.StatusTooManyRequests; n++ {
		status, again = get("sluice_garbage")
	}
	if n != 61 || again != "1" {
		t.Errorf("after %d tries: status %d, again in %q", n, status, again)
	}
	good := w.token("ann")
	for n = 0; n < 1100; n++ {
		if status, again = get(good); status != http.StatusOK {
			break
		}
	}
	if n != 1000 || status != http.StatusTooManyRequests || again != "1" {
		t.Errorf("after %d requests: status %d, again in %q", n, status, again)
	}
	if status, _ := get(w.token("bob")); status != http.StatusOK {
		t.Errorf("somebody else: status %d", status)
	}
}

// TestNamespaceTooOften: those who may do something in a namespace share what it has; who may not takes nothing of it, and
// other namespaces have their own.
func TestNamespaceTooOften(t *testing.T) {
	w := newWorldWith(t, func(c *httpapi.Config) { c.NamespaceRate = 2 })
	w.still()
	job := w.submit("web1")
	get := func(token string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/api/v1/jobs/"+string(job), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := w.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	stranger := w.token("eve", sluice.Grant{Role: access.Operator, Namespace: "prod2"})
	for range 50 {
		if s := get(stranger).StatusCode; s != http.StatusForbidden {
			t.Fatalf("who may not: status %d", s)
		}
	}
	ann, bob := w.token("ann", sluice.Grant{Role: access.Operator, Namespace: "prod"}), w.token("bob", sluice.Grant{Role: access.Operator, Namespace: "prod"})
	n := 0
	for ; n < 100 && get(ann).StatusCode == http.StatusOK; n++ {
	}
	if n != 20 {
		t.Errorf("%d requests were answered", n)
	}
	if r := get(bob); r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "1" {
		t.Errorf("somebody else there: status %d, again in %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	if _, err := w.client(stranger).Jobs(t.Context(), client.JobsQuery{Namespace: "prod2"}); err != nil {
		t.Errorf("another namespace: %v", err)
	}
}

// TestAccess: somebody is made known, gets a role and a token, may do what that allows and no more, and is nobody again
// when all is taken back.
func TestAccess(t *testing.T) {
	w := newWorld(t)
	secret, _, err := w.keeper.MakeToken(t.Context(), w.admin, sluice.Token{Principal: "root"})
	if err != nil {
		t.Fatal(err)
	}
	root := w.client(secret)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(root.AddPrincipal(t.Context(), "ann", false))
	must(root.DefineRole(t.Context(), "halter", []sluice.Right{sluice.HaltJob}))
	must(root.Grant(t.Context(), sluice.Grant{Principal: "ann", Role: "halter", Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	made, err := root.MakeToken(t.Context(), api.TokenWish{Principal: "ann", Label: "pager", Expires: "1h"})
	must(err)
	if made.Secret == "" || made.Expires == nil || !made.Lasting || made.Principal != "ann" {
		t.Errorf("%+v", made)
	}
	ann := w.client(made.Secret)
	me, err := ann.Me(t.Context())
	if err != nil || me.Principal != "ann" || me.Token == nil || me.Token.ID != made.ID || len(me.Grants) != 1 {
		t.Errorf("%+v, error %v", me, err)
	}
	if _, err := ann.Halt(t.Context(), w.submit("web1"), ""); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"halts on db1":           func() error { _, err := ann.Halt(t.Context(), w.submit("db1"), ""); return err }(),
		"gives herself more":     ann.Grant(t.Context(), sluice.Grant{Principal: "ann", Role: access.Admin}),
		"makes a token for root": func() error { _, err := ann.MakeToken(t.Context(), api.TokenWish{Principal: "root"}); return err }(),
		"makes one that lasts": func() error {
			_, err := ann.MakeToken(t.Context(), api.TokenWish{Expires: "1m", Lasting: true})
			return err
		}(),
		"sees people":        func() error { _, err := ann.People(t.Context()); return err }(),
		"sees root's tokens": func() error { _, err := ann.Tokens(t.Context(), "root"); return err }(),
	} {
		if sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("ann %s: %v", what, err)
		}
	}
	if n := len(w.refusals()); n != 6 {
		t.Errorf("%d refusals in the audit", n)
	}
	child, err := ann.MakeToken(t.Context(), api.TokenWish{Expires: "30m"})
	must(err)
	if tokens, err := ann.Tokens(t.Context(), ""); err != nil || len(tokens) != 2 {
		t.Errorf("%+v, error %v", tokens, err)
	}
	must(root.RevokeToken(t.Context(), made.ID, false))
	for _, secret := range []string{made.Secret, child.Secret} {
		if _, err := w.client(secret).Me(t.Context()); sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("after it was revoked: %v", err)
		}
	}
	must(root.TakeGrant(t.Context(), sluice.Grant{Principal: "ann", Role: "halter", Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	must(root.DefineRole(t.Context(), "halter", nil))
	must(root.RemovePrincipal(t.Context(), "ann"))
	list, err := root.People(t.Context())
	if err != nil || len(list) != 2 || !list[0].Removed || len(list[0].Tokens) != 0 {
		t.Errorf("%+v, error %v", list, err)
	}
	roles, err := root.Roles(t.Context())
	if err != nil || len(roles) != 4 || roles[0].Role != access.Admin {
		t.Errorf("%+v, error %v", roles, err)
	}
}

// noWorkers are the workers of a server that has none yet.
type noWorkers struct{}

func (noWorkers) List(context.Context) ([]api.Worker, error) { return nil, nil }

func (noWorkers) Invite(_ context.Context, _ sluice.Principal, name sluice.WorkerName, _ []sluice.Pool) (api.Invitation, error) {
	return api.Invitation{Worker: name, Token: "once"}, nil
}

func (noWorkers) Drain(_ context.Context, _ sluice.Principal, name sluice.WorkerName, _ bool) error {
	return sluice.Errorf(sluice.NotFound, "there is no worker %q", name)
}

func (w noWorkers) Remove(ctx context.Context, by sluice.Principal, name sluice.WorkerName) error {
	return w.Drain(ctx, by, name, true)
}

// TestTwoPeople: where the fleet says so, another one approves than who submitted the job, and what they looked at.
func TestTwoPeople(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	bob := w.client(w.token("bob", sluice.Grant{Role: access.Approver, Namespace: "prod"}))
	w.fleet.Approval.By = sluice.AnotherApproves
	w.fleet.Sequences = []sluice.Sequence{{Name: "s", Entries: []sluice.Entry{
		{Name: "web1", Hosts: []sluice.Host{"web1"}, Gate: sluice.Gate{Approve: true}}, {Name: "web2", Hosts: []sluice.Host{"web2"}}}}}
	w.service = w.service.As("ann")
	id := w.submit("web1", "web2")
	attempt := sluice.NewAttemptID(id, 0, 1)
	_, err := w.log.Update(ctx, "prod", 0, func([]sluice.Event) (out []sluice.Event, _ error) {
		for _, b := range []sluice.Body{sluice.JobStarted{}, sluice.StageOpened{Track: "s", Stage: "web1"}, sluice.TaskStarted{Host: "web1", Attempt: attempt, Track: "s", Stage: "web1"},
			sluice.TaskFinished{Host: "web1", Attempt: attempt, Outcome: sluice.Succeeded}, sluice.GateWaiting{Track: "s", Stage: "web1", Kind: sluice.GateApproval}} {
			out = append(out, sluice.Event{Time: clock(), Job: id, Body: b})
		}
		return out, nil
	})
	must(t, err)
	j, err := bob.Job(ctx, string(id))
	must(t, err)
	if j.Approval != "another" || !strings.HasPrefix(j.PlanDigest, "sha256:") || len(j.Gates) != 1 {
		t.Fatalf("%+v", j)
	}
	_, err = ann.Approve(ctx, id, "", j.PlanDigest)
	wantCode(t, "whoever submitted it", err, sluice.Denied)
	_, err = bob.Approve(ctx, id, "", strings.Replace(j.PlanDigest, j.PlanDigest[20:21], "x", 1))
	wantCode(t, "another plan", err, sluice.Conflict)
	events, err := bob.Approve(ctx, id, "", j.PlanDigest)
	must(t, err)
	if b, ok := events[0].Body.(sluice.GatePassed); !ok || b.Plan != j.PlanDigest || b.By != "bob" {
		t.Errorf("%+v", events[0].Body)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, what string, err error, code sluice.Code) {
	t.Helper()
	if sluice.CodeOf(err) != code {
		t.Errorf("%s: %v (%s), want %q", what, err, sluice.CodeOf(err), code)
	}
}
