package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/front/clean"
	"sluice/internal/front/live"
	"sluice/internal/run/control"
)

// reasonLine is why a host waits, as JSON.
type reasonLine struct {
	Host       sluice.Host  `json:"host"`
	Rule       sluice.Rule  `json:"rule"`
	Constraint string       `json:"constraint"`
	Group      string       `json:"group,omitzero"`
	Text       string       `json:"text"`
	Holders    []holderLine `json:"holders"`
}

type holderLine struct {
	Host  sluice.Host  `json:"host"`
	Job   sluice.JobID `json:"job"`
	Since time.Time    `json:"since"`
	Why   string       `json:"why"`
}

func reason(r schedule.Reason) reasonLine {
	out := reasonLine{Host: r.Host, Rule: r.Rule, Constraint: r.Constraint, Group: r.Group, Text: r.Text, Holders: []holderLine{}}
	for _, h := range r.Holders {
		out.Holders = append(out.Holders, holderLine{h.Host, h.Job, h.Since.UTC(), h.Why})
	}
	return out
}

func (a *app) whyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "why [JOB [HOST]]",
		Short: "Say why hosts wait: which rule, and which hosts are in the way",
		Args:  args(0, 2, "a job, and a host if only one is of interest"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, args []string) error {
			var h sluice.Host
			if len(args) == 2 {
				h = sluice.Host(args[1])
			}
			reasons, err := svc.Why(c.Context(), first(args), h)
			if err != nil {
				return err
			}
			switch {
			case len(reasons) == 0:
				return a.nothingWaits(c.Context(), svc, first(args), h)
			case a.json():
				return printEach(a, reasons, reason)
			}
			a.printReasons(reasons)
			return nil
		}),
	}
}

// printReasons folds hosts that wait for the same thing.
func (a *app) printReasons(reasons []schedule.Reason) {
	type key struct{ rule, group, text string }
	hosts := map[key][]sluice.Host{}
	var order []key
	like := map[key]schedule.Reason{}
	for _, r := range reasons {
		k := key{string(r.Rule), r.Group, r.Text}
		if hosts[k] == nil {
			order = append(order, k)
			like[k] = r
		}
		hosts[k] = append(hosts[k], r.Host)
	}
	for i, k := range order {
		if i > 0 {
			fmt.Fprintln(a.Stdout)
		}
		noun, verb := "hosts", "wait"
		if len(hosts[k]) == 1 {
			noun, verb = "host", "waits"
		}
		fmt.Fprintf(a.Stdout, "%d %s %s: %s\n", len(hosts[k]), noun, verb, clean.Line(k.text))
		fmt.Fprintf(a.Stdout, "  %s\n", fleet.Fold(hosts[k]))
		fmt.Fprintf(a.Stdout, "  rule: %s", k.rule)
		if c := like[k].Constraint; c != "" {
			fmt.Fprintf(a.Stdout, " %s (%s)", clean.Line(c), clean.Line(k.group))
		}
		fmt.Fprintln(a.Stdout)
		a.printHolders(like[k].Holders)
	}
}

func (a *app) printHolders(holders []schedule.Holder) {
	const most = 20
	for i, h := range holders {
		if i == most {
			fmt.Fprintf(a.Stdout, "  and %d more\n", len(holders)-most)
			return
		}
		by := "by an operator"
		if h.Job != "" {
			by = "in job " + string(h.Job)
		}
		fmt.Fprintf(a.Stdout, "  in the way: %s, %s %s", h.Host, strings.ReplaceAll(h.Why, "_", " "), by)
		if !h.Since.IsZero() {
			fmt.Fprintf(a.Stdout, ", for %s", ago(h.Since, a.Clock()))
		}
		fmt.Fprintln(a.Stdout)
	}
}

// nothingWaits says where the job, or the host, stands instead.
func (a *app) nothingWaits(ctx context.Context, svc control.Desk, id string, h sluice.Host) error {
	j, _, err := svc.Job(ctx, id)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("nothing waits: job %s is %s", j.ID, j.State())
	left, err := notUndone(ctx, svc, j)
	if err != nil {
		return err
	}
	switch of := j.Spec.Action.Undoes; {
	case of != "":
		text += fmt.Sprintf("; it brings the hosts back that job %s had changed", of)
	case j.Finished != nil && j.Finished.Undo != "":
		text += fmt.Sprintf("; job %s brings the hosts back that it changed", j.Finished.Undo)
	case j.Finished != nil && j.Finished.Reason != "":
		text += "; nothing of it was started: " + clean.Line(j.Finished.Reason)
	}
	if left != "" {
		text += "; not brought back: " + left
	}
	if t := j.Task(h); t != nil {
		text = fmt.Sprintf("%s does not wait: %s", h, live.TaskState(t))
	}
	if a.json() {
		if h == "" {
			return nil
		}
		return a.printJSON(reasonLine{Host: h, Text: text, Holders: []holderLine{}})
	}
	fmt.Fprintln(a.Stdout, text)
	return nil
}
