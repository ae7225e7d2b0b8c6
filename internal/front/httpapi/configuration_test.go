package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/core/config"
	"sluice/internal/core/release"
)

// TestConfiguration: what a release configures a host with is told key by key, with what layers said, to those who may see output; and
// that it was read is on record.
func TestConfiguration(t *testing.T) {
	w := newWorld(t)
	secret := w.token("root2", sluice.Grant{Role: access.Admin})
	admin := w.client(secret)
	put := func(text string) string {
		t.Helper()
		kept, err := admin.Put(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return kept.Digest
	}
	frozen, said := map[sluice.Host][]byte{}, map[sluice.Host][]byte{}
	hosts := []sluice.Host{"web1", "web2", "web3"}
	for _, h := range hosts {
		layers := []*config.Layer{read(t, "common.yaml", "a: 1\nb: {c: x}\n"), read(t, "app.yaml", "a: 2\n")}
		if h == "web2" {
			layers = append(layers, read(t, "web2.yaml", "b: {c: own}\n"))
		}
		r, err := config.Render(config.For{App: "shop", Environment: "live", Host: h}, layers)
		if err != nil {
			t.Fatal(err)
		}
		frozen[h], said[h] = r.Freeze().JSON, r.Provenance().Encode()
	}
	encoded := func(of map[sluice.Host][]byte) string {
		text, err := release.CommonConfigs(hosts, of).Encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	archive := put("an archive")
	rel := &sluice.Release{App: "shop", Env: "live", Version: "1", Artifact: archive, Manifest: archive, Config: put(encoded(frozen)), Provenance: put(encoded(said)),
		Deploy: sluice.Deploy{Root: "/srv/shop", Keep: 2}}
	submit := func(r *sluice.Release, back map[sluice.Host]sluice.Installed) sluice.JobID {
		t.Helper()
		j, err := admin.Submit(t.Context(), api.Submit{Namespace: "default", Targets: "web[1-3]", Release: r, Back: back})
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	id := submit(rel, nil)
	look := func(id sluice.JobID, host string) api.Configuration {
		t.Helper()
		return get[api.Configuration](t, w, secret, "/api/v1/jobs/"+string(id)+"/configuration?host="+host)
	}
	got := look(id, "")
	if got.Host != "web1" || len(got.Own) != 1 || got.Own[0] != "web2" || !got.Provenance || len(got.Keys) != 2 || got.Version != "1" {
		t.Fatalf("%+v", got)
	}
	a, c := got.Keys[0], got.Keys[1]
	if a.Key != "a" || a.Value != "2" || len(a.Said) != 2 || a.Said[0] != (api.LayerSaid{At: "common.yaml:1:1", Value: "1"}) || a.Said[1] != (api.LayerSaid{At: "app.yaml:1:1", Value: "2", Counts: true}) {
		t.Errorf("%+v", a)
	}
	if c.Key != "b.c" || c.Value != `"x"` {
		t.Errorf("%+v", c)
	}
	if own := look(id, "web2").Keys[1]; own.Value != `"own"` || own.Said[1].At != "web2.yaml:1:5" {
		t.Errorf("%+v", own)
	}
	back := submit(&sluice.Release{App: "shop", Env: "live", Version: "1", Deploy: rel.Deploy}, map[sluice.Host]sluice.Installed{
		"web1": {Version: "0"}, "web2": {Version: "1", Manifest: archive, Config: rel.Config}, "web3": {Version: "0"}})
	if got := look(back, "web2"); got.Version != "1" || got.Provenance || got.Keys[1].Value != `"own"` {
		t.Errorf("a rollback: %+v", got)
	}
	refused := func(token string, id sluice.JobID, host string, code int, text string) {
		t.Helper()
		if a := ask(t, w.api, http.MethodGet, "/api/v1/jobs/"+string(id)+"/configuration?host="+host, "Authorization", "Bearer "+token); a.Code != code || !strings.Contains(a.Body.String(), text) {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
	refused(secret, back, "", http.StatusNotFound, "no configuration goes with this release")
	refused(secret, id, "db9", http.StatusNotFound, "is not for the host")
	refused(w.token("watcher", sluice.Grant{Role: access.Viewer}), id, "", http.StatusForbidden, "job.output")
	events, err := w.log.Read(t.Context(), sluice.AccessNamespace, 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e sluice.Event) bool {
		b, ok := e.Body.(sluice.AccessNoted)
		return ok && b.Right == sluice.SeeOutput && b.Principal == "root2" && strings.Contains(b.What, "/configuration")
	}) {
		t.Error("it is not on record who read it")
	}
	lost := *rel
	lost.Provenance = "sha256:" + strings.Repeat("0", 64)
	if got := look(submit(&lost, nil), ""); got.Provenance || got.Keys[0].Said != nil || got.Keys[0].Value != "2" {
		t.Errorf("without provenance: %+v", got)
	}
	// What is asked for once more is the same job, also where its provenance was swept meanwhile; another release is another job.
	const again = sluice.JobID("0123456789ab")
	for _, r := range []*sluice.Release{rel, &lost, rel} {
		if j, err := admin.Submit(t.Context(), api.Submit{ID: again, Namespace: "default", Targets: "web[1-3]", Release: r}); err != nil || j.ID != again {
			t.Errorf("with the provenance %q: %v", r.Provenance, err)
		}
	}
	if got := look(again, ""); !got.Provenance {
		t.Error("asking again has lost the provenance of the job")
	}
	newer := *rel
	newer.Version = "2"
	if _, err := admin.Submit(t.Context(), api.Submit{ID: again, Namespace: "default", Targets: "web[1-3]", Release: &newer}); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("another release under the same id: %v", err)
	}
	lost.Provenance = "nonsense"
	if _, err := admin.Submit(t.Context(), api.Submit{Namespace: "default", Targets: "web1", Release: &lost}); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("a provenance that is no digest: %v", err)
	}
	other := *rel
	other.Config = archive
	refused(secret, submit(&other, nil), "", http.StatusConflict, "what the job names as its configuration")
}

func read(t *testing.T, name, text string) *config.Layer {
	t.Helper()
	l, err := config.ReadLayer(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
