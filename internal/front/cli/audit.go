package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/internal/core/audit"
	"sluice/internal/front/clean"
)

// Trail is where the records of a log are read from: the journal of this machine, the data of a server, or a server
// elsewhere.
type Trail interface {
	// Records hands on all records, unproved, by namespace, in order. what is for the audit.
	Records(ctx context.Context, what string, visit func(sluice.Record) error) error
	// Standing says what others remember of the log that it does not have.
	Standing(ctx context.Context) (api.Standing, error)
	// Repair declares the log the truth.
	Repair(ctx context.Context, reason string) (sluice.LogRepaired, error)
	Close() error
}

// onTrail opens the trail for as long as do takes.
func (a *app) onTrail(ctx context.Context, data string, do func(Trail) error) error {
	at := a.chosen
	if data != "" {
		at = nil
	}
	t, err := a.Trail(ctx, data, at)
	if err != nil {
		return err
	}
	return errors.Join(do(t), t.Close())
}

func (a *app) auditCommand() *cobra.Command {
	var data string
	c := &cobra.Command{Use: "audit", Short: "See who did what, and prove that nothing of it was changed", Args: noSuchCommand,
		Long: `See who did what, and prove that nothing of it was changed. What is proved is
computed here, from the records themselves: nobody's word is taken for it.`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.PersistentFlags().StringVar(&data, "data", "", "the data `directory` of a server on this machine (default: the journal, or the server that one is logged in to)")
	c.AddCommand(a.auditVerifyCommand(&data), a.auditListCommand(&data), a.auditExportCommand(&data), a.auditWitnessCommand(&data), a.auditRepairCommand(&data))
	return c
}

func (a *app) auditVerifyCommand(data *string) *cobra.Command {
	var against []string
	c := &cobra.Command{Use: "verify", Short: "Prove the whole log, also against what was kept elsewhere", Args: args(0, 0, "no arguments"),
		Long: `Read all records of the log and prove them: none was changed, removed, put in
another place or added between. An end that was cut off, and a log that was
written anew as a whole, show only against something that was kept elsewhere:
an earlier export, or the heads that "sluice audit verify -o json" prints.`,
		RunE: func(c *cobra.Command, _ []string) error {
			proof, err := a.against(against)
			if err != nil {
				return err
			}
			return a.onTrail(c.Context(), *data, func(t Trail) error {
				err := t.Records(c.Context(), "audit verify", func(r sluice.Record) error {
					_, err := proof.Add(r)
					return err
				})
				if err == nil {
					err = proof.End()
				}
				if err != nil {
					return err
				}
				return a.printHeads(proof.Heads())
			})
		}}
	c.Flags().StringArrayVar(&against, "against", nil, "`file` with an earlier export or with heads; may be repeated")
	return c
}

// against begins a proof against what was kept in files.
func (a *app) against(files []string) (*audit.Proof, error) {
	var kept []sluice.Head
	for _, name := range files {
		text, err := a.Files.Read(name)
		if err != nil {
			return nil, err
		}
		heads, err := audit.ParseHeads(text)
		if err != nil {
			var e *sluice.Error
			if errors.As(err, &e) {
				e.At.File = name
			}
			return nil, err
		}
		kept = append(kept, heads...)
	}
	return audit.New(kept...)
}

func (a *app) printHeads(heads []sluice.Head) error {
	if a.json() {
		return printEach(a, heads, func(h sluice.Head) sluice.Head { return h })
	}
	fmt.Fprintln(a.Stdout, "whole:")
	for _, h := range heads {
		fmt.Fprintf(a.Stdout, "  namespace %s: %d events, head %s\n", h.Namespace, h.Seq, h.Hash)
	}
	return nil
}

// span is a part of the log that somebody asks for.
type span struct{ since, until, namespace string }

func (s *span) add(c *cobra.Command) {
	c.Flags().StringVar(&s.since, "since", "", "only what happened since this `time`: 2026-01-02, 2026-01-02T15:04:05Z, or 36h ago")
	c.Flags().StringVar(&s.until, "until", "", "only what happened before this `time`")
	c.Flags().StringVar(&s.namespace, "namespace", "", "only this `namespace`")
}

// within makes a function that says whether something is asked for.
func (s *span) within(now time.Time) (func(sluice.Namespace, time.Time) bool, error) {
	since, err := timeOf("--since", s.since, now)
	if err != nil {
		return nil, err
	}
	until, err := timeOf("--until", s.until, now)
	if err != nil {
		return nil, err
	}
	return func(ns sluice.Namespace, at time.Time) bool {
		return (s.namespace == "" || string(ns) == s.namespace) && !at.Before(since) && (until.IsZero() || at.Before(until))
	}, nil
}

func (a *app) auditListCommand(data *string) *cobra.Command {
	var s span
	c := &cobra.Command{Use: "list", Short: "Who did what, when, and what was refused", Args: args(0, 0, "no arguments"),
		Long: `List who did what, in all namespaces: what people and programs asked for, what
was refused, who read what may hold secrets. What followed from it on the hosts
is in "sluice log". The log is proved on the way.`,
		RunE: func(c *cobra.Command, _ []string) error {
			within, err := s.within(a.Clock())
			if err != nil {
				return err
			}
			proof, err := audit.New()
			if err != nil {
				return err
			}
			return a.onTrail(c.Context(), *data, func(t Trail) error {
				var all []audit.Entry
				err := t.Records(c.Context(), "audit list", func(r sluice.Record) error {
					events, err := proof.Add(r)
					for _, e := range events {
						if entry, ok := audit.Of(r.Namespace, e); ok && within(entry.Namespace, e.Time) {
							all = append(all, entry)
						}
					}
					return err
				})
				if err != nil {
					return err
				}
				audit.Sort(all)
				if a.json() {
					return printEach(a, all, func(e audit.Entry) audit.Entry { return e })
				}
				for _, e := range all {
					fmt.Fprintln(a.Stdout, clean.Text(e.String()))
				}
				return nil
			})
		}}
	s.add(c)
	return c
}

func (a *app) auditExportCommand(data *string) *cobra.Command {
	var s span
	c := &cobra.Command{Use: "export", Short: "Write the records of the log out, to keep them elsewhere", Args: args(0, 0, "no arguments"),
		Long: `Write the records of the log out, one JSON object a line, with their hashes:
"sluice audit verify --against" compares with them later. They are proved on
the way. With --since or --until whole records are left out before and behind.
The export is itself noted in the log.`,
		RunE: func(c *cobra.Command, _ []string) error {
			within, err := s.within(a.Clock())
			if err != nil {
				return err
			}
			proof, err := audit.New()
			if err != nil {
				return err
			}
			return a.onTrail(c.Context(), *data, func(t Trail) error {
				return t.Records(c.Context(), "audit export", func(r sluice.Record) error {
					events, err := proof.Add(r)
					if err != nil {
						return err
					}
					for _, e := range events {
						if within(r.Namespace, e.Time) {
							return a.printJSON(r)
						}
					}
					return nil
				})
			})
		}}
	s.add(c)
	return c
}

func (a *app) auditWitnessCommand(data *string) *cobra.Command {
	return &cobra.Command{Use: "witness", Short: "What others remember of the log that it does not have", Args: args(0, 0, "no arguments"),
		Long: `Show which heads clients and workers have handed back that the log does not
have. Those that a restore or repair explains are lost; for any other nothing
starts and nothing is changed until "sluice audit repair".`,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.onTrail(c.Context(), *data, func(t Trail) error {
				s, err := t.Standing(c.Context())
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(s)
				}
				fmt.Fprintf(a.Stdout, "epoch %d\n", s.Epoch)
				for _, h := range s.Unfit {
					fmt.Fprintf(a.Stdout, "NOT EXPLAINED  namespace %s: event %d was seen as %s\n", h.Namespace, h.Seq, h.Hash)
				}
				for _, h := range s.Lost {
					fmt.Fprintf(a.Stdout, "lost           namespace %s: event %d was seen in epoch %d\n", h.Namespace, h.Seq, h.Epoch)
				}
				if len(s.Unfit) > 0 {
					fmt.Fprintln(a.Stdout, "Nothing starts and nothing is changed. Next: docs/audit.md, then sluice audit repair --reason ...")
				}
				return nil
			})
		}}
}

func (a *app) auditRepairCommand(data *string) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "repair --reason TEXT", Short: "Declare the log the truth, whatever others have seen of it", Args: args(0, 0, "no arguments"),
		Long: `Declare the log the truth, though others have seen more or something else of it:
what they have seen is then known to be lost, and things may start again. Look
at the hosts of the last jobs first.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.onTrail(c.Context(), *data, func(t Trail) error {
				r, err := t.Repair(c.Context(), reason)
				if err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(r)
				}
				fmt.Fprintf(a.Stdout, "Epoch %d begins. %d heads that did not fit are known to be lost.\n", r.Epoch, len(r.Seen))
				return nil
			})
		}}
	needReason(c, &reason)
	return c
}
