package sqlitelog

import (
	"context"
	"errors"
	"fmt"

	"sluice"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const manual = "docs/journal.md"

// damaged says that something in the journal is not what was written.
func damaged(ns sluice.Namespace, format string, args ...any) error {
	e := sluice.Errorf(sluice.Contact, "the journal is damaged: namespace %s: %s; nothing will be started",
		ns, fmt.Sprintf(format, args...)).Lasts().
		WithHint("restore the journal from a backup; %s says how", manual)
	e.Of = ns
	return e
}

// lost says that acknowledged events are not there any more.
func lost(ns sluice.Namespace, end, acknowledged uint64) error {
	return sluice.Errorf(sluice.Contact,
		"the journal lost records: namespace %s ends at event %d, but event %d was acknowledged; nothing will be started",
		ns, end, acknowledged).Lasts().
		WithHint("put the missing files back, or go on from %d with `sluice journal accept`; see %s", end, manual)
}

// another says that the journal has other events than those that were acknowledged.
func another(ns sluice.Namespace, seq uint64) error {
	return sluice.Errorf(sluice.Contact,
		"the journal is not the one that was acknowledged: namespace %s differs at event %d; nothing will be started", ns, seq).Lasts().
		WithHint("put the right files back, or go on with these by `sluice journal accept`; see %s", manual)
}

// noAnchor says that nothing proves that the journal is whole.
func noAnchor(ns sluice.Namespace, path string) error {
	return sluice.Errorf(sluice.Contact,
		"%s says nothing of the namespace %s, which has events; it may be missing or damaged, so nobody can tell "+
			"whether the journal is whole; nothing will be started", path, ns).Lasts().
		WithHint("put the file back, or declare the journal whole with `sluice journal accept`; see %s", manual)
}

// wentBack says that the anchor itself is older than it was.
func wentBack(ns sluice.Namespace, now, was uint64) error {
	return sluice.Errorf(sluice.Contact,
		"the journal went backwards while it was in use: namespace %s is at %d and was at %d; nothing will be started",
		ns, now, was).Lasts().WithHint("%s says what to do when files of the journal were replaced", manual)
}

// problem makes an error for people of what SQLite or the file system said. What already is one stays.
func (l *Log) problem(doing string, err error) error {
	var known *sluice.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := sluice.Errorf(sluice.Contact, "%s the journal in %s", doing, l.dir)
	e.Err = err
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_FULL:
		e.Text = fmt.Sprintf("no room left to write the journal in %s", l.dir)
		e.Hint = "make room; nothing that was acknowledged is lost"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		e.Text = fmt.Sprintf("the journal in %s is damaged; nothing will be started", l.dir)
		e.Hint = "restore it from a backup; " + manual + " says how"
		e.Lasting = true
	case sqlite3.SQLITE_BUSY:
		e.Text = fmt.Sprintf("another process has kept the journal in %s locked for %v", l.dir, l.lockWait)
		e.Hint = "see which with `fuser " + l.dir + "/" + dbName + "`"
	}
	return e
}

// sqliteCode is the extended result code of an error of SQLite, or 0.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func busy(err error) bool {
	code := sqliteCode(err) & 0xff
	return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
}

// syncFailed says that what was written may never reach the disk. The kernel reports that once and then forgets
// it, so it must not be tried again.
func syncFailed(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_IOERR_FSYNC || code == sqlite3.SQLITE_IOERR_DIR_FSYNC
}
