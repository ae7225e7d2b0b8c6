// Package serving takes a host out of service for a change and brings it back: out of its balancers, and back into them when it
// is known to be well. It looks at the host as the release says, from the host itself.
package serving

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/run/drain"
	"sluice/internal/run/health"
	"sluice/internal/run/work"
)

// Serving answers for all jobs of a worker. It is safe for concurrent use.
type Serving struct {
	// Connect reaches the host of a balancer.
	Connect func(ctx context.Context, h sluice.Host, s sluice.SSH) (sluice.Link, error)
	// Here reaches balancers on this machine; nil: none are reached there.
	Here func(ctx context.Context) (sluice.Link, error)
	// Balancer is the one that is meant, behind a link to where it is.
	Balancer func(b sluice.Balancing, link sluice.Link) (sluice.Balancer, error)
	// Desk keeps several drains of this process from taking more out of a pool than may be.
	Desk *drain.Desk
}

// Bounds of waiting, beside those that a release names.
const (
	roomTime   = 10 * time.Minute // for others to come back, so that a pool keeps its least
	backTime   = 2 * time.Minute  // for a balancer to find a server up
	drainLimit = 30 * time.Second // for requests in flight, where nothing is said
)

// Asked reports whether a job's release asks for anything of this.
func Asked(job *sluice.Job) bool {
	r := job.Action.Release
	return r != nil && len(r.Deploy.Checks)+len(r.Deploy.Balancers) > 0
}

// Of is what a job's release asks for on a host; nil where it asks for nothing.
func (s *Serving) Of(_ context.Context, job *sluice.Job, h sluice.Host, link sluice.Link) (work.Service, error) {
	if !Asked(job) {
		return nil, nil
	}
	return &host{s, h, link, job.Action.Release.Deploy}, nil
}

type host struct {
	s      *Serving
	name   sluice.Host
	link   sluice.Link
	deploy sluice.Deploy
}

// seats are the host's places in its balancers, each behind a link of its own. close gives the links back.
func (h *host) seats(ctx context.Context) (out []drain.Seat, closing func(), err error) {
	var links []sluice.Link
	closing = func() {
		for _, l := range links {
			_ = l.Close()
		}
	}
	for _, b := range h.deploy.Balancers {
		var link sluice.Link
		switch {
		case b.On != "":
			link, err = h.s.Connect(ctx, b.On, b.SSH)
		case h.s.Here != nil:
			link, err = h.s.Here(ctx)
		default:
			err = sluice.Errorf(sluice.Denied, "this worker reaches no balancer on its own machine").WithHint("on: HOST in app.yaml says where the balancer is")
		}
		if err != nil {
			closing()
			return nil, nil, &sluice.Error{Code: sluice.CodeOf(err), Text: "the balancer " + name(b), Err: err}
		}
		links = append(links, link)
		balancer, err := h.s.Balancer(b, link)
		if err != nil {
			closing()
			return nil, nil, err
		}
		out = append(out, drain.Seat{Balancer: balancer, Name: name(b), Pool: b.Pool, Server: cmp.Or(b.Server, string(h.name)),
			Least: b.Least, Limit: cmp.Or(h.deploy.Waits.Drain, drainLimit)})
	}
	return out, closing, nil
}

// name is what a balancer is called: the same one has the same name, whichever job speaks of it.
func name(b sluice.Balancing) string {
	if b.On == "" {
		return b.Driver + " " + b.At
	}
	return b.Driver + " " + b.At + " on " + string(b.On)
}

var times = drain.Times{Room: roomTime, Back: backTime}

// Drain takes the host out of all its balancers, as soon as each of its pools can do without it, and waits for what is in flight.
func (h *host) Drain(ctx context.Context) (string, error) {
	seats, closing, err := h.seats(ctx)
	if err != nil || len(seats) == 0 {
		return "", err
	}
	defer closing()
	done, err := h.s.Desk.Drain(ctx, seats, sluice.ServerDraining, times, nil)
	return told(done), err
}

// Return puts the host back into all its balancers, and waits until each shows it up.
func (h *host) Return(ctx context.Context) (string, error) {
	seats, closing, err := h.seats(ctx)
	if err != nil || len(seats) == 0 {
		return "", err
	}
	defer closing()
	done, err := h.s.Desk.Return(ctx, seats, times, nil)
	return told(done), err
}

func told(done []drain.Result) string {
	var all []string
	for _, r := range done {
		all = append(all, r.Balancer+": "+r.Text())
	}
	return strings.Join(all, "; ")
}

// Healthy waits until all checks are well as often in a row, and as long, as the release says. What nobody could see is no success.
func (h *host) Healthy(ctx context.Context) (string, error) {
	if len(h.deploy.Checks) == 0 {
		return "", nil
	}
	v, err := health.Watch(ctx, h.link, plan(h.deploy), nil)
	switch {
	case err != nil:
		return "", err
	case v.State != balance.Healthy:
		return "", errors.New(v.Text())
	}
	return v.Text(), nil
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
