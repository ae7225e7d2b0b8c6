package webui_test

import (
	"os"
	"path/filepath"
	"testing"

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
