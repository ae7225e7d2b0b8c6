package live

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
)

// Terminal is what a [Painter] paints on.
type Terminal struct {
	Out            io.Writer
	Size           func() (width, height int) // asked before every picture
	Color, Unicode bool
	Clock          sluice.Clock
	// Footer stands below a job that is going on.
	Footer string
}

// Times of painting. A picture is painted at most ten times a second, and at least every second: time passes
// even if nothing happens.
const (
	betweenPictures = 100 * time.Millisecond
	stillPicture    = time.Second
)

// Painter keeps the picture of a job on a terminal. All its methods may be called at any time from anywhere; none
// waits for the terminal but Close.
type Painter struct {
	terminal Terminal
	wake     chan struct{} // something happened
	close    chan struct{}
	closed   chan struct{}
	once     sync.Once

	mu      sync.Mutex
	job     *view.Job
	waits   []schedule.Wait
	tails   tails
	notices []string

	// Only the painting goroutine uses these.
	before []string // what stands on the terminal
	width  int      // when that was painted
	broken bool     // the terminal is gone
}

// NewPainter takes the terminal over until Close.
func NewPainter(t Terminal) *Painter {
	p := &Painter{terminal: t, wake: make(chan struct{}, 1), close: make(chan struct{}), closed: make(chan struct{}),
		job: view.New(), tails: tails{}}
	go p.run()
	return p
}

// Event shows what happened.
func (p *Painter) Event(e sluice.Event) {
	p.mu.Lock()
	p.job.Apply(e)
	p.tails.see(e)
	p.mu.Unlock()
	p.changed()
}

// Past shows what happened before.
func (p *Painter) Past(events []sluice.Event, _ string) {
	p.mu.Lock()
	for _, e := range events {
		p.job.Apply(e)
	}
	p.mu.Unlock()
	p.changed()
}

// Waits shows why tasks wait.
func (p *Painter) Waits(waits []schedule.Wait) {
	p.mu.Lock()
	p.waits = waits
	p.mu.Unlock()
	p.changed()
}

// Notice prints a line above the picture, where it stays.
func (p *Painter) Notice(text string) {
	p.mu.Lock()
	p.notices = append(p.notices, text)
	p.mu.Unlock()
	p.changed()
}

// Close paints the last picture, gives the terminal back, and waits until both are done.
func (p *Painter) Close() {
	p.once.Do(func() { close(p.close) })
	<-p.closed
}

func (p *Painter) changed() {
	select {
	case p.wake <- struct{}{}:
	default: // a picture is due anyway
	}
}

func (p *Painter) run() {
	defer close(p.closed)
	p.write("\x1b[?25l") // hide the cursor
	defer func() {
		p.paint()
		end := "\x1b[?25h"
		if len(p.before) > 0 {
			end = "\r\n\r\n" + end // an empty line before what follows
		}
		p.write(end)
	}()
	still := time.NewTimer(stillPicture)
	defer still.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-p.close:
			return
		}
		still.Reset(stillPicture)
		select {
		case <-p.wake:
		case <-still.C:
		case <-p.close:
			return
		}
		p.paint()
		pace.Reset(betweenPictures)
	}
}

// paint brings the terminal up to date.
func (p *Painter) paint() {
	width, height := p.terminal.Size()
	s := Screen{Width: width - 1, Height: height - 1, // a full last column would leave the cursor in two places at once
		Color: p.terminal.Color, Unicode: p.terminal.Unicode, Now: p.terminal.Clock(), Footer: p.terminal.Footer}
	p.mu.Lock()
	s.Last = p.tails.last
	picture := Render(p.job, p.waits, s)
	notices := p.notices
	p.notices = nil
	p.mu.Unlock()
	p.write(p.update(picture, notices, s))
	p.before, p.width = picture, width
}

// update is what turns the old picture into the new one: up to its first line, then down over both, writing the
// lines that differ.
func (p *Painter) update(picture, notices []string, s Screen) string {
	var b strings.Builder
	b.WriteString("\x1b[?2026h\r") // show all of it at once, where the terminal can
	if up := p.rowsAbove(s.Width + 1); up > 0 {
		b.WriteString("\x1b[" + strconv.Itoa(min(up, s.Height)) + "A")
	}
	before, anew := p.before, s.Width+1 != p.width || len(notices) > 0
	if anew {
		before = nil // each line is cleared as it is written: clearing all at once leaves a copy in the history of some terminals
	}
	for _, n := range notices {
		b.WriteString(s.clean(n) + "\x1b[K\r\n")
	}
	for i, l := range picture {
		if i > 0 {
			b.WriteString("\r\n")
		}
		// The last line is always written: there the terminal echoes what is typed, such as ^C.
		if i >= len(before) || before[i] != l || i == len(picture)-1 {
			b.WriteString(l + "\x1b[K")
		}
	}
	if anew || len(before) > len(picture) {
		b.WriteString("\x1b[J")
	}
	b.WriteString("\x1b[?2026l")
	return b.String()
}

// rowsAbove is how many rows the picture takes above the cursor. Most terminals break lines anew when they
// become narrower.
func (p *Painter) rowsAbove(now int) int {
	rows := 0
	for _, l := range p.before {
		rows++
		if now < p.width && now > 0 {
			rows += max(0, visibleWidth(l)-1) / now
		}
	}
	return max(0, rows-1)
}

// visibleWidth is the width of a painted line.
func visibleWidth(l string) int {
	n := 0
	for _, s := range parse(l) {
		n += width(s.text)
	}
	return n
}

func (p *Painter) write(s string) {
	if p.broken {
		return
	}
	_, err := io.WriteString(p.terminal.Out, s)
	p.broken = err != nil // a terminal that is gone is no reason to end the job
}

// tails are the last lines that hosts printed.
type tails map[sluice.Host]tail

type tail struct {
	line, rest string // the last that has ended, and what came since
}

// longestTail is how many bytes of a line are kept.
const longestTail = 512

func (t tails) see(e sluice.Event) {
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		delete(t, b.Host)
	case sluice.TaskFinished:
		if !b.Outcome.Bad() {
			delete(t, b.Host)
		}
	case sluice.TaskOutput:
		now := t[b.Host]
		now.add(outputOf(b))
		t[b.Host] = now
	}
}

func (t *tail) add(data string) {
	s := t.rest + data
	if end := strings.LastIndexByte(s, '\n'); end >= 0 {
		whole := strings.TrimRight(s[:end], "\r\n\t ")
		if last := whole[strings.LastIndexByte(whole, '\n')+1:]; last != "" {
			t.line = strings.Clone(last[:min(len(last), longestTail)])
		}
		s = s[end+1:]
	}
	t.rest = strings.Clone(s[:min(len(s), longestTail)])
}

func (t tails) last(h sluice.Host) string {
	now := t[h]
	if rest := strings.TrimSpace(now.rest); rest != "" {
		return rest
	}
	return strings.TrimSpace(now.line)
}
