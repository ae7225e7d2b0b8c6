package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"sluice/internal/front/clean"
	"sluice/internal/front/live"
)

// ofJobs are the commands whose first argument is a job.
var ofJobs = []string{"status", "watch", "why", "log", "halt", "resume", "cancel", "retry", "skip", "approve"}

// complete teaches the shell's completion what only the journal and the fleet know.
func (a *app) complete(root *cobra.Command) {
	for _, c := range root.Commands() {
		if slices.Contains(ofJobs, c.Name()) {
			c.ValidArgsFunction = a.completeJob
		}
		if c.Flags().Lookup("target") != nil {
			_ = c.RegisterFlagCompletionFunc("target", a.completeTag)
		}
	}
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// completeJob offers the newest jobs, and for a second argument the hosts of the job.
func (a *app) completeJob(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	svc, closing, err := a.desk(c.Context(), false)
	if err != nil || svc == nil {
		return nil, none
	}
	defer func() { _ = closing() }()
	var out []string
	if len(args) > 0 {
		if j, _, err := svc.Job(c.Context(), args[0]); err == nil {
			for i := range j.Tasks {
				out = append(out, string(j.Tasks[i].Host)+"\t"+live.TaskState(&j.Tasks[i]))
			}
		}
		return out, none
	}
	jobs, err := svc.Jobs(c.Context())
	if err != nil {
		return nil, none
	}
	for _, j := range jobs[:min(len(jobs), 20)] {
		out = append(out, string(j.Spec.ID)+"\t"+string(j.State)+": "+cut(clean.Line(j.Spec.Command), 40))
	}
	return out, none | cobra.ShellCompDirectiveKeepOrder
}

// completeTag offers the fleet's tags, in the spelling that needs no quoting.
func (a *app) completeTag(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	file, err := c.Flags().GetString("fleet")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	namespace, err := c.Flags().GetString("namespace")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	l, _, err := a.loadFleet(c.Context(), targetFlags{file: file, namespace: namespace})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := []string{"all\tevery host of the fleet"}
	for _, t := range l.Fleet().TagOrder {
		out = append(out, "@"+string(t)+"\t"+count(len(l.Fleet().Tags[t]), "host"))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
