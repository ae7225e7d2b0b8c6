package app_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
	"sluice/internal/lab/check"
)

// hole is where no host answers: who connects waits in vain.
type hole struct {
	patience time.Duration

	mu    sync.Mutex
	dials map[sluice.Host]int
}

func (h *hole) Connect(ctx context.Context, host sluice.Host, _ sluice.SSH) (sluice.Link, error) {
	h.mu.Lock()
	h.dials[host]++
	h.mu.Unlock()
	t := time.NewTimer(h.patience)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return nil, &sluice.ConnectError{Host: host, Failure: sluice.NoRoute, Err: errors.New("connection timed out")}
}

func (h *hole) Close() error { return nil }

// count is how many hosts were dialled, and the most dials of one.
func (h *hole) count() (hosts, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.dials {
		most = max(most, n)
	}
	return len(h.dials), most
}

// TestNobodyAnswers: of ten thousand hosts none answers. The budget halts the job when what was under way then has ended, no
// host is dialled again and again, and the server answers meanwhile. Without a budget it goes through all of them, each once.
func TestNobodyAnswers(t *testing.T) {
	const many, some, budget = 10000, 2000, 50
	for name, c := range map[string]struct {
		hosts, budget, dialled int // hosts that are dialled at most
	}{"budget": {many, budget, budget + sluice.DefaultConcurrency + 1}, "no budget": {some, some, some}} {
		t.Run(name, func(t *testing.T) {
			if name == "no budget" {
				slow(t)
			}
			t.Parallel()
			h := &hole{patience: 100 * time.Millisecond, dials: map[sluice.Host]int{}}
			s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), set: func(p *app.Server) { p.Over = h }}
			s.start()
			hosts := c.hosts
			s.apply(fmt.Sprintf("tag: {web: [\"h[00001-%05d]\"]}\nconstraint: {$web: 100%%}\n", hosts))
			began := time.Now()
			j, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "true", Options: api.Options{MaxFailures: fmt.Sprint(c.budget)}})
			s.must(err)
			over := make(chan struct{})
			var took []time.Duration
			var asking sync.WaitGroup
			asking.Go(func() {
				for {
					select {
					case <-over:
						return
					case <-time.After(10 * time.Millisecond):
					}
					at := time.Now()
					if _, err := s.client.Job(t.Context(), string(j.ID)); err != nil {
						t.Errorf("a question: %v", err)
						return
					}
					took = append(took, time.Since(at))
				}
			})
			last := s.end(j.ID)
			close(over)
			asking.Wait()
			dialled, most := h.count()
			slices.Sort(took)
			p := func(share float64) time.Duration {
				return took[min(len(took)-1, int(share*float64(len(took))))].Round(time.Millisecond)
			}
			t.Logf("1 run, over after %v; %d of %d hosts dialled, the most dials of one: %d; %d questions meanwhile: p50 %v, p99 %v",
				time.Since(began).Round(time.Millisecond), dialled, hosts, most, len(took), p(0.5), p(0.99))
			if b, is := last.Body.(sluice.JobHalted); c.budget < hosts && (!is || b.Rule != sluice.RuleBudget) {
				t.Errorf("it ended with %+v", last.Body)
			}
			if b, is := last.Body.(sluice.JobFinished); c.budget == hosts && (!is || b.Counts[sluice.Unreachable] != hosts) {
				t.Errorf("it ended with %+v", last.Body)
			}
			if dialled > c.dialled || most > 1 {
				t.Errorf("%d hosts were dialled, one of them %d times", dialled, most)
			}
			s.must(s.stop())
			for _, v := range check.Log(journalOf(t, s.data, sluice.DefaultNamespace)) {
				t.Errorf("the journal breaks a rule: %v", v)
			}
		})
	}
}
