package remote

import (
	"slices"
	"sync"

	"sluice"
)

// mostPrinted is how many bytes of what hosts print are kept; the rest is asked for when it is wanted.
const mostPrinted = 32 << 20

// printed is what attempts printed that went by from their start to their end, so that nobody has to ask for what came
// already: for many hosts that would be many questions. It is safe for concurrent use.
type printed struct {
	mu    sync.Mutex
	by    map[sluice.AttemptID]*output
	bytes int
}

// output is that of one attempt.
type output struct {
	text  map[string][]byte // by stream
	part  []string          // streams of which something is not here
	ended bool
}

// take keeps what an event says of output. Events that come again change nothing.
func (p *printed) take(e sluice.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		if p.by == nil {
			p.by = map[sluice.AttemptID]*output{}
		}
		if p.by[b.Attempt] == nil {
			p.by[b.Attempt] = &output{text: map[string][]byte{}}
		}
	case sluice.TaskOutput:
		o := p.by[b.Attempt]
		if o == nil {
			return
		}
		data := b.Content()
		if b.Offset != int64(len(o.text[b.Stream])) || p.bytes+len(data) > mostPrinted {
			o.part = append(o.part, b.Stream)
			return
		}
		o.text[b.Stream] = append(o.text[b.Stream], data...)
		p.bytes += len(data)
	case sluice.TaskFinished:
		if o := p.by[b.Attempt]; o != nil {
			o.ended = b.Outcome != sluice.Unknown // else more may come
			o.part = append(o.part, b.Truncated...)
		}
	}
}

// lacks notes that a stream did not come to its end.
func (p *printed) lacks(a sluice.AttemptID, stream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.by[a]; o != nil {
		o.part = append(o.part, stream)
	}
}

// of is what an attempt printed to a stream; whole says that it is all of it.
func (p *printed) of(a sluice.AttemptID, stream string) (text []byte, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.by[a]
	if o == nil || !o.ended || slices.Contains(o.part, stream) {
		return nil, false
	}
	return o.text[stream], true
}
