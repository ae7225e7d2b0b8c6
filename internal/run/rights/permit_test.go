package rights_test

import (
	"context"
	"errors"
	"testing"

	"sluice"
	"sluice/internal/core/access"
	"sluice/internal/lab/fake"
	"sluice/internal/run/rights"
)

// TestPermit: a job starts things for as long as who submitted it may, with a token that is not revoked; whoever resumes
// it takes it over.
func TestPermit(t *testing.T) {
	l := fake.NewLog()
	k, root := founded(t, l)
	change(t, k, root, added("ann"), added("bob"), given("ann", access.Operator, "prod"), given("bob", access.Operator, "prod"))
	_, token, err := k.MakeToken(t.Context(), root, sluice.Token{Principal: "ann"})
	if err != nil || !token.Lasting || token.Parent != root.Token {
		t.Fatalf("%+v, error %v", token, err)
	}
	j := &sluice.Job{ID: "0123456789ab", Namespace: "prod", By: "ann", Token: token.ID, Targets: []sluice.Host{"web1"}}
	resumed := func(id sluice.JobID, by string) {
		t.Helper()
		_, err := l.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{{Time: clock(), Job: id, Body: sluice.JobResumed{By: by}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var noFleet error
	fleet := func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
		return func(sluice.Tag) []sluice.Host { return nil }, noFleet
	}
	p := &rights.Permit{Keeper: k, Log: l, Members: fleet}
	may := func(what string, code sluice.Code) {
		t.Helper()
		want(t, what, p.May(t.Context(), j), code)
		want(t, what+", asked anew", (&rights.Permit{Keeper: k, Log: l, Members: fleet}).May(t.Context(), j), code)
	}
	may("as submitted", "")
	noFleet = errors.New("the disk is gone")
	if err := p.May(t.Context(), j); err == nil || sluice.CodeOf(err) == sluice.Denied {
		t.Errorf("without a fleet: %v", err)
	}
	noFleet = nil
	change(t, k, root, sluice.TokenRevoked{ID: token.ID})
	may("the token is revoked", sluice.Denied)
	resumed("zzzzzzzzzzzz", "bob")
	may("bob resumed another job", sluice.Denied)
	resumed(j.ID, "bob")
	may("bob resumed it", "")
	change(t, k, root, sluice.GrantTaken{Grant: sluice.Grant{Principal: "bob", Role: access.Operator, Namespace: "prod"}})
	may("bob has no right any more", sluice.Denied)
	resumed(j.ID, "ann")
	may("ann resumed it without that token", "")
	change(t, k, root, sluice.PrincipalRemoved{Principal: "ann"})
	may("ann is gone", sluice.Denied)
	p.Forget(j.ID)
	may("after it was forgotten", sluice.Denied)
}

// TestPermitAtBalancers: a deploy starts nothing any more when who submitted it has no right to the host of a balancer.
func TestPermitAtBalancers(t *testing.T) {
	l := fake.NewLog()
	k, root := founded(t, l)
	web := sluice.Grant{Principal: "ann", Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}
	lb := sluice.Grant{Principal: "ann", Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"lb"}}
	change(t, k, root, added("ann"), sluice.GrantGiven{Grant: web}, sluice.GrantGiven{Grant: lb})
	tags := map[sluice.Tag][]sluice.Host{"web": {"web1"}, "lb": {"lb1"}}
	p := &rights.Permit{Keeper: k, Log: l, Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
		return func(t sluice.Tag) []sluice.Host { return tags[t] }, nil
	}}
	targets := append(make([]sluice.Host, 0, 9), "web1")
	j := &sluice.Job{ID: "0123456789ab", Namespace: "prod", By: "ann", Targets: targets,
		Action: sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{Deploy: sluice.Deploy{Balancers: []sluice.Balancing{{On: "lb1"}, {Driver: "exec"}, {On: "lb1"}}}}}}
	want(t, "with both rights", p.May(t.Context(), j), "")
	tags["lb"] = nil // the fleet says something else now
	want(t, "without the tag", p.May(t.Context(), j), sluice.Denied)
	tags["lb"] = []sluice.Host{"lb1"}
	change(t, k, root, sluice.GrantTaken{Grant: lb})
	want(t, "without the right", p.May(t.Context(), j), sluice.Denied)
	want(t, "who resumes it", p.MayBy(t.Context(), j, "ann"), sluice.Denied)
	j.Action.Release.Deploy.Balancers = nil
	want(t, "without balancers", p.May(t.Context(), j), "")
	j.Action.Release.Validating = &sluice.Validating{Hosts: []sluice.Host{"web1", "lb1"}}
	want(t, "validated where there is no right", p.May(t.Context(), j), sluice.Denied)
	j.Action.Release.Validating = nil
	if extra := targets[:2]; extra[1] != "" {
		t.Errorf("the job's targets have grown: %v", extra)
	}
}

// TestPermitOfSeveral: jobs of one namespace are read together, and none misses what came before it was asked for, while
// another one was, or while nobody was.
func TestPermitOfSeveral(t *testing.T) {
	l := fake.NewLog()
	k, root := founded(t, l)
	change(t, k, root, added("ann"), added("bob"), given("ann", access.Operator, "prod"))
	p := &rights.Permit{Keeper: k, Log: l, Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
		return func(sluice.Tag) []sluice.Host { return nil }, nil
	}}
	resume := func(id sluice.JobID, by string) {
		t.Helper()
		_, err := l.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{{Time: clock(), Job: id, Body: sluice.JobResumed{By: by}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	one := &sluice.Job{ID: "111111111111", Namespace: "prod", By: "ann", Targets: []sluice.Host{"web1"}}
	two := &sluice.Job{ID: "222222222222", Namespace: "prod", By: "bob", Targets: []sluice.Host{"web1"}}
	want(t, "the first", p.May(t.Context(), one), "")
	resume(one.ID, "bob")
	resume(two.ID, "ann")
	want(t, "the second, which was resumed before anybody asked", p.May(t.Context(), two), "")
	want(t, "the first, which was resumed before the second was asked for", p.May(t.Context(), one), sluice.Denied)
	resume(two.ID, "bob")
	want(t, "the first, again", p.May(t.Context(), one), sluice.Denied)
	want(t, "the second, of which the first one's reading came by", p.May(t.Context(), two), sluice.Denied)
	p.Forget(one.ID)
	p.Forget(two.ID)
	resume(one.ID, "ann")
	want(t, "the first, resumed while nobody asked", p.May(t.Context(), one), "")
	other := &sluice.Job{ID: one.ID, Namespace: "elsewhere", By: "ann"}
	want(t, "where ann has no right", p.May(t.Context(), other), sluice.Denied)
}
