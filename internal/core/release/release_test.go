package release_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
)

// odd are files with names that shells and programs stumble over.
var odd = map[string]string{
	"-": "a dash", "-n": "an option", " leading and trailing ": "blanks", "it's \"quoted\" $(id) `id` *": "q", "ünï/çödé/日本": "u",
	"a/l->../b": "", "a/nowhere->not there/at all": "", "b": "b", ": OK": "ok", "empty": "", strings.Repeat("long/", 30) + strings.Repeat("n", 120): "l", "*deploy/run": "#!/bin/sh\n",
}

func TestTheFirstAndTheSecond(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		one := m.tree(odd)
		m.want(0, m.wish("1.0", one))
		m.wantLive("1.0", one)
		next := map[string]string{"more": "of it"}
		for k, v := range odd {
			next[k] = v
		}
		next["b"] = "another"
		two := m.tree(next)
		m.want(0, m.wish("1.1", two))
		m.wantLive("1.1", two)
		if err := same(m.file("versions/1.0"), one); err != nil {
			t.Error(err)
		}
		a, _ := os.Stat(m.file("versions/1.0/ünï/çödé/日本"))
		b, _ := os.Stat(m.file("versions/1.1/ünï/çödé/日本"))
		if !os.SameFile(a, b) {
			t.Error("what both have is there twice")
		}
		if got := strings.Join(m.steps, ","); got != "unpack 0,swing 0,collect 0" {
			t.Error(got)
		}
		if st, err := os.Stat(m.file(".sluice")); err != nil || st.Mode().Perm() != 0o700 {
			t.Error(st.Mode(), err)
		}
		r, _ := m.look(m.wish("1.2", two))
		act := r.Activation("shop", "prod", sluice.NewAttemptID(job, 0, m.tries-1))
		if act.Live.Version != "1.1" || act.Live.Manifest != two.Digest() || act.Before.Version != "1.0" || act.Before.Manifest != one.Digest() {
			t.Errorf("%+v", act)
		}
	})
}

func TestTheSameVersion(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		one := m.tree(map[string]string{"a": "1", "config": "x"})
		m.want(0, m.wish("1", one))
		m.want(0, m.wish("1", one)) // again: nothing is unpacked, all else is done
		m.wantLive("1", one)
		other := m.tree(map[string]string{"a": "1", "config": "y"})
		m.want(0, m.wish("1", other))
		name := "1~" + strings.TrimPrefix(other.Digest(), "sha256:")[:8]
		m.wantLive(name, other)
		w := m.wish("1", m.tree(map[string]string{"a": "2", "config": "y"}))
		w.Release.Manifest = "sha256:" + sum("other files")
		m.refused(w, "version 1 is on the host with other files")
		m.want(0, m.wish("1", one))
		m.wantLive("1", one)
	})
}

func TestGoingBack(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		one, two := m.tree(map[string]string{"a": "1"}), m.tree(map[string]string{"a": "2"})
		m.want(0, m.wish("1", one))
		m.want(0, m.wish("2", two))
		m.want(0, m.back("1", one.Digest()))
		m.wantLive("1", one)
		if got := strings.Join(m.steps, ","); got != "verify 0,swing 0,collect 0" {
			t.Error(got)
		}
		m.refused(m.back("0", "sha256:"+sum("0")), "the host cannot go back to 0: it is not kept here")
		m.write("spoiled", "versions/2/a")
		m.want(1, m.back("2", two.Digest()))
		if !strings.Contains(m.out, "versions/2 was changed since it was put there") {
			t.Error(m.out)
		}
		m.wantLive("1", one)
		m.refused(m.back("2", two.Digest()), "was changed since it was put there")
		w := m.wish("3", m.tree(map[string]string{"a": "3"}))
		w.Back = &sluice.Installed{Version: "2", Manifest: two.Digest()}
		m.refused(w, "the host cannot go back to 2")
		m.want(0, m.wish("2", two)) // and a deploy makes it anew
		m.wantLive("2", two)
	})
}

func TestDamage(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		files := map[string]string{"a": "1", "big": strings.Repeat("x", 5000)}
		one := m.tree(files)
		m.want(0, m.wish("1", one))
		m.write("spoiled", "versions/1/big")
		files["a"] = "2"
		two := m.tree(files)
		m.want(1, m.wish("2", two)) // what is linked is found to be bad
		if live, _ := os.Readlink(m.file("live")); live != "versions/1" || slices.Contains(m.versions(), "2") {
			t.Error(live, m.versions())
		}
		m.want(0, m.wish("2", two)) // and is sent
		m.wantLive("2", two)
		// What is live is damaged, and deployed again: beside it, so that there is no moment without it.
		m.write("spoiled", "versions/2/big")
		m.want(1, m.wish("2", two))
		m.want(0, m.wish("2", two))
		m.wantLive("2~"+strings.TrimPrefix(two.Digest(), "sha256:")[:8], two)
	})
}

// TestTheWayBack is proved by every deploy, before it makes anything live: what the new version does not share with the one before is looked
// at, too. Who would go back by itself does not begin without a way.
func TestTheWayBack(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		files := map[string]string{"shared": "s", "own": "1", "-x": "1"}
		one := m.tree(files)
		m.want(0, m.wish("1", one))
		wish := func(version string, tree manifest.Manifest) release.Wish {
			w := m.wish(version, tree)
			w.Release.Deploy.OnFailure = sluice.FailureRollsBack
			return w
		}
		files["own"], files["-x"] = "2", "2"
		two := m.tree(files)
		m.want(0, wish("2", two)) // the way is there
		if strings.Contains(m.out, "no way back") {
			t.Error(m.out)
		}
		m.write("spoiled", "versions/2/-x")
		files["own"], files["-x"] = "3", "3"
		three := m.tree(files)
		for range 2 { // it is found, and then known
			m.want(1, wish("3", three))
			if !strings.Contains(m.out, "versions/2, which is live, was changed since it was put there: there is no way back to it, and on_failure: rollback needs one") {
				t.Error(m.out)
			}
			if live, _ := os.Readlink(m.file("live")); live != "versions/2" {
				t.Error(live)
			}
		}
		m.want(0, wish("2", two)) // deployed again it is made anew
		m.wantLive("2~"+strings.TrimPrefix(two.Digest(), "sha256:")[:8], two)
		m.want(0, wish("3", three))
		m.wantLive("3", three)
		// Who does not go back by itself is told, and goes on. A version that is kept shares nothing that was looked at.
		m.write("spoiled", "versions/3/own")
		m.want(0, m.wish("1", one))
		if !strings.Contains(m.out, "sluice: versions/3, which is live, was changed since it was put there: there is no way back to it\n") {
			t.Error(m.out)
		}
		m.refused(m.back("3", three.Digest()), "was changed since it was put there")
		// What cannot be found out is not said to be so.
		if err := os.Remove(m.file(".sluice/trees/1/manifest")); err != nil {
			t.Fatal(err)
		}
		files["own"] = "4"
		four := m.tree(files)
		m.want(1, wish("4", four))
		if !strings.Contains(m.out, "whether versions/1, which is live, is whole cannot be found out") || strings.Contains(m.out, "was changed") {
			t.Error(m.out)
		}
		m.want(0, m.wish("4", four))
		m.wantLive("4", four)
		// Whoever repairs what is live may bring another configuration.
		m.write("spoiled", "versions/4/own")
		files["own"] = "4, configured otherwise"
		again := m.tree(files)
		m.want(0, wish("4", again))
		m.wantLive("4~"+strings.TrimPrefix(again.Digest(), "sha256:")[:8], again)
	})
}

func hook(text string) string { return "#!/bin/sh\n" + text }

func TestHooks(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		log := filepath.Join(m.dir, "log")
		say := func(what string) string {
			return hook(`echo "` + what + ` $SLUICE_PHASE $SLUICE_VERSION<$SLUICE_PREVIOUS_VERSION $(pwd -P | sed 's,.*/,,') $(readlink "$SLUICE_ROOT/live")" >>'` + log + "'\n")
		}
		files := map[string]string{"shared": "shared", "a": "1"}
		for _, phase := range []string{"prepare", "drain", "deployed", "undrain"} {
			files["*deploy/hooks/"+phase+".d/10-x"] = say("x")
			files["*deploy/hooks/"+phase+".d/9-y"] = say("y")
			files["deploy/hooks/"+phase+".d/README"] = "not to be run"
		}
		one := m.tree(files)
		m.want(0, m.wish("1", one))
		files["a"] = "2"
		two := m.tree(files)
		m.want(0, m.wish("2", two))
		got, _ := os.ReadFile(log)
		var want strings.Builder
		for _, v := range []struct{ now, before string }{{"1", ""}, {"2", "1"}} {
			for _, phase := range []string{"prepare", "drain", "deployed", "undrain"} {
				live := ""
				if v.before != "" {
					live = "versions/" + v.before
				}
				if strings.HasSuffix(phase, "ed") || phase == "undrain" {
					live = "versions/" + v.now
				}
				for _, x := range []string{"x", "y"} {
					fmt.Fprintf(&want, "%s %s %s<%s %s %s\n", x, phase, v.now, v.before, v.now, live)
				}
			}
		}
		if string(got) != want.String() {
			t.Errorf("the hooks said\n%s\nwant\n%s", got, want.String())
		}

		files["*deploy/hooks/prepare.d/10-x"] = hook("echo bad >&2; exit 3")
		m.want(3, m.wish("3", m.tree(files)))
		m.wantLive("2", two)

		files["*deploy/hooks/prepare.d/10-x"] = hook("touch more")
		files["*deploy/hooks/deployed.d/10-x"] = hook("exit 4")
		after := m.tree(files)
		m.want(4, m.wish("4", after))
		if live, _ := os.Readlink(m.file("live")); live != "versions/4" {
			t.Error(live)
		}

		files["*deploy/hooks/deployed.d/10-x"] = hook("exit 0")
		files["*deploy/hooks/drain.d/10-x"] = hook("exit 5")
		m.want(5, m.wish("5", m.tree(files)))
		if steps := strings.Join(m.steps, ","); !strings.HasSuffix(steps, "drain/10-x 5,undrain/10-x 0,undrain/9-y 0") {
			t.Error(steps)
		}
		if live, _ := os.Readlink(m.file("live")); live != "versions/4" {
			t.Error(live)
		}
	})
}

// A hook that writes into a file where it stands changes it in the versions that share it: that is found before the swing.
func TestAHookThatSpoils(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		files := map[string]string{"shared": "shared", "own": "1", "-": "2"}
		one := m.tree(files)
		m.want(0, m.wish("1", one))
		files["own"] = "two"
		files["*deploy/hooks/prepare.d/spoil"] = hook("echo spoiled >shared")
		m.want(1, m.wish("2", m.tree(files)))
		if !strings.Contains(m.out, "a hook has changed files of the version") || !strings.Contains(m.out, "./shared: FAILED") {
			t.Error(m.out)
		}
		if live, _ := os.Readlink(m.file("live")); live != "versions/1" {
			t.Error(live)
		}
		// The next one is made without what was spoiled.
		files["*deploy/hooks/prepare.d/spoil"] = hook("exit 0")
		three := m.tree(files)
		m.want(0, m.wish("3", three))
		m.wantLive("3", three)

		// What only the version before has is looked at, too.
		files["own"] = "four"
		files["*deploy/hooks/prepare.d/spoil"] = hook(`echo spoiled >"$SLUICE_PREVIOUS_DIR/own"`)
		m.want(1, m.wish("4", m.tree(files)))
		if !strings.Contains(m.out, "the version before, versions/3, was changed") {
			t.Error(m.out)
		}
		// New files, and others in the place of old ones, are no damage to anybody else.
		files["own"] = "five"
		files["*deploy/hooks/prepare.d/spoil"] = hook("mkdir cache; echo made >cache/x")
		m.want(0, m.wish("5", m.tree(files)))
	})
}

func TestWhatIsInTheWay(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		tree := m.tree(map[string]string{"a": "1", "vhost": "v"})
		etc := filepath.Join(m.dir, "etc")
		for _, d := range []string{m.file("versions/7"), m.file("live"), etc} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		m.refused(m.wish("7", tree), "live is no symbolic link")
		if err := os.Remove(m.file("live")); err != nil {
			t.Fatal(err)
		}
		m.refused(m.wish("7", tree), "versions/7 is in the way")
		if _, err := os.Stat(m.file(".sluice")); err == nil {
			t.Error("a refusal has changed something")
		}
		w := m.wish("1", tree)
		w.Outside = append(w.Outside, link(etc+"/it's shop", "vhost"))
		m.want(0, w)
		if b, err := os.ReadFile(etc + "/it's shop"); err != nil || string(b) != "v" {
			t.Error(string(b), err)
		}
		foreign := m.wish("1", tree)
		foreign.Release.App = "till"
		m.refused(foreign, "belongs to default/shop/prod (namespace/app/environment), and this is default/till/prod")
		if err := os.WriteFile(etc+"/other", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		w = m.wish("2", tree)
		w.Outside = append(w.Outside, link(etc+"/other", "vhost"))
		m.refused(w, "/etc/other is there already")
		w.Outside[0].Path = m.dir + "/nowhere/x"
		m.refused(w, "/nowhere is no directory")
		// A version without the link takes it away, and one before it brings it back.
		m.want(0, m.wish("2", m.tree(map[string]string{"a": "2"})))
		if _, err := os.Lstat(etc + "/it's shop"); err == nil {
			t.Error("the link is still there")
		}
		m.want(0, m.back("1", tree.Digest()))
		if b, err := os.ReadFile(etc + "/it's shop"); err != nil || string(b) != "v" {
			t.Error(string(b), err)
		}
	})
}

// What was there before Sluice is left alone, and is what one comes from.
func TestAnotherToolWasHere(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		if err := os.MkdirAll(m.file("versions/old"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("versions/old", m.file("live")); err != nil {
			t.Fatal(err)
		}
		one := m.tree(map[string]string{"a": "1"})
		w := m.wish("1", one)
		m.want(0, w)
		r, _ := m.look(w)
		if act := r.Activation("shop", "prod", w.Attempt); act.Before != (sluice.Installed{Version: "old"}) || act.Live.Manifest != one.Digest() {
			t.Errorf("%+v", act)
		}
		for v := range 5 {
			m.want(0, m.wish(fmt.Sprint("2.", v), m.tree(map[string]string{"a": fmt.Sprint(v)})))
		}
		if got := m.versions(); !slices.Equal(got, []string{"2.2", "2.3", "2.4", "old"}) {
			t.Error(got)
		}
	})
}

func TestWhatIsKept(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		one := m.tree(map[string]string{"a": "1"})
		m.want(0, m.wish("1", one))
		for v := 2; v < 7; v++ {
			w := m.wish(fmt.Sprint(v), m.tree(map[string]string{"a": fmt.Sprint(v)}))
			w.Back = &sluice.Installed{Version: "1", Manifest: one.Digest()}
			m.want(0, w)
		}
		if got := m.versions(); !slices.Equal(got, []string{"1", "4", "5", "6"}) {
			t.Error(got)
		}
		m.want(0, m.back("1", one.Digest()))
		if got := m.versions(); !slices.Equal(got, []string{"1", "5", "6"}) {
			t.Error(got)
		}
	})
}

// noise is 20 KB that cannot be compressed.
func noise(seed uint64) string {
	b, r := make([]byte, 20<<10), rand.NewPCG(seed, 0)
	for i := range b {
		b[i] = byte(r.Uint64())
	}
	return string(b)
}

// Of a large app of which one file in a hundred changes, two bytes in a hundred are sent, beside its list of files.
func TestWhatIsSent(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		app := map[string]string{}
		for i := range 1000 {
			app[fmt.Sprintf("site-packages/some/deep/package/of_it/%02d/module_with_a_name_%d.py", i%37, i)] = noise(uint64(i))
		}
		one := m.tree(app)
		m.want(0, m.wish("1.2.3", one))
		for i := range 10 {
			app[fmt.Sprintf("site-packages/some/deep/package/of_it/%02d/module_with_a_name_%d.py", i%37, i)] = noise(uint64(5000 + i))
		}
		two := m.tree(app)
		m.want(0, m.wish("1.2.4", two))
		m.wantLive("1.2.4", two)
		if limit := two.Bytes()/50 + int64(len(two.Encode())); m.sent > limit || m.sent < 1000 {
			t.Errorf("%d bytes were sent, of %d; at most %d should be", m.sent, two.Bytes(), limit)
		}
		t.Logf("%d bytes of %d, the list has %d", m.sent, two.Bytes(), len(two.Encode()))
	})
}

// Services are told in the words of who runs them, once live leads to the new version.
func TestServices(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		log := filepath.Join(m.dir, "told")
		for _, p := range []string{"systemctl", "supervisorctl", "service"} {
			text := "#!/bin/sh\necho \"" + p + " $* $SLUICE_PHASE $(readlink \"$SLUICE_LIVE_DIR\")\" >>'" + log + "'\ncase $1 in status) cat '" + m.dir + "/state' ;; esac\n"
			if err := os.WriteFile(filepath.Join(m.path, p), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		state := func(text string) {
			if err := os.WriteFile(m.dir+"/state", []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		w := m.wish("1", m.tree(map[string]string{"a": "1"}))
		w.Release.Deploy.Services = []sluice.Service{{Name: "shop@1.service", By: "systemd"}, {Name: "nginx", By: "systemd", Reload: true},
			{Name: "shop:web", By: "supervisor"}, {Name: "old", By: "service"}}
		state("shop:web RUNNING pid 7")
		m.want(0, w)
		got, _ := os.ReadFile(log)
		if want := "systemctl restart -- shop@1.service restart versions/1\nsystemctl reload -- nginx reload versions/1\nsupervisorctl restart shop:web restart versions/1\nsupervisorctl status shop:web restart versions/1\nservice old restart restart versions/1\n"; string(got) != want {
			t.Errorf("told\n%s\nwant\n%s", got, want)
		}
		state("shop:web FATAL exited too quickly")
		w.Attempt += "1"
		m.want(1, w)
		if !strings.Contains(m.out, "shop:web does not run under supervisor") {
			t.Error(m.out)
		}
		w.Release.Deploy.Services[0].Name = "-x"
		m.refused(w, "cannot name a service")
	})
}

// Files belong to whom the release says; of a version of another owner nothing is linked, for the link would be his, too.
func TestOwners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: not root")
	}
	eachShell(t, func(t *testing.T, m *machine) {
		app := map[string]string{"a": "1", "l->a": "", "dir/b": "same"}
		m.want(0, m.wish("1", m.tree(app)))
		app["a"] = "2"
		two := m.tree(app)
		w := m.wish("2", two)
		w.Release.Deploy.User, w.Release.Deploy.Group = "nobody", "daemon"
		m.want(0, w)
		m.wantLive("2", two)
		for name, uid := range map[string]uint32{"versions/1/dir/b": 0, "versions/2/dir/b": 65534, "versions/2": 65534, "versions/2/dir": 65534, "versions": 0, ".sluice": 0} {
			st, err := os.Lstat(m.file(name))
			if err != nil || st.Sys().(*syscall.Stat_t).Uid != uid {
				t.Errorf("%s is not of %d (%v)", name, uid, err)
			}
		}
		st, _ := os.Lstat(m.file("versions/2/a"))
		if st.Sys().(*syscall.Stat_t).Gid != 1 {
			t.Error("the group is another")
		}
		w = m.wish("3", two)
		w.Release.Deploy.User = "no-such-user"
		m.refused(w, "the host knows no user no-such-user")

		// A file of somebody else is one of its own, whichever version has the same.
		own := func(user, group string) manifest.Manifest {
			three := slices.Clone(two)
			i := slices.IndexFunc(three, func(e manifest.Entry) bool { return e.Path == "dir/b" })
			three[i].User, three[i].Group = user, group
			return three
		}
		for i, c := range []struct {
			user, group string
			uid, gid    uint32
		}{{"nobody", "daemon", 65534, 1}, {"", "", 0, 0}, {"", "daemon", 0, 1}, {"nobody", "", 65534, 0}, {"", "", 0, 0}} {
			version, tree := fmt.Sprint("4.", i), own(c.user, c.group)
			m.want(0, m.wish(version, tree))
			m.wantLive(version, tree)
			for name, is := range map[string][2]uint32{"dir/b": {c.uid, c.gid}, "a": {0, 0}} {
				st, err := os.Lstat(m.file("versions", version, name))
				if err != nil || st.Sys().(*syscall.Stat_t).Uid != is[0] || st.Sys().(*syscall.Stat_t).Gid != is[1] {
					t.Errorf("%s of %s is not of %v (%v): %+v", name, version, is, err, st.Sys())
				}
			}
		}
		m.refused(m.wish("5", own("no-such-user", "")), "the host knows no user no-such-user")
		m.refused(m.wish("5", own("", "no-such-group")), "the host knows no group no-such-group")
	})
}
