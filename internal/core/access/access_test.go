package access_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/access"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func digest(secret string) string { return access.Digest([]byte(secret)) }

func added(p sluice.Principal) sluice.Body   { return sluice.PrincipalAdded{Principal: p} }
func removed(p sluice.Principal) sluice.Body { return sluice.PrincipalRemoved{Principal: p} }

func grant(p sluice.Principal, r sluice.Role, ns sluice.Namespace, tags ...sluice.Tag) sluice.Grant {
	return sluice.Grant{Principal: p, Role: r, Namespace: ns, Tags: tags}
}

func given(p sluice.Principal, r sluice.Role, ns sluice.Namespace, tags ...sluice.Tag) sluice.Body {
	return sluice.GrantGiven{Grant: grant(p, r, ns, tags...)}
}

func taken(p sluice.Principal, r sluice.Role, ns sluice.Namespace, tags ...sluice.Tag) sluice.Body {
	return sluice.GrantTaken{Grant: grant(p, r, ns, tags...)}
}

func role(r sluice.Role, may ...sluice.Right) sluice.Body {
	return sluice.RoleDefined{Role: r, May: may}
}

// token makes one whose id is its secret.
func token(p sluice.Principal, id string, change ...func(*sluice.Token)) sluice.Body {
	t := sluice.Token{ID: sluice.TokenID(id), Principal: p, Digest: digest(id)}
	for _, c := range change {
		c(&t)
	}
	return sluice.TokenMade{Token: t}
}

func only(r ...sluice.Right) func(*sluice.Token) { return func(t *sluice.Token) { t.Only = r } }
func in(ns sluice.Namespace) func(*sluice.Token) { return func(t *sluice.Token) { t.Namespace = ns } }
func until(at time.Time) func(*sluice.Token)     { return func(t *sluice.Token) { t.Expires = at } }
func with(p sluice.Principal, id string) access.Bearer {
	return access.Bearer{Principal: p, Token: sluice.TokenID(id)}
}

// after is the state after changes, each of which must pass.
func after(t testing.TB, changes ...sluice.Body) *access.State {
	t.Helper()
	s := access.New()
	for i, c := range changes {
		if err := s.Check(c); err != nil {
			t.Fatalf("change %d: %v", i+1, err)
		}
		if err := s.Apply(sluice.Event{Seq: uint64(i) + 1, Time: now, Body: c}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// members are the tags of a small fleet.
func members(t sluice.Tag) []sluice.Host {
	return map[sluice.Tag][]sluice.Host{"web": {"w1", "w2"}, "db": {"d1"}, "old": {"w2"}}[t]
}

func TestBuiltInRoles(t *testing.T) {
	const every = "job.see job.output job.submit job.halt job.control job.approve host.change fleet.see fleet.apply " +
		"access.see access.give audit.see server.see server.run"
	for r, want := range map[sluice.Role]string{
		access.Viewer:   "job.see fleet.see server.see",
		access.Operator: "job.see job.output job.submit job.halt job.control host.change fleet.see server.see",
		access.Approver: "job.see job.output job.halt job.approve fleet.see server.see",
		access.Admin:    every,
	} {
		s := after(t, added("ann"), given("ann", r, ""))
		var got []string
		for _, right := range sluice.Rights() {
			if s.Allow(access.As("ann"), access.Ask{Right: right, Namespace: "prod"}) == nil {
				got = append(got, string(right))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s may %v", r, got)
		}
	}
	roles := access.New().Roles()
	roles[access.Viewer][0] = sluice.RunServer
	if access.New().Roles()[access.Viewer][0] == sluice.RunServer {
		t.Error("what a built-in role may do can be changed from outside")
	}
}

func TestAllow(t *testing.T) {
	s := after(t, added("ann"), added("bob"), added("eve"), added("zoe"),
		given("ann", access.Operator, "prod"), given("bob", access.Operator, "prod", "web"), given("bob", access.Operator, "prod", "db"),
		given("bob", access.Viewer, ""), given("eve", access.Admin, ""), removed("zoe"),
		token("ann", "narrow", only(sluice.SeeJobs, sluice.GiveAccess)), token("eve", "inprod", in("prod")), token("ann", "lab", in("lab")),
		token("eve", "gone"), sluice.TokenRevoked{ID: "gone"})
	ann, bob, eve := access.As("ann"), access.As("bob"), access.As("eve")
	hosts := func(h ...sluice.Host) []sluice.Host { return h }
	for _, c := range []struct {
		name string
		b    access.Bearer
		a    access.Ask
		why  string // "" is yes
	}{
		{"in the namespace", ann, access.Ask{Right: sluice.SubmitJob, Namespace: "prod"}, ""},
		{"its hosts", ann, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Hosts: hosts("w1", "x")}, ""},
		{"a longer name", ann, access.Ask{Right: sluice.SubmitJob, Namespace: "prod2"}, "no grant"},
		{"a shorter name", ann, access.Ask{Right: sluice.SubmitJob, Namespace: "pro"}, "no grant"},
		{"other letters", ann, access.Ask{Right: sluice.SubmitJob, Namespace: "Prod"}, "no grant"},
		{"the server", ann, access.Ask{Right: sluice.SeeServer}, "no grant"},
		{"another right", ann, access.Ask{Right: sluice.ApproveJob, Namespace: "prod"}, "no grant"},
		{"no right", eve, access.Ask{Namespace: "prod"}, "no grant"},
		{"a right that is none", eve, access.Ask{Right: "job.*", Namespace: "prod"}, "no grant"},
		{"tagged hosts", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Hosts: hosts("w1"), Members: members}, ""},
		{"hosts of two grants", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Hosts: hosts("w1", "d1"), Members: members}, ""},
		{"one host too many", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Hosts: hosts("w1", "x"), Members: members}, "host x"},
		{"one too many, anywhere", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Hosts: hosts("w1", "x"), Members: members, Anywhere: true}, "host x"},
		{"tagged, without a fleet", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Hosts: hosts("w1")}, "host w1"},
		{"tagged, no host in particular", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Members: members}, "concerns all"},
		{"tagged, anywhere", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Anywhere: true}, ""},
		{"tagged, elsewhere", bob, access.Ask{Right: sluice.SubmitJob, Namespace: "lab", Anywhere: true}, "no grant"},
		{"everywhere", bob, access.Ask{Right: sluice.SeeJobs, Namespace: "lab", Hosts: hosts("x")}, ""},
		{"the server with a grant for all", bob, access.Ask{Right: sluice.SeeServer}, ""},
		{"a stranger", access.As("who"), access.Ask{Right: sluice.SeeJobs, Namespace: "prod"}, "nobody is known"},
		{"nobody", access.Bearer{}, access.Ask{Right: sluice.SeeJobs}, "nobody is known"},
		{"somebody removed", access.As("zoe"), access.Ask{Right: sluice.SeeJobs}, "nobody is known"},
		{"a token's right", with("ann", "narrow"), access.Ask{Right: sluice.SeeJobs, Namespace: "prod"}, ""},
		{"a right of its principal", with("ann", "narrow"), access.Ask{Right: sluice.HaltJob, Namespace: "prod"}, "other rights"},
		{"a token's right, not its principal's", with("ann", "narrow"), access.Ask{Right: sluice.GiveAccess, Namespace: "prod"}, "no grant"},
		{"a token's namespace", with("eve", "inprod"), access.Ask{Right: sluice.SeeJobs, Namespace: "prod"}, ""},
		{"beside a token's namespace", with("eve", "inprod"), access.Ask{Right: sluice.SeeJobs, Namespace: "prod2"}, "for the namespace prod"},
		{"the server with a namespace's token", with("eve", "inprod"), access.Ask{Right: sluice.SeeServer}, "for the namespace prod"},
		{"a token's namespace, not its principal's", with("ann", "lab"), access.Ask{Right: sluice.SeeJobs, Namespace: "lab"}, "no grant"},
		{"a revoked token", with("eve", "gone"), access.Ask{Right: sluice.SeeJobs}, "not valid any more"},
		{"a token that never was", with("eve", "what"), access.Ask{Right: sluice.SeeJobs}, "not valid any more"},
		{"the token of another", with("eve", "narrow"), access.Ask{Right: sluice.SeeJobs}, "not valid any more"},
	} {
		err := s.Allow(c.b, c.a)
		switch {
		case c.why == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.why != "" && (sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), c.why)):
			t.Errorf("%s: %v (%s), want %q", c.name, err, sluice.CodeOf(err), c.why)
		}
	}
}

func TestNamespaces(t *testing.T) {
	s := after(t, added("ann"), added("bob"), given("ann", access.Viewer, ""), given("ann", access.Operator, "prod"),
		given("ann", access.Operator, "edge", "web"), token("ann", "lab", in("lab")), token("ann", "prod", in("prod"), only(sluice.HaltJob)))
	for _, c := range []struct {
		b    access.Bearer
		r    sluice.Right
		want string
	}{
		{access.As("ann"), sluice.SeeJobs, "true [edge prod]"},
		{access.As("ann"), sluice.HaltJob, "false [edge prod]"},
		{access.As("ann"), sluice.RunServer, "false []"},
		{with("ann", "lab"), sluice.SeeJobs, "false [lab]"},
		{with("ann", "lab"), sluice.HaltJob, "false []"},
		{with("ann", "prod"), sluice.HaltJob, "false [prod]"},
		{with("ann", "prod"), sluice.SeeJobs, "false []"},
		{with("ann", "none"), sluice.SeeJobs, "false []"},
		{access.As("bob"), sluice.SeeJobs, "false []"},
		{access.As("who"), sluice.SeeJobs, "false []"},
	} {
		all, some := s.Namespaces(c.b, c.r)
		if got := fmt.Sprint(all, " ", some); got != c.want {
			t.Errorf("%v %s: %s, want %s", c.b, c.r, got, c.want)
		}
	}
}

func TestLogin(t *testing.T) {
	s := after(t, added("ann"), added("zoe"), given("ann", access.Viewer, ""), token("ann", "plain"),
		token("ann", "short", until(now)), token("zoe", "hers"), token("ann", "gone"), sluice.TokenRevoked{ID: "gone"}, removed("zoe"))
	for _, c := range []struct {
		secret string
		at     time.Time
		want   access.Bearer
	}{
		{"plain", now, with("ann", "plain")},
		{"short", now.Add(-1), with("ann", "short")},
		{"short", now, access.Bearer{}},
		{"gone", now, access.Bearer{}},
		{"hers", now, access.Bearer{}},
		{"", now, access.Bearer{}},
		{"anything", now, access.Bearer{}},
		{digest("plain"), now, access.Bearer{}},
	} {
		b, ok := s.Login([]byte(c.secret), "", c.at)
		if ok != (c.want.Token != "") || ok && b != c.want {
			t.Errorf("%q lets %+v in: %v", c.secret, b, ok)
		}
	}
	if err := s.Live(with("ann", "short"), now); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("an expired token: %v", err)
	}
	if err := s.Live(with("ann", "short"), now.Add(-1)); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	begin := []sluice.Body{added("ann"), added("bob"), added("zoe"), given("ann", access.Admin, ""), given("bob", access.Admin, "prod"),
		role("deployer", sluice.SubmitJob), given("bob", "deployer", "lab", "web"), token("bob", "his"), removed("zoe")}
	for _, c := range []struct {
		name   string
		change sluice.Body
		code   sluice.Code // "" is yes
	}{
		{"somebody new", added("new"), ""},
		{"somebody known", added("bob"), sluice.Conflict},
		{"somebody removed", added("zoe"), sluice.Conflict},
		{"somebody removed, again", sluice.PrincipalAdded{Principal: "zoe", Again: true}, ""},
		{"somebody known, again", sluice.PrincipalAdded{Principal: "bob", Again: true}, sluice.Conflict},
		{"a stranger, again", sluice.PrincipalAdded{Principal: "new", Again: true}, sluice.NotFound},
		{"no name", added(""), sluice.Usage},
		{"a name of two lines", added("a\nb"), sluice.Usage},
		{"removing", removed("bob"), ""},
		{"removing a stranger", removed("new"), sluice.NotFound},
		{"removing twice", removed("zoe"), sluice.NotFound},
		{"removing the last administrator", removed("ann"), sluice.Conflict},
		{"taking it from the last administrator", taken("ann", access.Admin, ""), sluice.Conflict},
		{"taking a lesser one", taken("bob", access.Admin, "prod"), ""},
		{"a built-in role", role(access.Viewer, sluice.SeeJobs), sluice.Conflict},
		{"no built-in role", role(access.Admin), sluice.Conflict},
		{"a role of no name", role("", sluice.SeeJobs), sluice.Usage},
		{"a right that is none", role("new", "job.*"), sluice.Usage},
		{"a role", role("new", sluice.SeeJobs), ""},
		{"a role anew", role("deployer", sluice.SeeJobs), ""},
		{"no role any more", role("deployer"), ""},
		{"no role that never was", role("new"), sluice.NotFound},
		{"a grant", given("bob", access.Viewer, ""), ""},
		{"a grant to a stranger", given("new", access.Viewer, ""), sluice.NotFound},
		{"a grant to somebody removed", given("zoe", access.Viewer, ""), sluice.NotFound},
		{"a grant of no role", given("bob", "new", ""), sluice.NotFound},
		{"a grant twice", given("bob", "deployer", "lab", "web"), sluice.Conflict},
		{"a grant of other tags", given("bob", "deployer", "lab", "web", "db"), ""},
		{"a grant in what is not a fleet's", given("bob", access.Viewer, sluice.AccessNamespace), sluice.Usage},
		{"a grant on no tag", given("bob", access.Viewer, "", ""), sluice.Usage},
		{"taking a grant of other tags", taken("bob", "deployer", "lab"), sluice.NotFound},
		{"a token", token("bob", "new"), ""},
		{"a token of a stranger", token("new", "new"), sluice.NotFound},
		{"a token of somebody removed", token("zoe", "new"), sluice.NotFound},
		{"a token twice", token("bob", "his", func(t *sluice.Token) { t.Digest = digest("other") }), sluice.Conflict},
		{"a secret twice", token("ann", "new", func(t *sluice.Token) { t.Digest = digest("his") }), sluice.Conflict},
		{"a token without a name", token("bob", ""), sluice.Usage},
		{"a digest in large digits", token("bob", "new", func(t *sluice.Token) { t.Digest = strings.ToUpper(t.Digest) }), sluice.Usage},
		{"no digest", token("bob", "new", func(t *sluice.Token) { t.Digest = "" }), sluice.Usage},
		{"a token for a right that is none", token("bob", "new", only("job.*")), sluice.Usage},
		{"a token for what is not a fleet's", token("bob", "new", in(sluice.AccessNamespace)), sluice.Usage},
		{"revoking", sluice.TokenRevoked{ID: "his"}, ""},
		{"revoking nothing", sluice.TokenRevoked{ID: "new"}, sluice.NotFound},
	} {
		s := after(t, begin...)
		if err := s.Check(c.change); sluice.CodeOf(err) != c.code || (err == nil) != (c.code == "") {
			t.Errorf("%s: %v (%s), want %q", c.name, err, sluice.CodeOf(err), c.code)
		}
	}
	s := after(t, append(begin, given("bob", access.Admin, ""), taken("ann", access.Admin, ""))...)
	if s.Check(removed("bob")) == nil || s.Check(removed("ann")) != nil {
		t.Error("the last administrator is not who it became")
	}
}

// Who comes back has nothing of what was granted before, and a role that was taken away does not come back to those who had
// it.
func TestNothingComesBack(t *testing.T) {
	see := access.Ask{Right: sluice.SeeJobs, Namespace: "prod"}
	s := after(t, added("ann"), given("ann", access.Viewer, ""), token("ann", "hers"), removed("ann"), sluice.PrincipalAdded{Principal: "ann", Again: true})
	if s.Allow(access.As("ann"), see) == nil {
		t.Error("with the name the grants came back")
	}
	if _, ok := s.Login([]byte("hers"), "", now); ok {
		t.Error("with the name the tokens came back")
	}
	s = after(t, added("ann"), role("looker", sluice.SeeJobs), given("ann", "looker", ""), role("looker"), role("looker", sluice.SeeJobs))
	if s.Allow(access.As("ann"), see) == nil {
		t.Error("with the role its grants came back")
	}
	if err := s.Check(given("ann", "looker", "")); err != nil {
		t.Error(err)
	}
}

func TestApply(t *testing.T) {
	s := after(t, added("ann"), given("ann", access.Admin, ""))
	for name, e := range map[string]sluice.Event{
		"a gap":                {Seq: 4, Body: added("bob")},
		"the same again":       {Seq: 2, Body: added("bob")},
		"somebody known":       {Seq: 3, Body: added("ann")},
		"a stranger's grant":   {Seq: 3, Body: given("bob", access.Viewer, "")},
		"no such token":        {Seq: 3, Body: sluice.TokenRevoked{ID: "x"}},
		"no such grant":        {Seq: 3, Body: taken("ann", access.Viewer, "")},
		"a stranger's leaving": {Seq: 3, Body: removed("bob")},
		"a later version's":    {Seq: 3, Body: sluice.UnknownBody{TypeName: "grant.frozen"}},
	} {
		before := s.Clone()
		if s.Apply(e) == nil {
			t.Errorf("%s: applied", name)
		}
		if !reflect.DeepEqual(s, before) {
			t.Errorf("%s: the state is not as before", name)
		}
	}
	// What another version may have written is read.
	for i, b := range []sluice.Body{sluice.AccessNoted{What: "GET /"}, sluice.UnknownBody{TypeName: "moon.noted"}, role("viewer", sluice.RunServer),
		role("later", "moon.see"), given("ann", "later", ""), given("ann", "never", "")} {
		if err := s.Apply(sluice.Event{Seq: uint64(i) + 3, Body: b}); err != nil {
			t.Error(err)
		}
	}
	if s.Seq() != 8 {
		t.Errorf("the last event is %d", s.Seq())
	}
	if got := s.Roles()[access.Viewer]; slices.Contains(got, sluice.RunServer) {
		t.Errorf("a built-in role is what the log says: %v", got)
	}
	if !access.New().Empty() || s.Empty() || after(t, added("a"), added("b"), given("b", access.Admin, ""), removed("a")).Empty() {
		t.Error("Empty does not say whether anybody was ever known")
	}
}

func TestPeople(t *testing.T) {
	s := after(t, added("bob"), added("ann"), given("bob", access.Viewer, "prod", "web", "db"), token("bob", "b2"), token("bob", "b1"), removed("ann"))
	people := s.People()
	if len(people) != 2 || people[0].Principal != "ann" || !people[0].Removed || people[1].Removed || len(people[1].Tokens) != 2 || people[1].Tokens[0].ID != "b1" {
		t.Fatalf("%+v", people)
	}
	for _, p := range people {
		if one, ok := s.Person(p.Principal); !ok || !reflect.DeepEqual(one, p) {
			t.Errorf("%s alone is %+v, and among all %+v", p.Principal, one, p)
		}
	}
	if _, ok := s.Person("zoe"); ok {
		t.Error("somebody who was never known is")
	}
	if text := fmt.Sprintf("%+v", people) + fmt.Sprintf("%#v", people); strings.Contains(text, digest("b1")) {
		t.Error("a list shows digests")
	}
	if got := people[1].Grants[0].String(); got != "viewer in prod on $web, $db" {
		t.Errorf("the grant is %q", got)
	}
	people[1].Grants[0].Role = access.Admin
	if s.Allow(access.As("bob"), access.Ask{Right: sluice.SubmitJob, Namespace: "prod", Anywhere: true}) == nil {
		t.Error("what is granted can be changed from outside")
	}
}

func TestMayChange(t *testing.T) {
	begin := []sluice.Body{added("root"), given("root", access.Admin, ""), added("ann"), added("bob"), added("eve"),
		given("ann", access.Admin, "prod"), given("bob", access.Operator, ""), given("bob", access.Admin, "edge", "web"),
		role("giver", sluice.GiveAccess), given("eve", "giver", ""), role("runner", sluice.SubmitJob),
		token("ann", "day", until(now.Add(time.Hour))), token("ann", "see", only(sluice.SeeJobs, sluice.HaltJob)), token("root", "prod", in("prod")),
		token("root", "give", only(sluice.GiveAccess)), token("bob", "bobs")}
	root, ann, bob, eve := access.As("root"), access.As("ann"), access.As("bob"), access.As("eve")
	for _, c := range []struct {
		name   string
		b      access.Bearer
		change sluice.Body
		may    bool
	}{
		{"an administrator", root, added("new"), true},
		{"an administrator gives all", root, given("bob", access.Admin, ""), true},
		{"one of a namespace adds nobody", ann, added("new"), false},
		{"one of a namespace gives there", ann, given("bob", access.Admin, "prod"), true},
		{"and takes there", ann, taken("bob", access.Admin, "prod"), true},
		{"and not elsewhere", ann, given("bob", access.Viewer, "prod2"), false},
		{"and not everywhere", ann, given("bob", access.Viewer, ""), false},
		{"and takes not elsewhere", ann, taken("bob", access.Operator, ""), false},
		{"and defines nothing", ann, role("new", sluice.SeeJobs), false},
		{"and removes nobody", ann, removed("bob"), false},
		{"an operator gives nothing", bob, given("ann", access.Viewer, ""), false},
		{"one of some hosts gives nothing", bob, given("ann", access.Viewer, "edge", "web"), false},
		{"a giver adds", eve, added("new"), true},
		{"a giver gives what it may", eve, given("bob", "giver", ""), true},
		{"and not more", eve, given("eve", access.Viewer, ""), false},
		{"by no role either", eve, role("giver", sluice.GiveAccess, sluice.SeeJobs), false},
		{"but by a lesser one", eve, role("lesser", sluice.GiveAccess), true},
		{"and keeps what a role may", eve, role("runner", sluice.SubmitJob), true},
		{"and by no token", eve, token("root", "new"), false},
		{"not one that may one day", eve, token("bob", "new", only(sluice.RunServer)), false},
		{"but a token that does no more", eve, token("root", "new", only(sluice.GiveAccess)), true},
		{"own token", ann, token("ann", "new"), true},
		{"a token of another", ann, token("bob", "new", in("prod")), false},
		{"an administrator makes one of another", root, token("bob", "new"), true},
		{"revoking an own one", ann, sluice.TokenRevoked{ID: "see"}, true},
		{"revoking another's", ann, sluice.TokenRevoked{ID: "bobs"}, false},
		{"an administrator revokes", root, sluice.TokenRevoked{ID: "bobs"}, true},
		{"a token itself", with("ann", "see"), sluice.TokenRevoked{ID: "see"}, true},
		{"a narrow token revokes no wider one", with("ann", "see"), sluice.TokenRevoked{ID: "day"}, false},
		{"a short one revokes a longer one", with("ann", "day"), sluice.TokenRevoked{ID: "see"}, true},
		{"a narrow token makes no wider one", with("ann", "see"), token("ann", "new"), false},
		{"nor one of another right", with("ann", "see"), token("ann", "new", only(sluice.SeeJobs, sluice.SubmitJob)), false},
		{"but a narrower one", with("ann", "see"), token("ann", "new", only(sluice.SeeJobs), in("prod")), true},
		{"a short token makes no longer one", with("ann", "day"), token("ann", "new", until(now.Add(2*time.Hour))), false},
		{"nor an eternal one", with("ann", "day"), token("ann", "new"), false},
		{"but a shorter one", with("ann", "day"), token("ann", "new", until(now.Add(time.Minute))), true},
		{"a namespace's token stays in it", with("root", "prod"), token("root", "new", in("lab")), false},
		{"and is not for all", with("root", "prod"), token("root", "new"), false},
		{"but there", with("root", "prod"), token("root", "new", in("prod")), true},
		{"and gives there", with("root", "prod"), given("bob", access.Admin, "prod"), true},
		{"and nowhere else", with("root", "prod"), given("bob", access.Admin, ""), false},
		{"a token for giving gives no more", with("root", "give"), given("bob", access.Viewer, ""), false},
		{"and makes no wider one", with("root", "give"), token("root", "new"), false},
		{"a removed one", access.As("who"), token("who", "new"), false},
		{"a revoked one", with("root", "gone"), token("root", "new"), false},
	} {
		s := after(t, begin...)
		if m, is := c.change.(sluice.TokenMade); is {
			m.Parent = c.b.Token
			c.change = m
		}
		if err := s.MayChange(c.b, c.change); (err == nil) != c.may || err != nil && sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSigned(t *testing.T) {
	for _, c := range []sluice.Body{added("a"), removed("a"), role("r"), given("a", "r", ""), taken("a", "r", ""), token("a", "t"), sluice.TokenRevoked{ID: "t"}} {
		got, ok := access.Signed(c, "ann")
		if !ok || reflect.TypeOf(got) != reflect.TypeOf(c) || reflect.ValueOf(got).FieldByName("By").String() != "ann" {
			t.Errorf("%T: %+v %v", c, got, ok)
		}
	}
	for _, c := range []sluice.Body{sluice.AccessNoted{}, sluice.JobStarted{}, sluice.UnknownBody{}, nil} {
		if _, ok := access.Signed(c, "ann"); ok {
			t.Errorf("%T is taken for a change", c)
		}
	}
}
