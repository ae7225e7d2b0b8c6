package work_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/run/tree"
	"sluice/internal/run/work"
)

func (b *bench) put(data []byte) string {
	b.t.Helper()
	digest, _, err := b.blobs.Put(context.Background(), bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	return digest
}

func TestScript(t *testing.T) {
	for name, text := range map[string]string{
		"sh":             "#!/bin/sh\necho \"$#: $1|$2\"; cat; exit 6\n",
		"no first line":  "echo \"$#: $1|$2\"; cat; exit 6\n",
		"with argument":  "#!/bin/sh -u\necho \"$#: $1|$2\"; cat; exit 6\n",
		"env":            "#!/usr/bin/env bash\n[[ -n $BASH_VERSION ]] && echo \"$#: $1|$2\"; cat; exit 6\n",
		"large":          "#!/bin/sh\n" + strings.Repeat("# filling filling filling\n", 20000) + "echo \"$#: $1|$2\"; cat; exit 6\n",
		"no end of line": "#!/bin/sh\necho \"$#: $1|$2\"; cat; exit 6",
	} {
		t.Run(name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, b *bench) {
				b.host.hook("pre.d/a", "#!/bin/sh\necho pre\n", 0o755)
				b.job.Action = sluice.Action{Kind: sluice.RunScript, Script: b.put([]byte(text)), Args: []string{"a 'b' $(id)", ""}}
				want(t, b.run(), sluice.Failed, 6, "the command ended with 6")
				if b.stdout() != "pre\n2: a 'b' $(id)|\n" {
					t.Errorf("stdout %q", b.stdout())
				}
				b.wantClean()
			})
		})
	}
}

func TestScriptOnAPlaceThatRunsNothing(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	tiny(t, b.host, "size=1m,noexec")
	b.job.Target.Dir = b.host.place
	b.job.Action = sluice.Action{Kind: sluice.RunScript, Script: b.put([]byte("#!/bin/sh\necho ran\n"))}
	want(t, b.run(), sluice.Succeeded, 0, "")
	if b.stdout() != "ran\n" {
		t.Errorf("stdout %q, stderr %q", b.stdout(), b.stderr())
	}
}

func TestScriptThatIsNotThere(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	b.job.Action = sluice.Action{Kind: sluice.RunScript, Script: "sha256:00"}
	r := b.run()
	want(t, r, sluice.Failed, -1, "not in the store")
	if !r.NotStarted {
		t.Errorf("%+v", r)
	}
}

func TestALongCommand(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		b.job.Action.Shell = "x='" + strings.Repeat("long ", 60000) + "'; echo ${#x} $#"
		want(t, b.run(), sluice.Succeeded, 0, "")
		if b.stdout() != "300000 0\n" {
			t.Errorf("stdout %q", b.stdout())
		}
	})
}

// A blob that changes on its way is refused before anything runs.
func TestDamageOnTheWay(t *testing.T) {
	b := newBench(t, newHost(t, "dash"))
	digest := b.put([]byte("#!/bin/sh\ntouch \"$HOME/runs\"\n"))
	b.blobs.kept[digest] = []byte("#!/bin/sh\ntouch \"$HOME/runs\" \n")
	b.job.Action = sluice.Action{Kind: sluice.RunScript, Script: digest}
	r := b.run()
	want(t, r, sluice.Failed, -1, "damaged")
	if !r.NotStarted || exists(filepath.Join(b.host.home, "runs")) {
		t.Errorf("%+v", r)
	}
	b.wantClean()
}

func (b *bench) pack(root string) string {
	b.t.Helper()
	var buf bytes.Buffer
	if err := tree.Pack(&buf, root); err != nil {
		b.t.Fatal(err)
	}
	return b.put(buf.Bytes())
}

func TestCopyAFile(t *testing.T) {
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	eachShell(t, func(t *testing.T, b *bench) {
		src := filepath.Join(t.TempDir(), "it's a file")
		if err := os.WriteFile(src, data, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(src, 0o4750); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(b.host.home, "dir with $(space)")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		source := b.pack(src)
		for dest, at := range map[string]string{
			dir:                           filepath.Join(dir, "it's a file"),
			dir + "/":                     filepath.Join(dir, "it's a file"),
			filepath.Join(dir, "other"):   filepath.Join(dir, "other"),
			"relative":                    filepath.Join(b.host.home, "relative"),
			"-dash":                       filepath.Join(b.host.home, "-dash"),
			filepath.Join(dir, "no/such"): "",
		} {
			b.job.ID = newJobID()
			b.job.Action = sluice.Action{Kind: sluice.CopyTo, Source: source, Dest: dest}
			r := b.run()
			if at == "" {
				want(t, r, sluice.Failed, 1, "ended with 1")
				continue
			}
			want(t, r, sluice.Succeeded, 0, "")
			got, err := os.ReadFile(at)
			info, _ := os.Stat(at)
			if err != nil || !bytes.Equal(got, data) || info.Mode() != 0o750 {
				t.Errorf("%s: %d bytes, mode %v, %v; stderr %q", at, len(got), info, err, b.stderr())
			}
			b.wantClean()
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".sluice*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestCopyATree(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		src := t.TempDir()
		for name, text := range map[string]string{"a/b/c.txt": "c", "a/.hidden": "h", "a/..odd": "o", "new dir/x": "x", "top": "t"} {
			file := filepath.Join(src, name)
			_ = os.MkdirAll(filepath.Dir(file), 0o755)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("b/c.txt", filepath.Join(src, "a/link")); err != nil {
			t.Fatal(err)
		}
		dest := filepath.Join(b.host.home, "dest")
		_ = os.MkdirAll(filepath.Join(dest, "a", "kept"), 0o755)
		_ = os.WriteFile(filepath.Join(dest, "a", "link"), []byte("an old file"), 0o644)
		b.job.Action = sluice.Action{Kind: sluice.CopyTo, Source: b.pack(src), Dest: dest}
		want(t, b.run(), sluice.Succeeded, 0, "")
		if out, err := exec.Command("diff", "-r", "--no-dereference", src, dest).CombinedOutput(); string(out) != "Only in "+dest+"/a: kept\n" {
			t.Errorf("diff: %s %v; stderr %q", out, err, b.stderr())
		}
		b.wantClean()
		// A file where a directory must be is told, and nothing of it is touched.
		b.job.ID = newJobID()
		_ = os.RemoveAll(filepath.Join(dest, "new dir"))
		_ = os.WriteFile(filepath.Join(dest, "new dir"), []byte("mine"), 0o644)
		want(t, b.run(), sluice.Failed, 1, "ended with 1")
		if !strings.Contains(b.stderr(), "in the way") {
			t.Errorf("stderr %q", b.stderr())
		}
	})
}

func TestFetch(t *testing.T) {
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	eachShell(t, func(t *testing.T, b *bench) {
		dir := t.TempDir()
		src := filepath.Join(b.host.home, "logs")
		_ = os.MkdirAll(filepath.Join(src, "deep"), 0o755)
		_ = os.WriteFile(filepath.Join(src, "deep", "a file"), data, 0o600)
		_ = os.Symlink("deep/a file", filepath.Join(src, "inside"))
		_ = os.Symlink("/etc/passwd", filepath.Join(src, "outside"))
		fetch := func(what string) sluice.TaskFinished {
			b.job.ID = newJobID()
			b.job.Action = sluice.Action{Kind: sluice.FetchFrom, Source: what}
			r, err := b.do(context.Background(), work.Assignment{FetchDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		want(t, fetch(filepath.Join(src, "deep", "a file")), sluice.Succeeded, 0, "")
		got, err := os.ReadFile(filepath.Join(dir, "web1", src, "deep", "a file"))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v; stderr %q", len(got), err, b.stderr())
		}
		for range 2 {
			want(t, fetch("logs"), sluice.Succeeded, 0, "links that point outside")
			got, err = os.ReadFile(filepath.Join(dir, "web1", "logs", "inside"))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		want(t, fetch("no/such"), sluice.Failed, 1, "")
		if !strings.Contains(b.stderr(), "no such file") {
			t.Errorf("stderr %q", b.stderr())
		}
		want(t, fetch("../x"), sluice.Failed, -1, "no path that can be fetched")
		if left, _ := filepath.Glob(filepath.Join(dir, "web1", ".sluice*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestFetchedIsTold: an attempt succeeds when whoever has to has kept what it fetched, and fails where that cannot be.
func TestFetchedIsTold(t *testing.T) {
	eachShell(t, func(t *testing.T, b *bench) {
		if err := os.WriteFile(filepath.Join(b.host.home, "f"), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		var fails error
		told := 0
		b.worker = work.New(work.Config{Transport: func(sluice.SSH) sluice.Transport { return b.host }, Outputs: b.outputs, Blobs: b.blobs, HelloTimeout: 20 * time.Second,
			Fetched: func(job sluice.JobID, a sluice.AttemptID, in string) error {
				told++
				of, _, _, _ := a.Parse()
				if text, err := os.ReadFile(filepath.Join(in, "f")); job != b.job.ID || of != job || in != filepath.Join(dir, "web1") || string(text) != "text" || err != nil {
					t.Errorf("%s of %s in %s: %q, %v", a, job, in, text, err)
				}
				return fails
			}})
		for _, fails = range []error{nil, errors.New("no other server has it")} {
			b.job.ID = newJobID()
			b.job.Action = sluice.Action{Kind: sluice.FetchFrom, Source: "f"}
			r, err := b.do(context.Background(), work.Assignment{FetchDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if fails == nil {
				want(t, r, sluice.Succeeded, 0, "")
			} else {
				want(t, r, sluice.Failed, 1, "no other server has it")
			}
		}
		if told != 2 {
			t.Errorf("told %d times", told)
		}
	})
}
