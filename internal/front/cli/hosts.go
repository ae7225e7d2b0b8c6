package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
)

func (a *app) hostsCommand() *cobra.Command {
	var t targetFlags
	var fold bool
	c := &cobra.Command{
		Use:   "hosts {-f FLEET -t EXPR | -w HOSTS}",
		Short: "Print the hosts that an expression means, one a line",
		Example: `  sluice hosts -f fleet.yaml -t '$app.web & $colo.north'
  sluice hosts -f fleet.yaml -t all --fold`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := a.load(c.Context(), t)
			if err != nil {
				return err
			}
			switch {
			case fold && a.json():
				return a.printJSON(map[string]any{"hosts": fleet.Fold(l.targets), "count": len(l.targets)})
			case fold:
				_, err = fmt.Fprintln(a.Stdout, fleet.Fold(l.targets))
			case a.json():
				return printEach(a, l.targets, func(h sluice.Host) map[string]sluice.Host { return map[string]sluice.Host{"host": h} })
			default:
				for _, h := range l.targets {
					if _, err := fmt.Fprintln(a.Stdout, h); err != nil {
						return err
					}
				}
			}
			return err
		},
	}
	t.add(c)
	c.Flags().BoolVar(&fold, "fold", false, "print them as ranges on one line")
	return c
}
