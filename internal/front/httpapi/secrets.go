package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/sealed"
)

// Secrets keeps the sealed secrets of jobs, and knows whom they are sealed to.
type Secrets interface {
	// Workers are those that may carry a job out.
	Workers(ctx context.Context, j *sluice.Job) (sealed.Known, error)
	// Put keeps what somebody gives for a job, in place of what there was; PutFirst leaves it. undo takes it back.
	Put(ctx context.Context, j *sluice.Job, by string, e sealed.Envelope) (undo func(), err error)
	PutFirst(ctx context.Context, j *sluice.Job, by string, e sealed.Envelope) (undo func(), err error)
	// Has reports whether there are any for a job.
	Has(id sluice.JobID) bool
	// WantsSigned reports whether the worker of a job carries out signed jobs alone, and so takes no approval that is not.
	WantsSigned(id sluice.JobID) bool
	// Approved keeps a signed approval of a job for its workers. undo takes it back.
	Approved(id sluice.JobID, a sealed.Approval) (undo func())
}

type sealing struct{ Body api.Sealing }

func (a *API) addSecrets() {
	route(a, sluice.SubmitJob, huma.Operation{OperationID: "prepare-sealing", Method: http.MethodPost, Path: "/api/v1/sealing", Tags: []string{jobTag},
		Summary: "What the secrets of a job that is to be submitted are sealed to", MaxBodyBytes: maxSubmit},
		func(ctx context.Context, c caller, in *toSubmit) (*sealing, error) {
			desk := c.desk()
			id, err := c.idOf(in)
			if err != nil {
				return nil, err
			}
			r, given, err := c.wanted(ctx, desk, in.Body)
			if err != nil {
				return nil, err
			}
			d, err := c.draft(ctx, desk, in, id, r, given)
			if err != nil {
				return nil, err
			}
			return c.sealing(ctx, &d.Job)
		})
	route(a, sluice.ControlJob, huma.Operation{OperationID: "get-sealing", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/sealing", Tags: []string{jobTag},
		Summary: "What the secrets of a job are sealed to, to give them anew", Errors: []int{http.StatusNotFound}},
		func(ctx context.Context, c caller, in *ByID) (*sealing, error) {
			desk, id, err := c.job(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			j, _, err := desk.Job(ctx, string(id))
			if err != nil {
				return nil, err
			}
			return c.sealing(ctx, j.Spec)
		})
}

func (c caller) sealing(ctx context.Context, j *sluice.Job) (*sealing, error) {
	if c.api.cfg.Secrets == nil {
		return nil, errNoSecrets
	}
	workers, err := c.api.cfg.Secrets.Workers(ctx, j)
	if err != nil {
		return nil, err
	}
	out := &sealing{Body: api.Sealing{Job: sluice.Event{Time: c.api.cfg.Clock(), Job: j.ID, Body: sluice.JobSubmitted{Submitted: *j}},
		By: string(c.Principal), Workers: []api.WorkerKey{}}}
	for _, w := range workers {
		out.Body.Workers = append(out.Body.Workers, api.NewWorkerKey(w.Name, w.Key))
	}
	return out, nil
}

var errNoSecrets = sluice.Errorf(sluice.Usage, "this server takes no passwords or keys with a job").
	WithHint("name a key of the worker in the fleet: ssh: {identity: FILE}")

// How secrets are put.
const (
	putFirst = iota // of a job that is submitted
	putAgain        // of a job that goes on
	putAnew         // of a job that was over: what it had is gone
)

// secrets keeps what came with a request for a job, and refuses the request where there should be something.
func (c caller) secrets(ctx context.Context, j *sluice.Job, e sealed.Envelope, how int) (undo func(), err error) {
	s := c.api.cfg.Secrets
	nothing := func() {}
	switch {
	case s == nil && (j.Options.NeedsSecrets() || e != nil):
		return nil, errNoSecrets
	case !j.Options.NeedsSecrets() && e != nil:
		return nil, sluice.Errorf(sluice.Usage, "there are secrets, and job %s has no use for any", j.ID).
			WithHint("its options ask_password, ask_sudo_password, ask_passphrase, ask_private_key and signed say which it has")
	case !j.Options.NeedsSecrets():
		return nothing, nil
	case e != nil && how == putFirst:
		return s.PutFirst(ctx, j, string(c.Principal), e)
	case e != nil:
		return s.Put(ctx, j, string(c.Principal), e)
	case how == putAgain && s.Has(j.ID):
		return nothing, nil
	case how != putFirst:
		return nil, errLacks(j.ID)
	}
	return nil, sluice.Errorf(sluice.Usage, "the job is to have secrets, and none came with it")
}

// lacks reports whether a job cannot go on without being given its secrets again.
func (c caller) lacks(j *sluice.Job, over bool) bool {
	s := c.api.cfg.Secrets
	return j.Options.NeedsSecrets() && (over || s == nil || !s.Has(j.ID))
}

func errLacks(id sluice.JobID) error {
	return sluice.Errorf(sluice.Conflict, "job %s needs its secrets again: they are kept in memory only", id).
		WithHint("sluice resume %s, with --ask-password, --ask-sudo-password, --ask-passphrase or --identity-file", id)
}
