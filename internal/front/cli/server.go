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
	WorkerListen     string // "": beside Listen; "none": no workers elsewhere
	NoWorker         bool
	// Token is handed the first token where TokenFile is ""; Started the address.
	Token          func(secret string) error
	Started        func(address string)
	WorkersStarted func(address string)
}

// serverCommand is not shown yet: what a server can be asked for is not complete.
func (a *app) serverCommand() *cobra.Command {
	var o ServeOptions
	c := &cobra.Command{
		Use:    "server [flags]",
		Short:  "Be a server that many people share",
		Hidden: true,
		Args:   args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.serve(c.Context(), o)
		},
	}
	fs := c.Flags()
	fs.StringVar(&o.Data, "data", "", "`directory` of all that the server keeps")
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:7657", "`HOST:PORT` to answer on")
	fs.StringVar(&o.Certificate, "tls-cert", "", "`file` with the certificate, which any address but the loopback needs")
	fs.StringVar(&o.Key, "tls-key", "", "`file` with its key")
	fs.StringArrayVar(&o.Hosts, "host", nil, "`name` under which the server is reached; may be repeated")
	fs.StringVar(&o.TokenFile, "admin-token-file", "", "write the first administrator's token to this `file` instead of printing it")
	fs.StringVar(&o.WorkerListen, "worker-listen", "", "`HOST:PORT` for workers, or none (default: the host of --listen, port 7658)")
	fs.BoolVar(&o.NoWorker, "no-worker", false, "carry nothing out in this process: only workers elsewhere reach hosts")
	return c
}

func (a *app) serve(ctx context.Context, o ServeOptions) error {
	if a.Serve == nil {
		return sluice.Errorf(sluice.Usage, "this program cannot be a server")
	}
	ctx, stop := a.untilStopped(ctx)
	defer stop()
	began := a.Clock()
	if o.TokenFile == "" {
		o.Token = func(secret string) error {
			_, err := fmt.Fprintf(a.Stdout, "Token of the first administrator, shown this once:\n  %s\n", secret)
			return err
		}
	}
	o.Started = func(address string) {
		fmt.Fprintf(a.Stderr, "sluice: takes jobs on %s after %v\n", address, a.Clock().Sub(began).Round(time.Millisecond))
	}
	o.WorkersStarted = func(address string) { fmt.Fprintf(a.Stderr, "sluice: workers come to %s\n", address) }
	return a.Serve(ctx, o)
}

// untilStopped is a context that ends at Ctrl-C and SIGTERM. stop must be called.
func (a *app) untilStopped(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
		case <-a.Interrupts:
			cancel()
		}
	}()
	return ctx, func() {
		cancel()
		<-ended
	}
}
