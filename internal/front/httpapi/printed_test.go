package httpapi_test

import (
	"io"
	"strings"
	"testing"

	"sluice"
	"sluice/client"
	"sluice/internal/core/access"
)

// append puts events of a job into the log, as its driver would.
func (w *world) append(job sluice.JobID, bodies ...sluice.Body) {
	w.t.Helper()
	_, err := w.log.Update(w.t.Context(), "prod", 0, func([]sluice.Event) (out []sluice.Event, err error) {
		for _, b := range bodies {
			out = append(out, sluice.Event{Time: clock(), Job: job, Body: b})
		}
		return out, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// prints has a host print something; told says whether those who watch are told.
func (w *world) prints(job sluice.JobID, a sluice.AttemptID, offset int64, text string, told bool) {
	w.t.Helper()
	if err := w.service.Outputs.Write(job, a, "stdout", offset, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
	if told {
		w.hub.Observe(sluice.Event{Time: clock(), Job: job, Body: sluice.NewTaskOutput("web1", a, "stdout", offset, []byte(text))})
	}
}

// TestPrinted: what a host prints comes between the start of its attempt and its end, every byte once and in order, while it
// is printed, also where nobody was told, and however often the connection is lost.
func TestPrinted(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2")
	a := sluice.NewAttemptID(job, 0, 1)
	w.append(job, sluice.JobStarted{}, sluice.TaskStarted{Host: "web1", Attempt: a})
	w.prints(job, a, 0, "one ", false)
	c := w.client(w.token("eve", sluice.Grant{Role: access.Operator}))
	seen, lost := make(chan sluice.Event, 100), make(chan error, 100)
	done := make(chan error, 1)
	go func() {
		_, err := c.Watch(t.Context(), string(job), client.WatchOptions{Output: true, Observe: func(e sluice.Event) { seen <- e }, Lost: func(err error) { lost <- err }})
		done <- err
	}()
	var printed strings.Builder
	until := func(text string) {
		for !strings.HasSuffix(printed.String(), text) {
			e := <-seen
			if b, ok := e.Body.(sluice.TaskOutput); ok {
				if int(b.Offset) != printed.Len() || b.Host != "web1" || b.Attempt != a || e.Seq == 0 {
					t.Errorf("%+v after %q", e, printed.String())
				}
				printed.Write(b.Content())
			} else if e.Body.Type() == "task.finished" {
				t.Errorf("ends after %q, before %q", printed.String(), text)
				return
			}
		}
	}
	for e := range seen { // so that what comes is told while it is watched
		if e.Body.Type() == "task.started" {
			break
		}
	}
	w.prints(job, a, 4, "two ", true)
	until("two ")
	w.server.CloseClientConnections()
	<-lost
	w.prints(job, a, 8, "three ", false)
	w.prints(job, a, 14, "four ", false)
	w.append(job, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Succeeded})
	until("four ")
	if e := <-seen; e.Body.Type() != "task.finished" || printed.String() != "one two three four " {
		t.Errorf("%s after %q", e.Body.Type(), printed.String())
	}
	w.append(job, sluice.JobHalted{Reason: "enough", Rule: sluice.RuleOperator})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestPrintedNeedsItsRight: who may see jobs does not therefore see what they print, and who does is noted once.
func TestPrintedNeedsItsRight(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1")
	w.append(job, sluice.JobHalted{Reason: "enough", Rule: sluice.RuleOperator})
	if err := w.keeper.Change(t.Context(), w.admin, sluice.RoleDefined{Role: "looker", May: []sluice.Right{sluice.SeeJobs}, By: "root"}); err != nil {
		t.Fatal(err)
	}
	noted := func() (n int) {
		events, err := w.log.Read(t.Context(), sluice.AccessNamespace, 0, 10000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if b, ok := e.Body.(sluice.AccessNoted); ok && b.Right == sluice.SeeOutput && b.Refused == "" {
				n++
			}
		}
		return n
	}
	o := client.WatchOptions{Output: true, Observe: func(sluice.Event) {}}
	if _, err := w.client(w.token("lou", sluice.Grant{Role: "looker"})).Watch(t.Context(), string(job), o); sluice.CodeOf(err) != sluice.Denied || noted() != 0 {
		t.Errorf("error %v, noted %d times", err, noted())
	}
	if _, err := w.client(w.token("eve", sluice.Grant{Role: access.Operator})).Watch(t.Context(), string(job), o); err != nil || noted() != 1 {
		t.Errorf("error %v, noted %d times", err, noted())
	}
}

// TestOutputOfAnAttempt: an earlier attempt can be read, and only as what it is.
func TestOutputOfAnAttempt(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2")
	c := w.client(w.token("eve", sluice.Grant{Role: access.Operator}))
	for n, text := range []string{"first", "second"} {
		a := sluice.NewAttemptID(job, 0, n+1)
		w.append(job, sluice.TaskStarted{Host: "web1", Attempt: a}, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Failed})
		w.prints(job, a, 0, text, false)
		r, is, err := c.AttemptOutput(t.Context(), string(job), "web1", "", "stdout", 0)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != text || is != a || r.Close() != nil {
			t.Errorf("%q of %s, error %v", b, is, err)
		}
	}
	r, is, err := c.AttemptOutput(t.Context(), string(job), "web1", sluice.NewAttemptID(job, 0, 1), "stdout", 2)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "rst" || is != sluice.NewAttemptID(job, 0, 1) || r.Close() != nil {
		t.Errorf("%q of %s, error %v", b, is, err)
	}
	for _, a := range []sluice.AttemptID{sluice.NewAttemptID(job, 1, 1), sluice.NewAttemptID("abcdefgh0123", 0, 1), "../x"} {
		if _, _, err := c.AttemptOutput(t.Context(), string(job), "web1", a, "stdout", 0); sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("%s on web1: %v", a, err)
		}
	}
}
