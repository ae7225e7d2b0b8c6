package schedule_test

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/schedule"
)

// TestGroupsAreTheRulesCounted: the room that a job is shown is that of the rules in the log, with those hosts counted that
// are listed as out; and every host that is out is named as a holder, those that stay so first, as far as there is place.
func TestGroupsAreTheRulesCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := wander(t, 40)
		s := w.fold()
		groups, force := rulesIn(w.log)
		out, retired, running := map[sluice.Host]bool{}, map[sluice.Host]bool{}, map[sluice.Host]bool{}
		for _, h := range s.Out() {
			out[h.Host], retired[h.Host], running[h.Host] = !h.Retired, h.Retired, h.Running
		}
		for _, id := range w.jobs {
			info, _ := s.Job(id)
			got := s.Groups(id)
			if over := info.State == schedule.Succeeded || info.State == schedule.Failed || info.State == schedule.Cancelled; over || info.Spec.Options.ReadOnly {
				if len(got) > 0 {
					t.Fatalf("a job that is over or takes no room has %v", got)
				}
				continue
			}
			var want []sluice.Group
			want = append(want, touched(groups[force], info.Spec.Targets)...)
			own := len(want)
			if info.Spec.Rules != force {
				want = append(want, touched(groups[info.Spec.Rules], info.Spec.Targets)...)
			}
			frozen := len(want)
			if m := info.Spec.Options.MaxParallel; m != nil {
				want = append(want, sluice.Group{Name: "max-parallel", Limit: *m, Members: info.Spec.Targets})
			}
			if len(got) != len(want) {
				t.Fatalf("%d groups, want %d: %v", len(got), len(want), got)
			}
			for i, g := range got {
				members, outs := 0, 0
				for _, h := range want[i].Members {
					if !retired[h] {
						members++
					}
					if out[h] {
						outs++
					}
				}
				if g.Name != want[i].Name || g.Limit != want[i].Limit || g.Frozen != (i >= own && i < frozen) || g.Members != members || g.Out != outs ||
					g.Capacity != g.Limit.Capacity(members) || len(g.Holders) != min(outs, schedule.MostHolders) {
					t.Fatalf("%+v, want %d members and %d out of %+v\n%s", g, members, outs, want[i], tell(w.log))
				}
				for k, h := range g.Holders {
					if !out[h.Host] || k > 0 && running[g.Holders[k-1].Host] && !running[h.Host] {
						t.Fatalf("holders %v", g.Holders)
					}
				}
				for _, n := range g.Targets {
					if !slices.Contains(want[i].Members, info.Spec.Targets[n]) {
						t.Fatalf("target %d is no member of %v", n, want[i].Members)
					}
				}
			}
			if again := restore(t, save(t, s)).Groups(id); !reflect.DeepEqual(again, got) {
				t.Fatalf("with a snapshot %v, without %v", again, got)
			}
		}
	})
}

// rulesIn are the groups of all rules in a log, by digest, and the digest of those in force.
func rulesIn(log []sluice.Event) (groups map[string][]sluice.Group, force string) {
	groups = map[string][]sluice.Group{}
	for _, e := range log {
		if b, ok := e.Body.(sluice.RulesApplied); ok {
			force = b.Rules.Digest
			groups[force] = nil
			for _, c := range b.Rules.Constraints {
				groups[force] = append(groups[force], c.Groups...)
			}
		}
	}
	return groups, force
}

// touched are the groups with a host among the targets.
func touched(groups []sluice.Group, targets []sluice.Host) (out []sluice.Group) {
	for _, g := range groups {
		for _, h := range g.Members {
			if slices.Contains(targets, h) {
				out = append(out, g)
				break
			}
		}
	}
	return out
}
