package doors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"sluice"
	"sluice/internal/front/httpapi"
)

// Front takes requests for as long as the server runs, and has each answered by the life that the server is in at the moment. Who comes
// between two lives waits for the next.
type Front struct {
	server *http.Server
	cut    context.CancelFunc // ends all requests
	doors  sync.WaitGroup
	failed chan error // has room for one

	mu    sync.Mutex
	now   *Shift        // nil between two lives
	turns chan struct{} // closed when another one begins
}

// Answers is what answers requests in a life. It returns false where it has not answered, and the next life is to do so.
type Answers func(w http.ResponseWriter, r *http.Request) bool

// Shift is the time in which a life answers requests.
type Shift struct {
	f       *Front
	answer  Answers
	ctx     context.Context // ends what is being answered
	end     context.CancelFunc
	pending sync.WaitGroup
}

// waitForLife bounds what a request waits for somebody to answer it.
const waitForLife = 10 * time.Second

// NewFront takes requests by a server, of which it sets who answers.
func NewFront(server *http.Server) *Front {
	f := &Front{server: server, failed: make(chan error, 1), turns: make(chan struct{})}
	requests, cut := context.WithCancel(context.Background())
	f.cut = cut
	server.Handler = f
	server.BaseContext = func(net.Listener) context.Context { return requests }
	return f
}

// Listen takes requests from a listener, too.
func (f *Front) Listen(l net.Listener) {
	f.doors.Go(func() {
		if err := f.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			select {
			case f.failed <- fmt.Errorf("the server ended: %w", err):
			default:
			}
		}
	})
}

// Failed says why no more requests come in.
func (f *Front) Failed() <-chan error { return f.failed }

// Begin has requests answered by a life.
func (f *Front) Begin(answer Answers) *Shift {
	s := &Shift{f: f, answer: answer}
	s.ctx, s.end = context.WithCancel(context.Background())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = s
	close(f.turns)
	f.turns = make(chan struct{})
	return s
}

// Stop ends a shift: what is being answered has some time to end in.
func (s *Shift) Stop(within time.Duration) {
	s.f.mu.Lock()
	if s.f.now == s {
		s.f.now = nil
	}
	s.f.mu.Unlock()
	late := time.AfterFunc(within, s.end)
	defer late.Stop()
	s.pending.Wait()
	s.end()
}

// Close takes no requests any more. Those that are being answered have some time to end in; then they are cut off.
func (f *Front) Close(within time.Duration) {
	late, done := context.WithTimeout(context.Background(), within)
	defer done()
	err := f.server.Shutdown(late)
	f.cut()
	if err != nil {
		_ = f.server.Close()
	}
	f.doors.Wait()
}

// enter is the shift that answers now, or a channel that says when there may be another one.
func (f *Front) enter(but *Shift) (*Shift, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil || f.now == but {
		return nil, f.turns
	}
	f.now.pending.Add(1)
	return f.now, nil
}

// Pass answers a request that came another way, in the shift that answers now. It returns false where there is none, or it is not the one that
// is wanted.
func (f *Front) Pass(w http.ResponseWriter, r *http.Request, wanted func() bool) bool {
	s, _ := f.enter(nil)
	if s == nil {
		return false
	}
	if !wanted() {
		s.pending.Done()
		return false
	}
	return s.serve(w, r)
}

func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	over := time.NewTimer(waitForLife)
	defer over.Stop()
	var tried *Shift
	for {
		s, turns := f.enter(tried)
		if s != nil {
			if s.serve(w, r) {
				return
			}
			tried = s
			continue
		}
		select {
		case <-turns:
		case <-r.Context().Done():
			return
		case <-over.C:
			w.Header().Set("Retry-After", "2")
			httpapi.Refuse(w, sluice.Errorf(sluice.Contact, "who owns the log is changing, and this takes long; nothing was done").WithHint("try again in a moment"))
			return
		}
	}
}

// lastWords is what a request has to end in whose context has ended; then its connection is cut off: who reads slowly, or not at all, must not hold
// up the end of a life.
const lastWords = time.Second

func (s *Shift) serve(w http.ResponseWriter, r *http.Request) bool {
	defer s.pending.Done()
	ctx, done := context.WithCancel(r.Context())
	defer done()
	var mu sync.Mutex
	over := false // nobody has to be cut off any more
	defer context.AfterFunc(s.ctx, func() {
		done()
		time.AfterFunc(lastWords, func() {
			mu.Lock()
			defer mu.Unlock()
			if !over {
				cut(w)
			}
		})
	})()
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}()
	return s.answer(w, r.WithContext(ctx))
}

// cut has whoever reads or writes be told that it is too late.
func cut(w http.ResponseWriter) {
	c, past := http.NewResponseController(w), time.Unix(1, 0)
	_, _ = c.SetReadDeadline(past), c.SetWriteDeadline(past)
}
