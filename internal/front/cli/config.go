package cli

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/config"
)

// Layers is a directory with layers of configuration.
type Layers interface {
	config.Tree
	Close() error
}

// LayersAt says which state of such a directory is meant; the zero value is how it is now.
type LayersAt struct {
	Revision string
	Time     time.Time
}

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Render the configuration of applications from its layers",
		Args:  noSuchCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.configRender(), a.configExplain(), a.configDiff(), a.configCheck())
	return c
}

// configFlags say where layers are, and for which place they are merged.
type configFlags struct {
	shared     []string
	appDir     string
	at, appAt  string
	env        string
	cluster    string
	host       string
	local      bool
	closing    []func() error
	knownEnvs  bool
	appMissing bool
}

const (
	sharedVariable = "SLUICE_CONFIG"
	layersOfApp    = "deploy/configuration"
)

func (f *configFlags) where(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.shared, "shared", nil, "shared `directory` of layers; repeated, later ones override (default $SLUICE_CONFIG)")
	c.Flags().StringVar(&f.appDir, "app-dir", "", "`directory` of the application, which has deploy/configuration in it")
	_ = c.MarkFlagDirname("shared")
	_ = c.MarkFlagDirname("app-dir")
}

func (f *configFlags) place(c *cobra.Command) {
	c.Flags().StringVar(&f.env, "env", "", "`environment`")
	c.Flags().StringVar(&f.cluster, "cluster", "", "`cluster` of the environment")
	c.Flags().StringVar(&f.host, "host", "", "`host`, which may have layers of its own")
	c.Flags().BoolVar(&f.local, "local", false, "with the layers of a developer's own machine")
}

func (f *configFlags) moment(c *cobra.Command) {
	c.Flags().StringVar(&f.at, "at", "", "as it was at a `revision` of git, or at a time such as 2026-01-02 or 36h")
	c.Flags().StringVar(&f.appAt, "app-at", "", "another `revision` for the application's directory")
}

// moments reads --at: what looks like a time is one.
func (a *app) moments(flag, text string) LayersAt {
	if t, err := timeOf(flag, text, a.Clock()); err == nil {
		return LayersAt{Time: t}
	}
	return LayersAt{Revision: text}
}

// open opens a directory of layers, which is closed with the command.
func (a *app) openLayers(ctx context.Context, f *configFlags, dir string, at LayersAt) (config.Tree, error) {
	t, err := a.Layers(ctx, dir, at)
	if err != nil {
		return nil, err
	}
	f.closing = append(f.closing, t.Close)
	return t, nil
}

func (f *configFlags) close() {
	for _, c := range f.closing {
		_ = c()
	}
}

// library opens the shared directories.
func (a *app) library(ctx context.Context, f *configFlags) (*config.Library, error) {
	dirs := f.shared
	if len(dirs) == 0 {
		dirs = filepath.SplitList(a.Env(sharedVariable))
	}
	f.shared = dirs
	at := a.moments("--at", f.at)
	if f.local && at != (LayersAt{}) {
		return nil, sluice.Errorf(sluice.Usage, "--local layers are of this machine and of now, so --at cannot be about them")
	}
	var trees []config.Tree
	for _, dir := range dirs {
		t, err := a.openLayers(ctx, f, dir, at)
		if err != nil {
			return nil, a.noLayers("the shared directory", dir, err)
		}
		trees = append(trees, t)
	}
	l, err := config.NewLibrary(trees)
	if err != nil {
		return nil, err
	}
	f.knownEnvs = len(l.Settings.Environments()) > 0
	return l, nil
}

func (a *app) noLayers(meant, dir string, err error) error {
	if sluice.CodeOf(err) != "" {
		return err
	}
	e := sluice.Errorf(sluice.Usage, "%s %s cannot be opened", meant, dir)
	e.Err = err
	return e
}

// addApp opens the layers of an application: of the directory that is named, or that configuration.yaml names, or of this one.
func (a *app) addApp(ctx context.Context, f *configFlags, l *config.Library, name config.App) error {
	dir, named := f.appDir, f.appDir != ""
	if !named {
		if dir = l.Settings.Dir(name); dir != "" {
			named = true
			if !path.IsAbs(dir) {
				dir = filepath.Join(f.shared[0], filepath.FromSlash(dir))
			}
		}
	}
	at := a.moments("--at", f.at)
	if f.appAt != "" {
		at = a.moments("--app-at", f.appAt)
	}
	t, err := a.openLayers(ctx, f, filepath.Join(dir, layersOfApp), at)
	switch {
	case err != nil && !named: // nobody has said that it has any here
		f.appMissing = true
		return nil
	case err != nil && f.appAt == "" && at.Revision != "" && sluice.CodeOf(err) == sluice.NotFound:
		var e *sluice.Error
		errors.As(err, &e)
		return e.WithHint("--app-at REVISION: the application is in another repository")
	case err != nil:
		return a.noLayers("the layers of "+string(name)+" in", filepath.Join(dir, layersOfApp), err)
	}
	var local config.Tree
	if f.local {
		local, err = a.openLayers(ctx, f, filepath.Join(dir, layersOfApp, "local"), LayersAt{})
		if errors.Is(err, fs.ErrNotExist) {
			local, err = nil, nil
		}
		if err != nil {
			return a.noLayers("the local layers in", filepath.Join(dir, layersOfApp, "local"), err)
		}
	}
	l.AddApp(name, t, local)
	return nil
}

// rendered renders the configuration that the flags mean.
func (a *app) rendered(ctx context.Context, f *configFlags, name string) (*config.Library, *config.Rendered, error) {
	l, err := a.library(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	if f.env == "" {
		e := sluice.Errorf(sluice.Usage, "the environment is missing").WithHint("--env ENVIRONMENT")
		if known := l.Settings.Environments(); len(known) > 0 {
			e.Hint = "--env ENVIRONMENT: there are " + joined(known)
		}
		return nil, nil, e
	}
	if err := a.addApp(ctx, f, l, config.App(name)); err != nil {
		return nil, nil, err
	}
	r, err := l.Render(config.For{
		App: config.App(name), Environment: config.Environment(f.env), Cluster: config.Cluster(f.cluster), Host: sluice.Host(f.host), Local: f.local,
	})
	var e *sluice.Error
	if sluice.CodeOf(err) == sluice.NotFound && errors.As(err, &e) && len(f.shared) == 0 && f.appMissing {
		return nil, nil, e.WithHint("--shared DIRECTORY, --app-dir DIRECTORY, or $%s", sharedVariable)
	}
	return l, r, err
}

func joined[S ~string](names []S) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}

// completeConfig offers applications, environments and clusters that configuration.yaml declares, and keys.
func (a *app) completeConfig(f *configFlags, keys bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		defer f.close()
		var out []string
		switch {
		case len(args) == 0:
			l, err := a.library(c.Context(), f)
			if err != nil {
				return nil, none
			}
			for _, app := range l.Settings.Apps() {
				out = append(out, string(app))
			}
		case len(args) == 1 && keys:
			_, r, err := a.rendered(c.Context(), f, args[0])
			if err != nil {
				return nil, none
			}
			for _, e := range r.Explain(nil) {
				out = append(out, e.Path.String())
			}
		}
		return out, none
	}
}

func (a *app) completePlaces(c *cobra.Command, f *configFlags, flags ...string) {
	for _, flag := range flags {
		_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			defer f.close()
			l, err := a.library(c.Context(), f)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var out []string
			for _, e := range l.Settings.Environments() {
				if strings.HasSuffix(flag, "env") {
					out = append(out, string(e))
				} else if f.env == "" || f.env == string(e) {
					for _, cl := range l.Settings.Clusters(e) {
						out = append(out, string(cl))
					}
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		})
	}
}
