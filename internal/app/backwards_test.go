package app_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
)

// TestServerGoesBackwards: the disk of yesterday is put back by hand, a job that was going on among it. The first client
// that comes has seen more: from then on nothing starts and nothing is changed, until an administrator says otherwise.
func TestServerGoesBackwards(t *testing.T) {
	says := newTold()
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), log: slog.NewTextHandler(says, nil)}
	s.start()
	s.apply(localFleet)
	marks := t.TempDir()
	id := s.submit("$web", "echo >>"+marks+"/$SLUICE_HOST.ran; test -e "+marks+"/well")
	if _, is := s.end(id).Body.(sluice.JobHalted); !is {
		t.Fatal("it is not halted")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	yesterday := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(yesterday, os.DirFS(s.data)); err != nil {
		t.Fatal(err)
	}
	s.start()
	person := app.Places{State: t.TempDir()}
	after := s.submit("web3", "true")
	s.end(after)
	if err := app.Remember(t.Context(), s.client, person); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	address := s.address
	s.data = yesterday
	s.listen = address // one server, for those who know it by its address
	s.start()
	if _, err := s.client.Job(t.Context(), string(after)); sluice.CodeOf(err) != sluice.NotFound {
		t.Fatalf("what was lost: %v", err)
	}
	if err := app.Remember(t.Context(), s.client, person); sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "lost part of its log") {
		t.Errorf("its client says %v", err)
	}
	says.wait(t, "went backwards")
	before := lineCount(t, marks)
	refused := func(what string, err error) {
		t.Helper()
		if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "others have seen more") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := s.client.Submit(t.Context(), api.Submit{Targets: "web4", Command: "true"})
	refused("a job", err)
	_, err = s.client.Retry(t.Context(), id, nil, nil)
	refused("a retry", err)
	_, err = s.client.ChangeHosts(t.Context(), "default", "release", []sluice.Host{"web1"}, "it is well")
	refused("a release", err)
	if j, err := s.client.Job(t.Context(), string(id)); err != nil || j.State != "halted" {
		t.Errorf("a question: %+v, error %v", j, err)
	}
	if _, err := s.client.HaltAll(t.Context(), "", "alarm"); err != nil {
		t.Errorf("a halt: %v", err)
	}
	resp, err := http.Get("http://" + s.address + "/readyz")
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("it says that it is ready: %+v, error %v", resp, err)
	}
	if err == nil {
		_ = resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	if n := lineCount(t, marks); n != before {
		t.Errorf("%d commands ran", n-before)
	}

	if st, err := s.client.Standing(t.Context()); err != nil || len(st.Unfit) == 0 {
		t.Errorf("standing %+v, error %v", st, err)
	}
	if r, err := s.client.Repair(t.Context(), "the disk was put back, the hosts were looked at"); err != nil || r.By != "admin" {
		t.Fatalf("%+v, error %v", r, err)
	}
	if err := app.Remember(t.Context(), s.client, person); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	if err := os.WriteFile(filepath.Join(marks, "well"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	events, err := s.client.Retry(t.Context(), id, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.client.Follow(t.Context(), string(id), events[0].Seq, func(sluice.Event) {}, nil)
	if b, ok := last.Body.(sluice.JobFinished); err != nil || !ok || b.Outcome != sluice.Succeeded {
		t.Errorf("then it ended with %+v, error %v", last.Body, err)
	}
}
