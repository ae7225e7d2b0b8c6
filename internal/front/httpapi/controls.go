package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/act"
	"sluice/internal/core/schedule"
	"sluice/internal/run/control"
	"sluice/sealed"
)

type events struct {
	Body struct {
		Events []sluice.Event `json:"events" doc:"what was appended to the log for it; none if nothing had to be"`
	}
}

func changed(list []sluice.Event, err error) (*events, error) {
	if err != nil {
		return nil, err
	}
	out := &events{}
	out.Body.Events = append([]sluice.Event{}, list...)
	return out, nil
}

type withReason struct {
	ByID
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"1000"`
	}
}

type toCancel struct {
	ByID
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"1000"`
		Seen   string `json:"seen,omitempty" maxLength:"200" doc:"what the effect of this act said as seen: if that is not so any more, it is a conflict, and nothing is done"`
	}
}

type withBudget struct {
	ByID
	Body struct {
		MaxFailures string        `json:"max_failures,omitempty" maxLength:"20" doc:"a new budget: a number, or a share such as 5%"`
		Hosts       []sluice.Host `json:"hosts,omitempty" doc:"those to retry; none: all that failed"`
		// Secrets take the place of those that there are.
		Secrets sealed.Envelope `json:"secrets,omitempty" doc:"the job's secrets, sealed to its workers; see the route sealing"`
		Seen    string          `json:"seen,omitempty" maxLength:"200" doc:"what the effect of this act said as seen: if that is not so any more, it is a conflict, and nothing is done"`
	}
}

type toSkip struct {
	ByID
	Body struct {
		Hosts  []sluice.Host `json:"hosts" minItems:"1"`
		Reason string        `json:"reason" minLength:"1" maxLength:"1000"`
		Seen   string        `json:"seen,omitempty" maxLength:"200" doc:"what the effect of this act said as seen: if that is not so any more, it is a conflict, and nothing is done"`
	}
}

func (a *API) addControls() {
	post := func(id, verb, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPost, Path: "/api/v1/jobs/{id}/" + verb, Tags: []string{jobTag},
			Summary: summary, Errors: []int{http.StatusNotFound, http.StatusConflict}}
	}
	halting := post("halt-job", "halt", "Start nothing more of a job; what runs ends by itself")
	halting.Description = keptIs
	route(a, sluice.HaltJob, halting, haltJob)
	route(a, sluice.ControlJob, post("cancel-job", "cancel", "Start nothing more of a job, and kill what runs"),
		func(ctx context.Context, c caller, in *toCancel) (*events, error) {
			return c.do(ctx, in.ID, act.Act{Kind: act.Cancel, Reason: in.Body.Reason, Seen: in.Body.Seen})
		})
	route(a, sluice.ControlJob, post("resume-job", "resume", "Let a halted job go on"), resume)
	route(a, sluice.ControlJob, post("retry-job", "retry", "Try hosts of a job again"), retry)
	route(a, sluice.ControlJob, post("settle-job", "settle", "Ask the hosts of a job for outcomes that are not known; it starts nothing, and answers when they have"), settle)
	route(a, sluice.ControlJob, post("skip-hosts", "skip", "Leave hosts of a job out"),
		func(ctx context.Context, c caller, in *toSkip) (*events, error) {
			return c.do(ctx, in.ID, act.Act{Kind: act.Skip, Hosts: in.Body.Hosts, Reason: in.Body.Reason, Seen: in.Body.Seen})
		})
	route(a, sluice.ApproveJob, post("approve-job", "approve", "Let a job through a gate that waits for approval"), approve)
	route(a, sluice.ApproveJob, huma.Operation{OperationID: "get-approving", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/approving", Tags: []string{jobTag},
		Summary: "What whoever signs an approval of a job signs", Errors: []int{http.StatusNotFound}}, getApproving)
	a.addEffects()
	a.addHosts()
}

// keptIs is what halts say of answers that others do not have.
const keptIs = "A server of a cluster that has no contact with a majority answers 202: it keeps the halt, which is appended as soon as there is one."

// halting is the answer to a halt of a job.
type halting struct {
	Status int
	Body   struct {
		Events []sluice.Event `json:"events" doc:"what was appended to the log for it; none if nothing had to be"`
		Kept   *api.KeptHalt  `json:"kept,omitempty" doc:"the halt is kept by this server, which has no contact with a majority, and is appended as soon as there is one"`
	}
}

func haltJob(ctx context.Context, c caller, in *withReason) (*halting, error) {
	out := &halting{Status: http.StatusOK}
	if c.api.keeps(ctx) {
		desk, id, err := c.job(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		i, _, err := desk.Info(ctx, string(id))
		if err == nil {
			out.Body.Kept, err = c.keep(ctx, i.Spec.Namespace, id, in.Body.Reason)
		}
		out.Status, out.Body.Events = http.StatusAccepted, []sluice.Event{}
		return out, err
	}
	done, err := c.do(ctx, in.ID, act.Act{Kind: act.Halt, Reason: in.Body.Reason})
	if err != nil {
		return nil, err
	}
	out.Body.Events = done.Body.Events
	return out, nil
}

// wantsSigned says that a job takes no approval that is not signed.
func (c caller) wantsSigned(id sluice.JobID) error {
	if s := c.api.cfg.Secrets; s != nil && s.WantsSigned(id) {
		return sluice.Errorf(sluice.Conflict, "the worker of job %s carries out signed jobs alone, and takes no approval that is not signed", id).
			WithHint("sluice approve %s --sign", id)
	}
	return nil
}

// do does something to a job.
func (c caller) do(ctx context.Context, id string, a act.Act) (*events, error) {
	desk, job, err := c.job(ctx, id)
	if err != nil {
		return nil, err
	}
	a.Job = job
	return changed(desk.DoTo(ctx, a))
}

func budget(text string) (*sluice.Amount, error) {
	if text == "" {
		return nil, nil
	}
	m, err := sluice.ParseAmount(text)
	if err != nil {
		return nil, sluice.Errorf(sluice.Usage, "max_failures: %v", err)
	}
	return &m, nil
}

func resume(ctx context.Context, c caller, in *withBudget) (*events, error) {
	most, err := budget(in.Body.MaxFailures)
	if err != nil {
		return nil, err
	}
	if len(in.Body.Hosts) > 0 {
		return nil, sluice.Errorf(sluice.Usage, "hosts: a job is resumed as a whole").WithHint("retry takes hosts")
	}
	return c.goOn(ctx, in, act.Act{Kind: act.Resume, MaxFailures: most})
}

// goOn lets a job go on, with its secrets where it has some.
func (c caller) goOn(ctx context.Context, in *withBudget, a act.Act) (*events, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	j, _, err := desk.Job(ctx, string(id))
	if err != nil {
		return nil, err
	}
	how := putAgain
	if j.Finished != nil {
		how = putAnew
	}
	undo, err := c.secrets(ctx, j.Spec, in.Body.Secrets, how)
	if err != nil {
		return nil, err
	}
	a.Job, a.Seen = id, in.Body.Seen
	list, err := desk.DoTo(ctx, a)
	if err != nil {
		undo()
	}
	return changed(list, err)
}

func settle(ctx context.Context, c caller, in *struct{ ByID }) (*oneJob, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	was, err := c.readJob(ctx, desk, id)
	if err != nil {
		return nil, err
	}
	err = desk.Refresh(ctx, id, control.DriveOptions{})
	if over := was.Body.Counts[sluice.Unknown] > 0 && was.Body.Unsettled == 0; over && sluice.CodeOf(err) == sluice.Conflict {
		_, err = desk.Follow(ctx, string(id), 0, func(sluice.Event) {}) // it was opened for that, and somebody was quicker to take it up
	}
	if err != nil {
		return nil, err
	}
	return c.readJob(ctx, desk, id)
}

func retry(ctx context.Context, c caller, in *withBudget) (*events, error) {
	most, err := budget(in.Body.MaxFailures)
	if err != nil {
		return nil, err
	}
	return c.goOn(ctx, in, act.Act{Kind: act.Retry, Hosts: in.Body.Hosts, MaxFailures: most})
}

// InNamespace is the path of one namespace.
type InNamespace struct {
	Namespace string `path:"namespace" maxLength:"64"`
}

type hostsOut struct {
	Body struct {
		Hosts []api.HostOut `json:"hosts"`
	}
}

type toChange struct {
	InNamespace
	Act  string `path:"act" enum:"hold,release,retire,return"`
	Body struct {
		Hosts  []sluice.Host `json:"hosts" minItems:"1"`
		Reason string        `json:"reason" minLength:"1" maxLength:"1000"`
		Seen   string        `json:"seen,omitempty" maxLength:"200" doc:"what the effect of this act said as seen: if that is not so any more, it is a conflict, and nothing is done"`
	}
}

func (a *API) addHosts() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "list-hosts-out", Method: http.MethodGet, Path: "/api/v1/namespaces/{namespace}/hosts/out",
		Tags: []string{"hosts"}, Summary: "Hosts that are out of service or retired"}, listOut)
	route(a, sluice.ChangeHosts, huma.Operation{OperationID: "change-hosts", Method: http.MethodPost, Path: "/api/v1/namespaces/{namespace}/hosts/{act}",
		Tags: []string{"hosts"}, Summary: "Hold, release, retire or return hosts", Errors: []int{http.StatusNotFound, http.StatusConflict}},
		func(ctx context.Context, c caller, in *toChange) (*events, error) {
			ns := sluice.Namespace(in.Namespace)
			if err := c.may(ctx, ns, in.Body.Hosts); err != nil {
				return nil, err
			}
			return changed(c.desk().Do(ctx, ns, act.Act{Kind: act.Kind(in.Act), Hosts: in.Body.Hosts, Reason: in.Body.Reason, Seen: in.Body.Seen}))
		})
}

func listOut(ctx context.Context, c caller, in *InNamespace) (*hostsOut, error) {
	ns := sluice.Namespace(in.Namespace)
	if err := c.mayLook(ctx, ns); err != nil {
		return nil, err
	}
	list, err := c.desk().Out(ctx, ns)
	if err != nil {
		return nil, err
	}
	out := &hostsOut{}
	out.Body.Hosts = make([]api.HostOut, len(list))
	for i, h := range list {
		out.Body.Hosts[i] = outOf(h)
	}
	return out, nil
}

func outOf(h schedule.HostInfo) api.HostOut {
	return api.HostOut{Holder: holderOf(h.Holder), Held: h.Held, Retired: h.Retired, By: h.By, Reason: h.Reason, Unknown: h.Unknown, Running: h.Running}
}
