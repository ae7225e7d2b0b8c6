package view

import (
	"time"

	"sluice"
)

// Board is a job with what a page needs beside it: when something became of each of its hosts, so that the past can be drawn
// without reading the events again.
type Board struct {
	*Job
	stands []stand // by target
	moves  []move
}

// stand is what a host counts as.
type stand uint8

const (
	inFlight stand = 1 << iota // an attempt runs
	outAfter                   // the last attempt left the host out of service
	isDone                     // it has an outcome
)

// move is a host that counts as something else from a moment on.
type move struct {
	after time.Duration // the submission
	host  int32
	from  stand
	to    stand
}

// NewBoard returns the board of a job of which nothing is known yet.
func NewBoard() *Board { return &Board{Job: New()} }

// Apply takes the next event of the job.
func (b *Board) Apply(e sluice.Event) {
	b.Job.Apply(e)
	switch body := e.Body.(type) {
	case sluice.JobSubmitted:
		b.stands = make([]stand, len(b.Tasks))
	case sluice.TaskStarted:
		b.move(body.Host, e.Time, func(s stand) stand { return s | inFlight })
	case sluice.TaskWithdrawn:
		b.move(body.Host, e.Time, func(s stand) stand { return s &^ inFlight })
	case sluice.TaskFinished:
		b.move(body.Host, e.Time, func(s stand) stand { return b.ended(s, body) })
	case sluice.TaskRetried:
		for _, h := range body.Hosts {
			b.move(h, e.Time, func(s stand) stand { return s &^ isDone })
		}
	}
}

// ended is what a host counts as after an outcome. What is only read leaves no host out of service, nor does what was never
// tried; what an operator skips stays as it is.
func (b *Board) ended(s stand, f sluice.TaskFinished) stand {
	s = s&^inFlight | isDone
	switch {
	case f.Attempt == "" || b.Spec.Options.ReadOnly || f.Outcome == sluice.Cancelled && f.NotStarted:
		return s
	case f.Outcome.Bad():
		return s | outAfter
	}
	return s &^ outAfter
}

func (b *Board) move(h sluice.Host, at time.Time, to func(stand) stand) {
	i, ok := b.byHost[h]
	if !ok {
		return
	}
	from := b.stands[i]
	if next := to(from); next != from {
		b.stands[i] = next
		b.moves = append(b.moves, move{at.Sub(b.Submitted), int32(i), from, next})
	}
}

// Timeline is how many hosts were in flight, out of service and done, from the submission on, in steps of equal length. In
// flight and out are the most that there were at once in a step, so that no moment above a limit goes unseen; done is the
// number at its end.
type Timeline struct {
	Step     time.Duration
	InFlight []int
	// Out counts hosts that an attempt of this job runs on or that one left out of service. What others did to them, such as
	// a release, is not in it.
	Out  []int
	Done []int
}

// Timeline draws the past up to a moment, in so many points at most. of says which targets count; nil: all.
func (b *Board) Timeline(of func(target int) bool, until time.Time, points int) Timeline {
	const least = 100 * time.Millisecond
	whole := max(until.Sub(b.Submitted), 0)
	if n := len(b.moves); n > 0 {
		whole = max(whole, b.moves[n-1].after)
	}
	step := max(least, (whole/time.Duration(points)).Truncate(least)+least)
	n := int(whole/step) + 1
	t := Timeline{Step: step, InFlight: make([]int, n), Out: make([]int, n), Done: make([]int, n)}
	var flying, out, done int
	at := 0
	for k := range n {
		t.InFlight[k], t.Out[k] = flying, out // what goes on from the step before
		end := time.Duration(k+1) * step
		for ; at < len(b.moves) && (b.moves[at].after < end || k == n-1); at++ {
			m := b.moves[at]
			if of != nil && !of(int(m.host)) {
				continue
			}
			flying += m.to.is(inFlight) - m.from.is(inFlight)
			out += m.to.is(inFlight|outAfter) - m.from.is(inFlight|outAfter)
			done += m.to.is(isDone) - m.from.is(isDone)
			t.InFlight[k], t.Out[k] = max(t.InFlight[k], flying), max(t.Out[k], out)
		}
		t.Done[k] = done
	}
	return t
}

// is is 1 if s has any of the flags.
func (s stand) is(any stand) int {
	if s&any != 0 {
		return 1
	}
	return 0
}

// Runs writes ascending numbers as runs: first number, how many; first number, how many. Neighbours in a fleet often have the
// same tags.
func Runs(numbers []int) []int {
	out := []int{}
	for i, n := range numbers {
		if i > 0 && n == numbers[i-1]+1 {
			out[len(out)-1]++
			continue
		}
		out = append(out, n, 1)
	}
	return out
}
