package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) fleetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "Apply a fleet to its namespace, and look at its versions",
		Args:  noSuchCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.fleetApply(), a.fleetDiff(), a.fleetHistory(), a.fleetShow())
	return c
}

// bundle is what a fleet file is made of. It must be named, or be the default one.
func (a *app) bundle(file string) (fleet.Bundle, *fleet.Loaded, error) {
	t := targetFlags{file: file}
	if file = a.fleetFile(t); file == "" {
		file = a.DefaultFleet
	}
	if file == "" {
		return fleet.Bundle{}, nil, sluice.Errorf(sluice.Usage, "no fleet file is named").WithHint("-f FLEET.yaml")
	}
	l, sent, err := a.recorded(file)
	if err != nil {
		return fleet.Bundle{}, nil, err
	}
	return *sent.Bundle, l, nil
}

func fileFlag(c *cobra.Command, to *string) {
	c.Flags().StringVarP(to, "fleet", "f", "", "fleet `file` (default $SLUICE_FLEET)")
	_ = c.MarkFlagFilename("fleet", "yaml", "yml")
}

// fleetLine is a version of a fleet, as JSON.
type fleetLine struct {
	Namespace sluice.Namespace `json:"namespace"`
	Version   int              `json:"version"`
	Digest    string           `json:"digest"`
	Rules     string           `json:"rules"`
	Hosts     int              `json:"hosts"`
	By        string           `json:"by"`
	Time      time.Time        `json:"time"`
	Note      string           `json:"note,omitzero"`
	Unchanged bool             `json:"unchanged,omitzero"`
	Fleet     *fleet.Bundle    `json:"fleet,omitempty"`
}

func fleetForm(v control.Applied) fleetLine {
	return fleetLine{Namespace: v.Namespace, Version: v.Version, Digest: v.Bundle, Rules: v.Rules, Hosts: v.Hosts, By: v.By, Time: v.Time.UTC(),
		Note: v.Note, Unchanged: v.Same}
}

func (a *app) fleetApply() *cobra.Command {
	var file, note string
	var base int
	c := &cobra.Command{
		Use:   "apply -f FLEET",
		Short: "Make a fleet the current one of its namespace",
		Long: `Make a fleet the current one of its namespace, and put its rules in force. It is
loaded here, with everything that its files name: what is applied needs nothing
of this machine any more. To apply the same twice makes no new version.

With --base it is refused if somebody else has applied another one since the
version that yours was made from.`,
		Example: `  sluice fleet apply -f fleet.yaml --note 'two more web servers'
  sluice fleet apply -f fleet.yaml --base 7`,
		Args: args(0, 0, "no arguments"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, _ []string) error {
			b, _, err := a.bundle(file)
			if err != nil {
				return err
			}
			if c.Flags().Changed("base") && base < 0 {
				return sluice.Errorf(sluice.Usage, "--base: versions begin at 1; 0 means that there is none yet")
			}
			v, err := svc.ApplyFleet(c.Context(), b, note, base)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(fleetForm(v))
			}
			if v.Same {
				fmt.Fprintf(a.Stdout, "The fleet of %s is this one already: version %d, %s.\n", v.Namespace, v.Version, count(v.Hosts, "host"))
				return nil
			}
			fmt.Fprintf(a.Stdout, "The fleet of %s is version %d from now on, %s.\n", v.Namespace, v.Version, count(v.Hosts, "host"))
			return nil
		}),
	}
	fileFlag(c, &file)
	c.Flags().StringVar(&note, "note", "", "what has changed and why, for the journal")
	c.Flags().IntVar(&base, "base", -1, "the `version` that the change was made from")
	c.Flags().Lookup("base").DefValue = "0"
	return c
}

// versionFlags say which namespace.
func versionFlags(c *cobra.Command, t *targetFlags) {
	c.Flags().StringVar(&t.namespace, "namespace", "", "`namespace` (default: default)")
}

func (a *app) fleetDiff() *cobra.Command {
	var t targetFlags
	var from, to int
	c := &cobra.Command{
		Use:   "diff {-f FLEET | --from N [--to N]}",
		Short: "Show what is different between two fleets",
		Long: `Show what is different: what applying a fleet file would change, or what changed
between two versions. The exit status is 1 if there is a difference.`,
		Example: `  sluice fleet diff -f fleet.yaml
  sluice fleet diff --from 3 --to 4`,
		Args: args(0, 0, "no arguments"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, _ []string) error {
			return a.diff(c, svc, t, from, to)
		}),
	}
	fileFlag(c, &t.file)
	versionFlags(c, &t)
	c.Flags().IntVar(&from, "from", 0, "the older `version` (default: the current one)")
	c.Flags().IntVar(&to, "to", 0, "the newer `version` (default: the fleet file, or else the current one)")
	return c
}

func (a *app) diff(c *cobra.Command, svc control.Desk, t targetFlags, from, to int) error {
	if from < 0 || to < 0 || t.file != "" && to != 0 || t.file == "" && from == 0 {
		return sluice.Errorf(sluice.Usage, "two fleets are compared: -f FLEET with a version, or --from N with --to N").
			WithHint("%s --help", c.CommandPath())
	}
	ns := a.namespace(t)
	var newer *fleet.Loaded
	if t.file != "" {
		var err error
		if _, newer, err = a.bundle(t.file); err != nil {
			return err
		}
		if t.namespace == "" {
			ns = newer.Fleet().Namespace
		}
	}
	version := func(n int) (*fleet.Loaded, error) {
		b, _, err := svc.FleetAt(c.Context(), ns, control.FleetAt{Version: n})
		if err != nil {
			return nil, err
		}
		return b.Load()
	}
	older, err := version(from)
	if err != nil {
		return err
	}
	if newer == nil {
		if newer, err = version(to); err != nil {
			return err
		}
	}
	d := fleet.Diff(older.Fleet(), newer.Fleet())
	if a.json() {
		if err := a.printJSON(d); err != nil {
			return err
		}
	} else if _, err := fmt.Fprint(a.Stdout, d); err != nil {
		return err
	}
	if d.Empty() {
		return nil
	}
	return exitError(exitFailures)
}

func (a *app) fleetHistory() *cobra.Command {
	var t targetFlags
	c := &cobra.Command{
		Use:   "history",
		Short: "List the versions of a fleet, newest first: who, when, and why",
		Args:  args(0, 0, "no arguments"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, _ []string) error {
			list, err := svc.Fleets(c.Context(), a.namespace(t))
			if err != nil {
				return err
			}
			if len(list) == 0 && !a.json() {
				fmt.Fprintf(a.Stderr, "No fleet was applied to the namespace %s yet. Apply one with: sluice fleet apply -f FLEET\n", a.namespace(t))
			}
			for i := len(list) - 1; i >= 0; i-- {
				v := list[i]
				if a.json() {
					if err := a.printJSON(fleetForm(v)); err != nil {
						return err
					}
					continue
				}
				if i == len(list)-1 {
					fmt.Fprintf(a.Stdout, "%-7s  %-19s  %-20s  %6s  %s\n", "VERSION", "APPLIED", "BY", "HOSTS", "NOTE")
				}
				fmt.Fprintf(a.Stdout, "%7d  %-19s  %-20s  %6d  %s\n", v.Version, v.Time.Local().Format("2006-01-02 15:04:05"), v.By, v.Hosts, clean.Line(v.Note))
			}
			return nil
		}),
	}
	versionFlags(c, &t)
	return c
}

func (a *app) fleetShow() *cobra.Command {
	var t targetFlags
	var version int
	var at string
	c := &cobra.Command{
		Use:   "show",
		Short: "Print a fleet as it was applied, now or earlier",
		Long: `Print the files of a fleet as it was applied: the current one, or that of a
version or a time. With -o json it is all that the fleet was loaded from, which
applies as it is through the API.`,
		Example: `  sluice fleet show
  sluice fleet show --version 3
  sluice fleet show --at 2026-01-02T15:04:05Z`,
		Args: args(0, 0, "no arguments"),
		RunE: a.withJournal(func(c *cobra.Command, svc control.Desk, _ []string) error {
			which := control.FleetAt{Version: version}
			switch {
			case version < 0 || version > 0 && at != "":
				return sluice.Errorf(sluice.Usage, "--version takes a number from 1 on, and goes without --at")
			case at != "":
				var err error
				if which.Time, err = timeOf("--at", at, a.Clock()); err != nil {
					return err
				}
			}
			b, v, err := svc.FleetAt(c.Context(), a.namespace(t), which)
			if err != nil {
				return err
			}
			return a.printFleet(b, v)
		}),
	}
	versionFlags(c, &t)
	c.Flags().IntVar(&version, "version", 0, "this `version`")
	c.Flags().StringVar(&at, "at", "", "the version that was current at this `time`, such as 2026-01-02T15:04:05Z, 2026-01-02, or 2h ago")
	return c
}

// printFleet prints the files, the main one first.
func (a *app) printFleet(b fleet.Bundle, v control.Applied) error {
	if a.json() {
		l := fleetForm(v)
		l.Fleet = &b
		return a.printJSON(l)
	}
	fmt.Fprintf(a.Stdout, "# version %d of the fleet of %s, by %s at %s\n", v.Version, v.Namespace, v.By, v.Time.UTC().Format(time.RFC3339))
	files := make([]fleet.File, 0, len(b.Files))
	for _, f := range b.Files {
		if f.Path == b.Main {
			files = append([]fleet.File{f}, files...)
		} else {
			files = append(files, f)
		}
	}
	to := a.Stdout
	if a.StdoutTerminal {
		to = clean.Writer(to)
	}
	for _, f := range files {
		if f.Path != b.Main {
			fmt.Fprintf(a.Stdout, "\n# %s\n", clean.Line(f.Path))
		}
		if _, err := to.Write(f.Content); err != nil {
			return err
		}
	}
	for _, x := range b.Answers {
		fmt.Fprintf(a.Stdout, "\n# %q named: %s\n", x.Command, fleet.Fold(x.Hosts))
	}
	for _, i := range b.Inventories {
		fmt.Fprintf(a.Stdout, "\n# the inventory %s is kept, too: -o json\n", clean.Line(i.Path))
	}
	return nil
}
