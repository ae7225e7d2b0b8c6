package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/converge"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/run/control"
)

type toConverge struct{ Body api.Converge }

type converged struct {
	Body struct {
		Apps []api.Converged `json:"apps" doc:"by name"`
	}
}

func (a *API) addConverge() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "converging", Method: http.MethodGet, Path: "/api/v1/namespaces/{namespace}/converge", Tags: []string{releaseTag},
		Summary: "What the server leaves alone that converges by itself", Description: "Where the fleet says that the server brings hosts to what is current by itself: " +
			"which apps and hosts it leaves alone now, and why."}, converging)
	route(a, sluice.SubmitJob, huma.Operation{OperationID: "converge", Method: http.MethodPost, Path: "/api/v1/converge", Tags: []string{releaseTag},
		Summary: "Bring late, repaired and new hosts to the release that is current", Errors: []int{http.StatusNotFound, http.StatusConflict},
		Description: "A job for each app of which hosts are missing, with the options of the deploy that is current. It takes the right for all hosts that its deploys mean. " +
			"With dry nothing is submitted: the answer says what would be. To ask twice does no harm: while such a job goes on, that is a conflict, and afterwards nothing is missing."}, convergeAll)
}

type convergenceOf struct {
	Namespace string `path:"namespace" maxLength:"64"`
}

type convergence struct{ Body api.Convergence }

// converging says what the server leaves alone, as whoever decides it would now.
func converging(ctx context.Context, c caller, in *convergenceOf) (*convergence, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	seen, err := c.seen(ctx, ns)
	if err != nil {
		return nil, err
	}
	at, err := c.api.cfg.Lists.Convergence(ctx, ns)
	if err != nil {
		return nil, err
	}
	out := &convergence{api.Convergence{Left: []api.ConvergenceLeft{}}}
	if at.Every == 0 {
		return out, nil
	}
	out.Body.Every, out.Body.By = at.Every.String(), at.By
	members, err := c.api.cfg.Members(ctx, ns)
	if err != nil {
		return nil, err
	}
	wanted, left := at.Decide(c.api.cfg.Clock())
	for _, w := range wanted {
		meant := at.Of(w.Name, w.Env).Meant
		err := c.api.cfg.Rights.Allow(ctx, access.As(at.By), access.Ask{Right: sluice.SubmitJob, Namespace: ns, Hosts: meant, Members: members})
		if sluice.CodeOf(err) == sluice.Denied {
			left = append(left, converge.Left{App: w.Name, Env: w.Env, Hosts: w.Hosts, Why: at.Refused(err)})
		} else if err != nil {
			return nil, err
		}
	}
	for _, l := range left {
		if seen != nil {
			unseen := func(h sluice.Host) bool { return !seen(h) }
			meant := at.Of(l.App, l.Env).Meant
			if l.Hosts = slices.DeleteFunc(slices.Clone(l.Hosts), unseen); len(l.Hosts) == 0 && (len(meant) == 0 || slices.ContainsFunc(meant, unseen)) {
				continue // it may be about hosts of others
			}
		}
		out.Body.Left = append(out.Body.Left, api.ConvergenceLeft{App: l.App, Env: l.Env, Hosts: l.Hosts, Why: l.Why})
	}
	return out, nil
}

// missing is an app of which hosts do not have what is current.
type missing struct {
	*control.Aim
	control.Gap
	of *sluice.Job // the deploy that is current
}

func convergeAll(ctx context.Context, c caller, in *toConverge) (*converged, error) {
	list, err := c.missing(ctx, &in.Body)
	if err != nil {
		return nil, err
	}
	out := &converged{}
	out.Body.Apps = []api.Converged{}
	made := false
	for _, m := range list {
		one := api.Converged{App: m.App, Version: m.Release.Version, Config: m.Release.Config, Origin: m.Release.Job, Hosts: m.Hosts, Fresh: m.Fresh}
		for _, l := range m.Unknown {
			one.Unknown = append(one.Unknown, l.Host)
		}
		if len(m.Hosts) > 0 && !in.Body.Dry {
			job, err := c.bring(ctx, m, "")
			switch {
			case err == nil:
				one.Job, made = job, true
			case !made && len(list) == 1:
				return nil, err
			default: // what was submitted is to be known all the same
				p := problemOf(err).Problem
				one.Refused = &p
			}
		}
		out.Body.Apps = append(out.Body.Apps, one)
	}
	return out, nil
}

// missing looks at all that is meant, and asks for the right to all of it before anything is told.
func (c caller) missing(ctx context.Context, b *api.Converge) (out []missing, err error) {
	ns := b.Namespace
	if ns == "" {
		ns = sluice.DefaultNamespace
	}
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	desk, spaces, q := c.desk(), []control.Space{{Namespace: ns}}, control.LiveQuery{Namespace: ns, Env: b.Env}
	list, lost, err := c.api.cfg.Lists.ReleasesIn(ctx, spaces, q)
	if err != nil {
		return nil, err
	}
	now, gone, err := c.api.cfg.Lists.LiveIn(ctx, spaces, q)
	if err != nil {
		return nil, err
	}
	if len(lost)+len(gone) > 0 {
		return nil, sluice.Errorf(sluice.Conflict, "namespace %s cannot be read now, so it is not known what is current there", ns).WithHint("the server's log says why it cannot be read")
	}
	aims, err := control.AimsOf(list, now, b.Env, b.Apps)
	if err != nil {
		return nil, err
	}
	loaded, _, err := desk.Fleet(ctx, ns)
	if err != nil && sluice.CodeOf(err) != sluice.NotFound {
		return nil, err
	}
	for _, m := range aims {
		var of *sluice.Job
		hosts, known, err := m.Meant(func(id sluice.JobID) (*sluice.Job, error) {
			i, _, err := desk.Info(ctx, string(id))
			if err == nil && id == m.Release.Job {
				of = i.Spec
			}
			return i.Spec, err
		}, func(j *sluice.Job) ([]sluice.Host, error) {
			if loaded == nil {
				return nil, sluice.Errorf(sluice.Conflict, "job %s means %s, and no fleet of %s was applied that says which hosts those are", j.ID, j.Expression, ns).
					WithHint("sluice fleet apply -f FILE; or sluice converge %s -f FILE", b.Env)
			}
			return loaded.Resolve(j.Expression)
		})
		if err != nil {
			return nil, err
		}
		if err := c.may(ctx, ns, hosts); err != nil {
			return nil, err
		}
		out = append(out, missing{m, m.GapOf(hosts, known, now, b.Common), of})
	}
	return out, nil
}

// Bring submits the job that brings hosts to what is current without anybody asking, for whoever applied the fleet that says so, and with
// no more rights than they have. wanted is what it is to be, and the reason is on record with the job.
func (a *API) Bring(ctx context.Context, by sluice.Principal, wanted *control.Converging, hosts []sluice.Host) (sluice.JobID, error) {
	c := caller{Bearer: access.As(by), api: a, right: sluice.SubmitJob, what: converge.Reason, asked: &asked{}}
	if err := c.may(ctx, wanted.Aim.Namespace, wanted.Meant); err != nil {
		return "", err
	}
	return c.bring(ctx, missing{wanted.Aim, control.Gap{Hosts: hosts}, wanted.Of}, converge.Reason)
}

// bring submits the job that brings hosts to what is current, as it was deployed.
func (c caller) bring(ctx context.Context, m missing, reason string) (sluice.JobID, error) {
	if m.of.Options.NeedsSecrets() {
		return "", sluice.Errorf(sluice.Conflict, "job %s, whose release is current, took passwords or keys of whoever submitted it, and they are not kept", m.of.ID).
			WithHint("sluice converge %s %s, with the options that ask for them, such as --ask-sudo-password", m.Release.Env, m.App)
	}
	rel := control.Again(*m.of.Action.Release)
	look := m.Look()
	s := wantOf(m.of)
	s.Namespace, s.Targets, s.Release, s.Back, s.Look = m.Namespace, fleet.Fold(m.Hosts), rel, nil, &look
	s.Options.Lock, s.Options.Supersede = string(release.Lock(rel)), false
	job, err := c.submit(ctx, &toSubmit{Body: s}, reason)
	if err != nil {
		return "", err
	}
	return job.Body.ID, nil
}
