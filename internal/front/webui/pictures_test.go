package webui_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
	"sluice/internal/lab/browser"
)

const pictured = `ssh: {transport: local}
tag:
  colo:
    north: ["web[01-12]", db1, db2]
    south: ["web[13-24]", db3]
    west: ["web[25-36]", db4]
  app.web: ["web[01-36]"]
  app.db: ["db[1-4]"]
  canary: [web01, web13, web25]
sequence:
  rollout:
    - {target: $canary, approve: true}
    - $app
constraint:
  $colo: 25%
  $app.db: 1
`

const deploy = `#!/bin/sh
echo "shop $1: unpacking on $(echo "$SLUICE_HOST" | tr -d 0-9)"
case $SLUICE_HOST in
web17) echo "shop $1: cannot write /srv/shop: no space left on device" >&2; exit 1 ;;
web2[0-9]) sleep 2 ;;
*) sleep "${SLEEP:-0.7}" ;;
esac
[ "$1" != 4.1 ] || sleep 0.1
echo "shop $1: serving"
`

// TestPictures makes the pictures for documents in the directory that SLUICE_PICTURES names: every page, light and dark, wide
// and on a phone. They are looked at by people.
func TestPictures(t *testing.T) {
	dir := os.Getenv("SLUICE_PICTURES")
	if dir == "" {
		t.Skip("make shots makes them")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "deploy"), []byte(deploy), 0o755); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s := &stage{t: t, data: filepath.Join(t.TempDir(), "data"), set: []func(*app.Server){func(s *app.Server) { s.Over, s.WorkerListen = nil, "127.0.0.1:0" }}}
	s.start("127.0.0.1:0")
	s.apply("default", pictured[:len(pictured)-len("  $app.db: 1\n")])
	s.apply("default", pictured)
	ann := s.as(s.person("ann", sluice.Grant{Role: "operator"}, sluice.Grant{Role: "approver", Namespace: "default", Tags: []sluice.Tag{"app"}}))
	if _, err := s.client.InviteWorker(t.Context(), "dmz1", []sluice.Pool{"dmz"}); err != nil {
		t.Fatal(err)
	}
	submit := func(targets, command string, o api.Options) sluice.JobID {
		j, err := ann.Submit(t.Context(), api.Submit{Namespace: "default", Targets: targets, Command: command, Options: o})
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	ended := func(id sluice.JobID) {
		if _, err := s.client.Follow(t.Context(), string(id), 0, func(sluice.Event) {}, nil); err != nil {
			t.Fatal(err)
		}
	}
	ended(submit("$app.web ! $canary", "uptime", api.Options{ReadOnly: true}))
	ended(submit("$app.db", "df -h /", api.Options{ReadOnly: true}))
	if _, err := s.client.ChangeHosts(t.Context(), "default", "hold", []sluice.Host{"web30"}, "new disk"); err != nil {
		t.Fatal(err)
	}
	gated := submit("$app.web", "deploy 4.1", api.Options{})

	out := browser.New(t)
	d := s.door("", s.token)
	out.Open(s.door("", "").URL + "signin")
	out.Has("heading", "Sign in")
	out.Picture(dir, "signin")

	b := browser.New(t)
	b.Open(d.URL + "jobs/" + string(gated))
	b.Sees("waits for approval")
	b.Picture(dir, "gate")
	if _, err := s.client.Approve(t.Context(), gated, "", ""); err != nil {
		t.Fatal(err)
	}
	b.Until(`+document.querySelector('.legend [data-state="succeeded"] strong')?.innerText > 12 && document.querySelector('.legend [data-state="failed"]')`)
	b.Picture(dir, "job")
	b.Click("button", "Cancel")
	b.Has("dialog", "Cancel this job?")
	b.Picture(dir, "cancel")
	b.Keys("Escape")
	slow := submit("$canary", "deploy 4.2", api.Options{Env: map[string]string{"SLEEP": "60"}})
	b.Open(d.URL)
	b.Sees("deploy 4.2")
	b.Sees("web30")
	b.Picture(dir, "overview")
	for _, page := range []struct{ name, path, sees string }{
		{"jobs", "jobs", "uptime"}, {"host", "hosts/default/web17", "web17"}, {"output", "jobs/" + string(gated) + "/hosts/web17?stream=stderr", "no space left"},
		{"fleet", "fleet/default", "sequence"}, {"fleet-worked", "fleet/default?tab=meaning", "$colo"}, {"fleet-diff", "fleet/default?tab=diff&from=1&to=2", "$app.db"},
		{"users", "users", "ann"}, {"user", "users/ann", "operator"}, {"audit", "audit", "Who did what"}, {"workers", "workers", "dmz1"}, {"out", "out", "new disk"},
	} {
		b.Open(d.URL + page.path)
		b.Sees(page.sees)
		b.Picture(dir, page.name)
	}
	b.Open(d.URL + "new/default?targets=" + "$app")
	b.Has("heading", "New job")
	b.Type("textbox", "Shell text", "deploy 4.3")
	b.Sees("rollout")
	b.Picture(dir, "new")
	if _, err := s.client.Cancel(t.Context(), slow, ""); err != nil {
		t.Fatal(err)
	}
	ended(slow)
	if _, err := s.client.Cancel(t.Context(), gated, ""); err == nil {
		ended(gated)
	}
}

// TestPicturesOfReleases makes those of apps, on hosts of their own.
func TestPicturesOfReleases(t *testing.T) {
	dir := os.Getenv("SLUICE_PICTURES")
	if dir == "" {
		t.Skip("make shots makes them")
	}
	s, r := newShop(t, "tag:\n  shop: ['web[01-12]']\n  colo: {north: ['web[01-06]'], south: ['web[07-12]']}\nconstraint:\n  $colo: 2\nconfirm_above: 4\n")
	commit := func(id string, hours int) *sluice.Commit {
		return &sluice.Commit{ID: id, Time: time.Now().Add(-time.Duration(hours) * time.Hour)}
	}
	for i, version := range []string{"1.4.1", "1.4.2"} {
		for _, env := range []string{"production", "staging"} {
			rel := s.configured(s.release(r.root, version, nil), "workers: "+version[4:]+"\n", nil)
			rel.Env, rel.Commit = env, commit([]string{"5f1d7a84586b0c9e", "e9c1a24ab02c77d1"}[i], 30-20*i)
			if env == "staging" {
				rel.Deploy.Root = r.root + "/staging"
			}
			s.deploy(map[string]string{"production": "$colo", "staging": "web01,web02"}[env], rel)
		}
	}
	next := s.configured(s.release(r.root, "1.5.0", map[string]string{"deploy/hooks/deployed.d/10-warm": "#!/bin/sh\n[ \"$SLUICE_HOST\" != web03 ] || exit 1\n"}), "workers: 5\n", nil)
	next.Commit = commit("b7ac5f0dcb1e23f4", 1)
	id := s.deploy("web01,web02,web03", next)

	b, d := s.visit("releases")
	b.Sees("1.4.2")
	b.Picture(dir, "releases")
	b.Open(d.URL + "releases/default/shop/production")
	b.Sees("may not be well")
	b.Sees("live on 3 hosts")
	b.Picture(dir, "app")
	b.Click("button", "Roll back 1.5.0")
	b.Sees("web01, web02, web03: from")
	b.Picture(dir, "rollback")
	b.Open(d.URL + "jobs/" + string(id))
	b.Sees("kept by the server")
	b.Picture(dir, "deploy")
	b.Open(d.URL + "jobs/" + string(id) + "/hosts/web03")
	b.Sees("by one rename")
	b.Picture(dir, "steps")
}
