package schedule

import (
	"container/heap"
	"encoding/binary"
)

// class is the ready tasks of a job whose hosts are under the same constraints, so that what bars one bars all.
// Hosts that are out already and take their own place are a class apart.
type class struct {
	job      *job
	groups   []*group
	ownPlace bool
	tasks    taskHeap
	in       *classHeap // the heap in which it stands: candidates or a waitlist; nil: neither
	pos      int        // in that heap
	woken    *waitlist  // the list that sent it to the candidates, until it is looked at
}

// queues are the ready tasks of a job.
type queues struct {
	classes    map[string]*class
	list       []*class // in order of making, for a walk that does not depend on map order
	candidates classHeap
}

// waitlist is the classes of one job that wait for room in one group. At most one of them is looked at again
// at a time: the first, and the next only if that one leaves room.
type waitlist struct {
	group    *group
	job      *job
	ownPlace bool
	classes  classHeap
	woken    *class
}

// wake looks again at the first class of every job that waits here, if there is room.
func (g *group) wake() {
	for _, w := range g.waits {
		w.wake()
	}
}

func (w *waitlist) wake() {
	if w.woken != nil || len(w.classes) == 0 || !w.group.room(w.ownPlace) {
		return
	}
	c := w.classes[0]
	c.leave()
	c.woken, w.woken = w, c
	c.enter(&w.job.queues.candidates)
}

// lookedAt ends the waking of a class: the next that waits may be looked at.
func (c *class) lookedAt() {
	if w := c.woken; w != nil {
		c.woken, w.woken = nil, nil
		w.wake()
	}
}

// waitFor puts a class into the list of a group.
func (c *class) waitFor(g *group) {
	for _, w := range g.waits {
		if w.job == c.job && w.ownPlace == c.ownPlace {
			c.enter(&w.classes)
			return
		}
	}
	w := &waitlist{group: g, job: c.job, ownPlace: c.ownPlace}
	g.waits = append(g.waits, w)
	c.enter(&w.classes)
}

// full returns the first group that has no room, or nil.
func (c *class) full() *group {
	for _, g := range c.groups {
		if !g.room(c.ownPlace) {
			return g
		}
	}
	return nil
}

func (c *class) enter(h *classHeap) {
	c.in = h
	heap.Push(h, c)
}

func (c *class) leave() {
	if c.in != nil {
		heap.Remove(c.in, c.pos)
		c.in = nil
	}
}

// changed brings a class to where it belongs after its queue changed.
func (c *class) changed() {
	switch {
	case len(c.tasks) == 0:
		c.leave()
		c.lookedAt()
	case c.in == nil:
		c.enter(&c.job.queues.candidates)
	default:
		heap.Fix(c.in, c.pos)
	}
}

// enqueue makes a task ready if its stages are open and it is pending.
func (s *State) enqueue(t *task) {
	if t.phase != pending || t.closed > 0 || t.queue != nil || t.onHost || t.job.dirty || t.job.finished != "" {
		return
	}
	c := s.classOf(t)
	t.queue = c
	heap.Push(&c.tasks, t)
	c.changed()
}

// leaveQueue takes a task out of wherever it is ready.
func (s *State) leaveQueue(t *task) {
	if c := t.queue; c != nil {
		heap.Remove(&c.tasks, int(t.pos))
		t.queue = nil
		c.changed()
	}
	if t.onHost {
		h := &s.hosts[t.host]
		for i, other := range h.waiting {
			if other == t {
				h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
				break
			}
		}
		t.onHost = false
	}
}

// requeue moves the tasks of a host to the classes they now belong to.
func (s *State) requeue(tasks []*task) {
	for _, t := range tasks {
		if t.queue != nil {
			s.leaveQueue(t)
			s.enqueue(t)
		}
	}
}

// classOf returns the class of a task. Its key is the groups of its host.
func (s *State) classOf(t *task) *class {
	j := t.job
	var key []byte
	ownPlace := false
	if !j.readOnly() {
		ownPlace = s.hosts[t.host].bad != nil
		force, frozen := s.force.groupsOf(t.host), j.frozen.groupsOf(t.host)
		if j.frozen == s.force {
			frozen = nil
		}
		key = make([]byte, 0, 4*(len(force)+len(frozen)+2))
		for _, g := range force {
			key = binary.LittleEndian.AppendUint32(key, uint32(g))
		}
		key = binary.LittleEndian.AppendUint32(key, ^uint32(0))
		for _, g := range frozen {
			key = binary.LittleEndian.AppendUint32(key, uint32(g))
		}
		if ownPlace {
			key = append(key, 1)
		}
	}
	if c := j.queues.classes[string(key)]; c != nil {
		return c
	}
	c := &class{job: j, ownPlace: ownPlace}
	if !j.readOnly() {
		c.groups = s.groupsOver(t)
	}
	j.queues.classes[string(key)] = c
	j.queues.list = append(j.queues.list, c)
	return c
}

// groupsOver lists the groups that a task must find room in: those of the rules in force, those of the rules
// that its job is frozen under, and the job's own limit.
func (s *State) groupsOver(t *task) []*group {
	var out []*group
	if s.force != nil {
		for _, g := range s.force.groupsOf(t.host) {
			out = append(out, s.force.groups[g])
		}
	}
	if rs := t.job.frozen; rs != nil && rs != s.force {
		for _, g := range rs.groupsOf(t.host) {
			out = append(out, rs.groups[g])
		}
	}
	if t.job.limit != nil {
		out = append(out, t.job.limit)
	}
	return out
}

// build makes the queues of a job from scratch.
func (s *State) build(j *job) {
	if !j.dirty {
		return
	}
	s.tearDown(j)
	j.dirty = false
	j.queues.classes = make(map[string]*class)
	for _, t := range j.tasks {
		t.closed = int32(len(t.places))
	}
	for i := range j.tracks {
		j.tracks[i].reach = 0
	}
	for i := range j.tracks {
		j.advance(s, j.tracks[i].name)
	}
}

// tearDown forgets the queues of a job.
func (s *State) tearDown(j *job) {
	for _, t := range j.tasks {
		if t.onHost {
			s.leaveQueue(t)
		}
		t.queue = nil
	}
	drop := func(g *group) {
		kept := g.waits[:0]
		for _, w := range g.waits {
			if w.job != j {
				kept = append(kept, w)
			}
		}
		clear(g.waits[len(kept):])
		g.waits = kept
	}
	for _, c := range j.queues.list {
		for _, g := range c.groups {
			drop(g)
		}
	}
	j.queues = queues{}
}

type taskHeap []*task

func (h taskHeap) Len() int           { return len(h) }
func (h taskHeap) Less(i, j int) bool { return h[i].order < h[j].order }
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = int32(i), int32(j)
}
func (h *taskHeap) Push(x any) {
	t := x.(*task)
	t.pos = int32(len(*h))
	*h = append(*h, t)
}
func (h *taskHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// classHeap orders classes by their first task. All of them have one.
type classHeap []*class

func (h classHeap) Len() int           { return len(h) }
func (h classHeap) Less(i, j int) bool { return h[i].tasks[0].order < h[j].tasks[0].order }
func (h classHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}
func (h *classHeap) Push(x any) {
	c := x.(*class)
	c.pos = len(*h)
	*h = append(*h, c)
}
func (h *classHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return c
}
