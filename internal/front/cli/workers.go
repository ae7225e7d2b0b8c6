package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/front/clean"
)

func (a *app) workersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "workers",
		Short: "List, invite, drain and remove the workers of a server",
		Args:  noSuchCommand,
		RunE:  a.atServer(a.listWorkers),
	}
	list := &cobra.Command{Use: "list", Short: "List workers with load and health", Args: args(0, 0, "no arguments"),
		RunE: a.atServer(a.listWorkers)}
	c.AddCommand(list, a.inviteWorker(),
		a.workerAct("drain", "Give a worker nothing new; what it has ends by itself", "Draining %s.\nNext: sluice workers", func(c *cobra.Command, s *client.Client, n sluice.WorkerName) error {
			return s.DrainWorker(c.Context(), n, false)
		}),
		a.workerAct("undrain", "Give a worker attempts again", "%s takes attempts again.", func(c *cobra.Command, s *client.Client, n sluice.WorkerName) error {
			return s.DrainWorker(c.Context(), n, true)
		}),
		a.workerAct("remove", "Refuse a worker from now on; others take over what it has", "Removed %s.", func(c *cobra.Command, s *client.Client, n sluice.WorkerName) error {
			return s.RemoveWorker(c.Context(), n)
		}))
	return c
}

func (a *app) listWorkers(c *cobra.Command, s *client.Client, _ []string) error {
	list, err := s.Workers(c.Context())
	if err != nil {
		return err
	}
	if a.json() {
		return printEach(a, list, func(w api.Worker) api.Worker { return w })
	}
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WORKER\tPOOLS\tHEALTH\tRUNNING\tVERSION\tSINCE\tHEARD\tCERTIFICATE\tSEAL KEY")
	now := a.Clock()
	for _, w := range list {
		pools := make([]string, len(w.Pools))
		for i, p := range w.Pools {
			pools[i] = string(p)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d/%d\t%s\t%s\t%s\t%s\t%s\n", clean.Text(string(w.Name)), clean.Text(strings.Join(pools, ",")), w.Health,
			w.Running, w.Limit, orDash(clean.Text(w.Version)), agoOf(w.Since, now), agoOf(w.Heard, now), leftOf(w.Certificate, now),
			orDash(clean.Text(w.SealFingerprint)))
	}
	return t.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func agoOf(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	return ago(*t, now)
}

func leftOf(t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return "-"
	case !now.Before(*t):
		return "ended"
	}
	return "ends in " + t.Sub(now).Round(time.Minute).String()
}

func (a *app) inviteWorker() *cobra.Command {
	var pools []string
	c := &cobra.Command{
		Use:   "invite NAME [--pool POOL]...",
		Short: "Print a token to enrol a worker with, once, within 15 minutes",
		Args:  args(1, 1, "the name of a worker"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, names []string) error {
			name, err := sluice.ParseWorkerName(names[0])
			if err != nil {
				return err
			}
			var in []sluice.Pool
			for _, p := range pools {
				in = append(in, sluice.Pool(p))
			}
			i, err := s.InviteWorker(c.Context(), name, in)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(i)
			}
			fmt.Fprintln(a.Stdout, i.Token)
			fmt.Fprintf(a.Stderr, "Good once, until %s. Put it into a file on the worker, then there:\n  sluice worker --server %s --enrol-file FILE\n",
				i.Expires.Format(time.RFC3339), s.Server())
			return nil
		}),
	}
	c.Flags().StringArrayVar(&pools, "pool", nil, "`pool` that it belongs to; may be repeated (default: default)")
	return c
}

func (a *app) workerAct(act, short, said string, do func(*cobra.Command, *client.Client, sluice.WorkerName) error) *cobra.Command {
	return &cobra.Command{
		Use:   act + " NAME",
		Short: short,
		Args:  args(1, 1, "the name of a worker"),
		RunE: a.atServer(func(c *cobra.Command, s *client.Client, names []string) error {
			if err := do(c, s, sluice.WorkerName(names[0])); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]string{"worker": names[0], "done": act})
			}
			fmt.Fprintf(a.Stdout, said+"\n", clean.Text(names[0]))
			return nil
		}),
	}
}
