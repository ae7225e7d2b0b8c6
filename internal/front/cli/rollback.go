package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
	"sluice/internal/core/undo"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// rollbackFlags say which deploy is taken back, and what does not keep from it.
type rollbackFlags struct {
	jobFlags
	env     string
	changed bool
}

func (a *app) rollbackCommand() *cobra.Command {
	var f rollbackFlags
	c := &cobra.Command{
		Use:   "rollback {JOB | APP --env ENV}",
		Short: "Bring hosts back to what they had before a deploy",
		Long: `Bring each host of a deploy back to the version and the configuration that it
had before, under the fleet's rules. Nothing is fetched: every host has what it
goes back to, and checks it first. If the deploy still has its lock, it is
cancelled, and so is what waits behind it.

APP and --env mean the last deploy of the app there that changed hosts. Hosts
that something has changed since are in the way, unless they are left out or
--even-if-changed is given.`,
		Example: `  sluice rollback k3v9q2m7x1ab
  sluice rollback k3v9q2m7x1ab -w web1 --sudo
  sluice rollback shop --env production --sudo`,
		Args: args(1, 1, "the id of a job that deployed, or the name of an app"),
		RunE: func(c *cobra.Command, words []string) error {
			return a.onJournal(c.Context(), func(svc control.Desk) error { return a.rollBack(c.Context(), svc, &f, words[0]) })
		},
		ValidArgsFunction: a.completeJob,
	}
	f.addCarrying(a, c)
	c.Flags().StringVar(&f.env, "env", "", "the last deploy in this `environment`, of the app that is named in place of a job")
	c.Flags().BoolVar(&f.changed, "even-if-changed", false, "bring back hosts, too, that something has changed since")
	return c
}

func (a *app) rollBack(ctx context.Context, svc control.Desk, f *rollbackFlags, word string) error {
	if f.env != "" {
		id, err := lastDeploy(ctx, svc, control.LiveQuery{Namespace: sluice.Namespace(f.namespace), App: word, Env: f.env})
		if err != nil {
			return err
		}
		word = string(id)
	}
	back, info, err := wayBack(ctx, svc, word, f.expression != "" || f.hosts != "")
	if f.env == "" && sluice.CodeOf(err) == sluice.NotFound {
		return &sluice.Error{Code: sluice.NotFound, Text: "which deploy?", Err: err, Hint: fmt.Sprintf("sluice rollback %s --env ENV, if that is an app; sluice jobs", clean.Line(word))}
	}
	if err != nil {
		return err
	}
	if f.expression == "" && f.hosts == "" {
		f.hosts = back.hosts()
	}
	if f.file == "" && !a.elsewhere() {
		f.file = back.fleet
	}
	if f.namespace == "" && f.file == "" {
		f.namespace = string(info.Spec.Namespace)
	}
	r, err := a.request(ctx, &f.jobFlags)
	if err != nil {
		return err
	}
	if err := back.fill(&r, info); err != nil {
		return err
	}
	if !f.changed {
		now, err := svc.Live(ctx, control.LiveQuery{Namespace: info.Spec.Namespace, App: back.release.App, Env: back.release.Env})
		if err != nil {
			return err
		}
		if err := changedSince(info.Spec.ID, back.release.Env, r.Targets, now); err != nil {
			return err
		}
		if len(now) > 0 {
			r.Look = undo.Look(info.Spec.ID, now[0].Until)
		}
	}
	for _, h := range back.none {
		fmt.Fprintf(a.Stderr, "sluice: left out: %s had nothing before\n", h)
	}
	return a.submitTo(ctx, svc, &f.jobFlags, r)
}

// lastDeploy is the last deploy of an app in an environment after which a host had something else.
func lastDeploy(ctx context.Context, svc control.Desk, q control.LiveQuery) (sluice.JobID, error) {
	list, err := svc.Releases(ctx, q)
	if err != nil {
		return "", err
	}
	var of sluice.Namespace
	var id sluice.JobID
	for _, r := range list {
		switch {
		case r.Kind != sluice.DeployTo || r.Changed == 0:
		case id == "":
			of, id = r.Namespace, r.Job
		case r.Namespace != of:
			return "", sluice.Errorf(sluice.Usage, "%s is deployed to %s in several namespaces: %s, %s", q.App, q.Env, of, r.Namespace).WithHint("--namespace NAME")
		}
	}
	if id == "" {
		return "", sluice.Errorf(sluice.NotFound, "no deploy of %s to %s that changed a host is on record", q.App, q.Env).WithHint("sluice releases %s", q.Env)
	}
	return id, nil
}

// changedSince says which hosts are not any more as a deploy left them, as far as that is on record: whatever came after it would be
// undone unseen.
func changedSince(id sluice.JobID, env string, hosts []sluice.Host, now []control.Live) error {
	at := map[sluice.Host]control.Live{}
	for _, l := range now {
		at[l.Host] = l
	}
	var whys []string
	var same []sluice.Host
	changed := map[string][]sluice.Host{}
	next := ""
	for _, h := range hosts {
		l, known := at[h]
		why := undo.ChangedSince(id, l.State, l.Origin)
		if !known || why == "" {
			same = append(same, h)
			continue
		}
		if changed[why] == nil {
			whys = append(whys, why)
		}
		changed[why] = append(changed[why], h)
		switch {
		case !l.Known || l.Changed || l.Origin == "":
		case l.Job == l.Origin:
			next = "sluice rollback " + string(l.Job) + " takes that one back first"
		default: // it was brought back to what an earlier deploy had left
			next = "sluice rollback " + string(l.Origin) + " goes further back from there"
		}
	}
	if len(whys) == 0 {
		return nil
	}
	for i, why := range whys {
		whys[i] = fleet.Fold(changed[why]) + ": " + why
	}
	hints := []string{cmp.Or(next, "sluice releases "+env+" shows it")}
	if len(same) > 0 {
		hints = append(hints, "-w "+fleet.Fold(same)+" leaves them out")
	}
	hints = append(hints, "--even-if-changed goes back all the same")
	return sluice.Errorf(sluice.Conflict, "hosts have changed since job %s: %s", id, strings.Join(whys, "; ")).WithHint("%s", strings.Join(hints, "; "))
}

// theWayBack is what each host of a deploy goes back to.
type theWayBack struct {
	release *sluice.Release // that was deployed; nil: none was
	fleet   string          // file that it went by, "" for none
	to      map[sluice.Host]sluice.Installed
	none    []sluice.Host // had nothing before
	unknown []sluice.Host // nobody knows what they have now
}

// wayBack reads what the hosts of a deploy had before it. Where that is not known, nothing is made up; it keeps nobody from
// bringing other hosts back that are named.
func wayBack(ctx context.Context, svc control.Desk, prefix string, named bool) (*theWayBack, schedule.Info, error) {
	info, _, err := svc.Info(ctx, prefix)
	if err != nil {
		return nil, info, err
	}
	id := info.Spec.ID
	events, err := svc.Events(ctx, id)
	if err != nil {
		return nil, info, err
	}
	w := backOf(events)
	if w.release == nil {
		return nil, info, sluice.Errorf(sluice.Usage, "job %s deployed nothing", id).WithHint("sluice jobs")
	}
	switch {
	case !named && len(w.unknown) > 0:
		return nil, info, sluice.Errorf(sluice.Conflict, "it is not known what %s has now", fleet.Fold(w.unknown)).
			WithHint("sluice status %s --refresh asks it; -w HOSTS brings others back without it", id)
	case len(w.to) == 0 && len(w.unknown) > 0:
		return nil, info, w.notKnown(w.unknown[0])
	case len(w.to) == 0 && len(w.none) > 0:
		return nil, info, sluice.Errorf(sluice.Conflict, "no host of job %s had a version before it", id)
	case len(w.to) == 0:
		return nil, info, sluice.Errorf(sluice.Conflict, "job %s has changed no host", id).WithHint("sluice status %s", id)
	}
	return w, info, nil
}

// backOf is the way back from what the events of a deploy say.
func backOf(events []sluice.Event) *theWayBack {
	w := undo.WaysBack(events)
	return &theWayBack{release: w.Release, fleet: w.Fleet, to: w.To, none: w.None, unknown: w.Unknown}
}

func (w *theWayBack) notKnown(h sluice.Host) error {
	return sluice.Errorf(sluice.Conflict, "it is not known what %s has now", h).WithHint("sluice status JOB --refresh asks it")
}

// hosts are those that go back, as an expression.
func (w *theWayBack) hosts() string { return fleet.Fold(slices.Sorted(maps.Keys(w.to))) }

// fill makes a request one to go back.
func (w *theWayBack) fill(r *control.Request, info schedule.Info) error {
	back := map[sluice.Host]sluice.Installed{}
	for _, h := range r.Targets {
		to, ok := w.to[h]
		if slices.Contains(w.unknown, h) {
			return w.notKnown(h)
		}
		if !ok {
			return sluice.Errorf(sluice.Usage, "job %s has nothing on %s that it could go back from", info.Spec.ID, h)
		}
		back[h] = to
	}
	rel := undo.Release(*w.release, back)
	r.Action = sluice.Action{Kind: sluice.RollBack, Release: rel, Back: back}
	r.Command = release.Told(sluice.RollBack, rel)
	if r.Options.Lock == "" {
		r.Options.Lock = release.Lock(rel)
	}
	r.Options.Supersede = r.Options.Supersede || !info.State.Over()
	return nil
}
