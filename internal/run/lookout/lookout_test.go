package lookout_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/run/lookout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// server is what is left of one when only its directory matters.
type server struct {
	*lookout.Guard
	t      *testing.T
	dir    string
	log    *sqlitelog.Log
	told   []string
	halted []string
}

func start(t *testing.T, dir string) *server {
	t.Helper()
	s := &server{t: t, dir: dir}
	var err error
	if s.log, err = sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.log.Close() })
	s.Guard, err = lookout.New(t.Context(), lookout.Config{Journal: s.log, Kept: headsdir.Dir(dir), Clock: clock,
		Trouble: func(text string) { s.told = append(s.told, text) },
		Halt: func(_ context.Context, reason string) error {
			s.halted = append(s.halted, reason)
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, log sluice.Log, ns sluice.Namespace, bodies ...sluice.Body) error {
	t.Helper()
	_, err := log.Update(t.Context(), ns, 0, func([]sluice.Event) (out []sluice.Event, _ error) {
		for _, b := range bodies {
			out = append(out, sluice.Event{Time: clock(), Body: b})
		}
		return out, nil
	})
	return err
}

func (s *server) held(hosts ...sluice.Host) {
	s.t.Helper()
	for _, h := range hosts {
		if err := put(s.t, s.Log(), "prod", sluice.HostHeld{Host: h, By: "ann"}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *server) heads() []sluice.SeenHead {
	s.t.Helper()
	heads, err := s.Heads(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return heads
}

func (s *server) witness(heads ...sluice.SeenHead) {
	s.t.Helper()
	if err := s.Witness(s.t.Context(), "eve", heads); err != nil {
		s.t.Fatal(err)
	}
}

// copied is the directory as an image taken at this moment leaves it: all that one machine has.
func (s *server) copied() string {
	s.t.Helper()
	if err := s.log.Close(); err != nil {
		s.t.Fatal(err)
	}
	to := filepath.Join(s.t.TempDir(), "image")
	if err := os.CopyFS(to, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	return to
}

// The whole directory of yesterday fits together: nobody on that machine can tell. Who has seen today can.
func TestLogGoesBackwards(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, dir)
	s.held("h1", "h2")
	yesterday := s.copied()
	s = start(t, dir)
	s.held("h3", "h4")
	seen := s.heads()
	s.witness(seen...)
	if s.Alarm() != nil || len(s.told) > 0 {
		t.Fatalf("alarm without a reason: %v, %v", s.Alarm(), s.told)
	}

	s = start(t, yesterday)
	if s.Alarm() != nil {
		t.Fatal("the alarm is raised before anybody has said anything")
	}
	s.witness(seen...)
	if s.Alarm() == nil || len(s.halted) != 1 || !strings.Contains(strings.Join(s.told, "\n"), "went backwards: eve has seen event 4 of the namespace prod") {
		t.Fatalf("alarm %v, halted %v, told %q", s.Alarm(), s.halted, s.told)
	}
	s.refuses()
	s.witness(seen...)
	if len(s.halted) != 1 {
		t.Error("halted twice")
	}

	// Also the next server knows, before anybody says anything.
	if err := s.log.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, yesterday)
	s.refuses()
	if len(s.told) != 1 {
		t.Errorf("told %q", s.told)
	}
	s.repaired(seen, 1)
}

// refuses proves that nothing is started or changed, and that halts and outcomes still find their way into the log.
func (s *server) refuses() {
	s.t.Helper()
	for _, b := range []sluice.Body{sluice.TaskStarted{Host: "h1"}, sluice.JobSubmitted{}, sluice.JobResumed{}, sluice.TaskRetried{}, sluice.GatePassed{},
		sluice.HostReleased{Host: "h1"}, sluice.FleetApplied{}, sluice.RulesApplied{}, sluice.StageOpened{}, sluice.TaskFinished{Outcome: sluice.Skipped, By: "ann"},
		sluice.GrantGiven{}, sluice.TokenMade{}} {
		if err := put(s.t, s.Log(), "lab", sluice.JobHalting{}, b); sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "namespace prod") {
			s.t.Errorf("%s: %v", b.Type(), err)
		}
	}
	if err := put(s.t, s.Log(), "lab", sluice.JobHalting{}, sluice.JobHalted{}, sluice.TaskFinished{Outcome: sluice.Failed}, sluice.TaskStep{}, sluice.BalancerChanged{}, sluice.JobCancelling{}); err != nil {
		s.t.Errorf("halts and outcomes: %v", err)
	}
	if err := put(s.t, s.Log(), sluice.AccessNamespace, sluice.AccessNoted{What: "GET /"}); err != nil {
		s.t.Errorf("notes: %v", err)
	}
	if events, err := s.Log().Read(s.t.Context(), "prod", 0, 10); err != nil || len(events) == 0 {
		s.t.Errorf("%d events, error %v", len(events), err)
	}
}

// repaired proves that a repair needs a reason, ends the alarm for good, and says what is lost.
func (s *server) repaired(seen []sluice.SeenHead, epoch int) {
	t := s.t
	t.Helper()
	if _, err := s.Repair(t.Context(), "root", " "); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("without a reason: %v", err)
	}
	r, err := s.Repair(t.Context(), "root", "a disk was lost")
	if err != nil || r.Epoch != epoch || len(r.Seen) == 0 || r.By != "root" {
		t.Fatalf("%+v, error %v", r, err)
	}
	if _, err := s.Repair(t.Context(), "root", "again"); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("again: %v", err)
	}
	s.held("h9")
	s.witness(seen...)
	if err := s.log.Close(); err != nil {
		t.Fatal(err)
	}
	next := start(t, s.dir)
	next.witness(seen...)
	st, err := next.Standing(t.Context())
	if err != nil || next.Alarm() != nil || st.Epoch != epoch || len(st.Unfit) > 0 || len(st.Lost) == 0 {
		t.Errorf("then %+v, alarm %v, error %v", st, next.Alarm(), err)
	}
	next.held("h10")
	next.witness(next.heads()...)
	if next.Alarm() != nil {
		t.Errorf("then %v", next.Alarm())
	}
}

// Written anew from an early event on, a log fits together and is as long as before.
func TestLogIsWrittenAnew(t *testing.T) {
	a := start(t, filepath.Join(t.TempDir(), "data"))
	a.held("h1", "h2", "h3")
	seen := a.heads()
	key, err := os.ReadFile(filepath.Join(a.dir, "heads.key"))
	if err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(forged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(forged, "heads.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, forged)
	b.held("h1", "x2", "h3", "h4")
	b.witness(seen...)
	if b.Alarm() == nil || !strings.Contains(strings.Join(b.told, "\n"), "was changed: eve has seen event 3") {
		t.Fatalf("alarm %v, told %q", b.Alarm(), b.told)
	}
	b.refuses()
	b.repaired(seen, 1)
}

// What was not signed here counts for nothing, however much of it there is, and is told once.
func TestForgedHeads(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	s.held("h1")
	bad := s.heads()[0]
	bad.Seq = 99
	for range 100 {
		s.witness(bad)
	}
	if s.Alarm() != nil || len(s.told) != 1 || !strings.Contains(s.told[0], "eve") || !strings.Contains(s.told[0], "count for nothing") {
		t.Errorf("alarm %v, told %q", s.Alarm(), s.told)
	}
}

// A repair by another process, on the same data, is seen.
func TestRepairElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, dir)
	s.held("h1")
	old := s.copied()
	s = start(t, dir)
	s.held("h2")
	seen := s.heads()
	s = start(t, old)
	s.witness(seen...)
	other := start(t, old)
	if at, err := s.Turned(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("the log was turned at %s, %v, before it was", at, err)
	}
	if _, err := other.Repair(t.Context(), "root", "I know"); err != nil {
		t.Fatal(err)
	}
	for _, g := range []interface {
		Turned(context.Context) (time.Time, error)
	}{s, other} {
		if at, err := g.Turned(t.Context()); err != nil || at.IsZero() {
			t.Errorf("the log was turned at %s, %v", at, err)
		}
	}
	s.heads()
	if s.Alarm() != nil {
		t.Error(s.Alarm())
	}
	if kept, err := headsdir.Dir(old).Alarm(); err != nil || len(kept) > 0 {
		t.Errorf("kept %v, error %v", kept, err)
	}
}
