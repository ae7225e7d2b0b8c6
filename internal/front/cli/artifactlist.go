package cli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/manifest"
	"sluice/internal/front/clean"
)

// list makes a command that lists what is one part below a name.
func (a *app) list(f *depotFlags, c *cobra.Command, under func(args []string) sluice.ArtifactName, empty string) *cobra.Command {
	c.RunE = a.inDepot(f, func(ctx context.Context, d Depot, args []string) error {
		at := under(args)
		names, err := d.Names(ctx, at)
		if err != nil {
			return err
		}
		if a.json() {
			return printEach(a, names, at.Below)
		}
		if len(names) == 0 {
			p, err := a.place(f)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%s\nLooked in: %s\n", empty, clean.Line(p.Store)) // which may be mistyped
		}
		for _, name := range names {
			fmt.Fprintln(a.Stdout, clean.Line(name))
		}
		return nil
	})
	return c
}

func (a *app) artifactApps(f *depotFlags) *cobra.Command {
	return a.list(f, &cobra.Command{Use: "apps", Short: "List the apps that have artifacts", Args: args(0, 0, "no arguments")},
		func([]string) sluice.ArtifactName { return sluice.ArtifactName{} }, "There are no artifacts.\nNext: sluice artifact push APP FILE VERSION")
}

func (a *app) artifactTargets(f *depotFlags) *cobra.Command {
	return a.list(f, &cobra.Command{Use: "targets APP", Short: "List the targets (branches) of an app", Args: args(1, 1, "an app")},
		func(args []string) sluice.ArtifactName { return sluice.ArtifactName{App: args[0]} }, "There are none.")
}

func (a *app) artifactFiles(f *depotFlags) *cobra.Command {
	var target string
	c := a.list(f, &cobra.Command{Use: "files APP", Short: "List the files that an app is made of", Args: args(1, 1, "an app")},
		func(args []string) sluice.ArtifactName { return sluice.ArtifactName{App: args[0], Target: target} }, "There are none.")
	addTarget(c, &target)
	return c
}

func (a *app) artifactVersions(f *depotFlags) *cobra.Command {
	var target string
	c := &cobra.Command{
		Use:   "versions APP FILE",
		Short: "List the versions of a file, the newest last",
		Args:  args(2, 2, "an app and a file of it"),
		RunE: a.inDepot(f, func(ctx context.Context, d Depot, args []string) error {
			all, err := d.Versions(ctx, sluice.ArtifactName{App: args[0], Target: target, File: args[1]})
			if err != nil {
				return err
			}
			if a.json() {
				return printEach(a, all, func(v artifact.Shown) artifact.Shown { return v })
			}
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "VERSION\tPUSHED\tSIZE\tBY\tCOMMIT\t")
			for _, v := range all {
				mark := ""
				if v.Latest {
					mark = "latest"
				}
				if v.Signed {
					mark += " signed"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.Version, a.stamp(v.Pushed), size(v.Bytes), clean.Line(v.By), cut(clean.Line(v.Commit()), 12), mark)
			}
			return w.Flush()
		}),
	}
	addTarget(c, &target)
	return c
}

func (a *app) artifactShow(f *depotFlags) *cobra.Command {
	var target string
	var files bool
	c := &cobra.Command{
		Use:   "show APP FILE [VERSION]",
		Short: "Say what is known of a version, the latest where none is named",
		Long: `Say what is known of a version: who pushed it when, what it was built of, its
digests, and whose signature it has. --files lists what is in it.`,
		Example: `  sluice artifact show shop shop.tar.gz
  sluice artifact show shop shop.tar.gz 1.4.2 --files`,
		Args: args(2, 3, "an app, a file of it and perhaps a version"),
		RunE: a.inDepot(f, func(ctx context.Context, d Depot, args []string) error {
			v, err := d.Find(ctx, named(args, target))
			if err != nil {
				return err
			}
			if !files {
				return a.printArtifact(v)
			}
			m, err := d.Manifest(ctx, v.Record)
			if err != nil {
				return err
			}
			return a.printTree(m)
		}),
	}
	addTarget(c, &target)
	c.Flags().BoolVar(&files, "files", false, "list the files, directories and links in it instead")
	return c
}

func (a *app) printArtifact(v artifact.Shown) error {
	if a.json() {
		return a.printJSON(v)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	line := func(name, text string) { fmt.Fprintf(w, "%s\t%s\n", name, clean.Line(text)) }
	line("artifact", v.ArtifactName.String())
	if v.Latest {
		line("", "the latest of its file")
	}
	line("pushed", a.stamp(v.Pushed)+" by "+v.By)
	for _, k := range sortedKeys(v.Meta) {
		line(k, v.Meta[k])
	}
	line("size", fmt.Sprintf("%s, %s unpacked, %s", size(v.Bytes), size(v.Unpacked), count(v.Entries, "path")))
	line("digest", v.Digest)
	line("manifest", v.Manifest)
	switch {
	case v.SignedBy != "":
		line("signed", "by the key "+v.SignedBy)
	case v.Signed:
		line("signed", "yes; --key FILE says by whom")
	default:
		line("signed", "no")
	}
	return w.Flush()
}

// treeLine is a file, a directory or a link of an artifact, as JSON.
type treeLine struct {
	Path   string `json:"path"`
	Kind   string `json:"kind"`
	Mode   string `json:"mode,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	To     string `json:"to,omitempty"`
}

func (a *app) printTree(m manifest.Manifest) error {
	kinds := map[manifest.Kind]string{manifest.File: "file", manifest.Dir: "directory", manifest.Link: "link"}
	if a.json() {
		return printEach(a, m, func(e manifest.Entry) treeLine {
			l := treeLine{Path: e.Path, Kind: kinds[e.Kind], Bytes: e.Size, SHA256: e.SHA256, To: e.To}
			if e.Kind != manifest.Link {
				l.Mode = fmt.Sprintf("%04o", e.Mode)
			}
			return l
		})
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, e := range m {
		switch e.Kind {
		case manifest.File:
			fmt.Fprintf(w, "%04o\t%s\t%s\n", e.Mode, size(e.Size), clean.Line(e.Path))
		case manifest.Dir:
			fmt.Fprintf(w, "%04o\t\t%s/\n", e.Mode, clean.Line(e.Path))
		case manifest.Link:
			fmt.Fprintf(w, "\t\t%s -> %s\n", clean.Line(e.Path), clean.Line(e.To))
		}
	}
	return w.Flush()
}
