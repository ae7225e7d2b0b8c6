// Package retain takes away what a server does not have to keep any more: what commands printed and jobs fetched, by age and
// size, and what jobs sent, when nothing names it any more. Before that it goes into an archive, if there is one; that it is gone is an
// event.
//
// The log itself is never made shorter: every record proves the ones before it. It knows ports only.
package retain

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/run/fold"
)

// Policy says what is kept. The zero value keeps everything.
type Policy struct {
	// Jobs is how long a job is kept after its end, with its output and what it sent; 0: for ever. Its events stay.
	Jobs time.Duration
	// Output is how long output is kept after it was written; 0: for ever.
	Output time.Duration
	// OutputBytes is how much output is kept in all, the newest; 0: any.
	OutputBytes int64
}

// Any reports whether anything is ever taken away.
func (p Policy) Any() bool { return p != Policy{} }

// Config is what retaining needs.
type Config struct {
	Policy  Policy
	Log     sluice.Log
	Outputs sluice.Outputs
	// Printed and Sent are what is taken from: outputs by job, blobs by digest.
	Printed sluice.Shelf
	Sent    Sent
	// Fetched is what jobs fetched, by job: it goes with what they printed.
	Fetched Fetched
	// Archive gets what is taken away; nil: nobody does.
	Archive sluice.Archive
	Clock   sluice.Clock
	// Trouble is told what went wrong. It must not block.
	Trouble func(text string)
	// Every is how often it is looked; 0: every 6 hours.
	Every time.Duration
	// Copy says that this server does not own the log: it looks at its own copy, and adds nothing. What commands printed goes when the log
	// says that it is gone, whoever decided that; blobs go by the same rule on every server. It must follow the owner while it looks: of
	// what it has not heard of for a day, nothing is safe.
	Copy bool
	// Follows reports whether it does so now: nothing is looked at before. nil: always.
	Follows func() bool
}

// Fetched are files that jobs fetched.
type Fetched interface {
	sluice.Shelf
	// Parts are those of a job, for an archive.
	Parts(ctx context.Context, job sluice.JobID) iter.Seq2[sluice.Part, error]
}

// Sent are blobs.
type Sent interface {
	Kept(ctx context.Context) ([]sluice.Kept, error)
	// Discard takes a blob away, unless it was put or renewed at or after the time before: whoever is told that it is there may
	// rely on that. It says whether it did. That it is not there is no error.
	Discard(ctx context.Context, digest string, before time.Time) (gone bool, err error)
}

const (
	defaultEvery = 6 * time.Hour
	soon         = time.Minute
	page         = 10000
	// fresh is the age below which a blob is never taken: its job may be on the way.
	fresh = 24 * time.Hour
	// settled is for a copy of the log, which is a moment late: what was written a moment ago may be of a job that goes on.
	settled = time.Hour
	by      = "server"
)

// Run looks again and again until ctx ends.
func Run(ctx context.Context, cfg Config) {
	every := cfg.Every
	if every <= 0 {
		every = defaultEvery
	}
	for {
		wait := every
		if cfg.Follows != nil && !cfg.Follows() {
			wait = min(every, soon)
		} else if _, err := Sweep(ctx, cfg); err != nil && ctx.Err() == nil {
			cfg.Trouble(fmt.Sprintf("not all that is too old could be taken away: %v", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Swept is what was taken away.
type Swept struct {
	Outputs, Blobs int
	Bytes          int64
}

// Sweep looks once. What could not be taken away is in the error; the rest was.
func Sweep(ctx context.Context, cfg Config) (done Swept, err error) {
	if !cfg.Policy.Any() && !cfg.Copy {
		return done, nil
	}
	s, err := begin(ctx, cfg)
	if err != nil {
		return done, err // who does not know everything takes nothing away
	}
	err = s.outputs(ctx, &done)
	if cfg.Policy.Any() {
		err = errors.Join(err, s.blobs(ctx, &done))
	}
	return done, err
}

// Needs are what every server of a cluster must have.
type Needs struct {
	// Blobs are the digests of those that something names that is kept.
	Blobs []string
	// Open are the jobs that are not over, and Over those that are and whose output is kept, the newest first.
	Open, Over []sluice.JobID
}

// Needed reads them in the log. It takes the policy, the log and the clock alone.
func Needed(ctx context.Context, cfg Config) (n Needs, err error) {
	s, err := begin(ctx, cfg)
	if err != nil {
		return n, err
	}
	n.Blobs = slices.Sorted(maps.Keys(s.named))
	for id, j := range s.jobs {
		switch {
		case !j.over:
			n.Open = append(n.Open, id)
		case !j.gone:
			n.Over = append(n.Over, id)
		}
	}
	slices.Sort(n.Open)
	slices.SortFunc(n.Over, func(a, b sluice.JobID) int {
		return cmp.Or(s.jobs[b].last.Compare(s.jobs[a].last), cmp.Compare(a, b))
	})
	return n, nil
}

func begin(ctx context.Context, cfg Config) (*sweep, error) {
	s := &sweep{cfg: cfg, now: cfg.Clock(), jobs: map[sluice.JobID]*job{}, named: map[string]bool{}, seen: map[sluice.Namespace]uint64{}}
	return s, s.read(ctx)
}

// job is what is known of a job that is over.
type job struct {
	ns      sluice.Namespace
	over    bool
	needed  bool // a host is out because of it, or an outcome is not known
	gone    bool // its output is, says the log, and the job did not go on since
	last    time.Time
	digests []string
}

type sweep struct {
	cfg   Config
	now   time.Time
	jobs  map[sluice.JobID]*job
	seen  map[sluice.Namespace]uint64 // how far each namespace was read
	named map[string]bool             // digests that something names that is kept
}

var digestForm = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// read goes through the whole log.
func (s *sweep) read(ctx context.Context) error {
	spaces, err := s.cfg.Log.Namespaces(ctx)
	if err != nil {
		return err
	}
	for _, ns := range spaces {
		if ns.Reserved() {
			continue
		}
		if err := s.events(ctx, ns); err != nil {
			return err
		}
		state, err := fold.Namespace(ctx, s.cfg.Log, ns)
		if err != nil {
			return err
		}
		s.seen[ns] = state.Seq()
		s.standing(ns, state)
	}
	for _, j := range s.jobs {
		if !s.dropped(j) {
			for _, d := range j.digests {
				s.named[d] = true
			}
		}
	}
	return nil
}

func (s *sweep) events(ctx context.Context, ns sluice.Namespace) error {
	for after := uint64(0); ; {
		events, err := s.cfg.Log.Read(ctx, ns, after, page)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			after = e.Seq
			if err := s.event(ns, e); err != nil {
				return err
			}
		}
	}
}

func (s *sweep) event(ns sluice.Namespace, e sluice.Event) error {
	var j *job
	if e.Job != "" {
		if j = s.jobs[e.Job]; j == nil {
			j = &job{ns: ns}
			s.jobs[e.Job] = j
		}
		_, j.gone = e.Body.(sluice.OutputRemoved)
		if j.gone {
			return nil
		}
		j.last = e.Time
	}
	switch e.Body.(type) {
	case sluice.TaskStarted, sluice.TaskStep, sluice.BalancerChanged, sluice.TaskFinished, sluice.StageOpened: // most, and they name nothing
		return nil
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	for _, d := range digestForm.FindAll(text, -1) {
		if j != nil {
			j.digests = append(j.digests, string(d))
		} else {
			s.named[string(d)] = true
		}
	}
	return nil
}

func (s *sweep) standing(ns sluice.Namespace, state *schedule.State) {
	for _, i := range state.Jobs() {
		j := s.jobs[i.Spec.ID]
		if j == nil {
			j = &job{ns: ns, last: s.now}
			s.jobs[i.Spec.ID] = j
		}
		switch i.State {
		case schedule.Succeeded, schedule.Failed, schedule.Cancelled:
			j.over = true
		}
		j.needed = j.needed || i.Counts[sluice.Unknown] > 0
	}
	for _, h := range state.Out() {
		if j := s.jobs[h.Job]; j != nil {
			j.needed = true
		}
	}
}

// dropped reports whether a job is not kept.
func (s *sweep) dropped(j *job) bool {
	return s.cfg.Policy.Jobs > 0 && j.over && !j.needed && s.now.Sub(j.last) > s.cfg.Policy.Jobs
}

// outputs takes output away, the oldest first.
func (s *sweep) outputs(ctx context.Context, done *Swept) error {
	kept, err := s.kept(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(kept, func(a, b sluice.Kept) int { return a.Changed.Compare(b.Changed) })
	total := int64(0)
	for _, k := range kept {
		total += k.Bytes
	}
	var errs []error
	for _, k := range kept {
		id := sluice.JobID(k.Name)
		j := s.jobs[id]
		var err error
		if reason := s.reason(j, k, total); j != nil && j.gone { // another server decided it, or this one was killed then
			if s.cfg.Copy && s.now.Sub(k.Changed) < settled {
				continue
			}
			err = s.again(ctx, id, j)
		} else if reason == "" || s.cfg.Copy {
			continue
		} else {
			err = s.remove(ctx, id, j, k, reason)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		total -= k.Bytes
		done.Outputs++
		done.Bytes += k.Bytes
	}
	return errors.Join(errs...)
}

// kept is what is kept of jobs: what they printed together with what they fetched.
func (s *sweep) kept(ctx context.Context) (out []sluice.Kept, err error) {
	printed, err := s.cfg.Printed.Kept(ctx)
	if err != nil {
		return nil, err
	}
	fetched, err := s.cfg.Fetched.Kept(ctx)
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	for _, k := range slices.Concat(printed, fetched) {
		i, known := at[k.Name]
		if !known {
			at[k.Name] = len(out)
			out = append(out, k)
			continue
		}
		out[i].Bytes += k.Bytes
		if k.Changed.After(out[i].Changed) {
			out[i].Changed = k.Changed
		}
	}
	return out, nil
}

// reason says why output is not kept any more; "" where it is. Output of a job that is not in the log is nobody's to
// take.
func (s *sweep) reason(j *job, k sluice.Kept, total int64) string {
	p := s.cfg.Policy
	switch {
	case j == nil || !j.over || j.needed:
		return ""
	case s.dropped(j):
		return "the job is over for more than " + p.Jobs.String()
	case p.Output > 0 && s.now.Sub(k.Changed) > p.Output:
		return "older than " + p.Output.String()
	case p.OutputBytes > 0 && total > p.OutputBytes:
		return fmt.Sprintf("all outputs are more than %d bytes, and this is the oldest", p.OutputBytes)
	}
	return ""
}

func (s *sweep) remove(ctx context.Context, id sluice.JobID, j *job, k sluice.Kept, reason string) error {
	gone := sluice.OutputRemoved{Bytes: k.Bytes, Reason: reason, By: by}
	if s.cfg.Archive != nil {
		var err error
		if gone.Archive, gone.Digest, err = s.archive(ctx, id, j); err != nil {
			return err
		}
	}
	// First the event: who looks for the output must find why it is not there.
	if err := s.append(ctx, id, j, sluice.Event{Time: s.now, Job: id, Body: gone}); err != nil {
		return err
	}
	return s.discard(ctx, id)
}

// again discards what the log says is gone.
func (s *sweep) again(ctx context.Context, id sluice.JobID, j *job) error {
	if !s.cfg.Copy {
		if err := s.append(ctx, id, j); err != nil {
			return err
		}
	}
	return s.discard(ctx, id)
}

// append adds events, if the job did not go on.
func (s *sweep) append(ctx context.Context, id sluice.JobID, j *job, events ...sluice.Event) error {
	_, err := s.cfg.Log.Update(ctx, j.ns, s.seen[j.ns], func(tail []sluice.Event) ([]sluice.Event, error) {
		for _, e := range tail {
			if _, ours := e.Body.(sluice.OutputRemoved); e.Job == id && !ours {
				return nil, sluice.Errorf(sluice.Conflict, "job %s goes on, so its output stays", id)
			}
		}
		return events, nil
	})
	return err
}

func (s *sweep) discard(ctx context.Context, id sluice.JobID) error {
	return errors.Join(s.cfg.Printed.Discard(ctx, string(id)), s.cfg.Fetched.Discard(ctx, string(id)))
}

// blobs takes away what nothing names that is kept.
func (s *sweep) blobs(ctx context.Context, done *Swept) error {
	kept, err := s.cfg.Sent.Kept(ctx)
	if err != nil {
		return err
	}
	before := s.now.Add(-fresh)
	var errs []error
	for _, k := range kept {
		if s.named[k.Name] || !k.Changed.Before(before) {
			continue
		}
		gone, err := s.cfg.Sent.Discard(ctx, k.Name, before)
		if err != nil {
			errs = append(errs, err)
		}
		if gone {
			done.Blobs++
			done.Bytes += k.Bytes
		}
	}
	return errors.Join(errs...)
}
