package cluster

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/lab/trouble"
)

// built is the program, built once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	trouble.Launch()
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "sluice-cluster-"); built.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", built.dir, "sluice/cmd/sluice").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "sluice")
}

// fault is a way to break a cluster while a job runs.
type fault struct {
	name string
	play func(h *house)
	rare bool // it is played only where rounds are asked for
	// before, if there is one, is done before the first round; what it returns after the last.
	before func(h *house) (after func())
}

// TestFaults breaks one cluster in one way after the other, while a job runs. Then all servers are ended, and what happened is looked at:
// at the end of it all, or where rounds are asked for, of each fault, and they are started anew.
func TestFaults(t *testing.T) {
	h := newHouse(t)
	var out table
	defer func() { t.Log(out.String()) }()
	for _, f := range faults {
		if f.rare && !asked() {
			continue
		}
		row, played := row{fault: f.name}, false
		ok := t.Run(f.name, func(t *testing.T) {
			h.t, h.again, played = t, nil, true
			if f.before != nil {
				defer f.before(h)()
			}
			for range rounds() {
				began := time.Now()
				f.play(h)
				h.quiet()
				h.whole()
				row.rounds++
				t.Logf("%v", time.Since(began).Round(time.Millisecond))
			}
		})
		if !played {
			continue
		}
		row.again = h.again
		h.t = t
		if !ok {
			row.wrong = append(row.wrong, "it did not come to its end")
		}
		if asked() {
			row.wrong = append(row.wrong, out.news(h.truth())...)
			h.again = nil
			for _, v := range row.wrong {
				t.Errorf("%s: %s", f.name, v)
			}
			h.revive()
		}
		out.rows = append(out.rows, row)
		if !ok && !asked() {
			return
		}
	}
	if !asked() {
		for _, v := range out.news(h.truth()) {
			t.Error(v)
		}
	}
	if n := len(h.sure.list()); n < 10*len(out.rows) {
		t.Errorf("only %d changes were acknowledged: this proves little", n)
	}
}

// job is one that runs on all hosts while something breaks, and after it another one, for as long as nothing has begun anew.
type job struct {
	h     *house
	id    sluice.JobID
	stop  context.CancelFunc
	asked sync.WaitGroup
	done  chan error // of the one that runs
	last  sluice.Event
}

// begin submits a job, and returns when it runs. All the while, somebody follows it, and others change something.
func (h *house) begin() *job {
	h.t.Helper()
	j := &job{h: h}
	ctx, stop := context.WithCancel(h.t.Context())
	j.stop = stop
	h.t.Cleanup(func() { stop(); j.asked.Wait() })
	h.must(j.submit(ctx))
	j.asked.Go(func() { j.bother(ctx) })
	h.until("the job runs", func() bool { return h.starts(j.id) >= limit })
	return j
}

// submitted tells submissions apart, so that one whose answer was lost is not another job.
var submitted atomic.Int64

func (j *job) submit(ctx context.Context) error {
	h := j.h
	key := fmt.Sprintf("faults-%d-%d", os.Getpid(), submitted.Add(1))
	var v api.Job
	for late := time.Now().Add(patience); ; {
		within, done := h.briefly()
		var err error
		v, err = h.any.SubmitOnce(within, api.Submit{Targets: "$web", Command: command(cmp.Or(h.takes, 500*time.Millisecond))}, key)
		done()
		if err == nil {
			break
		}
		if code := sluice.CodeOf(err); code != sluice.Contact && within.Err() == nil || ctx.Err() != nil || time.Now().After(late) {
			return err
		}
	}
	h.sure.add("the job "+string(v.ID)+" is submitted", func(e sluice.Event) bool {
		b, is := e.Body.(sluice.JobSubmitted)
		return is && b.Submitted.ID == v.ID
	})
	done := make(chan error, 1)
	j.id, j.done = v.ID, done
	j.asked.Go(func() {
		last, err := h.any.Follow(ctx, string(v.ID), 0, func(sluice.Event) {}, nil)
		j.last = last
		done <- err
	})
	return nil
}

// goesOn has another job begin where this one is over.
func (j *job) goesOn() {
	j.h.t.Helper()
	select {
	case err := <-j.done:
		j.h.must(err)
		j.succeeded()
		j.h.must(j.submit(j.h.t.Context()))
	default:
	}
}

// bother changes something at one server after the other, and remembers what was said to have been done.
func (j *job) bother(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		s := j.h.servers[n%len(j.h.servers)]
		name := sluice.WorkerName(fmt.Sprintf("w-%d", n%9))
		within, done := context.WithTimeout(ctx, 3*time.Second)
		got, err := s.client.InviteWorker(within, name, nil)
		done()
		if err == nil {
			j.h.sure.add(fmt.Sprintf("%s is invited until %s", name, got.Expires), func(e sluice.Event) bool {
				b, is := e.Body.(sluice.WorkerInvited)
				return is && b.Worker == name && b.Expires.Equal(got.Expires)
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// starts is on how many hosts the job's command began.
func (h *house) starts(id sluice.JobID) (n int) {
	h.t.Helper()
	for _, m := range h.marks() {
		if job, _, _, _ := m.attempt.Parse(); m.begins && job == id {
			n++
		}
	}
	return n
}

// ends waits until the job is over, which is to have succeeded everywhere.
func (j *job) ends() {
	h := j.h
	h.t.Helper()
	select {
	case err := <-j.done:
		h.must(err)
	case <-time.After(patience):
		h.t.Fatalf("job %s does not end\n%s", j.id, h.story(j.id))
	}
	j.stop()
	j.asked.Wait()
	j.succeeded()
}

func (j *job) succeeded() {
	h := j.h
	h.t.Helper()
	if b, is := j.last.Body.(sluice.JobFinished); !is || b.Outcome != sluice.Succeeded || b.Counts[sluice.Succeeded] != size() {
		h.t.Fatalf("job %s ended with %+v\n%s", j.id, j.last.Body, h.story(j.id))
	}
}

// story is all that the log has of a job.
func (h *house) story(id sluice.JobID) (text string) {
	events, err := h.any.Events(h.t.Context(), string(id), 0)
	text = fmt.Sprintln(err)
	for _, e := range events {
		text += fmt.Sprintf("%d %s %s %+v\n", e.Seq, e.Time.Format(time.StampMilli), e.Body.Type(), e.Body)
	}
	return text
}

// next notes how long after a moment a command began somewhere, of those that count. Where all jobs have come to their end, another one
// begins. A fault may last meanwhile.
func (j *job) next(since time.Time, counts func(mark) bool) {
	h := j.h
	h.t.Helper()
	h.until("something starts again", func() bool {
		for _, m := range h.marks() {
			if m.begins && m.at.After(since) && counts(m) {
				h.again = append(h.again, m.at.Sub(since))
				return true
			}
		}
		j.goesOn()
		return false
	})
}

// inAnotherTerm is what began in a term that was heard of after a moment: what began in the moment of the fault was under way.
func (h *house) inAnotherTerm(since time.Time) func(mark) bool {
	return func(m mark) bool { return h.terms.after(since, m.at) }
}

// decided is what the log says was to begin after a moment.
func (h *house) decided(since time.Time) func(mark) bool {
	return func(m mark) bool {
		job, _, _, _ := m.attempt.Parse()
		ctx, done := h.briefly()
		defer done()
		events, err := h.any.Events(ctx, string(job), 0)
		return err == nil && slices.ContainsFunc(events, func(e sluice.Event) bool {
			b, is := e.Body.(sluice.TaskStarted)
			return is && b.Attempt == m.attempt && e.Time.After(since)
		})
	}
}

func anything(mark) bool { return true }

// after reports whether a term was heard of between two times.
func (t *terms) after(since, until time.Time) bool {
	return slices.ContainsFunc(t.list(), func(one term) bool { return one.heard.After(since) && one.heard.Before(until) })
}

// ownerIsKilled: kill -9 of the server that owns the log.
func (h *house) ownerIsKilled() {
	j := h.begin()
	owner := h.owner()
	at := time.Now()
	owner.kill()
	j.next(at, h.inAnotherTerm(at))
	j.ends()
	owner.start()
	h.whole()
}

// ownerStandsStill: the process of the owner is stopped for longer than its lease, and goes on when another one owns the log.
func (h *house) ownerStandsStill() {
	j := h.begin()
	owner := h.owner()
	at := time.Now()
	owner.signal(syscall.SIGSTOP)
	j.next(at, h.inAnotherTerm(at))
	owner.signal(syscall.SIGCONT)
	j.ends()
	h.whole()
}

// ownerIsCutOff: what the owner and the others send each other is lost, while it reaches hosts and clients.
func (h *house) ownerIsCutOff() {
	j := h.begin()
	owner := h.owner()
	others := h.others(owner)
	at := time.Now()
	owner.cut(others...)
	j.next(at, h.inAnotherTerm(at))
	owner.heal(others...)
	j.ends()
	h.whole()
}

// allAreKilled: kill -9 of all servers, which then start.
func (h *house) allAreKilled() {
	j := h.begin()
	at := time.Now()
	h.kill(h.servers...)
	h.start(h.servers...)
	j.next(at, h.inAnotherTerm(at))
	j.ends()
	h.whole()
}

// twoAreDown: the owner and another one are killed. The third starts nothing and changes nothing, and still says what it has, and how old
// that is.
func (h *house) twoAreDown() {
	j := h.begin()
	owner := h.owner()
	left := h.others(owner)[0]
	down := h.others(left)
	h.kill(down...)
	stale := false
	left.client.Stale = func(time.Time) { stale = true }
	h.until(string(left.name)+" says how old it is what it has", func() bool {
		ctx, done := h.briefly()
		defer done()
		_, err := left.client.Job(ctx, string(j.id))
		return err == nil && stale
	})
	before := h.starts(j.id)
	for range 2 {
		ctx, done := h.briefly()
		if _, err := left.client.Submit(ctx, api.Submit{Targets: "$web", Command: "true"}); sluice.CodeOf(err) != sluice.Contact {
			h.t.Errorf("without a majority it takes a job: %v", err)
		}
		if _, err := left.client.Jobs(ctx, client.JobsQuery{}); err != nil {
			h.t.Errorf("without a majority it does not list its jobs: %v", err)
		}
		done()
		<-time.After(time.Second)
	}
	if now := h.starts(j.id); now != before {
		h.t.Errorf("%d commands began without a majority", now-before)
	}
	left.client.Stale = nil
	j.isKept(left)
	h.start(down...)
	j.halts()
	if now := h.starts(j.id); now != before {
		h.t.Errorf("%d commands began before the halt held", now-before)
	}
	j.resumes()
	j.ends()
	h.whole()
}

// isKept asks a server for a halt that has no majority: it keeps it, and that is a promise.
func (j *job) isKept(left *server) {
	h := j.h
	h.t.Helper()
	var kept api.KeptHalt
	c := h.connect(left.url())
	c.HaltKept = func(is api.KeptHalt) { kept = is }
	ctx, done := h.briefly()
	defer done()
	if made, err := c.Halt(ctx, j.id, "nobody can take it"); err != nil || len(made) > 0 || kept.Job != j.id || kept.Server != left.name {
		h.t.Fatalf("without a majority it keeps %+v of a halt, makes %+v, error %v", kept, made, err)
	}
	h.sure.add(fmt.Sprintf("the halt %s of the job %s, which %s keeps", kept.ID, j.id, left.name), func(e sluice.Event) bool {
		b, is := e.Body.(sluice.JobHalting)
		return is && e.Job == j.id && b.Request == kept.ID && b.Reason == "nobody can take it"
	})
}

// halts waits until the job is halted.
func (j *job) halts() {
	h := j.h
	h.t.Helper()
	select {
	case err := <-j.done:
		h.must(err)
	case <-time.After(patience):
		h.t.Fatalf("job %s is not halted", j.id)
	}
	if b, is := j.last.Body.(sluice.JobHalted); !is || b.Reason != "nobody can take it" {
		h.t.Fatalf("job %s ended with %+v\n%s", j.id, j.last.Body, h.story(j.id))
	}
}

// resumes carries the job on, and follows it again.
func (j *job) resumes() {
	h := j.h
	h.t.Helper()
	made, err := h.any.Resume(h.t.Context(), j.id, nil)
	h.must(err)
	j.asked.Go(func() {
		var err error
		j.last, err = h.any.Follow(h.t.Context(), string(j.id), made[len(made)-1].Seq, func(sluice.Event) {}, nil)
		j.done <- err
	})
}
