package rehearse

import (
	"time"

	"sluice"
)

// watcher reads the events of a rehearsal as anybody else could, and keeps what a timeline needs.
type watcher struct {
	seq     uint64
	began   time.Time
	fleet   *sluice.Fleet
	tagsOf  map[sluice.Host][]int32
	out     map[sluice.Host]bool
	outNow  []int // by tag
	peaks   []int // by tag
	stages  []StageResult
	byName  map[[2]string]int
	stageOf map[sluice.Host]int
	running []int // by stage
	counts  map[sluice.Outcome]int
	last    sluice.Event
}

func (w *watcher) start(f *sluice.Fleet, at time.Time) {
	*w = watcher{began: at, fleet: f, tagsOf: map[sluice.Host][]int32{}, out: map[sluice.Host]bool{},
		outNow: make([]int, len(f.TagOrder)), peaks: make([]int, len(f.TagOrder)),
		byName: map[[2]string]int{}, stageOf: map[sluice.Host]int{}, counts: map[sluice.Outcome]int{}}
	for i, tag := range f.TagOrder {
		for _, h := range f.Tags[tag] {
			w.tagsOf[h] = append(w.tagsOf[h], int32(i))
		}
	}
}

func (w *watcher) next() uint64 {
	w.seq++
	return w.seq
}

func (w *watcher) see(e sluice.Event) {
	after := e.Time.Sub(w.began)
	switch b := e.Body.(type) {
	case sluice.StageOpened:
		w.byName[[2]string{b.Track, b.Stage}] = len(w.stages)
		w.stages = append(w.stages, StageResult{Track: b.Track, Stage: b.Stage, From: after, To: after, Outcomes: map[sluice.Outcome]int{}})
		w.running = append(w.running, 0)
	case sluice.TaskStarted:
		i := w.byName[[2]string{b.Track, b.Stage}]
		w.stageOf[b.Host] = i
		w.stages[i].Hosts++
		w.running[i]++
		w.stages[i].Peak = max(w.stages[i].Peak, w.running[i])
		w.setOut(b.Host, true)
	case sluice.TaskFinished:
		if b.Attempt == "" {
			return
		}
		i := w.stageOf[b.Host]
		w.stages[i].To = after
		w.stages[i].Outcomes[b.Outcome]++
		w.running[i]--
		w.setOut(b.Host, b.Outcome.Bad())
	case sluice.JobFinished:
		w.counts, w.last = b.Counts, e
	case sluice.JobHalted:
		w.last = e
	}
}

func (w *watcher) setOut(h sluice.Host, out bool) {
	if w.out[h] == out {
		return
	}
	w.out[h] = out
	for _, i := range w.tagsOf[h] {
		if out {
			w.outNow[i]++
			w.peaks[i] = max(w.peaks[i], w.outNow[i])
		} else {
			w.outNow[i]--
		}
	}
}

func (w *watcher) result(total time.Duration) Result {
	r := Result{Total: total, Stages: w.stages, Counts: w.counts, Last: w.last}
	if len(w.counts) == 0 {
		for _, st := range w.stages {
			for o, n := range st.Outcomes {
				w.counts[o] += n
			}
		}
	}
	for i, tag := range w.fleet.TagOrder {
		if w.peaks[i] > 0 {
			r.Peaks = append(r.Peaks, Peak{tag, len(w.fleet.Tags[tag]), w.peaks[i]})
		}
	}
	return r
}
