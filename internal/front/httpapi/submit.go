package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/spans"
	"sluice/internal/core/target"
	"sluice/internal/run/control"
)

type toSubmit struct {
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"the same key makes the same job, however often it is asked for"`
	// Trace is the span of somebody else that the job belongs to. What is none is passed over, as the standard wants it.
	Trace string `header:"Traceparent" maxLength:"200" doc:"the trace that the job's own spans are to be part of (W3C Trace Context)"`
	Body  api.Submit
}

// maxSubmit is the number of bytes of a job with a fleet.
const maxSubmit = fleet.MaxBundle + maxBody

func (a *API) addSubmit() {
	route(a, sluice.SubmitJob, huma.Operation{OperationID: "submit-job", Method: http.MethodPost, Path: "/api/v1/jobs", Tags: []string{jobTag},
		Summary: "Submit a job", Description: "To ask once more with the same id or key gives the job that is there.",
		MaxBodyBytes: maxSubmit, Errors: []int{http.StatusConflict}}, submit)
}

func submit(ctx context.Context, c caller, in *toSubmit) (*oneJob, error) {
	return c.submit(ctx, in, "")
}

// submit submits a job; reason is why it exists, where nobody asked for it.
func (c caller) submit(ctx context.Context, in *toSubmit, reason string) (*oneJob, error) {
	desk := c.desk()
	id, err := c.idOf(in)
	if err != nil {
		return nil, err
	}
	r, given, err := c.wanted(ctx, desk, in.Body)
	if err != nil {
		return nil, err
	}
	if id != "" {
		if there, err := sameJob(ctx, desk, id, string(c.Principal), r); there || err != nil {
			return c.answerJob(ctx, desk, id, err)
		}
	}
	d, err := c.draft(ctx, desk, in, id, r, given)
	if err != nil {
		return nil, err
	}
	d.Job.Reason = reason
	if err := c.maySupersede(ctx, desk, d); err != nil {
		return nil, err
	}
	undo, err := c.secrets(ctx, &d.Job, in.Body.Secrets, putFirst)
	if err != nil {
		return nil, err
	}
	if _, err = desk.Submit(ctx, d); err != nil {
		undo()
	} else {
		c.api.cfg.Submitted()
	}
	if sluice.CodeOf(err) == sluice.Conflict && id != "" { // somebody was as quick
		if there, other := sameJob(ctx, desk, id, string(c.Principal), r); there || other != nil {
			err = other
		}
	}
	return c.answerJob(ctx, desk, d.Job.ID, err)
}

// maySupersede asks for the right to cancel what has the lock of a draft that takes it, and notes those jobs in the draft.
func (c caller) maySupersede(ctx context.Context, desk *control.Service, d *control.Draft) error {
	o := d.Job.Options
	if !o.Supersede {
		return nil
	}
	there, err := desk.Locked(ctx, d.Job.Namespace, o.Lock)
	if err != nil {
		return err
	}
	c.right, d.Supersedes = sluice.ControlJob, []sluice.JobID{}
	for _, j := range there {
		if err := c.may(ctx, d.Job.Namespace, j.Targets); err != nil {
			return err
		}
		d.Supersedes = append(d.Supersedes, j.ID)
	}
	return nil
}

// wanted is what is asked for, if the caller may ask for it.
func (c caller) wanted(ctx context.Context, desk control.Desk, s api.Submit) (r control.Request, given *fleet.Bundle, err error) {
	if r, given, err = c.request(ctx, desk, s); err != nil {
		return r, given, err
	}
	if err := c.may(ctx, r.Fleet.Namespace, r.Targets); err != nil {
		return r, given, err
	}
	if err := c.api.reachable(r); err != nil {
		return r, given, err
	}
	if r.Command, r.Action, err = actionOf(ctx, desk, s); err != nil {
		return r, given, err
	}
	return r, given, c.balancers(ctx, &r)
}

// balancers asks for the right to the hosts of balancers: what is done there is done with what the server reaches hosts with. How
// they are reached is the fleet's to say, and nobody else's.
func (c caller) balancers(ctx context.Context, r *control.Request) error {
	if r.Action.Release == nil || len(r.Action.Release.Deploy.Balancers) == 0 {
		return nil
	}
	rel := *r.Action.Release
	var err error
	if rel.Deploy.Balancers, err = release.Balancers(rel.Deploy.Balancers, r.Fleet, nil); err != nil {
		return err
	}
	r.Action.Release = &rel
	for i := range rel.Deploy.Balancers {
		b := &rel.Deploy.Balancers[i]
		if b.On == "" {
			continue
		}
		if b.SSH.Transport == "local" && !c.api.cfg.Local {
			return sluice.Errorf(sluice.Denied, "the balancer's host %s is this server's own machine (transport: local), and it runs no commands on itself", b.On)
		}
		if err := c.may(ctx, r.Fleet.Namespace, []sluice.Host{b.On}); err != nil {
			return err
		}
	}
	return nil
}

// validating asks for the right to the hosts on which a release is validated once it is everywhere: nothing of it starts where that
// could not follow.
func (c caller) validating(ctx context.Context, d *control.Draft) error {
	v := d.Job.Action.Validation()
	if v == nil {
		return nil
	}
	on := d.Job.Action.Release.Validating
	for _, h := range on.Hosts {
		ssh, own := on.HostSSH[h]
		if !own {
			ssh = d.Job.SSH
		}
		if ssh.Transport == "local" && !c.api.cfg.Local {
			return sluice.Errorf(sluice.Denied, "%s, on which this release would be validated, is this server's own machine (transport: local), and it runs no commands on itself", h)
		}
	}
	if err := c.may(ctx, d.Job.Namespace, on.Hosts); err != nil {
		return &sluice.Error{Code: sluice.CodeOf(err), Text: fmt.Sprintf("this release would be validated on %s", fleet.Fold(on.Hosts)), Err: err}
	}
	return nil
}

// draft is the job that is asked for, as it would be submitted.
func (c caller) draft(ctx context.Context, desk control.Desk, in *toSubmit, id sluice.JobID, r control.Request, given *fleet.Bundle) (*control.Draft, error) {
	if err := sameFleet(in.Body.FleetDigest, r); err != nil {
		return nil, err
	}
	d, err := desk.Prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := c.validating(ctx, d); err != nil {
		return nil, err
	}
	d.Job.Token = c.Token
	bound, err := c.bound(ctx, desk, r.Fleet.Namespace, given)
	if err != nil {
		return nil, err
	}
	d.Bound = d.Bound || bound
	if id != "" {
		d.Job.ID = id
	}
	if _, ok := spans.ParseParent(in.Trace); ok {
		d.Job.Trace = in.Trace
	}
	d.Job.Token = c.Token
	return d, nil
}

func (c caller) answerJob(ctx context.Context, desk control.Desk, id sluice.JobID, err error) (*oneJob, error) {
	if err != nil {
		return nil, err
	}
	return c.readJob(ctx, desk, id)
}

// idOf is the id that whoever asks wants, or that its key makes; "" leaves it to chance.
func (c caller) idOf(in *toSubmit) (sluice.JobID, error) {
	switch {
	case in.Body.ID != "" && in.Key != "":
		return "", sluice.Errorf(sluice.Usage, "an id and a key are one too many")
	case in.Body.ID != "" && !in.Body.ID.Valid():
		return "", sluice.Errorf(sluice.Usage, "id: %q is none: %d characters of %s are", in.Body.ID, sluice.JobIDLength, sluice.JobIDAlphabet)
	case in.Key != "":
		return idOfKey(c.Principal, in.Key), nil
	}
	return in.Body.ID, nil
}

// sameFleet holds a job to the version of the fleet that it was planned on.
func sameFleet(digest string, r control.Request) error {
	if digest == "" || digest == r.Sent.Digest {
		return nil
	}
	return sluice.Errorf(sluice.Conflict, "the fleet of %s was changed since this was planned; nothing was done", r.Fleet.Namespace).
		WithHint("look at the plan again")
}

// sameJob reports whether there is a job already that is the one that is asked for: then it was submitted before, and
// only the answer was lost. Another one with that id is a conflict. What the fleet made of it then does not count: it may
// have changed since.
func sameJob(ctx context.Context, desk control.Desk, id sluice.JobID, by string, r control.Request) (bool, error) {
	j, _, err := desk.Job(ctx, string(id))
	if sluice.CodeOf(err) == sluice.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	was := *j.Spec
	type asked struct {
		Namespace               sluice.Namespace
		By, Expression, Command string
		Action                  sluice.Action
		Options                 sluice.Options
	}
	is := asked{r.Fleet.Namespace, by, r.Expression, r.Command, unchosen(r.Action), r.Options}
	if !reflect.DeepEqual(asWritten(asked{was.Namespace, was.By, was.Expression, was.Command, unchosen(was.Action), was.Options}), asWritten(is)) {
		return false, sluice.Errorf(sluice.Conflict, "job %s is there already, and is another one", id).
			WithHint("another job needs another id or key")
	}
	return true, nil
}

// unchosen is an action as it is asked for: which hosts run what a release runs once, and where it is validated, is found when the job
// is made, and its provenance may be kept no more when the same is asked for again.
func unchosen(a sluice.Action) sluice.Action {
	if a.Release != nil {
		rel := *a.Release
		rel.Once, rel.After, rel.Provenance, rel.Validating, a.Release = "", "", "", nil, &rel
	}
	return a
}

// asWritten is a value as the log gives it back.
func asWritten[T any](v T) (out T) {
	if b, err := json.Marshal(v); err == nil {
		_ = json.Unmarshal(b, &out)
	}
	return out
}

// idOfKey is the id that a key of a principal always makes.
func idOfKey(p sluice.Principal, key string) sluice.JobID {
	sum := sha256.Sum256([]byte(string(p) + "\x00" + key))
	id := make([]byte, sluice.JobIDLength)
	for i := range id {
		id[i] = sluice.JobIDAlphabet[int(sum[i])%len(sluice.JobIDAlphabet)]
	}
	return sluice.JobID(id)
}

// request makes of what was sent what control takes. given is the fleet that was sent along, or nil.
func (c caller) request(ctx context.Context, desk control.Desk, s api.Submit) (r control.Request, given *fleet.Bundle, err error) {
	loaded, version, given, err := c.loaded(ctx, desk, s)
	if err != nil {
		return r, given, err
	}
	r, err = requestIn(loaded, version, given, s)
	return r, given, err
}

// requestIn makes of what was sent what control takes, in the fleet that it goes by.
func requestIn(loaded *fleet.Loaded, version control.Applied, given *fleet.Bundle, s api.Submit) (r control.Request, err error) {
	if r.Targets, err = loaded.Resolve(s.Targets); err != nil {
		return r, err
	}
	f := *loaded.Fleet()
	if s.Namespace != "" && given != nil && f.Namespace != s.Namespace {
		return r, sluice.Errorf(sluice.Usage, "namespace: the fleet is for %s, not for %s", f.Namespace, s.Namespace)
	}
	if s.Namespace != "" {
		f.Namespace = s.Namespace
	}
	if s.User != "" {
		if !target.ValidUser(s.User) {
			return r, sluice.Errorf(sluice.Usage, "user: %q is no name of a user", s.User)
		}
		f = control.LoginAs(f, s.User)
	}
	if dir := s.Options.Hooks; dir != "" {
		if !path.IsAbs(dir) || !target.Sendable(dir) {
			return r, sluice.Errorf(sluice.Usage, "options.hooks: %q is no absolute path", dir)
		}
		f = control.WithHooks(f, dir)
	}
	if err := checkLook(s); err != nil {
		return r, err
	}
	r.Fleet, r.Expression, r.Resolve, r.Sent.Digest, r.Look = &f, s.Targets, loaded.Resolve, version.Bundle, s.Look
	r.Options, err = optionsOf(s.Options)
	if s.Ask != nil {
		ask := release.Ask(*s.Ask)
		r.Ask = &ask
	}
	r.Options.ReadOnly = r.Options.ReadOnly || s.Fetch != "" || s.Ask != nil
	return r, err
}

func checkLook(s api.Submit) error {
	const most = 1000
	switch l := s.Look; {
	case l == nil:
	case s.Release == nil:
		return sluice.Errorf(sluice.Usage, "look: only a job of a release is made from one")
	case len(l.Again) > sluice.MaxAgain || len(l.Own) > most:
		return sluice.Errorf(sluice.Usage, "look: it has at most %d jobs of its own, and %d bytes that say what to type", most, sluice.MaxAgain)
	}
	return nil
}

// loaded is the fleet that a job goes by: the one that was sent along, the one that was applied, or else just the names.
func (c caller) loaded(ctx context.Context, desk control.Desk, s api.Submit) (l *fleet.Loaded, v control.Applied, given *fleet.Bundle, err error) {
	if s.Fleet != nil {
		data, err := json.Marshal(s.Fleet)
		if err != nil {
			return nil, v, nil, err
		}
		b, err := fleet.DecodeBundle(data)
		if err != nil {
			return nil, v, nil, err
		}
		l, err := b.Load()
		return l, v, &b, err
	}
	ns := s.Namespace
	if ns == "" {
		ns = sluice.DefaultNamespace
	}
	l, v, err = desk.Fleet(ctx, ns)
	if sluice.CodeOf(err) == sluice.NotFound {
		l, err = fleet.Adhoc(s.Targets)
	}
	return l, v, nil, err
}

// bound reports whether a job must go by the rules in force. A fleet that was sent along says more than rules: where a
// host is reached, by which key, and what a tag has in it. So unless it is the one that was applied, it takes the right to
// apply one.
func (c caller) bound(ctx context.Context, desk control.Desk, ns sluice.Namespace, given *fleet.Bundle) (bool, error) {
	if given == nil {
		return true, nil
	}
	digest, err := given.Digest()
	if err != nil {
		return true, err
	}
	_, is, err := desk.FleetAt(ctx, ns, control.FleetAt{})
	switch {
	case err == nil && is.Bundle == digest:
		return true, nil
	case err != nil && sluice.CodeOf(err) != sluice.NotFound:
		return true, err
	}
	c.right = sluice.ApplyFleet
	return false, c.ask(ctx, access.Ask{Right: c.right, Namespace: ns})
}

// reachable refuses commands on the server's own machine: who may apply a fleet may not therefore act as the server.
func (a *API) reachable(r control.Request) error {
	for _, h := range r.Targets {
		if r.Fleet.SSHFor(h).Transport == "local" && !a.cfg.Local {
			return sluice.Errorf(sluice.Denied, "host %s is this server's own machine (transport: local), and it runs no commands on itself", h).
				WithHint("reach it by ssh, as any other host")
		}
	}
	return nil
}
