// Package rehearse carries a job out against simulated hosts: the plan and the schedule are the real ones, only
// the hosts and the time are made up. The same seed gives the same events, byte for byte.
//
// It knows no clock and no host; chance comes from the seed alone.
package rehearse

import (
	"container/heap"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
)

// Chance says which hosts something happens to: a share of them drawn by the seed, and those that are named.
type Chance struct {
	Share float64 // 0 to 1
	Hosts map[sluice.Host]bool
}

// Options say how the simulated hosts behave.
type Options struct {
	Seed     uint64
	Start    time.Time     // simulated time at which the job is submitted
	Duration time.Duration // of an attempt
	Jitter   float64       // 0 to 1: each attempt takes Duration +- this share of it
	Fail     Chance        // ends with exit status 1
	Hang     Chance        // ends only by the host's time limit, or by a cancel
	Lose     Chance        // the link is lost for good half way: the outcome is unknown
	// CrashAt kills the controller at this time after the start; it is back after CrashFor. 0: never.
	CrashAt, CrashFor time.Duration
	// PatienceFor is how long hosts that hang without a time limit are waited for before the job is cancelled.
	PatienceFor time.Duration
	// Out are hosts whose last outcome was bad when the job is submitted, Held those that an operator holds: they take up
	// capacity from the beginning.
	Out, Held []sluice.Host
	// Stop is asked now and then; once it says so, the rehearsal ends with [ErrStopped]. nil: it never does.
	Stop func() bool
}

// ErrStopped is a rehearsal's end before its time.
var ErrStopped = errors.New("the rehearsal was stopped")

// Defaults of a rehearsal.
const (
	DefaultDuration = 30 * time.Second
	DefaultPatience = 24 * time.Hour
	crashFor        = 10 * time.Second
)

// Result is what a rehearsal showed.
type Result struct {
	Total  time.Duration
	Stages []StageResult // in the order in which they opened
	Peaks  []Peak        // in the order of the fleet's tags
	Counts map[sluice.Outcome]int
	Last   sluice.Event // job.finished or job.halted
	// Most is the largest number of hosts of the fleet that were out of service at once.
	Most int
	// Points are how it went, in order; there are at most [MaxPoints].
	Points []Point
}

// End says in words how it ended.
func (r Result) End() string {
	switch b := r.Last.Body.(type) {
	case sluice.JobFinished:
		switch b.Outcome {
		case sluice.Succeeded:
			return "succeeds"
		case sluice.Cancelled:
			return "has to be cancelled"
		}
		return "finishes with failures"
	case sluice.JobHalted:
		return "halts"
	}
	return "does not end"
}

// StageResult is the timeline of a stage.
type StageResult struct {
	Track, Stage string
	Hosts        int // that started
	Peak         int // attempts at once
	From, To     time.Duration
	Outcomes     map[sluice.Outcome]int
}

// Peak is the largest number of a tag's hosts that were out of service at once.
type Peak struct {
	Tag     sluice.Tag
	Members int
	Out     int
}

// Run rehearses a job of a fleet. emit gets the events in order, as a real run's log would have them.
func Run(f *sluice.Fleet, rules sluice.Rules, job sluice.Job, o Options, emit func(sluice.Event)) (Result, error) {
	s := &simulation{o: o, job: &job, state: schedule.New(), emit: emit, now: o.Start, up: true}
	s.watch.start(f, o.Start)
	if err := s.append(sluice.RulesApplied{Rules: rules, By: job.By}, ""); err != nil {
		return Result{}, err
	}
	if err := s.before(rules); err != nil {
		return Result{}, err
	}
	for _, b := range []sluice.Body{sluice.JobSubmitted{Submitted: job}, sluice.JobStarted{Driver: "rehearsal"}} {
		if err := s.append(b, job.ID); err != nil {
			return Result{}, err
		}
	}
	if o.CrashAt > 0 {
		s.at(o.CrashAt, step{kind: crash})
	}
	if err := s.run(); err != nil {
		return Result{}, err
	}
	return s.watch.result(s.now.Sub(o.Start)), nil
}

// earlier is the job that left hosts out of service before the one that is rehearsed.
func (s *simulation) earlier() sluice.JobID {
	if id := sluice.JobID("zzzzzzzzzzzz"); id != s.job.ID {
		return id
	}
	return "yyyyyyyyyyyy"
}

// before makes what the log has of hosts that are out already. It is no part of what is shown.
func (s *simulation) before(rules sluice.Rules) error {
	var bodies []sluice.Event
	earlier := s.earlier()
	say := func(job sluice.JobID, b sluice.Body) {
		bodies = append(bodies, sluice.Event{Time: s.now, Job: job, Body: b})
	}
	for _, h := range s.o.Held {
		say("", sluice.HostHeld{Host: h, By: s.job.By})
	}
	if len(s.o.Out) > 0 {
		say(earlier, sluice.JobSubmitted{Submitted: sluice.Job{ID: earlier, Namespace: s.job.Namespace, Targets: s.o.Out, Rules: rules.Digest,
			Tracks: []sluice.Track{{Name: sluice.Unconstrained, Stages: []sluice.Stage{{Name: sluice.Unconstrained, Hosts: s.o.Out}}}}}})
		say(earlier, sluice.JobStarted{Driver: s.job.By})
		for i, h := range s.o.Out {
			a := sluice.NewAttemptID(earlier, i, 1)
			say(earlier, sluice.TaskStarted{Host: h, Attempt: a, Track: sluice.Unconstrained, Stage: sluice.Unconstrained})
			say(earlier, sluice.TaskFinished{Host: h, Attempt: a, Outcome: sluice.Failed})
		}
		say(earlier, sluice.JobFinished{Outcome: sluice.Failed, Counts: map[sluice.Outcome]int{sluice.Failed: len(s.o.Out)}})
	}
	for _, e := range bodies {
		if err := s.state.Apply(e); err != nil {
			return err
		}
		if s.o.CrashAt > 0 {
			s.log = append(s.log, e)
		}
	}
	s.watch.outBefore(s.o.Out, s.o.Held)
	return nil
}

type kind int

const (
	ends    kind = iota // an attempt
	crash               // of the controller
	restart             // of the controller
	patience
	timer // a decision is due
)

// step is something that will happen.
type step struct {
	after time.Duration // since the start
	order int           // among those of the same time
	kind  kind
	body  sluice.TaskFinished
}

type simulation struct {
	o     Options
	job   *sluice.Job
	state *schedule.State
	log   []sluice.Event // kept only while a crash is to come
	steps stepHeap
	count int
	now   time.Time
	up    bool // the controller
	held  []sluice.TaskFinished
	emit  func(sluice.Event)
	watch watcher
	live  map[sluice.Host]sluice.TaskFinished // attempts that hang for ever
	over  bool
	timer time.Time
}

func (s *simulation) at(after time.Duration, st step) {
	s.count++
	st.after, st.order = after, s.count
	heap.Push(&s.steps, st)
}

func (s *simulation) append(b sluice.Body, job sluice.JobID) error {
	e := sluice.Event{Time: s.now, Job: job, Body: b}
	if err := s.state.Apply(e); err != nil {
		return err
	}
	s.record(e)
	return nil
}

// record numbers an event that is applied, and reacts to it as a host would.
func (s *simulation) record(e sluice.Event) {
	s.count++
	e.Seq = s.watch.next()
	if s.o.CrashAt > 0 {
		s.log = append(s.log, e)
	}
	s.emit(e)
	s.watch.see(e)
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		s.begin(b)
	case sluice.GateWaiting:
		if b.Kind == sluice.GateApproval {
			s.at(s.now.Sub(s.o.Start), step{kind: timer, body: sluice.TaskFinished{}})
		}
	case sluice.JobFinished, sluice.JobHalted:
		s.over = true
	}
}

// begin plays what happens on a host. Everything is drawn from the seed and the host's name, so that it does
// not depend on the order of starts.
func (s *simulation) begin(b sluice.TaskStarted) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(b.Attempt[len(s.job.ID):]))
	_, _ = h.Write([]byte(b.Host))
	rnd := rand.New(rand.NewPCG(s.o.Seed, h.Sum64()))
	fails, hangs, lost := s.o.Fail.hits(b.Host, rnd), s.o.Hang.hits(b.Host, rnd), s.o.Lose.hits(b.Host, rnd)
	takes := time.Duration(float64(s.o.Duration) * (1 + s.o.Jitter*(2*rnd.Float64()-1))).Round(time.Millisecond)
	done := sluice.TaskFinished{Host: b.Host, Attempt: b.Attempt, Outcome: sluice.Succeeded, ExitCode: new(int)}
	limit := s.job.Options.Timeout
	switch {
	case lost:
		takes = takes/2 + s.job.Options.Reconnect
		done.Outcome, done.ExitCode, done.Reason = sluice.Unknown, nil, "the link was lost and did not come back"
	case hangs && limit == 0:
		s.hang(done)
		return
	case hangs, limit > 0 && takes > limit:
		takes = limit
		done.Outcome, done.ExitCode, done.Reason = sluice.TimedOut, nil, "took longer than "+limit.String()
	case fails:
		one := 1
		done.Outcome, done.ExitCode, done.Reason = sluice.Failed, &one, "the command ended with 1"
	}
	done.DurationMS = takes.Milliseconds()
	s.at(s.now.Sub(s.o.Start)+takes, step{kind: ends, body: done})
}

// hang leaves an attempt running until the job is cancelled for it.
func (s *simulation) hang(done sluice.TaskFinished) {
	if s.live == nil {
		s.live = map[sluice.Host]sluice.TaskFinished{}
	}
	s.live[done.Host] = done
	s.at(s.now.Sub(s.o.Start)+s.o.PatienceFor, step{kind: patience})
}

func (c Chance) hits(h sluice.Host, rnd *rand.Rand) bool {
	drawn := rnd.Float64() < c.Share // drawn in any case, so that the other draws stay the same
	return drawn || c.Hosts[h]
}

func (s *simulation) run() error {
	s.decide()
	for !s.over && len(s.steps) > 0 {
		if s.o.Stop != nil && s.o.Stop() {
			return ErrStopped
		}
		at := s.steps[0].after
		s.now = s.o.Start.Add(at)
		for len(s.steps) > 0 && s.steps[0].after == at {
			if err := s.happen(heap.Pop(&s.steps).(step)); err != nil {
				return err
			}
		}
		if s.up && !s.over {
			s.decide()
		}
	}
	return nil
}

func (s *simulation) happen(st step) error {
	switch st.kind {
	case ends:
		if !s.up {
			s.held = append(s.held, st.body)
			return nil
		}
		return s.finish(st.body)
	case crash:
		s.up = false
		back := s.o.CrashFor
		if back == 0 {
			back = crashFor
		}
		s.at(s.now.Sub(s.o.Start)+back, step{kind: restart})
	case restart:
		return s.restart()
	case patience:
		return s.cancel()
	case timer:
		return s.approve()
	}
	return nil
}

func (s *simulation) finish(b sluice.TaskFinished) error {
	if b.ExitCode != nil {
		if err := s.append(sluice.TaskStep{Host: b.Host, Attempt: b.Attempt, Step: "command", ExitCode: *b.ExitCode,
			DurationMS: b.DurationMS}, s.job.ID); err != nil {
			return err
		}
	}
	return s.append(b, s.job.ID)
}

// restart folds the log into a new state, as a controller does that comes back, and takes up what ended meanwhile.
func (s *simulation) restart() error {
	s.state, s.up = schedule.New(), true
	for _, e := range s.log {
		if err := s.state.Apply(e); err != nil {
			return err
		}
	}
	for _, b := range s.held {
		if err := s.finish(b); err != nil {
			return err
		}
	}
	s.held = nil
	return nil
}

// cancel ends a job that hangs, in the order of its targets.
func (s *simulation) cancel() error {
	if len(s.live) == 0 || !s.up {
		return nil
	}
	if err := s.append(sluice.JobCancelling{By: "rehearsal", Reason: "hosts hang, and no --timeout ends them"}, s.job.ID); err != nil {
		return err
	}
	for _, h := range s.job.Targets {
		if b, ok := s.live[h]; ok {
			b.Outcome, b.ExitCode, b.Reason = sluice.Cancelled, nil, "hung until the job was cancelled"
			b.DurationMS = s.o.PatienceFor.Milliseconds()
			if err := s.append(b, s.job.ID); err != nil {
				return err
			}
		}
	}
	s.live = nil
	return nil
}

// approve passes every gate that waits for an operator.
func (s *simulation) approve() error {
	info, _ := s.state.Job(s.job.ID)
	for _, g := range info.Gates {
		if g.Kind == sluice.GateApproval {
			if err := s.append(sluice.GatePassed{Track: g.Track, Stage: g.Stage, Index: g.Index, Kind: g.Kind, By: "rehearsal"}, s.job.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *simulation) decide() {
	yes := func(sluice.JobID) bool { return true }
	for _, e := range s.state.Decide(schedule.Input{Now: s.now, Owns: yes, Driven: yes}) {
		s.record(e)
	}
	if at, ok := s.state.NextTimer(yes); ok && !at.Equal(s.timer) {
		s.timer = at
		s.at(max(at.Sub(s.o.Start), s.now.Sub(s.o.Start)), step{kind: timer})
	}
}

type stepHeap []step

func (h stepHeap) Len() int { return len(h) }
func (h stepHeap) Less(i, j int) bool {
	if h[i].after != h[j].after {
		return h[i].after < h[j].after
	}
	return h[i].order < h[j].order
}
func (h stepHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *stepHeap) Push(x any)   { *h = append(*h, x.(step)) }
func (h *stepHeap) Pop() any {
	old := *h
	st := old[len(old)-1]
	*h = old[:len(old)-1]
	return st
}
