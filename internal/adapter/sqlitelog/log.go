package sqlitelog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
)

// Files in the directory of the journal.
const (
	dbName       = "journal.db"
	anchorName   = "journal.anchor"
	snapshotsDir = "snapshots"
	copyName     = "journal.copy" // is there where the journal is a copy, and says so to people
)

const copyText = "This journal is one server's copy of the log of a cluster. Only that server appends to it.\n"

const (
	// defaultLockWait is how long an append waits for the other processes of the machine.
	defaultLockWait = 30 * time.Second
	// readers is how many reads go on at once; more wait.
	readers = 4
)

// Config says where a journal is.
type Config struct {
	// Dir holds the journal's files. It is made if it is missing, for this user alone.
	Dir string
	// LockWait is how long Update waits for its turn among processes; 0: 30 seconds.
	LockWait time.Duration
	// Filesystem returns the kernel's number for the kind of file system that holds a directory; nil asks the
	// kernel. Tests pretend with it.
	Filesystem func(dir string) (magic int64, err error)
	// First is where each record has to be before it is here: where it returns an error, Update appends nothing and returns it.
	// What First took all the same has to come back by [Log.Append], and so has what a power failure takes from here: the journal is a
	// copy from then on, and what is in it is on the disk only after 0.2 s ([Log.Settled]). Who opens it without First can only read it.
	// nil: this journal is the only place.
	First func(ctx context.Context, r sluice.Record) error
}

// Log is a journal in an SQLite file. It is safe for concurrent use.
type Log struct {
	dir      string
	lockWait time.Duration
	first    func(context.Context, sluice.Record) error // may be nil
	isCopy   bool                                       // and this process may append to it

	writer  *sql.DB // one connection, w
	w       *writer // used only by who holds turn; stays open, so that no other process removes the -wal
	read    *reader
	files   []pinned
	anchor  *anchor
	packer  *packer
	follow  *follower
	settler *settler // of a copy

	turn chan struct{} // holds one token: who has it may write
	done chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	broken error // why this process must not write any more
}

var _ sluice.Log = (*Log)(nil)

// Open opens the journal, makes it if there is none, and proves its end against the anchor. A journal that lost
// events or was changed is not opened; the error has the code Contact.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	l, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := l.proveEnds(ctx); err != nil {
		return nil, errors.Join(l.problem("reading", err), l.Close())
	}
	return l, nil
}

// open is Open without proof.
func open(ctx context.Context, cfg Config) (_ *Log, err error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil || cfg.Dir == "" {
		return nil, sluice.Errorf(sluice.Contact, "%q cannot hold the journal: not a directory's path", cfg.Dir)
	}
	l := &Log{dir: dir, lockWait: cfg.LockWait, first: cfg.First, isCopy: cfg.First != nil, turn: make(chan struct{}, 1), done: make(chan struct{})}
	if l.lockWait == 0 {
		l.lockWait = defaultLockWait
	}
	l.turn <- struct{}{}
	defer func() {
		if err != nil {
			err = errors.Join(l.problem("opening", err), l.release())
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := refuseNetwork(dir, cfg.Filesystem); err != nil {
		return nil, err
	}
	if err := l.mark(); err != nil {
		return nil, err
	}
	if l.packer, err = newPacker(); err != nil {
		return nil, err
	}
	if l.anchor, err = openAnchor(filepath.Join(dir, anchorName)); err != nil {
		return nil, err
	}
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	l.follow, err = startFollower(ctx, l.lookAround)
	return l, err
}

// mark says in the directory that the journal is a copy, or reads that it is.
func (l *Log) mark() error {
	path := filepath.Join(l.dir, copyName)
	_, err := os.Stat(path)
	switch {
	case err == nil && l.first == nil:
		l.first = func(context.Context, sluice.Record) error {
			return sluice.Errorf(sluice.Config, "the journal in %s is a copy of the log of a cluster; only its server appends to it", l.dir).
				WithHint("sluice --server URL asks the cluster; docs/cluster.md says how to leave it")
		}
		return nil
	case l.first == nil && errors.Is(err, fs.ErrNotExist), err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.WriteFile(path, []byte(copyText), 0o600); err != nil {
		return err
	}
	return syncDir(l.dir)
}

// Close ends the use of the journal. It waits for an append that is going on; other calls then fail.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.done)
	<-l.turn // never given back
	return l.release()
}

// release gives back whatever was opened so far.
func (l *Log) release() error {
	var errs []error
	if l.follow != nil {
		l.follow.stop()
	}
	if l.settler != nil {
		errs = append(errs, l.settler.stop())
	}
	if l.w != nil {
		errs = append(errs, l.w.Close())
	}
	if l.writer != nil {
		errs = append(errs, l.writer.Close())
	}
	if l.read != nil {
		errs = append(errs, l.read.Close())
	}
	if l.anchor != nil {
		errs = append(errs, l.anchor.close())
	}
	if l.packer != nil {
		l.packer.close()
	}
	return errors.Join(errs...)
}

var errClosed = sluice.Errorf(sluice.Contact, "the journal is closed")

// enter takes the turn to write; leave gives it back.
func (l *Log) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-l.done:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	case <-l.turn:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		l.leave()
		return errClosed
	case l.broken != nil:
		l.leave()
		return l.broken
	}
	return nil
}

func (l *Log) leave() { l.turn <- struct{}{} }

// stopWriting makes every later append fail.
func (l *Log) stopWriting(why error) error {
	e := sluice.Errorf(sluice.Contact, "the disk that holds the journal in %s failed; this process writes no more", l.dir).Lasts().
		WithHint("look at the disk, then start again: the journal is proved at every start")
	e.Err = why
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = e
	return e
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *Log) isBroken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// pause waits for d or until the context ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// validNamespace reports whether events can stand in ns.
func validNamespace(ns sluice.Namespace) bool { return ns.Reserved() || ns.Valid() }

func checkNamespace(ns sluice.Namespace) error {
	if validNamespace(ns) {
		return nil
	}
	return sluice.Errorf(sluice.Usage, "%q is no name of a namespace: 1 to 64 letters, digits, '-', '_' and '.', "+
		"beginning with a letter or digit", string(ns))
}

// pinned is a file that must stay where it is while the journal is in use.
type pinned struct {
	path string
	info os.FileInfo
}

func pin(path string) (pinned, error) {
	info, err := os.Stat(path)
	return pinned{path, info}, err
}

// inPlace finds files that somebody removed or replaced: what is written to them then is lost.
func (p pinned) inPlace() error {
	info, err := os.Stat(p.path)
	if err == nil && os.SameFile(info, p.info) {
		return nil
	}
	return sluice.Errorf(sluice.Contact, "%s was removed or replaced while it was in use; nothing will be started", p.path).Lasts().
		WithHint("end all processes that use it and put the files back; see %s", manual)
}

// inPlace finds out whether any file of the journal was removed or replaced.
func (l *Log) inPlace() error {
	for _, f := range l.files {
		if err := f.inPlace(); err != nil {
			return err
		}
	}
	return nil
}

// String says where the journal is.
func (l *Log) String() string { return fmt.Sprintf("journal in %s", l.dir) }
