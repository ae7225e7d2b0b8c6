package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// How what a host says compares with what is on record.
const (
	askedSame        = "same"
	askedDrift       = "drift"
	askedTold        = "told" // nothing is known to compare it with
	askedUnreachable = "unreachable"
	askedUnknown     = "unknown"
)

// asked is what came of asking a host, as JSON.
type asked struct {
	State    string       `json:"state"`
	Version  string       `json:"version,omitzero"`
	Config   string       `json:"config,omitzero"`
	Manifest string       `json:"manifest,omitzero"`
	Link     string       `json:"link,omitzero"` // where live leads, as it stands there
	Reason   string       `json:"reason,omitzero"`
	Job      sluice.JobID `json:"job,omitzero"` // that asked
}

// answers are what hosts said, as they stand in a list of what is live; nil where nobody was asked.
type answers []asked

func (s answers) of(i int) *asked {
	if s == nil {
		return nil
	}
	return &s[i]
}

// askFlags say how hosts are asked.
type askFlags struct {
	jobFlags
	ask bool
}

// askWith are flags of jobs that a question has, too.
var askWith = []string{"fleet", "sudo", "user", "timeout", "reconnect", "concurrency", "ask-password", "ask-sudo-password", "ask-passphrase", "password-fd",
	"sudo-password-fd", "passphrase-fd", "identity-file", "sign", "trust-worker"}

func (f *askFlags) add(a *app, c *cobra.Command) {
	c.Flags().BoolVar(&f.ask, "ask", false, "ask the hosts what is live there now, by a job that changes nothing")
	job := &cobra.Command{}
	f.addCarrying(a, job)
	for _, name := range askWith {
		c.Flags().AddFlag(job.Flags().Lookup(name))
	}
}

// check refuses what says how to ask where nobody is asked.
func (f *askFlags) check(c *cobra.Command) error {
	for _, name := range askWith {
		if !f.ask && c.Flags().Changed(name) {
			return sluice.Errorf(sluice.Usage, "--%s says how the hosts are asked, and without --ask none is", name)
		}
	}
	return nil
}

// question is what hosts are asked in one job: those of a namespace that go by one fleet file.
type question struct {
	namespace sluice.Namespace
	fleet     string
	places    []int // in the list of what is live
	roots     []string
}

// inquiry asks the hosts of a list what they have.
type inquiry struct {
	a     *app
	svc   control.Desk
	f     *askFlags
	q     control.LiveQuery
	list  []control.Live
	roots []string // of the app, by place; "" where it is not known
	out   answers
	ended error // how the jobs ended that were not carried out to their end
}

// askHosts asks the hosts of a list what is live there. An error says that none can be asked; that one cannot is in its answer. ended
// is the exit status of a job that did not come to its end.
func (a *app) askHosts(ctx context.Context, svc control.Desk, f *askFlags, q control.LiveQuery, list []control.Live) (out answers, ended error, err error) {
	n := &inquiry{a: a, svc: svc, f: f, q: q, list: list, roots: make([]string, len(list)), out: make(answers, len(list))}
	questions, err := n.questions(ctx)
	if err != nil {
		return nil, nil, err
	}
	var requests []control.Request
	for _, one := range questions {
		r, err := n.request(ctx, one)
		if err != nil {
			return nil, nil, err
		}
		requests = append(requests, r)
	}
	secrets, err := a.secrets(f.secretFlags)
	if err != nil {
		return nil, nil, err
	}
	for i, one := range questions {
		if len(requests[i].Targets) == 0 {
			continue
		}
		if err := n.put(ctx, one, requests[i], secrets); err != nil {
			return nil, nil, err
		}
	}
	return n.out, n.ended, n.meanwhile(ctx)
}

// questions finds where the app is on each host, as the jobs have it that brought it there, and puts hosts together.
func (n *inquiry) questions(ctx context.Context) (out []*question, err error) {
	type found struct {
		job *view.Job
		err error
	}
	jobs := map[sluice.JobID]found{}
	for i, l := range n.list {
		id := l.Last
		if l.Known && l.Job != "" {
			id = l.Job
		}
		k, had := jobs[id]
		if !had {
			k.job, _, k.err = n.svc.Job(ctx, string(id))
			jobs[id] = k
		}
		if code := sluice.CodeOf(k.err); k.err != nil && code != sluice.NotFound && code != sluice.Denied {
			return nil, k.err
		}
		if k.err != nil || k.job.Spec.Action.Release == nil {
			n.out[i] = asked{State: askedUnknown, Reason: fmt.Sprintf("where it is on the host is said by job %s, which cannot be read", id)}
			continue
		}
		file := n.f.file
		if file == "" && !n.a.elsewhere() {
			file = k.job.Spec.Fleet
		}
		at := slices.IndexFunc(out, func(q *question) bool { return q.namespace == l.Namespace && q.fleet == file })
		if at < 0 {
			at, out = len(out), append(out, &question{namespace: l.Namespace, fleet: file})
		}
		n.roots[i] = k.job.Spec.Action.Release.Deploy.Root
		out[at].places = append(out[at].places, i)
		if !slices.Contains(out[at].roots, n.roots[i]) {
			out[at].roots = append(out[at].roots, n.roots[i])
		}
	}
	return out, nil
}

// request is the job that puts a question. It has no targets where the fleet has none of the hosts any more.
func (n *inquiry) request(ctx context.Context, one *question) (control.Request, error) {
	f := n.f.jobFlags
	f.file, f.namespace = one.fleet, string(one.namespace)
	var hosts []sluice.Host
	for _, i := range one.places {
		if h := n.list[i].Host; !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	f.hosts = fleet.Fold(hosts)
	l, _, err := n.a.loadFleet(ctx, f.targetFlags)
	if err != nil {
		return control.Request{}, err
	}
	if l != nil {
		gone := func(h sluice.Host) bool { return !slices.Contains(l.Fleet().Hosts, h) }
		for _, i := range one.places {
			if gone(n.list[i].Host) {
				n.out[i] = asked{State: askedUnknown, Reason: "the fleet has no such host"}
			}
		}
		if hosts = slices.DeleteFunc(hosts, gone); len(hosts) == 0 {
			return control.Request{}, nil
		}
		f.hosts = fleet.Fold(hosts)
	}
	r, err := n.a.request(ctx, &f)
	if err != nil {
		return r, err
	}
	r.Ask = &release.Ask{App: n.q.App, Env: n.q.Env, Roots: one.roots}
	if err := r.Ask.Check(); err != nil {
		return r, &sluice.Error{Code: sluice.Usage, Text: "the hosts cannot be asked", Err: err}
	}
	r.Action, r.Command, r.Options.ReadOnly = r.Ask.Action(), r.Ask.Told(), true
	return r, nil
}

// put carries the job out that puts a question, and reads what the hosts answered.
func (n *inquiry) put(ctx context.Context, one *question, r control.Request, secrets control.Secrets) error {
	a, svc := n.a, n.svc
	d, err := svc.Prepare(ctx, r)
	if err != nil {
		return err
	}
	drive := func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) { return svc.Run(ctx, d, o) }
	if svc.Elsewhere() {
		d.Secrets = secrets
		if err := a.handIn(ctx, svc, d); err != nil {
			return err
		}
		drive = func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) {
			return svc.Carry(ctx, d.Job.ID, o)
		}
	} else if n.f.sign {
		return sluice.Errorf(sluice.Usage, "--sign needs a server, whose workers look at the signature").WithHint("sluice login URL, or --server URL")
	}
	a.say("job %s asks %s", d.Job.ID, count(len(d.Job.Targets), "host"))
	job := view.New()
	err = a.carry(ctx, svc, showing{mute: true}, string(d.Job.ID), func(ctx context.Context, o control.DriveOptions) (sluice.Event, error) {
		o.Secrets, o.NoOutput, o.KeepOutput = secrets, true, true
		o.Observe = job.Apply
		return drive(ctx, o)
	})
	var status exitError
	if err != nil && !errors.As(err, &status) {
		return err
	}
	if status != exitOK && status != exitFailures {
		n.ended = cmp.Or(n.ended, err)
	}
	for _, i := range one.places {
		if n.out[i].State == "" {
			n.out[i] = n.answer(ctx, job, i)
			n.out[i].Job = d.Job.ID
		}
	}
	return nil
}

// answer is what a host said of an app.
func (n *inquiry) answer(ctx context.Context, job *view.Job, i int) asked {
	l := n.list[i]
	t := job.Task(l.Host)
	switch {
	case t == nil || t.Attempt == "" || t.Outcome == "":
		return asked{State: askedUnknown, Reason: "it was not asked: the job is " + job.State()}
	case t.Outcome == sluice.Unreachable:
		return asked{State: askedUnreachable, Reason: t.Reason}
	case t.Outcome != sluice.Succeeded:
		return asked{State: askedUnknown, Reason: fmt.Sprintf("the question ended as %s: %s", t.Outcome, t.Reason)}
	}
	text, err := n.printed(ctx, job.ID, t.Attempt)
	if err != nil {
		return asked{State: askedUnknown, Reason: "what it answered cannot be had: " + err.Error()}
	}
	all, err := release.ReadSeen(text)
	if err == nil && all[n.roots[i]] == nil {
		err = errors.New("it says nothing of " + n.roots[i])
	}
	if err != nil {
		return asked{State: askedUnknown, Reason: err.Error()}
	}
	return compared(all[n.roots[i]], l)
}

// printed is what a host answered.
func (n *inquiry) printed(ctx context.Context, id sluice.JobID, at sluice.AttemptID) (string, error) {
	in, err := n.svc.OpenOutput(ctx, id, at, "stdout")
	if err != nil {
		return "", err
	}
	defer in.Close()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(in, most))
	return string(text), err
}

// compared holds what a host says against what is on record.
func compared(s *release.Seen, l control.Live) asked {
	is, same, unseen := s.Against(l.Live)
	out := asked{State: askedDrift, Version: is.Version, Config: is.Config, Manifest: is.Manifest, Link: s.Link()}
	switch {
	case unseen != "":
		out.State, out.Reason = askedUnknown, unseen
	case !l.Known:
		out.State, out.Reason = askedTold, "what it should be is not known: "+string(l.Why)
	case same:
		out.State = askedSame
	case s.Way() != "":
		out.Reason = "nothing is live: " + s.Way()
	case s.Link() == "":
		out.Reason = "nothing is live"
	default:
		out.Reason = "live leads to " + s.Link() + ", and no job on record made it so"
	}
	return out
}

// meanwhile looks at what is on record again: what a job has changed while hosts were asked is no drift.
func (n *inquiry) meanwhile(ctx context.Context) error {
	now, err := n.svc.Live(ctx, n.q)
	if err != nil && len(now) == 0 {
		return err
	}
	for i, l := range n.list {
		at := slices.IndexFunc(now, func(m control.Live) bool { return m.Namespace == l.Namespace && m.Place == l.Place })
		switch s := &n.out[i]; {
		case s.State == askedUnreachable || s.State == askedUnknown:
		case at < 0:
			s.State, s.Reason = askedUnknown, "it was taken off the record while it was asked"
		case now[at].Last != l.Last || now[at].Known != l.Known || now[at].Live != l.Live:
			s.State, s.Reason = askedUnknown, fmt.Sprintf("job %s was at work there while it was asked; ask again", now[at].Last)
		}
	}
	return nil
}

// status is the exit status for what hosts said.
func (s answers) status() error {
	if slices.ContainsFunc(s, func(one asked) bool { return one.State != askedSame }) {
		return exitError(exitFailures)
	}
	return nil
}

// text is an answer in a word or two, for the column of a table.
func (s *asked) text() string {
	switch {
	case s.State != askedDrift && s.State != askedTold:
		return s.State
	case s.Version == "":
		return s.State + ": nothing"
	}
	return s.State + ": " + clean.Line(s.Version)
}
