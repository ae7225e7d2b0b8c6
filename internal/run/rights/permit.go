package rights

import (
	"context"
	"maps"
	"slices"
	"sync"

	"sluice"
	"sluice/internal/core/access"
)

// Permit says, before each start of a job, whether who it is carried out for may still submit it. Whoever resumes a job
// takes it over: from then on their right counts.
type Permit struct {
	Keeper *Keeper
	Log    sluice.Log
	// Members are the hosts of a tag in a namespace, as its fleet says now.
	Members func(ctx context.Context, ns sluice.Namespace) (func(sluice.Tag) []sluice.Host, error)

	mu     sync.Mutex
	spaces map[sluice.Namespace]*holders
}

// holders are who the jobs of a namespace are carried out for, as far as its log was read: each event is looked at once for
// all of them. Who has the turn may use them.
type holders struct {
	turn chan struct{}
	seq  uint64
	jobs map[sluice.JobID]access.Bearer
}

// May returns nil where something of the job may start, and else an error with the code Denied that says why not. Any
// other error says that it is not known: then nothing may start now.
func (p *Permit) May(ctx context.Context, j *sluice.Job) error {
	by, err := p.holder(ctx, j)
	if err != nil {
		return err
	}
	return p.may(ctx, j, by)
}

// MayBy is May for somebody who would take the job over, by resuming it; "" is for whoever it is carried out for.
func (p *Permit) MayBy(ctx context.Context, j *sluice.Job, by string) error {
	if by == "" {
		return p.May(ctx, j)
	}
	return p.may(ctx, j, access.As(sluice.Principal(by)))
}

func (p *Permit) may(ctx context.Context, j *sluice.Job, by access.Bearer) error {
	members, err := p.Members(ctx, j.Namespace)
	if err != nil {
		return err
	}
	return p.Keeper.MaySubmit(ctx, by, j.Namespace, touched(j), members)
}

// touched are the hosts on which something is done for a job: its targets, those of the balancers that they leave, and those on which
// a release is validated.
func touched(j *sluice.Job) []sluice.Host {
	hosts := j.Targets
	if r := j.Action.Release; r != nil {
		hosts = slices.Clip(hosts)
		for _, b := range r.Deploy.Balancers {
			if b.On != "" && !slices.Contains(hosts, b.On) {
				hosts = append(hosts, b.On)
			}
		}
		if r.Validating != nil {
			for _, h := range r.Validating.Hosts {
				if !slices.Contains(hosts, h) {
					hosts = append(hosts, h)
				}
			}
		}
	}
	return hosts
}

// Forget is for jobs that nobody carries out any more.
func (p *Permit) Forget(id sluice.JobID) {
	for _, h := range p.all() {
		h.turn <- struct{}{} // whoever has it reads a little
		delete(h.jobs, id)
		<-h.turn
	}
}

func (p *Permit) all() []*holders {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.spaces))
}

func (p *Permit) space(ns sluice.Namespace) *holders {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spaces == nil {
		p.spaces = map[sluice.Namespace]*holders{}
	}
	h := p.spaces[ns]
	if h == nil {
		h = &holders{turn: make(chan struct{}, 1), jobs: map[sluice.JobID]access.Bearer{}}
		p.spaces[ns] = h
	}
	return h
}

// holder is who a job is carried out for, as the log says at its head.
func (p *Permit) holder(ctx context.Context, j *sluice.Job) (access.Bearer, error) {
	h := p.space(j.Namespace)
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return access.Bearer{}, ctx.Err()
	}
	if _, known := h.jobs[j.ID]; !known {
		if err := p.begin(ctx, h, j); err != nil {
			return access.Bearer{}, err
		}
	}
	for {
		events, err := p.Log.Read(ctx, j.Namespace, h.seq, page)
		if err != nil {
			return access.Bearer{}, err
		}
		h.take(events)
		if len(events) < page {
			return h.jobs[j.ID], nil
		}
	}
}

// begin reads a job's own events. Some of them come again with those of the others, and mean the same then.
func (p *Permit) begin(ctx context.Context, h *holders, j *sluice.Job) error {
	events, err := p.Log.ReadJob(ctx, j.Namespace, j.ID)
	if err != nil {
		return err
	}
	seq, alone := h.seq, len(h.jobs) == 0
	h.jobs[j.ID] = access.Bearer{Principal: sluice.Principal(j.By), Token: j.Token}
	h.take(events)
	if !alone {
		h.seq = seq // the others have not seen what is between
	}
	return nil
}

func (h *holders) take(events []sluice.Event) {
	for _, e := range events {
		h.seq = e.Seq
		b, is := e.Body.(sluice.JobResumed)
		if !is {
			continue
		}
		if _, ours := h.jobs[e.Job]; ours {
			h.jobs[e.Job] = access.As(sluice.Principal(b.By))
		}
	}
}
