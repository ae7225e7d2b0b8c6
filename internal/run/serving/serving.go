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
	RoomTime   = 10 * time.Minute // for others to come back, so that a pool keeps its least
	BackTime   = 2 * time.Minute  // for a balancer to find a server up
	DrainLimit = 30 * time.Second // for requests in flight, where nothing is said
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
	return &host{s, h, link, job.SSHFor(h), job.Action.Release.Deploy}, nil
}

type host struct {
	s      *Serving
	name   sluice.Host
	link   sluice.Link
	ssh    sluice.SSH // how it is reached
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
		balancer, link, err := h.s.open(ctx, b)
		if err != nil {
			closing()
			return nil, nil, err
		}
		links = append(links, link)
		out = append(out, drain.Seat{Balancer: balancer, Name: name(b), Key: place(b), Pool: b.Pool, Server: h.server(b),
			Least: b.Least, Limit: cmp.Or(h.deploy.Waits.Drain, DrainLimit)})
	}
	return out, closing, nil
}

// open reaches a balancer, by a link that the caller gives back.
func (s *Serving) open(ctx context.Context, b sluice.Balancing) (sluice.Balancer, sluice.Link, error) {
	var link sluice.Link
	var err error
	switch {
	case b.On != "":
		link, err = s.Connect(ctx, b.On, b.SSH)
	case s.Here != nil:
		link, err = s.Here(ctx)
	default:
		err = sluice.Errorf(sluice.Denied, "this worker reaches no balancer on its own machine").WithHint("on: HOST says where the balancer is")
	}
	if err != nil {
		return nil, nil, &sluice.Error{Code: sluice.CodeOf(err), Text: "the balancer " + name(b), Err: err}
	}
	balancer, err := s.Balancer(b, link)
	if err != nil {
		return nil, nil, errors.Join(err, link.Close())
	}
	return balancer, link, nil
}

// server is what the host is called in a balancer.
func (h *host) server(b sluice.Balancing) string {
	address := cmp.Or(h.ssh.Address, string(h.name))
	return strings.NewReplacer("{host}", string(h.name), "{address}", address).Replace(cmp.Or(b.Server, string(h.name)))
}

// name is what a balancer is called for people: as the fleet does, or by where it is.
func name(b sluice.Balancing) string { return cmp.Or(b.Name, place(b)) }

// place is where a balancer is: the same one has the same place, whichever job speaks of it.
func place(b sluice.Balancing) string {
	if b.On == "" {
		return b.Driver + " " + b.At
	}
	return b.Driver + " " + b.At + " on " + string(b.On)
}

var times = drain.Times{Room: RoomTime, Back: BackTime}

// Drain takes the host out of all its balancers, as soon as each of its pools can do without it, and waits for what is in flight.
func (h *host) Drain(ctx context.Context, tell func(sluice.BalancerChanged)) (string, error) {
	seats, closing, err := h.seats(ctx)
	if err != nil || len(seats) == 0 {
		return "", err
	}
	defer closing()
	done, err := h.s.Desk.Drain(ctx, seats, sluice.ServerDraining, times, changes(tell))
	return told(done), err
}

// Return puts the host back into all its balancers, and waits until each shows it up.
func (h *host) Return(ctx context.Context, tell func(sluice.BalancerChanged)) (string, error) {
	seats, closing, err := h.seats(ctx)
	if err != nil || len(seats) == 0 {
		return "", err
	}
	defer closing()
	done, err := h.s.Desk.Return(ctx, seats, times, changes(tell))
	return told(done), err
}

// changes hands on what is for the record.
func changes(tell func(sluice.BalancerChanged)) func(drain.Note) {
	return func(n drain.Note) {
		if n.Changed != nil && tell != nil {
			tell(*n.Changed)
		}
	}
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
