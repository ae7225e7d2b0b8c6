package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app"
)

// told is what a server has said, for whoever waits for it.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{}
}

func newTold() *told { return &told{news: make(chan struct{}, 1)} }

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *told) wait(t *testing.T, words string) {
	t.Helper()
	late := time.After(time.Minute)
	for !strings.Contains(l.String(), words) {
		select {
		case <-l.news:
		case <-late:
			t.Fatalf("nobody says %q in\n%s", words, l)
		}
	}
}

// smallDisk is a directory with room for some megabytes.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: a small file system can be mounted by root only")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("skipped: a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestServerOnAFullDisk: what cannot be written is not done and answered with 503; what runs ends, and its outcome is not
// lost; questions are answered; with room again everything goes on.
func TestServerOnAFullDisk(t *testing.T) {
	disk := smallDisk(t)
	says := newTold()
	s := &served{t: t, data: filepath.Join(disk, "data"), log: slog.NewTextHandler(says, nil)}
	s.start()
	s.apply(localFleet)
	marks := t.TempDir()
	id := s.submit("$web", "echo >>"+marks+"/$SLUICE_HOST.ran; until [ -e "+marks+"/go ]; do sleep 0.05; done")
	n := 0
	s.until(id, func(e sluice.Event) bool {
		if _, is := e.Body.(sluice.TaskStarted); is {
			n++
		}
		return n == 2
	})
	look := time.NewTicker(20 * time.Millisecond)
	for lineCount(t, marks) < 2 {
		select {
		case <-look.C:
		case <-t.Context().Done():
			t.Fatal("the two commands do not start")
		}
	}
	look.Stop()
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	var full error
	for full == nil { // SQLite has some room of its own left
		fill(t, ballast)
		_, full = s.client.ChangeHosts(t.Context(), "default", "hold", []sluice.Host{"web9"}, strings.Repeat("x", 1000))
	}
	if sluice.CodeOf(full) != sluice.Contact || !strings.Contains(full.Error(), "no room left") {
		t.Fatalf("the disk is full, and a change gets %v", full)
	}
	if _, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "true"}); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a job gets %v", err)
	}
	if err := os.WriteFile(filepath.Join(marks, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	says.wait(t, "the journal cannot be written")
	if j, err := s.client.Job(t.Context(), string(id)); err != nil || j.Running != 2 {
		t.Errorf("%+v, error %v", j, err)
	}
	if got := lineCount(t, marks); got != 2 {
		t.Errorf("%d commands ran, and only two starts are in the log", got)
	}
	if _, err := s.client.Halt(t.Context(), id, "full"); err != nil && sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("a halt gets %v", err)
	}
	resp, err := http.Get("http://" + s.address + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("health: %v, error %v", resp, err)
	}
	if err == nil {
		_ = resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	last := s.end(id)
	if _, halted := last.Body.(sluice.JobHalted); halted { // the halt found the room
		events, err := s.client.Resume(t.Context(), id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last, err = s.client.Follow(t.Context(), string(id), events[0].Seq, func(sluice.Event) {}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if b, ok := last.Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded || b.Counts[sluice.Succeeded] != 4 {
		t.Errorf("with room again it ended with %+v", last.Body)
	}
	if got := lineCount(t, marks); got != 4 {
		t.Errorf("%d commands ran on 4 hosts", got)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	verified(t, s.data)
}

func verified(t *testing.T, dir string) {
	t.Helper()
	log, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// TestOneBadNamespace: a namespace that cannot be read, because it was damaged or because of an event that nobody
// understands, keeps no other from working. It is said loudly.
func TestOneBadNamespace(t *testing.T) {
	for name, spoil := range map[string]func(*served){
		"damaged": func(s *served) {
			db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "journal.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			res, err := db.ExecContext(s.t.Context(), "UPDATE record SET payload = CAST(replace(CAST(payload AS TEXT), 'ann', 'bob') AS BLOB) WHERE ns = 'bad' AND last = 1")
			if n, _ := res.RowsAffected(); err != nil || n != 1 {
				t.Fatalf("%d rows, error %v", n, err)
			}
		},
		"poisoned": func(s *served) {
			s.journal("bad", sluice.Event{Time: app.Now(), Job: "0123456789ab", Body: sluice.JobHalting{By: "eve"}})
		},
		"a huge event": func(s *served) {
			s.journal("bad", sluice.Event{Time: app.Now(), Body: sluice.HostHeld{Host: "h3", Reason: strings.Repeat("x", huge()), By: "ann"}})
		},
		"an unknown kind": func(s *served) {
			s.journal("bad", sluice.Event{Time: app.Now(), Job: "0123456789ab", Body: novelty{"blue"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			says := newTold()
			s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), log: slog.NewTextHandler(says, nil)}
			s.start()
			s.apply(localFleet)
			before := s.submit("$web", "true")
			s.end(before)
			if err := s.stop(); err != nil {
				t.Fatal(err)
			}
			s.journal("bad", sluice.Event{Time: app.Now(), Body: sluice.HostHeld{Host: "h1", Reason: "r", By: "ann"}})
			s.journal("bad", sluice.Event{Time: app.Now(), Body: sluice.HostHeld{Host: "h2", Reason: "r", By: "ann"}})
			spoil(s)
			s.start()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			j, err := s.client.Submit(ctx, api.Submit{Targets: "$web", Command: "true"})
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := s.end(j.ID).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded {
				t.Errorf("a job elsewhere ended with %+v", b)
			}
			jobs, err := s.client.Jobs(ctx, client.JobsQuery{})
			if err != nil || len(jobs) != 2 {
				t.Errorf("%d jobs, error %v", len(jobs), err)
			}
			out, err := s.client.HostsOut(ctx, "bad")
			switch name {
			case "an unknown kind":
				if err != nil || len(out) != 2 {
					t.Errorf("%v, error %v", out, err)
				}
				return
			case "a huge event": // it is read, or said to be unreadable
				t.Logf("of a namespace with a huge event %d hosts are out, error %.100v", len(out), err)
				if err == nil && len(out) != 3 {
					t.Errorf("%d hosts are out", len(out))
				}
				return
			}
			if sluice.CodeOf(err) == sluice.NotFound || err == nil {
				t.Errorf("what is bad gives %v, error %v", out, err)
			}
			says.wait(t, "bad")
			if _, err := s.client.HaltAll(ctx, "default", ""); err != nil {
				t.Errorf("a halt elsewhere: %v", err)
			}
		})
	}
}

// huge is the size of an event that nobody needs. Reading 100 MB takes a slow machine too long for every run.
func huge() int {
	if os.Getenv("SLUICE_FAULTS") == "long" {
		return 100 << 20
	}
	return 2 << 20
}

// novelty is an event of a version that is not written yet.
type novelty struct {
	Colour string `json:"colour"`
}

func (novelty) Type() string { return "moon.rose" }

// journal appends to the log of a server that is not there.
func (s *served) journal(ns sluice.Namespace, events ...sluice.Event) {
	s.t.Helper()
	log, err := sqlitelog.Open(s.t.Context(), sqlitelog.Config{Dir: s.data})
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = log.Update(s.t.Context(), ns, 0, func([]sluice.Event) ([]sluice.Event, error) { return events, nil })
	if err = errors.Join(err, log.Close()); err != nil {
		s.t.Fatal(err)
	}
}
