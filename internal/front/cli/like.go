package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/target"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// likeness is a release that hosts had at a time, or are to have, and that they do not have now.
type likeness struct {
	namespace sluice.Namespace
	app       string
	origin    sluice.JobID // the job that deployed it
	hosts     []sluice.Host
	version   string
	failed    bool             // it had failed there
	onFailure sluice.OnFailure // in place of what the release says; ""
	look      sluice.Look
}

// deployLike brings an environment back to what it was at a time: a job for each release, one after the other.
func (a *app) deployLike(c *cobra.Command, f *jobFlags, d *deployFlags, apps []string) error {
	for _, name := range []string{"cluster", "branch", "file", "app-file", "store", "key-file", "shared", "app-dir", "at", "app-at"} {
		if flag := c.Flags().Lookup(name); flag != nil && flag.Changed {
			return sluice.Errorf(sluice.Usage, "--%s says what to deploy, and --like takes that from what was live then", name)
		}
	}
	at, err := timeOf("--like", d.like, a.Clock())
	if err != nil {
		return err
	}
	for _, name := range apps {
		if strings.Contains(name, "@") {
			return sluice.Errorf(sluice.Usage, "--like has the versions of then, and %q names one", name).WithHint("without @ and what follows")
		}
	}
	ctx := c.Context()
	var only []sluice.Host
	if f.expression != "" || f.hosts != "" {
		l, err := a.load(ctx, f.targetFlags)
		if err != nil {
			return err
		}
		only = l.targets
	}
	return a.onJournal(ctx, func(svc control.Desk) error {
		q := control.LiveQuery{Namespace: sluice.Namespace(f.namespace), Env: d.env}
		now, err := svc.Live(ctx, q)
		if err != nil {
			return err
		}
		q.At = at
		was, err := svc.Live(ctx, q)
		if err != nil {
			return err
		}
		meant := func(l control.Live) bool {
			return (len(apps) == 0 || slices.Contains(apps, l.App)) && (only == nil || slices.Contains(only, l.Host))
		}
		list, err := likenesses(slices.DeleteFunc(was, func(l control.Live) bool { return !meant(l) }), now)
		if err != nil {
			return err
		}
		for _, k := range list {
			k.onFailure = sluice.OnFailure(d.onFailure)
			k.look = sluice.Look{Until: untilOf(now, k.namespace), Again: target.Quote("sluice", "deploy", "--like", d.like, "--env", d.env, k.app)}
		}
		return a.deployEach(ctx, svc, f, list, "was", "Everything is as it was then.")
	})
}

// likenesses are the releases to bring back so that hosts have what they had. Where that is not known, or cannot be had any more,
// nothing is made up.
func likenesses(was, now []control.Live) (out []*likeness, err error) {
	has := map[any]control.Live{}
	key := func(l control.Live) any { return [3]string{string(l.Namespace), l.App, string(l.Host)} }
	for _, l := range now {
		has[key(l)] = l
	}
	if len(was) == 0 {
		return nil, sluice.Errorf(sluice.NotFound, "no deploy of that is on record for that time").WithHint("sluice releases ENV lists what there is")
	}
	for _, l := range was {
		n := has[key(l)]
		switch {
		case l.Namespace != was[0].Namespace:
			return nil, sluice.Errorf(sluice.Usage, "there is such an environment in several namespaces: %s, %s", was[0].Namespace, l.Namespace).WithHint("--namespace NAME")
		case !l.Known:
			return nil, notThen(l, "it was not known what %s had of %s then: %s (job %s)", l.Host, l.App, l.Why, l.Last)
		case l.Live.Version == "":
			continue // there is no way to have nothing
		case l.Changed || l.Origin == "":
			return nil, notThen(l, "%s had %s of %s then, and no deploy of that is on record", l.Host, l.Live.Version, l.App)
		case n.Known && !n.Failed && n.Live.Version == l.Live.Version && n.Config == l.Config:
			continue // as it was
		}
		i := slices.IndexFunc(out, func(k *likeness) bool { return k.app == l.App && k.origin == l.Origin })
		if i < 0 {
			i = len(out)
			out = append(out, &likeness{namespace: l.Namespace, app: l.App, origin: l.Origin, version: l.Live.Version})
		}
		out[i].hosts, out[i].failed = append(out[i].hosts, l.Host), out[i].failed || l.Failed
	}
	return out, nil
}

// untilOf is up to which event a namespace was looked at.
func untilOf(now []control.Live, ns sluice.Namespace) uint64 {
	if i := slices.IndexFunc(now, func(l control.Live) bool { return l.Namespace == ns }); i >= 0 {
		return now[i].Until
	}
	return 0
}

func notThen(l control.Live, format string, args ...any) error {
	return sluice.Errorf(sluice.Conflict, format, args...).WithHint("another time; or leave %s out with -w or -t", l.Host)
}

// deployEach deploys one release after the other, and stops at the first that does not succeed. To ask for the same again does what
// is left. How says what a release was to its hosts, and nothing that there is nothing to do.
func (a *app) deployEach(ctx context.Context, svc control.Desk, f *jobFlags, list []*likeness, how, nothing string) error {
	if len(list) == 0 {
		fmt.Fprintln(a.Stderr, nothing)
		return nil
	}
	var all []control.Request
	for _, k := range list {
		r, err := a.likeRequest(ctx, svc, *f, k)
		if err != nil {
			return err
		}
		all = append(all, r)
		failed := ""
		if k.failed {
			failed = "; its deploy had failed on some of them"
		}
		fmt.Fprintf(a.Stderr, "sluice: %s %s %s on %s%s\n", clean.Line(k.app), how, clean.Line(k.version), fleet.Fold(k.hosts), failed)
	}
	var made []sluice.JobID
	for i, r := range all {
		if r.Look != nil {
			r.Look.Own = made
		}
		id, err := a.submitted(ctx, svc, f, r)
		made = append(made, id)
		if err != nil {
			for _, k := range list[i+1:] {
				fmt.Fprintf(a.Stderr, "sluice: not done: %s to %s on %s; the same command does what is left\n", clean.Line(k.app), clean.Line(k.version), fleet.Fold(k.hosts))
			}
			return err
		}
	}
	return nil
}

// likeRequest is a request for a release as it was deployed, frozen: its archive, its configuration, what its app.yaml said.
func (a *app) likeRequest(ctx context.Context, svc control.Desk, f jobFlags, k *likeness) (control.Request, error) {
	j, _, err := svc.Job(ctx, string(k.origin))
	if err != nil {
		return control.Request{}, err
	}
	rel := control.Again(*j.Spec.Action.Release)
	for _, digest := range []string{rel.Artifact, rel.Manifest, rel.Config} {
		if digest == "" {
			continue
		}
		if _, err := svc.Kept(ctx, digest); err != nil {
			return control.Request{}, &sluice.Error{Code: sluice.CodeOf(err), Text: fmt.Sprintf("%s %s cannot be had as it was deployed by job %s", rel.App, rel.Version, k.origin), Err: err,
				Hint: fmt.Sprintf("sluice deploy %s@%s --env %s takes it from the repository, with the configuration of now", rel.App, rel.Version, rel.Env)}
		}
	}
	f.expression, f.hosts = "", fleet.Fold(k.hosts)
	if f.file == "" && !a.elsewhere() {
		f.file = j.Spec.Fleet
	}
	if f.namespace == "" && f.file == "" {
		f.namespace = string(k.namespace)
	}
	if f.key != "" {
		f.key += "/" + k.app + "/" + string(k.origin) // each of the jobs is another one
	}
	r, err := a.request(ctx, &f)
	if err != nil {
		return r, err
	}
	if k.onFailure != "" {
		rel.Deploy.OnFailure = k.onFailure
	}
	// What is frozen says where balancers were then; where they are is for the fleet to say.
	if rel.Deploy.Balancers, err = release.Balancers(rel.Deploy.Balancers, r.Fleet, nil); err != nil {
		return r, err
	}
	r.Action, r.Command = sluice.Action{Kind: sluice.DeployTo, Release: rel}, release.Told(sluice.DeployTo, rel)
	if r.Options.Lock == "" {
		r.Options.Lock = release.Lock(rel)
	}
	if k.look.Until > 0 { // a server of an older version does not say it
		r.Look = &k.look
	}
	return r, nil
}
