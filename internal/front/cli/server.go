package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sluice"
)

// ServeOptions say how this program is a server.
type ServeOptions struct {
	Data, Listen     string
	Certificate, Key string
	ClientCA         string
	OIDC             OIDCOptions
	Hosts            []string
	PublicURL        string // by which browsers reach the server
	TokenFile        string
	// MetricsListen is an address for metrics without a token; OTLPEndpoint where traces go.
	MetricsListen, OTLPEndpoint string
	TraceCommands               bool
	LogFormat, LogLevel         string
	StopDelay                   time.Duration
	NamespaceRate               int // requests a second
	// Keep says what is kept, Archive where the rest goes.
	Keep KeepOptions
	// WebhookAllow are networks and hosts inside that webhooks may reach; WebhookHTTP lets them go without TLS.
	WebhookAllow []string
	WebhookHTTP  bool
	Submitters   string
	// LocalTargets lets fleets name the server's own machine.
	LocalTargets bool
	WorkerListen string // "": beside Listen; "none": no workers elsewhere
	NoWorker     bool
	WorkerLimit  int // attempts at once of the server's own worker
	// Cluster says how it takes part in one.
	Cluster ClusterOptions
	// Token is handed the first token where TokenFile is ""; Started the address.
	Token          func(secret string) error
	Started        func(address string)
	WorkersStarted func(address string)
}

func (a *app) serverCommand() *cobra.Command {
	var o ServeOptions
	var keep keepFlags
	var cluster clusterFlags
	var limit string
	c := &cobra.Command{
		Use:   "server",
		Short: "Be a server that many people share",
		Long: `Be a server that many people share: one journal, one fleet for each namespace,
and jobs that are carried out whoever is there. It makes what it needs at its
first start, and then prints the token of the first administrator, once.`,
		Example: `  sluice server
  sluice server --data /var/lib/sluice-server --admin-token-file admin.token`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Keep, err = keep.options(); err != nil {
				return err
			}
			if o.WorkerLimit, err = workerLimit("--worker-limit", limit); err != nil {
				return err
			}
			if o.Cluster, err = cluster.options(a); err != nil {
				return err
			}
			if o.NamespaceRate < 1 {
				return sluice.Errorf(sluice.Usage, "--namespace-rate: %d is no number of requests", o.NamespaceRate).WithHint("1 or more; 500 is what it is without the flag")
			}
			return a.serve(c.Context(), o)
		},
	}
	fs := c.Flags()
	fs.StringVar(&o.Data, "data", "", "`directory` of all that the server keeps (default: server in the place of the journal)")
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:7657", "`HOST:PORT` to answer on")
	fs.StringVar(&o.Certificate, "tls-cert", "", "`file` with the certificate, which any address but the loopback needs")
	fs.StringVar(&o.Key, "tls-key", "", "`file` with its key")
	fs.StringVar(&o.ClientCA, "client-ca", "", "`file` of authorities whose certificates let machines in without a token, as whom they name")
	oidcFlags(fs, &o.OIDC)
	fs.StringArrayVar(&o.Hosts, "host", nil, "`name` under which the server is reached; may be repeated")
	fs.StringVar(&o.PublicURL, "public-url", "", "`URL` by which browsers reach the server, with the path that a proxy put before it; to sign in with OpenID there")
	fs.StringVar(&o.TokenFile, "admin-token-file", "", "write the first administrator's token to this `file` instead of printing it")
	fs.BoolVar(&o.LocalTargets, "local-targets", false, "let fleets name this machine itself: whoever may apply one then runs commands as the server")
	_ = fs.MarkHidden("local-targets")
	fs.StringVar(&o.WorkerListen, "worker-listen", "", "`HOST:PORT` for workers, or none (default: the host of --listen, and port 7658 or another that stays)")
	fs.BoolVar(&o.NoWorker, "no-worker", false, "carry nothing out in this process: only workers elsewhere reach hosts")
	fs.StringVar(&limit, "worker-limit", strconv.Itoa(sluice.DefaultConcurrency), "`number` of attempts at once of the server's own worker")
	fs.StringVar(&o.Submitters, "submitters", "", "take secrets only from those whose keys stand in this `file`, in lines of a name and a key")
	operateFlags(fs, &o)
	cluster.add(fs)
	keep.add(c)
	c.AddCommand(a.backupCommand(), a.restoreCommand(), a.promoteCommand(), a.demoteCommand(), a.recoverCommand(), a.membersCommand())
	return c
}

// operateFlags say how a server is looked at and stopped.
func operateFlags(fs *pflag.FlagSet, o *ServeOptions) {
	fs.StringVar(&o.LogFormat, "log-format", "text", "`format` of the log on stderr: text or json")
	fs.StringVar(&o.LogLevel, "log-level", "info", "least `level` of what is logged: debug (every request), info, warn or error")
	fs.StringVar(&o.MetricsListen, "metrics-listen", "", "`HOST:PORT` of the loopback to give metrics on without a token")
	fs.StringVar(&o.OTLPEndpoint, "otlp-endpoint", "", "`URL` of an OpenTelemetry collector for traces of jobs (default OTEL_EXPORTER_OTLP_*)")
	fs.BoolVar(&o.TraceCommands, "trace-commands", false, "put the text of commands into the traces")
	fs.StringArrayVar(&o.WebhookAllow, "webhook-allow", nil, "`CIDR` or HOST inside that webhooks may be sent to; may be repeated")
	fs.BoolVar(&o.WebhookHTTP, "webhook-allow-http", false, "let webhooks be sent without TLS")
	fs.IntVar(&o.NamespaceRate, "namespace-rate", 500, "answer at most this `number` of requests a second for one namespace")
	fs.DurationVar(&o.StopDelay, "stop-delay", 0, "`time` for which a server that is told to stop says that it is not ready, and still answers")
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
		scheme := "http"
		if o.Certificate != "" {
			scheme = "https"
		}
		fmt.Fprintf(a.Stderr, "sluice: takes jobs on %s://%s after %v\n        sluice login %[1]s://%[2]s\n        in a browser: %[1]s://%[2]s/ui/\n", scheme, address,
			a.Clock().Sub(began).Round(time.Millisecond))
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
