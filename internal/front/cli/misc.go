package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"sluice"
	"sluice/internal/core/fleet"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of fleet files, for editors",
		Args:  args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.Stdout.Write(fleet.Schema())
			return err
		},
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which program this is",
		Args:  args(0, 0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			b := a.Build
			if a.json() {
				return a.printJSON(map[string]string{"version": b.Version, "revision": b.Revision, "time": b.Time, "go": b.Go})
			}
			_, err := fmt.Fprintf(a.Stdout, "sluice %s\nrevision %s\nbuilt    %s, %s\n", b.Version, b.Revision, b.Time, b.Go)
			return err
		},
	}
}

// journalCommand looks after the journal's file.
func (a *app) journalCommand() *cobra.Command {
	c := &cobra.Command{Use: "journal", Short: "Check the journal, or accept it as it is after a restore", Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var data string
	c.PersistentFlags().StringVar(&data, "data", "", "the data `directory` of a server on this machine instead")
	for _, act := range []struct{ name, short string }{
		{"verify", "Read the whole journal and check that nothing was changed or lost"},
		{"accept", "Take the journal for the truth as it is, after a restore"},
		{"path", "Print where the journal is"},
	} {
		c.AddCommand(&cobra.Command{Use: act.name, Short: act.short, Args: args(0, 0, "no arguments"),
			RunE: func(c *cobra.Command, _ []string) error {
				if a.elsewhere() && data == "" {
					return sluice.Errorf(sluice.Usage, "this looks after the journal of this machine, and a server is chosen").
						WithHint("--server %s means this machine; the server's log is looked after where it is", localName)
				}
				said, err := a.Journal(c.Context(), data, act.name)
				if err == nil {
					fmt.Fprintln(a.Stdout, said)
				}
				return err
			}})
	}
	return c
}

func (a *app) manCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write man pages",
		Hidden: true,
		Args:   args(1, 1, "a directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			return doc.GenManTree(root, &doc.GenManHeader{Title: "SLUICE", Section: "1", Source: "Sluice " + a.Build.Version}, args[0])
		},
	}
}
