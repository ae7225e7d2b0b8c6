package access_test

import (
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/access"
)

func of(parent string) func(*sluice.Token) {
	return func(t *sluice.Token) { t.Parent = sluice.TokenID(parent) }
}
func lasting(t *sluice.Token) { t.Lasting = true }

// TestStolenTokens: what was made with a token ends with it, and with what was made with that; lasting ones end where all
// are meant. To make a lasting one takes the right to give access.
func TestStolenTokens(t *testing.T) {
	events := []sluice.Body{added("root"), added("ann"), given("root", access.Admin, ""), given("ann", access.Viewer, ""),
		token("ann", "t1"), token("ann", "t2", of("t1")), token("ann", "t3", of("t2")), token("root", "t4", of("t2"), lasting), token("ann", "t5")}
	for _, c := range []struct {
		revoke sluice.TokenRevoked
		left   string
	}{
		{sluice.TokenRevoked{ID: "t1"}, "45"}, {sluice.TokenRevoked{ID: "t2"}, "145"}, {sluice.TokenRevoked{ID: "t3"}, "1245"},
		{sluice.TokenRevoked{ID: "t1", Made: true}, "5"}, {sluice.TokenRevoked{ID: "t5", Made: true}, "1234"},
	} {
		s := after(t, append(append([]sluice.Body{}, events...), c.revoke)...)
		left := ""
		for _, n := range []string{"1", "2", "3", "4", "5"} {
			if _, ok := s.Login([]byte("t"+n), "", now); ok {
				left += n
			}
		}
		if left != c.left {
			t.Errorf("%+v leaves %s, want %s", c.revoke, left, c.left)
		}
	}
	s := after(t, events...)
	for _, c := range []struct {
		by   access.Bearer
		make sluice.Body
		may  bool
	}{
		{with("ann", "t1"), token("ann", "n", of("t1")), true},
		{with("ann", "t1"), token("ann", "n"), false},
		{with("ann", "t1"), token("ann", "n", of("t5")), false},
		{with("ann", "t1"), token("ann", "n", of("t1"), lasting), false},
		{with("root", "t4"), token("root", "n", of("t4"), lasting), true},
		{access.As("ann"), token("ann", "n"), true},
		{access.As("ann"), token("ann", "n", of("t1")), false},
	} {
		if err := s.MayChange(c.by, c.make); (err == nil) != c.may {
			t.Errorf("%+v makes %+v: %v", c.by, c.make, err)
		}
	}
}

// TestMaySubmit: a job goes on for as long as who it is for may submit it: an expired token is no reason against it, a
// revoked one is.
func TestMaySubmit(t *testing.T) {
	events := []sluice.Body{added("root"), added("ann"), given("root", access.Admin, ""), given("ann", access.Operator, "prod", "web"),
		token("ann", "t1", until(now.Add(-time.Hour)))}
	members := func(tag sluice.Tag) []sluice.Host {
		if tag == "web" {
			return []sluice.Host{"web1", "web2"}
		}
		return nil
	}
	for name, c := range map[string]struct {
		then  []sluice.Body
		ns    sluice.Namespace
		hosts []sluice.Host
		may   bool
	}{
		"as submitted":            {nil, "prod", []sluice.Host{"web1"}, true},
		"elsewhere":               {nil, "prod2", []sluice.Host{"web1"}, false},
		"in a part of its name":   {nil, "pro", []sluice.Host{"web1"}, false},
		"a host of nobody":        {nil, "prod", []sluice.Host{"web1", "db1"}, false},
		"the token is revoked":    {[]sluice.Body{sluice.TokenRevoked{ID: "t1"}}, "prod", []sluice.Host{"web1"}, false},
		"the grant is taken":      {[]sluice.Body{taken("ann", access.Operator, "prod", "web")}, "prod", []sluice.Host{"web1"}, false},
		"ann is gone":             {[]sluice.Body{removed("ann")}, "prod", []sluice.Host{"web1"}, false},
		"another grant is enough": {[]sluice.Body{taken("ann", access.Operator, "prod", "web"), given("ann", access.Operator, "")}, "prod", []sluice.Host{"db1"}, true},
	} {
		s := after(t, append(append([]sluice.Body{}, events...), c.then...)...)
		if err := s.MaySubmit(with("ann", "t1"), c.ns, c.hosts, members); (err == nil) != c.may {
			t.Errorf("%s: %v", name, err)
		}
	}
}
