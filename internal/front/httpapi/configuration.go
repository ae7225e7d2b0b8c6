package httpapi

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/config"
	"sluice/internal/core/release"
	"sluice/internal/run/control"
)

// mostConfigured bounds how much of configurations is read for one answer, in bytes.
const mostConfigured = 64 << 20

type configurationOf struct {
	ByID
	Host string `query:"host" maxLength:"255" doc:"whose; without it that of most hosts, or of the first one that goes back"`
}

type oneConfiguration struct{ Body api.Configuration }

func (a *API) addConfiguration() {
	route(a, sluice.SeeOutput, huma.Operation{OperationID: "get-job-configuration", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/configuration", Tags: []string{jobTag},
		Summary: "The configuration that a job deploys, or brings a host back to", Errors: []int{http.StatusNotFound},
		Description: "As it was frozen when the job was submitted, with what each layer said. What is sealed stays sealed. It takes the right to see output, as it may say " +
			"as much as that, and the read is noted in the audit, once in five minutes."}, getConfiguration)
}

func getConfiguration(ctx context.Context, c caller, in *configurationOf) (*oneConfiguration, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	j, err := deploying(ctx, desk, id)
	if err != nil {
		return nil, err
	}
	out, err := c.configuredBy(ctx, desk, j, sluice.Host(in.Host))
	if err != nil {
		return nil, err
	}
	if err := c.reads(ctx, ""); err != nil {
		return nil, err
	}
	return &oneConfiguration{*out}, nil
}

// configuredBy is the configuration of a host; of "" the one of most hosts.
func (c caller) configuredBy(ctx context.Context, desk *control.Service, j *sluice.Job, h sluice.Host) (*api.Configuration, error) {
	r := j.Action.Release
	out := &api.Configuration{Job: j.ID, Namespace: j.Namespace, App: r.App, Env: r.Env, Version: r.Version, Digest: r.Config, Host: h}
	switch {
	case h != "" && !slices.Contains(j.Targets, h):
		return nil, sluice.Errorf(sluice.NotFound, "job %s is not for the host %.80q", j.ID, h).WithHint("sluice status %s", j.ID)
	case j.Action.Kind == sluice.RollBack:
		if h == "" && len(j.Action.Back) > 0 {
			out.Host = slices.Min(slices.Collect(maps.Keys(j.Action.Back)))
		}
		out.Version, out.Digest = j.Action.Back[out.Host].Version, j.Action.Back[out.Host].Config
	}
	if out.Digest == "" {
		return nil, sluice.Errorf(sluice.NotFound, "no configuration goes with this release")
	}
	all, err := configsOf(ctx, desk, out.Digest)
	if err != nil {
		return nil, err
	}
	out.Own = slices.Sorted(maps.Keys(all.Hosts))
	if out.Host == "" {
		out.Host = ofMost(j.Targets, out.Own)
	}
	entries, err := config.FrozenOf(all.For(out.Host)).Entries()
	if err != nil {
		return nil, err
	}
	said, err := saidOf(ctx, desk, r.Provenance, out.Host)
	if err != nil {
		return nil, err
	}
	out.Provenance = said != nil
	out.Keys = make([]api.ConfiguredKey, 0, len(entries))
	for _, e := range entries {
		out.Keys = append(out.Keys, api.ConfiguredKey{Key: e.Key, Value: e.Value, Sealed: e.Sealed, Said: said[e.Key]})
	}
	return out, nil
}

// ofMost is a host that has what most have.
func ofMost(targets, own []sluice.Host) sluice.Host {
	for _, h := range targets {
		if _, has := slices.BinarySearch(own, h); !has {
			return h
		}
	}
	return targets[0]
}

func configsOf(ctx context.Context, desk *control.Service, digest string) (release.Configs, error) {
	text, err := desk.Content(ctx, digest, mostConfigured)
	if err != nil {
		return release.Configs{}, err
	}
	all, err := release.ParseConfigs(text)
	if err != nil { // whoever made the job named something else
		return all, &sluice.Error{Code: sluice.Conflict, Text: "what the job names as its configuration", Err: err}
	}
	return all, nil
}

// saidOf is what layers said about the keys of a host; nil where that is not kept, as by who deployed without it.
func saidOf(ctx context.Context, desk *control.Service, digest string, h sluice.Host) (map[string][]api.LayerSaid, error) {
	if digest == "" {
		return nil, nil
	}
	all, err := configsOf(ctx, desk, digest)
	if sluice.CodeOf(err) == sluice.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := config.ParseProvenance(all.For(h))
	if err != nil {
		return nil, err
	}
	out := make(map[string][]api.LayerSaid, len(p))
	for _, k := range p {
		for _, w := range k.Said {
			out[k.Key] = append(out[k.Key], api.LayerSaid{At: w.At, Value: w.Value, Counts: w.Counts})
		}
	}
	return out, nil
}
