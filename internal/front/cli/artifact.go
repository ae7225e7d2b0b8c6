package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/manifest"
	"sluice/internal/front/clean"
)

// ArtifactPlace says where a repository of artifacts is, and whose signatures count.
type ArtifactPlace struct {
	Store string   `json:"store"`          // a directory, or s3://BUCKET/PREFIX
	Keys  []string `json:"keys,omitempty"` // public keys of minisign; none: nothing need be signed
}

// Artifacts are the way to repositories.
type Artifacts interface {
	Open(ctx context.Context, p ArtifactPlace) (Depot, func() error, error)
	// Who names the person, such as "ann@laptop".
	Who() string
	// Signer reads a private key. passphrase is called if it is encrypted.
	Signer(key []byte, passphrase func() (sluice.Secret, error)) (artifact.Sign, error)
	// CheckKeys says what is wrong with public keys.
	CheckKeys(keys []string) error
	// Load returns the repository that is used where none is named; zero if none is.
	Load() (ArtifactPlace, error)
	Save(p ArtifactPlace) error
}

// Depot is a repository of artifacts, as commands use it.
type Depot interface {
	Push(ctx context.Context, n sluice.ArtifactName, path string, o artifact.PushOptions) (artifact.Pushed, error)
	Pull(ctx context.Context, n sluice.ArtifactName, path string, over bool, p artifact.Progress) (artifact.Shown, error)
	Find(ctx context.Context, n sluice.ArtifactName) (artifact.Shown, error)
	Manifest(ctx context.Context, r artifact.Record) (manifest.Manifest, error)
	Content(ctx context.Context, r artifact.Record) (io.ReadCloser, error)
	// File reads a small file of the tree; fs.ErrNotExist if there is none.
	File(ctx context.Context, r artifact.Record, name string, limit int64) ([]byte, error)
	// Texts reads small files of the tree in one pass; fs.ErrNotExist if one is missing.
	Texts(ctx context.Context, r artifact.Record, names []string, limit int64) (map[string][]byte, error)
	Names(ctx context.Context, under sluice.ArtifactName) ([]string, error)
	Versions(ctx context.Context, file sluice.ArtifactName) ([]artifact.Shown, error)
	Remove(ctx context.Context, n sluice.ArtifactName) error
	Survey(ctx context.Context, k artifact.Keep) (artifact.Garbage, error)
	Collect(ctx context.Context, found artifact.Garbage, k artifact.Keep) (artifact.Garbage, error)
}

// depotFlags say which repository is meant.
type depotFlags struct {
	store string
	keys  []string
}

func (a *app) artifactCommand() *cobra.Command {
	var f depotFlags
	c := &cobra.Command{
		Use:   "artifact",
		Short: "Push, pull and list what apps are made of",
		Long: `An artifact is the archive of an app: APP / TARGET / FILE / VERSION. A version
never changes once it is pushed. The repository is a directory or a bucket;
--store, $SLUICE_ARTIFACTS or "sluice artifact use" say which.`,
		Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&f.store, "store", "", "the repository: a `directory` or s3://BUCKET/PREFIX (default $SLUICE_ARTIFACTS)")
	c.PersistentFlags().StringArrayVar(&f.keys, "key", nil, "take only what a public key in this `file` signed; may be repeated (default $SLUICE_ARTIFACT_KEYS)")
	push := a.artifactPush(&f)
	c.AddCommand(push, a.artifactPull(&f), a.artifactApps(&f), a.artifactTargets(&f), a.artifactFiles(&f), a.artifactVersions(&f),
		a.artifactShow(&f), a.artifactRemove(&f), a.artifactCollect(&f), a.artifactUse(&f))
	for _, sub := range c.Commands() {
		if strings.Contains(sub.Use, " APP") {
			sub.ValidArgsFunction = a.completeArtifact(&f, sub == push)
		}
	}
	return c
}

// place is what the flags, the environment and the settings say.
func (a *app) place(f *depotFlags) (ArtifactPlace, error) {
	p, err := a.Artifacts.Load()
	if err != nil {
		return p, err
	}
	if v := a.Env("SLUICE_ARTIFACTS"); v != "" {
		p.Store = v
	}
	if f.store != "" {
		p.Store = f.store
	}
	if p.Store == "" {
		return p, sluice.Errorf(sluice.Usage, "which repository of artifacts?").WithHint("--store DIRECTORY, $SLUICE_ARTIFACTS, or sluice artifact use DIRECTORY once")
	}
	files := f.keys
	if v := a.Env("SLUICE_ARTIFACT_KEYS"); v != "" && len(files) == 0 {
		files = strings.Split(v, ":")
	}
	if len(files) == 0 {
		return p, nil
	}
	p.Keys, err = a.publicKeys(files)
	return p, err
}

func (a *app) publicKeys(files []string) (keys []string, err error) {
	for _, file := range files {
		text, err := a.Files.Read(file)
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Config, Text: "a public key", Err: err}
		}
		keys = append(keys, string(text))
	}
	return keys, a.Artifacts.CheckKeys(keys)
}

// inDepot makes a command's run function of one that needs the repository. An interrupt ends it.
func (a *app) inDepot(f *depotFlags, do func(ctx context.Context, d Depot, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		p, err := a.place(f)
		if err != nil {
			return err
		}
		err = a.interruptible(c.Context(), func(ctx context.Context) error {
			d, closing, err := a.Artifacts.Open(ctx, p)
			if err != nil {
				return err
			}
			return errors.Join(do(ctx, d, args), closing())
		})
		if errors.Is(err, context.Canceled) {
			return sluice.Errorf(sluice.Contact, "interrupted; the same command goes on where this one ended")
		}
		return err
	}
}

// completeArtifact offers what is in the repository: apps, then files, then versions. What is pushed is a local file.
func (a *app) completeArtifact(f *depotFlags, local bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		if local && len(args) == 1 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		p, err := a.place(f)
		if err != nil || len(args) > strings.Count(c.Use, " ")-1 {
			return nil, none
		}
		d, closing, err := a.Artifacts.Open(c.Context(), p)
		if err != nil {
			return nil, none
		}
		defer func() { _ = closing() }()
		n := sluice.ArtifactName{}
		if len(args) > 0 {
			n = sluice.ArtifactName{App: args[0], Target: sluice.DefaultTarget}
			if t, err := c.Flags().GetString("target"); err == nil {
				n.Target = t
			}
		}
		if len(args) > 1 {
			n.File = filepath.Base(args[1])
		}
		names, err := d.Names(c.Context(), n)
		if err != nil {
			return nil, none
		}
		return names, none
	}
}

func addTarget(c *cobra.Command, target *string) {
	c.Flags().StringVar(target, "target", sluice.DefaultTarget, "the `branch` that it is built of")
}

// stamp is a time as people read it here.
func (a *app) stamp(t time.Time) string {
	return t.In(a.Clock().Local().Location()).Format("2006-01-02 15:04:05")
}

func size(n int64) string {
	for _, u := range units[:4] {
		if n >= u.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

func (a *app) artifactPush(f *depotFlags) *cobra.Command {
	var target, meta, key string
	c := &cobra.Command{
		Use:   "push APP FILE VERSION",
		Short: "Put an archive into the repository, as a version of an app",
		Long: `Put a local archive (tar, tar.gz or tar.zst) into the repository, as a version
of an app. It is read first: what must not get onto a host is refused with the
reason. The same again is fine; another content under the same version is not.
A push that was interrupted goes on where it ended.`,
		Example: `  sluice artifact push shop shop.tar.gz 1.4.2 --meta build.json
  sluice artifact push shop shop.tar.gz 1.5.0-rc1 --target next --sign ci.key`,
		Args: args(3, 3, "an app, a local file and a version"),
		RunE: a.inDepot(f, func(ctx context.Context, d Depot, args []string) error {
			n := sluice.ArtifactName{App: args[0], Target: target, File: filepath.Base(args[1]), Version: args[2]}
			if target == artifact.BundleTarget {
				return sluice.Errorf(sluice.Usage, "the target %s is that of dependency bundles: what is pushed there is collected as they are", target).WithHint("--target NAME")
			}
			o := artifact.PushOptions{By: a.Artifacts.Who()}
			if meta != "" {
				text, err := a.Files.Read(meta)
				if err == nil {
					o.Meta, err = artifact.ParseMeta(text)
				}
				if err != nil {
					return &sluice.Error{Code: sluice.Usage, Text: "--meta " + meta, Err: err}
				}
			}
			var err error
			if o.Sign, err = a.signer(key); err != nil {
				return err
			}
			p := a.meter()
			o.Progress = p.show
			done, err := d.Push(ctx, n, args[1], o)
			p.clear()
			if err != nil {
				return err
			}
			return a.printPushed(done)
		}),
	}
	addTarget(c, &target)
	c.Flags().StringVar(&meta, "meta", "", "JSON `file` with what is to be known of it: commit, branch, builder, built, and more")
	c.Flags().StringVar(&key, "sign", "", "sign it with the private key of minisign in this `file`")
	return c
}

func (a *app) signer(file string) (artifact.Sign, error) {
	if file == "" {
		return nil, nil
	}
	text, err := a.Files.Read(file)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Usage, Text: "--sign", Err: err}
	}
	return a.Artifacts.Signer(text, func() (sluice.Secret, error) {
		if a.Ask == nil {
			return sluice.Secret{}, sluice.Errorf(sluice.Usage, "%s needs a passphrase, and there is no terminal to ask for it", file).
				WithHint("for machines: a key that minisign -G -W made, in a file that only they can read")
		}
		return a.Ask("Passphrase of " + file + ": ")
	})
}

func (a *app) printPushed(p artifact.Pushed) error {
	if a.json() {
		return a.printJSON(p)
	}
	what := "Pushed"
	if p.Already {
		what = "There already:"
	}
	fmt.Fprintf(a.Stdout, "%s %s: %s, %s unpacked, %s\n", what, p.ArtifactName, size(p.Bytes), size(p.Unpacked), count(p.Entries, "path"))
	if !p.Latest {
		fmt.Fprintln(a.Stdout, "Not the latest of its file: one that was pushed later is.")
	}
	return nil
}

func (a *app) artifactPull(f *depotFlags) *cobra.Command {
	var target, to string
	var force bool
	c := &cobra.Command{
		Use:   "pull APP FILE [VERSION]",
		Short: "Bring an artifact here; the latest version where none is named",
		Long: `Bring an artifact into a local file. The file has its name only when it is whole
and proved. A pull that was interrupted goes on where it ended.`,
		Example: `  sluice artifact pull shop shop.tar.gz
  sluice artifact pull shop shop.tar.gz 1.4.2 --to old.tar.gz`,
		Args: args(2, 3, "an app, a file of it and perhaps a version"),
		RunE: a.inDepot(f, func(ctx context.Context, d Depot, args []string) error {
			n := named(args, target)
			if to == "" {
				to = n.File
			}
			p := a.meter()
			v, err := d.Pull(ctx, n, to, force, p.show)
			p.clear()
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(struct {
					artifact.Shown
					To string `json:"to"`
				}{v, to})
			}
			_, err = fmt.Fprintf(a.Stdout, "%s: %s, in %s\n", v.ArtifactName, size(v.Bytes), clean.Line(to))
			return err
		}),
	}
	addTarget(c, &target)
	c.Flags().StringVar(&to, "to", "", "local `file` to write (default: the name that it has in the repository)")
	c.Flags().BoolVar(&force, "force", false, "replace a local file that is another one")
	return c
}

// named is the version that arguments name.
func named(args []string, target string) sluice.ArtifactName {
	n := sluice.ArtifactName{App: args[0], Target: target, File: args[1], Version: sluice.LatestVersion}
	if len(args) > 2 {
		n.Version = args[2]
	}
	return n
}

// meter shows on a terminal how far something has come.
type meter struct {
	a    *app
	last time.Time
	on   bool
}

func (a *app) meter() *meter { return &meter{a: a} }

// often is how often the line is painted anew at most.
const often = 100 * time.Millisecond

func (m *meter) show(step string, done, total int64) {
	now := m.a.Clock()
	if !m.a.StderrTerminal || now.Sub(m.last) < often && done < total || total == 0 {
		return
	}
	m.last, m.on = now, true
	fmt.Fprintf(m.a.Stderr, "\r\x1b[K%s %d%%, %s of %s", step, 100*done/total, size(done), size(total))
}

func (m *meter) clear() {
	if m.on {
		fmt.Fprint(m.a.Stderr, "\r\x1b[K")
	}
}
