package live

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/printed"
	"sluice/internal/core/view"
)

// SummaryOptions say how the end of a job is shown.
type SummaryOptions struct {
	Color, Unicode bool
	// NoOutput leaves out what hosts printed: it was shown as it came.
	NoOutput bool
	// FailuresOnly leaves out hosts that did well.
	FailuresOnly bool
	// Lines is how many lines are shown of each stream of a block; 0 is [DefaultSummaryLines].
	Lines int
	// Now is the time for a job that goes on.
	Now time.Time
}

// DefaultSummaryLines is long enough for what people run by hand, and short enough to scroll back.
const DefaultSummaryLines = 40

// Outputs gives what an attempt on a host printed. truncated says that only the first part was kept.
type Outputs func(h sluice.Host, stream string) (data []byte, truncated bool, err error)

// Summary writes how a job ended: hosts that ended in the same way and printed the same stand together, what
// went wrong first; then the totals, and what to type next.
func Summary(w io.Writer, j *view.Job, outputs Outputs, o SummaryOptions) error {
	if o.Lines == 0 {
		o.Lines = DefaultSummaryLines
	}
	s := &summary{picture: newPicture(j, nil, Screen{Unicode: o.Unicode, Color: o.Color, Now: o.Now}), o: o, outputs: outputs}
	for _, b := range s.blocks() {
		if err := s.block(b); err != nil {
			return err
		}
	}
	if s.b.Len() > 0 {
		s.b.WriteByte('\n')
	}
	s.totals()
	s.next()
	_, err := w.Write(s.b.Bytes())
	return err
}

type summary struct {
	*picture
	o       SummaryOptions
	outputs Outputs
	b       bytes.Buffer
}

// block is the hosts that ended alike.
type block struct {
	mark       mark
	hosts      []sluice.Host
	first      *view.Task
	detail     string
	least      time.Duration
	most       time.Duration
	notStarted bool
	err        error // why there is no output
}

// key is what hosts of a block have in common. Outputs are compared by digest.
type key struct {
	mark       mark
	detail     string
	output     [2]printed.Sum // stdout, stderr
	notStarted bool
}

// blocks puts the hosts together that ended alike, what went wrong first, and then the largest first.
func (s *summary) blocks() []*block {
	at := map[key]*block{}
	var out []*block
	var same view.Plain
	for i := range s.job.Tasks {
		t := &s.job.Tasks[i]
		k := key{mark: s.markOf(t), notStarted: t.Outcome == "" && !t.Running}
		if s.o.FailuresOnly && !t.Outcome.Bad() {
			continue
		}
		said := view.Detail(t)
		k.detail = said
		if said != "" {
			k.detail = same.Key(t.Host, s.job.Spec.SSHFor(t.Host).Address, said)
		}
		var err error
		if t.Outcome != "" && t.Attempt != "" && !s.o.NoOutput {
			k.output, err = s.digest(t)
		}
		b := at[k]
		if b == nil || err != nil {
			b = &block{mark: k.mark, first: t, detail: said, least: t.Took, most: t.Took, notStarted: k.notStarted, err: err}
			out = append(out, b)
			if err == nil {
				at[k] = b
			}
		} else if b.detail != said {
			b.detail = k.detail
		}
		b.hosts = append(b.hosts, t.Host)
		b.least, b.most = min(b.least, t.Took), max(b.most, t.Took)
	}
	slices.SortStableFunc(out, func(a, b *block) int {
		if c := cmp.Compare(b.mark, a.mark); c != 0 { // worst first
			return c
		}
		return cmp.Compare(len(b.hosts), len(a.hosts))
	})
	return out
}

func (s *summary) digest(t *view.Task) (sums [2]printed.Sum, err error) {
	for i, name := range []string{"stdout", "stderr"} {
		data, cut, err := s.outputs(t.Host, name)
		if err == nil {
			sums[i], err = printed.SumOf(bytes.NewReader(data), int64(len(data)), cut)
		}
		if err != nil {
			return sums, err
		}
	}
	return sums, nil
}

// block writes one block.
func (s *summary) block(b *block) error {
	l := line{{s.clean(fold(b.hosts)), bold}}.add(plain, ": ")
	switch over := !s.job.Ended.IsZero(); {
	case b.notStarted && over && b.mark == waiting:
		l = l.add(dim, "not started")
	case b.notStarted && over:
		l = l.add(markStyles[b.mark], markWords[b.mark]).add(dim, ", not started")
	default:
		l = l.add(markStyles[b.mark], markWords[b.mark])
	}
	if b.detail != "" {
		l = l.add(plain, ", "+s.clean(b.detail))
	}
	if b.most > 0 {
		t := took(b.least)
		if to := took(b.most); to != t {
			t += " to " + to
		}
		l = l.add(dim, " ("+t+")")
	}
	s.line(l)
	if b.err != nil {
		s.line(styled(dim, "  its output cannot be read: "+s.clean(b.err.Error())))
		return nil
	}
	if b.first.Outcome == "" || b.first.Attempt == "" || s.o.NoOutput {
		return nil
	}
	for _, name := range []string{"stdout", "stderr"} {
		data, cut, err := s.outputs(b.first.Host, name)
		if err != nil {
			return err
		}
		s.output(b, name, string(data), cut)
	}
	return nil
}

// output writes a stream, without its middle if it is long.
func (s *summary) output(b *block, name, data string, cut bool) {
	if data == "" {
		return
	}
	lines := strings.Split(strings.TrimSuffix(data, "\n"), "\n")
	sign, look := "  | ", dim
	if name == "stderr" {
		sign, look = "  ! ", warn
	}
	put := func(lines []string) {
		for _, l := range lines {
			s.line(styled(look, sign).add(plain, s.shown(l)))
		}
	}
	if more := len(lines) - s.o.Lines; more > 1 {
		head := (s.o.Lines + 1) / 2
		put(lines[:head])
		s.line(styled(dim, fmt.Sprintf("  %s %s more: sluice log %s %s", s.ellipsis, count(more, "line"), s.job.ID, b.first.Host)))
		put(lines[head+more:])
	} else {
		put(lines)
	}
	if cut {
		s.line(styled(dim, "  only the first part of "+name+" was kept"))
	}
}

func (s *summary) line(l line) { s.b.WriteString(l.paint(s.o.Color) + "\n") }

// totals counts all hosts in one line.
func (s *summary) totals() {
	l := line{{count(len(s.job.Tasks), "host"), bold}}.add(plain, ":")
	sep := " "
	for _, m := range reading {
		if n := s.counts[m]; n > 0 {
			word := markWords[m]
			if m == waiting && !s.job.Ended.IsZero() {
				word = "not started"
			}
			l = l.add(plain, sep).add(markStyles[m], number(n)+" "+word)
			sep = ", "
		}
	}
	if from := s.job.Started; !from.IsZero() {
		l = l.add(plain, " in "+elapsed(s.now.Sub(from)))
	}
	s.line(l)
}
