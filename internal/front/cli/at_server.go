package cli

import (
	"github.com/spf13/cobra"

	"sluice"
	"sluice/client"
)

// atServer makes a command's run function of one that needs a server.
func (a *app) atServer(do func(*cobra.Command, *client.Client, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if a.Remote == nil {
			return sluice.Errorf(sluice.Usage, "%s needs a server", c.CommandPath())
		}
		s, err := a.Remote()
		if err != nil {
			return err
		}
		return do(c, s, args)
	}
}
