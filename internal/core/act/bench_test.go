package act_test

import (
	"fmt"
	"testing"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
)

// BenchmarkForesee is a resume of a job on ten thousand hosts in a hundred groups, with the copy of the state.
func BenchmarkForesee(b *testing.B) {
	hosts := make([]sluice.Host, 10000)
	for i := range hosts {
		hosts[i] = sluice.Host(fmt.Sprintf("web%05d.example.com", i))
	}
	var constraints []sluice.Constraint
	for k := range 5 {
		c := sluice.Constraint{Name: fmt.Sprintf("$c%d", k)}
		for g := range 20 {
			group := sluice.Group{Name: fmt.Sprintf("$c%d.g%d", k, g), Limit: sluice.Percent(30)}
			for i := g; i < len(hosts); i += 20 {
				group.Members = append(group.Members, hosts[(i+k*7)%len(hosts)])
			}
			c.Groups = append(c.Groups, group)
		}
		constraints = append(constraints, c)
	}
	rules, err := sluice.NewRules(hosts, constraints)
	if err != nil {
		b.Fatal(err)
	}
	s := schedule.New()
	for _, body := range []sluice.Body{sluice.RulesApplied{Rules: rules}, sluice.JobSubmitted{Submitted: sluice.Job{ID: job, Namespace: "prod", Targets: hosts,
		Rules: rules.Digest, Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "s", Hosts: hosts}}}}}}, sluice.JobHalting{By: "olga"}, sluice.JobHalted{Generation: 1}} {
		e := sluice.Event{Time: noon, Body: body}
		if body.Type() != (sluice.RulesApplied{}).Type() {
			e.Job = job
		}
		if err := s.Apply(e); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		data, err := s.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		mine, err := schedule.Restore(data)
		if err != nil {
			b.Fatal(err)
		}
		e, err := act.Foresee(mine, act.Act{Kind: act.Resume, Job: job, By: "olga"}, schedule.Input{Now: noon, Driven: yes})
		if err != nil || len(e.Starts) != 3000 || len(e.Says()) == 0 {
			b.Fatalf("%d starts, %v", len(e.Starts), err)
		}
	}
}
