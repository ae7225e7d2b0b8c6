package work_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/lab/testfleet"
	"sluice/internal/run/work"
)

// overFleet reaches hosts that are real, as root.
type overFleet struct{ f *testfleet.Fleet }

func (o overFleet) Connect(ctx context.Context, name sluice.Host, _ sluice.SSH) (sluice.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := o.f.Host(string(name)).Connect(ctx, "root")
	if err != nil {
		return nil, &sluice.ConnectError{Failure: sluice.NoRoute, Err: errors.Join(sluice.ErrLinkLost, err)}
	}
	return &sshLink{c}, nil
}

func (o overFleet) Close() error { return nil }

// field is a worker with a fleet, and one app on each host.
type field struct {
	t       *testing.T
	f       *testfleet.Fleet
	shelf   *shelf
	outputs *outputs
	content map[string]map[string]string // of versions, for who checks
}

func newField(t *testing.T, c testfleet.Config) *field {
	return &field{t: t, f: testfleet.Start(t, c), shelf: newShelf(), outputs: newOutputs(), content: map[string]map[string]string{}}
}

func (d *field) put(version string, files map[string]string, links ...release.Link) manifest.Manifest {
	d.content[version] = maps.Clone(files)
	return d.shelf.put(d.t, version, files, links...)
}

func (d *field) job(root, version string) *sluice.Job {
	return &sluice.Job{ID: newJobID(), Namespace: "default", By: "ann@laptop", Command: "deploy", Options: sluice.Options{Reconnect: time.Minute},
		Action: sluice.Action{Kind: sluice.DeployTo, Release: &sluice.Release{App: "shop", Env: "prod", Version: version,
			Manifest: "sha256:" + hexSum(version), Deploy: sluice.Deploy{Root: root, Keep: 2}}}}
}

// start carries a job out on a host, in the background, with a worker of its own.
func (d *field) start(h *testfleet.Host, job *sluice.Job, points string) (end func() sluice.TaskFinished) {
	w := work.New(work.Config{Transport: func(sluice.SSH) sluice.Transport { return overFleet{d.f} }, Outputs: d.outputs, Blobs: &blobs{}, Releases: d.shelf, HelloTimeout: 30 * time.Second})
	w.SetPoints(points)
	done, failed := make(chan sluice.TaskFinished, 1), make(chan error, 1)
	go func() {
		failed <- w.Do(d.t.Context(), work.Assignment{Job: job, Host: sluice.Host(h.Name), Attempt: sluice.NewAttemptID(job.ID, 0, 1),
			Commit: func(_ context.Context, r sluice.TaskFinished) error { done <- r; return nil }})
	}()
	return func() sluice.TaskFinished {
		if err := <-failed; err != nil {
			d.t.Fatal(err)
		}
		return <-done
	}
}

func (d *field) ok(h *testfleet.Host, job *sluice.Job) sluice.TaskFinished {
	d.t.Helper()
	r := d.start(h, job, "")()
	if r.Outcome != sluice.Succeeded {
		a := sluice.NewAttemptID(job.ID, 0, 1)
		d.t.Fatalf("%s: %+v\n%s%s", h, r, d.outputs.text(a, "stdout"), d.outputs.text(a, "stderr"))
	}
	return r
}

// live is the version that is live below a root, as a tar archive shows it that the host makes: whole, with all its files and
// nothing else, or the test fails. It knows nothing of manifests.
func (d *field) live(h *testfleet.Host, root string) string {
	d.t.Helper()
	out, err := h.Exec(d.t.Context(), "cd '"+root+"' 2>/dev/null || exit 0; if [ -L live ]; then readlink live; tar -cf - --hard-dereference -C live/ .; fi")
	if err != nil {
		d.t.Fatal(err)
	}
	if out == "" {
		return ""
	}
	link, archive, _ := strings.Cut(out, "\n")
	version := strings.TrimPrefix(link, "versions/")
	version, _, _ = strings.Cut(version, "~")
	want := maps.Clone(d.content[version])
	if want == nil {
		d.t.Fatalf("%s: live leads to %q, which was never deployed", h, link)
	}
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			d.t.Fatalf("%s: %s: %v", h, link, err)
		}
		name := strings.TrimPrefix(e.Name, "./")
		switch e.Typeflag {
		case tar.TypeDir:
			continue
		case tar.TypeSymlink:
			name += "->" + e.Linkname
		case tar.TypeReg:
			if e.Mode&0o111 != 0 {
				name = "*" + name
			}
		}
		text, err := io.ReadAll(r)
		if is, ok := want[name]; err != nil || !ok || is != string(text) {
			d.t.Fatalf("%s: %s is not whole: %s has %.60q, want %.60q (%v, %v)", h, link, name, text, is, ok, err)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		d.t.Fatalf("%s: %s is not whole: these are missing: %v", h, link, slices.Sorted(maps.Keys(want)))
	}
	return version
}

// clean says that nothing of an attempt that was interrupted is left.
func (d *field) clean(h *testfleet.Host, root string) {
	d.t.Helper()
	out, err := h.Exec(d.t.Context(), "cd '"+root+"' && ls -d versions/.[!.]* .sluice/*.new .sluice/swing .sluice/own-* .sluice/sums* 2>/dev/null; ls .sluice/trees | while read -r v; do [ -d \"versions/$v\" ] || echo \"no $v\"; done; ls versions | while read -r v; do [ -d \".sluice/trees/$v\" ] || echo \"no record of $v\"; done")
	if err != nil || out != "" {
		d.t.Fatalf("%s: left over: %s (%v)", h, out, err)
	}
}

// stopAt is the function d_point that stops for good at a point, the first time that it comes there.
func stopAt(point string) string {
	return "d_point() {\ncase $1 in " + point + ") echo >/run/point; while :; do sleep 1000; done ;; esac\n}\n"
}

// TestDeployIsInterrupted: at every point between two changes everything is killed, by a power cut and by kill -9 in turn, many
// times (SLUICE_TEST_ROUNDS says how often by each shell). What is live is the old version or the new one, whole, and the next run succeeds and leaves nothing over.
func TestDeployIsInterrupted(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("SLUICE_TEST_ROUNDS")); err == nil {
		rounds = n
	}
	sh := []string{"dash", "busybox"}
	d := newField(t, testfleet.Config{Hosts: len(sh), Each: func(i int, h *testfleet.HostConfig) { h.Sh = sh[i] }})
	for i, h := range d.f.Hosts {
		t.Run(sh[i], func(t *testing.T) {
			t.Parallel()
			one := &field{t: t, f: d.f, shelf: newShelf(), outputs: newOutputs(), content: map[string]map[string]string{}}
			for round := range rounds {
				power := (round+i)%2 == 0 // so that one round has both
				for _, point := range release.Points() {
					one.interrupt(h, point, "once", power)
					if strings.HasPrefix(point, "once") {
						one.interrupt(h, point, "after", power)
					}
				}
			}
		})
	}
}

func (d *field) interrupt(h *testfleet.Host, point, phase string, power bool) {
	d.t.Helper()
	root := "/srv/it's shop"
	quoted := `'/srv/it'\''s shop'`
	exec := func(text string) {
		d.t.Helper()
		if _, err := h.Exec(d.t.Context(), text); err != nil {
			d.t.Fatal(err)
		}
	}
	files := func(n string) map[string]string {
		return map[string]string{"a": n, "same": "same", "dir/b c": n, "l->dir/b c": "", "*bin/run": "#!/bin/sh\n", "site": n, "empty": "", "*deploy/hooks/prepare.d/x": "#!/bin/sh\n", "*deploy/hooks/" + phase + ".d/x": "#!/bin/sh\n"}
	}
	fresh := slices.Contains([]string{"root", "place", "trees", "owner"}, point)
	if fresh {
		exec("rm -rf " + quoted)
	}
	// Three versions, of which two are kept; the first has a link outside, and the second another one.
	for i, v := range []string{"1", "2", "3"} {
		var links []release.Link
		if i > 0 {
			links = append(links, release.Link{Path: "/etc/site-" + v, To: "site"})
		}
		d.put(v, files(v+point+phase), links...)
	}
	if !fresh {
		exec("rm -rf " + quoted + " /etc/site-*")
		d.ok(h, d.job(root, "1"))
		d.ok(h, d.job(root, "2"))
	}
	before := d.live(h, strings.ReplaceAll(root, "'", `'\''`))
	target := "3"
	switch point {
	case "leftover":
		exec("mkdir -p " + quoted + "/versions/.new-x/y")
	case "aside", "forgotten":
		// A kept version that is damaged, and is made anew in its place.
		exec("cd " + quoted + " && echo spoiled >versions/1/a && echo >.sluice/trees/1/damaged")
		target = "1"
	}
	wanted := func() *sluice.Job {
		job := d.job(root, target)
		switch {
		case !strings.HasPrefix(point, "once"):
		case phase == "after":
			job.Action.Release.After = sluice.Host(h.Name)
		default:
			job.Action.Release.Once = sluice.Host(h.Name)
		}
		return job
	}
	end := d.start(h, wanted(), stopAt(point))
	eventually(d.t, "it comes to "+point, func() bool { _, err := h.ReadFile("/run/point"); return err == nil })
	ctx := d.t.Context()
	if power {
		if err := errors.Join(h.Kill(ctx), h.Boot(ctx)); err != nil {
			d.t.Fatal(err)
		}
	} else {
		_, _ = h.Exec(ctx, "rm /run/point; kill -9 -1")
	}
	r := end()
	if want := map[bool]sluice.Outcome{true: sluice.Failed, false: sluice.Unknown}[power]; r.Outcome != want {
		d.t.Fatalf("%s at %s: %+v, want %s", h, point, r, want)
	}
	live := d.live(h, strings.ReplaceAll(root, "'", `'\''`))
	if live != before && live != target {
		d.t.Fatalf("%s at %s: %q is live; before it was %q, and it was to be %q", h, point, live, before, target)
	}
	if r.Release == nil || r.Release.Live.Version != live || r.Release.Before.Version != before {
		d.t.Errorf("%s at %s: the outcome says %+v; %q is live and before it was %q", h, point, r.Release, live, before)
	}
	if point == "oncebegun" || point == "onceran" {
		// Nobody knows whether it did what it runs once for: a person says so.
		if r := d.start(h, wanted(), "")(); r.Outcome != sluice.Failed || !strings.Contains(r.Reason, "x runs once, and how it ended is not known") {
			d.t.Fatalf("%s at %s: %+v", h, point, r)
		}
		exec("echo done >$(echo " + quoted + "/.sluice/" + phase + "/*/x)")
	}
	last := d.ok(h, wanted())
	if got := d.live(h, strings.ReplaceAll(root, "'", `'\''`)); got != target || last.Release.Live.Version != target {
		d.t.Fatalf("%s at %s: the next run made %q live, and says %+v", h, point, got, last.Release)
	}
	d.clean(h, strings.ReplaceAll(root, "'", `'\''`))
	for _, v := range []string{"2", "3"} {
		b, err := h.ReadFile("/etc/site-" + v)
		if should := v == target; should != (err == nil) || should && string(b) != v+point+phase {
			d.t.Fatalf("%s at %s: the link outside of version %s: %q, %v", h, point, v, b, err)
		}
	}
}

// A disk that is full before or fills up in between costs nothing that was there.
func TestDeployOnAFullDisk(t *testing.T) {
	d := newField(t, testfleet.Config{Hosts: 1, Host: testfleet.HostConfig{Disk: 48 << 20}})
	h := d.f.Hosts[0]
	d.put("1", map[string]string{"a": "1"})
	d.ok(h, d.job("/srv/shop", "1"))
	d.put("2", map[string]string{"a": "2", "big": strings.Repeat("0123456789abcdef", 4<<16)}) // 4 MB
	if err := h.FillDisk(6 << 20); err != nil {
		t.Fatal(err)
	}
	r := d.start(h, d.job("/srv/shop", "2"), "")()
	if !r.NotStarted || !strings.Contains(r.Reason, "version 2 needs 11 MB") {
		t.Errorf("%+v", r)
	}
	// It looked well, and then it was not: the disk is filled while the parcel is unpacked.
	if err := h.FreeDisk(); err != nil {
		t.Fatal(err)
	}
	job := d.job("/srv/shop", "2")
	end := d.start(h, job, "d_point() {\ncase $1 in unpack) echo >/run/point; until [ -e /run/go ]; do sleep 0.05; done ;; esac\n}\n")
	eventually(t, "it is about to unpack", func() bool { _, err := h.ReadFile("/run/point"); return err == nil })
	if err := errors.Join(h.FillDisk(1<<20), h.WriteFile("/run/go", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if r = end(); r.Outcome != sluice.Failed || !strings.Contains(r.Reason, "the step unpack ended with 1: what was sent cannot be unpacked") {
		t.Errorf("%+v", r)
	}
	if live := d.live(h, "/srv/shop"); live != "1" {
		t.Errorf("%q is live", live)
	}
	if err := h.FreeDisk(); err != nil {
		t.Fatal(err)
	}
	d.ok(h, d.job("/srv/shop", "2"))
	if live := d.live(h, "/srv/shop"); live != "2" {
		t.Errorf("%q is live", live)
	}
	d.clean(h, "/srv/shop")
}

// Two attempts in one root do not get into each other's way, whoever sent them, and several apps on one host know nothing
// of each other.
func TestDeploysOnOneHost(t *testing.T) {
	d := newField(t, testfleet.Config{Hosts: 1})
	h := d.f.Hosts[0]
	d.put("1", map[string]string{"a": "1"})
	d.put("2", map[string]string{"a": "2"})
	first := d.job("/srv/shop", "1")
	end := d.start(h, first, "d_point() {\ncase $1 in synced) echo >/run/point; until [ -e /run/go ]; do sleep 0.05; done ;; esac\n}\n")
	eventually(t, "it holds the lock", func() bool { _, err := h.ReadFile("/run/point"); return err == nil })
	r := d.start(h, d.job("/srv/shop", "2"), "")()
	if !r.NotStarted || !strings.Contains(r.Reason, "another attempt is at work in /srv/shop: job "+string(first.ID)+", attempt "+string(first.ID)+"-0-1, by ann@laptop, since 20") {
		t.Errorf("%+v", r)
	}
	var others []func() sluice.TaskFinished
	for i := range 4 {
		job := d.job(fmt.Sprint("/srv/app", i), "2")
		job.Action.Release.App = fmt.Sprint("app", i)
		others = append(others, d.start(h, job, ""))
	}
	for _, end := range others {
		if r := end(); r.Outcome != sluice.Succeeded || r.Release.Live.Version != "2" {
			t.Errorf("%+v", r)
		}
	}
	if err := h.WriteFile("/run/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := end(); r.Outcome != sluice.Succeeded {
		t.Errorf("%+v", r)
	}
	d.ok(h, d.job("/srv/shop", "2")) // the lock is free
	for i := range 4 {
		if live := d.live(h, fmt.Sprint("/srv/app", i)); live != "2" {
			t.Errorf("app%d: %q is live", i, live)
		}
	}
	foreign := d.job("/srv/app1", "2")
	if r := d.start(h, foreign, "")(); !r.NotStarted || !strings.Contains(r.Reason, "/srv/app1 belongs to default/app1/prod") {
		t.Errorf("%+v", r)
	}
}
