package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func (a *app) artifactRemove(f *depotFlags) *cobra.Command {
	var target string
	c := &cobra.Command{
		Use:   "remove APP FILE VERSION",
		Short: "Take a version away that must not be used",
		Long: `Take a version away that must not be used, be it that its record is damaged. The
latest version is not removed. Its content goes with the next gc.`,
		Args: args(3, 3, "an app, a file of it and a version"),
		RunE: a.inDepot(f, func(ctx context.Context, d Depot, args []string) error {
			n := named(args, target)
			if err := d.Remove(ctx, n); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(n)
			}
			_, err := fmt.Fprintf(a.Stdout, "Removed %s.\n", n)
			return err
		}),
	}
	addTarget(c, &target)
	return c
}

// collectFlags say what gc keeps.
type collectFlags struct {
	keep        int
	used        []string
	sent        string
	unasked     bool // what is live is not asked for
	dryRun, yes bool
}

func (a *app) artifactCollect(f *depotFlags) *cobra.Command {
	var o collectFlags
	c := &cobra.Command{
		Use:   "gc",
		Short: "Remove old versions, and content that nobody needs",
		Long: `Remove all but the newest versions of each file of each target, and content that
belongs to no version. The latest version stays, whatever its age, and so do
those that are live on a host, were live there before, or are being deployed, as
far as the journal here or the server that is in use knows, and what --used
names. It says first what it will remove, and asks.`,
		Example: `  sluice artifact gc --keep 20 --dry-run
  sluice artifact gc --keep 20 --yes`,
		Args: args(0, 0, "no arguments"),
		RunE: a.inDepot(f, func(ctx context.Context, d Depot, _ []string) error { return a.collect(ctx, d, o) }),
	}
	c.Flags().IntVar(&o.keep, "keep", 10, "keep this `number` of versions of each file of each target")
	c.Flags().StringArrayVar(&o.used, "used", nil, "keep what has this `digest`, of an artifact or a manifest; may be repeated")
	c.Flags().BoolVar(&o.unasked, "whatever-is-live", false, "do not ask which versions are live")
	c.Flags().StringVar(&o.sent, "unused-for", "24h", "keep content without a version that was sent within this `time`: a push may be going on")
	c.Flags().BoolVarP(&o.dryRun, "dry-run", "n", false, "say what would go, and remove nothing")
	c.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) collect(ctx context.Context, d Depot, o collectFlags) error {
	if o.keep < 1 {
		return sluice.Errorf(sluice.Usage, "--keep %d: at least one version stays", o.keep)
	}
	recent, err := age("--unused-for", o.sent)
	if err != nil {
		return err
	}
	if recent < time.Hour {
		return sluice.Errorf(sluice.Usage, "--unused-for %s: a push may take longer; at least 1h", o.sent)
	}
	k := artifact.Keep{Newest: o.keep, Used: map[string]bool{}, SentSince: a.Clock().Add(-recent)}
	for _, digest := range o.used {
		if !artifact.IsDigest(digest) {
			return sluice.Errorf(sluice.Usage, "--used %q is no digest: sha256: and 64 hexadecimal digits are", digest)
		}
		k.Used[digest] = true
	}
	if !o.unasked {
		if k.Live, err = a.mayComeBack(ctx); err != nil {
			return err
		}
	}
	found, err := d.Survey(ctx, k)
	if err != nil {
		return err
	}
	if o.dryRun || len(found.Versions)+len(found.Contents) == 0 {
		return a.printGarbage(found, "would go", true)
	}
	if !o.yes {
		if a.Confirm == nil || a.json() {
			return sluice.Errorf(sluice.Usage, "there is nobody to ask whether %s and %s may go", count(len(found.Versions), "version"), count(len(found.Contents), "content")).WithHint("--dry-run shows them, --yes removes them")
		}
		if err := a.printGarbage(found, "will go", true); err != nil {
			return err
		}
		if yes, err := a.agreed("Remove them?"); err != nil || !yes {
			return errors.Join(err, sluice.Errorf(sluice.Usage, "nothing was removed"))
		}
		if !o.unasked { // a deploy may have begun before the answer came
			if k.Live, err = a.mayComeBack(ctx); err != nil {
				return err
			}
		}
	}
	gone, err := d.Collect(ctx, found, k)
	return errors.Join(err, a.printGarbage(gone, "removed", false))
}

// mayComeBack are the versions that are live somewhere, were so before, or are on their way. It is an error if not all of them
// can be known.
func (a *app) mayComeBack(ctx context.Context) (map[artifact.AppVersion]bool, error) {
	out := map[artifact.AppVersion]bool{}
	keep := func(app, version string) {
		version, _, _ = strings.Cut(version, "~") // which of its configurations makes no difference here
		out[artifact.AppVersion{App: app, Version: version}] = true
	}
	err := a.choose() // repositories are read without a server otherwise
	if err != nil {
		return nil, err
	}
	err = a.onJournal(ctx, func(svc control.Desk) error {
		list, err := svc.Live(ctx, control.LiveQuery{})
		if err != nil {
			return err
		}
		for _, l := range list {
			keep(l.App, l.Live.Version)
			keep(l.App, l.Before.Version)
		}
		releases, err := svc.Releases(ctx, control.LiveQuery{})
		if err != nil {
			return err
		}
		for _, r := range releases {
			if !r.State.Over() {
				keep(r.App, r.Version)
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		return nil, &sluice.Error{Code: sluice.CodeOf(err), Text: "which versions are live cannot be known, and they must stay", Err: err,
			Hint: "--whatever-is-live removes old versions all the same; --used names what stays"}
	}
	return out, err
}

// garbageLine is what gc says, as JSON.
type garbageLine struct {
	Removed  bool                  `json:"removed"`
	Versions []sluice.ArtifactName `json:"versions"`
	Contents []sluice.Content      `json:"contents"`
	Bytes    int64                 `json:"bytes"`
	Kept     int                   `json:"kept"`
}

func (a *app) printGarbage(g artifact.Garbage, what string, before bool) error {
	if a.json() {
		l := garbageLine{Removed: !before, Versions: []sluice.ArtifactName{}, Contents: []sluice.Content{}, Bytes: g.Bytes(), Kept: g.Kept}
		for _, v := range g.Versions {
			l.Versions = append(l.Versions, v.ArtifactName)
		}
		for _, c := range g.Contents {
			l.Contents = append(l.Contents, sluice.Content{Digest: c.Name, Bytes: c.Bytes})
		}
		return a.printJSON(l)
	}
	var b strings.Builder
	for _, v := range g.Versions {
		fmt.Fprintf(&b, "%s  %s  %s\n", what, v.ArtifactName, a.stamp(v.Pushed))
	}
	for _, c := range g.Contents {
		fmt.Fprintf(&b, "%s  %s  %s\n", what, c.Name, size(c.Bytes))
	}
	fmt.Fprintf(&b, "%s: %s, %s of content; %s\n", what, count(len(g.Versions), "version"), size(g.Bytes()), count(g.Kept, "version")+" stay")
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}

func (a *app) artifactUse(f *depotFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "use {DIRECTORY | s3://BUCKET/PREFIX}",
		Short: "Use a repository from now on where none is named",
		Long: `Use a repository from now on where none is named. With --key, what is not signed
by one of these keys is not taken; the keys themselves are kept, not the files.`,
		Example: `  sluice artifact use /srv/artifacts
  sluice artifact use s3://artifacts/prod --key ci.pub`,
		Args: args(1, 1, "a directory or a bucket"),
		RunE: func(_ *cobra.Command, args []string) error {
			p := ArtifactPlace{Store: args[0]}
			var err error
			if !strings.HasPrefix(p.Store, "s3://") {
				if p.Store, err = a.Files.Absolute(p.Store); err != nil {
					return err
				}
			}
			if len(f.keys) > 0 {
				if p.Keys, err = a.publicKeys(f.keys); err != nil {
					return err
				}
			}
			if err := a.Artifacts.Save(p); err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(p)
			}
			fmt.Fprintf(a.Stdout, "Artifacts are in %s from now on.\n", clean.Line(p.Store))
			return nil
		},
	}
}
