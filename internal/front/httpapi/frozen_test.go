package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
)

// renewals counts what is kept for longer.
type renewals struct {
	sluice.Blobs
	renewed atomic.Int64
}

func (r *renewals) Renew(ctx context.Context, digest string) (int64, error) {
	r.renewed.Add(1)
	return r.Blobs.Renew(ctx, digest)
}

// TestFrozenRelease: what a job deploys is told to those who may see the job, with what of it is kept, and not how hosts of balancers
// are reached. Who looks keeps nothing for longer: that takes the right to submit.
func TestFrozenRelease(t *testing.T) {
	w := newWorld(t)
	blobs := &renewals{Blobs: w.service.Blobs}
	w.service.Blobs = blobs
	secret := w.token("root2", sluice.Grant{Role: access.Admin})
	admin := w.client(secret)
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "1")+"host:\n  db1: {ssh: {user: lbuser}}\n"), "", -1); err != nil {
		t.Fatal(err)
	}
	kept, err := admin.Put(t.Context(), strings.NewReader("an archive"))
	if err != nil {
		t.Fatal(err)
	}
	r := &sluice.Release{App: "shop", Env: "live", Version: "1", Artifact: kept.Digest, Manifest: kept.Digest,
		Deploy: sluice.Deploy{Root: "/srv/shop", Keep: 2, Balancers: []sluice.Balancing{{Driver: "exec", At: "/bin/lb", On: "db1", Pool: "shop"}}}}
	j, err := admin.Submit(t.Context(), api.Submit{Namespace: "prod", Targets: "$web", Release: r})
	if err != nil {
		t.Fatal(err)
	}
	back, err := admin.Submit(t.Context(), api.Submit{Namespace: "prod", Targets: "web1,web2", Release: &sluice.Release{App: "shop", Env: "live", Version: "0", Deploy: r.Deploy},
		Back: map[sluice.Host]sluice.Installed{"web1": {Version: "0", Manifest: kept.Digest}, "web2": {Version: "0", Manifest: kept.Digest}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Submit(t.Context(), api.Submit{Namespace: "prod", Targets: "$web", Release: r, Options: api.Options{ReadOnly: true}}); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("a deploy that takes no room: %v", err)
	}
	plain, err := admin.Submit(t.Context(), api.Submit{Namespace: "prod", Targets: "$web", Command: "true"})
	if err != nil {
		t.Fatal(err)
	}
	get := func(token string, id sluice.JobID) (int, string) {
		a := ask(t, w.api, http.MethodGet, "/api/v1/jobs/"+string(id)+"/release", "Authorization", "Bearer "+token)
		return a.Code, a.Body.String()
	}
	submitted := blobs.renewed.Load()
	if submitted == 0 {
		t.Error("a job that names pieces does not keep them")
	}
	code, text := get(secret, j.ID)
	for _, want := range []string{`"what":"archive"`, `"kept":true`, `"size":10`, `"on":"db1"`, `sluice deploy --namespace prod -t '$web' --env live 'shop@1'`} {
		if code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d %s: it has no %s", code, text, want)
		}
	}
	if n := blobs.renewed.Load() - submitted; n != 0 {
		t.Errorf("looking has kept %d pieces for longer", n)
	}
	if strings.Contains(text, "lbuser") {
		t.Errorf("it says how a balancer is reached: %s", text)
	}
	if code, text := get(secret, back.ID); code != http.StatusOK || !strings.Contains(text, `"hosts":["web1","web2"]`) || strings.Contains(text, "pieces") {
		t.Errorf("a rollback: %d %s", code, text)
	}
	if code, text := get(secret, plain.ID); code != http.StatusNotFound {
		t.Errorf("a command: %d %s", code, text)
	}
	if code, text := get(w.token("other", sluice.Grant{Role: access.Viewer, Namespace: "elsewhere"}), j.ID); code != http.StatusNotFound && code != http.StatusForbidden {
		t.Errorf("another one: %d %s", code, text)
	}
}
