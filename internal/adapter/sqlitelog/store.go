package sqlitelog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"sluice"
)

// The form of the file. A reader of an older form refuses a newer one: it would not know what it must keep.
const (
	applicationID = 0x534c4a31 // "SLJ1", what file(1) and SQLite show of whose database it is
	schemaVersion = 1
)

const schema = `
CREATE TABLE record (
	id      INTEGER PRIMARY KEY,
	ns      TEXT    NOT NULL,
	first   INTEGER NOT NULL,
	last    INTEGER NOT NULL,
	prev    BLOB    NOT NULL,
	hash    BLOB    NOT NULL,
	form    INTEGER NOT NULL,
	size    INTEGER NOT NULL,
	payload BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_last ON record (ns, last);
CREATE TABLE namespace (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE job (id TEXT, ns TEXT, PRIMARY KEY (id, ns)) STRICT, WITHOUT ROWID;
CREATE TABLE job_record (job TEXT, record INTEGER, PRIMARY KEY (job, record)) STRICT, WITHOUT ROWID;
CREATE TABLE accepted (
	at       TEXT    NOT NULL,
	ns       TEXT    NOT NULL,
	was_seq  INTEGER NOT NULL,
	was_hash BLOB    NOT NULL,
	seq      INTEGER NOT NULL,
	hash     BLOB    NOT NULL
) STRICT;
`

// dsn names the file for the driver. No busy timeout: waiting is ours, because it must end with the context.
func dsn(path, synchronous string, reader bool) string {
	q := url.Values{"_pragma": {"busy_timeout(0)", "journal_mode(WAL)", "synchronous(" + synchronous + ")", "cell_size_check(1)",
		"trusted_schema(0)", "journal_size_limit(16777216)"}}
	if reader {
		q["_pragma"] = append(q["_pragma"], "query_only(1)")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// connect opens the connections and makes the tables if they are missing.
func (l *Log) connect(ctx context.Context) (err error) {
	path := filepath.Join(l.dir, dbName)
	if err := makeFile(l.dir, path); err != nil {
		return err
	}
	synchronous := "FULL" // each commit waits for the disk
	if l.isCopy {
		synchronous = "NORMAL" // its settler does
	}
	if l.writer, err = sql.Open("sqlite", dsn(path, synchronous, false)); err != nil {
		return err
	}
	l.writer.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn(path, synchronous, true))
	if err != nil {
		return err
	}
	l.read = newReader(read)
	l.read.SetMaxOpenConns(readers)
	l.read.SetMaxIdleConns(readers)
	if err := l.retry(ctx, func() (err error) { l.w, err = newWriter(ctx, l.writer); return err }); err != nil {
		return err
	}
	if err := l.retry(ctx, func() error { return l.prepare(ctx) }); err != nil {
		return err
	}
	for _, p := range []string{path, path + "-wal"} {
		f, err := pin(p)
		if err != nil {
			return err
		}
		l.files = append(l.files, f)
	}
	if l.isCopy {
		l.settler, err = startSettler(ctx, l, path+"-wal")
	}
	return err
}

// makeFile makes an empty file with the right mode under its final name, if there is none. It must not open and
// close the file under that name: closing drops the locks that SQLite in this process has on it.
func makeFile(dir, path string) error {
	if info, err := os.Stat(path); err == nil {
		if info.Mode().Perm()&0o077 != 0 {
			return os.Chmod(path, 0o600)
		}
		return nil
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	err = errors.Join(f.Close(), os.Link(f.Name(), path))
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(f.Name()), syncDir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// prepare looks whose file it is, and makes the tables in an empty one.
func (l *Log) prepare(ctx context.Context) error {
	app, version, err := l.form(ctx)
	if err != nil || app == applicationID && version == schemaVersion {
		return err
	}
	tx, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.rollback()
	// Again, under the lock: another process may have made them.
	if app, version, err = l.form(ctx); err != nil || app == applicationID && version == schemaVersion {
		return err
	}
	switch {
	case app == applicationID:
		return sluice.Errorf(sluice.Contact, "the journal in %s has the form %d; this version knows %d", l.dir, version, schemaVersion).
			WithHint("use a newer sluice")
	case app != 0 || version != 0:
		return sluice.Errorf(sluice.Contact, "%s is a database of another program", filepath.Join(l.dir, dbName))
	}
	for _, s := range []string{schema, fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)} {
		if _, err := l.w.Conn.ExecContext(context.WithoutCancel(ctx), s); err != nil {
			return err
		}
	}
	return tx.commit()
}

func (l *Log) form(ctx context.Context) (app, version int, err error) {
	ctx = context.WithoutCancel(ctx)
	if err = l.w.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return 0, 0, err
	}
	err = l.w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return app, version, err
}

// retry does something again as long as another process is in the way.
func (l *Log) retry(ctx context.Context, do func() error) error {
	const shortest, longest = 200 * time.Microsecond, 10 * time.Millisecond
	var began time.Time
	for wait := shortest; ; wait = min(2*wait, longest) {
		err := do()
		if !busy(err) {
			return err
		}
		now := time.Now()
		if began.IsZero() {
			began = now
		}
		if now.Sub(began) > l.lockWait {
			return err
		}
		// By chance, or processes that wait in step would meet again and again.
		if err := pause(ctx, wait/2+rand.N(wait)); err != nil {
			return err
		}
	}
}

// writeTx is a transaction of the one writing connection. Inside it no context ends anything: a commit that was
// interrupted would leave open whether it was made.
type writeTx struct {
	l    *Log
	ctx  context.Context
	done bool
}

// begin takes SQLite's write lock.
func (l *Log) begin(ctx context.Context) (*writeTx, error) {
	inside := context.WithoutCancel(ctx)
	err := l.retry(ctx, func() error {
		_, err := l.w.ExecContext(inside, "BEGIN IMMEDIATE")
		return err
	})
	if err != nil {
		return nil, err
	}
	return &writeTx{l: l, ctx: inside}, nil
}

func (t *writeTx) exec(query string, args ...any) (sql.Result, error) {
	return t.l.w.ExecContext(t.ctx, query, args...)
}

func (t *writeTx) commit() error {
	if _, err := t.exec("COMMIT"); err != nil {
		return err
	}
	t.done = true
	return nil
}

// rollback gives up what was not committed. SQLite may have done so itself, on a full disk for one; then there
// is nothing to roll back, and that is what the error says.
func (t *writeTx) rollback() {
	if !t.done {
		_, _ = t.exec("ROLLBACK")
		t.done = true
	}
}
