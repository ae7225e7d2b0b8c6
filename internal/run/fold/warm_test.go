package fold_test

import (
	"testing"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/fold"
)

// TestWarm: a snapshot is made when there is enough behind the last one, of what is behind that one, and not before.
func TestWarm(t *testing.T) {
	l := &shelf{Log: fake.NewLog()}
	w := fold.NewWarm(l)
	end := uint64(0)
	look := func(saves int, begins uint64, reads bool) {
		t.Helper()
		l.reads = nil
		if err := w.Look(t.Context(), []sluice.Head{{Namespace: sluice.AccessNamespace, Seq: 1 << 20}, {Namespace: ns, Seq: end}}); err != nil {
			t.Fatal(err)
		}
		if l.saves != saves || reads != (len(l.reads) > 0) || reads && l.reads[0] != begins {
			t.Errorf("%d snapshots, want %d; it read from %v", l.saves, saves, l.reads)
		}
	}
	add := func(number, hosts int) {
		t.Helper()
		events := job(number, hosts, false)
		appendTo(t, l, events)
		end += uint64(len(events))
	}
	look(0, 0, false)
	add(1, 1600)
	look(0, 0, false)
	add(2, 100)
	look(1, 0, true)
	first := l.seq
	add(3, 4)
	look(1, 0, false)
	add(4, 1700)
	look(2, first, true)
	if l.seq != end {
		t.Errorf("the snapshot ends with %d, the log with %d", l.seq, end)
	}
}
