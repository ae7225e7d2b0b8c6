package plan

import (
	"fmt"
	"slices"

	"sluice"
)

// After puts one host behind all others, alone: it runs what a release runs once when they are done. It is the last of the targets that
// on names, after which the sequences let nobody go, and that is not first, the host of [Once]; "" where there is none. Every track ends
// with a stage of it. A single target is both, and stays where it is. It says why where no host will do.
func After(p sluice.Plan, targets []sluice.Host, f *sluice.Fleet, on string, first sluice.Host) (sluice.Plan, sluice.Host, error) {
	if len(targets) == 1 && first != "" && (on == sluice.AfterLast || names(f, on, first)) {
		return p, first, nil
	}
	meant, why := false, ""
	for _, h := range slices.Backward(targets) {
		if on != sluice.AfterLast && !names(f, on, h) {
			continue
		}
		meant = true
		early := inFront(p, h)
		if h == first {
			early = fmt.Sprintf("%s runs what it runs once before all others", h)
		}
		if early == "" {
			return last(p, h), h, nil
		}
		if why == "" {
			why = early
		}
	}
	if !meant {
		return p, "", sluice.Errorf(sluice.Usage, "what this release runs after all other hosts runs on %s, and that is none of the hosts that are meant", on).
			WithHint("name it, too; or the app says with deploy.after: %s that any will do", sluice.AfterLast)
	}
	return p, "", sluice.Errorf(sluice.Config, "what this release runs after all other hosts runs on %s, and it cannot be the last: %s", on, why).
		WithHint("deploy.after in app.yaml names another host, or %s", sluice.AfterLast)
}

// inFront says what the sequences put after a host, "" for nothing. The steps of a ramp are no order that anybody asked for.
func inFront(p sluice.Plan, h sluice.Host) string {
	for _, t := range p.Tracks {
		for k, st := range t.Stages {
			if !slices.Contains(st.Hosts, h) {
				continue
			}
			for _, b := range t.Stages[k+1:] {
				if b.Entry != st.Entry && len(b.Hosts) > 0 {
					return fmt.Sprintf("the fleet has %s of %s after %s", b.Name, t.Name, h)
				}
			}
		}
	}
	return ""
}

// last puts a host behind the others of every track. Gates stay, but for that of an entry of which no host is left: it stood behind the
// host.
func last(p sluice.Plan, h sluice.Host) sluice.Plan {
	tracks := make([]sluice.Track, len(p.Tracks))
	for i, t := range p.Tracks {
		left := map[int]bool{} // entries with other hosts, or that had this one not
		for _, st := range t.Stages {
			if !slices.Equal(st.Hosts, []sluice.Host{h}) {
				left[st.Entry] = true
			}
		}
		var out []sluice.Stage
		for _, st := range t.Stages {
			st.Hosts = slices.DeleteFunc(slices.Clone(st.Hosts), func(x sluice.Host) bool { return x == h })
			if len(st.Hosts) > 0 || left[st.Entry] && (st.Gate.Pause > 0 || st.Gate.Approve) {
				out = append(out, st)
			}
		}
		entry := 0
		if len(out) > 0 {
			entry = out[len(out)-1].Entry + 1
		}
		tracks[i] = sluice.Track{Name: t.Name, Stages: append(out, sluice.Stage{Name: sluice.AfterStage, Entry: entry, Hosts: []sluice.Host{h}})}
	}
	p.Tracks = tracks
	return p
}
