package sqlitelog

import (
	"context"

	"sluice"
)

// Update appends as one step; see [sluice.Log]. An error with the code Contact says that it is not known whether
// the events were appended: read before you try again.
func (l *Log) Update(ctx context.Context, ns sluice.Namespace, after uint64,
	decide func(tail []sluice.Event) ([]sluice.Event, error)) (uint64, error) {
	if err := checkNamespace(ns); err != nil {
		return 0, err
	}
	if err := l.enter(ctx); err != nil {
		return 0, err
	}
	defer l.leave()
	tx, err := l.begin(ctx)
	if err != nil {
		return 0, l.problem("writing", err)
	}
	defer tx.rollback()
	head, tail, err := l.end(ctx, ns, after)
	if err != nil {
		return 0, l.problem("reading", err)
	}
	events, err := decide(tail)
	if err != nil {
		return 0, err
	}
	if len(events) == 0 {
		return head.seq, nil
	}
	r, err := pack(ns, head, events)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := l.append(tx, r, jobs(events)); err != nil {
		return 0, l.problem("writing", err)
	}
	if l.first != nil { // it waits for the network, under the lock: nobody may decide on what is not there yet
		if err := l.first(ctx, r.whole()); err != nil {
			return 0, err
		}
	}
	if err := l.acknowledge(tx, map[sluice.Namespace]mark{ns: r.end()}); err != nil {
		return 0, err
	}
	return r.last, nil
}

// through is the last place that the chain of a namespace is known to run through: the anchor, or what this process has committed since.
func (l *Log) through(ns sluice.Namespace) (mark, error) {
	anchored, _, err := l.anchor.read(ns)
	if err != nil || l.settler == nil {
		return anchored, err
	}
	if m, ok := l.settler.end(ns); ok && m.seq > anchored.seq {
		return m, nil
	}
	return anchored, nil
}

// end proves the end of a namespace's chain, from the anchor on, and returns it with the events after the number
// `after`. It is called under the write lock, so nobody else moves the head; the anchor is never ahead of it.
func (l *Log) end(ctx context.Context, ns sluice.Namespace, after uint64) (head mark, tail []sluice.Event, err error) {
	through, err := l.through(ns)
	if err != nil {
		return mark{}, nil, err
	}
	head, err = l.prove(ctx, l.w, ns, through, min(after, through.seq), func(r *record) (bool, error) {
		var err error
		if r.last > after {
			tail, err = r.events(tail, after)
		}
		return err == nil, err
	})
	if err != nil {
		return mark{}, nil, err
	}
	if after > head.seq {
		return mark{}, nil, lost(ns, head.seq, after)
	}
	return head, tail, nil
}

// append writes a record and leads its jobs to it.
func (l *Log) append(tx *writeTx, r record, about []sluice.JobID) error {
	w := l.packer.store(r)
	res, err := tx.exec("INSERT INTO record (ns, first, last, prev, hash, form, size, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		string(r.ns), w.first, w.last, w.prev, w.hash, w.form, w.size, w.payload)
	if err != nil {
		return err
	}
	id, err := res.LastInsertId()
	if err != nil {
		return err
	}
	for _, job := range about {
		if _, err := tx.exec("INSERT OR IGNORE INTO job (id, ns) VALUES (?, ?)", string(job), string(r.ns)); err != nil {
			return err
		}
		if _, err := tx.exec("INSERT INTO job_record (job, record) VALUES (?, ?)", string(job), id); err != nil {
			return err
		}
	}
	if r.first > 1 {
		return nil
	}
	if _, err := tx.exec("INSERT OR IGNORE INTO namespace (name) VALUES (?)", string(r.ns)); err != nil {
		return err
	}
	return l.anchor.reserve(tx.ctx, r.ns)
}

// acknowledge commits, and writes into the anchor what was committed: the new ends of namespaces. Only then may anybody rely on it. A copy
// leaves the anchor to its settler.
func (l *Log) acknowledge(tx *writeTx, ends map[sluice.Namespace]mark) error {
	if err := tx.commit(); err != nil {
		l.follow.changed() // it may have been made all the same
		if syncFailed(err) {
			return l.stopWriting(err)
		}
		return l.problem("writing", err)
	}
	defer func() {
		for ns, m := range ends {
			l.follow.appended(ns, m.seq)
		}
	}()
	if err := l.inPlace(); err != nil {
		return err
	}
	if l.settler != nil {
		l.settler.owe(ends)
		return nil
	}
	return l.anchorEnds(tx.ctx, ends)
}
