package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) haltCommand() *cobra.Command {
	var reason, namespace string
	var all bool
	c := &cobra.Command{
		Use:   "halt {JOB | --all}",
		Short: "Start nothing more of a job, or of all; what runs ends by itself",
		Long: `Start nothing more of a job. What runs ends by itself. The job stays halted
until it is resumed. --all halts every job that is not over.

A server of a cluster that has no contact with a majority keeps the halt, and
says so: it is appended as soon as there is one, before anything starts.`,
		Args: func(c *cobra.Command, given []string) error {
			switch {
			case all && len(given) > 0:
				return sluice.Errorf(sluice.Usage, "%s --all takes no job", c.CommandPath())
			case !all && namespace != "":
				return sluice.Errorf(sluice.Usage, "--namespace goes with --all").WithHint("a job is in one namespace: %s JOB", c.CommandPath())
			case all:
				return nil
			}
			return args(1, 1, "a job, or --all")(c, given)
		},
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, given []string) error {
			if all {
				return a.haltAll(c.Context(), svc, sluice.Namespace(namespace), reason)
			}
			events, err := svc.Halt(c.Context(), sluice.JobID(given[0]), reason)
			if err != nil {
				return err
			}
			if a.kept != nil {
				return a.printKept(given[0])
			}
			if a.json() {
				return a.printEvents(events)
			}
			fmt.Fprintf(a.Stdout, "Halting. What runs ends by itself.\nNext: sluice status %[1]s, sluice resume %[1]s\n", given[0])
			return nil
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	c.Flags().BoolVar(&all, "all", false, "halt every job that is not over")
	c.Flags().StringVar(&namespace, "namespace", "", "with --all: only jobs of this `namespace`")
	return c
}

// haltAll says which jobs are halted even where some could not be.
func (a *app) haltAll(ctx context.Context, svc control.Desk, ns sluice.Namespace, reason string) error {
	jobs, err := svc.HaltAll(ctx, ns, reason)
	if err == nil && a.kept != nil {
		return a.printKept("")
	}
	for _, id := range jobs {
		if a.json() {
			if err := a.printJSON(map[string]sluice.JobID{"job": id}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.Stdout, "halting %s\n", id)
	}
	if err == nil && !a.json() {
		fmt.Fprintf(a.Stdout, "%d jobs were halted. What runs ends by itself.\nNext: sluice jobs, sluice resume JOB\n", len(jobs))
	}
	return err
}

// printKept says of a halt that the server keeps it. job is as it was named; "" for all.
func (a *app) printKept(job string) error {
	h := *a.kept
	if a.json() {
		return a.printJSON(map[string]api.KeptHalt{"kept": h})
	}
	next := "sluice jobs"
	if job != "" {
		next = "sluice status " + job
	}
	fmt.Fprintf(a.Stdout, "The server %s keeps the halt: it has no contact with a majority, and as far as it can tell nothing starts anywhere.\n"+
		"It is appended as soon as there is a majority with that server, before anything starts then. What runs ends by itself.\n"+
		"Where the other servers have a majority without it, jobs go on: then halt there, too.\nNext: sluice server members, %s\n", clean.Text(string(h.Server)), next)
	return nil
}
