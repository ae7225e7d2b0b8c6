package cli

import (
	"encoding/json"
	"io"
	"path/filepath"
	"sync"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/run/control"
)

// display shows a job while it runs. Events come one at a time; notices may come at any time.
type display interface {
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
}

func (f *jobFlags) showing() showing {
	return showing{quiet: f.quiet, verbose: f.verbose, outputDir: f.outputDir, record: f.record}
}

// show chooses the display: events as JSON, a live view on a terminal, or plain lines.
func (a *app) show(svc *control.Service, s showing) display {
	var d display
	switch {
	case a.json():
		d = &jsonDisplay{a: a}
	default:
		d = a.textDisplay(svc, s)
	}
	if s.outputDir != "" {
		d = &fileDisplay{display: d, a: a, svc: svc, dir: s.outputDir, job: view.New()}
	}
	if s.record != "" {
		d = &recorder{display: d, a: a, file: s.record}
	}
	return d
}

// jsonDisplay prints one object a line, as it happens.
type jsonDisplay struct {
	a  *app
	mu sync.Mutex
}

func (d *jsonDisplay) Event(e sluice.Event) {
	b, err := json.Marshal(e)
	if err != nil {
		d.a.complain(err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = d.a.Stdout.Write(append(b, '\n')) // who closed the pipe does not want to know more
}

func (d *jsonDisplay) Waits([]schedule.Wait)      {}
func (d *jsonDisplay) Notice(text string)         { d.a.notice(text) }
func (d *jsonDisplay) Close()                     {}
func (d *jsonDisplay) Summary(sluice.Event) error { return nil }

// fileDisplay also writes each host's output to files: DIR/HOST.stdout and DIR/HOST.stderr.
type fileDisplay struct {
	display
	a   *app
	svc *control.Service
	dir string
	job *view.Job
}

func (d *fileDisplay) Event(e sluice.Event) {
	d.display.Event(e)
	d.job.Apply(e)
	if b, ok := e.Body.(sluice.TaskFinished); ok && b.Attempt != "" && !b.NotStarted {
		for _, stream := range []string{"stdout", "stderr"} {
			if err := d.write(b, e.Job, stream); err != nil {
				d.display.Notice("writing output of " + string(b.Host) + ": " + err.Error())
			}
		}
	}
}

func (d *fileDisplay) write(b sluice.TaskFinished, job sluice.JobID, stream string) error {
	in, err := d.svc.Outputs.Open(job, b.Attempt, stream)
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
