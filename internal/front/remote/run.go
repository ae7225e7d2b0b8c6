package remote

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

// waitsEvery is how often it is asked what tasks wait for.
const waitsEvery = time.Second

// Keep puts what a job is to send into the server's store.
func (d *Desk) Keep(ctx context.Context, r io.Reader) (string, int64, error) {
	b, err := d.cfg.Client.Put(ctx, r)
	return b.Digest, b.Size, err
}

// Kept asks the server's store.
func (d *Desk) Kept(ctx context.Context, digest string) (int64, error) {
	b, err := d.cfg.Client.Kept(ctx, digest)
	return b.Size, err
}

// Prepare plans a request, with what the server knows of the hosts.
func (d *Desk) Prepare(ctx context.Context, r control.Request) (*control.Draft, error) {
	s, err := submission(r)
	if err != nil {
		return nil, err
	}
	p, err := d.cfg.Client.Plan(ctx, s)
	if err != nil {
		return nil, err
	}
	draft, err := control.Draw(r, d.Who(), p.Gone, func([]sluice.Host) (out []schedule.Holder) {
		for _, h := range p.Clears {
			out = append(out, holderOf(h))
		}
		return out
	})
	if err == nil && !slices.Equal(draft.Job.Targets, p.Targets) {
		err = sluice.Errorf(sluice.Conflict, "the server means other hosts by this than this program: %d and %d of them", len(p.Targets), len(draft.Job.Targets)).
			WithHint("are both of the same version?")
	}
	return draft, err
}

// FileChanges asks the server, which keeps both sides.
func (d *Desk) FileChanges(ctx context.Context, draft *control.Draft) (release.Changes, error) {
	s, err := submission(draft.Request)
	if err != nil {
		return release.Changes{}, err
	}
	found, err := d.cfg.Client.PlanFiles(ctx, s)
	if err != nil {
		return release.Changes{}, err
	}
	out := release.Changes{Files: []release.FileChange{}, Same: found.Same}
	for _, f := range found.Files {
		out.Files = append(out.Files, release.FileChange(f))
	}
	for _, m := range found.More {
		out.More = append(out.More, release.MoreChanges(m))
	}
	for _, u := range found.Unknown {
		out.Unknown = append(out.Unknown, release.NotCompared(u))
	}
	return out, nil
}

// submission is a request as the server takes it.
func submission(r control.Request) (api.Submit, error) {
	o := r.Options
	s := api.Submit{Namespace: r.Fleet.Namespace, Targets: r.Expression, FleetDigest: r.Sent.Digest, User: r.Sent.User, Look: r.Look,
		Options: api.Options{Concurrency: o.Concurrency, ReadOnly: o.ReadOnly, Timeout: span(o.Timeout), JobTimeout: span(o.JobTimeout),
			Reconnect: o.Reconnect.String(), Sudo: o.Sudo, Env: o.Env, NoHooks: o.NoHooks, Hooks: r.Sent.Hooks, TTY: o.TTY, Prompts: o.Prompts,
			AskPassword: o.AskPassword, AskSudoPassword: o.AskSudoPassword, AskPassphrase: o.AskPassphrase, AskPrivateKey: o.AskPrivateKey, Signed: o.Signed,
			Lock: string(o.Lock), Supersede: o.Supersede, OutputLimit: o.OutputLimit, MaxFailures: amount(o.MaxFailures), MaxParallel: amount(o.MaxParallel)}}
	if r.Sent.Bundle != nil {
		s.Fleet = r.Sent.Bundle
	}
	if r.Ask != nil {
		ask := api.Ask(*r.Ask)
		s.Ask = &ask
		return s, nil
	}
	switch a := r.Action; a.Kind {
	case sluice.RunCommand:
		s.Command = a.Shell
	case sluice.RunScript:
		s.Script = &api.Script{Digest: a.Script, Name: r.Sent.Name, Args: a.Args}
	case sluice.CopyTo:
		s.Copy = &api.Copy{Digest: a.Source, Name: r.Sent.Name, Dest: a.Dest}
	case sluice.DeployTo, sluice.RollBack:
		s.Release, s.Back = a.Release, a.Back
	case sluice.FetchFrom:
		s.Fetch = a.Source
	case "": // only planned
	default:
		return s, fmt.Errorf("a server is not told of %q", a.Kind)
	}
	return s, nil
}

// noSecrets says that a server asks hosts without secrets.
func noSecrets() error {
	return sluice.Errorf(sluice.Usage, "a server takes secrets with a job that is submitted, resumed or retried, and not to look again").
		WithHint("sluice resume JOB asks the hosts, too")
}

func span(t time.Duration) string {
	if t == 0 {
		return ""
	}
	return t.String()
}

func amount(a *sluice.Amount) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// Submit submits a job. Its id is then that of the job there is: another one than before where a key made it.
func (d *Desk) Submit(ctx context.Context, draft *control.Draft) ([]sluice.Event, error) {
	s, err := submission(draft.Request)
	if err != nil {
		return nil, err
	}
	var j api.Job
	key := draft.Request.Sent.Key
	if key == "" {
		s.ID = draft.Job.ID
	}
	if err := d.sealFor(ctx, draft, &s, key); err != nil {
		return nil, err
	}
	if key != "" {
		j, err = d.cfg.Client.SubmitOnce(ctx, s, key)
	} else {
		j, err = d.cfg.Client.Submit(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	draft.Job.ID = j.ID
	return nil, nil // whoever wants to see them follows the job
}

// Run submits a job and follows it.
func (d *Desk) Run(ctx context.Context, draft *control.Draft, o control.DriveOptions) (sluice.Event, error) {
	if _, err := d.Submit(ctx, draft); err != nil {
		return sluice.Event{}, err
	}
	return d.Carry(ctx, draft.Job.ID, o)
}

// Follow hands on the events of a job from the number seen on, until it is finished or halted.
func (d *Desk) Follow(ctx context.Context, prefix string, seen uint64, observe func(sluice.Event)) (sluice.Event, error) {
	_, id, err := d.Find(ctx, prefix)
	if err != nil {
		return sluice.Event{}, err
	}
	return d.Carry(ctx, id, control.DriveOptions{Observe: observe, Seen: seen, NoOutput: true})
}

// Carry follows what the server does, to the end of the job.
func (d *Desk) Carry(ctx context.Context, id sluice.JobID, o control.DriveOptions) (sluice.Event, error) {
	within, stop := context.WithCancel(ctx)
	var waits sync.WaitGroup
	defer func() {
		stop()
		waits.Wait()
	}()
	if o.Waits != nil {
		waits.Go(func() { d.tellWaits(within, id, o.Waits) })
	}
	f := newFollower(ctx, d, id, o)
	defer f.downloads.Wait()
	if o.FetchDir != "" && o.Seen > 0 {
		if err := f.past(); err != nil {
			return sluice.Event{}, err
		}
	}
	w := client.WatchOptions{After: o.Seen, Output: !o.NoOutput || o.KeepOutput, Observe: f.observe, Lacks: d.printed.lacks, Lost: f.lost, Found: f.found}
	last, err := d.cfg.Client.Watch(ctx, string(id), w)
	if sluice.CodeOf(err) == sluice.Denied && w.Output { // who may see the job may not therefore see what it prints
		f.notice("what the hosts print is not shown: " + err.Error())
		w.Output, w.After, f.keeps = false, f.seen, false
		last, err = d.cfg.Client.Watch(ctx, string(id), w)
	}
	if err == nil {
		err = f.fetched()
	}
	return last, err
}

// tellWaits asks again and again what tasks wait for. What cannot be learned now is asked for the next time.
func (d *Desk) tellWaits(ctx context.Context, id sluice.JobID, tell func([]schedule.Wait)) {
	t := time.NewTicker(waitsEvery)
	defer t.Stop()
	for {
		if list, err := d.cfg.Client.Waits(ctx, string(id)); err == nil {
			out := make([]schedule.Wait, len(list))
			for i, w := range list {
				out[i] = schedule.Wait{Reason: reasonOf(w.Reason), Hosts: w.Hosts}
			}
			tell(out)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Refresh has the server ask the hosts of a job for outcomes that are not known.
func (d *Desk) Refresh(ctx context.Context, id sluice.JobID, o control.DriveOptions) error {
	if o.Secrets.Any() {
		return noSecrets()
	}
	_, err := d.cfg.Client.Settle(ctx, id)
	return err
}
