package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/appfile"
	"sluice/internal/core/artifact"
	"sluice/internal/core/config"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/core/template"
	"sluice/internal/run/control"
)

// deployFlags say what is deployed, and where its configuration comes from.
type deployFlags struct {
	depotFlags
	env, cluster, branch, file, appFile string
	like, onFailure                     string
	layers                              configFlags
}

func (a *app) deployCommand() *cobra.Command {
	var f jobFlags
	var d deployFlags
	c := &cobra.Command{
		Use:   "deploy {APP[@VERSION] | --like TIME [APP]...} --env ENV",
		Short: "Deploy a version of an app on hosts, under the fleet's rules",
		Long: `Deploy a version of an app: its artifact from the repository, its configuration
from the layers, put on hosts in the order and at the width that the fleet's
rules allow. Without VERSION it is the latest.

What the artifact's app.yaml says of itself is frozen in the job, and so is the
configuration. Only one deploy of an app in an environment goes on at a time;
a second one waits, or cancels the first with --supersede.

--plan shows what would happen and does nothing: the stages and limits, and what
changes in the configuration and in the files of templates on the hosts, against
what is live there.

--like brings an environment back to what it was at a time: every host of it
that has something else now gets the version and the configuration that it had,
by a job for each release. A time is as for sluice at.`,
		Example: `  sluice deploy shop --env production -f fleet.yaml -t '$app.shop'
  sluice deploy shop@1.4.2 --env staging -w 'web[1-3]' --sudo
  sluice deploy shop --env production -f fleet.yaml -t '$app.shop' --plan
  sluice deploy shop --env production -f fleet.yaml -t all --shared config/
  sluice deploy --like 2026-01-02T15:04:05Z --env production`,
		Args: func(c *cobra.Command, words []string) error {
			if d.like != "" {
				return nil // all apps, or those that are named
			}
			return args(1, 1, "the name of an app, and a version behind @")(c, words)
		},
		RunE: func(c *cobra.Command, words []string) error {
			defer d.layers.close()
			if d.env == "" {
				return sluice.Errorf(sluice.Usage, "the environment is missing").WithHint("--env ENV")
			}
			switch sluice.OnFailure(d.onFailure) {
			case "", sluice.FailureHalts, sluice.FailureRollsBack:
			default:
				return sluice.Errorf(sluice.Usage, "--on-failure: %q is neither halt nor rollback", d.onFailure)
			}
			if d.like != "" {
				return a.deployLike(c, &f, &d, words)
			}
			name, version, named := strings.Cut(words[0], "@")
			if !named {
				version = sluice.LatestVersion
			}
			r, err := a.request(c.Context(), &f)
			if err != nil {
				return err
			}
			return a.submit(c.Context(), &f, r, func(svc control.Desk, r *control.Request) error {
				return a.inDepot(&d.depotFlags, func(ctx context.Context, depot Depot, _ []string) error {
					rel, err := a.release(ctx, svc, depot, &d, r, sluice.ArtifactName{App: name, Target: d.branch, File: d.file, Version: version})
					if err != nil {
						return err
					}
					r.Action, r.Command = sluice.Action{Kind: sluice.DeployTo, Release: rel}, release.Told(sluice.DeployTo, rel)
					if r.Options.Lock == "" {
						r.Options.Lock = release.Lock(rel)
					}
					return nil
				})(c, nil)
			})
		},
	}
	f.addCarrying(a, c)
	fs := c.Flags()
	fs.StringVar(&d.env, "env", "", "`environment` that the hosts are of")
	fs.StringVar(&d.like, "like", "", "what was live at this `time`, in place of a version")
	fs.StringVar(&d.cluster, "cluster", "", "`cluster` of the environment")
	fs.StringVar(&d.branch, "branch", "master", "`target` in the repository")
	fs.StringVar(&d.file, "file", "", "`file` of the artifact (default: the only one)")
	fs.StringVar(&d.appFile, "app-file", "", "local app.yaml in place of the artifact's")
	fs.StringVar(&d.onFailure, "on-failure", "", "`what` follows when it ends badly: halt, or rollback of all hosts that it changed (default: what app.yaml says, or else halt)")
	fs.BoolVar(&f.plan, "plan", false, "show what would happen, and what changes in the files of the hosts, and do nothing")
	fs.StringVar(&d.store, "store", "", "the repository: a `directory` or s3://BUCKET/PREFIX (default $SLUICE_ARTIFACTS)")
	fs.StringArrayVar(&d.keys, "key-file", nil, "take only what a public key in this `file` signed; may be repeated (default $SLUICE_ARTIFACT_KEYS)")
	d.layers.where(c)
	d.layers.moment(c)
	return c
}

// release finds what is to be deployed, and keeps all of it where the job is carried out.
func (a *app) release(ctx context.Context, svc control.Desk, depot Depot, d *deployFlags, r *control.Request, n sluice.ArtifactName) (*sluice.Release, error) {
	f, hosts := r.Fleet, r.Targets
	if n.File == "" {
		files, err := depot.Names(ctx, sluice.ArtifactName{App: n.App, Target: n.Target})
		switch {
		case err != nil:
			return nil, err
		case len(files) == 0:
			return nil, sluice.Errorf(sluice.NotFound, "the repository has nothing of %s in %s", n.App, n.Target).WithHint("sluice artifact apps; sluice artifact targets %s", n.App)
		case len(files) > 1:
			return nil, sluice.Errorf(sluice.Usage, "%s has several files: %s", n.App, strings.Join(files, ", ")).WithHint("--file FILE")
		}
		n.File = files[0]
	}
	found, err := depot.Find(ctx, n)
	if err != nil {
		return nil, err
	}
	about, err := a.appFile(ctx, depot, d, found.Record)
	if err != nil {
		return nil, err
	}
	if about.App != n.App {
		return nil, sluice.Errorf(sluice.Config, "%s says that it is of the app %s, not of %s", appfile.Name, about.App, n.App)
	}
	rel := &sluice.Release{App: n.App, Env: d.env, Cluster: d.cluster, Version: found.Version, Artifact: found.Digest, Manifest: found.Manifest, Deploy: about.Deploy, Commit: found.BuiltOf()}
	if d.onFailure != "" {
		rel.Deploy.OnFailure = sluice.OnFailure(d.onFailure)
	}
	if rel.Deploy.Balancers, err = release.Balancers(about.Deploy.Balancers, f, about.BalancersAt); err != nil {
		return nil, err
	}
	files, err := depot.Manifest(ctx, found.Record)
	if err != nil {
		return nil, err
	}
	if rel.Deploy.Templates, err = release.Templates(files, about.Deploy.Templates, about.TemplatesAt); err != nil {
		return nil, err
	}
	if err := release.Check(sluice.DeployTo, rel); err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "this cannot be deployed", Err: err}
	}
	if rel.Deploy.Once, err = release.Once(rel.Deploy, files); err != nil {
		return nil, err
	}
	rel.Deploy.After = release.After(rel.Deploy, files)
	r.OnceAt, r.AfterAt = about.OnceAt, about.AfterAt
	configs, from, err := a.configs(ctx, d, rel, hosts)
	if err != nil {
		return nil, err
	}
	if err := tryTemplates(ctx, depot, found.Record, files, rel, configs, hosts); err != nil {
		return nil, err
	}
	if rel.Config, err = keepConfigs(ctx, svc, configs); err != nil {
		return nil, err
	}
	if rel.Provenance, err = keepConfigs(ctx, svc, from); err != nil {
		return nil, err
	}
	return rel, bring(ctx, svc, depot, found.Record, files)
}

// appFile is what the app says of itself: in its artifact, or in a local file.
func (a *app) appFile(ctx context.Context, depot Depot, d *deployFlags, r artifact.Record) (*appfile.App, error) {
	if d.appFile != "" {
		text, err := a.Files.Read(d.appFile)
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Usage, Text: "--app-file", Err: err}
		}
		return appfile.Parse(d.appFile, text)
	}
	for _, name := range appfile.Places() {
		text, err := depot.File(ctx, r, name, appfile.MaxBytes)
		switch {
		case err == nil:
			return appfile.Parse(name, text)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return appfile.Parse(appfile.Name, []byte("app: "+r.App+"\n"))
}

// configs are the configurations of all hosts, and where their values came from; nil where there are no layers.
func (a *app) configs(ctx context.Context, d *deployFlags, rel *sluice.Release, hosts []sluice.Host) (configs, from *release.Configs, err error) {
	if len(d.layers.shared) == 0 && a.Env(sharedVariable) == "" && d.layers.appDir == "" {
		return nil, nil, nil
	}
	l, err := a.library(ctx, &d.layers)
	if err != nil {
		return nil, nil, err
	}
	if err := a.addApp(ctx, &d.layers, l, config.App(rel.App)); err != nil {
		return nil, nil, err
	}
	of, said := make(map[sluice.Host][]byte, len(hosts)), make(map[sluice.Host][]byte, len(hosts))
	for _, h := range hosts {
		r, err := l.Render(config.For{App: config.App(rel.App), Environment: config.Environment(rel.Env), Cluster: config.Cluster(rel.Cluster), Host: h})
		if err != nil {
			return nil, nil, err
		}
		of[h], said[h] = r.Freeze().JSON, r.Provenance().Encode()
	}
	c, p := release.CommonConfigs(hosts, of), release.CommonConfigs(hosts, said)
	return &c, &p, nil
}

// tryTemplates renders the templates for all hosts, and says what is wrong: before anything is kept or submitted.
func tryTemplates(ctx context.Context, depot Depot, r artifact.Record, files manifest.Manifest, rel *sluice.Release, c *release.Configs, hosts []sluice.Host) error {
	var names []string
	for _, t := range rel.Deploy.Templates {
		names = append(names, t.From)
	}
	var texts map[string][]byte
	if len(names) > 0 {
		var err error
		if texts, err = depot.Texts(ctx, r, names, template.MaxBytes); err != nil {
			return err
		}
	}
	renderer, err := release.NewRenderer(files, rel.Deploy.Templates, func(e manifest.Entry) ([]byte, error) { return texts[e.Path], nil })
	if err != nil {
		return err
	}
	return renderer.Check(c, hosts)
}

// keepConfigs keeps the configurations where the job is carried out; "" for none.
func keepConfigs(ctx context.Context, svc control.Desk, c *release.Configs) (string, error) {
	if c == nil {
		return "", nil
	}
	text, err := c.Encode()
	if err != nil {
		return "", err
	}
	digest, _, err := svc.Keep(ctx, bytes.NewReader(text))
	return digest, err
}

// bring keeps the archive and its manifest where the job is carried out, unless they are there.
func bring(ctx context.Context, svc control.Desk, depot Depot, r artifact.Record, m manifest.Manifest) error {
	keep := func(digest string, open func() (io.ReadCloser, error)) error {
		if _, err := svc.Kept(ctx, digest); sluice.CodeOf(err) != sluice.NotFound {
			return err
		}
		in, err := open()
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		got, _, err := svc.Keep(ctx, in)
		if err == nil && got != digest {
			err = sluice.Errorf(sluice.Conflict, "%s is not what the repository has on record", r.ArtifactName)
		}
		return err
	}
	if err := keep(r.Manifest, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.Encode())), nil }); err != nil {
		return err
	}
	return keep(r.Digest, func() (io.ReadCloser, error) { return depot.Content(ctx, r) })
}
