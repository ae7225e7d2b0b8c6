package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice"
)

// ServeOptions say how this program is a server.
type ServeOptions struct {
	Data, Listen     string
	Certificate, Key string
	Hosts            []string
	TokenFile        string
	// LocalTargets lets fleets name the server's own machine.
	LocalTargets bool
	// Token is handed the first token where TokenFile is ""; Started the address.
	Token   func(secret string) error
	Started func(address string)
}

func (a *app) serverCommand() *cobra.Command {
	var o ServeOptions
	c := &cobra.Command{
		Use:   "server",
		Short: "Be a server that many people share",
		Long: `Be a server that many people share: one journal, one fleet for each namespace,
and jobs that are carried out whoever is there. It makes what it needs at its
first start, and then prints the token of the first administrator, once.`,
		Example: `  sluice server
  sluice server --data /var/lib/sluice-server --admin-token-file admin.token`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.serve(c.Context(), o)
		},
	}
	fs := c.Flags()
	fs.StringVar(&o.Data, "data", "", "`directory` of all that the server keeps (default: server in the place of the journal)")
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:7657", "`HOST:PORT` to answer on")
	fs.StringVar(&o.Certificate, "tls-cert", "", "`file` with the certificate, which any address but the loopback needs")
	fs.StringVar(&o.Key, "tls-key", "", "`file` with its key")
	fs.StringArrayVar(&o.Hosts, "host", nil, "`name` under which the server is reached; may be repeated")
	fs.StringVar(&o.TokenFile, "admin-token-file", "", "write the first administrator's token to this `file` instead of printing it")
	fs.BoolVar(&o.LocalTargets, "local-targets", false, "let fleets name this machine itself: whoever may apply one then runs commands as the server")
	_ = fs.MarkHidden("local-targets")
	return c
}

func (a *app) serve(ctx context.Context, o ServeOptions) error {
	if a.Serve == nil {
		return sluice.Errorf(sluice.Usage, "this program cannot be a server")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
		case <-a.Interrupts:
			stop()
		}
	}()
	defer func() {
		stop()
		<-ended
	}()
	began := a.Clock()
	if o.TokenFile == "" {
		o.Token = func(secret string) error {
			_, err := fmt.Fprintf(a.Stdout, "Token of the first administrator, shown this once:\n  %s\n", secret)
			return err
		}
	}
	o.Started = func(address string) {
		scheme := "http"
		if o.Certificate != "" {
			scheme = "https"
		}
		fmt.Fprintf(a.Stderr, "sluice: takes jobs on %s://%s after %v\n        sluice login %[1]s://%[2]s\n", scheme, address,
			a.Clock().Sub(began).Round(time.Millisecond))
	}
	return a.Serve(ctx, o)
}
