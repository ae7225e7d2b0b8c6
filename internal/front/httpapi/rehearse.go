package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/rehearse"
	"sluice/internal/run/control"
)

type toRehearse struct{ Body api.Rehearse }

type oneRehearsal struct{ Body api.Rehearsal }

// Rehearsals cost more than other questions: a slider that is drawn may ask for some a second, and a loop gets no further.
const (
	rehearsalRate, rehearsalBurst = 10, 60
	// rehearsalsAtOnce leaves processors to what drives jobs.
	rehearsalsAtOnce = 1
	rehearsalTime    = 10 * time.Second
)

func (a *API) addRehearse() {
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "rehearse-job", Method: http.MethodPost, Path: "/api/v1/rehearse", Tags: []string{jobTag},
		Summary: "How a job would go", Description: "It takes what submitting takes, and carries it out against simulated hosts: how it is planned " +
			"and what may start when is decided as in a run. The same seed gives the same rehearsal. What is to run need not be said.",
		MaxBodyBytes: maxSubmit, Errors: []int{http.StatusTooManyRequests}}, rehearseJob)
}

func rehearseJob(ctx context.Context, c caller, in *toRehearse) (*oneRehearsal, error) {
	if wait := c.api.rehearsals.take(string(c.Principal), c.api.cfg.Clock()); wait > 0 {
		return nil, tooOften(wait, "too many rehearsals")
	}
	d, loaded, err := c.drafted(ctx, in.Body.Submit)
	if err != nil {
		return nil, err
	}
	o, err := pretence(in.Body.Rehearsal, loaded.Resolve)
	if err != nil {
		return nil, err
	}
	if !in.Body.Rehearsal.Fresh {
		if o.Out, o.Held, err = c.outNow(ctx, d); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, rehearsalTime)
	defer cancel()
	select {
	case c.api.rehearsing <- struct{}{}:
		defer func() { <-c.api.rehearsing }()
	case <-ctx.Done():
		return nil, sluice.Errorf(sluice.Contact, "the server has too much to do to rehearse this now")
	}
	o.Stop = func() bool { return ctx.Err() != nil }
	r, err := rehearse.Run(d.Fleet, d.Rules, rehearse.Pretend(d.Job, d.Rules, o.Seed), o, func(sluice.Event) {})
	if errors.Is(err, rehearse.ErrStopped) {
		return nil, sluice.Errorf(sluice.Contact, "the rehearsal took longer than %v", rehearsalTime).WithHint("sluice rehearse has all the time it takes")
	}
	if err != nil {
		return nil, err
	}
	return &oneRehearsal{rehearsalOf(r, d, o)}, nil
}

// pretence is how the simulated hosts behave.
func pretence(p api.Pretence, resolve func(string) ([]sluice.Host, error)) (rehearse.Options, error) {
	o := rehearse.Options{Seed: p.Seed, Start: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), Duration: rehearse.DefaultDuration,
		PatienceFor: rehearse.DefaultPatience}
	if o.Seed == 0 {
		o.Seed = 1
	}
	var err error
	if p.Duration != "" {
		if o.Duration, err = time.ParseDuration(p.Duration); err != nil || o.Duration <= 0 || o.Duration > rehearse.DefaultPatience {
			return o, sluice.Errorf(sluice.Usage, "rehearsal.duration: %q is no time such as 30s or 5m, up to %v", p.Duration, rehearse.DefaultPatience)
		}
	}
	if p.Jitter != "" {
		if o.Jitter, err = rehearse.ParseShare(p.Jitter); err != nil {
			return o, fmt.Errorf("rehearsal.jitter: %w", err)
		}
	}
	for _, c := range []struct {
		name, text string
		to         *rehearse.Chance
	}{{"fail", p.Fail, &o.Fail}, {"hang", p.Hang, &o.Hang}, {"lose", p.Lose, &o.Lose}} {
		if *c.to, err = rehearse.ParseChance(c.text, resolve); err != nil {
			return o, fmt.Errorf("rehearsal.%s: %w", c.name, err)
		}
	}
	return o, nil
}

// outNow are the hosts of the fleet that hold places: those whose last outcome was bad, and those that somebody holds. Where
// something runs, it is taken to end well.
func (c caller) outNow(ctx context.Context, d *control.Draft) (out, held []sluice.Host, err error) {
	hosts, err := c.desk().Out(ctx, d.Job.Namespace)
	if err != nil {
		return nil, nil, err
	}
	known := setOf(d.Fleet.Hosts)
	for _, h := range hosts {
		switch {
		case h.Retired, !known[h.Host], h.Running:
		case h.Held:
			held = append(held, h.Host)
		default:
			out = append(out, h.Host)
		}
	}
	return out, held, nil
}

func rehearsalOf(r rehearse.Result, d *control.Draft, o rehearse.Options) api.Rehearsal {
	out := api.Rehearsal{End: r.End(), State: "unfinished", Seconds: r.Total.Seconds(), Targets: len(d.Job.Targets), Counts: r.Counts,
		Most: r.Most, OutBefore: some(append(o.Out[:len(o.Out):len(o.Out)], o.Held...)), Stages: []api.RehearsedStage{}, Peaks: []api.Peak{},
		Points: make([]api.RehearsalPoint, len(r.Points))}
	switch b := r.Last.Body.(type) {
	case sluice.JobFinished:
		out.State = string(b.Outcome)
	case sluice.JobHalted:
		out.State = "halted"
		out.Halted = &api.Halted{Rule: b.Rule, Reason: b.Reason, Constraint: b.Constraint, Group: b.Group}
		out.Holding = some(b.Holders)
	}
	started := 0
	for _, s := range r.Stages {
		started += s.Hosts
		out.Stages = append(out.Stages, api.RehearsedStage{Track: s.Track, Stage: s.Stage, Hosts: s.Hosts, AtOnce: s.Peak,
			From: s.From.Seconds(), To: s.To.Seconds(), Outcomes: s.Outcomes})
	}
	out.NotStarted = len(d.Job.Targets) - started
	for _, p := range first(r.Peaks, many) {
		out.Peaks = append(out.Peaks, api.Peak{Tag: p.Tag, Members: p.Members, Out: p.Out})
	}
	out.MorePeaks = max(0, len(r.Peaks)-many)
	for i, p := range r.Points {
		out.Points[i] = api.RehearsalPoint{At: p.At.Seconds(), Running: p.Running, Out: p.Out, Ended: p.Ended, Failed: p.Failed}
	}
	return out
}
