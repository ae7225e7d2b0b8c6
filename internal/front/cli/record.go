package cli

import (
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
	"sluice/internal/front/live"
)

// What a recording looks like.
const (
	recordWidth  = 100
	recordHeight = 28
	recordEvery  = 250 * time.Millisecond
)

// addRecord adds the flag that makes a moving picture of the job. It is hidden: it is for pictures in documents.
func (f *jobFlags) addRecord(c *cobra.Command) {
	c.Flags().StringVar(&f.record, "record", "", "write a moving picture of the job to this SVG `file`")
	_ = c.Flags().MarkHidden("record")
}

// recorder also keeps what happens and when, and draws it when the job has ended.
type recorder struct {
	display
	a    *app
	file string

	mu      sync.Mutex
	moments []moment
}

// moment is one thing that was shown: an event, or else waits.
type moment struct {
	at    time.Time
	event *sluice.Event
	waits []schedule.Wait
}

func (r *recorder) keep(m moment) {
	m.at = r.a.Clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moments = append(r.moments, m)
}

func (r *recorder) Event(e sluice.Event) {
	r.keep(moment{event: &e})
	r.display.Event(e)
}

func (r *recorder) Waits(w []schedule.Wait) {
	r.keep(moment{waits: w})
	r.display.Waits(w)
}

// Summary draws the recording first: who watches has the end before the file is written.
func (r *recorder) Summary(last sluice.Event) error {
	if err := r.display.Summary(last); err != nil {
		return err
	}
	screen := live.Screen{Width: recordWidth, Height: recordHeight, Color: true, Unicode: true}
	frames := r.frames(screen)
	screen.Height = 0 // no higher than the highest frame
	picture := live.AnimatedSVG(frames, screen, r.title())
	out, err := r.a.Files.Create(r.file)
	if err != nil {
		return err
	}
	_, err = out.Write(picture)
	if e := out.Close(); err == nil {
		err = e
	}
	return err
}

// title is the command line, without the recording.
func (r *recorder) title() string {
	words := []string{"sluice"}
	for i, a := range r.a.Args {
		if a != "--record" && (i == 0 || r.a.Args[i-1] != "--record") && !strings.HasPrefix(a, "--record=") {
			words = append(words, a)
		}
	}
	return strings.Join(words, " ")
}

// frames tells the job again, in steps.
func (r *recorder) frames(screen live.Screen) (frames []live.Frame) {
	job, last := view.New(), map[sluice.Host]string{}
	screen.Last = func(h sluice.Host) string { return last[h] }
	var waits []schedule.Wait
	for rest := r.moments; len(rest) > 0; {
		screen.Now = rest[0].at
		if n := len(frames); n > 0 {
			screen.Now = r.moments[0].at.Add(time.Duration(n) * recordEvery)
		}
		for len(rest) > 0 && !rest[0].at.After(screen.Now) {
			if e := rest[0].event; e != nil {
				job.Apply(*e)
				if b, ok := e.Body.(sluice.TaskOutput); ok {
					last[b.Host] = lastLine(b, last[b.Host])
				}
			} else {
				waits = rest[0].waits
			}
			rest = rest[1:]
		}
		frames = append(frames, live.Frame{At: time.Duration(len(frames)) * recordEvery, Lines: live.Render(job, waits, screen)})
	}
	return frames
}

// lastLine is the last line of what a host printed, or what it was before.
func lastLine(b sluice.TaskOutput, before string) string {
	text := strings.TrimSpace(b.Data)
	if text == "" {
		return before
	}
	return clean.Line(text[strings.LastIndexByte(text, '\n')+1:])
}
