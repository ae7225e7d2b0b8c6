package cli

import (
	"context"
	"io"
	"strings"
	"sync"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/front/live"
	"sluice/internal/run/control"
)

// textDisplay is for people: a live view on a terminal, else plain lines on stderr, so that stdout has only the
// result.
type textDisplay struct {
	a   *app
	ctx context.Context // of the command: the display has none of its own
	svc control.Desk
	s   showing
	progress
	mu  sync.Mutex
	job *view.Job
}

type progress interface {
	Past(events []sluice.Event, now string)
	Event(sluice.Event)
	Waits([]schedule.Wait)
	Notice(string)
	Close()
}

func (a *app) textDisplay(ctx context.Context, svc control.Desk, s showing) display {
	d := &textDisplay{a: a, ctx: ctx, svc: svc, s: s, job: view.New()}
	if a.StdoutTerminal && !s.quiet && !s.verbose {
		footer := "Ctrl-C halts the job, twice cancels it"
		if s.log {
			footer = "Ctrl-C ends the watching, not the job"
		}
		d.progress = live.NewPainter(live.Terminal{Out: a.Stdout, Size: a.Size, Color: a.color(), Unicode: a.unicode(), Clock: a.Clock, Footer: footer})
		return d
	}
	d.progress = live.NewLines(a.Stderr, live.LineOptions{Quiet: s.quiet, Verbose: s.verbose, Output: s.verbose,
		Color: a.StderrTerminal && a.color(), Unicode: a.unicode(), Zone: a.Clock().Local().Location()})
	return d
}

// color reports whether colours are wanted, where there is a terminal. They only add.
func (a *app) color() bool { return a.Env("NO_COLOR") == "" && a.Env("TERM") != "dumb" }

func (a *app) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(a.Env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

func (a *app) screen() live.Screen {
	w, h := a.Size()
	if !a.StdoutTerminal {
		w = 100
	}
	return live.Screen{Width: w, Height: h, Color: a.StdoutTerminal && a.color(), Unicode: a.unicode(), Now: a.Clock()}
}

func (d *textDisplay) Event(e sluice.Event) {
	d.mu.Lock()
	d.job.Apply(e)
	d.mu.Unlock()
	d.progress.Event(e)
}

func (d *textDisplay) Past(events []sluice.Event, now string) {
	d.mu.Lock()
	for _, e := range events {
		d.job.Apply(e)
	}
	d.mu.Unlock()
	d.progress.Past(events, now)
}

// Summary shows how the job ended.
func (d *textDisplay) Summary(sluice.Event) error {
	outputs := func(h sluice.Host, stream string) ([]byte, bool, error) {
		t := d.job.Task(h)
		if t == nil || t.Attempt == "" {
			return nil, false, nil
		}
		in, err := d.svc.OpenOutput(d.ctx, d.job.ID, t.Attempt, stream)
		if err != nil {
			return nil, false, err
		}
		defer in.Close()
		const most = 64 << 10 // more is for "sluice log"
		data, err := io.ReadAll(io.LimitReader(in, most+1))
		return data[:min(len(data), most)], len(data) > most, err
	}
	return live.Summary(d.a.Stdout, d.job, outputs, live.SummaryOptions{Color: d.a.StdoutTerminal && d.a.color(),
		Unicode: d.a.unicode(), NoOutput: d.s.verbose, FailuresOnly: d.s.quiet, Now: d.a.Clock()})
}
