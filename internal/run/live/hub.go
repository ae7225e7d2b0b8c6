// Package live tells those who watch a job what its hosts print, while they print it. It never makes whoever drives the
// job wait: what a slow watcher does not take in time it is only told of, and reads where outputs are kept.
//
// It knows nothing of logs, of what events mean, and of how a watcher is reached.
package live

import (
	"sync"

	"sluice"
)

// most is how many bytes wait for one watcher; what is more it is only told of.
const most = 1 << 20

// Hub brings together who drives jobs and who watches them. The zero Hub is ready. It is safe for concurrent use.
type Hub struct {
	mu   sync.Mutex
	jobs map[sluice.JobID]map[*Watcher]struct{}
}

// Observe takes events of a driver; only output counts. It does not block.
func (h *Hub) Observe(e sluice.Event) {
	b, ok := e.Body.(sluice.TaskOutput)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.jobs[e.Job] {
		w.put(e, b)
	}
}

// Watch begins to watch the output of a job, from now on. The caller closes the watcher.
func (h *Hub) Watch(job sluice.JobID) *Watcher {
	w := &Watcher{hub: h, job: job, more: make(chan struct{}, 1), missed: map[sluice.TaskOutput]bool{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs == nil {
		h.jobs = map[sluice.JobID]map[*Watcher]struct{}{}
	}
	if h.jobs[job] == nil {
		h.jobs[job] = map[*Watcher]struct{}{}
	}
	h.jobs[job][w] = struct{}{}
	return w
}

// Watcher is one who watches a job.
type Watcher struct {
	hub  *Hub
	job  sluice.JobID
	more chan struct{}

	mu     sync.Mutex
	waits  []sluice.Event
	bytes  int
	missed map[sluice.TaskOutput]bool
}

func (w *Watcher) put(e sluice.Event, b sluice.TaskOutput) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := (sluice.TaskOutput{Host: b.Host, Attempt: b.Attempt, Stream: b.Stream}); w.missed[s] || w.bytes+len(b.Data) > most {
		w.missed[s] = true
	} else {
		w.waits = append(w.waits, e)
		w.bytes += len(b.Data)
	}
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// More is sent to when there is something to take.
func (w *Watcher) More() <-chan struct{} { return w.more }

// Take returns what came since it was called last: pieces in the order of their streams, and the streams of which later
// pieces were left out, without data. Those are kept already.
func (w *Watcher) Take() (pieces []sluice.Event, missed []sluice.TaskOutput) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pieces, w.waits, w.bytes = w.waits, nil, 0
	for s := range w.missed {
		missed = append(missed, s)
	}
	clear(w.missed)
	return pieces, missed
}

// Close ends the watching.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.jobs[w.job], w)
	if len(w.hub.jobs[w.job]) == 0 {
		delete(w.hub.jobs, w.job)
	}
}
