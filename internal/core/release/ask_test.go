package release_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/internal/core/release"
)

// seen asks the machine what is live.
func (m *machine) seen() *release.Seen {
	m.t.Helper()
	q := release.Ask{App: "shop", Roots: []string{filepath.Join(m.dir, "other"), m.root}}
	if err := q.Check(); err != nil {
		m.t.Fatal(err)
	}
	out, err := m.sh(q.Action().Shell, "", nil)
	if err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
	all, err := release.ReadSeen(out)
	if err != nil {
		m.t.Fatal(err)
	}
	if is, same, unseen := all[q.Roots[0]].Against(sluice.Installed{}); is.Version != "" || !same || unseen != "" {
		m.t.Errorf("of an app that is not there it says %+v, %v, %q", is, same, unseen)
	}
	return all[m.root]
}

// What a host says when it is asked is what it proved at the end of the attempt, until a hand changes it.
func TestAskedWhatIsLive(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		old, tree := m.tree(map[string]string{"a": "1"}), m.tree(map[string]string{"a": "2"})
		m.want(0, m.wish("1.0", old))
		m.want(0, m.wish("2.0", tree))
		r, _ := m.look(m.wish("2.0", tree))
		was := r.Activation("shop", "prod", "").Live
		live := filepath.Join(m.root, "live")
		link := func(to string) func() error {
			return func() error {
				if err := os.RemoveAll(live); err != nil {
					return err
				}
				return os.Symlink(to, live)
			}
		}
		for _, c := range []struct {
			name          string
			change        func() error
			same          bool
			version, link string
			way           string
		}{
			{"as it was", func() error { return nil }, true, "2.0", "versions/2.0", ""},
			{"an older one", link("versions/1.0"), false, "1.0", "versions/1.0", ""},
			{"something else", link(`/srv/\nby "hand"`), false, `/srv/\nby "hand"`, `/srv/\nby "hand"`, ""},
			{"nothing", func() error { return os.Remove(live) }, false, "", "", ""},
			{"a directory", func() error { return os.Mkdir(live, 0o755) }, false, "", "", "is no symbolic link"},
			{"as it was again", link("versions/2.0"), true, "2.0", "versions/2.0", ""},
			{"made without us", func() error { return os.Remove(m.file(".sluice", "trees", "2.0", "about")) }, false, "2.0", "versions/2.0", ""},
			{"no root", func() error { return os.RemoveAll(m.root) }, false, "", "", ""},
			{"a file as root", func() error { return os.WriteFile(m.root, nil, 0o644) }, false, "", "", "is no directory"},
		} {
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			s := m.seen()
			is, same, unseen := s.Against(was)
			if same != c.same || is.Version != c.version || s.Link() != c.link || !strings.Contains(s.Way(), c.way) || unseen != "" {
				t.Errorf("%s: it says %+v, same %v, link %q, way %q, unseen %q", c.name, is, same, s.Link(), s.Way(), unseen)
			}
		}
	})
}

// What whoever asks may not look into is not taken for missing, and not for the same.
func TestAskedByWhoMayNotLook(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can be somebody else")
	}
	m := machineIn(t, "sh", t.TempDir())
	m.want(0, m.wish("1.0", m.tree(map[string]string{"a": "1"})))
	tree := m.tree(map[string]string{"a": "2"})
	m.want(0, m.wish("2.0", tree))
	r, _ := m.look(m.wish("2.0", tree))
	was := r.Activation("shop", "prod", "").Live
	if err := os.Chmod(filepath.Dir(m.dir), 0o755); err != nil { // the one that is made for tests alone
		t.Fatal(err)
	}
	asked := func() *release.Seen {
		q := release.Ask{App: "shop", Roots: []string{m.root}}
		cmd := exec.Command("sh", "-c", q.Action().Shell)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		all, err := release.ReadSeen(string(out))
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return all[m.root]
	}
	if _, same, unseen := asked().Against(was); same || !strings.Contains(unseen, ".sluice may not be looked into") {
		t.Errorf("it says that it is the same: %v, unseen %q", same, unseen)
	}
	if is, same, unseen := asked().Against(sluice.Installed{Version: "1.0", Manifest: was.Manifest}); same || is.Version != "2.0" || unseen != "" {
		t.Errorf("another version: %+v, %v, %q", is, same, unseen)
	}
	if err := os.Chmod(filepath.Dir(m.root), 0o700); err != nil {
		t.Fatal(err)
	}
	if is, same, unseen := asked().Against(sluice.Installed{}); same || is.Version != "" || unseen == "" {
		t.Errorf("where it may not look: %+v, %v, %q", is, same, unseen)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"cut":           "root /srv/shop\nlive versions/1.0\n",
		"cut, and more": "root /srv/shop\nroot /srv/b\nend\n",
		"no root":       "live versions/1.0\nend\n",
		"odd":           "root /srv/shop\nhello\nend\n",
		"behind it":     "root /srv/shop\nend\nlive versions/1.0\n",
	} {
		if all, err := release.ReadSeen(text); err == nil {
			t.Errorf("%s: it is read as %+v", name, all)
		}
	}
	for _, q := range []release.Ask{{App: "a b", Roots: []string{"/srv/a"}}, {App: "a"}, {App: "a", Roots: []string{"/srv/../a"}}, {App: "a", Env: "$(x)", Roots: []string{"/srv/a"}}} {
		if q.Check() == nil {
			t.Errorf("%+v can be asked", q)
		}
	}
}
