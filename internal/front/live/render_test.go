package live

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/rehearse"
	"sluice/internal/core/view"
)

// states are moments of a job.
var states = []struct {
	name  string
	after time.Duration
	gate  sluice.Gate
	o     rehearse.Options
	edit  func(*sluice.Job)
	then  []sluice.Body // happens at the end of it
}{
	{name: "waiting"},
	{name: "running", after: 80 * time.Second, gate: sluice.Gate{MaxFailures: sluice.Percent(25)}, o: rehearse.Options{Jitter: 0.6, Fail: rehearse.Chance{Share: 0.03}, Lose: rehearse.Chance{Share: 0.02}}},
	{name: "gate", after: 45 * time.Second, gate: sluice.Gate{Pause: 5 * time.Minute}},
	{name: "halting", after: 40 * time.Second, o: rehearse.Options{Jitter: 0.6}, then: []sluice.Body{
		sluice.JobHalting{Rule: sluice.RuleOperator, Reason: "wrong version", By: "bob@desk"}}},
	{name: "cancelling", after: 40 * time.Second, o: rehearse.Options{Jitter: 0.6}, then: []sluice.Body{sluice.JobCancelling{By: "bob@desk"}}},
	{name: "halted", after: time.Hour, o: rehearse.Options{Jitter: 0.3, Fail: rehearse.Chance{Share: 0.3}}},
	{name: "cancelled", after: 2 * time.Hour, o: rehearse.Options{Hang: rehearse.Chance{Share: 0.2}}},
	{name: "succeeded", after: 24 * time.Hour, o: rehearse.Options{Jitter: 0.3}},
}

func TestRender(t *testing.T) {
	sizes := [][2]int{{80, 24}, {200, 50}, {40, 12}}
	for _, n := range []int{5, 40, 1000, 10000} {
		for _, st := range states {
			t.Run(fmt.Sprintf("%d/%s", n, st.name), func(t *testing.T) {
				events, _ := storyOf(t, storyFleet(n, st.gate), st.o, st.edit)
				if st.after == 0 {
					events = events[:2]
				}
				j, waits := upTo(t, events, st.after)
				for _, b := range st.then {
					j.Apply(sluice.Event{Time: j.Now, Job: j.ID, Body: b})
				}
				var b strings.Builder
				for _, size := range sizes {
					if n == 10000 && size[0] == 200 && st.name != "running" {
						continue // says no more than the others, at length
					}
					s := screen(size[0], size[1], st.after)
					b.WriteString(frame(Render(j, waits, s), s))
				}
				golden(t, fmt.Sprintf("render/%d-%s.txt", n, st.name), b.String())
			})
		}
	}
}

func TestBeforeTheJob(t *testing.T) {
	for _, s := range []Screen{{}, {Width: 10, Height: 1}, screen(80, 24, 0)} {
		if got := Render(view.New(), nil, s); len(got) > s.Height {
			t.Errorf("%dx%d: %q", s.Width, s.Height, got)
		}
	}
}

// drawFleet makes a fleet of random sequences, constraints and names, with names of stages that do no good.
func drawFleet(t *rapid.T) *sluice.Fleet {
	n := rapid.IntRange(1, 300).Draw(t, "hosts")
	f := &sluice.Fleet{Namespace: "x", Tags: map[sluice.Tag][]sluice.Host{}}
	name := rapid.SampledFrom([]string{"w%d", "web%03d", "a-very-long-name-of-a-host-%d.dc7.example.org"}).Draw(t, "names")
	for i := range n {
		f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf(name, i)))
	}
	evil := rapid.SampledFrom([]string{"$app", "名前", "$a\x1b[2J", "x\ny", "e\u0301\u0301", "\u202eabc", strings.Repeat("long ", 50)})
	at := 0
	for k := range rapid.IntRange(0, 4).Draw(t, "sequences") {
		seq := sluice.Sequence{Name: evil.Draw(t, "sequence")}
		for e := range rapid.IntRange(1, 40).Draw(t, "entries") {
			end := min(n, at+rapid.IntRange(0, 20).Draw(t, "size"))
			if end > at {
				seq.Entries = append(seq.Entries, sluice.Entry{Name: fmt.Sprint(evil.Draw(t, "entry"), k, e), Hosts: f.Hosts[at:end],
					Gate: sluice.Gate{MaxFailures: sluice.Percent(rapid.IntRange(0, 100).Draw(t, "may fail"))}})
			}
			at = end
		}
		f.Sequences = append(f.Sequences, seq)
	}
	if rapid.Bool().Draw(t, "limited") {
		f.Constraints = []sluice.Constraint{{Name: "$all", Groups: []sluice.Group{{Name: "$all", Limit: sluice.Percent(rapid.IntRange(0, 60).Draw(t, "limit")), Members: f.Hosts}}}}
	}
	return f
}

// Property: whatever happens, a picture keeps to its screen, and nothing in it steers the terminal.
func TestRenderKeepsToTheScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0, 0.4)
		o := rehearse.Options{Seed: rapid.Uint64().Draw(t, "seed"), Jitter: 0.5, Fail: rehearse.Chance{Share: share.Draw(t, "fail")},
			Lose: rehearse.Chance{Share: share.Draw(t, "lose")}, Hang: rehearse.Chance{Share: share.Draw(t, "hang")}}
		events, r := storyOf(t, drawFleet(t), o, func(j *sluice.Job) { j.Command = "printf '\\e[1m\x1b[2J\t界'" })
		after := time.Duration(rapid.Float64Range(0, 1.1).Draw(t, "after") * float64(r.Total))
		j, waits := upTo(t, events, after)
		for range 4 {
			s := screen(rapid.IntRange(1, 220).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height"), after)
			s.Unicode = rapid.Bool().Draw(t, "unicode")
			lines := Render(j, waits, s)
			checkFits(t, lines, s)
			s.Color = true
			coloured := Render(j, waits, s)
			for i := range lines {
				if got := sgrPattern.ReplaceAllString(coloured[i], ""); strings.TrimRight(got, " ") != lines[i] {
					t.Fatalf("colour changes the text: %q, %q", got, lines[i])
				}
			}
		}
	})
}

var sgrPattern = regexp.MustCompile("\x1b\\[[0-9;]*m")

func checkFits(t *rapid.T, lines []string, s Screen) {
	if len(lines) > s.Height {
		t.Fatalf("%d lines on a screen of %d", len(lines), s.Height)
	}
	for _, l := range lines {
		if w := width(l); w > s.Width {
			t.Fatalf("%d columns on a screen of %d: %q", w, s.Width, l)
		}
		for _, r := range l {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || !s.Unicode && r > '~' {
				t.Fatalf("%U in %q", r, l)
			}
		}
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "日本": 4, "e\u0301": 1, "✓▸·…█": 5, "😀": 2, "한글": 4} {
		if got := width(s); got != want {
			t.Errorf("%q: %d columns, want %d", s, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 72 * time.Second: "1m12s", 3 * time.Hour: "3h00m",
		26*time.Hour + time.Minute: "1d02h", -time.Second: "0s"} {
		if got := elapsed(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if a, b := took(1234*time.Millisecond), took(12600*time.Millisecond); a != "1.2s" || b != "13s" {
		t.Error(a, b)
	}
	if a, b := roughly(100*time.Second), roughly(42*time.Second); a != "2m" || b != "40s" {
		t.Error(a, b)
	}
	if got := number(1234567); got != "1,234,567" {
		t.Error(got)
	}
}

func BenchmarkRender(b *testing.B) {
	events, _ := storyOf(b, storyFleet(10000, sluice.Gate{}), rehearse.Options{Jitter: 0.6}, nil)
	j, waits := upTo(b, events, 10*time.Minute)
	s := screen(200, 50, 10*time.Minute)
	for b.Loop() {
		Render(j, waits, s)
	}
}
