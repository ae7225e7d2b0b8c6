package sqlitelog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice"
)

// image copies the files of a journal as they are, as a crash or a careless backup leaves them.
func image(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{dbName, dbName + "-wal", anchorName} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// crashed is the image of a journal that was in use: 60 events in prod, 1 in lab, all acknowledged, the last part
// of them only in the -wal.
func crashed(t testing.TB) string {
	t.Helper()
	l := openIn(t, t.TempDir())
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			e := held(fmt.Sprintf("host-%d-%s", i, strings.Repeat("x", 150*(i%40))))
			if _, err := l.Update(t.Context(), "prod", uint64(i), deciding(e)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(0, 30)
	appendTo(t, l, "lab", "one")
	if _, err := l.w.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	fill(30, 60)
	return image(t, l.dir)
}

// refused says that the journal in dir must not be opened, and that the error must contain all of the words.
func refused(t *testing.T, dir string, words ...string) {
	t.Helper()
	l, err := Open(t.Context(), Config{Dir: dir})
	if err == nil {
		_ = l.Close()
	}
	if sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("opened, error %v; want code %s", err, sluice.Contact)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error %q does not say %q", err, w)
		}
	}
	var e *sluice.Error
	if !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("the error %q has no hint", err)
	}
}

func accept(t *testing.T, dir string) []Head {
	t.Helper()
	heads, err := Accept(t.Context(), Config{Dir: dir}, when)
	if err != nil {
		t.Fatal(err)
	}
	return heads
}

func TestImageIsWhole(t *testing.T) {
	l := openIn(t, crashed(t))
	if got := hosts(t, l, "prod"); len(got) != 60 {
		t.Errorf("%d events", len(got))
	}
	if _, err := l.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDeletedWAL(t *testing.T) {
	dir := crashed(t)
	if err := os.Remove(filepath.Join(dir, dbName+"-wal")); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "lost records", "prod ends at event 30", "event 60 was acknowledged", "nothing will be started")

	heads := accept(t, dir)
	i := slices.IndexFunc(heads, func(h Head) bool { return h.Namespace == "prod" })
	if i < 0 || heads[i].Seq != 30 || heads[i].Acknowledged != 60 {
		t.Errorf("accepted %+v", heads)
	}
	l := openIn(t, dir)
	if head := appendTo(t, l, "prod", "next"); head != 31 {
		t.Errorf("head %d, want 31", head)
	}
	var n int
	if err := l.w.QueryRowContext(t.Context(), "SELECT count(*) FROM accepted WHERE ns = 'prod' AND was_seq = 60 AND seq = 30").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d notes of what was accepted, error %v", n, err)
	}
}

func TestTruncatedWAL(t *testing.T) {
	good := crashed(t)
	path := filepath.Join(good, dbName+"-wal")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []int64{0, 1, 3, 5, 9} {
		dir := image(t, good)
		if err := os.Truncate(filepath.Join(dir, dbName+"-wal"), info.Size()*part/10); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "lost records")
	}
}

func TestOldBackup(t *testing.T) {
	l := openIn(t, t.TempDir())
	appendTo(t, l, "prod", "h1", "h2")
	backup := image(t, l.dir)
	appendTo(t, l, "prod", "h3")
	now := image(t, l.dir)
	for _, name := range []string{dbName, dbName + "-wal"} {
		b, err := os.ReadFile(filepath.Join(backup, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(now, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	refused(t, now, "lost records", "prod ends at event 2", "event 3 was acknowledged")
}

func TestAnotherJournal(t *testing.T) {
	mine, other := openIn(t, t.TempDir()), openIn(t, t.TempDir())
	appendTo(t, mine, "prod", "h1")
	appendTo(t, other, "prod", "x1")
	appendTo(t, other, "prod", "x2")
	dir := image(t, other.dir)
	b, err := os.ReadFile(mine.anchor.path)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, anchorName), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "not the one that was acknowledged", "event 1")
	accept(t, dir)
	if head := appendTo(t, openIn(t, dir), "prod", "x3"); head != 3 {
		t.Errorf("head %d", head)
	}
}

func TestEmptyJournalUnderOldAnchor(t *testing.T) {
	dir := crashed(t)
	for _, name := range []string{dbName, dbName + "-wal"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, dir, "lost records", "lab ends at event 0", "event 1 was acknowledged")
	accept(t, dir)
	if head := appendTo(t, openIn(t, dir), "lab", "anew"); head != 1 {
		t.Errorf("head %d", head)
	}
}

func TestMissingAnchor(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"removed": os.Remove,
		"emptied": func(p string) error { return os.Truncate(p, 0) },
		"cut":     func(p string) error { return os.Truncate(p, anchorLine) },
		"garbage": func(p string) error { return os.WriteFile(p, make([]byte, 5000), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := crashed(t)
			if err := harm(filepath.Join(dir, anchorName)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // looking changes nothing
				refused(t, dir, anchorName, "nothing will be started")
			}
			accept(t, dir)
			if head := appendTo(t, openIn(t, dir), "prod", "next"); head != 61 {
				t.Errorf("head %d, want 61", head)
			}
		})
	}
}

// TestCrashBeforeAnchor is the state between commit and acknowledgement: more in the journal than in the anchor.
func TestCrashBeforeAnchor(t *testing.T) {
	l := openIn(t, t.TempDir())
	appendTo(t, l, "prod", "h1")
	before := image(t, l.dir)
	appendTo(t, l, "prod", "h2")
	dir := image(t, l.dir)
	b, err := os.ReadFile(filepath.Join(before, anchorName))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, anchorName), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	l = openIn(t, dir)
	head, err := l.Update(t.Context(), "prod", 2, deciding(held("h3")))
	if err != nil || head != 3 {
		t.Errorf("head %d, error %v", head, err)
	}
	heads, err := l.Verify(t.Context())
	if err != nil || heads[0].Acknowledged != 3 {
		t.Errorf("%+v, error %v", heads, err)
	}
}

// TestWhileInUse takes files away from a running process. It must not acknowledge what nobody will find again.
func TestWhileInUse(t *testing.T) {
	for _, name := range []string{dbName, dbName + "-wal", anchorName} {
		t.Run("removed "+name, func(t *testing.T) {
			l := openIn(t, t.TempDir())
			appendTo(t, l, "prod", "h1")
			if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Update(t.Context(), "prod", 1, deciding(held("h2"))); sluice.CodeOf(err) != sluice.Contact {
				t.Errorf("error %v, want code %s", err, sluice.Contact)
			}
		})
	}
	t.Run("older anchor", func(t *testing.T) {
		l := openIn(t, t.TempDir())
		appendTo(t, l, "prod", "h1")
		old, err := os.ReadFile(l.anchor.path)
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, l, "prod", "h2")
		if _, err := l.anchor.f.WriteAt(old, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Update(t.Context(), "prod", 2, deciding(held("h3"))); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("error %v, want code %s", err, sluice.Contact)
		}
	})
}

// TestSyncFails has the disk refuse to keep the anchor. Nothing is acknowledged from then on, not even if the disk
// says later that all is well.
func TestSyncFails(t *testing.T) {
	l := openIn(t, t.TempDir())
	appendTo(t, l, "prod", "h1")
	broken := errors.New("input/output error")
	l.anchor.sync = func(*os.File) error { return broken }
	if _, err := l.Update(t.Context(), "prod", 1, deciding(held("h2"))); sluice.CodeOf(err) != sluice.Contact || !errors.Is(err, broken) {
		t.Errorf("error %v, want code %s", err, sluice.Contact)
	}
	l.anchor.sync = fdatasync
	_, err := l.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
		t.Error("decide was asked")
		return nil, nil
	})
	if sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("later: error %v, want code %s", err, sluice.Contact)
	}
	if got := hosts(t, l, "prod"); len(got) != 2 {
		t.Errorf("reading goes on, but there are %v", got)
	}
	if _, err := l.Namespaces(t.Context()); !sluice.IsLasting(err) || !errors.Is(err, broken) {
		t.Errorf("whoever looks after it learns %v", err)
	}
	again := openIn(t, l.dir)
	if head := appendTo(t, again, "prod", "h3"); head != 3 {
		t.Errorf("head %d after a new start", head)
	}
}

// TestFlippedBytes damages one byte in the files. Either that is found, or nothing that matters was hit and all
// events are there as they were.
func TestFlippedBytes(t *testing.T) {
	good := crashed(t)
	want := hosts(t, openIn(t, image(t, good)), "prod")
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{dbName, dbName + "-wal", anchorName} {
		found := 0
		for round := range rounds {
			dir := image(t, good)
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := random.IntN(len(b))
			b[at] ^= byte(1 << random.IntN(8))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := everything(t.Context(), dir)
			switch {
			case err != nil && sluice.CodeOf(err) != sluice.Contact:
				t.Errorf("round %d, %s byte %d: error %v has no code", round, name, at, err)
			case err != nil:
				found++
			case !slices.Equal(got, want):
				t.Errorf("round %d, %s byte %d: other events, and no error", round, name, at)
			}
		}
		t.Logf("%s: %d of %d flips mattered and were found", name, found, rounds)
		if found == 0 && name != anchorName {
			t.Errorf("%s: no flip was found in %d", name, rounds)
		}
	}
}

func everything(ctx context.Context, dir string) (out []string, err error) {
	l, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if _, err := l.Verify(ctx); err != nil {
		return nil, err
	}
	events, err := l.Read(ctx, "prod", 0, 1<<20)
	for _, e := range events {
		out = append(out, string(e.Body.(sluice.HostHeld).Host))
	}
	return out, err
}

// TestTampered changes the journal by SQLite's own means, which leave the file in order.
func TestTampered(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		read bool // found already by who reads from the beginning
	}{
		"record in the middle removed": {"DELETE FROM record WHERE ns = 'prod' AND last = 7", true},
		"payload changed":              {"UPDATE record SET payload = CAST(replace(CAST(payload AS TEXT), 'ann', 'bob') AS BLOB) WHERE form = 0 AND last = 1", true},
		"numbers swapped":              {"UPDATE record SET first = first + 1000, last = last + 1000 WHERE ns = 'prod' AND last = 7", true},
		"moved to another namespace":   {"UPDATE record SET ns = 'lab', first = 2, last = 2 WHERE ns = 'prod' AND last = 7", true},
		"first record removed":         {"DELETE FROM record WHERE ns = 'prod' AND first = 1", true},
		"index entry removed":          {"DELETE FROM job_record WHERE record = (SELECT min(record) FROM job_record)", false},
		"index entry added":            {"INSERT INTO job_record SELECT 'bbbb00000000', max(id) FROM record", false},
		"index entry turned":           {"UPDATE job_record SET record = record - 1", false},
		"job removed":                  {"DELETE FROM job", false},
		"namespace removed":            {"DELETE FROM namespace WHERE name = 'lab'", false},
		"namespace added":              {"INSERT INTO namespace VALUES ('ghost')", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := crashed(t)
			l := openIn(t, dir)
			_, err := l.Update(t.Context(), "prod", 60, deciding(
				sluice.Event{Time: when, Job: "aaaa00000000", Body: sluice.JobStarted{}}))
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			tamper(t, dir, c.sql)
			l, err = Open(t.Context(), Config{Dir: dir})
			if err != nil {
				if sluice.CodeOf(err) != sluice.Contact {
					t.Error(err)
				}
				return
			}
			defer l.Close()
			if _, err := l.Verify(t.Context()); sluice.CodeOf(err) != sluice.Contact {
				t.Errorf("Verify: %v", err)
			}
			if _, err := l.Read(t.Context(), "prod", 0, 1000); c.read && sluice.CodeOf(err) != sluice.Contact {
				t.Errorf("Read: %v", err)
			}
			if _, err := Accept(t.Context(), Config{Dir: dir}, when); sluice.CodeOf(err) != sluice.Contact {
				t.Errorf("what is broken was accepted: %v", err)
			}
		})
	}
}

// TestGap reads on from an event that is not there any more.
func TestGap(t *testing.T) {
	l := openIn(t, crashed(t))
	if _, err := l.w.ExecContext(t.Context(), "DELETE FROM record WHERE ns = 'prod' AND last BETWEEN 7 AND 9"); err != nil {
		t.Fatal(err)
	}
	for after := range uint64(11) {
		_, err := l.Read(t.Context(), "prod", after, 100)
		if broken := after < 10; broken != (sluice.CodeOf(err) == sluice.Contact) {
			t.Errorf("after %d: error %v", after, err)
		}
	}
}

// TestForged puts another record into the middle of the chain, in order by itself.
func TestForged(t *testing.T) {
	l := openIn(t, crashed(t))
	var before mark
	err := l.scan(t.Context(), l.w, "prod", 6, func(_ int64, r *record) (bool, error) {
		before = r.end()
		return false, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := pack("prod", before, []sluice.Event{held("forged")})
	if err != nil {
		t.Fatal(err)
	}
	w := l.packer.store(r)
	if _, err := l.w.ExecContext(t.Context(), "UPDATE record SET hash = ?, form = ?, size = ?, payload = ? WHERE ns = 'prod' AND last = 7",
		w.hash, w.form, w.size, w.payload); err != nil {
		t.Fatal(err)
	}
	for after := range uint64(8) {
		if _, err := l.Read(t.Context(), "prod", after, 100); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("Read after %d: %v", after, err)
		}
	}
	if _, err := l.Verify(t.Context()); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("Verify: %v", err)
	}
}

func tamper(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, dbName), "FULL", false))
	if err != nil {
		t.Fatal(err)
	}
	res, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s changed %d rows, error %v", statement, n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOtherPrograms(t *testing.T) {
	for name, statement := range map[string]string{
		"another program's": "PRAGMA application_id = 7",
		"a newer form":      fmt.Sprintf("PRAGMA user_version = %d", schemaVersion+1),
	} {
		l := openIn(t, t.TempDir())
		appendTo(t, l, "prod", "h")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", dsn(filepath.Join(l.dir, dbName), "FULL", false))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Dir: l.dir}); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: error %v, want code %s", name, err, sluice.Contact)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, dbName), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "damaged")
}
