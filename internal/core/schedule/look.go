package schedule

import (
	"fmt"
	"slices"

	"sluice"
)

// outdated says why a job that nothing was started of is not what was meant any more; "" while it is. It is asked when the job has its
// lock: until then others may change what it was made from.
func (s *State) outdated(j *job) string {
	if j.look == nil || j.touched > 0 {
		return ""
	}
	return s.Outdated(j.spec.Action.Release, *j.look)
}

// Outdated says what has changed an app in an environment since somebody looked; "" for nothing. What a job may have done counts, too.
func (s *State) Outdated(r *sluice.Release, l sluice.Look) string {
	if r == nil {
		return ""
	}
	for _, o := range slices.Backward(s.jobs) {
		if o.touched <= l.Until || slices.Contains(l.Own, o.name) {
			continue
		}
		of := s.base(o)
		if rel := of.Action.Release; rel != nil && rel.App == r.App && rel.Env == r.Env {
			why := fmt.Sprintf("job %s of %s has changed %s in %s since that was looked at", o.name, of.By, r.App, r.Env)
			if l.Again != "" {
				why += "; again: " + l.Again
			}
			return why
		}
	}
	return ""
}
