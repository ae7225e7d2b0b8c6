package remote

import (
	"context"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/run/control"
	"sluice/sealed"
)

// sealFor seals the secrets of a draft into what is submitted, for the job that was planned here and no other.
func (d *Desk) sealFor(ctx context.Context, draft *control.Draft, s *api.Submit, key string) error {
	if !draft.Job.Options.NeedsSecrets() {
		return nil
	}
	sealer, err := d.cfg.Sealer(draft.Secrets.Workers)
	if err != nil {
		return err
	}
	to, err := d.cfg.Client.Sealing(ctx, *s, key)
	if err != nil {
		return err
	}
	planned := draft.Job
	if key != "" { // which makes the id
		planned.ID = to.Job.Job
	}
	s.Secrets, err = sealer.Seal(ctx, to, content(draft.Secrets), client.Exactly(&planned))
	return err
}

// Give seals secrets for a job that is there, to go with the next Resume or Retry. shown is what the history of the job
// says that was submitted: the secrets go to no other. The history is the server's as well, so a person must look at it.
func (d *Desk) Give(ctx context.Context, shown *sluice.Job, s control.Secrets) error {
	sealer, err := d.cfg.Sealer(s.Workers)
	if err != nil {
		return err
	}
	e, err := d.cfg.Client.SealFor(ctx, shown.ID, content(s), sealer, client.Exactly(shown))
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.given[shown.ID] = e
	return nil
}

func (d *Desk) take(id sluice.JobID) sealed.Envelope {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.given[id]
	delete(d.given, id)
	return e
}

func content(s control.Secrets) sealed.Content {
	return sealed.Content{Password: s.Password, Sudo: s.Sudo, Passphrase: s.Passphrase, PrivateKey: s.PrivateKey}
}
