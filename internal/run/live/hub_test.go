package live

import (
	"strings"
	"testing"

	"sluice"
)

func piece(job sluice.JobID, a sluice.AttemptID, stream string, offset int64, text string) sluice.Event {
	return sluice.Event{Job: job, Body: sluice.NewTaskOutput("web1", a, stream, offset, []byte(text))}
}

// TestWatchers: each gets what its job prints from when it came on, and nothing of others.
func TestWatchers(t *testing.T) {
	var h Hub
	h.Observe(piece("a", "a-0-1", "stdout", 0, "before"))
	one, two, other := h.Watch("a"), h.Watch("a"), h.Watch("b")
	h.Observe(piece("a", "a-0-1", "stdout", 6, "now"))
	h.Observe(sluice.Event{Job: "a", Body: sluice.JobStarted{}})
	for _, w := range []*Watcher{one, two} {
		<-w.More()
		pieces, missed := w.Take()
		if len(pieces) != 1 || pieces[0].Body.(sluice.TaskOutput).Data != "now" || missed != nil {
			t.Errorf("%v, missed %v", pieces, missed)
		}
	}
	if pieces, _ := other.Take(); pieces != nil {
		t.Errorf("of another job: %v", pieces)
	}
	one.Close()
	h.Observe(piece("a", "a-0-1", "stdout", 9, "later"))
	if pieces, _ := one.Take(); pieces != nil {
		t.Errorf("after it was closed: %v", pieces)
	}
	two.Close()
	other.Close()
	if len(h.jobs) != 0 {
		t.Errorf("left: %v", h.jobs)
	}
}

// TestSlowWatchers: what waits is bounded; of what is more the watcher is told, and no piece comes after one that was left
// out.
func TestSlowWatchers(t *testing.T) {
	var h Hub
	w := h.Watch("a")
	defer w.Close()
	big := strings.Repeat("x", most/4)
	for i := range 10 {
		h.Observe(piece("a", "a-0-1", "stdout", int64(i)*int64(len(big)), big))
	}
	h.Observe(piece("a", "a-0-1", "stderr", 0, "more than fits"))
	pieces, missed := w.Take()
	if len(pieces) != 4 || len(missed) != 2 {
		t.Errorf("%d pieces, missed %v", len(pieces), missed)
	}
	h.Observe(piece("a", "a-0-1", "stdout", 10*int64(len(big)), "again"))
	if pieces, missed := w.Take(); len(pieces) != 1 || missed != nil {
		t.Errorf("%d pieces, missed %v after all was taken", len(pieces), missed)
	}
}
