// Package remote is a desk whose journal is a server's: what people ask for goes there, and what is answered is what the
// journal of this machine would answer.
//
// It decides nothing that the server decides, and carries nothing out. It must not know how a server is chosen, nor what
// is shown to whom.
package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"sync"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/run/control"
	"sluice/sealed"
)

// Config is what a desk needs.
type Config struct {
	Client *client.Client
	// Who is acting, for people to read. The log has whoever the server takes the token for.
	Who string
	// Sealer seals secrets; workers with these fingerprints are trusted without a question.
	Sealer func(workers []string) (*client.Sealer, error)
	// Unpack puts what was fetched from a host, a tar stream, below a directory, where source is its path on the host.
	Unpack func(r io.Reader, dir string, h sluice.Host, source string) error
}

// Desk is a server elsewhere. It is safe for concurrent use.
type Desk struct {
	cfg Config

	mu      sync.Mutex
	driven  map[sluice.JobID]bool
	targets map[sluice.JobID][]sluice.Host   // of jobs whose events went by
	given   map[sluice.JobID]sealed.Envelope // to go with the next resume or retry
	printed printed
}

var _ control.Desk = (*Desk)(nil)

// New makes a desk of a client.
func New(cfg Config) *Desk {
	return &Desk{cfg: cfg, driven: map[sluice.JobID]bool{}, targets: map[sluice.JobID][]sluice.Host{}, given: map[sluice.JobID]sealed.Envelope{}}
}

// Who is acting, for people to read.
func (d *Desk) Who() string { return d.cfg.Who }

// Elsewhere is true: the server carries jobs out.
func (d *Desk) Elsewhere() bool { return true }

// Find returns the job whose id begins with prefix; "" is the newest job of all that one may see.
func (d *Desk) Find(ctx context.Context, prefix string) (sluice.Namespace, sluice.JobID, error) {
	j, err := d.job(ctx, prefix)
	return j.Namespace, j.ID, err
}

func (d *Desk) job(ctx context.Context, prefix string) (api.Job, error) {
	if prefix != "" {
		return d.cfg.Client.Job(ctx, prefix)
	}
	jobs, err := d.cfg.Client.Jobs(ctx, client.JobsQuery{Most: 1})
	if err != nil {
		return api.Job{}, err
	}
	if len(jobs) == 0 {
		return api.Job{}, sluice.Errorf(sluice.NotFound, "there are no jobs yet").WithHint("sluice run --help")
	}
	return jobs[0], nil
}

// Jobs lists all jobs that one may see, newest first. Their targets are as many as there are, without names.
func (d *Desk) Jobs(ctx context.Context) ([]schedule.Info, error) {
	jobs, err := d.cfg.Client.Jobs(ctx, client.JobsQuery{})
	if err != nil {
		return nil, err
	}
	out := make([]schedule.Info, len(jobs))
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, j := range jobs {
		out[i] = infoOf(j)
		d.driven[j.ID] = j.Driven
	}
	return out, nil
}

func infoOf(j api.Job) schedule.Info {
	i := schedule.Info{Spec: &sluice.Job{ID: j.ID, Namespace: j.Namespace, By: j.By, Reason: j.Reason, Command: j.Command, Targets: make([]sluice.Host, j.Targets)},
		State: schedule.JobState(j.State), Submitted: j.Submitted, Generation: j.Generation, Running: j.Running, Unsettled: j.Unsettled,
		Failures: j.Failures, Budget: j.Budget, Counts: j.Counts, Cancelling: j.Cancelling, Targets: j.Targets}
	if j.Started != nil {
		i.TakenUp = *j.Started
	}
	if j.Ended != nil {
		i.Ended = *j.Ended
	}
	if j.Halting || j.Cancelling && i.State == schedule.Running {
		i.State = schedule.Halting
	}
	if h := j.Halted; h != nil {
		i.Halted = &sluice.JobHalted{Rule: h.Rule, Reason: h.Reason, Constraint: h.Constraint, Group: h.Group, Holders: h.Holders, Generation: j.Generation}
	}
	for _, g := range j.Gates {
		gate := schedule.Gate{Track: g.Track, Stage: g.Stage, Index: g.Index, Kind: g.Kind}
		if g.Until != nil {
			gate.Until = *g.Until
		}
		i.Gates = append(i.Gates, gate)
	}
	return i
}

// Job returns the view of a job, and whether a live process drives it.
func (d *Desk) Job(ctx context.Context, prefix string) (*view.Job, bool, error) {
	j, err := d.job(ctx, prefix)
	if err != nil {
		return nil, false, err
	}
	events, err := d.Events(ctx, j.ID)
	if err != nil {
		return nil, false, err
	}
	return view.Fold(events), j.Driven, nil
}

// Driven reports whether a live process drove the job when it was listed last.
func (d *Desk) Driven(id sluice.JobID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.driven[id]
}

// Why returns the reasons of a job's tasks that wait: of one host, or of all for "".
func (d *Desk) Why(ctx context.Context, prefix string, h sluice.Host) ([]schedule.Reason, error) {
	_, id, err := d.Find(ctx, prefix)
	if err != nil {
		return nil, err
	}
	list, err := d.cfg.Client.Why(ctx, string(id), h)
	if err != nil {
		return nil, err
	}
	out := make([]schedule.Reason, len(list))
	for i, r := range list {
		out[i] = reasonOf(r)
	}
	return out, nil
}

func reasonOf(r api.Reason) schedule.Reason {
	out := schedule.Reason{Host: r.Host, Rule: r.Rule, Constraint: r.Constraint, Group: r.Group, Text: r.Text}
	for _, h := range r.Holders {
		out.Holders = append(out.Holders, holderOf(h))
	}
	return out
}

func holderOf(h api.Holder) schedule.Holder {
	return schedule.Holder{Host: h.Host, Job: h.Job, Since: h.Since, Why: h.Why}
}

// Events returns all events of a job.
func (d *Desk) Events(ctx context.Context, id sluice.JobID) ([]sluice.Event, error) {
	events, err := d.cfg.Client.Events(ctx, string(id), 0)
	for _, e := range events {
		d.note(e)
	}
	return events, err
}

// note keeps which hosts a job has: the names of attempts have their numbers.
func (d *Desk) note(e sluice.Event) {
	if b, ok := e.Body.(sluice.JobSubmitted); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.targets[e.Job] = b.Submitted.Targets
	}
}

// Output opens what the last attempt of a job on a host printed to a stream.
func (d *Desk) Output(ctx context.Context, prefix string, h sluice.Host, stream string) (io.ReadCloser, *view.Task, error) {
	_, id, err := d.Find(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	r, a, err := d.cfg.Client.AttemptOutput(ctx, string(id), h, "", stream, 0)
	if err != nil {
		return nil, nil, err
	}
	return r, &view.Task{Host: h, Attempt: a}, nil
}

// OpenOutput opens what an attempt printed to a stream.
func (d *Desk) OpenOutput(ctx context.Context, id sluice.JobID, a sluice.AttemptID, stream string) (io.ReadCloser, error) {
	if text, whole := d.printed.of(a, stream); whole {
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	h, err := d.host(ctx, id, a)
	if err != nil {
		return nil, err
	}
	r, _, err := d.cfg.Client.AttemptOutput(ctx, string(id), h, a, stream, 0)
	return r, err
}

// host is where an attempt was made.
func (d *Desk) host(ctx context.Context, id sluice.JobID, a sluice.AttemptID) (sluice.Host, error) {
	d.mu.Lock()
	targets := d.targets[id]
	d.mu.Unlock()
	if targets == nil {
		if _, err := d.Events(ctx, id); err != nil {
			return "", err
		}
		d.mu.Lock()
		targets = d.targets[id]
		d.mu.Unlock()
	}
	_, i, _, ok := a.Parse()
	if !ok || i >= len(targets) {
		return "", sluice.Errorf(sluice.NotFound, "job %s has no attempt %q", id, a)
	}
	return targets[i], nil
}

// Fleet returns the fleet that was applied to a namespace.
func (d *Desk) Fleet(ctx context.Context, ns sluice.Namespace) (*fleet.Loaded, control.Applied, error) {
	b, v, err := d.FleetAt(ctx, ns, control.FleetAt{})
	if err != nil {
		return nil, v, err
	}
	l, err := b.Load()
	return l, v, err
}

// Fleets lists the versions of the fleet of a namespace, oldest first.
func (d *Desk) Fleets(ctx context.Context, ns sluice.Namespace) ([]control.Applied, error) {
	list, err := d.cfg.Client.Fleets(ctx, ns)
	out := make([]control.Applied, len(list))
	for i, f := range list {
		out[i] = appliedOf(f)
	}
	return out, err
}

func appliedOf(f api.Fleet) control.Applied {
	return control.Applied{FleetApplied: sluice.FleetApplied{Version: f.Version, Bundle: f.Digest, Rules: f.Rules, Hosts: f.Hosts, By: f.By, Note: f.Note},
		Namespace: f.Namespace, Time: f.Time, Same: f.Unchanged}
}

// FleetAt returns the bundle of a version of a namespace's fleet.
func (d *Desk) FleetAt(ctx context.Context, ns sluice.Namespace, at control.FleetAt) (fleet.Bundle, control.Applied, error) {
	f, err := d.cfg.Client.Fleet(ctx, ns, at.Version, at.Time)
	if err != nil {
		return fleet.Bundle{}, control.Applied{}, err
	}
	data, err := json.Marshal(f.Fleet)
	if err != nil {
		return fleet.Bundle{}, control.Applied{}, err
	}
	b, err := fleet.DecodeBundle(data)
	if err != nil {
		return b, control.Applied{}, err
	}
	if is, err := b.Digest(); err != nil || is != f.Digest {
		return b, control.Applied{}, sluice.Errorf(sluice.Contact, "version %d of the fleet of %s did not arrive as it is kept", f.Version, ns)
	}
	return b, appliedOf(f), nil
}

// ApplyFleet makes the fleet of a bundle the current one of its namespace.
func (d *Desk) ApplyFleet(ctx context.Context, b fleet.Bundle, note string, base int) (control.Applied, error) {
	l, err := b.Load()
	if err != nil {
		return control.Applied{}, err
	}
	f, err := d.cfg.Client.ApplyFleet(ctx, l.Fleet().Namespace, b, note, base)
	return appliedOf(f), err
}

// RulesInForce is the digest of the rules of the fleet that was applied; "" if there is none.
func (d *Desk) RulesInForce(ctx context.Context, ns sluice.Namespace) (string, error) {
	list, err := d.cfg.Client.Fleets(ctx, ns)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[len(list)-1].Rules, nil
}

// Out lists the hosts of a namespace that are out of service or retired.
func (d *Desk) Out(ctx context.Context, ns sluice.Namespace) ([]schedule.HostInfo, error) {
	list, err := d.cfg.Client.HostsOut(ctx, ns)
	out := make([]schedule.HostInfo, len(list))
	for i, h := range list {
		out[i] = schedule.HostInfo{Holder: holderOf(h.Holder), Held: h.Held, Retired: h.Retired, By: h.By, Reason: h.Reason, Unknown: h.Unknown, Running: h.Running}
	}
	return out, err
}

// Halt starts nothing more of a job and lets what runs end.
func (d *Desk) Halt(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error) {
	return d.cfg.Client.Halt(ctx, id, reason)
}

// Cancel starts nothing more of a job and has what runs killed.
func (d *Desk) Cancel(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error) {
	return d.cfg.Client.Cancel(ctx, id, reason)
}

// Resume opens a halted job again.
func (d *Desk) Resume(ctx context.Context, id sluice.JobID, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return d.cfg.Client.ResumeSealed(ctx, id, maxFailures, d.take(id))
}

// Retry tries tasks again that ended badly.
func (d *Desk) Retry(ctx context.Context, id sluice.JobID, hosts []sluice.Host, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return d.cfg.Client.RetrySealed(ctx, id, hosts, maxFailures, d.take(id))
}

// Skip says that tasks need not run.
func (d *Desk) Skip(ctx context.Context, id sluice.JobID, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	return d.cfg.Client.Skip(ctx, id, hosts, reason)
}

// Approve lets the gates of a job pass that wait for approval.
func (d *Desk) Approve(ctx context.Context, id sluice.JobID, stage, plan string) ([]sluice.Event, error) {
	return d.cfg.Client.Approve(ctx, id, stage, plan)
}

// ApproveSigned signs that the gates of a job may pass, with the key of who is acting. It signs what the history of the job
// says that was submitted, and with a digest nothing else than what has that: who approves has looked at it.
func (d *Desk) ApproveSigned(ctx context.Context, id sluice.JobID, stage, plan string, _ sealed.Approval) ([]sluice.Event, error) {
	shown, _, err := d.Job(ctx, string(id))
	if err != nil {
		return nil, err
	}
	sealer, err := d.cfg.Sealer(nil)
	if err != nil {
		return nil, err
	}
	return d.cfg.Client.ApproveSigned(ctx, shown.Spec.ID, stage, plan, sealer, func(j *sluice.Job) error {
		if digest, err := sealed.PlanDigest(j); err != nil || plan != "" && plan != digest {
			return sluice.Errorf(sluice.Conflict, "job %s is %s, and not the %s that was looked at", j.ID, digest, plan).WithHint("sluice status %s", j.ID)
		}
		return client.Exactly(shown.Spec)(j)
	})
}

// Balanced is nothing that a server does.
func (d *Desk) Balanced(context.Context, sluice.Namespace, sluice.Body) ([]sluice.Event, error) {
	return nil, sluice.Errorf(sluice.Usage, "a server changes nothing at balancers by hand").WithHint("--server local")
}

// ChangeHosts holds, releases, retires or returns hosts of a namespace.
func (d *Desk) ChangeHosts(ctx context.Context, ns sluice.Namespace, act control.HostAct, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	return d.cfg.Client.ChangeHosts(ctx, ns, string(act), slices.Clone(hosts), reason)
}
