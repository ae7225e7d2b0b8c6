package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sluice"
)

// Request is a request that was answered, for whoever counts them. Nothing in it is text that somebody sent.
type Request struct {
	// Method is one of those that the API has, or "other".
	Method string
	// Route is the pattern of the path, such as "/api/v1/jobs/{id}"; NoRoute where there is none.
	Route     string
	Status    int
	Duration  time.Duration
	Principal sluice.Principal // "" where nobody was named
	// Stream says that it was a stream of events, whose duration says nothing about the server.
	Stream bool
}

// NoRoute stands for all paths that lead nowhere.
const NoRoute = "none"

// Watch is told what the API does. It must not block.
type Watch interface {
	Answered(Request)
	// Streaming is told that a stream of events began (+1) or ended (-1).
	Streaming(by int)
}

type nobody struct{}

func (nobody) Answered(Request) {}
func (nobody) Streaming(int)    {}

// seen is what the inside of a request tells about it.
type seen struct {
	principal sluice.Principal
	stream    bool
	old       bool // it is answered without contact to a majority
}

type seenKey struct{}

func noteSeen(ctx context.Context, note func(*seen)) {
	if s, ok := ctx.Value(seenKey{}).(*seen); ok {
		note(s)
	}
}

// watched answers a request and tells about it.
func (a *API) watched(w http.ResponseWriter, r *http.Request) {
	began := time.Now() // monotonic: a duration is no event
	s := &seen{}
	r = r.WithContext(context.WithValue(r.Context(), seenKey{}, s))
	counted := &counted{ResponseWriter: w}
	defer func() { // a handler that panics has been answered, too: the connection is cut
		if counted.status == 0 {
			counted.status = http.StatusOK
		}
		a.cfg.Watch.Answered(Request{Method: knownMethod(r.Method), Route: routeOf(r.Pattern), Status: counted.status,
			Duration: time.Since(began), Principal: s.principal, Stream: s.stream})
	}()
	out, end := a.compresses(counted, r)
	if a.stale(out, r) {
		a.dispatch(out, r)
	}
	end() // not after a panic: what is cut off shall not look whole
}

func knownMethod(m string) string {
	if slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions}, m) {
		return m
	}
	return "other"
}

// routeOf is the path of a pattern of the mux, which begins with the method.
func routeOf(pattern string) string {
	for i := range len(pattern) {
		if pattern[i] == '/' {
			return pattern[i:]
		}
	}
	return NoRoute
}

// counted remembers the status of an answer.
type counted struct {
	http.ResponseWriter
	status int
}

func (c *counted) WriteHeader(status int) {
	if c.status == 0 && status >= 200 { // an early hint is no answer
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap lets flushing and deadlines through.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
