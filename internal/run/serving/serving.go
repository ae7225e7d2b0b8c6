// Package serving decides when a host that was changed serves again: it looks at it as the release says, from the host itself,
// until it is known to be well.
//
// Taking hosts out of balancers and putting them back is not here yet: see package drain.
package serving

import (
	"context"
	"errors"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/run/health"
	"sluice/internal/run/work"
)

// Asked reports whether a job's release asks for anything of this.
func Asked(job *sluice.Job) bool {
	return job.Action.Release != nil && len(job.Action.Release.Deploy.Checks) > 0
}

// Of is what a job's release asks for on a host; nil where it asks for nothing.
func Of(_ context.Context, job *sluice.Job, _ sluice.Host, link sluice.Link) (work.Service, error) {
	if !Asked(job) {
		return nil, nil
	}
	return host{link, job.Action.Release.Deploy}, nil
}

type host struct {
	link   sluice.Link
	deploy sluice.Deploy
}

// Drain and Return have nothing to do without a balancer.
func (host) Drain(context.Context) error  { return nil }
func (host) Return(context.Context) error { return nil }

// Healthy waits until all checks are well as often in a row, and as long, as the release says. What nobody could see is no success.
func (h host) Healthy(ctx context.Context) error {
	v, err := health.Watch(ctx, h.link, plan(h.deploy), nil)
	switch {
	case err != nil:
		return err
	case v.State != balance.Healthy:
		return errors.New(v.Text())
	}
	return nil
}

// plan is how a host is looked at: as often as the check that is to be asked most often, and as many times in a row as the one that
// takes most.
func plan(d sluice.Deploy) health.Plan {
	p := health.Plan{Rule: balance.Rule{For: d.Waits.Steady, Deadline: d.Waits.Healthy}}
	for _, c := range d.Checks {
		p.Looks = append(p.Looks, look(c))
		p.Rule.Passes = max(p.Rule.Passes, c.Successes)
		if c.Every > 0 && (p.Every == 0 || c.Every < p.Every) {
			p.Every = c.Every
		}
		p.Limit = max(p.Limit, c.Timeout)
	}
	return p
}

// statuses are those that count as well: the one that is named, or else all that are no errors.
func statuses(named int) (all []int) {
	if named != 0 {
		return []int{named}
	}
	for s := 200; s < 400; s++ {
		all = append(all, s)
	}
	return all
}

func look(c sluice.HealthCheck) health.Look {
	switch c.Kind {
	case "http":
		return health.HTTP(c.At, balance.Answer{Status: statuses(c.Status)})
	case "tcp":
		return health.TCP("tcp", c.At)
	case "systemd":
		return health.Systemd(c.At)
	case "exec":
		return health.Exec("sh", "-c", c.At)
	}
	return func(context.Context, sluice.Link) (balance.Finding, string) {
		return balance.Unseen, "this version knows no check " + c.Kind
	}
}
