package sqlitelog

import (
	"context"
	"iter"

	"sluice"
)

// putEvery is how many records are put in one transaction.
const putEvery = 2000

// Put fills an empty journal with records that were taken from another, as they are. It is not a journal before Put has
// returned without an error.
func (l *Log) Put(ctx context.Context, records iter.Seq2[sluice.Record, error]) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	ends, err := l.put(ctx, records)
	if err != nil {
		return l.problem("writing", err)
	}
	if l.settler != nil {
		if err := l.anchor.sync(l.settler.wal); err != nil {
			return l.stopWriting(err)
		}
	}
	for ns, m := range ends {
		if err := l.anchor.force(ctx, ns, m); err != nil {
			return l.problem("writing", err)
		}
	}
	l.follow.changed()
	return nil
}

// Append adds records that were appended elsewhere first, as they are, as one step. Those that are here already are left out;
// one that is here otherwise, or does not continue what is here, is an error with the code Contact, and then none is added.
func (l *Log) Append(ctx context.Context, records []sluice.Record) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	tx, err := l.begin(ctx)
	if err != nil {
		return l.problem("writing", err)
	}
	defer tx.rollback()
	ends := map[sluice.Namespace]mark{}
	for _, r := range records {
		if err := l.appendOne(tx, ends, r); err != nil {
			return l.problem("writing", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.acknowledge(tx, ends)
}

// appendOne adds a record behind the end of its namespace, which is in ends once it was looked at.
func (l *Log) appendOne(tx *writeTx, ends map[sluice.Namespace]mark, r sluice.Record) error {
	if err := checkNamespace(r.Namespace); err != nil {
		return err
	}
	end, known := ends[r.Namespace]
	if !known {
		through, err := l.through(r.Namespace)
		if err == nil {
			end, err = l.prove(tx.ctx, l.w, r.Namespace, through, through.seq, nil)
		}
		if err != nil {
			return err
		}
	}
	if r.Last > end.seq {
		ends[r.Namespace] = end
		return l.putOne(tx, ends, r)
	}
	// By the writing connection: it sees what this step has added, and waits for no reader.
	have, ok, err := l.hashBy(tx.ctx, l.w, r.Namespace, r.Last)
	if err == nil && (!ok || have != r.Hash.String()) {
		return another(r.Namespace, r.Last)
	}
	return err
}

func (l *Log) put(ctx context.Context, records iter.Seq2[sluice.Record, error]) (map[sluice.Namespace]mark, error) {
	tx, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { tx.rollback() }()
	var n int
	if err := l.w.QueryRowContext(tx.ctx, "SELECT count(*) FROM record").Scan(&n); err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, sluice.Errorf(sluice.Conflict, "the journal in %s has %d records; only an empty one can be filled", l.dir, n)
	}
	ends := map[sluice.Namespace]mark{}
	for given, err := range records {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = l.putOne(tx, ends, given)
		}
		if n++; err == nil && n%putEvery == 0 {
			if err = tx.commit(); err == nil {
				tx, err = l.begin(ctx)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return ends, tx.commit()
}

func (l *Log) putOne(tx *writeTx, ends map[sluice.Namespace]mark, given sluice.Record) error {
	if err := checkNamespace(given.Namespace); err != nil {
		return err
	}
	r := record{ns: given.Namespace, first: given.First, last: given.Last, prev: hash(given.Prev), hash: hash(given.Hash), payload: given.Payload}
	if end := ends[r.ns]; r.first != end.seq+1 || r.prev != end.hash || r.sum() != r.hash || r.last < r.first {
		return damaged(r.ns, "the record of the events %d to %d does not continue the one before, or was changed", r.first, r.last)
	}
	about, err := r.jobs()
	if err != nil {
		return err
	}
	ends[r.ns] = r.end()
	return l.append(tx, r, about)
}
