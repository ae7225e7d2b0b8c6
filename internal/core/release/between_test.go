package release_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice/internal/core/release"
)

// began is when a process began, as the kernel says it.
func began(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	return strings.Fields(text[strings.LastIndex(text, ") ")+2:])[19]
}

// What was true when the host was looked at may be so no more when the steps begin: they look themselves, under the lock.
func TestBetweenTheLookAndTheStart(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		one := m.tree(map[string]string{"a": "1"})
		m.want(0, m.wish("1", one))
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			t.Fatal(err)
		}
		epoch := strings.TrimSpace(string(boot)) + "." + began(t, 1)
		me := os.Getpid()
		two := m.tree(map[string]string{"a": "2"})
		for _, c := range []struct {
			name   string
			change func()
			says   string // "" where it is no obstacle
		}{
			{"a lock that is held", func() {
				m.write(fmt.Sprintf("%s job other, attempt x, by bob, since noon\n1 1\n%d %s\n", epoch, me, began(t, me)), ".sluice/lock.7")
			}, "another attempt is at work in " + m.root + ": job other, attempt x, by bob, since noon"},
			{"one of before the restart", func() {
				m.write(fmt.Sprintf("another.1 job other\n%d %s\n", me, began(t, me)), ".sluice/lock.8")
			}, ""},
			{"one of a process that ended", func() { m.write(fmt.Sprintf("%s job other\n%d 17\n4194305 1\n", epoch, me), ".sluice/lock.17") }, ""},
			{"one that a power cut emptied", func() { m.write("", ".sluice/lock.27") }, ""},
			{"another owner", func() { m.write("default/till/prod\n", ".sluice/owner") }, "belongs to default/till/prod"},
			{"an owner that a power cut emptied", func() { m.write("", ".sluice/owner") }, ""},
			{"live was changed", func() {
				if err := errors.Join(os.Remove(m.file("live")), os.Symlink("versions/elsewhere", m.file("live"))); err != nil {
					t.Fatal(err)
				}
			}, "live leads to 'versions/elsewhere', it led to 'versions/"},
		} {
			w := m.wish("2", two)
			r, _ := m.look(w)
			p, err := release.Decide(w, r)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			c.change()
			code := m.carry(w, p)
			if c.says == "" && code != 0 || c.says != "" && (code != 1 || !strings.Contains(m.out, c.says)) {
				t.Errorf("%s: %d; it shall say %q\n%s", c.name, code, c.says, m.out)
			}
			if strings.HasPrefix(c.says, "another") {
				// The look says it, too.
				m.refused(m.wish("2", two), c.says)
				_ = os.Remove(m.file(".sluice/lock.7"))
			}
			if strings.HasPrefix(c.says, "belongs") {
				m.write("default/shop/prod\n", ".sluice/owner")
			}
		}
	})
}

// A link that leads elsewhere than it did is damage like any other.
func TestALinkWasChanged(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		one := m.tree(map[string]string{"a": "1", "dir/it's a link->../a": "", "nowhere->not/there": ""})
		m.want(0, m.wish("1", one))
		m.want(0, m.wish("2", m.tree(map[string]string{"a": "2"})))
		link := m.file("versions/1/dir/it's a link")
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/passwd", link); err != nil {
			t.Fatal(err)
		}
		m.want(1, m.back("1", one.Digest()))
		if !strings.Contains(m.out, "this link does not lead where it should: dir/it's a link") {
			t.Error(m.out)
		}
		if live, _ := os.Readlink(m.file("live")); live != "versions/2" {
			t.Error(live)
		}
	})
}

// A swing that fails before the rename leaves the host where it was, and it goes back; one that fails behind it does not.
func TestASwingThatFails(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		m.want(0, m.wish("1", m.tree(map[string]string{"a": "1"})))
		for _, c := range []struct{ version, spoil, live, last string }{
			{"2", "echo foreign >", "1", "swing 1,undrain/x 0"},
			{"3", "rmdir $(dirname ", "3", "drain/x 0,swing 1"},
		} {
			etc := m.dir + "/etc" + c.version
			if err := os.Mkdir(etc, 0o755); err != nil {
				t.Fatal(err)
			}
			spoil := c.spoil + etc + "/site"
			if strings.Contains(spoil, "$(") {
				spoil += ")"
			}
			w := m.wish(c.version, m.tree(map[string]string{"site": c.version, "*deploy/hooks/drain.d/x": hook(spoil), "*deploy/hooks/undrain.d/x": hook("")}))
			w.Outside = append(w.Outside, link(etc+"/site", "site"))
			m.want(1, w)
			var steps []string
			for _, s := range m.steps {
				if !strings.HasPrefix(s, "=") {
					steps = append(steps, s)
				}
			}
			if got := strings.Join(steps, ","); !strings.HasSuffix(got, c.last) {
				t.Errorf("%s: %s\n%s", c.version, got, m.out)
			}
			if live, _ := os.Readlink(m.file("live")); live != "versions/"+c.live {
				t.Errorf("%s: %s is live", c.version, live)
			}
		}
	})
}
