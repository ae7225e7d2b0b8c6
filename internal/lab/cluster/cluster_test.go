package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
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

// TestFaults breaks one cluster in one way after the other, while a job runs. At the end of each story all servers are ended, what happened
// is looked at, and they are started anew.
func TestFaults(t *testing.T) {
	h := newHouse(t)
	for _, story := range []struct {
		name string
		tell func(h *house)
	}{
		{"the owner is killed", (*house).ownerIsKilled},
		{"the owner stands still", (*house).ownerStandsStill},
		{"the owner is cut off", (*house).ownerIsCutOff},
		{"all are killed", (*house).allAreKilled},
		{"two of three are down", (*house).twoAreDown},
	} {
		ok := t.Run(story.name, func(t *testing.T) {
			h.t, h.again = t, nil
			for range rounds() {
				story.tell(h)
			}
			h.whole()
			h.truth()
			slices.Sort(h.again)
			if n := len(h.again); n > 0 {
				t.Logf("%d rounds, %d hosts; from the fault to the next start on a host: p50 %v, p99 %v", rounds(), size(),
					h.again[n/2].Round(time.Millisecond), h.again[n*99/100].Round(time.Millisecond))
			}
			for _, s := range h.servers {
				s.start()
			}
			h.whole()
		})
		h.t = t
		if !ok {
			return
		}
	}
}

// job is one that runs on all hosts while something breaks.
type job struct {
	h  *house
	id sluice.JobID
	// invited are workers that were invited meanwhile, by anybody who asks any server: events that must not be lost.
	stop  context.CancelFunc
	asked sync.WaitGroup
	done  chan error
	last  sluice.Event
}

// begin submits a job, and returns when it runs. All the while, somebody follows it, and others change something.
func (h *house) begin() *job {
	h.t.Helper()
	v, err := h.any.Submit(h.t.Context(), api.Submit{Targets: "$web", Command: command(500 * time.Millisecond)})
	h.must(err)
	h.sure.add("the job "+string(v.ID)+" is submitted", func(e sluice.Event) bool {
		b, is := e.Body.(sluice.JobSubmitted)
		return is && b.Submitted.ID == v.ID
	})
	j := &job{h: h, id: v.ID, done: make(chan error, 1)}
	ctx, stop := context.WithCancel(h.t.Context())
	j.stop = stop
	h.t.Cleanup(func() { stop(); j.asked.Wait() })
	j.asked.Go(func() {
		var err error
		j.last, err = h.any.Follow(ctx, string(v.ID), 0, func(sluice.Event) {}, nil)
		j.done <- err
	})
	j.asked.Go(func() { j.bother(ctx) })
	h.until("the job runs", func() bool { return h.starts(v.ID) >= limit })
	return j
}

// bother changes something at one server after the other, and remembers what was said to have been done.
func (j *job) bother(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		s := j.h.servers[n%len(j.h.servers)]
		name := sluice.WorkerName(fmt.Sprintf("w-%s-%d", j.id, n))
		within, done := context.WithTimeout(ctx, 3*time.Second)
		_, err := s.client.InviteWorker(within, name, nil)
		done()
		if err == nil {
			j.h.sure.add(fmt.Sprintf("%s is invited", name), func(e sluice.Event) bool {
				b, is := e.Body.(sluice.WorkerInvited)
				return is && b.Worker == name
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
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
		h.t.Fatalf("job %s does not end", j.id)
	}
	j.stop()
	j.asked.Wait()
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

// broken notes how long after a fault a command began somewhere; the fault may last.
func (h *house) broken(since time.Time, id sluice.JobID) {
	h.t.Helper()
	h.until("something starts again", func() bool {
		for _, m := range h.marks() {
			// What began in the moment of the fault was under way.
			if job, _, _, _ := m.attempt.Parse(); m.begins && job == id && m.at.After(since) && h.terms.after(since, m.at) {
				h.again = append(h.again, m.at.Sub(since))
				return true
			}
		}
		return false
	})
}

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
	h.broken(at, j.id)
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
	h.broken(at, j.id)
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
	h.must(owner.site.Deafen(h.t.Context(), others[0].site, others[1].site))
	for _, o := range others {
		h.must(o.site.Deafen(h.t.Context(), owner.site))
	}
	h.broken(at, j.id)
	h.must(owner.site.Hear(h.t.Context(), others[0].site, others[1].site))
	for _, o := range others {
		h.must(o.site.Hear(h.t.Context(), owner.site))
	}
	j.ends()
	h.whole()
}

// allAreKilled: kill -9 of all servers, which then start.
func (h *house) allAreKilled() {
	j := h.begin()
	at := time.Now()
	for _, s := range h.servers {
		s.kill()
	}
	for _, s := range h.servers {
		s.start()
	}
	h.broken(at, j.id)
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
	for _, s := range down {
		s.kill()
	}
	stale := false
	left.client.Stale = func(time.Time) { stale = true }
	h.until(string(left.name)+" says how old it is what it has", func() bool {
		ctx, done := h.briefly()
		defer done()
		_, err := left.client.Job(ctx, string(j.id))
		return err == nil && stale
	})
	before := h.starts(j.id)
	for range 3 {
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
	for _, s := range down {
		s.start()
	}
	j.ends()
	h.whole()
}
