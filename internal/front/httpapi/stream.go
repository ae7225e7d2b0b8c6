package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
)

const (
	// pulse is how often something is sent where nothing happens, so that both sides notice a dead connection.
	pulse = 15 * time.Second
	// breath is between two writes to one who watches: what comes within it goes out together, unless it is much. What comes
	// after a rest goes out at once.
	breath = 50 * time.Millisecond
	// waiting is how many bytes may wait for one who is slow. Whoever has more to send to them waits.
	waiting = 128 << 10
)

// stream writes server-sent events, on a goroutine of its own: while it writes, more is gathered, and what is there then is
// written at once. After the first failure it is silent.
type stream struct {
	ctx  context.Context // ends when nothing can be written any more: HEAD takes no body at all
	stop context.CancelFunc
	done chan struct{} // the writer has ended
	told *told

	mu    sync.Mutex
	text  []byte        // is to be written
	last  bool          // nothing more comes
	there chan struct{} // sent to when there is something to write
	much  chan struct{} // sent to when half of what may wait is there
	room  chan struct{} // sent to when there is room again

	w     io.Writer
	flush func() error
}

// newStream begins a stream, with a line for people; close ends it, and so does stopping.
func newStream(ctx context.Context, w io.Writer, t *told, stopping <-chan struct{}, greeting string) *stream {
	ctx, stop := context.WithCancel(ctx)
	s := &stream{ctx: ctx, stop: stop, done: make(chan struct{}), told: t, there: make(chan struct{}, 1), much: make(chan struct{}, 1),
		room: make(chan struct{}, 1), w: w, flush: func() error { return nil }}
	if rw, ok := w.(http.ResponseWriter); ok {
		s.flush = http.NewResponseController(rw).Flush
	}
	s.add([]byte(": " + greeting + "\n\n"))
	go func() {
		defer close(s.done)
		defer stop()
		s.write(stopping)
	}()
	return s
}

// close ends the writer: nothing may be written once the handler has returned.
func (s *stream) close() {
	s.stop()
	<-s.done
}

// send writes an event, soon. It waits while too much is to be written already.
func (s *stream) send(e sluice.Event) {
	if text := s.told.text(e); text != nil {
		s.add(text)
	}
}

// sendShort is send, for those who want what most events say in short.
func (s *stream) sendShort(e sluice.Event) {
	if text := shortly(e); text != nil {
		s.add(text)
		return
	}
	s.send(e)
}

// lacks says that what an attempt printed was not sent to its end, and must be asked for. It is a comment: whoever does not
// know it passes over it.
func (s *stream) lacks(a sluice.AttemptID, stream string) {
	s.add([]byte(": lacks " + string(a) + " " + stream + "\n\n"))
}

// end says that nothing more comes, so that nobody takes a lost connection for the end. It returns when all is written.
func (s *stream) end() {
	s.add([]byte("event: end\ndata: {}\n\n"))
	s.mu.Lock()
	s.last = true
	s.mu.Unlock()
	tell(s.there)
	tell(s.much) // nobody waits for more
	<-s.done
}

func (s *stream) add(text []byte) {
	for {
		s.mu.Lock()
		fits := len(s.text) < waiting // a single event may be larger
		if fits {
			s.text = append(s.text, text...)
		}
		much := len(s.text) >= waiting/2
		s.mu.Unlock()
		if much {
			tell(s.much)
		}
		if fits {
			tell(s.there)
			return
		}
		select {
		case <-s.room:
		case <-s.ctx.Done():
			return
		}
	}
}

// tell sends to a channel that has room for one.
func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write writes what is there, until nothing more comes or nothing more can be written.
func (s *stream) write(stopping <-chan struct{}) {
	t := time.NewTicker(pulse)
	defer t.Stop()
	var spare []byte
	for {
		var beat string
		select {
		case <-s.ctx.Done():
			return
		case <-stopping:
			return
		case <-t.C:
			beat = ":\n\n"
		case <-s.there:
		}
		s.mu.Lock()
		s.text = append(s.text, beat...)
		text, last := s.text, s.last
		s.text = spare[:0]
		s.mu.Unlock()
		tell(s.room)
		if len(text) > 0 {
			_, err := s.w.Write(text)
			if err == nil {
				err = s.flush()
			}
			if err != nil {
				return
			}
		}
		if last {
			return
		}
		if spare = text; cap(spare) > 2*waiting { // it was one large event
			spare = nil
		}
		s.rest(stopping)
	}
}

// rest lets more come together.
func (s *stream) rest(stopping <-chan struct{}) {
	t := time.NewTimer(breath)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.much:
	case <-s.ctx.Done():
	case <-stopping:
	}
}

// told keeps the newest events as they are written to those who watch, since all of them are told the same. It is safe for
// concurrent use.
type told struct {
	small [1 << 14]atomic.Pointer[telling]
	large [4]atomic.Pointer[telling] // a job on many hosts
}

// telling is one event as it is written.
type telling struct {
	job  sluice.JobID
	seq  uint64
	text []byte
}

// few is the size from which on few events are kept; those of tasks, of which there are many, are smaller.
const few = 2 << 10

// text is an event as it is written; nobody may change it. Nil: it cannot be written.
func (t *told) text(e sluice.Event) []byte {
	if _, output := e.Body.(sluice.TaskOutput); output { // it has no number of its own
		return written("", e)
	}
	small, large := &t.small[e.Seq%uint64(len(t.small))], &t.large[e.Seq%uint64(len(t.large))]
	for _, at := range []*atomic.Pointer[telling]{small, large} {
		if one := at.Load(); one != nil && one.seq == e.Seq && one.job == e.Job {
			return one.text
		}
	}
	one := &telling{job: e.Job, seq: e.Seq, text: written("id: "+strconv.FormatUint(e.Seq, 10)+"\n", e)}
	if len(one.text) < few {
		small.Store(one)
	} else {
		large.Store(one)
	}
	return one.text
}

// shortly is what an event of a task says in an array; nil: it is not one of those that are nearly all. The name of an attempt
// has the number of its host, so that nobody has to look it up. It costs less than to look for one that was kept.
func shortly(e sluice.Event) []byte {
	var id sluice.AttemptID
	switch b := e.Body.(type) {
	case sluice.TaskStarted:
		id = b.Attempt
	case sluice.TaskStep:
		id = b.Attempt
	case sluice.TaskFinished:
		if b.Outcome != sluice.Succeeded || b.Reason != "" || len(b.Truncated)+len(b.Leftovers) > 0 {
			return nil
		}
		id = b.Attempt
	default:
		return nil
	}
	_, host, try, ok := id.Parse()
	if !ok {
		return nil
	}
	text := make([]byte, 0, 96)
	text = strconv.AppendUint(append(text, "id: "...), e.Seq, 10)
	text = append(append(append(text, "\ndata: [\""...), e.Body.Type()...), "\","...)
	for _, n := range []int64{int64(host), int64(try)} {
		text = append(strconv.AppendInt(text, n, 10), ',')
	}
	text = strconv.AppendInt(text, e.Time.UnixMilli(), 10)
	switch b := e.Body.(type) {
	case sluice.TaskStep:
		step, err := json.Marshal(b.Step) // a hook's name may be anything
		if err != nil {
			return nil
		}
		text = append(append(append(text, ','), step...), ',')
		text = strconv.AppendInt(text, int64(b.ExitCode), 10)
	case sluice.TaskFinished:
		text = strconv.AppendInt(append(text, ','), b.DurationMS, 10)
	}
	return append(text, "]\n\n"...)
}

func written(head string, e sluice.Event) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		return nil // cannot be: it came from the log
	}
	text := make([]byte, 0, len(head)+len(b)+8)
	text = append(append(append(text, head...), "data: "...), b...)
	return append(text, "\n\n"...)
}
