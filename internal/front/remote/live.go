package remote

import (
	"context"
	"time"

	"sluice"
	"sluice/client"
	"sluice/internal/core/live"
	"sluice/internal/core/schedule"
	"sluice/internal/core/validate"
	"sluice/internal/run/control"
)

// Live lists what is live, by app, environment and host. Where the server cannot read all, the rest comes with an error.
func (d *Desk) Live(ctx context.Context, q control.LiveQuery) ([]control.Live, error) {
	list, err := d.cfg.Client.Live(ctx, client.LiveQuery(q))
	out := make([]control.Live, len(list))
	for i, l := range list {
		out[i] = control.Live{Namespace: l.Namespace, Commit: l.Commit, Origin: l.Origin, Until: l.Until, State: live.State{
			Place: live.Place{App: l.App, Env: l.Env, Host: l.Host}, Known: l.State != "unknown", Changed: l.State == "changed", Failed: l.Failed,
			Live: sluice.Installed{Version: l.Version, Manifest: l.Manifest, Config: l.Config}, Config: l.Config, By: l.By, Job: l.Job, Last: l.Last,
			Before: sluice.Installed{Version: l.Before}}}
		if !out[i].Known {
			out[i].Why = live.Why(l.Reason)
		}
		if l.Since != nil {
			out[i].Since = *l.Since
		}
	}
	return out, err
}

// Releases lists deploys and rollbacks, newest first. Where the server cannot read all, the rest comes with an error.
func (d *Desk) Releases(ctx context.Context, q control.LiveQuery) ([]control.Released, error) {
	list, err := d.cfg.Client.Releases(ctx, client.LiveQuery(q), 0)
	out := make([]control.Released, len(list))
	for i, r := range list {
		out[i] = control.Released{Namespace: r.Namespace, State: schedule.JobState(r.State), Failed: r.Failed, On: r.Live, Until: r.Until,
			Release: live.Release{Job: r.Job, Kind: r.Kind, App: r.App, Env: r.Env, Version: r.Version, Config: r.Config, Commit: r.Commit, By: r.By,
				Submitted: r.Submitted, Targets: r.Hosts, Changed: r.Changed},
			Latency: live.Latency{Hosts: r.Measured, P50: ms(r.LatencyMS), P99: ms(r.LatencyP99MS)}}
		if v := r.Validation; v != nil {
			out[i].Validated = &validate.Result{State: validate.State(v.State), Job: v.Job, Reason: v.Reason}
		}
		if r.Ended != nil {
			out[i].Ended = *r.Ended
		}
	}
	return out, err
}

// Latencies says how long it took from commit to live over time. Where the server cannot read all, the rest comes with an error.
func (d *Desk) Latencies(ctx context.Context, q control.LiveQuery, most int) ([]control.Latencies, error) {
	list, err := d.cfg.Client.Latencies(ctx, client.LiveQuery(q), most)
	out := make([]control.Latencies, len(list))
	for i, l := range list {
		out[i] = control.Latencies{Namespace: l.Namespace, Period: live.Period{App: l.App, Env: l.Env, From: l.From, Days: l.Days, Releases: l.Releases,
			Latency: live.Latency{Hosts: l.Hosts, P50: ms(l.LatencyMS), P99: ms(l.LatencyP99MS)}}}
	}
	return out, err
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
