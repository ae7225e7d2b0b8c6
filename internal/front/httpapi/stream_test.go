package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
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

// TestShortly: what most events say is a tenth of what they are, and nothing is left out of those that say more.
func TestShortly(t *testing.T) {
	a := sluice.NewAttemptID(aJob, 7, 2)
	for want, b := range map[string]sluice.Body{
		`["task.started",7,2,5]`:                  sluice.TaskStarted{Host: "web1", Attempt: a, Track: "t", Stage: "s"},
		`["task.step",7,2,5,"pre/\u003ca\n\"",1]`: sluice.TaskStep{Host: "web1", Attempt: a, Step: "pre/<a\n\"", ExitCode: 1},
		`["task.finished",7,2,5,9]`:               sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Succeeded, DurationMS: 9},
	} {
		if got := string(shortly(sluice.Event{Seq: 3, Time: time.UnixMilli(5), Job: aJob, Body: b})); got != "id: 3\ndata: "+want+"\n\n" {
			t.Errorf("%q, want %s", got, want)
		}
	}
	for _, b := range []sluice.Body{
		sluice.TaskFinished{Attempt: a, Outcome: sluice.Failed}, sluice.TaskFinished{Outcome: sluice.Skipped},
		sluice.TaskFinished{Attempt: a, Outcome: sluice.Succeeded, Leftovers: []int{1}}, sluice.TaskFinished{Attempt: a, Outcome: sluice.Succeeded, Reason: "r"},
		sluice.TaskFinished{Attempt: a, Outcome: sluice.Succeeded, Truncated: []string{"stdout"}}, sluice.TaskStarted{Attempt: "odd"}, sluice.JobStarted{},
	} {
		if got := shortly(sluice.Event{Seq: 3, Job: aJob, Body: b}); got != nil {
			t.Errorf("%#v is cut to %s", b, got)
		}
	}
}

// TestWishesAreNotCompressed: a new token is in the answer to a wish.
func TestWishesAreNotCompressed(t *testing.T) {
	for method, is := range map[string]bool{"GET": true, "HEAD": false, "POST": false, "PUT": false, "DELETE": false} {
		r := httptest.NewRequestWithContext(t.Context(), method, "/", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		out, end := (&API{}).compresses(w, r)
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(200)
		_, _ = out.Write(make([]byte, 10000))
		end()
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != is {
			t.Errorf("%s: %v", method, got)
		}
	}
}
