package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sluice"
	"sluice/api"
	"sluice/sealed"
)

// JobsQuery says which jobs.
type JobsQuery struct {
	Namespace sluice.Namespace // "": all that one may see
	State     string           // "": all; several with commas between them
	By        string           // who submitted it; "": anybody
	Tag       string           // of one of its targets; "": any
	Text      string           // in its command, its id, or in why it is halted; "": any
	Since     time.Time        // submitted then or later; zero: any time
	Until     time.Time        // submitted before; zero: any time
	Most      int              // 0: all
}

// Jobs lists jobs, newest first.
func (c *Client) Jobs(ctx context.Context, q JobsQuery) ([]api.Job, error) {
	const page = 1000
	v := url.Values{"limit": {strconv.Itoa(page)}}
	if q.Most > 0 {
		v.Set("limit", strconv.Itoa(min(q.Most, page)))
	}
	if q.Namespace != "" {
		v.Set("namespace", string(q.Namespace))
	}
	for name, value := range map[string]string{"state": q.State, "by": q.By, "tag": q.Tag, "text": q.Text} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339))
		}
	}
	var out []api.Job
	for {
		got, err := ask[struct {
			Jobs []api.Job `json:"jobs"`
			Next string    `json:"next"`
		}](ctx, c, request{path: []string{"jobs"}, query: v})
		if err != nil {
			return nil, err
		}
		out = append(out, got.Jobs...)
		if got.Next == "" || q.Most > 0 && len(out) >= q.Most {
			return out, nil
		}
		v.Set("cursor", got.Next)
	}
}

// Search finds jobs, hosts and people by a piece of their names, at most so many of each.
func (c *Client) Search(ctx context.Context, text string, most int) (api.Found, error) {
	return ask[api.Found](ctx, c, request{path: []string{"search"}, query: url.Values{"text": {text}, "limit": {strconv.Itoa(most)}}})
}

// About says how the server is.
func (c *Client) About(ctx context.Context) (api.Server, error) {
	return ask[api.Server](ctx, c, request{path: []string{"server"}})
}

// Job is what is known of a job. id may be the beginning of its id.
func (c *Client) Job(ctx context.Context, id string) (api.Job, error) {
	j, err := ask[api.Job](ctx, c, request{path: []string{"jobs", id}})
	for _, h := range j.Kept {
		c.keptIs(&h)
	}
	return j, err
}

// Why says why hosts of a job wait: of one host, or of all for "".
func (c *Client) Why(ctx context.Context, id string, h sluice.Host) ([]api.Reason, error) {
	v := url.Values{}
	if h != "" {
		v.Set("host", string(h))
	}
	got, err := ask[struct {
		Reasons []api.Reason `json:"reasons"`
	}](ctx, c, request{path: []string{"jobs", id, "why"}, query: v})
	return got.Reasons, err
}

// Waits sums up what hosts of a job wait for.
func (c *Client) Waits(ctx context.Context, id string) ([]api.Wait, error) {
	got, err := ask[struct {
		Waits []api.Wait `json:"waits"`
	}](ctx, c, request{path: []string{"jobs", id, "why"}, query: url.Values{"summary": {"true"}}})
	return got.Waits, err
}

// HostsOut lists the hosts of a namespace that are out of service or retired.
func (c *Client) HostsOut(ctx context.Context, ns sluice.Namespace) ([]api.HostOut, error) {
	got, err := ask[struct {
		Hosts []api.HostOut `json:"hosts"`
	}](ctx, c, request{path: []string{"namespaces", string(ns), "hosts", "out"}})
	return got.Hosts, err
}

type reasonBody struct {
	Hosts  []sluice.Host `json:"hosts,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

type budgetBody struct {
	MaxFailures string          `json:"max_failures,omitempty"`
	Hosts       []sluice.Host   `json:"hosts,omitempty"`
	Secrets     sealed.Envelope `json:"secrets,omitempty"`
}

// change asks for a change and returns the events that it made. Every change is safe to be sent once more by the
// caller: what is so already is a conflict, and changes nothing.
func (c *Client) change(ctx context.Context, body any, path ...string) ([]sluice.Event, error) {
	got, err := once[struct {
		Events []sluice.Event `json:"events"`
	}](ctx, c, request{method: http.MethodPost, path: path, body: body})
	return got.Events, err
}

// Halt starts nothing more of a job and lets what runs end. It is asked again where no answer came: a job that is
// halting stays so. Where a server keeps it there are no events: see HaltKept.
func (c *Client) Halt(ctx context.Context, id sluice.JobID, reason string) (made []sluice.Event, err error) {
	err = c.again(ctx, func() error {
		got, err := once[struct {
			Events []sluice.Event `json:"events"`
			Kept   *api.KeptHalt  `json:"kept"`
		}](ctx, c, request{method: http.MethodPost, path: []string{"jobs", string(id), "halt"}, body: reasonBody{Reason: reason}, again: true})
		if err == nil {
			made = got.Events
			c.keptIs(got.Kept)
		}
		return err
	})
	return made, err
}

func (c *Client) keptIs(h *api.KeptHalt) {
	if h != nil && c.HaltKept != nil {
		c.HaltKept(*h)
	}
}

// Cancel starts nothing more of a job and kills what runs. It is asked again where no answer came.
func (c *Client) Cancel(ctx context.Context, id sluice.JobID, reason string) (made []sluice.Event, err error) {
	err = c.again(ctx, func() error {
		made, err = c.change(ctx, reasonBody{Reason: reason}, "jobs", string(id), "cancel")
		return err
	})
	return made, err
}

// Settle asks the hosts of a job for outcomes that are not known, and returns when they have answered.
func (c *Client) Settle(ctx context.Context, id sluice.JobID) (api.Job, error) {
	return once[api.Job](ctx, c, request{method: http.MethodPost, path: []string{"jobs", string(id), "settle"}, body: struct{}{}})
}

func budgetText(m *sluice.Amount) string {
	if m == nil {
		return ""
	}
	return m.String()
}

// Resume lets a halted job go on, with a new budget unless it is nil.
func (c *Client) Resume(ctx context.Context, id sluice.JobID, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return c.change(ctx, budgetBody{MaxFailures: budgetText(maxFailures)}, "jobs", string(id), "resume")
}

// Retry tries hosts of a job again: those that failed, where none are named.
func (c *Client) Retry(ctx context.Context, id sluice.JobID, hosts []sluice.Host, maxFailures *sluice.Amount) ([]sluice.Event, error) {
	return c.change(ctx, budgetBody{MaxFailures: budgetText(maxFailures), Hosts: hosts}, "jobs", string(id), "retry")
}

// Skip leaves hosts of a job out.
func (c *Client) Skip(ctx context.Context, id sluice.JobID, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	return c.change(ctx, reasonBody{hosts, reason}, "jobs", string(id), "skip")
}

// Approve lets a job through a gate; stage says which where several wait, plan the digest of what was looked at ("" is
// whatever the job is).
func (c *Client) Approve(ctx context.Context, id sluice.JobID, stage, plan string) ([]sluice.Event, error) {
	return c.change(ctx, approveBody{Stage: stage, Plan: plan}, "jobs", string(id), "approve")
}

type approveBody struct {
	Stage  string          `json:"stage,omitempty"`
	Plan   string          `json:"plan,omitempty"`
	Signed sealed.Approval `json:"signed,omitempty"`
}

// ChangeHosts holds, releases, retires or returns ("hold", "release", "retire", "return") hosts.
func (c *Client) ChangeHosts(ctx context.Context, ns sluice.Namespace, act string, hosts []sluice.Host, reason string) ([]sluice.Event, error) {
	return c.change(ctx, reasonBody{hosts, reason}, "namespaces", string(ns), "hosts", act)
}

// Submit submits a job. A job with an id of one's own choice is made once, however often it is submitted: so it is
// submitted again where no answer came.
func (c *Client) Submit(ctx context.Context, s api.Submit) (api.Job, error) {
	return c.submit(ctx, s, "")
}

// SubmitOnce submits a job under a key of one's own choice: the same key makes the same job, however often it is submitted.
func (c *Client) SubmitOnce(ctx context.Context, s api.Submit, key string) (api.Job, error) {
	if key == "" || s.ID != "" {
		return api.Job{}, sluice.Errorf(sluice.Usage, "a job that is submitted under a key has a key, and no id")
	}
	return c.submit(ctx, s, key)
}

func (c *Client) submit(ctx context.Context, s api.Submit, key string) (j api.Job, err error) {
	r := request{method: http.MethodPost, path: []string{"jobs"}, body: s}
	if key != "" {
		r.header = http.Header{"Idempotency-Key": {key}}
	}
	if s.ID == "" && key == "" {
		return once[api.Job](ctx, c, r)
	}
	err = c.times(ctx, submitTries, func() error {
		j, err = once[api.Job](ctx, c, r)
		return err
	})
	return j, err
}

// Plan says what a job would do, and does nothing. What is to run need not be said.
func (c *Client) Plan(ctx context.Context, s api.Submit) (p api.Plan, err error) {
	err = c.again(ctx, func() error {
		p, err = once[api.Plan](ctx, c, request{method: http.MethodPost, path: []string{"plan"}, body: s, question: true})
		return err
	})
	return p, err
}

// PlanFiles says what a deploy would change in the files of its hosts, against what is live there, and does nothing.
func (c *Client) PlanFiles(ctx context.Context, s api.Submit) (p api.RenderedChanges, err error) {
	err = c.again(ctx, func() error {
		p, err = once[api.RenderedChanges](ctx, c, request{method: http.MethodPost, path: []string{"plan", "files"}, body: s, question: true})
		return err
	})
	return p, err
}

// PlanNames is Plan with at most so many names in each list: the numbers are whole.
func (c *Client) PlanNames(ctx context.Context, s api.Submit, names int) (p api.Plan, err error) {
	err = c.again(ctx, func() error {
		p, err = once[api.Plan](ctx, c, request{method: http.MethodPost, path: []string{"plan"}, query: url.Values{"names": {strconv.Itoa(names)}}, body: s, question: true})
		return err
	})
	return p, err
}

// Rehearse says how a job would go on simulated hosts.
func (c *Client) Rehearse(ctx context.Context, r api.Rehearse) (out api.Rehearsal, err error) {
	err = c.again(ctx, func() error {
		out, err = once[api.Rehearsal](ctx, c, request{method: http.MethodPost, path: []string{"rehearse"}, body: r, question: true})
		return err
	})
	return out, err
}

// Asked is what was asked for when a job was submitted, to ask for it again.
func (c *Client) Asked(ctx context.Context, job string) (api.Asked, error) {
	return ask[api.Asked](ctx, c, request{path: []string{"jobs", job, "request"}})
}

// Board is a job as a page shows it, at one number of the log.
func (c *Client) Board(ctx context.Context, id string) (api.Board, error) {
	return ask[api.Board](ctx, c, request{path: []string{"jobs", id, "board"}})
}

// JobStanding is where a job stands, with the room that it has.
func (c *Client) JobStanding(ctx context.Context, id string) (api.JobStanding, error) {
	return ask[api.JobStanding](ctx, c, request{path: []string{"jobs", id, "standing"}})
}

// Timeline is how many hosts of a job were in flight, out of service and done: of a group of constraints or of a tag, or of
// all for "".
func (c *Client) Timeline(ctx context.Context, id, group string) (api.Timeline, error) {
	v := url.Values{}
	if group != "" {
		v.Set("group", group)
	}
	return ask[api.Timeline](ctx, c, request{path: []string{"jobs", id, "timeline"}, query: v})
}

// EffectQuery says which act an effect is asked of.
type EffectQuery struct {
	Act         string
	Hosts       []sluice.Host
	Stage, Plan string         // of an approval
	MaxFailures *sluice.Amount // of a resume or retry
}

func (q EffectQuery) values() url.Values {
	v := url.Values{"act": {q.Act}}
	for _, h := range q.Hosts {
		v.Add("host", string(h))
	}
	for name, text := range map[string]string{"stage": q.Stage, "plan": q.Plan, "max_failures": budgetText(q.MaxFailures)} {
		if text != "" {
			v.Set(name, text)
		}
	}
	return v
}

// Effect says what an act would do to a job, and does nothing.
func (c *Client) Effect(ctx context.Context, id sluice.JobID, q EffectQuery) (api.Effect, error) {
	return ask[api.Effect](ctx, c, request{path: []string{"jobs", string(id), "effect"}, query: q.values()})
}

// HostsEffect says what an act on hosts would do, and does nothing.
func (c *Client) HostsEffect(ctx context.Context, ns sluice.Namespace, q EffectQuery) (api.Effect, error) {
	return ask[api.Effect](ctx, c, request{path: []string{"namespaces", string(ns), "hosts", "effect"}, query: q.values()})
}
