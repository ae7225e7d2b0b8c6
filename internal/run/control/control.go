// Package control is the one service behind every front: submit, halt, resume, retry, skip, cancel, approve, hold,
// release, watch, and the questions that people ask. Each change reads to the head of the log, checks that it fits,
// and appends, as one step.
//
// It knows ports only; who carries jobs out is handed in as [Service.Drive].
package control

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/run/fold"
)

// Service answers for all namespaces of one journal. It is safe for concurrent use.
type Service struct {
	Log     sluice.Log
	Drivers sluice.Drivers
	Outputs sluice.Outputs
	Blobs   sluice.Blobs
	Clock   sluice.Clock
	// By is who acts, for the log.
	By string
	// Drive carries a job out that this process has claimed.
	Drive func(ctx context.Context, ns sluice.Namespace, id sluice.JobID, o DriveOptions) (sluice.Event, error)

	// Unreadable is told of a namespace that cannot be read, which then keeps no list of all from being made; nil: it does.
	Unreadable func(ns sluice.Namespace, err error)
	// Turned is when the log was restored or repaired last; zero: never. nil: nobody asks.
	Turned func(ctx context.Context) (time.Time, error)

	// Unplaced says why an attempt that was started has no worker yet; "" where it has one. Nil: all have.
	Unplaced func(sluice.AttemptID) string

	// May says whether somebody may have a job go on, or, for "", whether whoever it is carried out for may. An error with the
	// code Denied says that they may not. Only what is foreseen asks it. Nil: all may.
	May func(ctx context.Context, j *sluice.Job, by string) error

	facts  facts   // what was read of outputs
	fleets applied // what was read of the fleets of namespaces
	begin  sync.Once
	states *fold.Live // what was read of the jobs of namespaces
	news   *fold.Tail // what is read for those who follow them
	boards *fold.Boards
	lives  *fold.Places // what is live where
	of     *Service     // whose these are, where they are another's

	foresees chan struct{} // holds one for each effect that is being worked out
	compares chan struct{} // holds one for each deploy that is being compared with what is live
}

// As is the same service for somebody else.
func (s *Service) As(by string) *Service {
	return &Service{Log: s.Log, Drivers: s.Drivers, Outputs: s.Outputs, Blobs: s.Blobs, Clock: s.Clock, By: by, Drive: s.Drive, Unreadable: s.Unreadable, of: s}
}

// first is the service that this one is made of, by As.
func (s *Service) first() *Service {
	for s.of != nil {
		s = s.of
	}
	return s
}

// read is what was read of the fleets of namespaces.
func (s *Service) read() *applied { return &s.first().fleets }

// begun is the first service, with what it keeps of the log.
func (s *Service) begun() *Service {
	s = s.first()
	s.begin.Do(func() {
		s.states, s.news = fold.NewLive(s.Log), fold.NewTail(s.Log)
		s.boards, s.lives = fold.NewBoards(s.Log, s.states), fold.NewPlaces(s.Log)
		s.foresees, s.compares = make(chan struct{}, foreseenAtOnce), make(chan struct{}, comparedAtOnce)
	})
	return s
}

func (s *Service) live() *fold.Live { return s.begun().states }
func (s *Service) tail() *fold.Tail { return s.begun().news }

// look calls f with the state of a namespace at the head of the log.
func (s *Service) look(ctx context.Context, ns sluice.Namespace, f func(*schedule.State) error) error {
	if err := ours(ns); err != nil {
		return err
	}
	return s.live().Look(ctx, ns, f)
}

// DriveOptions say how this process drives a job.
type DriveOptions struct {
	Secrets Secrets
	// Credentials are where secrets come from in place of Secrets; nil: from there.
	Credentials sluice.Credentials
	// FetchDir is where fetched files go.
	FetchDir string
	// OnlySettle asks for unknown outcomes, and starts nothing.
	OnlySettle bool
	// Observe gets the job's events as they become durable, and its output; never two at once. May be nil.
	Observe func(sluice.Event)
	// NoOutput says that Observe can do without output; Seen, that it has seen the events up to that number. Both save a
	// server elsewhere from sending them.
	NoOutput bool
	Seen     uint64
	// KeepOutput says that all output is asked for when the job is over: a server elsewhere had better send it along.
	KeepOutput bool
	// Notice gets what a person should know beside them. May be nil.
	Notice func(string)
	// Waits gets, about once a second, what keeps tasks from starting. May be nil.
	Waits func([]schedule.Wait)
}

// Secrets are what the person at the terminal gave. Those that were not given are not set.
type Secrets struct {
	Password, Sudo, Passphrase sluice.Secret
	// PrivateKey is the text of a private key to log in with.
	PrivateKey sluice.Secret
	// Workers are fingerprints of workers elsewhere that may have them without a question.
	Workers []string
}

// Any reports whether there is any secret.
func (s *Secrets) Any() bool {
	return s.Password.Set() || s.Sudo.Set() || s.Passphrase.Set() || s.PrivateKey.Set()
}

// change appends what decide makes of the state at the head of the log. decide may return no events.
func (s *Service) change(ctx context.Context, ns sluice.Namespace, decide func(*schedule.State) ([]sluice.Event, error)) ([]sluice.Event, error) {
	if err := ours(ns); err != nil {
		return nil, err
	}
	var made []sluice.Event
	err := s.live().Update(ctx, ns, func(state *schedule.State) (_ []sluice.Event, err error) {
		made, err = decide(state)
		return made, err
	})
	return made, err
}

// ours refuses namespaces that are none for jobs and hosts.
func ours(ns sluice.Namespace) error {
	if ns.Reserved() {
		return sluice.Errorf(sluice.NotFound, "there is no namespace %q", ns)
	}
	return nil
}

// event makes an event of now.
func (s *Service) event(job sluice.JobID, b sluice.Body) sluice.Event {
	return sluice.Event{Time: s.Clock(), Job: job, Body: b}
}

// events are events of now, about a job.
func (s *Service) events(job sluice.JobID, bodies []sluice.Body) (out []sluice.Event) {
	for _, b := range bodies {
		out = append(out, s.event(job, b))
	}
	return out
}

// changeJob is change for a job that must exist.
func (s *Service) changeJob(ctx context.Context, id sluice.JobID, decide func(*schedule.State, schedule.Info) ([]sluice.Event, error)) ([]sluice.Event, error) {
	ns, id, err := s.Find(ctx, string(id))
	if err != nil {
		return nil, err
	}
	return s.change(ctx, ns, func(state *schedule.State) ([]sluice.Event, error) {
		info, ok := state.Job(id)
		if !ok {
			return nil, act.NoJob(string(id))
		}
		return decide(state, info)
	})
}

// Find returns the job whose id begins with prefix; "" is the newest job of all.
func (s *Service) Find(ctx context.Context, prefix string) (sluice.Namespace, sluice.JobID, error) {
	if prefix != "" {
		return s.Log.FindJob(ctx, prefix)
	}
	jobs, err := s.Jobs(ctx)
	if err != nil {
		return "", "", err
	}
	if len(jobs) == 0 {
		return "", "", sluice.Errorf(sluice.NotFound, "there are no jobs yet").WithHint("sluice run --help")
	}
	return jobs[0].Spec.Namespace, jobs[0].Spec.ID, nil
}

// Jobs lists all jobs of all namespaces, newest first.
func (s *Service) Jobs(ctx context.Context) ([]schedule.Info, error) {
	spaces, err := s.Log.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	var out []schedule.Info
	for _, ns := range spaces {
		if ns.Reserved() {
			continue
		}
		err := s.look(ctx, ns, func(state *schedule.State) error {
			out = append(out, state.Jobs()...)
			return nil
		})
		switch {
		case err != nil && ctx.Err() == nil && s.Unreadable != nil:
			s.Unreadable(ns, err)
		case err != nil:
			return nil, err
		}
	}
	newestFirst(out)
	return out, nil
}

// Job returns the view of a job, and whether a live process drives it.
func (s *Service) Job(ctx context.Context, prefix string) (*view.Job, bool, error) {
	ns, id, err := s.Find(ctx, prefix)
	if err != nil {
		return nil, false, err
	}
	var j *view.Job
	err = s.live().Job(ctx, ns, id, func(now *view.Job) error {
		if now == nil {
			return act.NoJob(prefix)
		}
		j = now.Clone()
		return nil
	})
	return j, s.Drivers.Driven(id), err
}

// Task returns how a job gets on on one host, a copy of what is known of it, and the stage that it stands in.
func (s *Service) Task(ctx context.Context, prefix string, h sluice.Host) (t view.Task, stage view.Stage, removed *sluice.OutputRemoved, err error) {
	ns, id, err := s.Find(ctx, prefix)
	if err != nil {
		return t, stage, nil, err
	}
	err = s.live().Job(ctx, ns, id, func(now *view.Job) error {
		if now == nil {
			return act.NoJob(prefix)
		}
		is := now.Task(h)
		if is == nil {
			return noTarget(h, id)
		}
		t, removed = *is, now.Removed
		if t.Stage >= 0 {
			stage = view.Stage{Track: now.Stages[t.Stage].Track, Name: now.Stages[t.Stage].Name}
		}
		return nil
	})
	return t, stage, removed, err
}

func noTarget(h sluice.Host, id sluice.JobID) error {
	return sluice.Errorf(sluice.NotFound, "host %q is no target of job %s", h, id)
}

// Info returns what is known of a job in short, and whether a live process drives it.
func (s *Service) Info(ctx context.Context, prefix string) (schedule.Info, bool, error) {
	ns, id, err := s.Find(ctx, prefix)
	if err != nil {
		return schedule.Info{}, false, err
	}
	info, err := s.info(ctx, ns, id)
	return info, s.Drivers.Driven(id), err
}

func (s *Service) info(ctx context.Context, ns sluice.Namespace, id sluice.JobID) (info schedule.Info, err error) {
	err = s.look(ctx, ns, func(state *schedule.State) error {
		var ok bool
		if info, ok = state.Job(id); !ok {
			return act.NoJob(string(id))
		}
		return nil
	})
	return info, err
}

// Why returns the reasons of a job's tasks that wait: of one host, or of all for "".
func (s *Service) Why(ctx context.Context, prefix string, h sluice.Host) ([]schedule.Reason, error) {
	ns, id, err := s.Find(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var out []schedule.Reason
	err = s.look(ctx, ns, func(state *schedule.State) error {
		if h != "" {
			if _, ok := state.Task(id, h); !ok {
				return sluice.Errorf(sluice.NotFound, "host %q is no target of job %s", h, id)
			}
		}
		for _, r := range slices.Concat(s.unplaced(state, id), state.Why(id)) {
			if h == "" || r.Host == h {
				out = append(out, r)
			}
		}
		return nil
	})
	return out, err
}

// unplaced are the attempts of a job that no worker has yet. For the schedule they run: one may have had them before.
func (s *Service) unplaced(state *schedule.State, id sluice.JobID) (out []schedule.Reason) {
	waits := s.first().Unplaced
	if waits == nil {
		return nil
	}
	for _, a := range state.Attempts(id) {
		if why := waits(a.ID); why != "" {
			out = append(out, schedule.Reason{Host: a.Host, Rule: sluice.RuleWorker, Text: why})
		}
	}
	return out
}

// Output opens what the last attempt of a job on a host printed to a stream.
func (s *Service) Output(ctx context.Context, prefix string, h sluice.Host, stream string) (io.ReadCloser, *view.Task, error) {
	_, id, err := s.Find(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	// Of the state, not of all that the job's events say: many may ask for the output of many.
	t, err := s.Tried(ctx, id, h)
	if err != nil {
		return nil, nil, err
	}
	if t.Try == 0 {
		return nil, nil, sluice.Errorf(sluice.NotFound, "nothing has run on %s yet", h).WithHint("sluice why %s %s", id, h)
	}
	r, _, err := s.Read(ctx, id, t.ID, stream)
	return r, &view.Task{Host: h, Attempt: t.ID, Running: t.Running, Outcome: t.Outcome}, err
}

// Removed says that what a job printed and fetched is gone, and where to.
func Removed(id sluice.JobID, b sluice.OutputRemoved) error {
	e := sluice.Errorf(sluice.NotFound, "the output of job %s is not kept any more: %s", id, b.Reason)
	if b.Archive != "" {
		return e.WithHint("it is in the server's archive, in %s", b.Archive)
	}
	return e
}

// Refresh asks the hosts of a job for outcomes that are not known.
func (s *Service) Refresh(ctx context.Context, id sluice.JobID, o DriveOptions) error {
	ns, id, err := s.Find(ctx, string(id))
	if err != nil {
		return err
	}
	info, err := s.info(ctx, ns, id)
	if err != nil {
		return err
	}
	if info.State.Over() {
		if _, err := s.Resume(ctx, id, nil); sluice.CodeOf(err) == sluice.Conflict {
			return nil // all outcomes are known
		} else if err != nil {
			return err
		}
	} else {
		o.OnlySettle = true
	}
	_, err = s.Carry(ctx, id, o)
	return err
}

// Carry drives a job on until it is finished or halted, and returns that event. An error with the code Conflict says
// that another process drives it.
func (s *Service) Carry(ctx context.Context, id sluice.JobID, o DriveOptions) (sluice.Event, error) {
	ns, id, err := s.Find(ctx, string(id))
	if err != nil {
		return sluice.Event{}, err
	}
	release, err := s.Drivers.Claim(id)
	if err != nil {
		return sluice.Event{}, err
	}
	defer release()
	return s.Drive(ctx, ns, id, o)
}

// Run submits a job and carries it out. It is claimed before anybody can see it.
func (s *Service) Run(ctx context.Context, d *Draft, o DriveOptions) (sluice.Event, error) {
	release, err := s.Drivers.Claim(d.Job.ID)
	if err != nil {
		return sluice.Event{}, err
	}
	defer release()
	events, err := s.Submit(ctx, d)
	if err != nil {
		return sluice.Event{}, err
	}
	if o.Observe != nil {
		for _, e := range events {
			if e.Job == d.Job.ID {
				o.Observe(e)
			}
		}
	}
	return s.Drive(ctx, d.Job.Namespace, d.Job.ID, o)
}

// NewJobID makes an id at random.
func NewJobID() sluice.JobID {
	b := make([]byte, sluice.JobIDLength)
	_, _ = rand.Read(b) // does not fail
	for i := range b {
		b[i] = sluice.JobIDAlphabet[int(b[i])%len(sluice.JobIDAlphabet)]
	}
	return sluice.JobID(b)
}

func newestFirst(jobs []schedule.Info) {
	sortStable(jobs, func(a, b schedule.Info) bool { return a.Submitted.After(b.Submitted) })
}
