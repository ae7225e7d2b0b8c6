package linear

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sluice"
)

// call is what a client asks of a job.
type call struct {
	job sluice.JobID
	op  string // "submit", "halt", "resume", "cancel", "claim", "complete", "read"
}

// Answers: "ok", "no" (the state does not allow it), "?" (none came); of a claim also "started"; of reading the state.
type answer string

// register is a job of one host as its clients know it. A job that is stopped while it runs is halted only when somebody
// has seen that nothing runs any more: the next claim, or the next halt, which is therefore taken.
type register struct {
	there, stopped, halted, cancelled, running, done, over bool
}

// step says whether an answer fits the state, and what the state is then. It is that of a job which nobody drives: claim
// is one decision of the schedule, complete the outcome of what it started.
func step(s register, op string, got answer) (bool, register) {
	open := got == "?"
	fits := func(want answer, next register) (bool, register) { return open || got == want, next }
	if op == "read" {
		return open || got == s.word(), s
	}
	if op == "submit" {
		if s.there {
			return fits("no", s)
		}
		s.there = true
		return fits("ok", s)
	}
	if !s.there {
		return fits("no", s)
	}
	switch op {
	case "halt":
		if s.over || s.halted && !s.cancelled {
			return fits("no", s)
		}
		s.stopped, s.halted = true, !s.running
		return fits("ok", s)
	case "resume":
		if s.over {
			return fits("no", s)
		}
		if !s.cancelled {
			s.stopped, s.halted = false, false
		}
		return fits("ok", s)
	case "cancel":
		if s.over {
			return fits("no", s)
		}
		s.cancelled = true
		return fits("ok", s)
	case "claim":
		switch {
		case s.over || s.running:
		case s.done || s.cancelled:
			s.over = true
		case !s.stopped:
			s.running = true
			return fits("started", s)
		default:
			s.halted = true
		}
		return fits("ok", s)
	case "complete":
		if !s.running {
			return fits("no", s)
		}
		s.running, s.done = false, true
		return fits("ok", s)
	}
	return false, s
}

// word is what reading says: what a person must be able to rely on.
func (s register) word() answer {
	switch {
	case !s.there:
		return "none"
	case s.over:
		return "over"
	case s.stopped || s.cancelled:
		return "stopped"
	}
	return "open"
}

// outside is the machine of a job that a server drives meanwhile. It may come to its end at any time, as a command does
// whose supervisor was killed with the server while it began; where nobody knows how, resume opens it again. What must hold
// is what people rely on: a job that was taken is there, one that was halted does not go on before somebody resumes it, one
// that was cancelled never does.
func outside(s register, op string, got answer) (bool, register) {
	switch {
	case op == "submit" && s.there: // the same id is the same job
		return got == "ok" || got == "?", s
	case !s.there || op == "submit":
		return step(s, op, got)
	case op == "halt" && s.stopped: // by now it is halted, or still has something that runs
		return true, s
	case op == "resume" && got == "ok" && s.over && !s.cancelled:
		s.over, s.stopped, s.halted = false, false, false
		return true, s
	case got == "no" || got == "over":
		s.over = true
		return true, s
	}
	return step(s, op, got)
}

func model(step func(register, string, answer) (bool, register)) porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
			at := map[sluice.JobID]int{}
			for _, o := range history {
				id := o.Input.(call).job
				if _, ok := at[id]; !ok {
					at[id] = len(parts)
					parts = append(parts, nil)
				}
				parts[at[id]] = append(parts[at[id]], o)
			}
			return parts
		},
		Init: func() any { return register{} },
		Step: func(state, in, out any) (bool, any) {
			ok, next := step(state.(register), in.(call).op, out.(answer))
			return ok, next
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprint(in, " -> ", out) },
	}
}

// history is what clients did and heard.
type history struct {
	mu    sync.Mutex
	begin time.Time
	ops   []porcupine.Operation
}

// do records one operation.
func (h *history) do(client int, c call, ask func() answer) answer {
	from := time.Since(h.begin)
	got := ask()
	to := time.Since(h.begin)
	h.mu.Lock()
	defer h.mu.Unlock()
	if got == "?" {
		to = 1 << 60 // it may still happen
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: c, Call: int64(from), Output: got, Return: int64(to)})
	return got
}

// open puts operations without an answer on clients of their own: theirs is over when they go on. Reading without an
// answer says nothing, and is left out.
func (h *history) open() []porcupine.Operation {
	next := 1000
	out := slices.DeleteFunc(slices.Clone(h.ops), func(o porcupine.Operation) bool {
		return o.Input.(call).op == "read" && o.Output.(answer) == "?"
	})
	for i := range out {
		if out[i].Output.(answer) == "?" {
			next++
			out[i].ClientId = next
		}
	}
	return out
}

// tally of checked histories.
type tally struct{ histories, ops, illegal, unknown int }

func (y *tally) check(t *testing.T, m porcupine.Model, h *history) porcupine.CheckResult {
	ops := h.open()
	res := porcupine.CheckOperationsTimeout(m, ops, 2*time.Minute)
	y.histories, y.ops = y.histories+1, y.ops+len(ops)
	switch res {
	case porcupine.Illegal:
		y.illegal++
	case porcupine.Unknown:
		y.unknown++
	}
	return res
}

func (y tally) report(t *testing.T) {
	t.Helper()
	t.Logf("%d histories, %d operations: illegal %d, unknown %d", y.histories, y.ops, y.illegal, y.unknown)
	if y.illegal > 0 || y.unknown*100 >= y.histories && y.unknown > 0 {
		t.Errorf("illegal %d, unknown %d", y.illegal, y.unknown)
	}
}
