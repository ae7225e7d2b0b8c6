package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
)

const aJob = sluice.JobID("0123456789ab")

// ended is the event of a number.
func ended(job sluice.JobID, seq uint64, reason string) sluice.Event {
	return sluice.Event{Seq: seq, Time: time.Unix(0, 0).UTC(), Job: job, Body: sluice.TaskFinished{Host: "web1",
		Attempt: sluice.NewAttemptID(job, 0, 1), Outcome: sluice.Succeeded, Reason: reason}}
}

// reader takes what is written, when it is let.
type reader struct {
	slow   chan struct{} // a write waits for it; nil: none does
	text   bytes.Buffer
	writes int
}

func (r *reader) Write(b []byte) (int, error) {
	if r.slow != nil {
		<-r.slow
	}
	r.writes++
	return r.text.Write(b)
}

// TestStreamGathers: what comes while one write rests goes out as one, nothing is lost or out of order, and the end is not
// kept waiting.
func TestStreamGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{}
		var told told
		s := newStream(t.Context(), r, &told, nil, "events")
		synctest.Wait()
		began, first := time.Now(), r.text.Len()
		if r.writes != 1 || first == 0 {
			t.Fatalf("the beginning did not go out at once: %d writes", r.writes)
		}
		var want bytes.Buffer
		for seq := range uint64(100) {
			e := ended(aJob, seq+1, "")
			want.Write(told.text(e))
			s.send(e)
		}
		s.end()
		want.WriteString("event: end\ndata: {}\n\n")
		s.close()
		if got := r.text.String()[first:]; got != want.String() {
			t.Errorf("it wrote %.200q", got)
		}
		if r.writes > 3 {
			t.Errorf("%d writes for what was there at once", r.writes)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the end waited for %v", took)
		}
	})
}

// TestASlowOneIsWaitedFor: for one who reads slowly no more is kept than is said, and who has more for them waits; it ends
// with the request.
func TestASlowOneIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{slow: make(chan struct{})}
		var told told
		ctx, leave := context.WithCancel(t.Context())
		s := newStream(ctx, r, &told, nil, "events")
		sent, over := 0, make(chan struct{})
		go func() {
			defer close(over)
			for seq := uint64(1); ctx.Err() == nil; seq++ {
				s.send(ended(aJob, seq, "a reason"))
				sent++
			}
		}()
		synctest.Wait()
		one := len(told.text(ended(aJob, 1, "a reason")))
		if few := waiting / one; sent > 2*few+2 || sent < few/2 {
			t.Errorf("%d events wait, of %d bytes each", sent, one)
		}
		before := sent
		r.slow <- struct{}{}
		time.Sleep(breath)
		synctest.Wait()
		if sent == before {
			t.Error("there is room, and nobody uses it")
		}
		leave()
		<-over
		close(r.slow)
		s.close()
	})
}

// TestPulse: where nothing happens something is written all the same, and the stopping of the server ends it.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stopping := &reader{}, make(chan struct{})
		s := newStream(t.Context(), r, &told{}, stopping, "events")
		time.Sleep(2*pulse + time.Second)
		synctest.Wait()
		if r.writes != 3 {
			t.Errorf("%d writes", r.writes)
		}
		close(stopping)
		<-s.ctx.Done()
		s.close()
	})
}

// TestToldOnce: an event is made into text once for all who watch, and never taken for another one.
func TestToldOnce(t *testing.T) {
	var all told
	large := string(bytes.Repeat([]byte("x"), 2*few))
	for _, reason := range []string{"", large} {
		e := ended(aJob, 7, reason)
		if a, b := all.text(e), all.text(e); &a[0] != &b[0] {
			t.Error("it is made again")
		}
		for _, other := range []sluice.Event{ended("ba9876543210", 7, reason), ended(aJob, 7+1<<14, reason), ended(aJob, 11, reason)} {
			want := fmt.Sprintf("id: %d\n", other.Seq)
			if got := all.text(other); !bytes.HasPrefix(got, []byte(want)) || !bytes.Contains(got, []byte(other.Job)) {
				t.Errorf("%.100q for event %d of job %s", got, other.Seq, other.Job)
			}
		}
	}
	// Output has the number of the event before it.
	piece := sluice.Event{Seq: 11, Job: aJob, Body: sluice.NewTaskOutput("web1", sluice.NewAttemptID(aJob, 0, 1), "stdout", 0, []byte("hello"))}
	if got := all.text(piece); bytes.HasPrefix(got, []byte("id:")) || !bytes.Contains(got, []byte("hello")) {
		t.Errorf("output is written as %q", got)
	}
}
