package sqlitelog

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice"
)

// What the program keeps for itself has its marks in the anchor, its snapshot and its proof like all else, and its name,
// which begins as those of unfinished files do, is not swept away.
func TestReservedNamespace(t *testing.T) {
	const ns = sluice.AccessNamespace
	dir := t.TempDir()
	l := openIn(t, dir)
	appendTo(t, l, ns, "h1", "h2")
	appendTo(t, l, "prod", "h3")
	if err := l.SaveSnapshot(t.Context(), ns, 2, []byte("who may do what")); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(filepath.Join(dir, snapshotsDir, string(ns)+".snapshot"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := l.SaveSnapshot(t.Context(), "prod", 1, []byte("other")); err != nil { // sweeps
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = openIn(t, dir)
	seq, data, err := l.Snapshot(t.Context(), ns)
	if err != nil || seq != 2 || string(data) != "who may do what" {
		t.Errorf("the snapshot of event %d is %q, error %v", seq, data, err)
	}
	if got := hosts(t, l, ns); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
	heads, err := l.Verify(t.Context())
	if err != nil || len(heads) != 2 || heads[0].Namespace != ns || heads[0].Seq != 2 || heads[0].Acknowledged != 2 {
		t.Errorf("heads %+v, error %v", heads, err)
	}
	if head := appendTo(t, l, ns, "h4"); head != 3 {
		t.Errorf("the next append ends at %d", head)
	}
}
