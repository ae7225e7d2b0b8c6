package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/target"
	"sluice/internal/run/control"
)

func (a *app) copyCommand() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "copy {-f FLEET -t EXPR | -w HOSTS} SOURCE DESTINATION",
		Short: "Put a file or a tree on hosts, under the fleet's rules",
		Long: `Put a local file or tree on hosts. Every file arrives whole or not at all, with
its mode, and its content is checked before it takes the place of what was
there. A DESTINATION that ends with / is a directory to put SOURCE into.`,
		Example: `  sluice copy -w 'web[01-20]' app.conf /etc/app/app.conf
  sluice copy -f fleet.yaml -t '$app.web' --sudo site/ /srv/site`,
		Args: args(2, 2, "a local source and a destination on the hosts"),
		RunE: func(c *cobra.Command, paths []string) error {
			if !strings.HasPrefix(paths[1], "/") {
				return sluice.Errorf(sluice.Usage, "the destination %q is not an absolute path", paths[1])
			}
			r, err := a.request(c.Context(), &f)
			if err != nil {
				return err
			}
			return a.submit(c.Context(), &f, r, func(svc control.Desk, r *control.Request) error {
				dest := paths[1]
				if strings.HasSuffix(dest, "/") {
					absolute, err := a.Files.Absolute(paths[0])
					if err != nil {
						return err
					}
					dest += absolute[strings.LastIndex(absolute, "/")+1:]
				}
				digest, size, err := a.Files.Pack(c.Context(), paths[0], svc.Keep)
				if err != nil {
					return &sluice.Error{Code: sluice.Usage, Text: "cannot read " + paths[0], Err: err}
				}
				r.Action = sluice.Action{Kind: sluice.CopyTo, Source: digest, Size: size, Dest: dest}
				r.Sent.Name = paths[0]
				r.Command = "copy " + target.Quote(paths[0], dest)
				return nil
			})
		},
	}
	f.add(a, c)
	return c
}

func (a *app) fetchCommand() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "fetch {-f FLEET -t EXPR | -w HOSTS} SOURCE --output-dir DIR [flags]",
		Short: "Bring a file or a tree back from every host",
		Long: `Bring a file or a tree back from every host, to DIR/HOST/PATH. It changes
nothing on the hosts and takes no capacity.`,
		Example: `  sluice fetch -w 'web[01-20]' /etc/app/app.conf --output-dir collected`,
		Args:    args(1, 1, "a path on the hosts"),
		RunE: func(c *cobra.Command, paths []string) error {
			switch {
			case !strings.HasPrefix(paths[0], "/"):
				return sluice.Errorf(sluice.Usage, "the source %q is not an absolute path", paths[0])
			case f.outputDir == "":
				return sluice.Errorf(sluice.Usage, "--output-dir says where the files go")
			case f.detach:
				return sluice.Errorf(sluice.Usage, "--detach: the files come here while this waits")
			}
			absolute, err := a.Files.Absolute(f.outputDir)
			if err != nil {
				return err
			}
			f.outputDir = absolute
			r, err := a.request(c.Context(), &f)
			if err != nil {
				return err
			}
			r.Options.ReadOnly = true
			return a.submit(c.Context(), &f, r, func(_ control.Desk, r *control.Request) error {
				r.Action = sluice.Action{Kind: sluice.FetchFrom, Source: paths[0]}
				r.Command = "fetch " + target.Quote(paths[0])
				return nil
			})
		},
	}
	f.add(a, c)
	return c
}
