package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/fleet"
	"sluice/internal/core/target"
	"sluice/internal/run/control"
)

type toSubmit struct {
	Key  string `header:"Idempotency-Key" maxLength:"200" doc:"the same key makes the same job, however often it is asked for"`
	Body api.Submit
}

func (a *API) addSubmit() {
	route(a, sluice.SubmitJob, huma.Operation{OperationID: "submit-job", Method: http.MethodPost, Path: "/api/v1/jobs", Tags: []string{jobTag},
		Summary: "Submit a job", Description: "To ask once more with the same id or key gives the job that is there.",
		MaxBodyBytes: fleet.MaxBundle + maxBody, Errors: []int{http.StatusConflict}}, submit)
}

func submit(ctx context.Context, c caller, in *toSubmit) (*oneJob, error) {
	desk := c.desk()
	r, given, err := c.request(ctx, desk, in.Body)
	if err != nil {
		return nil, err
	}
	if err := c.may(ctx, r.Fleet.Namespace, r.Targets); err != nil {
		return nil, err
	}
	if err := c.api.reachable(r); err != nil {
		return nil, err
	}
	d, err := desk.Prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	d.Job.Token = c.Token
	if d.Bound, err = c.bound(ctx, desk, r.Fleet.Namespace, given); err != nil {
		return nil, err
	}
	switch {
	case in.Body.ID != "" && in.Key != "":
		return nil, sluice.Errorf(sluice.Usage, "an id and a key are one too many")
	case in.Body.ID != "" && !in.Body.ID.Valid():
		return nil, sluice.Errorf(sluice.Usage, "id: %q is none: %d characters of %s are", in.Body.ID, sluice.JobIDLength, sluice.JobIDAlphabet)
	case in.Body.ID != "":
		d.Job.ID = in.Body.ID
	case in.Key != "":
		d.Job.ID = idOfKey(c.Principal, in.Key)
	}
	if _, err = desk.Submit(ctx, d); sluice.CodeOf(err) == sluice.Conflict {
		err = sameJob(ctx, desk, d, err)
	}
	if err != nil {
		return nil, err
	}
	return readJob(ctx, desk, d.Job.ID)
}

// sameJob reports whether the job that is there already is the one that is asked for: then it was submitted before, and
// only the answer was lost.
func sameJob(ctx context.Context, desk control.Desk, d *control.Draft, conflict error) error {
	j, _, err := desk.Job(ctx, string(d.Job.ID))
	if err != nil {
		return conflict
	}
	was, is := *j.Spec, d.Job
	was.Tracks, is.Tracks, was.Rules, is.Rules = nil, nil, "", "" // what the fleet made of it then
	was.Token, is.Token = "", ""                                  // a new one of the same person is no other job
	if !reflect.DeepEqual(asWritten(was), asWritten(is)) {
		return sluice.Errorf(sluice.Conflict, "job %s is there already, and is another one", d.Job.ID)
	}
	return nil
}

// asWritten is a job as the log gives it back.
func asWritten(j sluice.Job) (out sluice.Job) {
	if b, err := json.Marshal(j); err == nil {
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
	loaded, given, err := c.loaded(ctx, desk, s)
	if err != nil {
		return r, given, err
	}
	if r.Targets, err = loaded.Resolve(s.Targets); err != nil {
		return r, given, err
	}
	f := *loaded.Fleet()
	if s.Namespace != "" && given != nil && f.Namespace != s.Namespace {
		return r, given, sluice.Errorf(sluice.Usage, "namespace: the fleet is for %s, not for %s", f.Namespace, s.Namespace)
	}
	if s.Namespace != "" {
		f.Namespace = s.Namespace
	}
	if s.User != "" {
		if !target.ValidUser(s.User) {
			return r, given, sluice.Errorf(sluice.Usage, "user: %q is no name of a user", s.User)
		}
		f = control.LoginAs(f, s.User)
	}
	r.Fleet, r.Expression = &f, s.Targets
	if r.Options, err = optionsOf(s.Options); err != nil {
		return r, given, err
	}
	r.Command, r.Action, err = actionOf(s)
	return r, given, err
}

// loaded is the fleet that a job goes by: the one that was sent along, the one that was applied, or else just the names.
func (c caller) loaded(ctx context.Context, desk control.Desk, s api.Submit) (l *fleet.Loaded, given *fleet.Bundle, err error) {
	if s.Fleet != nil {
		data, err := json.Marshal(s.Fleet)
		if err != nil {
			return nil, nil, err
		}
		b, err := fleet.DecodeBundle(data)
		if err != nil {
			return nil, nil, err
		}
		l, err := b.Load()
		return l, &b, err
	}
	ns := s.Namespace
	if ns == "" {
		ns = sluice.DefaultNamespace
	}
	l, _, err = desk.Fleet(ctx, ns)
	if sluice.CodeOf(err) == sluice.NotFound {
		l, err = fleet.Adhoc(s.Targets)
	}
	return l, nil, err
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

func actionOf(s api.Submit) (text string, a sluice.Action, err error) {
	switch {
	case s.Command != "" && len(s.Argv) > 0:
		return "", a, sluice.Errorf(sluice.Usage, "command and argv both say what to run; one of them is enough")
	case strings.TrimSpace(s.Command) == "" && len(s.Argv) == 0:
		return "", a, sluice.Errorf(sluice.Usage, "there is no command")
	case len(s.Argv) > 0:
		s.Command = target.Quote(s.Argv...)
	}
	if !target.Sendable(s.Command) {
		return "", a, sluice.Errorf(sluice.Usage, "a command cannot have a NUL in it")
	}
	return s.Command, sluice.Action{Kind: sluice.RunCommand, Shell: s.Command}, nil
}

func optionsOf(in api.Options) (sluice.Options, error) {
	o := sluice.Options{Concurrency: in.Concurrency, ReadOnly: in.ReadOnly, Sudo: in.Sudo, Env: in.Env, NoHooks: in.NoHooks,
		Reconnect: sluice.DefaultReconnect, OutputLimit: sluice.DefaultOutputLimit}
	if o.Concurrency == 0 {
		o.Concurrency = sluice.DefaultConcurrency
	}
	for _, m := range []struct {
		name, text string
		to         **sluice.Amount
	}{{"max_failures", in.MaxFailures, &o.MaxFailures}, {"max_parallel", in.MaxParallel, &o.MaxParallel}} {
		if m.text != "" {
			amount, err := sluice.ParseAmount(m.text)
			if err != nil {
				return o, sluice.Errorf(sluice.Usage, "options.%s: %v", m.name, err)
			}
			*m.to = &amount
		}
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"timeout", in.Timeout, &o.Timeout}, {"job_timeout", in.JobTimeout, &o.JobTimeout}, {"reconnect", in.Reconnect, &o.Reconnect}} {
		if d.text != "" {
			t, err := time.ParseDuration(d.text)
			if err != nil || t < 0 {
				return o, sluice.Errorf(sluice.Usage, "options.%s: %q is no time such as 90s or 5m", d.name, d.text)
			}
			*d.to = t
		}
	}
	if o.Sudo != "" && !target.ValidUser(o.Sudo) {
		return o, sluice.Errorf(sluice.Usage, "options.sudo: %q is no name of a user", o.Sudo)
	}
	for name, value := range o.Env {
		if !target.ValidEnv(name) || !target.Sendable(value) {
			return o, sluice.Errorf(sluice.Usage, "options.env: %q is no name of letters, digits and _, or its value cannot be sent", name)
		}
	}
	return o, nil
}
