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
