package control_test

import (
	"testing"

	"sluice"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

// What hosts are asked follows no sequence and brings no rules, and who must approve every job approves it, too.
func TestAQuestionFollowsNoOrder(t *testing.T) {
	d, ctx := newDesk(t), t.Context()
	d.submit(fleet(2))
	f := fleet(2)
	f.Source, f.Constraints = "other.yaml", nil
	f.Sequences = []sluice.Sequence{{Name: "all", Entries: []sluice.Entry{{Hosts: f.Hosts[:1], Gate: sluice.Gate{Approve: true}}, {Hosts: f.Hosts[1:]}}}}
	for _, start := range []bool{false, true} {
		f.Approval.Start = start
		ask := &release.Ask{App: "shop", Roots: []string{"/srv/shop"}}
		draft, err := d.Prepare(ctx, control.Request{Fleet: f, Targets: f.Hosts, Ask: ask, Command: ask.Told(), Action: ask.Action(), Options: sluice.Options{ReadOnly: true}})
		if err != nil {
			t.Fatal(err)
		}
		events, err := d.Submit(ctx, draft)
		if err != nil || len(events) != 1 {
			t.Errorf("it brings rules: %v %v", events, err)
		}
		id := draft.Job.ID
		d.play(id, nil)
		if start {
			if i := d.state(id); i.State != schedule.Paused {
				t.Errorf("it waits for no approval: %s", i.State)
			}
			continue
		}
		if i := d.state(id); i.Running != 2 {
			t.Errorf("%d of 2 hosts are asked at once", i.Running)
		}
	}
}
