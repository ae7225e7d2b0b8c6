package app_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/headsdir"
)

// witnessed waits until a worker has on its disk that it saw an event.
func (p *process) witnessed(ns sluice.Namespace, seq uint64) {
	t := p.s.t
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		files, _ := filepath.Glob(p.data + "/witness/*.heads")
		for _, f := range files {
			heads, err := headsdir.Dir(filepath.Dir(f)).Seen(strings.TrimSuffix(filepath.Base(f), ".heads"))
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range heads {
				if h.Namespace == ns && h.Seq >= seq {
					return
				}
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the worker does not keep event %d of %s", seq, ns)
		}
	}
}

// forgot waits until a worker has nothing of any attempt any more.
func (p *process) forgot() {
	p.s.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		if kept, _ := filepath.Glob(p.data + "/outcomes/*.json"); len(kept) == 0 {
			return
		}
		if time.Now().After(end) {
			p.s.t.Fatal("the worker keeps an outcome for ever")
		}
	}
}

// TestAWorkerIsAWitness: the disk of yesterday is put back, with an attempt in it that runs, as it says. In truth it has
// ended since, and its host has forgotten it. Nobody has seen more but a worker: the command does not run again, nothing
// else starts, and the server says why.
func TestAWorkerIsAWitness(t *testing.T) {
	says := newTold()
	s := newServedWith(t, slog.NewTextHandler(says, nil))
	w := s.process("w1")
	marks := t.TempDir()
	id := s.submit("web1", held(marks))
	await(t, marks+"/web1", 1)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	yesterday := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(yesterday, os.DirFS(s.data)); err != nil {
		t.Fatal(err)
	}
	s.start()
	letGo(t, marks)
	s.succeeded(id, 1)
	w.witnessed("default", s.end(id).Seq)
	w.forgot()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	s.data = yesterday
	s.start()
	says.wait(t, "the worker w1 has seen event")
	says.wait(t, "went backwards")
	s.end(id) // the alarm halts it, and the host is asked
	if story := s.story(id); !strings.Contains(story, `"outcome":"unknown"`) || !strings.Contains(story, "may have run") {
		t.Errorf("what is not known is told otherwise:\n%s", story)
	}
	ranOnce(t, marks, 1)
	_, err := s.client.Submit(t.Context(), api.Submit{Targets: "web2", Command: "true"})
	if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "others have seen more") {
		t.Errorf("another job: %v", err)
	}
	if st, err := s.client.Standing(t.Context()); err != nil || len(st.Unfit) == 0 {
		t.Errorf("standing %+v, error %v", st, err)
	}

	// After a repair all goes on, also with a worker that was started anew.
	if _, err := s.client.Repair(t.Context(), "the disk was put back, the hosts were looked at"); err != nil {
		t.Fatal(err)
	}
	w.signal(9)
	w.start()
	s.health("w1", "connected")
	after := s.submit("web2", "echo >>"+marks+"/web2")
	s.succeeded(after, 1)
	w.witnessed("default", s.end(after).Seq)
}
