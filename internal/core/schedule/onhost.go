package schedule

import (
	"slices"
	"time"

	"sluice"
)

// OnHost is what one host stands for at this moment.
type OnHost struct {
	// Out says why it is out of service or retired; nil: it is in service, and nothing runs on it.
	Out *HostInfo
	// Groups are those of the rules in force that the host is in.
	Groups []GroupInfo
}

// Host returns what a host stands for; ok is false for one that the log has never named.
func (s *State) Host(name sluice.Host) (o OnHost, ok bool) {
	i, ok := s.index[name]
	if !ok {
		return o, false
	}
	if info, out := s.outInfo(i); out {
		o.Out = &info
	}
	for _, g := range s.force.groupsOf(i) {
		of := s.force.groups[g]
		o.Groups = append(o.Groups, s.groupInfo(of, of.hosts, nil))
	}
	return o, true
}

// Visit is a job that a host is a target of.
type Visit struct {
	Job       sluice.JobID
	Command   string
	By        string
	Submitted time.Time
	ReadOnly  bool
	State     JobState
	Task
}

// Visits lists the jobs that a host is a target of, newest first, at most so many: those that were submitted before a job,
// or all for "". ok is false where there is no such job. It looks at every job before, but only at where its targets stand.
func (s *State) Visits(name sluice.Host, before sluice.JobID, most int) (out []Visit, ok bool) {
	from := len(s.jobs)
	if before != "" {
		j := s.byID[before]
		if j == nil {
			return nil, false
		}
		from = j.number
	}
	i, known := s.index[name]
	if !known {
		return nil, true
	}
	for _, j := range slices.Backward(s.jobs[:from]) {
		if len(out) == most {
			break
		}
		t, is := s.visited(j, i)
		if !is {
			continue
		}
		t.Host = name
		info := j.info()
		if j.packed != nil {
			spec := s.packedSpec(j)
			info.Spec = &spec
		}
		out = append(out, Visit{j.name, info.Spec.Command, info.Spec.By, j.submitted, info.Spec.Options.ReadOnly, info.State, t})
	}
	return out, true
}

// visited is the task of a job on a host. A packed job stays packed.
func (s *State) visited(j *job, host int32) (Task, bool) {
	if j.packed == nil {
		t := j.byHost[host]
		if t == nil {
			return Task{}, false
		}
		return t.info(s), true
	}
	target, at := -1, 0
	r := reader{s: j.packed.body}
	r.spans(len(s.hosts), len(s.hosts), func(h int32) {
		if h == host {
			target = at
		}
		at++
	})
	if target < 0 {
		return Task{}, false
	}
	var d details
	if !s.readDetails(&d, j) {
		return Task{}, false
	}
	res := d.results[target]
	return Task{Outcome: res.outcome, Running: res.phase == running, Pending: res.phase == pending, Try: int(res.try), Target: target}, true
}
