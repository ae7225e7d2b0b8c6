package plan

import (
	"fmt"
	"slices"
	"strings"

	"sluice"
)

// Once puts one host before all others, alone: it runs what a release runs once. It is the first of the targets that on
// names and that the sequences let go first. Every track begins with a stage of it, so nobody else starts before it has succeeded, and
// what else the plan says of the others stays as it is. It says why where no host will do.
func Once(p sluice.Plan, targets []sluice.Host, f *sluice.Fleet, on string) (sluice.Plan, sluice.Host, error) {
	meant, why := false, ""
	for _, h := range targets {
		if on != sluice.OnceFirst && !names(f, on, h) {
			continue
		}
		meant = true
		late := behind(p, h)
		if late == "" {
			return ahead(p, h), h, nil
		}
		if why == "" {
			why = late
		}
	}
	if !meant {
		return p, "", sluice.Errorf(sluice.Usage, "what this release runs once runs on %s, and that is none of the hosts that are meant", on).
			WithHint("name it, too; or the app says with deploy.once: %s that any will do", sluice.OnceFirst)
	}
	return p, "", sluice.Errorf(sluice.Config, "what this release runs once runs on %s before any other host changes, and there the fleet lets others go first: %s", on, why).
		WithHint("deploy.once in app.yaml names another host, or %s", sluice.OnceFirst)
}

// names reports whether a tag behind "$", or a host, is or has the host.
func names(f *sluice.Fleet, on string, h sluice.Host) bool {
	if tag, is := strings.CutPrefix(on, "$"); is {
		return slices.Contains(f.Tags[sluice.Tag(tag)], h)
	}
	return on == string(h)
}

// behind says what the sequences put before a host, "" for nothing. The steps of a ramp are no order that anybody asked for.
func behind(p sluice.Plan, h sluice.Host) string {
	for _, t := range p.Tracks {
		for k, st := range t.Stages {
			if !slices.Contains(st.Hosts, h) {
				continue
			}
			for _, b := range t.Stages[:k] {
				if b.Entry != st.Entry && len(b.Hosts) > 0 {
					return fmt.Sprintf("%s of %s before %s", b.Name, t.Name, h)
				}
			}
		}
	}
	return ""
}

// ahead puts a host before the others of every track, behind an approval before the start. Where nothing is left of a stage, its gate
// stays.
func ahead(p sluice.Plan, h sluice.Host) sluice.Plan {
	tracks := make([]sluice.Track, len(p.Tracks))
	for i, t := range p.Tracks {
		var out []sluice.Stage
		stages := t.Stages
		if len(stages) > 0 && stages[0].Name == sluice.BeforeStart && len(stages[0].Hosts) == 0 {
			out, stages = append(out, stages[0]), stages[1:]
		}
		out = append(out, sluice.Stage{Name: sluice.OnceStage, Entry: len(out), Hosts: []sluice.Host{h}})
		for _, st := range stages {
			st.Entry++
			st.Hosts = slices.DeleteFunc(slices.Clone(st.Hosts), func(x sluice.Host) bool { return x == h })
			if len(st.Hosts) > 0 || st.Gate.Pause > 0 || st.Gate.Approve {
				out = append(out, st)
			}
		}
		tracks[i] = sluice.Track{Name: t.Name, Stages: out}
	}
	p.Tracks = tracks
	return p
}
