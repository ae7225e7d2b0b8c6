package retain_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/dirarchive"
	"sluice/internal/adapter/dirblobs"
	"sluice/internal/adapter/dirfetched"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/internal/run/retain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// house is what a server keeps, on a clock that is set.
type house struct {
	t       *testing.T
	now     time.Time
	svc     *control.Service
	outputs *diroutputs.Outputs
	blobs   *dirblobs.Blobs
	fetched *dirfetched.Fetched
	dir     string
	fleet   *sluice.Fleet
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, now: start, dir: t.TempDir()}
	var err error
	if h.outputs, err = diroutputs.New(filepath.Join(h.dir, "outputs")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.outputs.CloseAll() })
	if h.blobs, err = dirblobs.New(filepath.Join(h.dir, "blobs"), start); err != nil {
		t.Fatal(err)
	}
	h.fetched = dirfetched.New(filepath.Join(h.dir, "fetched"))
	h.fleet = &sluice.Fleet{Namespace: "prod", Hosts: []sluice.Host{"h1", "h2"}, Source: "f", Tags: map[sluice.Tag][]sluice.Host{}}
	h.svc = &control.Service{Log: fake.NewLog(), Drivers: fake.NewDrivers(), Outputs: h.outputs, Blobs: h.blobs, Clock: func() time.Time { return h.now }, By: "ann"}
	return h
}

// blob puts one that was put now.
func (h *house) blob(text string) string {
	h.t.Helper()
	digest, _, err := h.blobs.Put(h.t.Context(), strings.NewReader(text))
	if err != nil {
		h.t.Fatal(err)
	}
	h.dated(filepath.Join("blobs", strings.Replace(digest, ":", "-", 1)))
	return digest
}

func (h *house) dated(name string) {
	h.t.Helper()
	if err := os.Chtimes(filepath.Join(h.dir, name), h.now, h.now); err != nil {
		h.t.Fatal(err)
	}
}

// job runs one now, with an outcome on its hosts ("" goes on), and prints.
func (h *house) job(end sluice.Outcome, script string, bytes int, hosts ...sluice.Host) sluice.JobID {
	t := h.t
	t.Helper()
	r := control.Request{Fleet: h.fleet, Targets: hosts, Command: "x", Action: sluice.Action{Kind: sluice.RunScript, Script: script}}
	d, err := h.svc.Prepare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.svc.Submit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	id := d.Job.ID
	for range 2 {
		_, err := h.svc.Log.Update(t.Context(), "prod", 0, func(tail []sluice.Event) (out []sluice.Event, _ error) {
			s := schedule.New()
			for _, e := range tail {
				if err := s.Apply(e); err != nil {
					return nil, err
				}
			}
			for _, a := range s.Attempts(id) {
				if end != "" && !a.Unknown {
					e := sluice.Event{Time: h.now, Job: id, Body: sluice.TaskFinished{Host: a.Host, Attempt: a.ID, Outcome: end}}
					if err := s.Apply(e); err != nil {
						return nil, err
					}
					out = append(out, e)
				}
			}
			mine := func(j sluice.JobID) bool { return j == id }
			return append(out, s.Decide(schedule.Input{Now: h.now, Owns: mine, Driven: mine})...), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := h.outputs.Write(id, sluice.NewAttemptID(id, 0, 1), "stdout", 0, []byte(strings.Repeat("p", bytes))); err != nil {
		t.Fatal(err)
	}
	if err := h.outputs.Close(id); err != nil {
		t.Fatal(err)
	}
	h.dated(filepath.Join("outputs", string(id)+".out"))
	return id
}

func (h *house) config(p retain.Policy, a sluice.Archive) retain.Config {
	return retain.Config{Policy: p, Log: h.svc.Log, Outputs: h.outputs, Printed: h.outputs, Sent: h.blobs, Fetched: h.fetched, Archive: a, Clock: h.svc.Clock,
		Trouble: func(text string) { h.t.Errorf("trouble: %s", text) }}
}

func (h *house) sweep(p retain.Policy, a sluice.Archive) retain.Swept {
	h.t.Helper()
	done, err := retain.Sweep(h.t.Context(), h.config(p, a))
	if err != nil {
		h.t.Fatal(err)
	}
	return done
}

func (h *house) printed(id sluice.JobID) bool {
	h.t.Helper()
	n, err := h.outputs.Size(id, sluice.NewAttemptID(id, 0, 1), "stdout")
	if err != nil {
		h.t.Fatal(err)
	}
	return n > 0
}

func (h *house) removed(id sluice.JobID) (out []sluice.OutputRemoved) {
	h.t.Helper()
	events, err := h.svc.Events(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		if b, is := e.Body.(sluice.OutputRemoved); is {
			out = append(out, b)
		}
	}
	return out
}

func (h *house) sent(digest string) bool {
	h.t.Helper()
	r, err := h.blobs.Open(h.t.Context(), digest)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return r.Close() == nil
}

// What is too old goes, with an event; what somebody needs stays, however old it is.
func TestByAge(t *testing.T) {
	h := newHouse(t)
	old := h.job(sluice.Succeeded, h.blob("old"), 10, "h1")
	goesOn := h.job("", h.blob("goes on"), 10, "h1")
	h.now = start.Add(20 * day)
	young := h.job(sluice.Succeeded, h.blob("young"), 10, "h2")
	out := h.job(sluice.Failed, h.blob("failed"), 10, "h2") // h2 is out because of it
	h.now = start.Add(40 * day)
	if got := h.sweep(retain.Policy{}, nil); got != (retain.Swept{}) {
		t.Errorf("without a policy %+v", got)
	}
	got := h.sweep(retain.Policy{Output: 30 * day}, nil)
	if got.Outputs != 1 || got.Blobs != 0 || h.printed(old) || !h.printed(goesOn) || !h.printed(young) || !h.printed(out) {
		t.Errorf("%+v", got)
	}
	if ev := h.removed(old); len(ev) != 1 || ev[0].Reason != "older than 720h0m0s" || ev[0].Bytes < 10 || ev[0].By == "" {
		t.Errorf("events %+v", ev)
	}
	if got := h.sweep(retain.Policy{Output: 30 * day}, nil); got != (retain.Swept{}) {
		t.Errorf("again %+v", got)
	}
	h.now = start.Add(400 * day)
	if got := h.sweep(retain.Policy{Output: 30 * day}, nil); got.Outputs != 1 || !h.printed(goesOn) || !h.printed(out) {
		t.Errorf("a year later %+v", got)
	}
	if _, _, err := h.svc.Output(t.Context(), string(old), "h1", "stdout"); sluice.CodeOf(err) != sluice.NotFound || !strings.Contains(err.Error(), "older than") {
		t.Errorf("who asks for it gets %v", err)
	}
	if j, _, err := h.svc.Job(t.Context(), string(old)); err != nil || j.Removed == nil || j.Finished == nil {
		t.Errorf("the job itself: %+v, error %v", j, err)
	}
}

func TestBySize(t *testing.T) {
	h := newHouse(t)
	var ids []sluice.JobID
	for range 4 {
		h.now = h.now.Add(time.Hour)
		ids = append(ids, h.job(sluice.Succeeded, h.blob("x"), 10000, "h1"))
	}
	if got := h.sweep(retain.Policy{OutputBytes: 25000}, nil); got.Outputs != 2 || h.printed(ids[0]) || h.printed(ids[1]) || !h.printed(ids[2]) || !h.printed(ids[3]) {
		t.Errorf("%+v", got)
	}
}

// What a job fetched goes with what it printed, by age and by size, and into the archive before; not that of a job that is
// needed.
func TestFetched(t *testing.T) {
	h := newHouse(t)
	fetch := func(id sluice.JobID, bytes int) string {
		host := filepath.Join(h.dir, "fetched", string(id), "h1")
		if err := os.MkdirAll(host, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(host, "f"), []byte(strings.Repeat("f", bytes)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{host, filepath.Dir(host)} {
			if err := os.Chtimes(dir, h.now, h.now); err != nil {
				t.Fatal(err)
			}
		}
		return filepath.Join(host, "f")
	}
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }
	first := h.job(sluice.Succeeded, h.blob("x"), 5, "h1")
	failed := h.job(sluice.Failed, h.blob("x"), 5, "h2")
	a, b := fetch(first, 20000), fetch(failed, 10)
	h.now = h.now.Add(time.Hour)
	second := h.job(sluice.Succeeded, h.blob("x"), 1, "h1")
	c := fetch(second, 20000)
	place := filepath.Join(t.TempDir(), "archive")
	archive, err := dirarchive.New(place)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.sweep(retain.Policy{OutputBytes: 25000}, archive); got.Outputs != 1 || there(a) || h.printed(first) || !there(b) || !there(c) {
		t.Errorf("by size: %+v, there %v %v %v", got, there(a), there(b), there(c))
	}
	if text := segment(t, filepath.Join(place, h.removed(first)[0].Archive))["h1/fetched/f"]; text != strings.Repeat("f", 20000) {
		t.Errorf("%d bytes of what was fetched are archived", len(text))
	}
	h.now = h.now.Add(29 * day)
	late := fetch(second, 20001) // something came later
	h.now = h.now.Add(2 * day)
	if got := h.sweep(retain.Policy{Output: 30 * day}, nil); got.Outputs != 0 || !there(late) {
		t.Errorf("by age, too early: %+v", got)
	}
	h.now = h.now.Add(30 * day)
	if got := h.sweep(retain.Policy{Output: 30 * day}, nil); got.Outputs != 1 || there(late) || !there(b) {
		t.Errorf("by age: %+v", got)
	}
}

// A blob goes when no job that is kept, and no fleet, names it, and never while it is young.
func TestBlobs(t *testing.T) {
	h := newHouse(t)
	shared, own, fleet, orphan := h.blob("shared"), h.blob("own"), h.blob("fleet"), h.blob("orphan")
	h.job(sluice.Succeeded, shared, 1, "h1")
	h.job(sluice.Succeeded, own, 1, "h1")
	if _, err := h.svc.Log.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: h.now, Body: sluice.FleetApplied{Version: 1, Bundle: fleet}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	h.now = start.Add(95 * day)
	h.job(sluice.Succeeded, shared, 1, "h1")
	young := h.blob("young")
	h.now = h.now.Add(time.Hour)
	got := h.sweep(retain.Policy{Jobs: 90 * day}, nil)
	if got.Blobs != 2 || !h.sent(shared) || h.sent(own) || !h.sent(fleet) || h.sent(orphan) || !h.sent(young) {
		t.Errorf("%+v", got)
	}
	if got.Outputs != 2 {
		t.Errorf("%d outputs of jobs that are not kept are gone", got.Outputs)
	}
}

// whileListed are blobs to which something is done after it was decided what is to go.
type whileListed struct {
	*dirblobs.Blobs
	do func()
}

func (w whileListed) Kept(ctx context.Context) ([]sluice.Kept, error) {
	kept, err := w.Blobs.Kept(ctx)
	w.do()
	return kept, err
}

// Whoever was told that a blob is kept finds it, also where a sweep had counted it among what goes.
func TestNeededMeanwhile(t *testing.T) {
	h := newHouse(t)
	renewed, put, orphan := h.blob("renewed"), h.blob("put"), h.blob("orphan")
	h.now = start.Add(95 * day)
	cfg := h.config(retain.Policy{Jobs: 90 * day}, nil)
	cfg.Sent = whileListed{h.blobs, func() {
		if _, err := h.svc.Kept(t.Context(), renewed); err != nil {
			t.Error(err)
		}
		if _, _, err := h.svc.Keep(t.Context(), strings.NewReader("put")); err != nil {
			t.Error(err)
		}
	}}
	got, err := retain.Sweep(t.Context(), cfg)
	if err != nil || got.Blobs != 1 || got.Bytes != int64(len("orphan")) || !h.sent(renewed) || !h.sent(put) || h.sent(orphan) {
		t.Errorf("%+v, error %v; kept: renewed %v, put %v, orphan %v", got, err, h.sent(renewed), h.sent(put), h.sent(orphan))
	}
}

// What is archived has all events and all that was printed, and proves itself.
func TestArchive(t *testing.T) {
	h := newHouse(t)
	first := h.job(sluice.Succeeded, h.blob("x"), 5, "h1")
	second := h.job(sluice.Succeeded, h.blob("x"), 70000, "h1")
	h.now = start.Add(40 * day)
	dir := filepath.Join(t.TempDir(), "archive")
	a, err := dirarchive.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.sweep(retain.Policy{Output: 30 * day}, a); got.Outputs != 2 {
		t.Fatalf("%+v", got)
	}
	for id, size := range map[sluice.JobID]int{first: 5, second: 70000} {
		ev := h.removed(id)
		if len(ev) != 1 || !strings.HasSuffix(ev[0].Archive, string(id)+".tar.gz") || !strings.HasPrefix(ev[0].Digest, "sha256:") {
			t.Fatalf("events %+v", ev)
		}
		parts := segment(t, filepath.Join(dir, ev[0].Archive))
		if text := parts["h1/"+string(sluice.NewAttemptID(id, 0, 1))+".stdout"]; text != strings.Repeat("p", size) {
			t.Errorf("%d bytes of output, want %d", len(text), size)
		}
		if text := parts["events.jsonl"]; !strings.Contains(text, `"job.submitted"`) || !strings.Contains(text, `"job.finished"`) {
			t.Errorf("its events are %q", text)
		}
	}
	if n, err := a.Verify(t.Context()); err != nil || n != 2 {
		t.Errorf("%d segments, error %v", n, err)
	}
	index := filepath.Join(dir, "index.jsonl")
	good, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(good), "\n")
	for name, bad := range map[string]string{"changed": strings.Replace(string(good), `"seq":2`, `"seq":3`, 1), "without the first": lines[1],
		"another job": strings.Replace(string(good), string(first), string(second), 1), "exchanged": lines[1] + lines[0]} {
		if err := os.WriteFile(index, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Verify(t.Context()); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
	if err := os.WriteFile(index, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, h.removed(first)[0].Archive), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Verify(t.Context()); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a segment that was changed: %v", err)
	}
}

func segment(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(b)
	}
}

// fullArchive has no room.
type fullArchive struct{}

func (fullArchive) Put(context.Context, sluice.JobID, time.Time, iter.Seq2[sluice.Part, error]) (string, string, error) {
	return "", "", errors.New("no room")
}

// What cannot be archived, or has not been noted, stays.
func TestNothingIsLost(t *testing.T) {
	h := newHouse(t)
	id := h.job(sluice.Succeeded, h.blob("x"), 5, "h1")
	h.now = start.Add(40 * day)
	if _, err := retain.Sweep(t.Context(), h.config(retain.Policy{Output: day}, archiveOf(fullArchive{}.Put))); err == nil || !h.printed(id) || len(h.removed(id)) > 0 {
		t.Errorf("an archive without room: %v, kept %v", err, h.printed(id))
	}
	ctx, stop := context.WithCancel(t.Context())
	cfg := h.config(retain.Policy{Output: day}, archiveOf(func(context.Context, sluice.JobID, time.Time, iter.Seq2[sluice.Part, error]) (string, string, error) {
		_, err := h.svc.Retry(ctx, id, nil, nil) // somebody is faster
		if sluice.CodeOf(err) != sluice.Conflict {
			t.Errorf("retry: %v", err)
		}
		_, err = h.svc.Log.Update(ctx, "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{{Time: h.now, Job: id, Body: sluice.JobResumed{By: "ann", Generation: 1}}}, nil
		})
		stop()
		return "a", "b", err
	}))
	if _, err := retain.Sweep(context.WithoutCancel(ctx), cfg); sluice.CodeOf(err) != sluice.Conflict || !h.printed(id) || len(h.removed(id)) > 0 {
		t.Errorf("a job that goes on: %v, kept %v", err, h.printed(id))
	}
}

type archiveOf func(context.Context, sluice.JobID, time.Time, iter.Seq2[sluice.Part, error]) (string, string, error)

func (f archiveOf) Put(ctx context.Context, id sluice.JobID, at time.Time, parts iter.Seq2[sluice.Part, error]) (string, string, error) {
	return f(ctx, id, at, parts)
}
