package act

import (
	"slices"

	"sluice"
	"sluice/internal/core/schedule"
)

// Effect is what follows from an act at once.
type Effect struct {
	Act Act
	// Seq is the number of the last event that it goes by, and Seen what the act rests on, to be given back with it.
	Seq  uint64
	Seen string
	// Before and After are where the job stands; nothing for acts on hosts.
	Before, After schedule.Info
	// Events are those of the act, and then what is decided on them.
	Events []sluice.Event
	// Starts are the hosts on which the job starts its command at once, in that order.
	Starts []sluice.Host
	// Waits are what its other hosts wait for then.
	Waits []schedule.Wait
	// Kills are hosts on which it runs and is killed; Runs those on which it goes on to its own end, though nothing more
	// starts.
	Kills, Runs []sluice.Host
	// Never are hosts on which it will not start any more.
	Never []sluice.Host
	// Asks are hosts that are asked for an outcome that is not known.
	Asks []sluice.Host
	// Again are hosts that are tried again.
	Again []sluice.Host
	// Opens are stages that open.
	Opens []string
	// Halts says that the job is halted at once, and by which rule.
	Halts *sluice.JobHalted
	// Ends is the result that the job has at once; "" where it goes on.
	Ends sluice.Outcome
	// Hosts are those that the act is about, as they stand before; only of acts on hosts.
	Hosts []schedule.HostInfo
	// Others is what other jobs do at once.
	Others []Other
}

// Other is a job that the act was not about, and what it does at once.
type Other struct {
	Job    schedule.Info // without a spec: whoever asks may not see it
	Starts []sluice.Host
	Halts  *sluice.JobHalted
	Ends   sluice.Outcome
}

// Nothing reports whether what is wanted is so already.
func (e Effect) Nothing() bool { return len(e.Events) == 0 && len(e.Asks) == 0 }

// Foresee says what follows at once from an act, or why it cannot be done. The state is of no use after that: it must be
// a copy. in says who drives what, and what may start; the job of the act is driven whatever it says.
func Foresee(s *schedule.State, a Act, in schedule.Input) (Effect, error) {
	e := Effect{Act: a, Seq: s.Seq(), Seen: a.seen(s)}
	made, err := a.Events(s, in.Now)
	if err != nil {
		return e, err
	}
	e.Before, _ = s.Job(a.Job)
	f := foresight{State: s, Effect: &e}
	f.before()
	f.asks(made)
	for _, ev := range made {
		if err := s.Apply(ev); err != nil {
			return e, err
		}
	}
	e.Events = made
	if len(made) > 0 {
		driven := in.Driven
		in.Driven = func(id sluice.JobID) bool { return id == a.Job || driven(id) }
		in.Owns = in.Driven // all drivers decide, each for its own
		in.Settling = func(id sluice.JobID) bool { return id == a.Job && len(f.Asks) > 0 }
		e.Events = append(e.Events, s.Decide(in)...)
		f.after()
	}
	e.After, _ = s.Job(a.Job)
	e.Waits = s.Waits(a.Job)
	return e, nil
}

// foresight describes the difference that an act makes.
type foresight struct {
	*schedule.State
	*Effect
	running, pending, unknown []sluice.Host // of the job, before
}

// before takes down what is not to be seen any more when the act is done.
func (f *foresight) before() {
	for _, at := range f.Attempts(f.Act.Job) {
		if at.Unknown {
			f.unknown = append(f.unknown, at.Host)
		} else {
			f.running = append(f.running, at.Host)
		}
	}
	for _, t := range f.Tasks(f.Act.Job) {
		if t.Pending {
			f.pending = append(f.pending, t.Host)
		}
	}
	if !f.Act.Kind.OnHosts() {
		return
	}
	out := outOf(f.State)
	for _, h := range f.Act.Hosts {
		i := out[h]
		i.Host = h
		f.Hosts = append(f.Hosts, i)
	}
}

// asks takes down whose outcomes are asked for: whoever takes a job up asks for all that are not known.
func (f *foresight) asks(made []sluice.Event) {
	resumed := slices.ContainsFunc(made, func(ev sluice.Event) bool { return ev.Body.Type() == sluice.JobResumed{}.Type() })
	if resumed || f.Act.Kind == Settle {
		f.Asks = f.unknown
	}
}

// after takes down what follows.
func (f *foresight) after() {
	for _, ev := range f.Events {
		if ev.Job != f.Act.Job {
			f.other(ev)
			continue
		}
		switch b := ev.Body.(type) {
		case sluice.TaskStarted:
			f.Starts = append(f.Starts, b.Host)
		case sluice.TaskRetried:
			f.Again = b.Hosts
		case sluice.StageOpened:
			f.Opens = append(f.Opens, b.Stage)
		case sluice.JobHalted:
			f.Halts = &b
		case sluice.JobFinished:
			f.Ends = b.Outcome
		}
	}
	now, ok := f.Job(f.Act.Job)
	switch {
	case !ok:
		return
	case now.Kill && !f.Before.Kill:
		f.Kills = f.running
	case now.State == schedule.Halting && f.Before.State != schedule.Halting:
		f.Runs = f.running
	}
	if now.Cancelling || f.Ends == sluice.Cancelled {
		f.Never = f.pending
	}
}

func (f *foresight) other(ev sluice.Event) {
	if ev.Job == "" {
		return
	}
	at := slices.IndexFunc(f.Others, func(o Other) bool { return o.Job.Spec.ID == ev.Job })
	var o Other
	if at >= 0 {
		o = f.Others[at]
	}
	switch b := ev.Body.(type) {
	case sluice.TaskStarted:
		o.Starts = append(o.Starts, b.Host)
	case sluice.JobHalted:
		o.Halts = &b
	case sluice.JobFinished:
		o.Ends = b.Outcome
	default:
		return
	}
	if at < 0 {
		o.Job, _ = f.Job(ev.Job)
		f.Others = append(f.Others, o)
		return
	}
	f.Others[at] = o
}

// Touches is how many hosts the act is about or sets going: what a limit for asking twice is held against. A halt is never
// asked about twice.
func (e Effect) Touches() int {
	switch e.Act.Kind {
	case Halt, Settle:
		return 0
	case Skip, Hold, Release, Retire, Return:
		return len(e.Act.Hosts)
	case Cancel:
		return e.Before.Unsettled
	}
	return max(e.Before.Unsettled, e.After.Unsettled)
}
