package control_test

import (
	"strings"
	"testing"

	"sluice"
	"sluice/internal/run/control"
)

// TestWhatWasLookedAtIsStillSo: what another job has changed since the look keeps a job from being submitted; so does a look at more
// than there is.
func TestWhatWasLookedAtIsStillSo(t *testing.T) {
	d, f := newDesk(t), fleet(1)
	r := control.Request{Fleet: f, Targets: f.Hosts, Command: "deploy", Action: sluice.Action{Kind: sluice.DeployTo,
		Release: &sluice.Release{App: "shop", Env: "prod", Version: "2", Deploy: sluice.Deploy{Root: "/srv/shop"}}}}
	submit := func(l *sluice.Look) (sluice.JobID, error) {
		r.Look = l
		draft, err := d.Prepare(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Submit(t.Context(), draft)
		return draft.Job.ID, err
	}
	id, err := submit(nil)
	first := must(t, id, err)
	d.play(first, map[sluice.Host]sluice.Outcome{"h0": sluice.Succeeded})
	now, err := d.Live(t.Context(), control.LiveQuery{App: "shop"})
	if err != nil || len(now) != 1 || now[0].Until == 0 {
		t.Fatalf("%+v %v", now, err)
	}
	for name, c := range map[string]struct {
		look sluice.Look
		want string
	}{
		"as it is":      {sluice.Look{Until: now[0].Until}, ""},
		"it is its own": {sluice.Look{Until: 2, Own: []sluice.JobID{first}}, ""},
		"before that":   {sluice.Look{Until: 2, Again: "sluice converge prod"}, "job " + string(first) + " of ann has changed shop in prod since that was looked at"},
		"of later":      {sluice.Look{Until: 1000}, "a look at event 1000"},
	} {
		id, err := submit(&c.look)
		if (err == nil) != (c.want == "") || err != nil && (sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil {
			if i := d.state(id); i.Spec.Look == nil || i.Spec.Look.Until != c.look.Until {
				t.Errorf("%s: the job has the look %+v", name, i.Spec.Look)
			}
		}
	}
}
