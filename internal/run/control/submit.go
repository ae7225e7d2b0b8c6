package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/fleet"
	"sluice/internal/core/plan"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
	"sluice/internal/core/validate"
)

// Request is what somebody wants done.
type Request struct {
	Fleet      *sluice.Fleet
	Expression string
	Targets    []sluice.Host
	Command    string // for people
	Action     sluice.Action
	Options    sluice.Options
	// OnceAt and AfterAt are where it is written which host runs what a release runs once; zero where nobody knows.
	OnceAt, AfterAt sluice.Position
	// Resolve is what an expression means in the fleet, for what a release says of other hosts than its targets; nil where nothing does.
	Resolve func(expression string) ([]sluice.Host, error)
	Look    *sluice.Look // that it was made from; nil: none
	// Ask is what the hosts are asked, if the action is that; nil for anything else. It is known to change nothing, so no order holds.
	Ask *release.Ask

	Sent Sent
}

// Sent is what a request was made of here. A server elsewhere makes of it what this process has made already.
type Sent struct {
	// Bundle is what the fleet was loaded from, where it is a file of one's own.
	Bundle *fleet.Bundle
	// Digest is that of the applied version that the fleet is, where it is one.
	Digest string
	// Name is what a script or a source is called.
	Name string
	// User is who was asked to log in as, Hooks the directory with hooks; "" leaves it to the fleet.
	User, Hooks string
	// Key makes the same job of every request that has it.
	Key string
}

// Draft is a request that was planned but not submitted: what it would do.
type Draft struct {
	// Secrets are those of the job, for a desk elsewhere to seal; here they come when it is carried out.
	Secrets Secrets
	Job     sluice.Job
	Rules   sluice.Rules
	Plan    sluice.Plan
	// Fleet is the one that was planned on: retired hosts are members of nothing.
	Fleet *sluice.Fleet
	// Retired are hosts that the request named and that are no targets.
	Retired []sluice.Host
	// Gone are all retired hosts of the namespace, sorted.
	Gone []sluice.Host
	// Clears are the holders that a success would put back into service.
	Clears []schedule.Holder
	// Supersedes are the jobs that it may cancel to have its lock; nil: all that there are.
	Supersedes []sluice.JobID
	// Bound says that the job brings no rules, even where its fleet has others by now: those in force hold for it.
	Bound bool
	// Request is what it was made of.
	Request Request
}

// Prepare plans a request.
func (s *Service) Prepare(ctx context.Context, r Request) (*Draft, error) {
	var retired []sluice.Host
	err := s.look(ctx, r.Fleet.Namespace, func(state *schedule.State) error {
		retired = state.Retired()
		return nil
	})
	if err != nil {
		return nil, err
	}
	var clearErr error
	d, err := Draw(r, s.By, retired, func(targets []sluice.Host) (out []schedule.Holder) {
		clearErr = s.look(ctx, r.Fleet.Namespace, func(state *schedule.State) error {
			out = state.Clears(targets)
			return nil
		})
		return out
	})
	return d, errors.Join(err, clearErr)
}

// Draw makes a draft of a request, and of what the namespace says of hosts: retired are sorted, clears tells which hosts a
// success would put back into service.
func Draw(r Request, by string, retired []sluice.Host, clears func([]sluice.Host) []schedule.Holder) (*Draft, error) {
	d := &Draft{Request: r, Gone: retired}
	targets := r.Targets
	if len(retired) > 0 {
		targets = slices.DeleteFunc(slices.Clone(targets), func(h sluice.Host) bool {
			_, is := slices.BinarySearch(retired, h)
			if is {
				d.Retired = append(d.Retired, h)
			}
			return is
		})
	}
	if len(targets) == 0 && len(d.Retired) > 0 {
		return nil, sluice.Errorf(sluice.Usage, "all hosts that are meant are retired").WithHint("sluice host list --out")
	}
	var ordered []sluice.Host
	var err error
	d.Fleet = inService(r.Fleet, retired)
	if r.Ask != nil {
		f := *d.Fleet
		f.Sequences = nil
		d.Fleet, d.Bound = &f, true // who looks brings no rules
	}
	if d.Plan, ordered, err = plan.Make(d.Fleet, targets); err != nil {
		return nil, err
	}
	if d.Plan, err = once(d.Plan, ordered, d.Fleet, &r); err != nil {
		return nil, err
	}
	if r.Action, err = validating(d.Plan, r, retired); err != nil {
		return nil, err
	}
	if d.Rules, err = sluice.NewRules(r.Fleet.Hosts, r.Fleet.Constraints); err != nil {
		return nil, err
	}
	d.Job = sluice.Job{ID: NewJobID(), Namespace: r.Fleet.Namespace, By: by, Fleet: r.Fleet.Source, Expression: r.Expression,
		Command: r.Command, Action: r.Action, Options: r.Options, Look: r.Look, Targets: ordered, Tracks: d.Plan.Tracks, Rules: d.Rules.Digest,
		SSH: r.Fleet.SSH, Target: r.Fleet.Target, Approval: r.Fleet.Approval}
	for _, h := range ordered {
		if ssh, ok := r.Fleet.HostSSH[h]; ok {
			if d.Job.HostSSH == nil {
				d.Job.HostSSH = map[sluice.Host]sluice.SSH{}
			}
			d.Job.HostSSH[h] = ssh
		}
	}
	if !r.Options.ReadOnly {
		d.Clears = clears(ordered)
	}
	return d, nil
}

// once puts the hosts first and last that run what a release runs once, and notes them in the action. What somebody else says of them
// does not count.
func once(p sluice.Plan, targets []sluice.Host, f *sluice.Fleet, r *Request) (sluice.Plan, error) {
	if r.Action.Release == nil {
		return p, nil
	}
	rel := *r.Action.Release
	rel.Once, rel.After, r.Action.Release = "", "", &rel
	if r.Action.Kind != sluice.DeployTo {
		return p, nil
	}
	var err error
	if on := rel.Deploy.Once; on != "" {
		if p, rel.Once, err = plan.Once(p, targets, f, on); err != nil {
			return p, written(err, r.OnceAt)
		}
	}
	if on := rel.Deploy.After; on != "" {
		if p, rel.After, err = plan.After(p, targets, f, on, rel.Once); err != nil {
			return p, written(err, r.AfterAt)
		}
	}
	return p, nil
}

// written says where it is written what is wrong.
func written(err error, at sluice.Position) error {
	if e := (*sluice.Error)(nil); errors.As(err, &e) {
		with := *e
		with.At = at
		return &with
	}
	return err
}

// validating notes in the action where a release is validated. What somebody else says of it does not count.
func validating(p sluice.Plan, r Request, retired []sluice.Host) (sluice.Action, error) {
	a := r.Action
	if a.Release == nil {
		return a, nil
	}
	rel := *a.Release
	rel.Validating, a.Release = nil, &rel
	v := rel.Deploy.Validate
	if a.Kind != sluice.DeployTo || v == nil {
		return a, nil
	}
	var err error
	rel.Validating, err = validate.Where(v, r.Fleet, p, r.Resolve, func(h sluice.Host) bool {
		_, is := slices.BinarySearch(retired, h)
		return is
	})
	return a, err
}

// Asks says why people are asked before the job starts: it has more hosts than the fleet lets go without a question, or its
// success would put hosts back into service that are out. Nothing is asked where it says nothing.
func (d *Draft) Asks() (why []string) {
	if above := d.Fleet.ConfirmAbove; above > 0 && len(d.Job.Targets) > above {
		why = append(why, fmt.Sprintf("%d hosts are more than %d, above which this fleet asks", len(d.Job.Targets), above))
	}
	if len(d.Clears) == 0 {
		return why
	}
	const few = 10
	var names []string
	for i, h := range d.Clears {
		if i == few {
			names = append(names, fmt.Sprintf("and %d more", len(d.Clears)-i))
			break
		}
		names = append(names, fmt.Sprintf("%s (%s in job %s)", h.Host, h.Why, h.Job))
	}
	return append(why, "a success would put hosts back into service that are out: "+strings.Join(names, ", "))
}

// WithHooks is the fleet with another directory of hooks on the targets.
func WithHooks(f sluice.Fleet, dir string) sluice.Fleet {
	dir = strings.TrimRight(dir, "/")
	f.Target.PreHooks, f.Target.PostHooks = dir+"/pre.d", dir+"/post.d"
	return f
}

// LoginAs is the fleet with another user to log in as, on all its hosts.
func LoginAs(f sluice.Fleet, user string) sluice.Fleet {
	f.SSH.User = user
	hosts := make(map[sluice.Host]sluice.SSH, len(f.HostSSH))
	for h, s := range f.HostSSH {
		s.User = user
		hosts[h] = s
	}
	f.HostSSH = hosts
	return f
}

// inService is the fleet as the scheduler counts it: retired hosts are members of nothing.
func inService(f *sluice.Fleet, retired []sluice.Host) *sluice.Fleet {
	if len(retired) == 0 {
		return f
	}
	left := func(hosts []sluice.Host) []sluice.Host {
		return slices.DeleteFunc(slices.Clone(hosts), func(h sluice.Host) bool {
			_, is := slices.BinarySearch(retired, h)
			return is
		})
	}
	out := *f
	out.Constraints = nil
	for _, c := range f.Constraints {
		kept := sluice.Constraint{Name: c.Name, At: c.At}
		for _, g := range c.Groups {
			kept.Groups = append(kept.Groups, sluice.Group{Name: g.Name, Limit: g.Limit, Members: left(g.Members)})
		}
		out.Constraints = append(out.Constraints, kept)
	}
	out.Tags = make(map[sluice.Tag][]sluice.Host, len(f.Tags))
	for tag, hosts := range f.Tags {
		out.Tags[tag] = left(hosts)
	}
	return &out
}

// Submit puts a job into the log. The rules of its fleet are in force from then on. A job without a fleet file, or
// one that is bound, brings no rules: those in force hold for it, too.
func (s *Service) Submit(ctx context.Context, d *Draft) ([]sluice.Event, error) {
	return s.change(ctx, d.Job.Namespace, func(state *schedule.State) ([]sluice.Event, error) {
		if _, is := state.Job(d.Job.ID); is {
			return nil, sluice.Errorf(sluice.Conflict, "there is a job %s already", d.Job.ID).WithHint("sluice status %s", d.Job.ID)
		}
		if err := current(state, &d.Job); err != nil {
			return nil, err
		}
		out, err := s.supersede(state, d)
		if err != nil {
			return nil, err
		}
		switch now := state.InForce(); {
		case now != "" && (d.Job.Fleet == "" || d.Bound):
			d.Job.Rules = now
		case now != d.Rules.Digest:
			out = append(out, s.event("", sluice.RulesApplied{Rules: d.Rules, By: s.By}))
		}
		return append(out, s.event(d.Job.ID, sluice.JobSubmitted{Submitted: d.Job})), nil
	})
}

// current refuses a job that would end before it starts anything, as what it was made from has changed. It is looked at again when the
// job has its lock.
func current(state *schedule.State, j *sluice.Job) error {
	if j.Look == nil {
		return nil
	}
	if j.Look.Until > state.Seq() {
		return sluice.Errorf(sluice.Conflict, "this was made from a look at event %d of %s, and there are %d", j.Look.Until, j.Namespace, state.Seq()).
			WithHint("look again: the journal may have been restored since")
	}
	look := *j.Look
	look.Again = ""
	if why := state.Outdated(j.Action.Release, look); why != "" {
		return sluice.Errorf(sluice.Conflict, "%s", why).WithHint("%s", cmp.Or(j.Look.Again, "look again"))
	}
	return nil
}

// Locked lists the jobs of a namespace that have a lock or wait for it, in the order in which they get it.
func (s *Service) Locked(ctx context.Context, ns sluice.Namespace, l sluice.Lock) (out []*sluice.Job, err error) {
	err = s.look(ctx, ns, func(state *schedule.State) error {
		for _, i := range state.Locked(l) {
			out = append(out, i.Spec)
		}
		return nil
	})
	return out, err
}

// supersede cancels the jobs that have the lock of a draft or wait for it, where that is wanted.
func (s *Service) supersede(state *schedule.State, d *Draft) (out []sluice.Event, err error) {
	o := d.Job.Options
	if !o.Supersede {
		return nil, nil
	}
	for _, i := range state.Locked(o.Lock) {
		id := i.Spec.ID
		if d.Supersedes != nil && !slices.Contains(d.Supersedes, id) {
			return nil, sluice.Errorf(sluice.Conflict, "job %s of %s wants the lock %s, too, since a moment ago", id, i.Spec.By, o.Lock).WithHint("sluice status %s", id)
		}
		cancels, err := act.Act{Kind: act.Cancel, Job: id, By: s.By, Reason: fmt.Sprintf("job %s takes its lock, %s", d.Job.ID, o.Lock)}.Events(state, s.Clock())
		if err != nil {
			return nil, err
		}
		out = append(out, cancels...)
		// Nobody need be there to end what does not run; what runs is killed by whoever drives it.
		if end, over := state.Cancelled(id); over {
			out = append(out, s.event(id, end))
		} else if !s.Driven(id) {
			return nil, sluice.Errorf(sluice.Conflict, "job %s has the lock %s, and nobody is there to end what runs of it", id, o.Lock).WithHint("sluice cancel %s", id)
		}
	}
	return out, nil
}
