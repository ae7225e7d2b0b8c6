package pool

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/run/work"
	"sluice/sealed"
)

// Custody is told what became of secrets that a worker elsewhere was given. Its methods must neither block nor call the
// pool.
type Custody interface {
	// Lost says that a worker does not have the secrets of a job. spent: it is not to be given them again.
	Lost(id sluice.JobID, e sealed.Envelope, why string, spent bool)
	// Refused says that hosts have refused them so often that they are not tried any more.
	Refused(id sluice.JobID, e sealed.Envelope)
	// Approvals are those of a job that were signed. They must not be changed.
	Approvals(id sluice.JobID) [][]byte
}

// vault is the sealed secrets of one job, which one worker elsewhere has or is about to get. No other gets them: how often
// a password may still be tried is known there alone.
type vault struct {
	spec   *sluice.Job
	worker sluice.WorkerName
	sealed sealed.Envelope
	digest [sha256.Size]byte
	open   bool      // the worker has said that it has them
	away   time.Time // since when the worker has no lease; zero: it has one
}

func (v *vault) patience() time.Duration {
	if d := v.spec.Options.Reconnect; d > 0 {
		return d
	}
	return sluice.DefaultReconnect
}

// Own reports whether the worker inside the server reaches all hosts of a job: then it alone carries out a job with secrets.
func (p *Pool) Own(j *sluice.Job) bool {
	return p.cfg.Embedded > 0 && !slices.ContainsFunc(j.Targets, func(h sluice.Host) bool { return !p.owns(j, h) })
}

func (p *Pool) owns(j *sluice.Job, h sluice.Host) bool {
	return p.cfg.Embedded > 0 && slices.Contains(p.cfg.Pools, j.SSHFor(h).Pool.OrDefault())
}

// Entrust has the sealed secrets of a job given to the worker that they are sealed to, in place of what there was. What it
// says to that, and what becomes of them, [Custody] is told.
func (p *Pool) Entrust(j *sluice.Job, worker sluice.WorkerName, e sealed.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.vaults[j.ID]; v != nil {
		if v.worker == worker && bytes.Equal(v.sealed, e) {
			return
		}
		if v.worker != worker {
			p.wipe(v)
		}
	}
	v := &vault{spec: j, worker: worker, sealed: e, digest: sha256.Sum256(e)}
	p.vaults[j.ID] = v
	if !p.crew.Live(worker) {
		v.away = p.now()
	}
	p.hand(v)
	p.reserveAll(j.ID)
}

// Release has the secrets of a job wiped where they are.
func (p *Pool) Release(id sluice.JobID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.vaults[id]; v != nil {
		delete(p.vaults, id)
		p.wipe(v)
		p.reserveAll(id)
	}
}

// Holder is the worker that the secrets of a job are with, or are on their way to; "" is none. busy: it has attempts of the
// job.
func (p *Pool) Holder(id sluice.JobID) (name sluice.WorkerName, busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.vaults[id]
	if v == nil {
		return "", false
	}
	return v.worker, p.crew.Busy(v.worker, id)
}

// hand sends secrets to their worker, if it is there. The caller holds the lock.
func (p *Pool) hand(v *vault) {
	if m := p.lines[v.worker]; m != nil {
		m.send(sluice.ToWorker{Secrets: &sluice.WorkerSecrets{Job: v.spec, Sealed: v.sealed}})
	}
}

func (p *Pool) wipe(v *vault) {
	if m := p.lines[v.worker]; m != nil {
		m.send(sluice.ToWorker{Wipe: v.spec.ID})
	}
}

// greet goes through the secrets of a worker that came, or came back. A worker that had some and has them no more was started
// anew, and does not know how often they were tried: it is not given them again. The caller holds the lock.
func (p *Pool) greet(m *member, has []sluice.WorkerOpened) {
	for _, o := range has {
		if v := p.vaults[o.Job]; v == nil || v.worker != m.name {
			m.send(sluice.ToWorker{Wipe: o.Job})
		}
	}
	for _, v := range p.vaults {
		if v.worker != m.name {
			continue
		}
		v.away = time.Time{}
		i := slices.IndexFunc(has, func(o sluice.WorkerOpened) bool { return o.Job == v.spec.ID && o.Digest == v.digest })
		switch {
		case i >= 0:
			p.opened(m, &has[i])
		case v.open:
			p.forfeit(v, "the worker "+string(m.name)+" was started anew, and has them no more", true)
		default:
			p.hand(v)
		}
	}
}

// opened is what a worker says of secrets. The caller holds the lock.
func (p *Pool) opened(m *member, o *sluice.WorkerOpened) {
	v := p.vaults[o.Job]
	if v == nil || v.worker != m.name || o.Digest != v.digest && (o.Error == "" || o.Digest != [sha256.Size]byte{}) {
		return // of what it had before
	}
	if o.Error != "" {
		p.forfeit(v, o.Error, v.open)
		return
	}
	if o.Refused && p.cfg.Custody != nil {
		p.cfg.Custody.Refused(o.Job, v.sealed)
	}
	if !v.open {
		v.open = true
		p.reserveAll(o.Job)
	}
}

// maxSaid is how much of what a worker says is passed on.
const maxSaid = 2000

// forfeit gives up that a worker has the secrets of a job. The caller holds the lock.
func (p *Pool) forfeit(v *vault, why string, spent bool) {
	delete(p.vaults, v.spec.ID)
	p.wipe(v)
	p.reserveAll(v.spec.ID)
	if p.cfg.Custody != nil {
		p.cfg.Custody.Lost(v.spec.ID, v.sealed, strings.ToValidUTF8(why[:min(len(why), maxSaid)], ""), spent)
	}
}

// absent notes that a worker has no lease any more, or that it is none any more. The caller holds the lock.
func (p *Pool) absent(name sluice.WorkerName, removed bool) {
	for _, v := range p.vaults {
		switch {
		case v.worker != name:
		case removed:
			p.forfeit(v, "the worker "+string(name)+", which alone had them, was removed", true)
		case v.away.IsZero():
			v.away = p.now()
		}
	}
}

// outwait gives up on workers that were away for as long as a lost link is tried again. It returns when to look again, if
// ever. The caller holds the lock.
func (p *Pool) outwait() (next time.Time, any bool) {
	for _, v := range p.vaults {
		if v.away.IsZero() {
			continue
		}
		end := v.away.Add(v.patience())
		if !p.now().Before(end) {
			p.forfeit(v, "the worker "+string(v.worker)+", which alone had them, is gone", true)
			continue
		}
		if !any || end.Before(next) {
			next, any = end, true
		}
	}
	return next, any
}

// reserveAll has the attempts of a job look again who may have them. The caller holds the lock.
func (p *Pool) reserveAll(id sluice.JobID) {
	var all []*flight
	for _, f := range p.flight {
		if f.a.Job.ID == id {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b *flight) int {
		_, i, _, _ := a.a.Attempt.Parse()
		_, k, _, _ := b.a.Attempt.Parse()
		return cmp.Compare(i, k)
	})
	for _, f := range all {
		p.reserve(f)
	}
}

// reserve tells the crew who may have an attempt. The caller holds the lock.
func (p *Pool) reserve(f *flight) {
	if !f.secret {
		return
	}
	if only, shut := p.mayHave(f); only != f.only || shut != f.shut {
		f.only, f.shut = only, shut
		p.act(p.crew.Reserve(f.a.Attempt, only, shut, p.now()))
	}
}

// mayHave is who may have an attempt of a job with secrets. Where nobody has them and nothing may start any more, anybody
// asks how it ended, as far as that takes no secret.
func (p *Pool) mayHave(f *flight) (only sluice.WorkerName, shut bool) {
	switch v := p.vaults[f.a.Job.ID]; {
	case v != nil && v.open:
		return v.worker, false
	case v == nil && (f.a.Mode == work.Settle || f.stopped() || f.killed()):
		return "", false
	}
	return "", true
}

// lacks reports whether a worker must not start an attempt, because it does not have the secrets. The caller holds no lock.
func (f *flight) lacks(worker sluice.WorkerName) bool {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	v := f.p.vaults[f.a.Job.ID]
	return f.secret && (v == nil || !v.open || v.worker != worker)
}

// putBack has an attempt wait again whose secrets went before its worker was told of it.
func (f *flight) putBack() {
	p := f.p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.act(p.crew.End(f.a.Attempt, false))
	f.only, f.shut = p.mayHave(f)
	f.task.Only, f.task.Shut = f.only, f.shut
	p.act(p.crew.Add(f.task, p.now()))
}
