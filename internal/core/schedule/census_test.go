package schedule_test

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"sluice"
	"sluice/internal/core/schedule"
)

// TestCensus: at every point of the golden history the census is what counting the lists gives.
func TestCensus(t *testing.T) {
	f, err := os.Open("testdata/history.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, states := schedule.New(), map[schedule.JobState]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e sluice.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
		want := schedule.Census{Jobs: map[schedule.JobState]int{}}
		for _, j := range s.Jobs() {
			want.Jobs[j.State]++
			want.Running += j.Running
			states[j.State] = true
		}
		for _, h := range s.Out() {
			switch {
			case h.Retired:
				want.Retired++
			case h.Held:
				want.Held++
			case !h.Running:
				want.Out++
			}
		}
		if got := s.Census(); !reflect.DeepEqual(got, want) {
			t.Fatalf("after event %d: %+v, want %+v", e.Seq, got, want)
		}
	}
	if len(states) < 4 {
		t.Errorf("the history has only the states %v", states)
	}
}
