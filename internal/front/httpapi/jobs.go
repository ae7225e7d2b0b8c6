package httpapi

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
	"sluice/sealed"
)

const jobTag = "jobs"

// ByID is the path of one job. It is exported for huma, which cannot fill in an embedded type that is not.
type ByID struct {
	ID string `path:"id" maxLength:"64" doc:"id of a job, or its beginning if no other begins so"`
}

type oneJob struct{ Body api.Job }

func (a *API) addJobs() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-job", Method: http.MethodGet, Path: "/api/v1/jobs/{id}", Tags: []string{jobTag},
		Summary: "What is known of a job", Errors: []int{http.StatusNotFound}}, getJob)
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-job-reasons", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/why", Tags: []string{jobTag},
		Summary: "Why hosts of a job wait", Errors: []int{http.StatusNotFound}}, getWhy)
	a.addEvents()
}

func getJob(ctx context.Context, c caller, in *ByID) (*oneJob, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return c.readJob(ctx, desk, id)
}

func (c caller) readJob(ctx context.Context, desk control.Desk, id sluice.JobID) (*oneJob, error) {
	i, driven, err := desk.Info(ctx, string(id))
	if err != nil {
		return nil, err
	}
	out := &oneJob{jobOf(i, driven)}
	out.Body.Kept = c.api.keptFor(i.Spec.Namespace, i.Spec.ID)
	out.Body.PlanDigest = c.api.digests.of(i.Spec)
	return out, nil
}

// digests keeps what people approve of jobs that are asked for again and again: of ten thousand hosts it takes
// milliseconds. A job that was submitted does not change.
type digests struct {
	mu sync.Mutex
	by map[*sluice.Job]string
}

const keptDigests = 16

// of is the digest of a job's plan; "" for one with text that is no UTF-8, which has none.
func (d *digests) of(j *sluice.Job) string {
	d.mu.Lock()
	text, known := d.by[j]
	d.mu.Unlock()
	if known {
		return text
	}
	text, _ = sealed.PlanDigest(j)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil || len(d.by) == keptDigests {
		d.by = map[*sluice.Job]string{}
	}
	d.by[j] = text
	return text
}

// jobOf is what goes out of what is known of a job. Between the wish to halt and the halt a job still runs.
func jobOf(i schedule.Info, driven bool) api.Job {
	j := api.Job{ID: i.Spec.ID, Namespace: i.Spec.Namespace, State: string(i.State), Command: i.Spec.Command, By: i.Spec.By, Reason: i.Spec.Reason, Undoes: i.Spec.Action.Undoes,
		Submitted: i.Submitted, Targets: i.Targets, Running: i.Running, Unsettled: i.Unsettled, Failures: i.Failures,
		Budget: i.Budget, Counts: i.Counts, Generation: i.Generation, Cancelling: i.Cancelling, Driven: driven, Approval: i.Spec.Approval.By, Why: i.Why,
		Needs: needsOf(i), Started: timeOf(i.TakenUp), Ended: timeOf(i.Ended)}
	if i.State == schedule.Halting {
		j.State, j.Halting = string(schedule.Running), true
	}
	if j.Counts == nil {
		j.Counts = map[sluice.Outcome]int{}
	}
	if h := i.Halted; h != nil {
		j.Halted = haltedOf(h)
	}
	for _, g := range i.Gates {
		out := api.Gate{Track: g.Track, Stage: g.Stage, Index: g.Index, Kind: g.Kind}
		if !g.Until.IsZero() {
			out.Until = &g.Until
		}
		j.Gates = append(j.Gates, out)
	}
	return j
}

// needsOf is what a person has to do so that a job goes on.
func needsOf(i schedule.Info) string {
	approval := func(g schedule.Gate) bool { return g.Kind == sluice.GateApproval }
	switch {
	case i.State == schedule.Halted:
		return "decision"
	case i.State == schedule.Paused && slices.ContainsFunc(i.Gates, approval):
		return "approval"
	case i.Stranded:
		return "worker"
	}
	return ""
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func haltedOf(h *sluice.JobHalted) *api.Halted {
	return &api.Halted{Rule: h.Rule, Reason: h.Reason, Constraint: h.Constraint, Group: h.Group, Holders: h.Holders}
}

type whyQuery struct {
	ByID
	Host    string `query:"host" maxLength:"255" doc:"of this host alone"`
	Summary bool   `query:"summary" doc:"sum up what several hosts wait for"`
}

type reasons struct {
	Body struct {
		Reasons []api.Reason `json:"reasons" doc:"one a host that waits; none in a summary"`
		Waits   []api.Wait   `json:"waits,omitempty" doc:"in a summary: what hosts wait for, in the order of the first of them"`
	}
}

func getWhy(ctx context.Context, c caller, in *whyQuery) (*reasons, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	list, err := desk.Why(ctx, string(id), sluice.Host(in.Host))
	if err != nil {
		return nil, err
	}
	out := &reasons{}
	out.Body.Reasons = []api.Reason{}
	if in.Summary {
		for _, w := range schedule.SumUp(list) {
			out.Body.Waits = append(out.Body.Waits, api.Wait{Reason: reasonOf(w.Reason), Hosts: w.Hosts})
		}
		return out, nil
	}
	for _, r := range list {
		out.Body.Reasons = append(out.Body.Reasons, reasonOf(r))
	}
	return out, nil
}

func reasonOf(r schedule.Reason) api.Reason {
	out := api.Reason{Host: r.Host, Rule: r.Rule, Constraint: r.Constraint, Group: r.Group, Text: r.Text}
	for _, h := range r.Holders {
		out.Holders = append(out.Holders, holderOf(h))
	}
	return out
}

func holderOf(h schedule.Holder) api.Holder {
	return api.Holder{Host: h.Host, Job: h.Job, Since: h.Since, Why: h.Why}
}
