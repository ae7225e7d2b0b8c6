package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"sluice"
	"sluice/internal/front/httpapi"
)

// front takes requests for as long as the server runs, and has each answered by the life that the server is in at the moment. Who comes
// between two lives waits for the next.
type front struct {
	server http.Server
	cut    context.CancelFunc // ends all requests
	doors  sync.WaitGroup
	failed chan error // has room for one

	mu    sync.Mutex
	now   *shift        // nil between two lives
	turns chan struct{} // closed when another one begins
}

// answers is what answers requests in a life. It returns false where it has not answered, and the next life is to do so.
type answers func(w http.ResponseWriter, r *http.Request) bool

// shift is the time in which a life answers requests.
type shift struct {
	f       *front
	answer  answers
	ctx     context.Context // ends what is being answered
	end     context.CancelFunc
	pending sync.WaitGroup
}

// waitForLife bounds what a request waits for somebody to answer it.
const waitForLife = 10 * time.Second

func newFront(log *slog.Logger) *front {
	f := &front{failed: make(chan error, 1), turns: make(chan struct{})}
	requests, cut := context.WithCancel(context.Background())
	f.cut = cut
	f.server = http.Server{Handler: f, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return requests }, ConnContext: withPeer,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo)}
	return f
}

// listen takes requests from a listener, too.
func (f *front) listen(l net.Listener) {
	f.doors.Go(func() {
		if err := f.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			select {
			case f.failed <- fmt.Errorf("the server ended: %w", err):
			default:
			}
		}
	})
}

// begin has requests answered by a life.
func (f *front) begin(answer answers) *shift {
	s := &shift{f: f, answer: answer}
	s.ctx, s.end = context.WithCancel(context.Background())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = s
	close(f.turns)
	f.turns = make(chan struct{})
	return s
}

// stop ends a shift: what is being answered has some time to end in.
func (s *shift) stop(within time.Duration) {
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

// close takes no requests any more. Those that are being answered have some time to end in; then they are cut off.
func (f *front) close(within time.Duration) {
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
func (f *front) enter(but *shift) (*shift, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil || f.now == but {
		return nil, f.turns
	}
	f.now.pending.Add(1)
	return f.now, nil
}

// pass answers a request that came another way, in the shift that answers now. It returns false where there is none, or it is not the one that
// is wanted.
func (f *front) pass(w http.ResponseWriter, r *http.Request, wanted func() bool) bool {
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

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	over := time.NewTimer(waitForLife)
	defer over.Stop()
	var tried *shift
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

func (s *shift) serve(w http.ResponseWriter, r *http.Request) bool {
	defer s.pending.Done()
	ctx, done := context.WithCancel(r.Context())
	defer done()
	defer context.AfterFunc(s.ctx, done)()
	return s.answer(w, r.WithContext(ctx))
}
