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
	now     Point
	points  []Point
	most    int
}

// MaxPoints bounds the points of a rehearsal.
const MaxPoints = 200

// Point is how a rehearsal stands at a time. Of several that fall together the largest Running and Out are kept, so that
// no peak is lost, and the latest of the rest.
type Point struct {
	At      time.Duration
	Running int // attempts
	Out     int // hosts of the fleet that are out of service
	Ended   int // hosts of the job with an outcome
	Failed  int // those of them that did not succeed
}

// outBefore takes note of hosts that are out from the beginning.
func (w *watcher) outBefore(hosts ...[]sluice.Host) {
	for _, list := range hosts {
		for _, h := range list {
			w.setOut(h, true)
		}
	}
	w.note(0)
}

// note keeps how it stands now.
func (w *watcher) note(at time.Duration) {
	w.now.At = at
	if n := len(w.points); n > 0 && w.points[n-1].At == at { // what ends at a time ends before what starts then
		w.points[n-1] = w.now
		return
	}
	w.points = append(w.points, w.now)
}

func merge(a, b Point) Point {
	b.At, b.Running, b.Out = a.At, max(a.Running, b.Running), max(a.Out, b.Out)
	return b
}

// bounded is the points in as many equal spans of time as are kept.
func bounded(points []Point, total time.Duration) (out []Point) {
	if len(points) <= MaxPoints {
		return points
	}
	spans := time.Duration(MaxPoints - 1)
	last := time.Duration(-1)
	for _, p := range points {
		span := p.At * spans / max(total, 1)
		if n := len(out); n > 0 && span == last {
			out[n-1] = merge(out[n-1], p)
			continue
		}
		last = span
		out = append(out, p)
	}
	return out
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
		w.now.Running++
		w.note(after)
	case sluice.TaskFinished:
		w.now.Ended++
		if b.Outcome.Bad() {
			w.now.Failed++
		}
		if b.Attempt == "" {
			w.note(after)
			return
		}
		i := w.stageOf[b.Host]
		w.stages[i].To = after
		w.stages[i].Outcomes[b.Outcome]++
		w.running[i]--
		w.setOut(b.Host, b.Outcome.Bad())
		w.now.Running--
		w.note(after)
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
	if out {
		w.now.Out++
		w.most = max(w.most, w.now.Out)
	} else {
		w.now.Out--
	}
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
	r := Result{Total: total, Stages: w.stages, Counts: w.counts, Last: w.last, Most: w.most, Points: bounded(w.points, total)}
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
