package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/build"
	"sluice/internal/front/clean"
)

// BuildOrder is what is to be built.
type BuildOrder struct {
	Dir, Version, Target  string
	Dirty, NoTest, NoPush bool
	To                    string
	Depot                 Depot // nil: there is none, which is fine if nothing is pushed
	By                    string
	Signed                bool // what is taken from the repository has to be signed
	Sign                  artifact.Sign
	Output                io.Writer // what scripts print
	Tell                  func(text string)
	Progress              artifact.Progress
}

// buildFlags are those of build.
type buildFlags struct {
	depotFlags
	sign  string
	order BuildOrder
}

func (a *app) buildCommand() *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Build an app from a checkout, and push it",
		Long: `Run the scripts that app.yaml names in a git checkout, make an archive of what
they leave, and push it. The same commit is the same version wherever it is
built, and the same files give the same digest. What the scripts print, and how
long each part took, goes to the standard error output.

A checkout that is not what its commit says is refused without --dirty. An
interrupt kills what runs; nothing half is in the repository.`,
		Example: `  sluice build
  sluice build shop --version 1.4.2 --target master --store /srv/artifacts
  sluice build --no-push --to /tmp/shop.tar.gz`,
		Args: args(0, 1, "a checkout; without one it is the directory that you are in"),
		RunE: func(c *cobra.Command, words []string) error {
			f.order.Dir = "."
			if len(words) > 0 {
				f.order.Dir = words[0]
			}
			return a.buildIn(c, &f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.order.Version, "version", "", "`version` (default: the tag of the commit, or its time and id)")
	fs.StringVar(&f.order.Target, "target", "", "`branch` in the repository (default: the one that is checked out; master for main)")
	fs.StringVar(&f.store, "store", "", "the repository: a `directory` or s3://BUCKET/PREFIX (default $SLUICE_ARTIFACTS)")
	fs.StringArrayVar(&f.keys, "key", nil, "take only bundles that a public key in this `file` signed; may be repeated (default $SLUICE_ARTIFACT_KEYS)")
	fs.StringVar(&f.sign, "sign", "", "sign it with the private key of minisign in this `file`")
	fs.BoolVar(&f.order.Dirty, "dirty", false, "build what is not as the commit has it, too, and say so")
	fs.BoolVar(&f.order.NoTest, "no-test", false, "leave the tests out")
	fs.BoolVar(&f.order.NoPush, "no-push", false, "put nothing into the repository")
	fs.StringVar(&f.order.To, "to", "", "write the archive into this `file`, too")
	return c
}

func (a *app) buildIn(c *cobra.Command, f *buildFlags) error {
	var err error
	if f.order.Sign, err = a.signer(f.sign); err != nil {
		return err
	}
	f.order.By, f.order.Output = a.Artifacts.Who(), a.Stderr
	p := a.meter()
	f.order.Progress = p.show
	f.order.Tell = func(text string) {
		p.clear()
		fmt.Fprintf(a.Stderr, "sluice: %s\n", clean.Text(text))
	}
	var report build.Report
	interrupted := false
	carry := func(ctx context.Context, d Depot, _ []string) (err error) {
		f.order.Depot = d
		report, err = a.Builder(ctx, f.order)
		interrupted = errors.Is(err, context.Canceled)
		p.clear()
		return err
	}
	place, noStore := a.place(&f.depotFlags)
	f.order.Signed = len(place.Keys) > 0
	if noStore != nil && place.Store == "" && f.order.NoPush {
		if _, err := a.publicKeys(f.keys); err != nil { // nobody needs them, and they are wrong all the same
			return err
		}
		err = a.interruptible(c.Context(), func(ctx context.Context) error { return carry(ctx, nil, nil) })
	} else {
		err = a.inDepot(&f.depotFlags, carry)(c, nil)
	}
	var failed *build.Failed
	switch {
	case errors.As(err, &failed):
		if a.json() {
			if err := a.printJSON(failedBuild{report, failed}); err != nil {
				return err
			}
		}
		fmt.Fprintf(a.Stderr, "sluice: %s\n", clean.Colourless(failed.Error()))
		return exitError(exitFailures)
	case interrupted:
		return sluice.Errorf(sluice.Contact, "interrupted; what ran was ended, and nothing half is in the repository").WithHint("the same command builds it again")
	case err != nil:
		return err
	}
	return a.printBuilt(report)
}

// failedBuild is a build of which a script failed, as JSON.
type failedBuild struct {
	build.Report
	Failed *build.Failed `json:"failed"`
}

func (a *app) printBuilt(r build.Report) error {
	if a.json() {
		return a.printJSON(r)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, t := range r.Took {
		fmt.Fprintf(w, "%s\t%.2fs\t%s\n", t.Part, t.Seconds, clean.Line(t.Note))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Pushed != nil {
		return a.printPushed(*r.Pushed)
	}
	n := sluice.ArtifactName{App: r.App, Target: r.Target, File: r.File, Version: r.Version}
	_, err := fmt.Fprintf(a.Stdout, "Built %s: %s, %s; not pushed\n", n, size(r.Bytes), r.Digest)
	return err
}
