package client

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"time"

	"sluice"
	"sluice/api"
	"sluice/sealed"
)

// Sealer seals secrets for the workers of a server.
type Sealer struct {
	// Signer is whose secrets they are.
	Signer *sealed.Signer
	// Trust says whether secrets may be sealed to these workers; an error says why not. It is where a swapped key is found:
	// the server is not to be believed here.
	Trust func(ctx context.Context, workers sealed.Known) error
	// Life is how long the secrets are good; 0: [DefaultLife].
	Life time.Duration
	// Clock is the machine's if it is nil.
	Clock sluice.Clock
}

// DefaultLife is how long secrets are good.
const DefaultLife = 12 * time.Hour

// Sealing asks what the secrets of a job that is to be submitted are sealed to. The job must have an id of one's own
// choice, or a key that makes one.
func (c *Client) Sealing(ctx context.Context, s api.Submit, key string) (out api.Sealing, err error) {
	s.Secrets = nil
	r := request{method: http.MethodPost, path: []string{"sealing"}, body: s}
	if key != "" {
		r.header = http.Header{"Idempotency-Key": {key}}
	}
	err = c.again(ctx, func() error {
		out, err = once[api.Sealing](ctx, c, r)
		return err
	})
	return out, err
}

// SealingOf asks what the secrets of a job are sealed to that is there.
func (c *Client) SealingOf(ctx context.Context, id sluice.JobID) (api.Sealing, error) {
	return ask[api.Sealing](ctx, c, request{path: []string{"jobs", string(id), "sealing"}})
}

// Seal seals secrets to what the server says. asked looks at the job that it says: an error ends the sealing, since who
// seals to a job that is another than was meant gives the secrets to that one.
func (s *Sealer) Seal(ctx context.Context, to api.Sealing, secrets sealed.Content, asked func(*sluice.Job) error) (sealed.Envelope, error) {
	job, ok := to.Job.Body.(sluice.JobSubmitted)
	if !ok {
		return nil, sluice.Errorf(sluice.Contact, "the server says no job that secrets could be sealed to")
	}
	j := job.Submitted
	j.ID = to.Job.Job
	if err := asked(&j); err != nil {
		return nil, err
	}
	var known sealed.Known
	var keys []sealed.Key
	for _, w := range to.Workers {
		n := sealed.Named{Name: w.Name}
		if err := n.Key.UnmarshalText([]byte(w.Key)); err != nil || !sealed.Namable(w.Name) {
			return nil, sluice.Errorf(sluice.Contact, "the server says a key of worker %q that is none", w.Name)
		}
		known, keys = append(known, n), append(keys, n.Key)
	}
	if len(keys) == 0 {
		return nil, sluice.Errorf(sluice.Conflict, "there is no worker that could open the secrets").WithHint("sluice workers")
	}
	if secrets.Any() { // else it is a signature, which everybody may see
		if err := s.Trust(ctx, known); err != nil {
			return nil, err
		}
	}
	now, life := time.Now(), s.Life
	if s.Clock != nil {
		now = s.Clock()
	}
	if life == 0 {
		life = DefaultLife
	}
	b, err := sealed.Bind(&j, to.By, now.Add(life))
	if err != nil {
		return nil, err
	}
	return sealed.Seal(b, secrets, keys, s.Signer)
}

// Exactly accepts the one job that was planned here. Whoever submitted it, by which token, in which trace and under which
// version of the rules, is the server's to say.
func Exactly(want *sluice.Job) func(*sluice.Job) error {
	return func(j *sluice.Job) error {
		own := *want
		own.By, own.Token, own.Trace = j.By, j.Token, j.Trace
		is, err := sealed.JobDigest(j)
		if err != nil {
			return err
		}
		if should, err := sealed.JobDigest(&own); err != nil || is != should {
			return sluice.Errorf(sluice.Denied, "the server would seal the secrets to another job than the one that is known here: what it runs, where, in which order or how differs").
				WithHint("has the fleet changed since? try again, and if it stays, ask who looks after the server")
		}
		return nil
	}
}

// Same reports whether a job is what a request asks for. What only the server can know, which hosts a fleet has that is kept
// there and how they are reached, is taken from it; a fleet that was sent along is held against it by the caller.
func Same(s api.Submit, j *sluice.Job) error {
	wrong := func(what string) error {
		return sluice.Errorf(sluice.Denied, "the server would seal the secrets to another job than was asked for: its %s differs", what)
	}
	o := j.Options
	switch {
	case j.ID != s.ID:
		return wrong("id")
	case s.Namespace != "" && j.Namespace != s.Namespace:
		return wrong("namespace")
	case j.Action.Kind != sluice.RunCommand, s.Command != "" && j.Action.Shell != s.Command, j.Command != j.Action.Shell:
		return wrong("command")
	case j.Expression != s.Targets:
		return wrong("expression for its hosts")
	case o.Sudo != s.Options.Sudo || o.ReadOnly != s.Options.ReadOnly || o.NoHooks != s.Options.NoHooks || o.TTY != s.Options.TTY,
		!slices.Equal(o.Prompts, s.Options.Prompts):
		return wrong("way to run")
	case o.AskPassword != s.Options.AskPassword || o.AskSudoPassword != s.Options.AskSudoPassword ||
		o.AskPassphrase != s.Options.AskPassphrase || o.AskPrivateKey != s.Options.AskPrivateKey, o.Signed != s.Options.Signed:
		return wrong("list of secrets")
	case len(o.Env)+len(s.Options.Env) > 0 && !reflect.DeepEqual(o.Env, s.Options.Env):
		return wrong("environment")
	case s.User != "" && !as(j, s.User):
		return wrong("user")
	case len(j.Targets) == 0:
		return wrong("hosts")
	}
	return nil
}

// as reports whether a job logs in as a user everywhere.
func as(j *sluice.Job, user string) bool {
	for _, h := range j.Targets {
		if j.SSHFor(h).User != user {
			return false
		}
	}
	return true
}

// SubmitSealed submits a job with secrets, bound to the job as the server would make it now. Where the fleet changes in
// between, nothing is submitted, and the error has the code Conflict.
func (c *Client) SubmitSealed(ctx context.Context, s api.Submit, secrets sealed.Content, by *Sealer) (api.Job, error) {
	if s.ID == "" {
		return api.Job{}, sluice.Errorf(sluice.Usage, "a job with secrets needs an id of one's own choice: they are bound to it")
	}
	to, err := c.Sealing(ctx, s, "")
	if err != nil {
		return api.Job{}, err
	}
	if s.Secrets, err = by.Seal(ctx, to, secrets, func(j *sluice.Job) error { return Same(s, j) }); err != nil {
		return api.Job{}, err
	}
	return c.Submit(ctx, s)
}

// SealFor seals secrets for a job that is there, as the server says that it is; asked looks at it.
func (c *Client) SealFor(ctx context.Context, id sluice.JobID, secrets sealed.Content, by *Sealer, asked func(*sluice.Job) error) (sealed.Envelope, error) {
	to, err := c.SealingOf(ctx, id)
	if err != nil {
		return nil, err
	}
	return by.Seal(ctx, to, secrets, func(j *sluice.Job) error {
		if j.ID != id {
			return sluice.Errorf(sluice.Denied, "the server says job %s where %s was asked for", j.ID, id)
		}
		return asked(j)
	})
}

// ResumeSealed is Resume with secrets in place of those that there were.
func (c *Client) ResumeSealed(ctx context.Context, id sluice.JobID, maxFailures *sluice.Amount, e sealed.Envelope) ([]sluice.Event, error) {
	return c.change(ctx, budgetBody{MaxFailures: budgetText(maxFailures), Secrets: e}, "jobs", string(id), "resume")
}

// RetrySealed is Retry with secrets in place of those that there were.
func (c *Client) RetrySealed(ctx context.Context, id sluice.JobID, hosts []sluice.Host, maxFailures *sluice.Amount, e sealed.Envelope) ([]sluice.Event, error) {
	return c.change(ctx, budgetBody{budgetText(maxFailures), hosts, e}, "jobs", string(id), "retry")
}

// ApproveSigned is Approve with a signature, for workers that carry out signed jobs alone. asked looks at the job that the
// server says: an error ends it, since who signs another job than was meant approves that one. stage is "" for all gates that
// wait.
func (c *Client) ApproveSigned(ctx context.Context, id sluice.JobID, stage, plan string, by *Sealer, asked func(*sluice.Job) error) ([]sluice.Event, error) {
	to, err := ask[api.Approving](ctx, c, request{path: []string{"jobs", string(id), "approving"}})
	if err != nil {
		return nil, err
	}
	job, ok := to.Job.Body.(sluice.JobSubmitted)
	if !ok {
		return nil, sluice.Errorf(sluice.Contact, "the server says no job that could be approved")
	}
	j := job.Submitted
	j.ID = to.Job.Job
	if err := asked(&j); err != nil {
		return nil, err
	}
	var passes []sealed.Pass
	for _, p := range to.Passes {
		if stage == "" || stage == p.Stage {
			passes = append(passes, sealed.Pass{Track: p.Track, Stage: p.Stage, Index: p.Index})
		}
	}
	if len(passes) == 0 {
		return c.Approve(ctx, id, stage, plan) // which says why there is nothing to approve
	}
	now := time.Now()
	if by.Clock != nil {
		now = by.Clock()
	}
	b, err := sealed.Bind(&j, to.By, now.Add(approvalLife))
	if err != nil {
		return nil, err
	}
	a, err := sealed.Approve(b, passes, by.Signer)
	if err != nil {
		return nil, err
	}
	return c.change(ctx, approveBody{stage, plan, a}, "jobs", string(id), "approve")
}

// approvalLife is how long a signed approval counts: the most that there is, less an hour for clocks that differ.
const approvalLife = sealed.MaxLife - time.Hour
