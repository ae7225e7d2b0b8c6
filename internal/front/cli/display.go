package cli

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"sync"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

// display shows a job while it runs. Events come one at a time; notices may come at any time.
type display interface {
	// Past is told, before anything else, what had happened to a job that is taken up again, and what becomes of
	// it now.
	Past(events []sluice.Event, now string)
	Event(sluice.Event)
	Waits([]schedule.Wait)
	Notice(string)
	// Close leaves the last picture. Nothing is shown after it but the summary.
	Close()
	// Summary says how the job ended and what to type next.
	Summary(last sluice.Event) error
}

// showing is what the flags say of the display.
type showing struct {
	quiet, verbose bool
	outputDir      string
	record         string
	log            bool // the events come from the log alone, without output
	mute           bool // nothing is shown but notices
	beside         bool // it is not the job that was asked for: a stream of events has those of one job
	past           []sluice.Event
	now            string // what becomes of a job that has a past
}

func (f *jobFlags) showing() showing {
	return showing{quiet: f.quiet, verbose: f.verbose, outputDir: f.outputDir, record: f.record}
}

// showsOutput reports whether a display shows what hosts print while they do.
func (a *app) showsOutput(s showing) bool {
	return a.json() || s.verbose || s.record != "" || a.StdoutTerminal && !s.quiet
}

// show chooses the display: events as JSON, a live view on a terminal, or plain lines.
func (a *app) show(ctx context.Context, svc control.Desk, s showing) *ending {
	var d display
	switch {
	case a.json(), s.mute:
		d = &jsonDisplay{a: a, mute: s.beside || s.mute}
	default:
		d = a.textDisplay(ctx, svc, s)
	}
	if s.outputDir != "" {
		d = &fileDisplay{display: d, a: a, ctx: ctx, svc: svc, dir: s.outputDir}
	}
	if s.record != "" {
		d = &recorder{display: d, a: a, file: s.record}
	}
	if s.past != nil {
		d.Past(s.past, s.now)
	}
	return &ending{display: d}
}

// ending remembers whether a job came to its end by being halted: one that another job takes back is over, and was halted for all that.
type ending struct {
	display
	halted bool
}

func (d *ending) Event(e sluice.Event) {
	switch e.Body.(type) {
	case sluice.JobHalted:
		d.halted = true
	case sluice.JobResumed:
		d.halted = false
	}
	d.display.Event(e)
}

// exit is the exit status for a job that ended so.
func (d *ending) exit(last sluice.Event) error {
	if end, is := last.Body.(sluice.JobFinished); is && end.Undo != "" && d.halted {
		return exitError(exitHalted)
	}
	return exitOf(last)
}

// jsonDisplay prints one object a line, as it happens.
type jsonDisplay struct {
	a    *app
	mute bool
	mu   sync.Mutex
}

func (d *jsonDisplay) Event(e sluice.Event) {
	if d.mute {
		return
	}
	b, err := json.Marshal(e)
	if err != nil {
		d.a.complain(err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = d.a.Stdout.Write(append(b, '\n')) // who closed the pipe does not want to know more
}

func (d *jsonDisplay) Past([]sluice.Event, string) {}
func (d *jsonDisplay) Waits([]schedule.Wait)       {}
func (d *jsonDisplay) Notice(text string)          { d.a.notice(text) }
func (d *jsonDisplay) Close()                      {}
func (d *jsonDisplay) Summary(sluice.Event) error  { return nil }

// fileDisplay also writes each host's output to files: DIR/HOST.stdout and DIR/HOST.stderr.
type fileDisplay struct {
	display
	a   *app
	ctx context.Context // of the command: events bring none
	svc control.Desk
	dir string
}

// Past writes what the hosts printed before: the files are those of the whole job.
func (d *fileDisplay) Past(events []sluice.Event, now string) {
	d.display.Past(events, now)
	for _, e := range events {
		d.keep(e)
	}
}

func (d *fileDisplay) Event(e sluice.Event) {
	d.display.Event(e)
	d.keep(e)
}

// keep writes what a host printed, when it is done.
func (d *fileDisplay) keep(e sluice.Event) {
	b, ok := e.Body.(sluice.TaskFinished)
	if !ok || b.Attempt == "" || b.NotStarted {
		return
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if err := d.write(b, e.Job, stream); err != nil {
			d.display.Notice("writing output of " + string(b.Host) + ": " + err.Error())
		}
	}
}

func (d *fileDisplay) write(b sluice.TaskFinished, job sluice.JobID, stream string) error {
	in, err := d.svc.OpenOutput(d.ctx, job, b.Attempt, stream)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := d.a.Files.Create(filepath.Join(d.dir, string(b.Host)+"."+stream))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}
