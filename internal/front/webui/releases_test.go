package webui_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/localexec"
	"sluice/internal/app"
	"sluice/internal/core/config"
	"sluice/internal/core/release"
	"sluice/internal/core/target"
	"sluice/internal/lab/browser"
	"sluice/internal/run/tarball"
)

// rooms are hosts of which each has a directory of its own where the others have theirs: commands run here, each in a mount
// namespace in which the root of the app is that of its host.
type rooms struct {
	over *localexec.Transport
	dir  string // has a directory for each host
	root string // where apps think that they are
}

func (r *rooms) Connect(ctx context.Context, h sluice.Host, s sluice.SSH) (sluice.Link, error) {
	link, err := r.over.Connect(ctx, h, s)
	if err != nil {
		return nil, err
	}
	own := filepath.Join(r.dir, string(h))
	return &room{link, own, r.root}, os.MkdirAll(own, 0o755) //nolint:gosec // hosts' files are no secret
}

func (r *rooms) Close() error { return r.over.Close() }

type room struct {
	sluice.Link
	own, root string
}

func (r *room) Start(ctx context.Context, command string, tty bool) (sluice.Session, error) {
	words := []string{"unshare", "--mount"}
	if os.Getuid() != 0 {
		words = append(words, "--map-root-user")
	}
	inside := "mount --bind " + target.Quote(r.own, r.root) + " && exec /bin/sh -c \"$1\""
	return r.Link.Start(ctx, target.Quote(append(words, "--", "/bin/sh", "-c", inside, "sh", command)...), tty)
}

const shopFleet = "tag:\n  shop: ['web[1-3]']\nconstraint:\n  $shop: 1\n"

// newShop starts a server whose hosts can be deployed to.
func newShop(t *testing.T, fleet string) (*stage, *rooms) {
	t.Helper()
	r := &rooms{over: localexec.New(localexec.Config{Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}}), dir: t.TempDir(), root: filepath.Join(t.TempDir(), "shop")}
	if err := os.Mkdir(r.root, 0o755); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	s := &stage{t: t, data: filepath.Join(t.TempDir(), "data"), set: []func(*app.Server){func(s *app.Server) { s.Over = r }}}
	s.start("127.0.0.1:0")
	s.apply("default", fleet)
	return s, r
}

// put puts content into the server's store.
func (s *stage) put(content []byte) string {
	s.t.Helper()
	b, err := s.client.Put(s.t.Context(), bytes.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Digest
}

// release is a version of the shop whose pieces the server has. Hooks that fail are those of hosts that are named.
func (s *stage) release(root, version string, files map[string]string) *sluice.Release {
	s.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	all := map[string]string{"index": "shop " + version}
	maps.Copy(all, files)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(all[name]))}
		if err := w.WriteHeader(h); err != nil {
			s.t.Fatal(err)
		}
		if _, err := io.WriteString(w, all[name]); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	m, err := tarball.Read(s.t.Context(), bytes.NewReader(b.Bytes()), tarball.DefaultLimits(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &sluice.Release{App: "shop", Env: "production", Version: version, Artifact: s.put(b.Bytes()), Manifest: s.put(m.Encode()),
		Deploy: sluice.Deploy{Root: root, Keep: 3}}
}

// configured gives a release configurations: one for most hosts, and those of some.
func (s *stage) configured(r *sluice.Release, common string, own map[sluice.Host]string) *sluice.Release {
	s.t.Helper()
	hosts := []sluice.Host{"web1", "web2", "web3"}
	of, said := map[sluice.Host][]byte{}, map[sluice.Host][]byte{}
	for _, h := range hosts {
		text, is := own[h]
		if !is {
			text = common
		}
		l, err := config.ReadLayer("common.yaml", []byte(text))
		if err != nil {
			s.t.Fatal(err)
		}
		rendered, err := config.Render(config.For{App: "shop", Environment: "production", Host: h}, []*config.Layer{l})
		if err != nil {
			s.t.Fatal(err)
		}
		of[h], said[h] = rendered.Freeze().JSON, rendered.Provenance().Encode()
	}
	text, err := release.CommonConfigs(hosts, of).Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	r.Config = s.put(text)
	if text, err = release.CommonConfigs(hosts, said).Encode(); err != nil {
		s.t.Fatal(err)
	}
	r.Provenance = s.put(text)
	return r
}

// deploy deploys a release, and waits until it is over.
func (s *stage) deploy(targets string, r *sluice.Release) sluice.JobID {
	s.t.Helper()
	j, err := s.client.Submit(s.t.Context(), api.Submit{Namespace: "default", Targets: targets, Release: r, Options: api.Options{Lock: string(release.Lock(r))}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.ended(j.ID)
	return j.ID
}

// ended waits until a job has ended, and says how.
func (s *stage) ended(id sluice.JobID) string {
	s.t.Helper()
	if _, err := s.client.Follow(s.t.Context(), string(id), 0, func(sluice.Event) {}, nil); err != nil {
		s.t.Fatal(err)
	}
	j, err := s.client.Job(s.t.Context(), string(id))
	if err != nil {
		s.t.Fatal(err)
	}
	return j.State
}

// live is what is live on a host, as its own files say.
func (r *rooms) live(t *testing.T, h string) string {
	t.Helper()
	to, err := os.Readlink(filepath.Join(r.dir, h, "live"))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(to)
}

// TestDeployJobPage: a deploy says in words what it puts where and how, and each attempt its steps; what the server keeps of it is
// said, too.
func TestDeployJobPage(t *testing.T) {
	s, r := newShop(t, shopFleet)
	good := s.deploy("web2", s.configured(s.release(r.root, "1.4.3", map[string]string{"deploy/hooks/prepare.d/10-warm": "#!/bin/sh\necho warm\n"}), "a: 1\n", nil))
	if live := r.live(t, "web2"); live != "1.4.3" {
		t.Fatalf("live is %s", live)
	}
	b, d := s.visit("jobs/" + string(good))
	b.Has("heading", "Release")
	b.Sees("kept by the server")
	b.SeesNot("no configuration")
	b.Open(d.URL + "jobs/" + string(good) + "/hosts/web2")
	b.Sees("every file is checked")
	b.Sees("hook of the version, before the host is drained: 10-warm")
	b.Sees("live leads to the version")
	everywhere(b, "jobhost-deploy")

	rel := s.release(r.root, "1.4.2", nil)
	rel.Commit = &sluice.Commit{ID: "0123456789abcdef0123456789abcdef01234567", Time: time.Now().Add(-time.Hour)}
	rel.Deploy.Services = []sluice.Service{{Name: "shop", By: "systemd"}}
	rel.Deploy.Checks = []sluice.HealthCheck{{Kind: "http", At: "http://127.0.0.1:1/<b>health</b>", Every: time.Second, Timeout: 5 * time.Second, Successes: 3}}
	rel.Deploy.Balancers = []sluice.Balancing{{Driver: "haproxy", At: "/run/haproxy.sock", On: "web3", Pool: "shop", SSH: sluice.SSH{User: "lbsecret"}}}
	if _, err := s.client.ChangeHosts(t.Context(), "default", "hold", []sluice.Host{"web3"}, "so that nothing starts"); err != nil {
		t.Fatal(err)
	}
	j, err := s.client.Submit(t.Context(), api.Submit{Namespace: "default", Targets: "web1", Release: rel})
	if err != nil {
		t.Fatal(err)
	}
	b.Open(d.URL + "jobs/" + string(j.ID))
	for _, text := range []string{"shop in production", "1.4.2", "0123456789ab", "restarts shop, by systemd", "haproxy on web3", "asks http://127.0.0.1:1/<b>health</b>", "3 times in a row", rel.Artifact[:19], "no configuration"} {
		b.Sees(text)
	}
	b.SeesNot("lbsecret")
	everywhere(b, "job-deploy")

	other := s.run("web1", "true") // waits, too
	b.Open(d.URL + "jobs/" + string(other))
	b.Has("heading", "Stages")
	if browser.Eval[bool](b, `Boolean(document.querySelector(".release-facts"))`) {
		t.Error("a command has a release")
	}
	if n := d.count("GET /api/v1/jobs/" + string(other) + "/release"); n != 0 {
		t.Errorf("a command was asked for its release %d times", n)
	}
}

// choose takes the option of a list with that text, as if by hand.
func choose(b *browser.Tab, label, option string) {
	b.Until(`(() => {
		const list = [...document.querySelectorAll('label')].find((l) => l.firstChild.textContent === ` + strconv.Quote(label) + `)?.querySelector('select');
		const o = [...list?.options ?? []].find((o) => o.textContent === ` + strconv.Quote(option) + `);
		if (!o) return false;
		list.value = o.value;
		list.dispatchEvent(new Event('change', {bubbles: true}));
		return true;
	})()`)
}

// TestConfigurationPage: what a release configures a host with, key by key, with the layers that said so; found by a piece of it, and held
// beside that of another host or of another release.
func TestConfigurationPage(t *testing.T) {
	s, r := newShop(t, shopFleet)
	first := s.deploy("all", s.configured(s.release(r.root, "1.0", nil), "title: Shop\nlimits: {a: 1, b: 2}\nold: true\n", nil))
	second := s.deploy("all", s.configured(s.release(r.root, "1.1", nil), "title: Shop\nlimits: {a: 1, b: 3}\nodd: <b>bold</b>\n", map[sluice.Host]string{"web2": "title: Shop\nlimits: {a: 9, b: 3}\nodd: <b>bold</b>\n"}))
	b, d := s.visit("jobs/" + string(second))
	b.Click("link", "What it says, key by key")
	b.Has("heading", "Configuration of shop 1.1 in production")
	for _, text := range []string{"limits.a", "common.yaml:2:10", `"Shop"`, `"<b>bold</b>"`, "as most hosts have it, such as web1", "4 keys"} {
		b.Sees(text)
	}
	choose(b, "Host", "web2")
	b.Until(`new URL(location.href).searchParams.get('host') === 'web2'`)
	b.Sees("of web2")
	choose(b, "Compare with", "most hosts")
	b.Sees("1 differs")
	choose(b, "Host", "most hosts")
	choose(b, "Compare with", "1.0, "+string(first))
	b.Sees("3 differ")
	b.Sees("not there")
	b.Click("checkbox", "Only what differs")
	b.Sees("3 keys of 5")
	b.SeesNot("limits.a")
	everywhere(b, "configuration")
	b.Open(d.URL + "jobs/" + string(second) + "/configuration?text=LIMITS.B")
	b.Sees("1 key of 4")
	b.Type("textbox", "Find", "nothing such")
	b.Sees("0 keys of 4")
	b.Open(d.URL + "jobs/" + string(second) + "/configuration?than=job%3A" + string(s.run("web1", "true")))
	b.Sees("There is nothing to compare with")
	b.Open(d.URL + "jobs/" + string(s.deploy("all", s.release(r.root, "1.2", nil))) + "/configuration")
	b.Sees("no configuration goes with this release")
}

// shopWithReleases deploys two versions on all hosts, and a third on two of them, where it fails on one.
func shopWithReleases(t *testing.T) (s *stage, r *rooms, jobs []sluice.JobID) {
	t.Helper()
	s, r = newShop(t, shopFleet)
	first := s.release(r.root, "1.0", nil)
	first.Commit = &sluice.Commit{ID: "aaaaaaaaaaaabbbb", Time: time.Now().Add(-2 * time.Hour)}
	second := s.release(r.root, "1.1", nil)
	second.Commit = &sluice.Commit{ID: "bbbbbbbbbbbbcccc", Time: time.Now().Add(-50 * time.Hour)}
	jobs = append(jobs, s.deploy("all", first), s.deploy("all", second))
	broken := s.release(r.root, "1.2", map[string]string{"deploy/hooks/deployed.d/10-ok": "#!/bin/sh\n[ \"$SLUICE_HOST\" != web2 ]\n"})
	jobs = append(jobs, s.deploy("web1,web2", broken))
	for h, want := range map[string]string{"web1": "1.2", "web2": "1.2", "web3": "1.1"} {
		if is := r.live(t, h); is != want {
			t.Fatalf("%s has %s", h, is)
		}
	}
	return s, r, jobs
}

// TestReleasesPage: apps by environments, with each version that is live and on how many hosts; what is not simply live is marked in
// words, and somebody else's is not there.
func TestReleasesPage(t *testing.T) {
	s, _, jobs := shopWithReleases(t)
	b, d := s.visit("releases")
	b.Sees("production")
	b.Has("link", "shop in production:")
	b.Until(`document.querySelector(".releases-cell").innerText.replace(/\s+/g, " ").includes("1.2 2 hosts 1.1 1 host 1 may not be well")`)
	everywhere(b, "releases")
	b.Type("textbox", "App", "nothing")
	b.Sees("No app has that in its name.")
	b.Open(d.URL + "releases")
	b.Click("link", "shop in production:")
	b.Has("heading", "shop in production")
	b.Until(`location.pathname.endsWith("/ui/releases/default/shop/production")`)
	b.Sees("web3")
	b.Sees("live on 2 hosts")
	b.Sees("commit aaaaaaaaaaaa")
	b.Sees("From its commit until it was live: 2h")
	b.Sees("From commit to live, over time")
	browser.Eval[bool](b, `document.querySelector(".appin details").open = true`)
	// Of both together, if it is not midnight between them.
	b.Until(`/( 2 6 2h \d+m| 1 3 2d 2h) 2d 2h/.test(document.querySelector("[aria-label='From commit to live'] tbody").innerText.replace(/\s+/g, " ").trim())`)
	if first := browser.Eval[string](b, `document.querySelector(".appin-release").innerText`); !strings.Contains(first, "1.2") || !strings.Contains(first, string(jobs[2])) {
		t.Errorf("the newest is not first: %s", first)
	}
	everywhere(b, "app")
	b.Type("textbox", "Host", "web3")
	b.Until(`document.querySelectorAll(".appin-host").length === 1`)

	other := browser.New(t)
	other.Open(s.door("", s.person("else", sluice.Grant{Role: "viewer", Namespace: "elsewhere"})).URL + "releases")
	other.Sees("Nothing was deployed yet")
	other.SeesNot("shop")
}

// TestRollBack: the dialog says which hosts go from what to what and how many at once, and that is done, once; hosts that a later job
// touched stay. Who may not submit jobs is told why.
func TestRollBack(t *testing.T) {
	s, r, jobs := shopWithReleases(t)
	if _, err := s.client.ChangeHosts(t.Context(), "default", "release", []sluice.Host{"web2"}, "it shall go back"); err != nil {
		t.Fatal(err)
	}
	vera := browser.New(t)
	vera.Open(s.door("", s.person("vera", sluice.Grant{Role: "viewer"})).URL + "jobs/" + string(jobs[2]))
	vera.Until(`[...document.querySelectorAll("button")].find((e) => e.textContent === "Roll back")?.getAttribute("aria-disabled") === "true"`)
	press(vera, "Roll back")
	vera.Sees("job.submit")
	vera.Accessible()
	vera.SeesNot("Roll this deploy back?")

	b, d := s.visit("jobs/" + string(jobs[1]))
	b.Click("button", "Roll back")
	b.Has("dialog", "Roll this deploy back?")
	b.Sees("web3: from 1.1 to 1.0")
	b.Sees("Left as they are, since they have changed: web1, web2: job " + string(jobs[2]) + " of ")
	b.Sees("made 1.2 live (" + string(jobs[2]) + ")")
	b.Sees("$shop: 1 of 3 hosts may be out at once")
	b.Keys("Escape")
	b.Until(`!document.querySelector('dialog') && document.activeElement.textContent === 'Roll back'`)

	b.Open(d.URL + "releases/default/shop/production")
	b.Click("button", "Roll back 1.2, job "+string(jobs[2]))
	b.Sees("web1, web2: from 1.2 to 1.1")
	b.Sees("sluice rollback " + string(jobs[2]) + " -w 'web[1-2]'")
	everywhere(b, "rollback")
	press(b, "Roll back 2 hosts")
	b.Has("heading", "roll shop in production back to 1.1")
	b.Sees("goes back to")
	b.Until(legend("succeeded", 2))
	if n := d.count("POST /api/v1/jobs"); n != 1 {
		t.Errorf("two clicks, %d jobs", n)
	}
	for _, h := range []string{"web1", "web2", "web3"} {
		if is := r.live(t, h); is != "1.1" {
			t.Errorf("%s has %s", h, is)
		}
	}
	b.Open(d.URL + "jobs/" + string(jobs[2]))
	b.Click("button", "Roll back")
	b.Sees("made 1.1 live")
	press(b, "Roll back")
	if n := d.count("POST /api/v1/jobs"); n != 1 {
		t.Errorf("%d jobs", n)
	}
}

// TestRollBackChanged: what changed between the look and the click is not done; what is to be confirmed is typed.
func TestRollBackChanged(t *testing.T) {
	s, r := newShop(t, shopFleet+"confirm_above: 1\n")
	s.deploy("all", s.release(r.root, "1.0", nil))
	id := s.deploy("all", s.release(r.root, "1.1", nil))
	b, d := s.visit("jobs/" + string(id))
	b.Click("button", "Roll back")
	b.Sees("type 3")
	press(b, "Roll back 3 hosts")
	b.Sees("Type 3 first.")
	b.Type("textbox", "It is about 3 hosts", "3")
	browser.Eval[bool](b, `(window.hold = window.fetch, window.fetch = (u, o) => String(u).includes('/back') && !window.free ? new Promise(() => {}) : window.hold(u, o), true)`) // no look by itself
	s.deploy("web1", s.release(r.root, "1.2", nil))
	browser.Eval[bool](b, `(window.free = true)`)
	press(b, "Roll back 3 hosts")
	b.Sees("what it would do has changed since you looked")
	if n := d.count("POST /api/v1/jobs"); n != 0 {
		t.Errorf("%d jobs", n)
	}
	if is := r.live(t, "web1"); is != "1.2" {
		t.Errorf("web1 has %s", is)
	}
}

// TestDeployAgain: a release that a job froze is deployed once more, the same bytes, on other hosts of the environment; not on hosts
// whose configuration nobody rendered, and not where the server does not keep it: then the page says what to type.
func TestDeployAgain(t *testing.T) {
	s, r := newShop(t, "tag:\n  shop: ['web[1-4]']\nconstraint:\n  $shop: 1\n")
	id := s.deploy("web1,web2,web3", s.configured(s.release(r.root, "1.0", nil), "a: 1\n", nil))
	s.deploy("web1", s.release(r.root, "1.1", nil))
	b, d := s.visit("releases/default/shop/production")
	b.Click("link", "Deploy again 1.0")
	b.Has("heading", "New job in default")
	b.Sees("exactly as job " + string(id) + " had it frozen")
	b.Sees("renders the configuration anew")
	b.Has("button", "Run on 3 hosts")
	b.Type("textbox", "Hosts", "web1,web4")
	b.Has("button", "Run on 2 hosts")
	b.Sees("No configuration was rendered for web4")
	press(b, "Run on 2 hosts")
	if n := d.count("POST /api/v1/jobs"); n != 0 {
		t.Errorf("%d jobs", n)
	}
	everywhere(b, "again")
	b.Type("textbox", "Hosts", "web1")
	b.Has("button", "Run on 1 host")
	b.SeesNot("No configuration was rendered")
	press(b, "Run on 1 host")
	b.Has("heading", "deploy shop@1.0 to production")
	b.Until(legend("succeeded", 1))
	if is := r.live(t, "web1"); !strings.HasPrefix(is, "1.0") {
		t.Errorf("web1 has %s", is)
	}
	if n := d.count("POST /api/v1/jobs"); n != 1 {
		t.Errorf("two clicks, %d jobs", n)
	}

	frozen, err := s.client.Events(t.Context(), string(id), 0)
	if err != nil {
		t.Fatal(err)
	}
	digest := frozen[0].Body.(sluice.JobSubmitted).Submitted.Action.Release.Artifact
	gone := 0
	_ = filepath.WalkDir(s.data, func(p string, _ fs.DirEntry, _ error) error {
		if strings.Contains(p, strings.TrimPrefix(digest, "sha256:")) && os.Remove(p) == nil {
			gone++
		}
		return nil
	})
	if gone == 0 {
		t.Fatal("the archive is not where it was looked for")
	}
	b.Open(d.URL + "new/default?like=" + string(id))
	b.Sees("The server does not keep the archive any more")
	b.Sees("sluice deploy -t 'web1,web2,web3'")
	b.Has("button", "Run on 3 hosts")
	press(b, "Run on 3 hosts")
	if n := d.count("POST /api/v1/jobs"); n != 1 {
		t.Errorf("%d jobs", n)
	}
	b.Accessible()
}
