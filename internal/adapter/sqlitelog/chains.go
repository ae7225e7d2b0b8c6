package sqlitelog

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"

	"sluice"
)

var _ sluice.Chains = (*Log)(nil)

// Records hands on records as they stand at one moment: appends that go on meanwhile are not seen, and not held up.
func (l *Log) Records(ctx context.Context, after map[sluice.Namespace]uint64, visit func(sluice.Record) error) error {
	var theirs error // is no error of the journal, and goes back as it is
	err := l.atOneMoment(ctx, func(conn *sql.Conn) error {
		names, err := l.texts(ctx, conn, "SELECT DISTINCT ns FROM record ORDER BY ns")
		if err != nil {
			return err
		}
		for _, n := range names {
			ns := sluice.Namespace(n[0])
			seen := after[ns]
			err := l.scan(ctx, conn, ns, seen, func(_ int64, r *record) (bool, error) {
				if r.last <= seen {
					return true, nil // it is there to prove that the next one continues it
				}
				theirs = visit(r.whole())
				return theirs == nil, theirs
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if theirs != nil {
		return theirs
	}
	return err
}

// atOneMoment reads in one transaction.
func (l *Log) atOneMoment(ctx context.Context, do func(*sql.Conn) error) (err error) {
	if l.isClosed() {
		return errClosed
	}
	conn, err := l.read.Conn(ctx)
	if err != nil {
		return l.problem("reading", err)
	}
	defer conn.Close()
	inside := context.WithoutCancel(ctx)
	if err := l.retry(ctx, func() error { _, err := conn.ExecContext(inside, "BEGIN"); return err }); err != nil {
		return l.problem("reading", err)
	}
	defer func() {
		_, ending := conn.ExecContext(inside, "ROLLBACK")
		err = errors.Join(err, ending)
	}()
	return l.problem("reading", do(conn))
}

// Heads are the ends of all namespaces, as the last records claim them: [Log.Records] and [Log.Verify] prove.
func (l *Log) Heads(ctx context.Context) (out []sluice.Head, err error) {
	names, err := l.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, ns := range names {
		m, err := l.head(ctx, l.read, ns)
		if err != nil {
			return nil, l.problem("reading", err)
		}
		out = append(out, sluice.Head{Namespace: ns, Seq: m.seq, Hash: sluice.ChainHash(m.hash)})
	}
	return out, nil
}

// HashAt is the hash of the record that ends with an event.
func (l *Log) HashAt(ctx context.Context, ns sluice.Namespace, seq uint64) (h sluice.ChainHash, ok bool, err error) {
	if err := l.mayRead(ctx, ns); err != nil {
		return h, false, err
	}
	sum, ok, err := l.hashAt(ctx, ns, seq)
	if err != nil || !ok {
		return h, false, l.problem("reading", err)
	}
	n, err := hex.Decode(h[:], []byte(sum[:min(len(sum), 2*len(h))]))
	if err != nil || n != len(h) {
		return h, false, damaged(ns, "the hash of the record that ends with event %d is none", seq)
	}
	return h, true, nil
}
