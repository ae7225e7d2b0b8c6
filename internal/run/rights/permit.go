package rights

import (
	"context"
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

	mu   sync.Mutex
	jobs map[sluice.JobID]*holder
}

// holder is who a job is carried out for, as far as its namespace's log was read.
type holder struct {
	mu  sync.Mutex
	seq uint64
	by  access.Bearer
}

// May returns nil where something of the job may start, and else an error with the code Denied that says why not. Any
// other error says that it is not known: then nothing may start now.
func (p *Permit) May(ctx context.Context, j *sluice.Job) error {
	by, err := p.holder(ctx, j)
	if err != nil {
		return err
	}
	members, err := p.Members(ctx, j.Namespace)
	if err != nil {
		return err
	}
	return p.Keeper.MaySubmit(ctx, by, j.Namespace, j.Targets, members)
}

// Forget is for jobs that nobody carries out any more.
func (p *Permit) Forget(id sluice.JobID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.jobs, id)
}

func (p *Permit) holder(ctx context.Context, j *sluice.Job) (access.Bearer, error) {
	p.mu.Lock()
	if p.jobs == nil {
		p.jobs = map[sluice.JobID]*holder{}
	}
	h := p.jobs[j.ID]
	if h == nil {
		h = &holder{by: access.Bearer{Principal: sluice.Principal(j.By), Token: j.Token}}
		p.jobs[j.ID] = h
	}
	p.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seq == 0 {
		events, err := p.Log.ReadJob(ctx, j.Namespace, j.ID)
		if err != nil {
			return access.Bearer{}, err
		}
		h.take(j.ID, events)
	}
	for {
		events, err := p.Log.Read(ctx, j.Namespace, h.seq, page)
		if err != nil {
			return access.Bearer{}, err
		}
		h.take(j.ID, events)
		if len(events) < page {
			return h.by, nil
		}
	}
}

func (h *holder) take(id sluice.JobID, events []sluice.Event) {
	for _, e := range events {
		h.seq = e.Seq
		if b, is := e.Body.(sluice.JobResumed); is && e.Job == id {
			h.by = access.As(sluice.Principal(b.By))
		}
	}
}
