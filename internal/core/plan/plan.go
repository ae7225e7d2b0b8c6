// Package plan turns a fleet and a set of targets into a plan: which hosts go in which stage of which track, and
// which constraints they are under. It decides nothing about time: that is the schedule's part.
package plan

import (
	"fmt"

	"sluice"
)

// Make plans a job on the targets, which must be hosts of the fleet. They are brought into fleet order and
// repeated ones are dropped.
//
// Every sequence with a target in it becomes a track; entries without a target are left out. A host in two
// entries of a sequence belongs to the first. Hosts that no sequence names are in the track "unconstrained". Where the
// fleet wants an approval before the start, every track begins with a stage without hosts, and its gate.
// Errors have the code Config (sequences that wait for each other) or Usage (no targets, unknown host).
func Make(f *sluice.Fleet, targets []sluice.Host) (sluice.Plan, []sluice.Host, error) {
	if len(targets) == 0 {
		return sluice.Plan{}, nil, sluice.Errorf(sluice.Usage, "no hosts are meant")
	}
	isTarget, err := marks(f, targets)
	if err != nil {
		return sluice.Plan{}, nil, err
	}
	ordered := make([]sluice.Host, 0, len(targets))
	for _, h := range f.Hosts {
		if isTarget[h] {
			ordered = append(ordered, h)
		}
	}
	p := sluice.Plan{Constraints: constraints(f, isTarget)}
	named := make(map[sluice.Host]bool, len(ordered))
	var from []sluice.Sequence
	for _, seq := range f.Sequences {
		if t := track(seq, isTarget, named); len(t.Stages) > 0 {
			p.Tracks = append(p.Tracks, t)
			from = append(from, seq)
		}
	}
	if err := refuseCycles(p.Tracks, from); err != nil {
		return sluice.Plan{}, nil, err
	}
	rest := make([]sluice.Host, 0, len(ordered)-len(named))
	for _, h := range ordered {
		if !named[h] {
			rest = append(rest, h)
		}
	}
	if len(rest) > 0 {
		p.Tracks = append(p.Tracks, sluice.Track{Name: sluice.Unconstrained,
			Stages: []sluice.Stage{{Name: sluice.Unconstrained, Hosts: rest}}})
	}
	if f.Approval.Start {
		for i := range p.Tracks {
			p.Tracks[i].Stages = afterApproval(p.Tracks[i].Stages)
		}
	}
	return p, ordered, nil
}

// afterApproval puts a gate before the stages of a track. A gate stands behind a stage, so it takes one without hosts.
// Commands that are said to change nothing wait, too: nobody can know that they do not.
func afterApproval(stages []sluice.Stage) []sluice.Stage {
	out := []sluice.Stage{{Name: sluice.BeforeStart, Gate: sluice.Gate{Approve: true}}}
	for _, st := range stages {
		st.Entry++
		out = append(out, st)
	}
	return out
}

func marks(f *sluice.Fleet, targets []sluice.Host) (map[sluice.Host]bool, error) {
	known := make(map[sluice.Host]bool, len(f.Hosts))
	for _, h := range f.Hosts {
		known[h] = true
	}
	isTarget := make(map[sluice.Host]bool, len(targets))
	for _, h := range targets {
		if !known[h] {
			return nil, sluice.Errorf(sluice.Usage, "the fleet has no host %q", h)
		}
		isTarget[h] = true
	}
	return isTarget, nil
}

// track makes the stages of a sequence and marks the hosts that it names.
func track(seq sluice.Sequence, isTarget, named map[sluice.Host]bool) sluice.Track {
	t := sluice.Track{Name: seq.Name}
	seen := make(map[sluice.Host]bool)
	number := 0
	for _, e := range seq.Entries {
		var hosts []sluice.Host
		for _, h := range e.Hosts {
			if isTarget[h] && !seen[h] {
				seen[h], named[h] = true, true
				hosts = append(hosts, h)
			}
		}
		if len(hosts) == 0 {
			continue
		}
		t.Stages = append(t.Stages, stages(e, number, hosts)...)
		number++
	}
	return t
}

// stages cuts the hosts of an entry along its ramp. Pause and approval stand on the last of them.
func stages(e sluice.Entry, number int, hosts []sluice.Host) []sluice.Stage {
	var out []sluice.Stage
	limit := e.Gate.MaxFailures.Floor(len(hosts))
	done := 0
	for _, step := range e.Gate.Ramp {
		end := min(step.Capacity(len(hosts)), len(hosts))
		if end <= done {
			continue
		}
		out = append(out, sluice.Stage{Name: fmt.Sprintf("%s [%s]", e.Name, step), Entry: number,
			Hosts: hosts[done:end], MaxFailures: limit})
		done = end
	}
	if done < len(hosts) { // no ramp, or one that ends before all of them
		name := e.Name
		if done > 0 {
			name += " [rest]"
		}
		out = append(out, sluice.Stage{Name: name, Entry: number, Hosts: hosts[done:], MaxFailures: limit})
	}
	out[len(out)-1].Gate = e.Gate
	return out
}

// constraints keeps the groups with a target in them.
func constraints(f *sluice.Fleet, isTarget map[sluice.Host]bool) []sluice.Constraint {
	var out []sluice.Constraint
	for _, c := range f.Constraints {
		kept := sluice.Constraint{Name: c.Name, At: c.At}
		for _, g := range c.Groups {
			for _, h := range g.Members {
				if isTarget[h] {
					kept.Groups = append(kept.Groups, g)
					break
				}
			}
		}
		if len(kept.Groups) > 0 {
			out = append(out, kept)
		}
	}
	return out
}
