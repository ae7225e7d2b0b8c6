package live

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/rehearse"
	"sluice/internal/core/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTerminal understands what a painter may write, and fails at anything else.
type fakeTerminal struct {
	mu            sync.Mutex
	width, height int
	rows          [][]string // all that was ever scrolled, and the screen, by column
	top           int        // first row of the screen
	y, x          int
	hidden        bool
	pictures      int
	bad           string
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := string(p); s != ""; {
		s = s[f.step(s):]
	}
	return len(p), nil
}

func (f *fakeTerminal) step(s string) int {
	for len(f.rows) <= f.y {
		f.rows = append(f.rows, nil)
	}
	switch {
	case s[0] == '\r':
		f.x = 0
		return 1
	case s[0] == '\n':
		f.y++
		f.top = max(f.top, f.y-f.height+1)
		return 1
	case strings.HasPrefix(s, "\x1b["):
		return 2 + f.control(s[2:])
	}
	r := []rune(s)[0]
	if r < ' ' {
		f.bad = fmt.Sprintf("%q", s[:1])
	}
	row := f.rows[f.y]
	for len(row) < f.x+runeWidth(r) {
		row = append(row, " ")
	}
	switch runeWidth(r) {
	case 0:
		row[f.x-1] += string(r)
	case 1:
		row[f.x] = string(r)
	case 2:
		row[f.x], row[f.x+1] = string(r), ""
	}
	f.rows[f.y] = row
	if f.x += runeWidth(r); f.x >= f.width {
		f.bad = "a line fills the last column"
	}
	return len(string(r))
}

func (f *fakeTerminal) control(s string) int {
	end := strings.IndexFunc(s, func(r rune) bool { return r >= '@' })
	arg, final := s[:end], s[end]
	switch {
	case final == 'A':
		n, _ := strconv.Atoi(arg)
		f.y = max(f.top, f.y-n)
	case final == 'K' && arg == "":
		f.rows[f.y] = f.rows[f.y][:min(f.x, len(f.rows[f.y]))]
	case final == 'J' && arg == "":
		f.rows[f.y] = f.rows[f.y][:min(f.x, len(f.rows[f.y]))]
		f.rows = f.rows[:f.y+1]
	case arg == "?25":
		f.hidden = final == 'l'
	case arg == "?2026":
		if final == 'h' {
			f.pictures++
		}
	case final == 'm':
	default:
		f.bad = "unknown: " + s[:end+1]
	}
	return end + 1
}

func (f *fakeTerminal) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.rows {
		out = append(out, strings.TrimRight(strings.Join(r, ""), " "))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

func (f *fakeTerminal) size() (int, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.width, f.height
}

func (f *fakeTerminal) painter(color bool) *Painter {
	return NewPainter(Terminal{Out: f, Size: f.size, Color: color, Unicode: true, Clock: time.Now, Footer: "Ctrl-C halts; twice cancels"})
}

// Property: whatever was painted before, at the end the terminal shows the last picture below the notices, and
// nothing else.
func TestPainterEndsWithTheLastPicture(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := rehearse.Options{Seed: rapid.Uint64().Draw(rt, "seed"), Jitter: 0.5, Fail: rehearse.Chance{Share: 0.1}}
		events, _ := storyOf(rt, drawFleet(rt), o, nil)
		width, height := rapid.IntRange(2, 150).Draw(rt, "width"), rapid.IntRange(2, 50).Draw(rt, "height")
		stops := map[int]bool{}
		for range rapid.IntRange(0, 8).Draw(rt, "pictures") {
			stops[rapid.IntRange(0, len(events)-1).Draw(rt, "stop")] = true
		}
		color, wrong := rapid.Bool().Draw(rt, "color"), ""
		synctest.Test(t, func(*testing.T) {
			f := &fakeTerminal{width: width, height: height}
			p := f.painter(color)
			j, lasts := view.New(), tails{}
			for i, e := range events {
				if e.Job == "" {
					continue
				}
				p.Event(e)
				j.Apply(e)
				lasts.see(e)
				if stops[i] {
					time.Sleep(betweenPictures)
					synctest.Wait()
				}
			}
			p.Close()
			s := Screen{Width: width - 1, Height: height - 1, Unicode: true, Now: time.Now(), Footer: "Ctrl-C halts; twice cancels", Last: lasts.last}
			want := strings.TrimRight(strings.Join(Render(j, nil, s), "\n"), "\n ")
			if got := f.text(); got != want {
				wrong = fmt.Sprintf("the terminal shows\n%s\nwant\n%s", got, want)
			}
			if f.bad != "" || f.hidden {
				wrong += fmt.Sprintf("\n%s; hidden cursor: %v", f.bad, f.hidden)
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func TestPainterPaintsAtMostTenTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, _ := storyOf(t, storyFleet(40, sluice.Gate{}), rehearse.Options{}, nil)
		f := &fakeTerminal{width: 80, height: 24}
		p := f.painter(true)
		for range 1000 {
			p.Event(events[1])
			time.Sleep(2 * time.Millisecond)
		}
		synctest.Wait()
		if f.mu.Lock(); f.pictures > 21 || f.pictures < 15 {
			t.Errorf("%d pictures in two seconds", f.pictures)
		}
		n := f.pictures
		f.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if f.mu.Lock(); f.pictures < n+4 || f.pictures > n+6 {
			t.Errorf("%d pictures in five quiet seconds: time should pass once a second", f.pictures-n)
		}
		f.mu.Unlock()
		p.Close()
	})
}

func TestNoticesStandAboveThePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, _ := storyOf(t, storyFleet(5, sluice.Gate{}), rehearse.Options{}, nil)
		f := &fakeTerminal{width: 80, height: 24}
		p := f.painter(false)
		next := func() {
			time.Sleep(betweenPictures)
			synctest.Wait()
		}
		for _, e := range events[1:4] {
			p.Event(e)
		}
		next()
		p.Notice("halting: \x1b[2Jnothing new starts")
		next()
		p.Notice("a second one")
		p.Close()
		lines := strings.Split(f.text(), "\n")
		if lines[0] != `halting: \e[2Jnothing new starts` || lines[1] != "a second one" || !strings.Contains(lines[2], string(storyJob)) {
			t.Errorf("%s", f.text())
		}
		if n := strings.Count(f.text(), string(storyJob)); n != 1 {
			t.Errorf("%d pictures are left:\n%s", n, f.text())
		}
	})
}

func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, _ := storyOf(t, storyFleet(40, sluice.Gate{}), rehearse.Options{}, nil)
		f := &fakeTerminal{width: 80, height: 24}
		p := f.painter(true)
		p.Event(events[1])
		time.Sleep(betweenPictures)
		synctest.Wait()
		f.mu.Lock()
		f.width, f.height = 120, 40
		f.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		p.Close()
		want := strings.Join(Render(view.Fold(events[1:2]), nil, Screen{Width: 119, Height: 39, Unicode: true, Now: time.Now(),
			Footer: "Ctrl-C halts; twice cancels"}), "\n")
		if got := f.text(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

type brokenTerminal struct{}

func (brokenTerminal) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestATerminalThatIsGoneStopsNothing(t *testing.T) {
	p := NewPainter(Terminal{Out: brokenTerminal{}, Size: func() (int, int) { return 80, 24 }, Clock: time.Now})
	p.Notice("anybody there?")
	p.Close()
	p.Close()
}

func TestTails(t *testing.T) {
	lasts := tails{}
	say := func(text string) {
		lasts.see(sluice.Event{Body: sluice.NewTaskOutput("h", "", "stderr", 0, []byte(text))})
	}
	for _, step := range []struct{ says, want string }{
		{"one\ntw", "tw"}, {"o\n", "two"}, {"\n \n", "two"}, {"three\r\n", "three"}, {"\xff\n", "\xff"}, {"a\nb\nc\n\n", "c"},
	} {
		say(step.says)
		if got := lasts.last("h"); got != step.want {
			t.Errorf("after %q: %q, want %q", step.says, got, step.want)
		}
	}
	say(strings.Repeat("x", 1<<20))
	if now := lasts["h"]; len(now.rest) > longestTail {
		t.Errorf("%d bytes are kept", len(now.rest))
	}
	lasts.see(sluice.Event{Body: sluice.TaskFinished{Host: "h", Outcome: sluice.Succeeded}})
	if len(lasts) != 0 {
		t.Error("what succeeded is kept")
	}
}
