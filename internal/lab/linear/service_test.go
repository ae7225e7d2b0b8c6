package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/core/plan"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/internal/run/fold"
)

const ns = sluice.Namespace("default")

// shop is the service on a real log.
type shop struct {
	log  sluice.Log
	desk *control.Service
	// early halts answer before anything is appended.
	early bool
	late  sync.WaitGroup
}

func newShop(t *testing.T) *shop {
	log, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return &shop{log: log, desk: &control.Service{Log: log, Drivers: fake.NewDrivers(), Outputs: fake.NewOutputs(), Blobs: fake.NewBlobs(),
		Clock: time.Now, By: "ann"}}
}

func said(err error) answer {
	switch code := sluice.CodeOf(err); {
	case err == nil:
		return "ok"
	case code == sluice.Conflict || code == sluice.NotFound:
		return "no"
	}
	return "?"
}

func (s *shop) ask(ctx context.Context, c call) answer {
	switch c.op {
	case "submit":
		return said(s.submit(ctx, c.job))
	case "halt":
		if s.early {
			if s.read(ctx, c.job) != "open" {
				return "?"
			}
			s.late.Go(func() { _, _ = s.desk.Halt(ctx, c.job, "") })
			return "ok"
		}
		_, err := s.desk.Halt(ctx, c.job, "")
		return said(err)
	case "resume":
		_, err := s.desk.Resume(ctx, c.job, nil)
		return said(err)
	case "cancel":
		_, err := s.desk.Cancel(ctx, c.job, "")
		return said(err)
	case "claim", "complete":
		return s.drive(ctx, c)
	}
	return s.read(ctx, c.job)
}

func (s *shop) submit(ctx context.Context, id sluice.JobID) error {
	host := sluice.Host("host-" + id)
	f := &sluice.Fleet{Namespace: ns, Hosts: []sluice.Host{host}}
	made, ordered, err := plan.Make(f, f.Hosts)
	if err != nil {
		return err
	}
	rules, err := sluice.NewRules(nil, nil)
	if err != nil {
		return err
	}
	_, err = s.desk.Submit(ctx, &control.Draft{Rules: rules, Job: sluice.Job{ID: id, Namespace: ns, Command: "true", Targets: ordered,
		Tracks: made.Tracks, Rules: rules.Digest}})
	return err
}

var errNo = errors.New("the state does not allow it")

// drive is one step of whoever drives the job.
func (s *shop) drive(ctx context.Context, c call) answer {
	state, err := fold.Namespace(ctx, s.log, ns)
	if err != nil {
		return "?"
	}
	got := answer("ok")
	_, err = s.log.Update(ctx, ns, state.Seq(), func(tail []sluice.Event) ([]sluice.Event, error) {
		for _, e := range tail {
			if err := state.Apply(e); err != nil {
				return nil, err
			}
		}
		if _, is := state.Job(c.job); !is {
			return nil, errNo
		}
		if c.op == "complete" {
			for _, a := range state.Attempts(c.job) {
				return []sluice.Event{{Time: time.Now(), Job: c.job, Body: sluice.TaskFinished{Host: a.Host, Attempt: a.ID, Outcome: sluice.Succeeded}}}, nil
			}
			return nil, errNo
		}
		events := state.Decide(schedule.Input{Now: time.Now(), Owns: func(id sluice.JobID) bool { return id == c.job },
			Driven: func(sluice.JobID) bool { return true }})
		for _, e := range events {
			if e.Body.Type() == "task.started" {
				got = "started"
			}
		}
		return events, nil
	})
	switch {
	case errors.Is(err, errNo):
		return "no"
	case err != nil:
		return "?"
	}
	return got
}

func (s *shop) read(ctx context.Context, id sluice.JobID) answer {
	state, err := fold.Namespace(ctx, s.log, ns)
	if err != nil {
		return "?"
	}
	info, is := state.Job(id)
	if !is {
		return "none"
	}
	return word(string(info.State))
}

// word is what of a job's state a person relies on.
func word(state string) answer {
	switch schedule.JobState(state) {
	case schedule.Halting, schedule.Halted:
		return "stopped"
	case schedule.Succeeded, schedule.Failed, schedule.Cancelled:
		return "over"
	}
	return "open"
}

var often = []string{"submit", "halt", "halt", "resume", "resume", "read", "read", "read", "claim", "claim", "claim", "complete", "complete", "cancel"}

// record has clients act at once on two jobs.
func record(t *testing.T, s *shop, round uint64, clients, each int) *history {
	h := &history{begin: time.Now()}
	jobs := []sluice.JobID{sluice.JobID(fmt.Sprintf("%011d0", round)), sluice.JobID(fmt.Sprintf("%011d1", round))}
	var all sync.WaitGroup
	for i := range clients {
		rnd := rand.New(rand.NewPCG(round, uint64(i)))
		all.Go(func() {
			for n := range each {
				c := call{jobs[rnd.IntN(2)], often[rnd.IntN(len(often))]}
				if n == 0 {
					c.op = "submit"
				}
				h.do(i, c, func() answer { return s.ask(t.Context(), c) })
			}
		})
	}
	all.Wait()
	s.late.Wait()
	return h
}

func rounds(long int) int {
	if testing.Short() {
		return max(2, long/10)
	}
	return long
}

// TestTheServiceIsLinearizable: what several clients see at once of jobs on the real log could have happened in some order.
func TestTheServiceIsLinearizable(t *testing.T) {
	var y tally
	var s *shop
	for round := range rounds(60) {
		if round%10 == 0 { // a short log is read quickly
			s = newShop(t)
		}
		h := record(t, s, uint64(round), 5, 14)
		if y.check(t, model(step), h) == porcupine.Illegal {
			t.Errorf("round %d cannot have happened one after another", round)
		}
	}
	y.report(t)
}

// TestTheModelIsTheService: one after another, where nothing is left open, the small machine says what the service says.
func TestTheModelIsTheService(t *testing.T) {
	for _, ops := range [][]string{
		{"read", "halt", "submit", "submit", "read", "claim", "read", "complete", "complete", "read", "claim", "read", "halt", "resume", "cancel"},
		{"submit", "halt", "halt", "claim", "read", "resume", "claim", "complete", "halt", "halt", "claim", "read"},
		{"submit", "claim", "halt", "halt", "complete", "read", "halt", "halt", "cancel", "halt", "read", "claim", "read"},
		{"submit", "claim", "halt", "complete", "halt", "resume", "halt", "halt", "claim", "read"},
		{"submit", "claim", "cancel", "cancel", "resume", "read", "halt", "halt", "complete", "read", "claim", "read", "cancel"},
		{"submit", "halt", "cancel", "read", "halt", "halt", "claim", "read"},
	} {
		shop, state := newShop(t), register{}
		for i, op := range ops {
			got := shop.ask(t.Context(), call{"000000000010", op})
			fits, next := step(state, op, got)
			if !fits || got == "?" {
				t.Errorf("%v: %s, the %d., answers %q in %+v", ops, op, i+1, got, state)
				break
			}
			state = next
		}
	}
}

// TestAHaltThatIsAnsweredEarlyIsFound shows that the model bites.
func TestAHaltThatIsAnsweredEarlyIsFound(t *testing.T) {
	s := newShop(t)
	s.early = true
	for round := range 200 {
		var y tally
		if y.check(t, model(step), record(t, s, uint64(round), 5, 14)) == porcupine.Illegal {
			t.Logf("found in history %d", round+1)
			return
		}
	}
	t.Error("a halt that is answered before it is in the log is not found in 200 histories")
}
