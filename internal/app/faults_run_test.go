package app_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"sluice"
)

// run is one process of the program that carries out a job, with its events.
type run struct {
	w      *world
	cmd    *exec.Cmd
	args   []string
	stdout bytes.Buffer // whole once it has ended
	stderr quietBuffer
	ended  chan struct{}

	mu     sync.Mutex
	events []sluice.Event
	news   chan struct{} // closed when there is one more event
	broken error
}

// quietBuffer may be read while it is written.
type quietBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (q *quietBuffer) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.b.Write(p)
}

func (q *quietBuffer) Bytes() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return bytes.Clone(q.b.Bytes())
}

// start starts the program with events as JSON.
func (w *world) start(args ...string) *run {
	w.t.Helper()
	return w.startWith("", args...)
}

// startWith also hands it a secret on descriptor 3.
func (w *world) startWith(secret string, args ...string) *run {
	w.t.Helper()
	cmd := w.f.Command(w.ctx, w.program, append([]string{"-o", "json"}, args...)...)
	if secret != "" {
		r, err := secretPipe(secret)
		w.must(err)
		defer func() { _ = r.Close() }()
		cmd.ExtraFiles = []*os.File{r}
		w.secrets = append(w.secrets, secret)
	}
	return w.follow(cmd, args)
}

// secretPipe is a pipe with one line in it.
func secretPipe(secret string) (*os.File, error) {
	r, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = to.Close() }()
	_, err = to.WriteString(secret + "\n")
	return r, err
}

// follow starts a command that prints events, and reads them.
func (w *world) follow(cmd *exec.Cmd, args []string) *run {
	w.t.Helper()
	r := &run{w: w, cmd: cmd, args: args, ended: make(chan struct{}), news: make(chan struct{})}
	cmd.Stderr = &r.stderr
	out, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	w.runs = append(w.runs, r)
	go func() {
		defer close(r.ended)
		in := bufio.NewReader(out)
		for {
			line, err := in.ReadBytes('\n')
			r.stdout.Write(line)
			if err != nil {
				break // what a killed process left of a line is no event
			}
			r.add(line)
		}
		_ = cmd.Wait() // the state says how it ended
	}()
	return r
}

func (r *run) add(line []byte) {
	var e sluice.Event
	err := json.Unmarshal(line, &e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.broken == nil {
		r.broken = fmt.Errorf("%w in %.200q", err, line)
	}
	r.events = append(r.events, e)
	close(r.news)
	r.news = make(chan struct{})
}

func (r *run) String() string { return fmt.Sprintf("sluice %.200q", r.args) }

func (r *run) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

func (r *run) look() (events []sluice.Event, news <-chan struct{}, broken error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events, r.news, r.broken
}

// find waits for the first event, from the beginning, that it looks for.
func (r *run) find(what string, is func(sluice.Event) bool) sluice.Event {
	r.w.t.Helper()
	for seen := 0; ; {
		over := r.over()
		events, news, broken := r.look()
		if broken != nil {
			r.w.t.Fatalf("%s: what it prints is no event: %v", r, broken)
		}
		for ; seen < len(events); seen++ {
			if is(events[seen]) {
				return events[seen]
			}
		}
		if over {
			r.w.t.Fatalf("%s ended without this event: %s", r, what)
		}
		select {
		case <-news:
		case <-r.ended:
		case <-r.w.ctx.Done():
			r.w.t.Fatalf("%s: no such event: %s", r, what)
		}
	}
}

// event waits for an event with a body of this type that fits; nil fits all.
func event[T sluice.Body](r *run, fits func(T) bool) T {
	r.w.t.Helper()
	var body T
	r.find(fmt.Sprintf("%T", body), func(e sluice.Event) bool {
		b, ok := e.Body.(T)
		if ok && (fits == nil || fits(b)) {
			body = b
			return true
		}
		return false
	})
	return body
}

// all are the events so far with a body of this type.
func all[T sluice.Body](r *run) (out []T) {
	events, _, _ := r.look()
	for _, e := range events {
		if b, ok := e.Body.(T); ok {
			out = append(out, b)
		}
	}
	return out
}

// after waits for the nth event and returns how many there are; fewer if the program ended before.
func (r *run) after(n int) int {
	r.w.t.Helper()
	for {
		over := r.over()
		events, news, _ := r.look()
		if len(events) >= n || over {
			return len(events)
		}
		select {
		case <-news:
		case <-r.ended:
		case <-r.w.ctx.Done():
			r.w.t.Fatalf("%s: fewer than %d events", r, n)
		}
	}
}

// job is the job that the program carries out.
func (r *run) job() sluice.JobID {
	r.w.t.Helper()
	return r.find("any of a job", func(e sluice.Event) bool { return e.Job != "" }).Job
}

// finished waits for the outcome of a host.
func (r *run) finished(host string, want sluice.Outcome) sluice.TaskFinished {
	r.w.t.Helper()
	b := event(r, func(b sluice.TaskFinished) bool { return string(b.Host) == host })
	if b.Outcome != want {
		b = event(r, func(b sluice.TaskFinished) bool { return string(b.Host) == host && b.Outcome == want })
	}
	return b
}

// exits waits for the end of the program.
func (r *run) exits(want int) {
	r.w.t.Helper()
	if got := r.wait(); got != want {
		r.w.t.Errorf("%s ended with %d, want %d", r, got, want)
	}
}

func (r *run) wait() int {
	r.w.t.Helper()
	select {
	case <-r.ended:
	case <-r.w.ctx.Done():
		r.w.t.Fatalf("%s does not end", r)
	}
	if _, _, broken := r.look(); broken != nil {
		r.w.t.Errorf("%s: what it prints is no event: %v", r, broken)
	}
	return r.cmd.ProcessState.ExitCode()
}

// killed ends the program as kill -9 does.
func (r *run) killed() {
	r.w.t.Helper()
	_ = r.cmd.Process.Kill() // it may have ended
	r.wait()
}

// story tells what happened, for failures.
func (r *run) story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r)
	events, _, _ := r.look()
	for i, e := range events {
		if i > 200 {
			fmt.Fprintf(&b, "  ... %d more\n", len(events)-i)
			break
		}
		text, err := json.Marshal(e)
		if o, ok := e.Body.(sluice.TaskOutput); ok {
			text = fmt.Appendf(nil, "%s %s %s at %d: %d bytes", e.Body.Type(), o.Attempt, o.Stream, o.Offset, len(o.Data))
		}
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "  %.600s\n", text)
	}
	fmt.Fprintf(&b, "  stderr: %s  ended: %v", r.stderr.Bytes(), r.cmd.ProcessState)
	return b.String()
}

// seq is what "seq 1 n" prints.
func seq(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

// same compares long texts and tells them apart briefly.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: %d bytes, want %d; they differ at byte %d: %.40q, want %.40q", what, len(got), len(want), at, got[at:], want[at:])
}
