package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/access"
)

// Few names, so that histories meet themselves.
var (
	names  = []sluice.Principal{"ann", "bob", "eve", "root"}
	roles  = []sluice.Role{"one", "two", access.Admin, access.Viewer, access.Operator, access.Approver}
	spaces = []sluice.Namespace{"", "prod", "prod2", "lab"}
	tags   = []sluice.Tag{"web", "db", "old"}
	ids    = []sluice.TokenID{"t1", "t2", "t3", "t4", "t5"}
)

// dice draw evenly. What rapid draws is mostly small and short: its people may hardly do anything.
type dice struct{ *rand.Rand }

func drawDice(t *rapid.T) dice { return dice{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))} }

func pick[T any](d dice, from []T) T { return from[d.IntN(len(from))] }

func some[T any](d dice, from []T, least, most int) (out []T) {
	for range least + d.IntN(most-least+1) {
		out = append(out, pick(d, from))
	}
	return out
}

func drawRights(d dice, least int) []sluice.Right {
	of := append(sluice.Rights(), sluice.GiveAccess, sluice.GiveAccess, sluice.SeeJobs)
	return some(d, of, least, 3)
}

func drawChange(d dice) sluice.Body {
	p := pick(d, names)
	g := func() sluice.Grant {
		return sluice.Grant{Principal: p, Role: pick(d, roles), Namespace: pick(d, spaces), Tags: some(d, tags, 0, 2)}
	}
	made := func() sluice.Body {
		id := pick(d, ids)
		return sluice.TokenMade{Token: sluice.Token{ID: id, Principal: p, Digest: digest(string(id)), Only: drawRights(d, 0),
			Namespace: pick(d, spaces), Parent: pick(d, append(ids, "")), Lasting: d.IntN(2) == 0}}
	}
	switch pick(d, []string{"given", "made", "role", "given", "made", "taken", "added", "revoked", "removed"}) {
	case "made":
		return made()
	case "role":
		return sluice.RoleDefined{Role: pick(d, []sluice.Role{"two", "one", access.Viewer}), May: drawRights(d, 0)}
	case "given":
		return sluice.GrantGiven{Grant: g()}
	case "taken":
		return sluice.GrantTaken{Grant: g()}
	case "added":
		return sluice.PrincipalAdded{Principal: p, Again: d.IntN(2) == 0}
	case "removed":
		return sluice.PrincipalRemoved{Principal: p}
	}
	return sluice.TokenRevoked{ID: pick(d, ids), Made: d.IntN(3) == 0}
}

// drawHistory returns changes that fitted, and the state after them. root has all rights to begin with.
func drawHistory(t *rapid.T, d dice) (history []sluice.Body, s *access.State) {
	s = access.New()
	do := func(c sluice.Body) {
		if s.Check(c) != nil {
			return
		}
		if err := s.Apply(sluice.Event{Seq: s.Seq() + 1, Body: c}); err != nil {
			t.Fatalf("what Check let pass does not fit: %v", err)
		}
		history = append(history, c)
	}
	for _, p := range names {
		do(added(p))
	}
	do(given("root", access.Admin, ""))
	do(role("one", append(drawRights(d, 0), sluice.GiveAccess)...))
	do(role("two", drawRights(d, 1)...))
	do(given("ann", "one", ""))
	do(given("bob", "one", "prod"))
	do(given("eve", "one", "prod", "web"))
	for range d.IntN(40) {
		do(drawChange(d))
	}
	return history, s
}

// The naive decider: it looks the whole history through for every question, and knows nothing of the state.

func knownIn(history []sluice.Body, p sluice.Principal) (known bool) {
	for _, c := range history {
		switch c := c.(type) {
		case sluice.PrincipalAdded:
			known = known || c.Principal == p
		case sluice.PrincipalRemoved:
			known = known && c.Principal != p
		}
	}
	return known
}

func mayIn(history []sluice.Body, r sluice.Role) (may []sluice.Right) {
	see := []sluice.Right{"job.see", "fleet.see", "server.see"}
	switch r {
	case "viewer":
		return see
	case "operator":
		return append(see, "job.output", "job.submit", "job.halt", "job.control", "host.change")
	case "approver":
		return append(see, "job.output", "job.halt", "job.approve")
	case "admin":
		return sluice.Rights()
	}
	for _, c := range history {
		if d, ok := c.(sluice.RoleDefined); ok && d.Role == r {
			may = d.May
		}
	}
	return may
}

func grantsIn(history []sluice.Body, p sluice.Principal) (out []sluice.Grant) {
	for i, c := range history {
		g, ok := c.(sluice.GrantGiven)
		if !ok || g.Principal != p {
			continue
		}
		ended := slices.ContainsFunc(history[i:], func(c sluice.Body) bool {
			switch c := c.(type) {
			case sluice.GrantTaken:
				return fmt.Sprint(c.Principal, c.Grant) == fmt.Sprint(g.Principal, g.Grant)
			case sluice.PrincipalRemoved:
				return c.Principal == p
			case sluice.RoleDefined:
				return c.Role == g.Role && len(c.May) == 0
			}
			return false
		})
		if !ended {
			out = append(out, g.Grant)
		}
	}
	return out
}

func tokenIn(history []sluice.Body, id sluice.TokenID) (t sluice.Token, ok bool) {
	var live []sluice.Token
	for _, c := range history {
		var end func(sluice.Token) bool
		all := false
		switch c := c.(type) {
		case sluice.TokenMade:
			live = append(live, c.Token)
		case sluice.TokenRevoked:
			end, all = func(t sluice.Token) bool { return t.ID == c.ID }, c.Made
		case sluice.PrincipalRemoved:
			end = func(t sluice.Token) bool { return t.Principal == c.Principal }
		}
		for end != nil && slices.ContainsFunc(live, end) {
			gone := live
			live = slices.DeleteFunc(slices.Clone(live), end)
			end = func(t sluice.Token) bool {
				return (all || !t.Lasting) && slices.ContainsFunc(gone, func(p sluice.Token) bool {
					return p.ID == t.Parent && !slices.ContainsFunc(live, func(l sluice.Token) bool { return l.ID == p.ID })
				})
			}
		}
	}
	for _, l := range live {
		if l.ID == id {
			return l, true
		}
	}
	return t, false
}

func allowedBy(history []sluice.Body, b access.Bearer, a access.Ask) bool {
	if !knownIn(history, b.Principal) {
		return false
	}
	if b.Token != "" {
		t, ok := tokenIn(history, b.Token)
		bounded := len(t.Only) > 0 && !slices.Contains(t.Only, a.Right) || t.Namespace != "" && t.Namespace != a.Namespace
		if !ok || t.Principal != b.Principal || bounded {
			return false
		}
	}
	var grants []sluice.Grant
	for _, g := range grantsIn(history, b.Principal) {
		if slices.Contains(mayIn(history, g.Role), a.Right) && (g.Namespace == "" || g.Namespace == a.Namespace) {
			grants = append(grants, g)
		}
	}
	opens := func(h sluice.Host) bool {
		return slices.ContainsFunc(grants, func(g sluice.Grant) bool {
			return len(g.Tags) == 0 || a.Members != nil && slices.ContainsFunc(g.Tags, func(t sluice.Tag) bool { return slices.Contains(a.Members(t), h) })
		})
	}
	switch {
	case len(a.Hosts) > 0:
		return !slices.ContainsFunc(a.Hosts, func(h sluice.Host) bool { return !opens(h) })
	case a.Anywhere:
		return len(grants) > 0
	}
	return slices.ContainsFunc(grants, func(g sluice.Grant) bool { return len(g.Tags) == 0 })
}

func drawBearer(d dice, s *access.State) access.Bearer {
	b := access.As(pick(d, append(names, "who")))
	if d.IntN(2) == 0 {
		b.Token = pick(d, ids)
		for _, p := range s.People() {
			for _, has := range p.Tokens {
				if has.ID == b.Token && d.IntN(10) > 0 {
					b.Principal = p.Principal
				}
			}
		}
	}
	return b
}

func TestAllowIsWhatTheWordsSay(t *testing.T) {
	hosts := []sluice.Host{"w1", "w2", "d1", "x"}
	rapid.Check(t, func(t *rapid.T) {
		d := drawDice(t)
		history, s := drawHistory(t, d)
		for range 20 {
			b := drawBearer(d, s)
			a := access.Ask{Right: pick(d, append(sluice.Rights(), "", "job.*")), Namespace: pick(d, append(spaces, "pro")),
				Hosts: some(d, hosts, 0, 3), Anywhere: d.IntN(2) == 0}
			if d.IntN(5) > 0 {
				a.Members = members
			}
			err := s.Allow(b, a)
			if want := allowedBy(history, b, a); (err == nil) != want {
				t.Fatalf("%+v asks %+v: %v, want %v; after\n%+v", b, a, err, want, history)
			}
			if err != nil && sluice.CodeOf(err) != sluice.Denied {
				t.Fatalf("a refusal without its code: %v", err)
			}
			all, some := s.Namespaces(b, a.Right)
			for _, ns := range spaces[1:] {
				want := allowedBy(history, b, access.Ask{Right: a.Right, Namespace: ns, Anywhere: true})
				if got := all || slices.Contains(some, ns); got != want {
					t.Fatalf("%+v may %s somewhere in %q: %v, want %v", b, a.Right, ns, got, want)
				}
			}
		}
		for _, id := range ids {
			made, ok := tokenIn(history, id)
			if b, in := s.Login([]byte(id), "", time.Time{}); in != ok || ok && b != (access.Bearer{Principal: made.Principal, Token: id}) {
				t.Fatalf("the token %s lets %+v in: %v, want %v", id, b, in, ok)
			}
		}
		if !slices.ContainsFunc(names, func(p sluice.Principal) bool {
			return allowedBy(history, access.As(p), access.Ask{Right: sluice.GiveAccess})
		}) {
			t.Fatal("nobody can give access any more")
		}
	})
}

// reach is all that some bearers may do, of what one can ask for.
func reach(s *access.State, set []access.Bearer) map[string]bool {
	out := map[string]bool{}
	for _, b := range set {
		for _, r := range sluice.Rights() {
			for _, ns := range spaces {
				for _, hosts := range [][]sluice.Host{nil, {"w1"}, {"w2"}, {"d1"}, {"x"}} {
					if s.Allow(b, access.Ask{Right: r, Namespace: ns, Hosts: hosts, Members: members}) == nil {
						out[fmt.Sprint(r, ns, hosts)] = true
					}
				}
			}
		}
	}
	return out
}

// TestNobodyGainsByChanges: whatever some people do together, with their names, their tokens, those that they make and the
// names that they add, they may never do more than they might before.
func TestNobodyGainsByChanges(t *testing.T) {
	made := 0
	rapid.Check(t, func(t *rapid.T) {
		d := drawDice(t)
		history, s := drawHistory(t, d)
		var set []access.Bearer
		for range 1 + d.IntN(2) {
			set = append(set, drawBearer(d, s))
		}
		before := reach(s, set)
		for range 60 {
			b := pick(d, set)
			c := drawChange(d)
			if m, is := c.(sluice.TokenMade); is && d.IntN(8) > 0 {
				m.Parent = b.Token // another one is always refused
				c = m
			}
			if s.MayChange(b, c) != nil || s.Check(c) != nil {
				continue
			}
			if err := s.Apply(sluice.Event{Body: c}); err != nil {
				t.Fatal(err)
			}
			made++
			switch c := c.(type) {
			case sluice.TokenMade:
				set = append(set, access.Bearer{Principal: c.Principal, Token: c.ID})
			case sluice.PrincipalAdded:
				set = append(set, access.As(c.Principal))
			}
			for what := range reach(s, set) {
				if !before[what] {
					t.Fatalf("%+v made %+v, and now there is %s; before:\n%+v", b, c, what, history)
				}
			}
		}
	})
	t.Logf("made %d", made)
	if made == 0 {
		t.Error("nobody could ever change anything: this proves nothing")
	}
}
