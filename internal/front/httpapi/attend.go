package httpapi

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/core/access"
)

// mostAsked is more than any route asks before its stream begins; one that goes on asking must not be remembered for ever.
const mostAsked = 16

// asked are the first questions that a request asked.
type asked struct {
	mu   sync.Mutex
	list []access.Ask
}

func (l *asked) add(a access.Ask) {
	if l == nil { // not one who came in by a route
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) < mostAsked {
		l.list = append(l.list, a)
	}
}

func (l *asked) all() []access.Ask {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// attended answers a request. Those who watch do so for hours: their stream ends soon after they may not look any more, or are
// not signed in any more. They take that for a lost connection, come again, and are told.
func (a *API) attended(ctx huma.Context, c caller, next func(huma.Context)) {
	if !strings.Contains(ctx.Header("Accept"), eventStream) {
		next(huma.WithValue(ctx, callerKey{}, c))
		return
	}
	bounded, stop := context.WithCancel(context.WithValue(ctx.Context(), callerKey{}, c))
	ended := make(chan struct{})
	defer func() {
		stop()
		<-ended
	}()
	go func() {
		defer close(ended)
		defer stop()
		t := time.NewTicker(a.cfg.LookAgain)
		defer t.Stop()
		for {
			select {
			case <-bounded.Done():
				return
			case <-t.C:
			}
			if sluice.CodeOf(c.stillMay(bounded)) == sluice.Denied {
				return
			}
		}
	}()
	next(huma.WithContext(ctx, bounded))
}

// stillMay asks again what was asked.
func (c caller) stillMay(ctx context.Context) error {
	// Whoever is not let in any more may do nothing.
	if _, _, err := c.api.cfg.Rights.Namespaces(ctx, c.Bearer, c.right); err != nil {
		return err
	}
	for _, ask := range c.asked.all() {
		if err := c.api.cfg.Rights.Allow(ctx, c.Bearer, ask); err != nil {
			return err
		}
	}
	return nil
}
