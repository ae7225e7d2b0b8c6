package release_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/release"
)

func TestWhereOnce(t *testing.T) {
	m := newMachine(t, "dash")
	for _, c := range []struct {
		files map[string]string
		of    sluice.Deploy
		want  string
		says  string
	}{
		{map[string]string{"a": ""}, sluice.Deploy{Once: "first"}, "", ""},
		{map[string]string{"*deploy/hooks/once.d/10-migrate": ""}, sluice.Deploy{Once: "$db"}, "$db", ""},
		{map[string]string{"*deploy/hooks/once.d/10-migrate": ""}, sluice.Deploy{Once: "$db", NoHooks: true}, "", ""},
		{map[string]string{"deploy/hooks/once.d/README": "", "*deploy/hooks/once.d/x~": "", "*deploy/hooks/once.d/.x": "", "*deploy/hooks/once.d/lib/x": ""}, sluice.Deploy{}, "", ""},
		{map[string]string{"bin/m": "", "deploy/hooks/once.d/m->../../../bin/m": ""}, sluice.Deploy{Once: "first"}, "first", ""},
		{map[string]string{"*deploy/hooks/once.d/10-migrate": ""}, sluice.Deploy{}, "", "has deploy/hooks/once.d/10-migrate, and app.yaml does not say which host runs it"},
	} {
		got, err := release.Once(c.of, m.tree(c.files))
		if got != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %q, %v", c.files, got, err)
		}
	}
}

// once is a version that migrates, and writes down that it did.
func (m *machine) once(version, config string) release.Wish {
	w := m.wish(version, m.tree(map[string]string{"a": version, "deploy/configuration.json": config,
		"*deploy/hooks/prepare.d/x":         hook("echo prepare >>$LOG; exit ${PREPARE:-0}"),
		"*deploy/hooks/once.d/10-migrate":   hook("echo once $SLUICE_PHASE $SLUICE_VERSION $(readlink \"$SLUICE_LIVE_DIR\") >>$LOG; exit ${MIGRATE:-0}"),
		"*deploy/hooks/once.d/20-then":      hook("echo then >>$LOG; exit ${THEN:-0}"),
		"*deploy/hooks/deployed.d/x":        hook("echo deployed >>$LOG; exit ${DEPLOYED:-0}"),
		"deploy/hooks/once.d/not-a-program": ""}))
	w.Once = true
	return w
}

// It runs once for a version and its configuration, before the swing, whatever is tried again; on other hosts and on the way back never.
func TestOnceOnTheHost(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		log := filepath.Join(m.dir, "log")
		try := func(status int, w release.Wish, want string, env ...string) {
			t.Helper()
			_ = os.Remove(log)
			m.env = map[string]string{"LOG": log}
			for _, e := range env {
				k, v, _ := strings.Cut(e, "=")
				m.env[k] = v
			}
			m.want(status, w)
			b, _ := os.ReadFile(log)
			if got := strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ","); got != want {
				t.Fatalf("it ran %q, want %q\n%s\n%s", got, want, m.out, strings.Join(m.steps, "\n"))
			}
		}
		other := m.once("1", "a")
		other.Once = false
		try(0, other, "prepare,deployed")
		one := m.live()

		try(3, m.once("2", "a"), "prepare", "PREPARE=3")
		try(4, m.once("2", "a"), "prepare,once once 2 versions/1", "MIGRATE=4")
		if m.live() != "versions/1" {
			t.Error("a failed migration has changed what is live")
		}
		try(5, m.once("2", "a"), "prepare,once once 2 versions/1,then", "THEN=5")
		try(6, m.once("2", "a"), "prepare,then,deployed", "DEPLOYED=6") // the first is done, and is not run again
		if !strings.Contains(m.out, "10-migrate has run for this release already: done by attempt "+string(job)) {
			t.Error(m.out)
		}
		try(0, m.once("2", "a"), "prepare,deployed")
		if got := strings.Join(m.steps, ","); !strings.Contains(got, "check 0,once/10-migrate 0,once/20-then 0,check 0,swing 0") {
			t.Error(got)
		}
		try(0, m.once("2", "b"), "prepare,once once 2 versions/2,then,deployed") // another configuration
		back := m.back("1", m.once("1", "a").Tree.Digest())
		back.Once = true
		try(0, back, "deployed")
		if m.live() != one {
			t.Error(m.live())
		}
		try(0, m.once("2", "a"), "prepare,deployed")
		try(0, m.once("3", "a"), "prepare,once once 3 versions/2,then,deployed")
	})
}

func (m *machine) live() string {
	m.t.Helper()
	to, err := os.Readlink(m.file("live"))
	if err != nil {
		m.t.Fatal(err)
	}
	return to
}

// What was killed between its beginning and its end may have done what it does, before the others or after them: nobody makes up whether, and nothing runs twice.
func TestOnceIsInterrupted(t *testing.T) {
	for point, ran := range map[string]bool{"onceplace": false, "oncebegun": false, "onceran": true} {
		t.Run(point+" once", func(t *testing.T) {
			interrupted(t, point, ran, "once/10-migrate", func(m *machine) release.Wish { return m.once("1", "a") })
		})
		t.Run(point+" after", func(t *testing.T) {
			interrupted(t, point, ran, "after/10-tell", func(m *machine) release.Wish {
				w := m.after("1", "a")
				w.Once = false
				return w
			})
		})
	}
}

func interrupted(t *testing.T, point string, ran bool, step string, wish func(*machine) release.Wish) {
	phase, name, _ := strings.Cut(step, "/")
	eachShell(t, func(t *testing.T, m *machine) {
		log := filepath.Join(m.dir, "log")
		m.env = map[string]string{"LOG": log}
		m.point = fmt.Sprintf("d_point() {\ncase $1 in %s) kill -9 0 ;; esac\n}\n", point)
		m.want(-1, wish(m))
		if b, _ := os.ReadFile(log); strings.Contains(string(b), phase) != ran {
			t.Fatalf("%s", b)
		}
		m.point = ""
		if point != "onceplace" {
			_ = os.Remove(log)
			m.want(1, wish(m))
			if b, _ := os.ReadFile(log); strings.Contains(string(b), phase) || !strings.Contains(m.out, name+" runs once, and how it ended is not known: begun by attempt "+string(job)) {
				t.Fatalf("%s\n%s", b, m.out)
			}
			if _, err := os.Lstat(m.file("live")); (err == nil) != (phase == "after") {
				t.Errorf("live: %v", err)
			}
			record, _ := filepath.Glob(m.file(".sluice/" + phase + "/*/" + name))
			if len(record) != 1 || !strings.Contains(m.out, record[0]) {
				t.Fatalf("%s: %s", record, m.out)
			}
			if ran {
				err := os.WriteFile(record[0], []byte("done\n"), 0o600)
				if err != nil {
					t.Fatal(err)
				}
			} else if err := os.Remove(record[0]); err != nil {
				t.Fatal(err)
			}
		}
		_ = os.Remove(log)
		m.want(0, wish(m))
		if b, _ := os.ReadFile(log); strings.Contains(string(b), phase) == ran {
			t.Errorf("%s", b)
		}
	})
}

// A migration that writes into files of the version is found before anything is live.
func TestOnceChangesTheVersion(t *testing.T) {
	m := newMachine(t, "dash")
	m.want(0, m.wish("1", m.tree(map[string]string{"a": "1"})))
	w := m.wish("2", m.tree(map[string]string{"a": "2", "*deploy/hooks/once.d/x": hook("chmod u+w a; echo spoiled >a")}))
	w.Once = true
	m.want(1, w)
	if !strings.Contains(m.out, "a hook has changed files of the version") || m.live() != "versions/1" {
		t.Error(m.live(), m.out)
	}
}

func TestWhereAfter(t *testing.T) {
	m := newMachine(t, "dash")
	hooks := map[string]string{"*deploy/hooks/after.d/90-tell": ""}
	for _, c := range []struct {
		files map[string]string
		of    sluice.Deploy
		want  string
	}{
		{map[string]string{"a": "", "*deploy/hooks/once.d/x": ""}, sluice.Deploy{After: "last"}, ""},
		{hooks, sluice.Deploy{}, "last"},
		{hooks, sluice.Deploy{After: "$db"}, "$db"},
		{hooks, sluice.Deploy{After: "$db", NoHooks: true}, ""},
		{map[string]string{"deploy/hooks/after.d/README": "", "*deploy/hooks/after.d/x~": ""}, sluice.Deploy{}, ""},
	} {
		if got := release.After(c.of, m.tree(c.files)); got != c.want {
			t.Errorf("%v: %q, want %q", c.files, got, c.want)
		}
	}
}

// after is a version that has something to do when all have it, and writes down that it did. A hook of the same name runs once before.
func (m *machine) after(version, config string) release.Wish {
	w := m.wish(version, m.tree(map[string]string{"a": version, "deploy/configuration.json": config,
		"*deploy/hooks/once.d/10-tell":     hook("echo once >>$LOG"),
		"*deploy/hooks/deployed.d/x":       hook("echo deployed >>$LOG"),
		"*deploy/hooks/undrain.d/x":        hook("echo undrain >>$LOG"),
		"*deploy/hooks/after.d/10-tell":    hook("echo after $SLUICE_PHASE $SLUICE_VERSION $(readlink \"$SLUICE_LIVE_DIR\") $(pwd -P | sed 's,.*/,,') >>$LOG; exit ${TELL:-0}"),
		"*deploy/hooks/after.d/20-then":    hook("echo then >>$LOG; exit ${THEN:-0}"),
		"deploy/hooks/after.d/not-program": ""}))
	w.Once, w.After = true, true
	return w
}

// It runs once for a version and its configuration, when the host serves again, whatever is tried again; on other hosts and on the way
// back never.
func TestAfterOnTheHost(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		log := filepath.Join(m.dir, "log")
		try := func(status int, w release.Wish, want string, env ...string) {
			t.Helper()
			_ = os.Remove(log)
			m.env = map[string]string{"LOG": log}
			for _, e := range env {
				k, v, _ := strings.Cut(e, "=")
				m.env[k] = v
			}
			m.want(status, w)
			b, _ := os.ReadFile(log)
			if got := strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ","); got != want {
				t.Fatalf("it ran %q, want %q\n%s\n%s", got, want, m.out, strings.Join(m.steps, "\n"))
			}
		}
		other := m.after("1", "a")
		other.Once, other.After = false, false
		try(0, other, "deployed,undrain")

		try(4, m.after("2", "a"), "once,deployed,undrain,after after 2 versions/2 2", "TELL=4")
		if got := strings.Join(m.steps, ","); m.live() != "versions/2" || !strings.HasSuffix(got, "undrain/x 0,after/10-tell 4") {
			t.Error(m.live(), got)
		}
		try(5, m.after("2", "a"), "deployed,undrain,after after 2 versions/2 2,then", "THEN=5")
		try(0, m.after("2", "a"), "deployed,undrain,then") // the first is done, and is not run again
		if got := strings.Join(m.steps, ","); !strings.Contains(m.out, "10-tell has run for this release already: done by attempt "+string(job)) ||
			!strings.HasSuffix(got, "undrain/x 0,after/10-tell 0,after/20-then 0,collect 0") {
			t.Error(got, m.out)
		}
		try(0, m.after("2", "a"), "deployed,undrain")
		try(0, m.after("2", "b"), "once,deployed,undrain,after after 2 "+"versions/2~"+strings.TrimPrefix(m.after("2", "b").Tree.Digest(), "sha256:")[:8]+
			" 2~"+strings.TrimPrefix(m.after("2", "b").Tree.Digest(), "sha256:")[:8]+",then")
		back := m.back("1", m.after("1", "a").Tree.Digest())
		back.Once, back.After = true, true
		try(0, back, "deployed,undrain")
	})
}
