package outpost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/run/envelopes"
	"sluice/sealed"
)

const (
	// silence is how long secrets are kept for a job of which nothing runs here, while no server says anything.
	silence = 5 * time.Minute
	// glance is how often that is looked at, and whether their time is over.
	glance = 5 * time.Second
)

// vault has the secrets of one job, opened. Attempts that use them are carried out by the job that they were held against,
// whatever else the server says along with an attempt.
type vault struct {
	job
	spec    *sluice.Job
	secrets *envelopes.Job
	sealed  atomic.Pointer[sealed.Envelope]
	// approved are approvals that are for this job, by their digest. Whether they count is asked each time.
	approved map[[sha256.Size]byte]sealed.Approved
	refused  bool
	closing  bool // nothing begins with them any more; they go with the last attempt
}

func (v *vault) envelope() sealed.Envelope {
	if e := v.sealed.Load(); e != nil {
		return *e
	}
	return nil
}

func (v *vault) said() sluice.WorkerOpened {
	return sluice.WorkerOpened{Job: v.spec.ID, Digest: sha256.Sum256(v.envelope()), Refused: v.refused}
}

// entrust opens the secrets of a job, and tells the server what became of them.
func (o *Outpost) entrust(l *link, s *sluice.WorkerSecrets) {
	said := sluice.WorkerOpened{Job: s.Job.ID, Digest: sha256.Sum256(s.Sealed)}
	if err := o.open(s); err != nil {
		o.wipe(s.Job.ID)
		said.Error = reason(err)
		o.cfg.Notice(fmt.Sprintf("the secrets of job %s are not taken: %s", s.Job.ID, said.Error))
	}
	l.send(sluice.ToServer{Opened: &said})
}

// reason is an error and what to do, in one line.
func reason(err error) string {
	var e *sluice.Error
	if errors.As(err, &e) && e.Hint != "" {
		return err.Error() + "; " + e.Hint
	}
	return err.Error()
}

func (o *Outpost) open(s *sluice.WorkerSecrets) error {
	if o.cfg.Opener == nil {
		return sluice.Errorf(sluice.Config, "this worker opens no secrets")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	v := o.vaults[s.Job.ID]
	fresh := v == nil
	if fresh {
		v = &vault{spec: s.Job}
		opener := o.opener
		opener.MayTry = func(ctx context.Context) error { return o.mayTry(ctx, v) }
		v.secrets = opener.Job(v.spec, v.envelope, func(e sealed.Envelope) { o.refused(v, e) })
	}
	e := sealed.Envelope(s.Sealed)
	v.sealed.Store(&e)
	err := v.secrets.Check()
	if err == nil && fresh {
		v.worker, v.release, err = o.cfg.Worker(v.spec, v.secrets)
	}
	switch {
	case err == nil:
		v.closing, v.refused = false, false
		o.vaults[s.Job.ID] = v
	case fresh:
		v.secrets.Close()
	}
	return err
}

// mayTry waits until a password may be tried that no host has accepted yet. Whoever has no lease, or is told to let go of the
// secrets, may have a successor by now, who tries.
func (o *Outpost) mayTry(ctx context.Context, v *vault) error {
	if err := o.mayStart(ctx, nil); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if v.closing {
		return fmt.Errorf("%w: the server has said to wipe what there was", sluice.ErrNoSecret)
	}
	return nil
}

// refused is told, before anybody else, that hosts have refused a password twice.
func (o *Outpost) refused(v *vault, e sealed.Envelope) {
	o.mu.Lock()
	line, said := o.line, v.said()
	is := e != nil && bytes.Equal(e, v.envelope()) // else there are others by now
	if is {
		v.refused, said.Refused = true, true
	}
	o.mu.Unlock()
	if is && line != nil {
		line.send(sluice.ToServer{Opened: &said})
	}
}

// taken is by what an attempt is carried out: the job that its secrets were held against, where they are here, or else
// what the server says. The caller holds the lock.
func (o *Outpost) taken(w *sluice.WorkerAssign) (*sluice.Job, *job, error) {
	id, index, _, ok := w.Attempt.Parse()
	if v := o.vaults[id]; ok && v != nil && !v.closing {
		if index >= len(v.spec.Targets) || v.spec.Targets[index] != w.Host {
			return nil, nil, sluice.Errorf(sluice.Denied, "%s is no attempt on %s: the job that its secrets were given for says otherwise", w.Attempt, w.Host)
		}
		if o.cfg.SignedOnly && !w.Settle {
			if err := o.mayGo(v, w.Host, w.Approvals); err != nil {
				return nil, nil, &notApproved{err}
			}
		}
		v.uses++
		return v.spec.For(w.Host), &v.job, nil
	}
	if w.Job.Options.NeedsSecrets() && !w.Settle {
		return nil, nil, errNotHere
	}
	if o.cfg.SignedOnly && !w.Settle {
		return nil, nil, errNotSigned
	}
	use, err := o.use(w.Job)
	return w.Job, use, err
}

// mayGo says why a host of a signed job must not be started yet: a gate before it needs an approval that somebody else has
// signed, whatever the server says. The caller holds the lock.
func (o *Outpost) mayGo(v *vault, h sluice.Host, approvals [][]byte) error {
	gates := sealed.Before(v.spec, h)
	if len(gates) == 0 {
		return nil
	}
	header, err := v.envelope().Header()
	if err != nil {
		return err
	}
	now := o.cfg.Opener.Clock()
	var why error
	for _, a := range approvals {
		sum := sha256.Sum256(a)
		said, is := v.approved[sum]
		if !is {
			if said, err = sealed.Approval(a).For(v.spec, now); err != nil {
				why = err
				continue
			}
			if v.approved == nil {
				v.approved = map[[sha256.Size]byte]sealed.Approved{}
			}
			v.approved[sum] = said
		}
		if err := said.Counts(v.spec, header.By, header.Signer, now, o.cfg.Opener.Trust); err != nil {
			why = err
			continue
		}
		gates = slices.DeleteFunc(gates, func(p sealed.Pass) bool { return slices.Contains(said.Passes, p) })
	}
	switch {
	case len(gates) == 0:
		return nil
	case why != nil:
		return fmt.Errorf("no approval counts for the gate behind %s: %w", gates[0].Stage, why)
	}
	return sluice.Errorf(sluice.Denied, "this worker carries out signed jobs alone, and nobody has signed an approval for the gate behind %s", gates[0].Stage).
		WithHint("sluice approve %s --sign", v.spec.ID)
}

// notApproved is why an attempt behind a gate is not started.
type notApproved struct{ error }

func (e *notApproved) Unwrap() error { return e.error }

// errNotHere is why an attempt is not carried out whose job has secrets.
var errNotHere = errors.New("the secrets of its job are not with this worker any more")

// errNotSigned is why an attempt is not carried out that the server alone wants.
var errNotSigned = errors.New("this worker carries out signed jobs alone, and nobody has signed this one")

// wipe lets go of the secrets of a job as soon as nothing of it runs here.
func (o *Outpost) wipe(id sluice.JobID) {
	o.mu.Lock()
	v := o.vaults[id]
	if v == nil {
		o.mu.Unlock()
		return
	}
	v.closing = true
	idle := v.uses == 0
	if idle {
		delete(o.vaults, id)
	}
	o.mu.Unlock()
	if idle {
		v.close()
	}
}

// close wipes the secrets, when nobody uses them any more.
func (v *vault) close() {
	v.release()
	v.secrets.Close()
}

// keepSecrets wipes secrets whose time is over, and those for which no server has been there for long.
func (o *Outpost) keepSecrets(ctx context.Context) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		o.mu.Lock()
		now := time.Now()
		alone := o.lease.life > 0 && now.Sub(o.lease.begin) >= o.lease.life+silence
		over := map[sluice.JobID]string{}
		for id, v := range o.vaults {
			switch {
			case !v.closing && v.secrets.Check() != nil:
				over[id] = "their time is over"
			case alone && v.uses == 0:
				over[id] = "no server has been there for long"
			}
		}
		o.mu.Unlock()
		for id, why := range over {
			o.giveUp(id, why)
		}
	}
}

// giveUp wipes secrets that the server has not said to wipe, and tells it.
func (o *Outpost) giveUp(id sluice.JobID, why string) {
	o.cfg.Notice(fmt.Sprintf("the secrets of job %s are wiped: %s", id, why))
	o.mu.Lock()
	line := o.line
	o.mu.Unlock()
	if line != nil {
		line.send(sluice.ToServer{Opened: &sluice.WorkerOpened{Job: id, Error: "the worker has wiped them: " + why}})
	}
	o.wipe(id)
}

// wipeAll is called when nothing runs here any more.
func (o *Outpost) wipeAll() {
	o.mu.Lock()
	all := o.vaults
	o.vaults = map[sluice.JobID]*vault{}
	o.mu.Unlock()
	for _, v := range all {
		v.close()
	}
}
