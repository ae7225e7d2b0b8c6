package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/crew"
	"sluice/internal/run/envelopes"
	"sluice/sealed"
)

// Secrets that a worker elsewhere opens. The server has them in memory, sealed, and hands them to the one worker that they
// are sealed to.

// entrusted are the secrets of one job while it is carried out, as the server knows them.
type entrusted struct {
	c    *custody
	ctx  context.Context
	spec *sluice.Job
	news chan struct{} // has room for one

	mu      sync.Mutex
	of      sealed.Envelope // that the worker was given last
	expires time.Time
	err     error // why it does not have them
}

// entrust begins to look after the secrets of a job, until Close.
func (c *custody) entrust(ctx context.Context, j *sluice.Job) *entrusted {
	e := &entrusted{c: c, ctx: ctx, spec: j, news: make(chan struct{}, 1)}
	c.mu.Lock()
	c.entrusted[j.ID] = e
	c.mu.Unlock()
	return e
}

// Close has them wiped. When the server itself ends, what runs goes on, and may still need them.
func (e *entrusted) Close() {
	e.c.mu.Lock()
	delete(e.c.entrusted, e.spec.ID)
	e.c.mu.Unlock()
	if e.ctx.Err() == nil {
		e.c.workers.pool.Release(e.spec.ID)
	}
}

// look hands what there is to its worker, if it is something new. It reads the log, so it must not be called from within a
// step of it.
func (e *entrusted) look() {
	now := e.c.store.Get(e.spec.ID, e.c.clock())
	if now == nil || bytes.Equal(now, e.Opened()) {
		return
	}
	var worker crew.Known
	h, err := now.Header()
	if err == nil {
		worker, err = e.c.workers.sealedTo(e.ctx, h)
	}
	e.mu.Lock()
	e.of, e.expires, e.err = now, h.Expires, err
	e.mu.Unlock()
	if err == nil {
		e.c.workers.pool.Entrust(e.spec, worker.Name, now)
	}
}

// Check says why the worker does not have them. Until it has said so, they are believed to be good: nothing starts before.
func (e *entrusted) Check() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.of == nil:
		return envelopes.Missing(e.spec)
	case e.err != nil:
		return e.err
	case !e.c.clock().Before(e.expires):
		return sluice.Errorf(sluice.Denied, "the secrets of job %s were good until %s", e.spec.ID, e.expires.Format(time.RFC3339)).
			WithHint("sluice resume %s asks for them", e.spec.ID)
	}
	return nil
}

// Expires is when they are not good any more.
func (e *entrusted) Expires() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.expires
}

// Opened is what the worker was given last.
func (e *entrusted) Opened() sealed.Envelope {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.of
}

func (e *entrusted) poke() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

func (c *custody) poke(id sluice.JobID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entrusted[id]; e != nil {
		e.poke()
	}
}

// Lost implements [pool.Custody].
func (c *custody) Lost(id sluice.JobID, lost sealed.Envelope, why string, spent bool) {
	c.mu.Lock()
	e := c.entrusted[id]
	c.mu.Unlock()
	if spent {
		c.store.Drop(id, lost)
	}
	if e == nil {
		return
	}
	e.mu.Lock()
	if bytes.Equal(e.of, lost) {
		e.err = sluice.Errorf(sluice.Denied, "%s", why)
		if spent {
			e.err = sluice.Errorf(sluice.Conflict, "the secrets of job %s are lost: %s", id, why).WithHint("sluice resume %s asks for them", id)
		}
	}
	e.mu.Unlock()
	e.poke()
}

// Refused implements [pool.Custody].
func (c *custody) Refused(id sluice.JobID, e sealed.Envelope) { c.store.Drop(id, e) }

// sealedTo is the worker elsewhere that an envelope is sealed to.
func (w *workers) sealedTo(ctx context.Context, h sealed.Header) (crew.Known, error) {
	known, err := w.roster.All(ctx)
	if err != nil {
		return crew.Known{}, err
	}
	for _, k := range known {
		if key, ok := keyOf(k); ok && h.For(key) {
			return k, nil
		}
	}
	return crew.Known{}, sluice.Errorf(sluice.Conflict, "the secrets of job %s are sealed to a worker that is not one of this server, or has another key by now", h.Job).
		WithHint("sluice resume %s with the flags that give its secrets", h.Job)
}

// keyOf is the key to which secrets for a worker are sealed.
func keyOf(k crew.Known) (key sealed.Key, ok bool) {
	if !k.Enrolled || len(k.SealKey) != sealed.KeySize {
		return key, false
	}
	return sealed.Key(k.SealKey), true
}

// poolsOf are the pools of a job's hosts.
func poolsOf(j *sluice.Job) (out []sluice.Pool) {
	for _, h := range j.Targets {
		if p := j.SSHFor(h).Pool.OrDefault(); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func reaches(k crew.Known, pools []sluice.Pool) bool {
	return !slices.ContainsFunc(pools, func(p sluice.Pool) bool { return !slices.Contains(k.Pools, p) })
}

// forSecrets chooses the worker elsewhere that carries out a job with secrets: the one that has it already, else that with
// the most room.
func (w *workers) forSecrets(ctx context.Context, j *sluice.Job) (sealed.Known, error) {
	known, err := w.roster.All(ctx)
	if err != nil {
		return nil, err
	}
	members, pools := w.pool.Members(), poolsOf(j)
	has, _ := w.pool.Holder(j.ID)
	type candidate struct {
		sealed.Named
		has  bool
		room int
	}
	var all []candidate
	any := false
	for _, k := range known {
		key, ok := keyOf(k)
		if !ok || !reaches(k, pools) {
			continue
		}
		any = true
		i := slices.IndexFunc(members, func(m crew.Member) bool { return m.Name == k.Name })
		if i >= 0 && members[i].Live && !members[i].Draining && !k.Draining {
			all = append(all, candidate{sealed.Named{Name: string(k.Name), Key: key}, k.Name == has, members[i].Limit - members[i].Running})
		}
	}
	if len(all) == 0 {
		return nil, noneForSecrets(j.Options, pools, any)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		switch {
		case a.has != b.has && a.has:
			return -1
		case a.has != b.has:
			return 1
		}
		return cmp.Or(cmp.Compare(b.room, a.room), cmp.Compare(a.Name, b.Name))
	})
	return sealed.Known{all[0].Named}, nil
}

// noneForSecrets says why nobody can look at what somebody would seal for a job: secrets, or a mere signature.
func noneForSecrets(o sluice.Options, pools []sluice.Pool, any bool) error {
	what, does, stay, or := "secrets", "open", "stay", ", or use a key that is a file of the workers: ssh: {identity: FILE}"
	if o.Signed && !(o.AskPassword || o.AskSudoPassword || o.AskPassphrase || o.AskPrivateKey) {
		what, does, stay, or = "a signature", "check", "stays", ", or leave out --sign"
	}
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = string(p)
	}
	list := strings.Join(names, " and ")
	switch {
	case any:
		return sluice.Errorf(sluice.Conflict, "no worker is connected that reaches all hosts of the job (pool %s) and could %s %s", list, does, what).
			WithHint("sluice workers shows them; try again when one is there%s", or)
	case len(pools) > 1:
		return sluice.Errorf(sluice.Conflict, "%s %s with one worker, and none is in all of the pools %s of the hosts", what, stay, list).
			WithHint("one job for each pool%s", or)
	}
	return sluice.Errorf(sluice.Conflict, "the pool %s has no worker that could %s %s", list, does, what).
		WithHint("sluice workers invite NAME --pool %s%s", list, or)
}

// maxEntrusted is the number of bytes of a job that goes to a worker as a whole.
const maxEntrusted = 6 << 20

// maySeal says why the secrets of a job cannot be used that are sealed like this. Which worker may have them is also its own
// to say, by what it is asked to open; here it is said before anything is submitted.
func (w *workers) maySeal(ctx context.Context, j *sluice.Job, e sealed.Envelope) error {
	if w.pool.Own(j) {
		return nil
	}
	h, err := e.Header()
	if err != nil {
		return err
	}
	if len(h.Workers) != 1 {
		return sluice.Errorf(sluice.Usage, "the secrets are sealed to %d workers; they go to one alone, which the server says", len(h.Workers))
	}
	k, err := w.sealedTo(ctx, h)
	if err != nil {
		return err
	}
	if pools := poolsOf(j); !reaches(k, pools) {
		return sluice.Errorf(sluice.Conflict, "the worker %s, to which the secrets are sealed, does not reach all hosts of job %s", k.Name, j.ID)
	}
	if has, busy := w.pool.Holder(j.ID); busy && has != k.Name {
		return sluice.Errorf(sluice.Conflict, "job %s has attempts on the worker %s, with the secrets that it was given before; two workers must not try passwords at once", j.ID, has).
			WithHint("sluice halt %s, and again when they have ended", j.ID)
	}
	text, err := json.Marshal(sluice.JobSubmitted{Submitted: *j})
	if err != nil {
		return fmt.Errorf("job %s cannot be written: %w", j.ID, err)
	}
	if len(text) > maxEntrusted {
		return sluice.Errorf(sluice.Usage, "job %s is too large to have secrets at a worker elsewhere: %d bytes, and %d are the most", j.ID, len(text), maxEntrusted).
			WithHint("split it into several jobs")
	}
	return nil
}
