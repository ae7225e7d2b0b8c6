package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sluice"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/lab/simhosts"
)

// figures are what a mix is measured by.
type figures struct {
	servers, workers, frozen, lines int             // how often what was killed, or stood still
	listening                       []time.Duration // from the kill of a server until the next one listens
	starting                        []time.Duration // and until something starts on a host
}

// quantiles says p50 and p99.
func quantiles(list []time.Duration) string {
	if len(list) == 0 {
		return "never"
	}
	slices.Sort(list)
	at := func(share float64) time.Duration {
		return list[min(len(list)-1, int(share*float64(len(list))))].Round(time.Millisecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v", at(0.5), at(0.99))
}

// death is a kill of the server.
type death struct{ killed, listens time.Time }

// noContact is how the command line ends where a server was never there when it was asked; with the same key it may be given again.
const noContact = 5

// round runs one job to its end while things break, and holds what happened on the hosts against what may.
func (h *house) round(key string) {
	args := []string{"run", "-t", "all", "--key", key, "--yes", "-q", "--", h.command(h.path("trace"))}
	ctx, stop := context.WithCancel(h.t.Context())
	if h.chance.IntN(3) == 0 { // it is killed, too, and started again with the same key
		ctx, stop = context.WithTimeout(ctx, time.Duration(h.chance.IntN(400))*time.Millisecond)
		h.sum.lines++
	}
	defer stop()
	type end struct {
		status int
		out    string
	}
	over := make(chan end, 1)
	go func() {
		status, out := h.run(ctx, args...)
		if ctx.Err() != nil && h.t.Context().Err() == nil {
			status, out = h.run(h.t.Context(), args...)
		}
		for status == noContact && h.t.Context().Err() == nil { // a question is asked four times within 1.4 s, and each may meet another death
			status, out = h.run(h.t.Context(), args...)
		}
		over <- end{status, out}
	}()
	var deaths []death
	var e end
	late := time.After(patience)
	for running, acts := true, 0; running; {
		select {
		case e = <-over:
			running = false
		case <-late:
			_, why := h.run(h.t.Context(), "why", h.newest())
			h.t.Fatalf("the job does not end: %s", why)
		case <-time.After(time.Duration(50+h.chance.IntN(600)) * time.Millisecond):
			h.mend(time.Now())
			if acts < h.acts {
				acts++
				deaths = append(deaths, h.fault()...)
			}
		}
	}
	if e.status != 0 {
		h.t.Errorf("it ended with %d: %s", e.status, e.out)
	}
	job := h.newest()
	trace, err := readTrace(h.path("trace"), job)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, w := range wrong(trace, h.rules()) {
		h.t.Errorf("job %s: %s", job, w)
		host, _, _ := strings.Cut(w, " ")
		h.story(job, host, trace)
	}
	h.printed(trace)
	for _, d := range deaths {
		i := slices.IndexFunc(trace, func(m simhosts.Mark) bool { return m.What == "start" && m.Time.After(d.listens) })
		if i >= 0 {
			h.sum.starting = append(h.sum.starting, trace[i].Time.Sub(d.killed))
		}
	}
}

// story is what is known of one host in a job.
func (h *house) story(job, host string, trace []simhosts.Mark) {
	for _, m := range trace {
		if m.Host == host {
			h.t.Logf("on the host: %s %s of %s", m.Time.Format(time.RFC3339Nano), m.What, m.Attempt)
		}
	}
	events, err := h.client.Events(h.t.Context(), job, 0)
	if err != nil {
		h.t.Log(err)
	}
	for _, e := range events {
		if line, _ := json.Marshal(e); strings.Contains(string(line), `"`+host+`"`) && e.Body.Type() != "job.submitted" {
			h.t.Logf("in the log: %s", line)
		}
	}
}

// newest is the job that was submitted last.
func (h *house) newest() string {
	h.t.Helper()
	status, out := h.run(h.t.Context(), "jobs", "-n", "1", "-o", "json")
	_, rest, _ := strings.Cut(out, `"job":"`)
	job, _, ok := strings.Cut(rest, `"`)
	if status != 0 || !ok {
		h.t.Fatalf("which job? %s", out)
	}
	return job
}

// fault breaks something.
func (h *house) fault() []death {
	well := slices.DeleteFunc(slices.Clone(h.crew), func(p *process) bool { return !p.back.IsZero() })
	if len(well) == 0 || h.chance.IntN(2) == 0 {
		d := death{killed: time.Now()}
		h.broken = append(h.broken, d.killed.Format(time.RFC3339Nano)+": the server is killed")
		h.server.kill()
		h.startServer()
		d.listens = time.Now()
		h.sum.servers++
		h.sum.listening = append(h.sum.listening, d.listens.Sub(d.killed))
		return []death{d}
	}
	w := well[h.chance.IntN(len(well))]
	begin := time.Now()
	defer func() {
		h.broken = append(h.broken, fmt.Sprintf("%s: %s is away until %s", begin.Format(time.RFC3339Nano), w.name, w.back.Format(time.RFC3339Nano)))
	}()
	if h.chance.IntN(3) == 0 { // it stands still until its lease is over, or just not
		if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			h.t.Fatal(err)
		}
		w.back = time.Now().Add(lease*8/10 + time.Duration(h.chance.Int64N(int64(lease))))
		h.sum.frozen++
		return nil
	}
	w.kill()
	w.back = time.Now().Add(time.Duration(h.chance.Int64N(int64(lease * 3 / 2))))
	h.sum.workers++
	return nil
}

// mend has workers come back whose time has come.
func (h *house) mend(now time.Time) {
	for _, w := range h.crew {
		if w.back.IsZero() || now.Before(w.back) {
			continue
		}
		w.back = time.Time{}
		select {
		case <-w.over:
			w.start()
		default:
			if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// printed sees that what every host printed was kept, all of it and once. It reads the files: asking the server for a
// thousand outputs takes longer than the round.
func (h *house) printed(trace []simhosts.Mark) {
	outputs, err := diroutputs.New(h.path("data/outputs"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = outputs.CloseAll() }()
	for _, m := range trace {
		if m.What != "end" {
			continue
		}
		a := sluice.AttemptID(m.Attempt)
		id, _, _, _ := a.Parse()
		out, err := outputs.Open(id, a, "stdout")
		if err != nil {
			h.t.Errorf("what %s printed: %v", m.Host, err)
			continue
		}
		text, err := io.ReadAll(out)
		_ = out.Close()
		if want := "on " + m.Host + "\n"; err != nil || string(text) != want {
			h.t.Errorf("%s printed %q, error %v", m.Host, text, err)
		}
	}
}

// settled waits until no worker keeps an outcome any more.
func (h *house) settled() {
	h.mend(time.Now().Add(time.Hour))
	h.until("workers have handed over what they keep", func() bool {
		kept, _ := filepath.Glob(h.path("w*/outcomes/*.json"))
		return len(kept) == 0
	})
}
