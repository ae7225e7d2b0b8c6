package copies

import (
	"context"
	"io"
	"slices"
	"sync"

	"sluice"
)

// sending is what is on its way to one other server, of one job. It is guarded by the job's mu.
type sending struct {
	p       sluice.Peer
	queue   []queued
	bytes   int
	behind  map[stream]bool // streams of which what is written here, and not in the queue, may not be there
	acked   uint64          // all that was written up to here is durable there
	running bool
	failed  error // why nothing is sent any more, until somebody needs it
}

// queued is a piece of what was written as the seq-th.
type queued struct {
	seq uint64
	sluice.OutputPiece
}

// minBatch is how much goes on its way before anybody waits for it: every call costs the other server a sync of its disk.
const minBatch = 128 << 10

// maxQueue bounds the memory for a server that is slower than this one: what is beyond is read from the disk again.
const maxQueue = 4 << 20

// add has a piece that is kept here go to the others.
func (j *printed) add(s stream, offset int64, data []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.reached { // who comes later is found by who waits for them, in sent: to look each time costs more than to keep what is printed
		j.reach()
	}
	j.seq++
	j.written[s] = true
	q := queued{j.seq, sluice.OutputPiece{Attempt: s.attempt, Stream: s.name, Offset: offset, Data: slices.Clone(data)}}
	for _, to := range j.to {
		if to.failed == nil && to.bytes+len(data) <= maxQueue {
			to.queue, to.bytes = append(to.queue, q), to.bytes+len(data)
		} else {
			to.drop()
			to.behind[s] = true
		}
		if to.bytes >= minBatch {
			j.start(to, false)
		}
	}
}

// flush has everything go on its way that waits for more to go with it.
func (j *printed) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.reached { // who was removed and came again has nothing
		j.reach()
	}
	for _, to := range j.to {
		if len(to.queue)+len(to.behind) > 0 {
			j.start(to, false)
		}
	}
}

// mark has all that is here of a stream go to the others.
func (j *printed) mark(s stream) {
	j.reach()
	j.seq++
	j.written[s] = true
	for _, to := range j.to {
		to.drop() // it is in order
		to.behind[s] = true
		j.start(to, false)
	}
}

// drop leaves what is queued to be read again.
func (to *sending) drop() {
	for _, q := range to.queue {
		to.behind[stream{q.Attempt, q.Stream}] = true
	}
	to.queue, to.bytes = nil, 0
}

// reach sees to it that there is one for each server. A new one lacks everything.
func (j *printed) reach() {
	j.reached = true
	members := j.o.c.cfg.Members()
	for _, p := range members {
		if to := j.to[p.Name()]; to != nil {
			to.p = p
			continue
		}
		to := &sending{p: p, behind: map[stream]bool{}}
		for s := range j.written {
			to.behind[s] = true
		}
		j.to[p.Name()] = to
	}
	for name := range j.to {
		if !slices.ContainsFunc(members, func(p sluice.Peer) bool { return p.Name() == name }) {
			delete(j.to, name)
		}
	}
}

// start has what is on its way go on.
func (j *printed) start(to *sending, anew bool) {
	if to.running || to.failed != nil && !anew {
		return
	}
	to.failed = nil
	to.running = j.o.c.begin(func() { j.send(to) })
	if !to.running {
		to.failed = errClosed
	}
}

// idle reports whether nothing is on its way or waits to be.
func (j *printed) idle() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, to := range j.to {
		if to.running || len(to.queue)+len(to.behind) > 0 {
			return false
		}
	}
	return len(j.asking) == 0
}

// told wakes those who wait.
func (j *printed) told() {
	close(j.news)
	j.news = make(chan struct{})
}

// send sends until nothing is left, or it cannot be sent.
func (j *printed) send(to *sending) {
	for {
		j.mu.Lock()
		if len(to.queue)+len(to.behind) == 0 {
			to.running, to.acked = false, j.seq
			j.told()
			j.mu.Unlock()
			return
		}
		p := to.p
		some, behind, upTo := to.take(j.seq)
		j.mu.Unlock()
		err := j.deliver(j.o.c.ctx, p, some, behind)
		j.o.c.answered(p, err)
		if err != nil {
			j.o.c.doubts(p)
		}
		j.mu.Lock()
		if err == nil {
			to.acked = upTo
		} else {
			for _, q := range some {
				to.behind[stream{q.Attempt, q.Stream}] = true
			}
			for s := range behind {
				to.behind[s] = true
			}
			to.drop()
			to.running, to.failed = false, &peerError{p.Name(), err}
		}
		j.told()
		j.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// again has what waits for a server go to it, which has all that was written before.
func (j *printed) again(p sluice.Peer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if to := j.to[p.Name()]; to != nil {
		j.start(to, true)
	}
}

// take takes what is sent next, and says up to where all is sent with it.
func (to *sending) take(seq uint64) (some []sluice.OutputPiece, behind map[stream]bool, upTo uint64) {
	behind, to.behind = to.behind, map[stream]bool{}
	n, bytes := 0, 0
	for n < len(to.queue) && (n == 0 || bytes+len(to.queue[n].Data) <= maxBatch) {
		some, bytes, upTo = append(some, to.queue[n].OutputPiece), bytes+len(to.queue[n].Data), to.queue[n].seq
		n++
	}
	to.queue, to.bytes = to.queue[n:], to.bytes-bytes
	if len(to.queue) == 0 {
		to.queue, upTo = nil, seq
	}
	return some, behind, upTo
}

// deliver has a server keep pieces, and all that is here of streams.
func (j *printed) deliver(ctx context.Context, p sluice.Peer, some []sluice.OutputPiece, behind map[stream]bool) error {
	if len(behind) > 0 {
		for _, one := range some {
			behind[stream{one.Attempt, one.Stream}] = true
		}
		return j.catchUp(ctx, p, behind)
	}
	err := j.keep(ctx, p, some)
	if sluice.CodeOf(err) != sluice.Conflict {
		return err
	}
	// It lacks what comes before: it was not there, or lost it.
	for _, one := range some {
		behind[stream{one.Attempt, one.Stream}] = true
	}
	return j.catchUp(ctx, p, behind)
}

func (j *printed) keep(ctx context.Context, p sluice.Peer, some []sluice.OutputPiece) error {
	ctx, _, done := until(ctx, j.o.c.cfg.Stall)
	defer done()
	return why(ctx, p.KeepOutput(ctx, j.id, some))
}

// atOneTime is of how many streams a server is asked at once.
const atOneTime = 2048

// catchUp has a server keep all that is here of streams.
func (j *printed) catchUp(ctx context.Context, p sluice.Peer, behind map[stream]bool) error {
	var ends []sluice.OutputPiece
	for s := range behind {
		size, err := j.o.local.Size(j.id, s.attempt, s.name)
		if err != nil {
			return err
		}
		if size > 0 {
			ends = append(ends, sluice.OutputPiece{Attempt: s.attempt, Stream: s.name, Offset: size})
		}
	}
	for some := range slices.Chunk(ends, atOneTime) {
		err := j.keep(ctx, p, some) // nothing, at the ends: it fits where all before it is there
		if sluice.CodeOf(err) == sluice.Conflict {
			err = j.fill(ctx, p, some)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fill finds out what a server lacks of streams, and sends it.
func (j *printed) fill(ctx context.Context, p sluice.Peer, ends []sluice.OutputPiece) error {
	var mu sync.Mutex
	var lacking []sluice.OutputPiece // from where on
	err := each(ctx, ends, func(ctx context.Context, end sluice.OutputPiece) error {
		ctx, done := context.WithTimeout(ctx, j.o.c.cfg.Patience)
		defer done()
		has, err := p.OutputSize(ctx, j.id, end.Attempt, end.Stream)
		if err != nil {
			return gone(err)
		}
		if has < end.Offset {
			end.Offset = has
			mu.Lock()
			defer mu.Unlock()
			lacking = append(lacking, end)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var some []sluice.OutputPiece
	bytes := 0
	for _, from := range lacking {
		err := j.pieces(from, func(one sluice.OutputPiece) error {
			some, bytes = append(some, one), bytes+len(one.Data)
			if bytes < maxBatch {
				return nil
			}
			err := j.keep(ctx, p, some)
			some, bytes = nil, 0
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(some) == 0 {
		return nil
	}
	return j.keep(ctx, p, some)
}

// pieces shows what is here of a stream, from a place on.
func (j *printed) pieces(from sluice.OutputPiece, each func(sluice.OutputPiece) error) error {
	r, err := j.o.local.Open(j.id, from.Attempt, from.Stream)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if _, err := r.(io.Seeker).Seek(from.Offset, io.SeekStart); err != nil {
		return err
	}
	for {
		buf := make([]byte, maxPiece)
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			from.Data = buf[:n]
			if err := each(from); err != nil {
				return err
			}
			from.Offset += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sent waits until so many others have all that was written up to seq.
func (j *printed) sent(seq uint64, need int) error {
	if seq == 0 || need == 0 {
		return nil
	}
	anew := false
	for {
		j.mu.Lock()
		j.reach()
		have, going := 0, 0
		var failed []error
		for _, to := range j.to {
			switch {
			case to.acked >= seq:
				have++
			case to.failed == nil: // a new one has not begun
				j.start(to, false)
				going++
			default:
				failed = append(failed, to.failed)
			}
		}
		if have < need && have+going < need && !anew {
			anew = true
			for _, to := range j.to {
				j.start(to, true)
			}
			j.mu.Unlock()
			continue
		}
		news := j.news
		j.mu.Unlock()
		if have >= need {
			return nil
		}
		if have+going < need {
			return tooFew("what job "+string(j.id)+" printed", need, j.o.c.cfg.Size(), failed)
		}
		select {
		case <-news:
		case <-j.o.c.ctx.Done():
			return errClosed
		}
	}
}
