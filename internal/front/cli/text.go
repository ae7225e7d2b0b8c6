package cli

import (
	"fmt"
	"io"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/plan"
	"sluice/internal/core/rehearse"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

type textDisplay struct {
	a   *app
	job *view.Job
}

func (a *app) textDisplay(svc *control.Service, s showing) display {
	return &textDisplay{a: a, job: view.New()}
}

func (d *textDisplay) Event(e sluice.Event) {
	d.job.Apply(e)
	if b, ok := e.Body.(sluice.TaskFinished); ok {
		fmt.Fprintf(d.a.Stdout, "%s: %s %s\n", b.Host, b.Outcome, clean.Line(b.Reason))
	}
}
func (d *textDisplay) Waits([]schedule.Wait) {}
func (d *textDisplay) Notice(text string)    { d.a.notice(text) }
func (d *textDisplay) Close()                {}
func (d *textDisplay) Summary(last sluice.Event) error {
	fmt.Fprintf(d.a.Stdout, "%+v\n", last.Body)
	return nil
}

func planText(w io.Writer, f *sluice.Fleet, p sluice.Plan, worst []plan.Worst, width int) error {
	for _, t := range p.Tracks {
		for _, s := range t.Stages {
			fmt.Fprintf(w, "%s %s: %s\n", t.Name, s.Name, fleet.Fold(s.Hosts))
		}
	}
	return nil
}

func rehearsalText(w io.Writer, f *sluice.Fleet, p sluice.Plan, r rehearse.Result, width int) error {
	_, err := fmt.Fprintf(w, "%+v\n", r)
	return err
}
