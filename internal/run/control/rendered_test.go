package control_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/release"
	"sluice/internal/run/control"
	"sluice/internal/run/tarball"
)

// shelf keeps what releases are made of.
type shelf struct{ *desk }

func (s shelf) keep(text []byte) string {
	s.t.Helper()
	digest, _, err := s.Keep(s.t.Context(), bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return digest
}

// release is an app with one template, and a configuration for each host.
func (s shelf) release(version, template string, configs release.Configs) *sluice.Release {
	s.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "deploy/templates/a", Mode: 0o644, Size: int64(len(template)), Typeflag: tar.TypeReg}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := w.Write([]byte(template)); err != nil {
		s.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	m, err := tarball.Read(s.t.Context(), bytes.NewReader(b.Bytes()), tarball.DefaultLimits(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := configs.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	return &sluice.Release{App: "shop", Env: "prod", Version: version, Artifact: s.keep(b.Bytes()), Manifest: s.keep(m.Encode()), Config: s.keep(text),
		Deploy: sluice.Deploy{Root: "/srv/shop", Keep: 2, Templates: []sluice.Template{{From: "deploy/templates/a", To: "deploy/a"}}}}
}

func (s shelf) config(text string) json.RawMessage {
	s.t.Helper()
	l, err := config.ReadLayer("common.yaml", []byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := config.Render(config.For{App: "shop", Environment: "prod"}, []*config.Layer{l})
	if err != nil {
		s.t.Fatal(err)
	}
	return r.Freeze().JSON
}

// deploys submits a job, which has its attempts begun on all hosts and ends those of which something is live then.
func (s shelf) deploys(a sluice.Action, live map[sluice.Host]sluice.Activation, hosts ...sluice.Host) sluice.JobID {
	s.t.Helper()
	d, err := s.Prepare(s.t.Context(), control.Request{Fleet: fleet(10), Targets: hosts, Command: "x", Action: a})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Submit(s.t.Context(), d); err != nil {
		s.t.Fatal(err)
	}
	_, err = s.Log.Update(s.t.Context(), "test", 0, func([]sluice.Event) (out []sluice.Event, _ error) {
		for i, h := range d.Job.Targets {
			id := sluice.NewAttemptID(d.Job.ID, i, 1)
			out = append(out, sluice.Event{Time: s.Clock(), Job: d.Job.ID, Body: sluice.TaskStarted{Host: h, Attempt: id}})
			if l, ended := live[h]; ended {
				out = append(out, sluice.Event{Time: s.Clock(), Job: d.Job.ID, Body: sluice.TaskFinished{Host: h, Attempt: id, Outcome: sluice.Succeeded, Release: &l}})
			}
		}
		return out, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return d.Job.ID
}

func installed(r *sluice.Release) sluice.Installed {
	return sluice.Installed{Version: r.Version, Manifest: r.Manifest, Config: r.Config}
}

func goesLive(r *sluice.Release) sluice.Activation { return sluice.Activation{Live: installed(r)} }

// TestWhatADeployChanges: all hosts are compared with what is live there, or it is said why not.
func TestWhatADeployChanges(t *testing.T) {
	s := shelf{newDesk(t)}
	deploy := func(r *sluice.Release) sluice.Action { return sluice.Action{Kind: sluice.DeployTo, Release: r} }
	one := s.release("1", "port {{.port}}\n", release.Configs{Common: s.config("port: 80\n"), Hosts: map[sluice.Host]json.RawMessage{"h1": s.config("port: 81\n")}})
	first := s.deploys(deploy(one), map[sluice.Host]sluice.Activation{"h0": goesLive(one), "h1": goesLive(one), "h2": goesLive(one)}, "h0", "h1", "h2")
	s.deploys(deploy(one), nil, "h3")                                                                // goes on
	s.deploys(deploy(one), map[sluice.Host]sluice.Activation{"h4": {}}, "h4")                        // has nothing
	lost := s.release("2", "x\n", release.Configs{Common: s.config("n: 1\n")})                       // its configuration is not kept
	lost.Config = "sha256:" + strings.Repeat("0", 64)                                                //
	second := s.deploys(deploy(lost), map[sluice.Host]sluice.Activation{"h5": goesLive(lost)}, "h5") //
	gone := s.release("3", "y\n", release.Configs{Common: s.config("n: 1\n")})
	gone.Artifact = lost.Config
	third := s.deploys(deploy(gone), map[sluice.Host]sluice.Activation{"h6": goesLive(gone)}, "h6")
	other := sluice.Installed{Version: "0", Manifest: one.Manifest}
	s.deploys(sluice.Action{Kind: sluice.RollBack, Release: &sluice.Release{App: "shop", Env: "prod", Version: "0", Deploy: one.Deploy}, Back: map[sluice.Host]sluice.Installed{"h7": other}},
		map[sluice.Host]sluice.Activation{"h7": {Live: other, Before: other}}, "h7")
	s.deploys(deploy(one), map[sluice.Host]sluice.Activation{"h8": goesLive(one)}, "h8")
	s.deploys(deploy(one), map[sluice.Host]sluice.Activation{"h8": {Live: other, Before: other}}, "h8") // by hand

	now := s.release("4", "port {{.port}}\nmore\n", release.Configs{Common: s.config("port: 80\n"), Hosts: map[sluice.Host]json.RawMessage{"h2": s.config("port: 82\n")}})
	f := fleet(10)
	d, err := s.Prepare(t.Context(), control.Request{Fleet: f, Targets: f.Hosts, Command: "x", Action: deploy(now)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.FileChanges(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, c := range got.Files {
		told = append(told, fmt.Sprint(c.Path, " ", c.Kind, " ", c.Hosts, " ", strings.ReplaceAll(c.Diff, "\n", "|")))
	}
	for _, u := range got.Unknown {
		told = append(told, fmt.Sprint(u.Hosts, " ", u.Reason))
	}
	running := s.jobOf("h3")
	if want := []string{
		"deploy/a changed [h0] @@ -1 +1,2 @@| port 80|+more",
		"deploy/a changed [h1] @@ -1 +1,2 @@|-port 81|+port 80|+more",
		"deploy/a changed [h2] @@ -1 +1,2 @@|-port 80|+port 82|+more",
		"deploy/a new [h4] @@ -0,0 +1,2 @@|+port 80|+more",
		"deploy/configuration.json changed [h1] @@ -1 +1 @@|-port: 81|+port: 80",
		"deploy/configuration.json changed [h2] @@ -1 +1 @@|-port: 80|+port: 82",
		"deploy/configuration.json new [h4] @@ -0,0 +1 @@|+port: 80",
		"[h3] it is not known what is live: an attempt is running (job " + running + ")",
		"[h5] what job " + string(second) + " deployed there: the configuration is not kept any more",
		"[h6] what job " + string(third) + " deployed there: the archive is not kept any more",
		"[h7] no deploy of 0, which is live, is on record",
		"[h8] no job on record made it live: it was changed by hand",
		"[h9] no deploy of the app there is on record",
	}; !slices.Equal(told, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}

	// What was live before and is so again by a rollback is what a deploy made it.
	s.deploys(deploy(now), map[sluice.Host]sluice.Activation{"h0": {Live: installed(now), Before: installed(one)}}, "h0")
	s.deploys(sluice.Action{Kind: sluice.RollBack, Release: &sluice.Release{App: "shop", Env: "prod", Version: "1", Deploy: one.Deploy}, Back: map[sluice.Host]sluice.Installed{"h0": installed(one)}},
		map[sluice.Host]sluice.Activation{"h0": {Live: installed(one), Before: installed(now)}}, "h0")
	d.Job.Targets = []sluice.Host{"h0"}
	if got, err = s.FileChanges(t.Context(), d); err != nil || len(got.Files) != 1 || got.Files[0].Diff != "@@ -1 +1,2 @@\n port 80\n+more" {
		t.Errorf("after a rollback to %s: %+v, %v", first, got, err)
	}

	broken := *now
	broken.Config = one.Manifest
	d.Job.Action = deploy(&broken)
	if _, err := s.FileChanges(t.Context(), d); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a configuration that is none: %v", err)
	}
	d.Job.Action = sluice.Action{Kind: sluice.RunCommand, Shell: "true"}
	if _, err := s.FileChanges(t.Context(), d); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("no deploy: %v", err)
	}
}

// jobOf is the last job that touched a host.
func (s shelf) jobOf(h sluice.Host) string {
	s.t.Helper()
	list, err := s.Live(s.t.Context(), control.LiveQuery{Namespace: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range list {
		if l.Host == h {
			return string(l.Last)
		}
	}
	s.t.Fatalf("nothing is known of %s", h)
	return ""
}
