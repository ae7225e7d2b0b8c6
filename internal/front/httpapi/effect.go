package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
)

type jobEffect struct {
	ByID
	Act         string        `query:"act" required:"true" enum:"halt,cancel,resume,retry,skip,approve,settle"`
	Hosts       []sluice.Host `query:"host,explode" maxItems:"1000" doc:"of skip: those to leave out; of retry: those to try again, none for all that failed. It may stand several times"`
	Stage       string        `query:"stage" maxLength:"1000" doc:"of approve: whose gate"`
	Plan        string        `query:"plan" maxLength:"80" doc:"of approve: digest of what was looked at"`
	MaxFailures string        `query:"max_failures" maxLength:"20" doc:"of resume and retry: a new budget"`
}

type hostsEffect struct {
	InNamespace
	Act   string        `query:"act" required:"true" enum:"hold,release,retire,return"`
	Hosts []sluice.Host `query:"host,explode" required:"true" minItems:"1" maxItems:"1000" doc:"which hosts. It may stand several times"`
}

type oneEffect struct{ Body api.Effect }

// mostHolders is how many holders an effect names of what hosts wait for.
const mostHolders = 20

const effectText = "It changes nothing, and says what would follow at once: what starts, what waits and for what, what is killed. " +
	"What decides in earnest is asked, on a copy. Where the act cannot be done, refused says what it would answer."

func (a *API) addEffects() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-job-effect", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/effect",
		Tags: []string{jobTag}, Summary: "What an act would do to a job", Description: effectText, Errors: []int{http.StatusNotFound}}, getJobEffect)
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-hosts-effect", Method: http.MethodGet, Path: "/api/v1/namespaces/{namespace}/hosts/effect",
		Tags: []string{"hosts"}, Summary: "What an act on hosts would do", Description: effectText}, getHostsEffect)
}

func getJobEffect(ctx context.Context, c caller, in *jobEffect) (*oneEffect, error) {
	most, err := budget(in.MaxFailures)
	if err != nil {
		return nil, err
	}
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	i, _, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	f, err := desk.Foresee(ctx, i.Spec.Namespace, act.Act{Kind: act.Kind(in.Act), Job: id, Hosts: in.Hosts, Stage: in.Stage, Plan: in.Plan, MaxFailures: most})
	if err != nil {
		return nil, err
	}
	goesOn := f.Act.Kind == act.Resume || f.Act.Kind == act.Retry
	if goesOn && f.Refused == nil && c.lacks(i.Spec, f.Before.State.Over()) {
		f.Refused = errLacks(id)
	}
	if f.Act.Kind == act.Approve && f.Refused == nil {
		f.Refused = c.wantsSigned(id)
	}
	return &oneEffect{c.effectOf(ctx, f)}, nil
}

func getHostsEffect(ctx context.Context, c caller, in *hostsEffect) (*oneEffect, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.may(ctx, ns, in.Hosts); err != nil {
		return nil, err
	}
	f, err := c.desk().Foresee(ctx, ns, act.Act{Kind: act.Kind(in.Act), Hosts: in.Hosts})
	if err != nil {
		return nil, err
	}
	return &oneEffect{c.effectOf(ctx, f)}, nil
}

// effectOf is what goes out of an effect. Of other jobs only those are named that the caller may see.
func (c caller) effectOf(ctx context.Context, f control.Foreseen) api.Effect {
	out := api.Effect{Act: string(f.Act.Kind), Seq: f.Seq, Seen: f.Seen, ConfirmAbove: f.ConfirmAbove}
	if f.Refused != nil {
		p := problemOf(f.Refused).Problem
		out.Refused, out.Says = &p, []string{}
		return out
	}
	for k := range f.Others {
		if o := &f.Others[k]; !c.sees(ctx, o.Job) {
			o.Job.Spec = nil
		}
	}
	out.Says, out.Nothing, out.Touches = f.Says(), f.Nothing(), f.Touches()
	out.Confirm = f.ConfirmAbove > 0 && out.Touches > f.ConfirmAbove
	out.Starts, out.Kills, out.GoOn, out.Never, out.Asks, out.Again = some(f.Starts), some(f.Kills), some(f.Runs), some(f.Never), some(f.Asks), some(f.Again)
	out.Opens = f.Opens
	if f.After.Spec != nil {
		after := jobOf(f.After, true)
		out.State, out.Running, out.Unsettled = after.State, after.Running, after.Unsettled
	}
	if f.Halts != nil {
		out.Halted = haltedOf(f.Halts)
	}
	for _, w := range f.Waits {
		w.Holders = w.Holders[:min(mostHolders, len(w.Holders))]
		out.Waits = append(out.Waits, api.Wait{Reason: reasonOf(w.Reason), Hosts: w.Hosts})
	}
	for _, o := range f.Others {
		other := api.EffectOnJob{Starts: some(o.Starts)}
		if o.Job.Spec == nil { // hosts are theirs, too
			other.Starts.Text, other.Starts.More = "", 0
		} else {
			other.Job, other.State = o.Job.Spec.ID, string(o.Job.State)
		}
		out.Others = append(out.Others, other)
	}
	return out
}

// sees reports whether the caller may look at another job. What one may not see is no attempt to see it: that is not noted.
func (c caller) sees(ctx context.Context, i schedule.Info) bool {
	members, err := c.api.cfg.Members(ctx, i.Spec.Namespace)
	return err == nil && c.api.cfg.Rights.Allow(ctx, c.Bearer, access.Ask{Right: c.right, Namespace: i.Spec.Namespace,
		Hosts: i.Spec.Targets, Members: members}) == nil
}
