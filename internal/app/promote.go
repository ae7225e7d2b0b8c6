package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"sluice"
	"sluice/internal/adapter/localsocket"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app/cluster"
	"sluice/internal/app/private"
	"sluice/internal/front/cli"
	"sluice/internal/run/backup"
	"sluice/internal/run/members"
	"sluice/internal/run/replica"
)

// beforeCluster is what a server's journal was when it became one of a cluster; only to read.
const beforeCluster = "before-cluster"

// stopped makes sure that no server runs on these data while a command changes what they are.
func stopped(ctx context.Context, data string) (release func() error, err error) {
	if _, err := os.Stat(filepath.Join(data, "journal.db")); err != nil {
		return nil, &sluice.Error{Code: sluice.NotFound, Text: "there are no data of a server in " + data, Err: err, Hint: "--data names them"}
	}
	l, err := localsocket.Listen(ctx, filepath.Join(data, socketName))
	switch {
	case errors.Is(err, localsocket.ErrTooLong):
		return func() error { return nil }, nil // there is no socket by which to tell
	case sluice.CodeOf(err) == sluice.Conflict:
		return nil, sluice.Errorf(sluice.Conflict, "a server runs on %s; stop it first", data)
	case err != nil:
		return nil, &sluice.Error{Code: sluice.Config, Text: "the server's socket", Err: err}
	}
	return l.Close, nil
}

// stoppedMember is the place of a server of a cluster that does not run.
func stoppedMember(ctx context.Context, dir string) (s cluster.Seat, release func() error, err error) {
	if release, err = stopped(ctx, dir); err != nil {
		return s, nil, err
	}
	s, is, err := cluster.ReadSeat(dir)
	if err == nil && !is {
		err = sluice.Errorf(sluice.Conflict, "%s holds no data of a server of a cluster", dir)
	}
	if err != nil {
		return s, nil, errors.Join(err, release())
	}
	return s, release, nil
}

// Promote makes the first server of a cluster of a server that was alone, and does not run. Its log goes on, with all numbers and the
// chain; what it was is kept beside it, proved to be the same, and can only be read.
func (l *Local) Promote(ctx context.Context, o cli.PromoteOptions) (done cli.Promoted, err error) {
	dir := l.data(o.Data)
	first, err := cluster.First(o.Name, o.Address)
	if err != nil {
		return done, err
	}
	release, err := stopped(ctx, dir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, release()) }()
	there, is, err := cluster.ReadSeat(dir)
	if err != nil {
		return done, err
	}
	if is {
		return done, sluice.Errorf(sluice.Conflict, "these are the data of the server %s of a cluster already", there.Name).
			WithHint("sluice server --data %s --cluster %s --name %s", dir, there.Address, there.Name)
	}
	if done.Heads, err = l.keepBefore(ctx, dir); err != nil {
		return done, err
	}
	if err := cluster.ForgetLost(dir); err != nil { // of a cluster that it left before
		return done, &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	if err := l.firstMember(ctx, dir, o); err != nil {
		return done, err
	}
	done.Data, done.Before = dir, filepath.Join(dir, beforeCluster)
	return done, first.Keep(dir)
}

// firstMember makes a server the first member of a cluster. Its log may be that of one that it was in before.
func (l *Local) firstMember(ctx context.Context, dir string, o cli.PromoteOptions) (err error) {
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return contact(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return l.onlyMember(ctx, log, o.Name, o.Address, "another cluster begins")
}

// keepBefore copies the journal record by record, proves both, and compares their ends.
func (l *Local) keepBefore(ctx context.Context, dir string) (heads []sluice.Head, err error) {
	from, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return nil, contact(err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if _, err := from.Verify(ctx); err != nil {
		return nil, contact(err)
	}
	if heads, err = from.Heads(ctx); err != nil {
		return nil, contact(err)
	}
	at, err := os.MkdirTemp(dir, ".new-"+beforeCluster+"-")
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(at)) }()
	if err := copyJournal(ctx, from, at, heads); err != nil {
		return nil, err
	}
	kept := filepath.Join(dir, beforeCluster)
	if err := os.RemoveAll(kept); err != nil { // of a promotion that was not finished, or that was taken back
		return nil, err
	}
	if err := errors.Join(syncTree(at), os.Rename(at, kept), private.Sync(dir)); err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the journal as it was", Err: err}
	}
	return heads, nil
}

// copyJournal fills a journal that nobody can append to.
func copyJournal(ctx context.Context, from *sqlitelog.Log, dir string, want []sluice.Head) (err error) {
	to, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir, First: func(context.Context, sluice.Record) error {
		return sluice.Errorf(sluice.Config, "this is the journal as it was")
	}})
	if err != nil {
		return contact(err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.Put(ctx, records(ctx, from)); err != nil {
		return contact(err)
	}
	if _, err := to.Verify(ctx); err != nil {
		return contact(err)
	}
	got, err := to.Heads(ctx)
	if err != nil {
		return contact(err)
	}
	if !slices.Equal(got, want) {
		return sluice.Errorf(sluice.Contact, "the copy of the journal ends otherwise than the journal; nothing was changed")
	}
	return nil
}

// records are all that a log has.
func records(ctx context.Context, from sluice.Chains) iter.Seq2[sluice.Record, error] {
	return func(yield func(sluice.Record, error) bool) {
		enough := errors.New("enough")
		err := from.Records(ctx, nil, func(r sluice.Record) error {
			r.Payload = slices.Clone(r.Payload)
			if !yield(r, nil) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			yield(sluice.Record{}, err)
		}
	}
}

// Demote is the way back: a server that is the only one of its cluster, and does not run, is alone from then on. Its log goes on.
func (l *Local) Demote(ctx context.Context, o cli.DemoteOptions) (done cli.Demoted, err error) {
	dir := l.data(o.Data)
	s, release, err := stoppedMember(ctx, dir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := cluster.MayLeave(dir); err != nil {
		return done, err
	}
	proved, err := cluster.GaveUp(dir) // by a command that was killed behind it
	if err != nil {
		return done, err
	}
	in, err := inCluster(cli.ClusterOptions{Address: s.Address, Name: s.Name, Engine: o.Engine}, dir)
	if err != nil {
		return done, err
	}
	last, end, err := cluster.Look(ctx, cluster.Server{Data: dir, Clock: l.Clock, Cluster: in, Log: slog.New(slog.DiscardHandler)}, s)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if !proved && !s.Begins { // one that has not begun has no other, and its engine knows nothing
		if err := last.ProveLast(ctx); err != nil {
			return done, err
		}
	}
	if err := cluster.GiveUp(dir); err != nil {
		return done, err
	}
	if done.Heads, err = l.newEpoch(ctx, dir, "the server left its cluster, of which it was the only one"); err != nil {
		return done, err
	}
	if s.Elsewhere {
		if err := last.EndElsewhere(ctx); err != nil {
			return done, err
		}
	}
	done.Data = dir
	return done, cluster.Forget(dir)
}

// newEpoch begins another epoch of a log in which nothing was lost: workers follow nobody whose term is lower than one that they have seen
// in the same epoch, and a server that is alone has no terms.
func (l *Local) newEpoch(ctx context.Context, dir, reason string) (heads []sluice.Head, err error) {
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return nil, contact(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if heads, err = log.Heads(ctx); err != nil {
		return nil, contact(err)
	}
	epoch, err := l.nextEpoch(ctx, log)
	if err != nil {
		return nil, err
	}
	turn := sluice.Event{Time: l.Clock(), Body: sluice.LogRepaired{Epoch: epoch, Heads: heads, Reason: reason, By: l.who()}}
	if _, err := log.Update(ctx, sluice.AccessNamespace, 0, func([]sluice.Event) ([]sluice.Event, error) { return []sluice.Event{turn}, nil }); err != nil {
		return nil, contact(err)
	}
	return log.Heads(ctx)
}

// Recover gives up a cluster of which no majority is left: what this server has becomes the log, in a new epoch, and everything that is
// not over is halted. What the others had and this one has not is lost, and nobody can say what it was.
func (l *Local) Recover(ctx context.Context, o cli.RecoverOptions) (done cli.Restored, err error) {
	dir := l.data(o.Data)
	s, release, err := stoppedMember(ctx, dir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, release()) }()
	// The engine goes first: from then on this server takes no part in the old cluster, whatever comes.
	if err := cluster.GiveUp(dir); err != nil {
		return done, err
	}
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: dir})
	if err != nil {
		return done, contact(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if _, err := log.Verify(ctx); err != nil {
		return done, contact(err)
	}
	heads, err := log.Heads(ctx)
	if err != nil {
		return done, contact(err)
	}
	if done, err = l.begin(ctx, log, dir, backup.Summary{Version: Version, Made: l.Clock(), Heads: heads}, fmt.Sprintf("recovered from the copy of the server %s; what the others had since is not known", s.Name)); err != nil {
		return done, err
	}
	if err := l.onlyMember(ctx, log, s.Name, s.Address, "the cluster was given up"); err != nil {
		return done, err
	}
	done.Data = dir
	if o.Alone {
		return done, cluster.Forget(dir)
	}
	first, err := cluster.First(s.Name, s.Address)
	if err != nil {
		return done, err
	}
	return done, first.Keep(dir)
}

// onlyMember makes a server the only member of the cluster whose log this is to be.
func (l *Local) onlyMember(ctx context.Context, log sluice.Log, name sluice.ServerName, address, reason string) error {
	keeper, err := members.New(ctx, log, l.Clock)
	if err != nil {
		return contact(err)
	}
	return keeper.Begin(ctx, sluice.Principal(l.who()), name, address, reason)
}

var _ replica.Copy = (*sqlitelog.Log)(nil)
