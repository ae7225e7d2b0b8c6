package httpapi_test

import (
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/config"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
)

// TestPlanFiles: what a deploy would change is told to those who may deploy and see output; that they looked is on record. Nothing
// is done.
func TestPlanFiles(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	put := func(text []byte) string {
		t.Helper()
		kept, err := admin.Put(t.Context(), strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return kept.Digest
	}
	r, err := config.Render(config.For{App: "shop", Environment: "live"}, []*config.Layer{read(t, "common.yaml", "a: canary\n")})
	if err != nil {
		t.Fatal(err)
	}
	configs, err := release.Configs{Common: r.Freeze().JSON}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s := api.Submit{Namespace: "default", Targets: "web[1-3]", Release: &sluice.Release{App: "shop", Env: "live", Version: "1", Artifact: put([]byte("an archive")),
		Manifest: put(manifest.Manifest{}.Encode()), Config: put(configs), Deploy: sluice.Deploy{Root: "/srv/shop", Keep: 2}}}
	got, err := admin.PlanFiles(t.Context(), s)
	if want := "no deploy of the app there is on record"; err != nil || len(got.Files) != 0 || len(got.Unknown) != 1 || len(got.Unknown[0].Hosts) != 3 || got.Unknown[0].Reason != want {
		t.Errorf("%+v, %v", got, err)
	}
	events, err := w.log.Read(t.Context(), sluice.AccessNamespace, 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e sluice.Event) bool {
		b, ok := e.Body.(sluice.AccessNoted)
		return ok && b.Right == sluice.SeeOutput && b.Principal == "root2" && strings.Contains(b.What, "/plan/files")
	}) {
		t.Error("it is not on record who looked")
	}
	for name, may := range map[string][]sluice.Right{"submits": {sluice.SeeJobs, sluice.SubmitJob}, "sees": {sluice.SeeJobs, sluice.SeeOutput}} {
		if err := admin.DefineRole(t.Context(), sluice.Role(name), may); err != nil {
			t.Fatal(err)
		}
		if _, err := w.client(w.token(sluice.Principal(name), sluice.Grant{Role: sluice.Role(name)})).PlanFiles(t.Context(), s); sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Release.Manifest = "sha256:" + strings.Repeat("0", 64)
	if _, err := admin.PlanFiles(t.Context(), s); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("what was never put: %v", err)
	}
	s.Release, s.Command = nil, "true"
	if _, err := admin.PlanFiles(t.Context(), s); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("no deploy: %v", err)
	}
	if jobs := get[struct{ Jobs []api.Job }](t, w, w.token("root3", sluice.Grant{Role: access.Admin}), "/api/v1/jobs"); len(jobs.Jobs) != 0 {
		t.Errorf("jobs: %+v", jobs)
	}
}
