package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sluice"
)

// PromoteOptions say which server becomes the first of a cluster.
type PromoteOptions struct {
	Data    string
	Address string // HOST:PORT at which other servers reach it
	Name    sluice.ServerName
}

// Promoted is what became of it.
type Promoted struct {
	Data   string        `json:"data"`
	Before string        `json:"before"` // the journal as it was
	Heads  []sluice.Head `json:"heads"`
}

// DemoteOptions say which server is to be alone again.
type DemoteOptions struct {
	Data string
	// Engine is where the log is, if that is an etcd elsewhere.
	Engine EngineOptions
}

// Demoted is what became of it.
type Demoted struct {
	Data  string        `json:"data"`
	Heads []sluice.Head `json:"heads"`
}

// RecoverOptions say what is left of a cluster.
type RecoverOptions struct {
	Data  string
	Alone bool // it is no cluster any more
	Yes   bool
}

func (a *app) promoteCommand() *cobra.Command {
	var o PromoteOptions
	var f clusterFlags
	c := &cobra.Command{
		Use:   "promote --cluster HOST:PORT [--name NAME]",
		Short: "Make the first server of a cluster of a server that was alone",
		Long: `Make the first server of a cluster of a server that was alone. It must not run
meanwhile; what runs on hosts goes on. The log keeps its numbers, and the
journal as it was is kept beside it, proved to be the same; nobody can append
to that one.`,
		Example: "  sluice server promote --cluster 10.0.0.1:7659 --name a",
		Args:    args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.address == "" {
				return sluice.Errorf(sluice.Usage, "where will the other servers reach this one?").WithHint("--cluster HOST:PORT, such as s1.example.com:7659")
			}
			if err := reachable(f.address); err != nil {
				return err
			}
			name, err := f.serverName(a)
			if err != nil {
				return err
			}
			o.Address, o.Name = f.address, name
			done, err := a.Promote(c.Context(), o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(done)
			}
			fmt.Fprintf(a.Stdout, "%s is the first server of a cluster: %s.\nThe journal as it was is in %s.\n", o.Name, ends(done.Heads), done.Before)
			fmt.Fprintf(a.Stderr, "sluice server --data %s --cluster %s --name %s starts it\nsluice server members add NAME lets the next one in\n", done.Data, o.Address, o.Name)
			return nil
		},
	}
	c.Flags().StringVar(&o.Data, "data", "", "`directory` of all that the server keeps")
	c.Flags().StringVar(&f.address, "cluster", "", "`HOST:PORT` at which the other servers will reach this one; the port after it is used, too")
	c.Flags().StringVar(&f.name, "name", "", "`name` of this server in the cluster (default: that of the machine)")
	return c
}

func (a *app) demoteCommand() *cobra.Command {
	var o DemoteOptions
	var f clusterFlags
	c := &cobra.Command{
		Use:   "demote",
		Short: "Make a server that is alone of the last one of a cluster",
		Long: `Make a server that is alone of the last one of a cluster. It must not run
meanwhile, and the others must have been removed before. It is proved that it
has all of the log, which goes on with its numbers. With an etcd elsewhere it
takes the same --engine as the server, and leaves nothing of the log there.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Engine, err = f.engine(a); err != nil {
				return err
			}
			done, err := a.Demote(c.Context(), o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(done)
			}
			fmt.Fprintf(a.Stdout, "The server is alone: %s.\n", ends(done.Heads))
			fmt.Fprintf(a.Stderr, "sluice server --data %s starts it\n", done.Data)
			return nil
		},
	}
	c.Flags().StringVar(&o.Data, "data", "", "`directory` of all that the server keeps")
	f.addEngine(c.Flags())
	return c
}

func (a *app) recoverCommand() *cobra.Command {
	var o RecoverOptions
	c := &cobra.Command{
		Use:   "recover",
		Short: "Go on with what one server has, where most of a cluster is lost",
		Long: `Go on with what one server has, where most of a cluster is lost for good. What
the others had and this one has not is lost. The log goes on in a new epoch,
and every job that is not over is halted: nothing starts before somebody
resumes it. The others must never be started again on their data.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if !o.Yes {
				if a.Confirm == nil {
					return sluice.Errorf(sluice.Usage, "nothing was done: what the other servers had and this one has not would be lost").WithHint("--yes says that this is meant")
				}
				ok, err := a.agreed("What the other servers had and this one has not is lost for good, and none of them may be started again. Go on?")
				if err != nil {
					return err
				}
				if !ok {
					return sluice.Errorf(sluice.Usage, "nothing was done")
				}
			}
			done, err := a.Recover(c.Context(), o)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(done)
			}
			fmt.Fprintf(a.Stdout, "The log of %s goes on in epoch %d. %d jobs were halted.\n", done.Data, done.Epoch, len(done.Halted))
			return nil
		},
	}
	c.Flags().StringVar(&o.Data, "data", "", "`directory` of all that the server keeps")
	c.Flags().BoolVar(&o.Alone, "alone", false, "make it a server that is alone, and not the first one of a new cluster")
	c.Flags().BoolVar(&o.Yes, "yes", false, "do not ask")
	return c
}

// ends says where a log ends.
func ends(heads []sluice.Head) string {
	if len(heads) == 0 {
		return "its log is empty"
	}
	var out []string
	for _, h := range heads {
		out = append(out, fmt.Sprintf("%s ends with event %d", h.Namespace, h.Seq))
	}
	return strings.Join(out, ", ")
}
