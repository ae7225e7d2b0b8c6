package sqlitelog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice"
)

// Head is the end of a namespace's chain: who keeps it elsewhere can prove later that the journal still has
// these events.
type Head struct {
	Namespace sluice.Namespace
	Seq       uint64
	Hash      string
	// Acknowledged is the number that the anchor names.
	Acknowledged uint64
}

// proveEnds proves the chain of every namespace between its anchor and its end.
func (l *Log) proveEnds(ctx context.Context) error {
	// The anchor first: read after the journal, it could name what was appended in between.
	marks, err := l.anchor.all()
	if err != nil {
		return err
	}
	names, err := l.namespaces(ctx, l.read)
	if err != nil {
		return err
	}
	for _, ns := range everyName(marks, names) {
		anchored, ok := marks[ns]
		if !ok { // its first events may have come just now
			if anchored, ok, err = l.anchor.read(ns); err != nil {
				return err
			}
			if !ok {
				return noAnchor(ns, l.anchor.path)
			}
		}
		err := l.retry(ctx, func() error {
			_, err := l.prove(ctx, l.read, ns, anchored, anchored.seq, nil)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func everyName(marks map[sluice.Namespace]mark, names []sluice.Namespace) []sluice.Namespace {
	out := slices.AppendSeq(slices.Clone(names), maps.Keys(marks))
	slices.Sort(out)
	return slices.Compact(out)
}

// Verify proves every record of every namespace, that its events can be read, that the chain runs through the
// anchor, that the indexes lead where they should, and SQLite's own rules. It reads the whole journal.
func (l *Log) Verify(ctx context.Context) ([]Head, error) {
	if l.isClosed() {
		return nil, errClosed
	}
	marks, err := l.anchor.all()
	if err != nil {
		return nil, l.problem("reading", err)
	}
	conn, err := l.read.Conn(ctx)
	if err != nil {
		return nil, l.problem("reading", err)
	}
	defer conn.Close()
	heads, err := l.verify(ctx, conn, marks)
	return heads, l.problem("reading", err)
}

// verify is Verify, on one connection, inside a transaction of its own: appends that go on beside it are not
// seen.
func (l *Log) verify(ctx context.Context, conn *sql.Conn, marks map[sluice.Namespace]mark) (heads []Head, err error) {
	if _, err := conn.ExecContext(context.WithoutCancel(ctx), "BEGIN"); err != nil {
		return nil, err
	}
	defer func() {
		_, ending := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		err = errors.Join(err, ending)
	}()
	return l.verifyAll(ctx, conn, marks)
}

func (l *Log) verifyAll(ctx context.Context, conn *sql.Conn, marks map[sluice.Namespace]mark) ([]Head, error) {
	if err := checkFile(ctx, conn); err != nil {
		return nil, err
	}
	names, err := l.texts(ctx, conn, "SELECT DISTINCT ns FROM record")
	if err != nil {
		return nil, err
	}
	var known []sluice.Namespace
	for _, n := range names {
		known = append(known, sluice.Namespace(n[0]))
	}
	idx := index{jobs: map[[2]string]bool{}}
	var heads []Head
	for _, ns := range everyName(marks, known) {
		m := marks[ns]
		head, err := l.prove(ctx, conn, ns, m, 0, func(r *record) (bool, error) {
			events, err := r.events(nil, 0)
			if err != nil {
				return false, err
			}
			return true, idx.add(ctx, conn, r, events)
		})
		if err != nil {
			return nil, err
		}
		heads = append(heads, Head{ns, head.seq, fmt.Sprintf("%x", head.hash), m.seq})
	}
	return heads, idx.check(ctx, conn, len(known))
}

// checkFile asks SQLite what it thinks of its file.
func checkFile(ctx context.Context, conn *sql.Conn) error {
	var said string
	if err := conn.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return sluice.Errorf(sluice.Contact, "the journal is damaged: SQLite says %q; nothing will be started", said).
			WithHint("restore the journal from a backup; %s says how", manual)
	}
	return nil
}

// index is what the index tables must hold.
type index struct {
	jobs    map[[2]string]bool
	entries int
}

func (x *index) add(ctx context.Context, conn *sql.Conn, r *record, events []sluice.Event) error {
	for _, job := range jobs(events) {
		x.entries++
		x.jobs[[2]string{string(job), string(r.ns)}] = true
		var n int
		if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM job_record j JOIN record r ON r.id = j.record
			WHERE j.job = ? AND r.ns = ? AND r.last = ?`, string(job), string(r.ns), int64(r.last)).Scan(&n); err != nil {
			return err
		}
		if n != 1 {
			return damaged(r.ns, "the index does not lead from job %s to event %d", job, r.last)
		}
	}
	return nil
}

// check compares sizes: with every entry there that must be, equal numbers mean that there is no other.
func (x *index) check(ctx context.Context, conn *sql.Conn, namespaces int) error {
	for _, c := range []struct {
		table string
		want  int
	}{{"job_record", x.entries}, {"job", len(x.jobs)}, {"namespace", namespaces}} {
		var n int
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM "+c.table).Scan(&n); err != nil {
			return err
		}
		if n != c.want {
			return sluice.Errorf(sluice.Contact, "the journal is damaged: its index %s has %d entries, not %d; nothing will be started",
				c.table, n, c.want).WithHint("restore the journal from a backup; %s says how", manual)
		}
	}
	return nil
}

// Accept declares that the journal as it is now is the truth: for a person who knows why it differs from its
// anchor, such as after restoring a backup. All of it is proved first, but for the anchor, which is then set to
// its end; what was there before is kept in the journal's own table of such acts. Processes that have the
// journal open refuse to go on.
func Accept(ctx context.Context, cfg Config, now time.Time) ([]Head, error) {
	l, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	heads, err := l.accept(ctx, now)
	return heads, errors.Join(l.problem("writing", err), l.Close())
}

func (l *Log) accept(ctx context.Context, now time.Time) ([]Head, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	tx, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.rollback()
	marks, err := l.anchor.all()
	if err != nil {
		return nil, err
	}
	heads, err := l.verifyAll(ctx, l.w.Conn, nil)
	if err != nil {
		return nil, err
	}
	for ns := range marks { // a namespace of which nothing is left
		if !slices.ContainsFunc(heads, func(h Head) bool { return h.Namespace == ns }) {
			heads = append(heads, Head{Namespace: ns})
		}
	}
	for i, h := range heads {
		was := marks[h.Namespace]
		m, err := l.head(ctx, l.w, h.Namespace)
		if err != nil {
			return nil, err
		}
		heads[i].Acknowledged = was.seq
		if m == was {
			continue
		}
		if _, err := tx.exec("INSERT INTO accepted (at, ns, was_seq, was_hash, seq, hash) VALUES (?, ?, ?, ?, ?, ?)",
			now.UTC().Format(time.RFC3339), string(h.Namespace), int64(was.seq), was.hash[:], int64(m.seq), m.hash[:]); err != nil {
			return nil, err
		}
		if err := l.anchor.reserve(tx.ctx, h.Namespace); err != nil {
			return nil, err
		}
		if err := l.anchor.force(tx.ctx, h.Namespace, m); err != nil {
			return nil, err
		}
	}
	return heads, tx.commit()
}
