// Package validate decides whether a deploy that ended is validated, by which job, and what is said of a release by what that job
// came to: validated, not so, or not known and why.
//
// It is values in and values out: whoever drives the deploy appends that job in the very step that ends the deploy, so that it is
// there once, whatever is killed in between.
package validate

import (
	"crypto/sha256"
	"fmt"
	"maps"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
)

// Where finds the hosts on which a release is validated: those that its app names, or the first that the plan lets go. resolve is
// what an expression means in the fleet; gone says of hosts that they are retired.
func Where(v *sluice.Validate, f *sluice.Fleet, p sluice.Plan, resolve func(string) ([]sluice.Host, error), gone func(sluice.Host) bool) (*sluice.Validating, error) {
	hosts := first(p)
	if v.On != sluice.ValidateFirst {
		var err error
		if resolve == nil {
			return nil, sluice.Errorf(sluice.Config, "deploy.validate.on: %q cannot be found without a fleet", v.On)
		}
		if hosts, err = resolve(v.On); err != nil {
			return nil, &sluice.Error{Code: sluice.Config, Text: fmt.Sprintf("deploy.validate.on, %q, is not to be had in this fleet", v.On), Err: err,
				Hint: "on: names hosts of the fleet, in app.yaml"}
		}
	}
	out := &sluice.Validating{}
	for _, h := range hosts {
		if gone(h) {
			continue
		}
		out.Hosts = append(out.Hosts, h)
		if ssh, own := f.HostSSH[h]; own {
			if out.HostSSH == nil {
				out.HostSSH = map[sluice.Host]sluice.SSH{}
			}
			out.HostSSH[h] = ssh
		}
	}
	if len(out.Hosts) == 0 {
		return nil, sluice.Errorf(sluice.Config, "all hosts on which this release would be validated (%s) are retired", v.On).WithHint("deploy.validate.on in app.yaml names others")
	}
	return out, nil
}

func first(p sluice.Plan) []sluice.Host {
	for _, t := range p.Tracks {
		for _, st := range t.Stages {
			if len(st.Hosts) > 0 {
				return st.Hosts[:1]
			}
		}
	}
	return nil
}

// Due reports whether a job ended in a way after which what it deployed is validated, and if it did not, why. The reason is ""
// where nobody asked for it.
func Due(i schedule.Info) (due bool, why string) {
	switch {
	case i.Spec.Action.Validation() == nil:
		return false, ""
	case i.State != schedule.Succeeded:
		return false, told(i.State)
	case i.Counts[sluice.Succeeded] == 0:
		return false, "no host has it: all were skipped"
	}
	return true, ""
}

// told says of a deploy that it did not succeed.
func told(s schedule.JobState) string {
	switch s {
	case schedule.Failed:
		return "the deploy failed"
	case schedule.Cancelled, schedule.Halted:
		return "the deploy was " + string(s)
	}
	return "the deploy is not over"
}

// Make is the job that validates a deploy. Who resumed the deploy last took it over; "" is for nobody.
func Make(i schedule.Info, resumed string) *sluice.Job {
	v, on, rel := i.Spec.Action.Validation(), i.Spec.Action.Release.Validating, i.Spec.Action.Release
	j := *i.Spec
	j.ID = ID(i.Spec.ID, i.Generation)
	if resumed != "" && resumed != j.By {
		j.By, j.Token = resumed, ""
	}
	j.Command = "validate " + rel.App + "@" + rel.Version + " in " + rel.Env + ": " + v.Run
	j.Action = sluice.Action{Kind: sluice.RunCommand, Shell: v.Run, Validates: &sluice.Validated{Job: i.Spec.ID, App: rel.App, Env: rel.Env, Cluster: rel.Cluster,
		Version: rel.Version, OnFailure: v.OnFailure}}
	j.Targets, j.HostSSH, j.Expression = on.Hosts, maps.Clone(on.HostSSH), fleet.Fold(on.Hosts)
	// Nobody is waited for, and no order holds: it changes nothing. So it takes no room, and who fails it is not out of service.
	j.Tracks = []sluice.Track{{Name: sluice.Unconstrained, Stages: []sluice.Stage{{Name: sluice.Unconstrained, Hosts: on.Hosts}}}}
	j.Options.ReadOnly, j.Options.Timeout = true, v.Timeout
	j.Options.MaxFailures, j.Options.MaxParallel, j.Options.JobTimeout, j.Options.Supersede = nil, nil, 0, false
	return &j
}

// RollsBack reports whether the deploy is to be taken back by what the job came to that validates it: only where its app says so, and
// where the command itself ended badly. That a host could not be asked says nothing of the release.
func RollsBack(i schedule.Info, r *Record) bool {
	v := i.Spec.Action.Validates
	return v != nil && v.OnFailure == sluice.FailureRollsBack && i.State == schedule.Failed && r.bad() != ""
}

// ID is the id of the job that validates another one, which ended in this generation. It is made of the two alone.
func ID(of sluice.JobID, generation int) sluice.JobID {
	sum := sha256.Sum256(fmt.Appendf(nil, "sluice validation 1\x00%s\x00%d", of, generation))
	id := make([]byte, sluice.JobIDLength)
	for i := range id {
		id[i] = sluice.JobIDAlphabet[int(sum[i])%len(sluice.JobIDAlphabet)]
	}
	return sluice.JobID(id)
}
