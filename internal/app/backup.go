package app

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sluice"
	"sluice/internal/adapter/agefile"
	"sluice/internal/adapter/dirblobs"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app/cluster"
	"sluice/internal/app/private"
	"sluice/internal/core/witness"
	"sluice/internal/front/cli"
	"sluice/internal/run/backup"
	"sluice/internal/run/control"
	"sluice/internal/run/lookout"
)

// leave are what a backup of a server does not hold: the journal, of which it has the records; what can be made anew; what
// is of a moment; what makes it one server of a cluster, which whoever is restored is not.
var leave = backup.LeaveAll(append([]string{"journal.db", "journal.db-wal", "journal.db-shm", "journal.anchor", "snapshots", "drivers", "journal.copy",
	beforeCluster, "servers-ca.pem"}, cluster.Files...), []string{".new-", ".token-"})

// data is where a server keeps everything.
func (l *Local) data(named string) string {
	if named != "" {
		return named
	}
	return filepath.Join(l.Places.State, "server")
}

// Backup keeps all that a server has, locked. The server may run. A file gets its name when it is whole; none is replaced.
func (l *Local) Backup(ctx context.Context, o cli.BackupOptions) (done cli.BackedUp, err error) {
	var s backup.Summary
	if o.Path == "" {
		s, err = l.backup(ctx, o.Out, o)
	} else {
		s, err = l.backupFile(ctx, o)
	}
	return cli.BackedUp{Made: s.Made, Heads: s.Heads, Records: s.Records, Files: s.Files, Bytes: s.Bytes}, err
}

func (l *Local) backupFile(ctx context.Context, o cli.BackupOptions) (s backup.Summary, err error) {
	if _, err := os.Lstat(o.Path); err == nil {
		return s, sluice.Errorf(sluice.Conflict, "%s is there already; a backup replaces nothing", o.Path)
	}
	f, err := os.CreateTemp(filepath.Dir(o.Path), ".new-*") // mode 0600
	if err != nil {
		return s, &sluice.Error{Code: sluice.Config, Text: "the file for the backup", Err: err}
	}
	s, err = l.backup(ctx, f, o)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), o.Path) // unlike a rename it replaces nothing
	}
	return s, errors.Join(err, os.Remove(f.Name()), private.Sync(filepath.Dir(o.Path)))
}

func (l *Local) backup(ctx context.Context, w io.Writer, o cli.BackupOptions) (s backup.Summary, err error) {
	dir := l.data(o.Data)
	if _, err := os.Stat(filepath.Join(dir, "journal.db")); err != nil {
		return s, &sluice.Error{Code: sluice.NotFound, Text: "there are no data of a server in " + dir, Err: err, Hint: "--data names them"}
	}
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return s, contact(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	// The key is made now, if no server has started yet: what a server shows later, this backup must know.
	if _, err := headsdir.Dir(dir).Key(); err != nil {
		return s, err
	}
	_, shared, err := cluster.ReadSeat(dir)
	if err != nil {
		return s, err
	}
	if !shared { // only the owner appends to the log of a cluster
		if err := l.note(ctx, log, sluice.RunServer, "sluice server backup"); err != nil {
			return s, err
		}
	}
	sealed, err := agefile.Lock{Passphrase: o.Passphrase, Recipients: o.Recipients, Work: o.Work}.Seal(w)
	if err != nil {
		return s, err
	}
	packed, err := gzip.NewWriterLevel(sealed, gzip.BestSpeed)
	if err != nil {
		return s, err
	}
	s, err = backup.Write(ctx, packed, backup.Source{Log: log, Files: os.DirFS(dir), Leave: leave}, l.Clock(), Version)
	return s, errors.Join(err, packed.Close(), sealed.Close())
}

// note puts into the audit what somebody does to the log on this machine.
func (l *Local) note(ctx context.Context, log *sqlitelog.Log, right sluice.Right, what string) error {
	heads, err := log.Heads(ctx)
	if err != nil {
		return err
	}
	end := uint64(0) // nobody needs to read what is there
	for _, h := range heads {
		if h.Namespace == sluice.AccessNamespace {
			end = h.Seq
		}
	}
	note := sluice.Event{Time: l.Clock(), Body: sluice.AccessNoted{Principal: sluice.Principal(l.who()), Right: right, What: what}}
	_, err = log.Update(ctx, sluice.AccessNamespace, end, func([]sluice.Event) ([]sluice.Event, error) { return []sluice.Event{note}, nil })
	return err
}

// Restore makes the data of a server of a backup, in a directory that is empty or not there. They are put there when all
// of them are proved, and begin halted, in a new epoch.
func (l *Local) Restore(ctx context.Context, o cli.RestoreOptions) (done cli.Restored, err error) {
	r := o.In
	if o.Path != "" {
		f, err := os.Open(o.Path)
		if err != nil {
			return done, &sluice.Error{Code: sluice.Usage, Text: "the backup", Err: err}
		}
		defer f.Close()
		r = f
	}
	dir, err := filepath.Abs(l.data(o.Data))
	if err != nil {
		return done, err
	}
	if err := empty(dir); err != nil {
		return done, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return done, &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	at, err := os.MkdirTemp(filepath.Dir(dir), ".new-"+filepath.Base(dir)+"-") // mode 0700
	if err != nil {
		return done, &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(at)) }()
	if done, err = l.restoreIn(ctx, r, at, o); err != nil {
		return done, err
	}
	if err := empty(dir); err != nil {
		return done, err
	}
	// Not os.Rename, which refuses an empty directory that the system would replace.
	if err := errors.Join(syncTree(at), syscall.Rename(at, dir)); err != nil {
		return done, &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	done.Data = dir
	return done, private.Sync(filepath.Dir(dir))
}

func empty(dir string) error {
	found, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && len(found) > 0 {
		return sluice.Errorf(sluice.Conflict, "%s is not empty: it has %s in it", dir, found[0].Name()).WithHint("restore into an empty directory, look at it, and move it")
	}
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	return nil
}

func (l *Local) restoreIn(ctx context.Context, r io.Reader, dir string, o cli.RestoreOptions) (done cli.Restored, err error) {
	opened, err := agefile.Key{Passphrase: o.Passphrase, Identities: o.Identities}.Open(r)
	if err != nil {
		return done, err
	}
	unpacked, err := gzip.NewReader(opened)
	if err != nil {
		return done, &sluice.Error{Code: sluice.Usage, Text: "this is no backup, or its beginning is damaged", Err: err}
	}
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return done, contact(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	files, err := os.OpenRoot(dir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	s, err := backup.Read(ctx, unpacked, backup.Target{Put: log.Put, Create: func(name string, mode uint32, changed time.Time) (io.WriteCloser, error) {
		if leave(name) {
			return nil, fmt.Errorf("%s does not belong into a backup", name)
		}
		return create(files, name, os.FileMode(mode), changed)
	}})
	if err != nil {
		return done, err
	}
	if _, err := log.Verify(ctx); err != nil {
		return done, contact(err)
	}
	if err := l.proveBlobs(ctx, dir); err != nil {
		return done, err
	}
	return l.begin(ctx, log, dir, s, "restored from the backup of "+s.Made.Format(time.RFC3339)+"; what happened since is not known")
}

// proveBlobs reads what jobs send: its name says what it must come to.
func (l *Local) proveBlobs(ctx context.Context, dir string) error {
	dir = filepath.Join(dir, "blobs")
	found, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	blobs, err := dirblobs.New(dir, l.Clock())
	if err != nil {
		return err
	}
	for _, f := range found {
		hex, ok := strings.CutPrefix(f.Name(), "sha256-")
		if !ok {
			continue
		}
		r, err := blobs.Open(ctx, "sha256:"+hex)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return &sluice.Error{Code: sluice.Contact, Text: "the backup is damaged", Err: err}
		}
	}
	return nil
}

// begin writes into a restored log that it is one, and halts what it says is going on, for a reason.
func (l *Local) begin(ctx context.Context, log lookout.Journal, dir string, s backup.Summary, reason string) (done cli.Restored, err error) {
	done = cli.Restored{Made: s.Made, Version: s.Version, Records: s.Records, Files: s.Files, Bytes: s.Bytes}
	if done.Epoch, err = l.nextEpoch(ctx, log); err != nil {
		return done, err
	}
	turn := sluice.Event{Time: l.Clock(), Body: sluice.ServerRestored{Epoch: done.Epoch, Backup: s.Made, Heads: s.Heads, By: l.who()}}
	if _, err := log.Update(ctx, sluice.AccessNamespace, 0, func([]sluice.Event) ([]sluice.Event, error) { return []sluice.Event{turn}, nil }); err != nil {
		return done, err
	}
	svc := &control.Service{Log: log, Clock: l.Clock, By: l.who()}
	done.Halted, err = svc.HaltRestored(ctx, reason)
	return done, err
}

// nextEpoch is later than all that the log has, and than all that anybody has seen. It goes by the clock: one backup may be restored more
// than once, and what was seen after the first time must not be taken for what is seen after the second.
func (l *Local) nextEpoch(ctx context.Context, log sluice.Log) (int, error) {
	var history witness.History
	for after := uint64(0); ; {
		events, err := log.Read(ctx, sluice.AccessNamespace, after, 1000)
		if err != nil {
			return 0, contact(err)
		}
		for _, e := range events {
			if t, ok := witness.TurnOf(e); ok {
				history = append(history, t)
			}
			after = e.Seq
		}
		if len(events) == 0 {
			return max(history.Epoch()+1, int(l.Clock().Unix())), nil
		}
	}
}

// create makes a file below a root, with its directories, for this user alone.
func create(files *os.Root, name string, mode os.FileMode, changed time.Time) (io.WriteCloser, error) {
	if err := files.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := files.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o600)
	if err != nil {
		return nil, err
	}
	return &dated{f, files, name, changed}, nil
}

// dated gives a file the time at which it was changed: what is kept for a while is kept by that.
type dated struct {
	*os.File
	files   *os.Root
	name    string
	changed time.Time
}

func (d *dated) Close() error {
	return errors.Join(d.File.Sync(), d.File.Close(), d.files.Chtimes(d.name, d.changed, d.changed))
}

// syncTree makes the names of all files durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return private.Sync(path)
	})
}
