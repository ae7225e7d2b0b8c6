package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/internal/lab/conform"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	goleak.VerifyTestMain(m)
}

var when = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func held(host string) sluice.Event {
	return sluice.Event{Time: when, Body: sluice.HostHeld{Host: sluice.Host(host), Reason: "test", By: "ann"}}
}

func deciding(events ...sluice.Event) func([]sluice.Event) ([]sluice.Event, error) {
	return func([]sluice.Event) ([]sluice.Event, error) { return events, nil }
}

func openIn(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func appendTo(t testing.TB, l *Log, ns sluice.Namespace, hosts ...string) uint64 {
	t.Helper()
	var events []sluice.Event
	for _, h := range hosts {
		events = append(events, held(h))
	}
	head, err := l.Update(t.Context(), ns, 0, deciding(events...))
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// hosts are the hosts of all events, which are of the kind that held makes.
func hosts(t testing.TB, l *Log, ns sluice.Namespace) (out []string) {
	t.Helper()
	events, err := l.Read(t.Context(), ns, 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if e.Seq != uint64(i)+1 {
			t.Fatalf("event %d has the number %d", i+1, e.Seq)
		}
		out = append(out, string(e.Body.(sluice.HostHeld).Host))
	}
	return out
}

func TestConformance(t *testing.T) {
	conform.Log(t, func(t *testing.T) sluice.Log { return openIn(t, t.TempDir()) })
	conform.SharedLog(t, func(t *testing.T) (a, b sluice.Log) {
		dir := t.TempDir()
		return openIn(t, dir), openIn(t, dir)
	})
}

func TestStaysAfterClose(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on the way?#%")
	l := openIn(t, dir)
	appendTo(t, l, "prod", "h1", "h2")
	appendTo(t, l, "lab", "h3")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openIn(t, dir)
	if got := hosts(t, l, "prod"); !slices.Equal(got, []string{"h1", "h2"}) {
		t.Errorf("prod has %v", got)
	}
	heads, err := l.Verify(t.Context())
	if err != nil || len(heads) != 2 || heads[1].Seq != 2 || heads[1].Acknowledged != 2 {
		t.Errorf("heads %v, error %v", heads, err)
	}
}

func TestFilesAreForTheUserAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	l := openIn(t, dir)
	appendTo(t, l, "prod", "h1")
	if err := l.SaveSnapshot(t.Context(), "prod", 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	l := openIn(t, t.TempDir())
	waiting := make(chan error, 1)
	go func() { waiting <- l.Wait(context.Background(), "prod", 0) }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, read := l.Read(ctx, "prod", 0, 1)
	_, job := l.ReadJob(ctx, "prod", "aaaa00000000")
	_, names := l.Namespaces(ctx)
	_, _, find := l.FindJob(ctx, "a")
	_, update := l.Update(ctx, "prod", 0, deciding(held("h")))
	_, verify := l.Verify(ctx)
	for what, err := range map[string]error{"Read": read, "ReadJob": job, "Namespaces": names, "FindJob": find, "Update": update,
		"Verify": verify, "Wait": <-waiting, "Wait again": l.Wait(ctx, "prod", 0), "SaveSnapshot": l.SaveSnapshot(ctx, "prod", 1, nil)} {
		if sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s on a closed journal: %v", what, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// TestOwnAppendsNeedNoPolling has nobody look at the file.
func TestOwnAppendsNeedNoPolling(t *testing.T) {
	l := openIn(t, t.TempDir())
	l.follow.stop()
	ended := make(chan error, 1)
	for i := range uint64(20) {
		go func() { ended <- l.Wait(t.Context(), "prod", i) }()
		if i%2 == 0 { // half of the time when it certainly waits already
			for l.follow.idle() {
				runtime.Gosched()
			}
		}
		appendTo(t, l, "prod", "h")
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("an append of the same process is not seen without polling")
		}
	}
}

// TestOthersAreSeenBetweenOwnAppends: what a process knows of its own appends must not hide those of others.
func TestOthersAreSeenBetweenOwnAppends(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := openIn(t, dir), openIn(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var head uint64
	for i := range 12 {
		if i%3 != 0 { // and sometimes several of theirs in a row
			head = appendTo(t, ours, "prod", "ours")
		}
		ended := make(chan error, 1)
		go func() { ended <- ours.Wait(ctx, "prod", head) }()
		if i%2 == 0 { // half of the time when it certainly waits already
			for ours.follow.idle() {
				runtime.Gosched()
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("round %d: Wait says %v where nothing comes after %d", i, err, head)
		default:
		}
		after := appendTo(t, theirs, "prod", "theirs")
		if err := <-ended; err != nil {
			t.Fatalf("round %d: the append of another is not seen: %v", i, err)
		}
		if after != head+1 {
			t.Fatalf("round %d: theirs is event %d after our %d", i, after, head)
		}
		head = after
	}
}

func TestNetworkIsRefused(t *testing.T) {
	for name, magic := range map[string]int64{"NFS": 0x6969, "SMB": 0xFF534D42, "9P": 0x01021997, "FUSE": 0x65735546, "Ceph": 0x00C36400} {
		_, err := Open(t.Context(), Config{Dir: t.TempDir(), Filesystem: func(string) (int64, error) { return magic, nil }})
		if sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l, err := Open(t.Context(), Config{Dir: t.TempDir(), Filesystem: func(string) (int64, error) { return 0xEF53, nil }}); err != nil {
		t.Errorf("ext4: %v", err)
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", file, file + "/below"} {
		if _, err := Open(t.Context(), Config{Dir: dir}); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

// TestLockedOut has another connection hold SQLite's lock, as a stopped process would.
func TestLockedOut(t *testing.T) {
	dir := t.TempDir()
	holder := openIn(t, dir)
	l, err := Open(t.Context(), Config{Dir: dir, LockWait: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = holder.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
		if _, err := l.Update(t.Context(), "prod", 0, deciding(held("h"))); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("error %v, want code %s", err, sluice.Contact)
		}
		l.lockWait = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := l.Update(ctx, "prod", 0, deciding(held("h")))
			ended <- err
		}()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
		return nil, nil
	})
	if err != nil {
		t.Error(err)
	}
	appendTo(t, l, "prod", "h")
}

func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	l := openIn(t, dir)
	ctx := t.Context()
	appendTo(t, l, "prod", "h1", "h2")
	appendTo(t, l, "lab", "h1", "other")
	want := func(l *Log, seq uint64, data string) {
		t.Helper()
		got, b, err := l.Snapshot(ctx, "prod")
		if got != seq || string(b) != data || err != nil {
			t.Errorf("snapshot %d %q, error %v; want %d %q", got, b, err, seq, data)
		}
	}
	want(l, 0, "")
	if err := l.SaveSnapshot(ctx, "prod", 1, []byte("inside an append")); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a snapshot of the middle of an append: %v", err)
	}
	if err := l.SaveSnapshot(ctx, "prod", 9, []byte("beyond")); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a snapshot beyond the end: %v", err)
	}
	want(l, 0, "")
	if err := l.SaveSnapshot(ctx, "prod", 2, []byte("two")); err != nil {
		t.Fatal(err)
	}
	want(l, 2, "two")
	appendTo(t, l, "prod", "h3")
	want(l, 2, "two")
	if err := l.SaveSnapshot(ctx, "prod", 3, nil); err != nil {
		t.Fatal(err)
	}
	want(l, 3, "")
	if err := l.SaveSnapshot(ctx, "prod", 3, []byte("three")); err != nil {
		t.Fatal(err)
	}

	// Of another chain.
	other := openIn(t, t.TempDir())
	appendTo(t, other, "prod", "x1", "x2", "x3")
	file, err := os.ReadFile(l.snapshotPath("prod"))
	if err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(other.snapshotPath("prod"), file); err != nil {
		t.Fatal(err)
	}
	want(other, 0, "")

	// Of another namespace, with as many events.
	appendTo(t, l, "lab", "h3")
	if err := replaceFile(l.snapshotPath("lab"), file); err != nil {
		t.Fatal(err)
	}
	if seq, _, err := l.Snapshot(ctx, "lab"); seq != 0 || err != nil {
		t.Errorf("the snapshot of another namespace is taken: %d, error %v", seq, err)
	}

	// What a killed process left goes, what may still be written stays.
	old, fresh := filepath.Join(dir, snapshotsDir, ".new-1"), filepath.Join(dir, snapshotsDir, ".new-2")
	for _, path := range []string{old, fresh} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-2*abandoned)); err != nil {
		t.Fatal(err)
	}
	if err := l.SaveSnapshot(ctx, "prod", 3, []byte("three")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("an unfinished snapshot of long ago is still there")
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("an unfinished snapshot of just now is gone: %v", err)
	}

	// Damaged: whatever byte it is, the snapshot is whole or not there.
	for i := range file {
		bad := slices.Clone(file)
		bad[i] ^= 0x10
		if err := os.WriteFile(l.snapshotPath("prod"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if seq, data, err := l.Snapshot(ctx, "prod"); err != nil || seq != 0 && (seq != 3 || string(data) != "three") {
			t.Errorf("byte %d: snapshot %d %q, error %v", i, seq, data, err)
		}
	}
	if err := os.WriteFile(l.snapshotPath("prod"), file[:len(file)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	want(l, 0, "")
}

func TestFarBehind(t *testing.T) {
	// The caller is behind the anchor, at it, and the log holds many records: the tail is whole and in order.
	l := openIn(t, t.TempDir())
	for i := range 50 {
		appendTo(t, l, "prod", fmt.Sprint(2*i), fmt.Sprint(2*i+1))
	}
	for _, after := range []uint64{0, 1, 2, 49, 50, 98, 99, 100} {
		_, err := l.Update(t.Context(), "prod", after, func(tail []sluice.Event) ([]sluice.Event, error) {
			if len(tail) != int(100-after) || len(tail) > 0 && tail[0].Seq != after+1 {
				t.Errorf("after %d: %d events", after, len(tail))
			}
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
