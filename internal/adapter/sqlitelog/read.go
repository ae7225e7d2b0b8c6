package sqlitelog

import (
	"context"
	"database/sql"

	"sluice"
)

const columns = "r.id, r.first, r.last, r.prev, r.hash, r.form, r.size, r.payload"

// querier is a connection or a pool of them.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls visit with the records that a query gives, each proved by itself, until it says that there need be
// no more.
func (l *Log) each(ctx context.Context, q querier, ns sluice.Namespace, visit func(id int64, r *record) (more bool, err error),
	query string, args ...any) (err error) {
	// Not the caller's context: the driver would interrupt the connection and throw it away.
	rows, err := q.QueryContext(context.WithoutCancel(ctx), query, args...)
	if err != nil {
		return err
	}
	defer func() {
		if closing := rows.Close(); err == nil {
			err = closing
		}
	}()
	for rows.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		var w row
		if err := rows.Scan(&w.id, &w.first, &w.last, &w.prev, &w.hash, &w.form, &w.size, &w.payload); err != nil {
			return err
		}
		r, err := l.packer.load(ns, w)
		if err != nil {
			return err
		}
		if more, err := visit(w.id, &r); err != nil || !more {
			return err
		}
	}
	return rows.Err()
}

// scan visits the records from the one that holds the event number from (0: the first), and proves that each
// continues the one before.
func (l *Log) scan(ctx context.Context, q querier, ns sluice.Namespace, from uint64, visit func(id int64, r *record) (bool, error)) error {
	var at mark
	begun := false
	follows := func(id int64, r *record) (bool, error) {
		switch {
		case begun && (r.first != at.seq+1 || r.prev != at.hash),
			!begun && from == 0 && (r.first != 1 || r.prev != hash{}):
			return false, damaged(ns, "the record of the events %d to %d does not continue the one before", r.first, r.last)
		case !begun && from > 0 && r.first > from:
			return false, damaged(ns, "the event %d is missing", from)
		}
		at, begun = r.end(), true
		return visit(id, r)
	}
	return l.each(ctx, q, ns, follows,
		"SELECT "+columns+" FROM record r WHERE r.ns = ? AND r.last >= ? ORDER BY r.last", string(ns), int64(from))
}

// prove visits the records from the number from on, which is not beyond the mark, and says where the chain ends.
// A chain that does not run through the mark has lost records or is another one.
func (l *Log) prove(ctx context.Context, q querier, ns sluice.Namespace, through mark, from uint64,
	visit func(r *record) (bool, error)) (head mark, err error) {
	passed := through.seq == 0
	err = l.scan(ctx, q, ns, from, func(_ int64, r *record) (bool, error) {
		head = r.end()
		if r.first <= through.seq && through.seq <= r.last {
			if r.end() != through {
				return false, another(ns, through.seq)
			}
			passed = true
		}
		if visit == nil {
			return true, nil
		}
		return visit(r)
	})
	switch {
	case err != nil:
		return mark{}, err
	case passed:
		return head, nil
	}
	if head, err = l.head(ctx, q, ns); err != nil { // it ends before from, where the scan began
		return mark{}, err
	}
	return mark{}, lost(ns, head.seq, through.seq)
}

// Read returns up to limit events after the number `after`, and none if limit is not positive.
func (l *Log) Read(ctx context.Context, ns sluice.Namespace, after uint64, limit int) (out []sluice.Event, err error) {
	if err := l.mayRead(ctx, ns); err != nil || limit <= 0 {
		return nil, err
	}
	err = l.retry(ctx, func() error {
		out = nil
		return l.scan(ctx, l.read, ns, after, func(_ int64, r *record) (bool, error) {
			if r.last == after {
				return true, nil // it is there to prove that the next one continues it
			}
			var err error
			out, err = r.events(out, after)
			return len(out) < limit, err
		})
	})
	if err != nil {
		return nil, l.problem("reading", err)
	}
	return out[:min(limit, len(out)):min(limit, len(out))], nil
}

// ReadJob returns the events of a job.
func (l *Log) ReadJob(ctx context.Context, ns sluice.Namespace, job sluice.JobID) (out []sluice.Event, err error) {
	if err := l.mayRead(ctx, ns); err != nil {
		return nil, err
	}
	err = l.retry(ctx, func() error {
		out = nil
		return l.each(ctx, l.read, ns, func(_ int64, r *record) (bool, error) {
			events, err := r.events(nil, 0)
			for _, e := range events {
				if e.Job == job {
					out = append(out, e)
				}
			}
			return true, err
		}, "SELECT "+columns+" FROM job_record j JOIN record r ON r.id = j.record WHERE j.job = ? AND r.ns = ? ORDER BY r.last",
			string(job), string(ns))
	})
	if err != nil {
		return nil, l.problem("reading", err)
	}
	return out, nil
}

// Namespaces lists the namespaces that have events. Everybody who looks after a log asks for them now and then, so this is
// where they learn that it can never be written again, whether or not they have anything to write.
func (l *Log) Namespaces(ctx context.Context) ([]sluice.Namespace, error) {
	if l.isClosed() {
		return nil, errClosed
	}
	if err := l.isBroken(); err != nil {
		return nil, err
	}
	out, err := l.namespaces(ctx, l.read)
	return out, l.problem("reading", err)
}

func (l *Log) namespaces(ctx context.Context, q querier) ([]sluice.Namespace, error) {
	names, err := l.texts(ctx, q, "SELECT name FROM namespace ORDER BY name")
	out := make([]sluice.Namespace, 0, len(names))
	for _, n := range names {
		out = append(out, sluice.Namespace(n[0]))
	}
	return out, err
}

// FindJob finds a job by the beginning of its id.
func (l *Log) FindJob(ctx context.Context, prefix string) (sluice.Namespace, sluice.JobID, error) {
	if l.isClosed() {
		return "", "", errClosed
	}
	// 'z' is the last letter of the alphabet; 0x7f comes after it.
	found, err := l.texts(ctx, l.read, "SELECT id, ns FROM job WHERE id >= ? AND id < ? ORDER BY id, ns LIMIT 2", prefix, prefix+"\x7f")
	switch {
	case err != nil:
		return "", "", l.problem("reading", err)
	case len(found) == 0:
		return "", "", sluice.Errorf(sluice.NotFound, "no job begins with %q", prefix)
	case len(found) > 1:
		return "", "", sluice.Errorf(sluice.Conflict, "several jobs begin with %q, %s and %s among them", prefix, found[0][0], found[1][0]).
			WithHint("write more of the id")
	}
	return sluice.Namespace(found[0][1]), sluice.JobID(found[0][0]), nil
}

// texts runs a query for one or two columns of text.
func (l *Log) texts(ctx context.Context, q querier, query string, args ...any) (out [][2]string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = l.retry(ctx, func() error {
		out = nil
		rows, err := q.QueryContext(context.WithoutCancel(ctx), query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		width, err := rows.Columns()
		if err != nil {
			return err
		}
		for rows.Next() {
			var v [2]string
			if err := rows.Scan([]any{&v[0], &v[1]}[:len(width)]...); err != nil {
				return err
			}
			out = append(out, v)
		}
		return rows.Err()
	})
	return out, err
}

// head is the end of a namespace's chain, as the last record claims it; the zero mark if there is none.
func (l *Log) head(ctx context.Context, q querier, ns sluice.Namespace) (m mark, err error) {
	err = l.retry(ctx, func() error {
		m = mark{}
		rows, err := q.QueryContext(context.WithoutCancel(ctx),
			"SELECT last, hash FROM record WHERE ns = ? ORDER BY last DESC LIMIT 1", string(ns))
		if err != nil {
			return err
		}
		defer rows.Close()
		if rows.Next() {
			var sum []byte
			var last int64
			if err := rows.Scan(&last, &sum); err != nil {
				return err
			}
			m.seq = uint64(last)
			copy(m.hash[:], sum)
		}
		return rows.Err()
	})
	return m, err
}

func (l *Log) mayRead(ctx context.Context, ns sluice.Namespace) error {
	if l.isClosed() {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return checkNamespace(ns)
}
