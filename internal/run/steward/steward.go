// Package steward sees to it that every job of a server is carried out: jobs that people submit, jobs that they resume,
// and jobs that an earlier process left behind.
//
// It decides nothing about a job: it only finds those that somebody has to drive, and has them driven.
package steward

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sluice"
)

// Config is what a steward needs.
type Config struct {
	Log sluice.Log
	// Carry drives a job until it is finished or halted. An error with the code Conflict says that another process
	// drives it. It is never called for a job that it drives already.
	Carry func(ctx context.Context, ns sluice.Namespace, id sluice.JobID) error
	// Trouble is told what a person should know. It must not block, and may be called by several at once.
	Trouble func(text string)
	// Retry is waited before a job is tried again that could not be driven; it is also how long a namespace may stay
	// unseen that another process made. 0: 5 seconds.
	Retry time.Duration
	// Look has new namespaces looked for at once. May be nil.
	Look <-chan struct{}
}

const defaultRetry = 5 * time.Second

// Run works until ctx ends, and returns when every drive has ended. An error says that the log can no longer be relied
// on: then nobody should drive anything.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Retry <= 0 {
		cfg.Retry = defaultRetry
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &run{cfg: cfg, cancel: cancel}
	defer cancel()
	known := map[sluice.Namespace]bool{}
	for ctx.Err() == nil {
		spaces, err := cfg.Log.Namespaces(ctx)
		if err != nil && ctx.Err() == nil && !r.over(err) {
			cfg.Trouble(fmt.Sprintf("the namespaces cannot be listed: %v", err))
		}
		for _, ns := range spaces {
			if !known[ns] && !ns.Reserved() {
				known[ns] = true
				r.all.Go(func() { r.keep(ctx, ns) })
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(cfg.Retry):
		case _, open := <-cfg.Look:
			if !open {
				cfg.Look = nil
			}
		}
	}
	r.all.Wait()
	return r.lasting
}

// run is what all namespaces share.
type run struct {
	cfg    Config
	cancel context.CancelFunc
	all    sync.WaitGroup // keepers of namespaces; they wait for their drives

	mu      sync.Mutex
	lasting error // why everything ended; read when all have
}

// over ends everything if an error is one after which it is of no use to go on.
func (r *run) over(err error) bool {
	if !sluice.IsLasting(err) || sluice.LastingOf(err) != "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lasting == nil {
		r.lasting = err
	}
	r.cancel()
	return true
}

// rest waits a while.
func (r *run) rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(r.cfg.Retry):
	}
}
