package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/sealed"
)

// WorkerOptions say how this program is a worker.
type WorkerOptions struct {
	Data         string
	Servers      []string
	TokenFile    string
	Token        sluice.Secret
	Limit        int
	LocalTargets bool
	Submitters   string
	// SignedOnly has it carry out only what one of the submitters has signed.
	SignedOnly bool
	// Ready is called when the worker has come to its server, with the key that secrets for it are sealed to.
	Ready func(sluice.WorkerName, sealed.Key)
}

func (a *app) workerCommand() *cobra.Command {
	var o WorkerOptions
	var token, limit string
	c := &cobra.Command{
		Use:   "worker --server URL [--enrol-file FILE]",
		Short: "Carry out attempts for a server elsewhere",
		Long: `Carry out attempts for a server elsewhere. The worker connects outward only. The
first time it needs a token, which 'sluice workers invite NAME' prints on the
server: in a file (--enrol-file), in SLUICE_ENROL, or as --enrol, where others
on this machine can see it as long as it runs.`,
		Args: args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Limit, err = workerLimit("--limit", limit); err != nil {
				return err
			}
			if o.SignedOnly && o.Submitters == "" {
				return sluice.Errorf(sluice.Usage, "--signed-only needs --submitters FILE: else the server could make up who signs")
			}
			if token == "" {
				token = a.Env("SLUICE_ENROL")
			}
			if token != "" && o.TokenFile == "" {
				o.Token = sluice.NewSecret([]byte(token))
			}
			return a.work(c.Context(), o)
		},
	}
	fs := c.Flags()
	fs.StringSliceVar(&o.Servers, "server", nil, "`URL` of the server, or HOST:PORT for workers; of several servers of a cluster, with commas or again")
	fs.StringVar(&token, "enrol", "", "`token` to enrol with; better in a file")
	fs.StringVar(&o.TokenFile, "enrol-file", "", "`file` with the token to enrol with")
	fs.StringVar(&o.Data, "data", "", "`directory` of all that the worker keeps")
	fs.StringVar(&limit, "limit", strconv.Itoa(sluice.DefaultConcurrency), "`number` of attempts at once")
	fs.StringVar(&o.Submitters, "submitters", "", "take secrets only from those whose keys stand in this `file`, in lines of a name and a key")
	fs.BoolVar(&o.SignedOnly, "signed-only", false, "carry out only jobs that one of --submitters has signed")
	fs.BoolVar(&o.LocalTargets, "local-targets", false, "let fleets run commands on this machine itself (transport: local)")
	return c
}

// workerLimit reads how many attempts a worker carries out at once.
func workerLimit(flag, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 100000 {
		return 0, sluice.Errorf(sluice.Usage, "%s is a number of attempts, 1 to 100000, not %q", flag, text)
	}
	return n, nil
}

func (a *app) work(ctx context.Context, o WorkerOptions) error {
	if a.Work == nil {
		return sluice.Errorf(sluice.Usage, "this program cannot be a worker")
	}
	ctx, stop := a.untilStopped(ctx)
	defer stop()
	o.Ready = func(name sluice.WorkerName, key sealed.Key) {
		fmt.Fprintf(a.Stderr, "sluice: the worker %s is connected; secrets for it are sealed to %s\n", name, key.Fingerprint())
	}
	return a.Work(ctx, o)
}
