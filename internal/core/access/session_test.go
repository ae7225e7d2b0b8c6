package access_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/access"
)

func session(parent sluice.TokenID) func(*sluice.Token) {
	return func(t *sluice.Token) { t.Kind, t.Parent, t.Expires = sluice.BySession, parent, now.Add(time.Hour) }
}

// TestSession: the secret of a session is good in a cookie alone, and that of a token is not good there.
func TestSession(t *testing.T) {
	s := after(t, added("ann"), token("ann", "hers"), token("ann", "s1", session("hers")))
	for _, c := range []struct {
		secret string
		kind   sluice.TokenKind
		at     time.Time
		ok     bool
	}{
		{"s1", sluice.BySession, now, true}, {"s1", "", now, false}, {"hers", sluice.BySession, now, false}, {"hers", "", now, true},
		{"s1", sluice.BySession, now.Add(time.Hour), false}, {"none", sluice.BySession, now, false},
	} {
		if b, ok := s.Login([]byte(c.secret), c.kind, c.at); ok != c.ok || ok && b != with("ann", c.secret) {
			t.Errorf("%+v: %+v %v", c, b, ok)
		}
	}
	for name, change := range map[string]func(*sluice.Token){
		"without an end": func(t *sluice.Token) { t.Kind = sluice.BySession },
		"lasting":        func(t *sluice.Token) { session("hers")(t); t.Lasting = true },
		"another kind":   func(t *sluice.Token) { t.Kind = "cookie" },
	} {
		if err := s.Check(token("ann", "new", change)); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Check(sluice.TokenRevoked{ID: "s1", Made: true, Ended: "signed out"}); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("both revoked and put away: %v", err)
	}
}

// TestEnded: who signs out is out, with all that was made in that session. What they submitted goes on until somebody takes
// the token back that it all came from, or that of the session.
func TestEnded(t *testing.T) {
	begin := []sluice.Body{added("ann"), given("ann", access.Operator, ""), token("ann", "hers"), token("ann", "s1", session("hers")),
		token("ann", "child", func(t *sluice.Token) { t.Parent = "s1" }), token("ann", "stays", func(t *sluice.Token) { t.Parent, t.Lasting = "s1", true }),
		sluice.TokenRevoked{ID: "s1", Ended: "signed out"}}
	s := after(t, begin...)
	for id, in := range map[string]bool{"s1": false, "child": false, "hers": true, "stays": true} {
		kind := sluice.TokenKind("")
		if id == "s1" {
			kind = sluice.BySession
		}
		if _, ok := s.Login([]byte(id), kind, now); ok != in {
			t.Errorf("%s is let in: %v", id, ok)
		}
		if live := s.Live(with("ann", id), now) == nil; live != in {
			t.Errorf("%s is live: %v", id, live)
		}
		if err := s.MaySubmit(with("ann", id), "prod", nil, nil); err != nil {
			t.Errorf("what was submitted with %s does not go on: %v", id, err)
		}
	}
	people := s.People()
	if !slices.Equal(people[0].Ended, []sluice.TokenID{"child", "s1"}) {
		t.Errorf("put away: %v", people[0].Ended)
	}
	if err := s.Check(sluice.TokenRevoked{ID: "s1", Ended: "again"}); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("put away twice: %v", err)
	}
	for _, revoked := range []sluice.TokenID{"s1", "hers"} {
		s := after(t, append(slices.Clone(begin), sluice.TokenRevoked{ID: revoked})...)
		if s.MaySubmit(with("ann", "s1"), "prod", nil, nil) == nil {
			t.Errorf("%s was revoked, and what was submitted in the session goes on", revoked)
		}
	}
}

// TestHolds: what is listed is what is allowed, for every right and place.
func TestHolds(t *testing.T) {
	s := after(t, added("ann"), added("bob"), added("eve"), given("ann", access.Operator, "prod"), given("ann", access.Viewer, "", "web"),
		given("bob", access.Approver, "prod", "web"), given("bob", access.Approver, "prod", "db"), given("bob", access.Viewer, "lab"),
		given("eve", access.Admin, ""), token("eve", "lab", in("lab")), token("eve", "see", only(sluice.SeeJobs)))
	for _, b := range []access.Bearer{access.As("ann"), access.As("bob"), access.As("eve"), with("eve", "lab"), with("eve", "see"), access.As("zoe")} {
		holds := map[sluice.Right]access.Hold{}
		for _, h := range s.Holds(b) {
			holds[h.Right] = h
		}
		for _, r := range sluice.Rights() {
			h := holds[r]
			for _, ns := range []sluice.Namespace{"", "prod", "lab"} {
				at := func(p access.Place) bool { return p.Namespace == ns || ns != "" && p.Namespace == "" }
				anywhere := h.Everywhere || slices.ContainsFunc(h.Places, at)
				whole := h.Everywhere || slices.ContainsFunc(h.Places, func(p access.Place) bool { return at(p) && len(p.Tags) == 0 })
				if got := s.Allow(b, access.Ask{Right: r, Namespace: ns, Anywhere: true}) == nil; got != anywhere {
					t.Errorf("%+v %s in %q: somewhere %v, listed %v", b, r, ns, got, anywhere)
				}
				if got := s.Allow(b, access.Ask{Right: r, Namespace: ns}) == nil; got != whole {
					t.Errorf("%+v %s in %q: on all %v, listed %v", b, r, ns, got, whole)
				}
			}
		}
	}
	got := fmt.Sprint(s.Holds(access.As("bob")))
	if want := "[{job.see false [{lab []} {prod [db web]}]} {job.output false [{prod [db web]}]} {job.halt false [{prod [db web]}]} {job.approve false [{prod [db web]}]} " +
		"{fleet.see false [{lab []} {prod [db web]}]} {server.see false [{lab []} {prod [db web]}]}]"; got != want {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(access.RolesWith(s.Roles(), sluice.ApproveJob)); got != "[admin approver]" {
		t.Errorf("those who approve: %s", got)
	}
}
