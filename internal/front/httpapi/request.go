package httpapi

import (
	"context"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/front/spell"
)

type oneRequest struct{ Body api.Asked }

func (a *API) addRequest() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-job-request", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/request", Tags: []string{jobTag},
		Summary: "What was asked for, to ask for it again", Description: "The form is the one that submitting takes, without id and secrets. " +
			"Which hosts its expression means now, and what the fleet says of them, may be another thing than it was then.",
		Errors: []int{http.StatusNotFound}}, getRequest)
}

func getRequest(ctx context.Context, c caller, in *ByID) (*oneRequest, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	out := &oneRequest{}
	out.Body.Submit = wantOf(i.Spec)
	loaded, _, err := desk.Fleet(ctx, i.Spec.Namespace)
	switch {
	case err == nil: // what the fleet says itself was not asked for
		out.Body.Submit = unlessFleet(out.Body.Submit, i.Spec, loaded.Fleet())
	case sluice.CodeOf(err) != sluice.NotFound:
		return nil, err
	}
	out.Body.CommandLine, out.Body.Curl = spell.CommandLine(out.Body.Submit, err == nil), spell.Curl(out.Body.Submit)
	return out, nil
}

// wantOf is what makes a job like another.
func wantOf(j *sluice.Job) api.Submit {
	o := j.Options
	s := api.Submit{Namespace: j.Namespace, Targets: j.Expression, User: j.SSH.User, Options: api.Options{
		MaxFailures: amountOf(o.MaxFailures), MaxParallel: amountOf(o.MaxParallel), ReadOnly: o.ReadOnly, Timeout: spanOf(o.Timeout),
		JobTimeout: spanOf(o.JobTimeout), Sudo: o.Sudo, Env: o.Env, NoHooks: o.NoHooks, AskPassword: o.AskPassword,
		AskSudoPassword: o.AskSudoPassword, AskPassphrase: o.AskPassphrase, AskPrivateKey: o.AskPrivateKey, Signed: o.Signed, TTY: o.TTY, Prompts: o.Prompts, Lock: string(o.Lock), Supersede: o.Supersede}}
	if o.Concurrency != sluice.DefaultConcurrency {
		s.Options.Concurrency = o.Concurrency
	}
	if o.Reconnect != sluice.DefaultReconnect {
		s.Options.Reconnect = o.Reconnect.String()
	}
	if o.OutputLimit != sluice.DefaultOutputLimit {
		s.Options.OutputLimit = o.OutputLimit
	}
	if dir, ok := strings.CutSuffix(j.Target.PreHooks, "/pre.d"); ok && path.IsAbs(dir) && dir+"/post.d" == j.Target.PostHooks {
		s.Options.Hooks = dir
	}
	switch a := j.Action; a.Kind {
	case sluice.RunCommand:
		s.Command = a.Shell
	case sluice.RunScript:
		s.Script = &api.Script{Digest: a.Script, Name: nameIn(j.Command, ""), Args: a.Args}
	case sluice.CopyTo:
		s.Copy = &api.Copy{Digest: a.Source, Name: nameIn(j.Command, "copy "), Dest: a.Dest}
	case sluice.DeployTo, sluice.RollBack:
		s.Release, s.Back = a.Release, a.Back
	case sluice.FetchFrom:
		s.Fetch, s.Options.ReadOnly = a.Source, false
	}
	return s
}

// unlessFleet leaves out of a request what the fleet says anyway.
func unlessFleet(s api.Submit, j *sluice.Job, f *sluice.Fleet) api.Submit {
	if s.User == f.SSH.User {
		s.User = ""
	}
	if j.Target.PreHooks == f.Target.PreHooks && j.Target.PostHooks == f.Target.PostHooks {
		s.Options.Hooks = ""
	}
	return s
}

// nameIn is the first word of a command as [target.Quote] wrote it.
func nameIn(command, after string) string {
	rest := strings.TrimPrefix(command, after)
	var b strings.Builder
	for quoted := false; rest != ""; rest = rest[1:] {
		switch c := rest[0]; {
		case c == '\'':
			quoted = !quoted
		case c == '\\' && !quoted && len(rest) > 1:
			rest = rest[1:]
			b.WriteByte(rest[0])
		case c == ' ' && !quoted:
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func amountOf(a *sluice.Amount) string {
	if a == nil {
		return ""
	}
	return a.String()
}

func spanOf(t time.Duration) string {
	if t == 0 {
		return ""
	}
	return t.String()
}
