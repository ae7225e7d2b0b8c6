package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/haltsdir"
	"sluice/internal/adapter/localsocket"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app/private"
	"sluice/internal/front/cli"
	"sluice/internal/run/backup"
	"sluice/internal/run/members"
	"sluice/internal/run/replica"
)

const (
	// beforeCluster is what a server's journal was when it became one of a cluster; only to read.
	beforeCluster = "before-cluster"
	// lostDir is what the engine kept of a cluster that was given up.
	lostDir = "etcd.given-up"
	// majorityWithin bounds what a command waits for an engine that has one server alone.
	majorityWithin = 20 * time.Second
)

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

// readSeat is a server's place in a cluster; ok is false where its data are those of a server that is alone.
func readSeat(data string) (s seat, ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(data, seatName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, false, &sluice.Error{Code: sluice.Config, Text: filepath.Join(data, seatName), Err: err}
	}
	return s, true, nil
}

// stoppedMember is the place of a server of a cluster that does not run.
func stoppedMember(ctx context.Context, dir string) (s seat, release func() error, err error) {
	if release, err = stopped(ctx, dir); err != nil {
		return s, nil, err
	}
	s, is, err := readSeat(dir)
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
	at, err := etcdAt(o.Address)
	if err != nil {
		return done, err
	}
	release, err := stopped(ctx, dir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, release()) }()
	there, is, err := readSeat(dir)
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
	if err := os.RemoveAll(filepath.Join(dir, lostDir)); err != nil { // of a cluster that it left before
		return done, &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	if err := l.firstMember(ctx, dir, o); err != nil {
		return done, err
	}
	s := seat{Cluster: rand.Text(), Name: o.Name, Address: o.Address, Begins: true,
		Nodes: map[string]string{string(o.Name): at}}
	done.Data, done.Before = dir, filepath.Join(dir, beforeCluster)
	return done, s.keep(dir)
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
	if kept, err := haltsdir.Dir(filepath.Join(dir, haltsDir)).All(); err != nil || len(kept) > 0 {
		return done, errors.Join(sluice.Errorf(sluice.Conflict, "this server keeps halts that are not appended yet: %d", len(kept)).WithHint("start it as it was: it appends them when it owns the log"), err)
	}
	proved, err := gaveUp(dir) // by a command that was killed behind it
	if err != nil {
		return done, err
	}
	c, end, err := l.lastOf(ctx, dir, s, o)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if !proved && !s.Begins { // one that has not begun has no other, and its engine knows nothing
		if err := l.proveLast(ctx, c); err != nil {
			return done, err
		}
	}
	if err := giveUp(dir); err != nil {
		return done, err
	}
	if done.Heads, err = l.newEpoch(ctx, dir, "the server left its cluster, of which it was the only one"); err != nil {
		return done, err
	}
	if s.Elsewhere && c.engine != nil {
		if err := l.endElsewhere(ctx, c); err != nil {
			return done, err
		}
	}
	done.Data = dir
	return done, forgetSeat(dir)
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

// lastOf is the part of a server in its cluster while a command has a look at it; end ends what it uses of the engine.
func (l *Local) lastOf(ctx context.Context, dir string, s seat, o cli.DemoteOptions) (c *cluster, end func() error, err error) {
	in, err := inCluster(cli.ClusterOptions{Address: s.Address, Name: s.Name, Engine: o.Engine}, dir)
	if err != nil {
		return nil, nil, err
	}
	c = &cluster{s: &Server{Data: dir, Clock: l.Clock, Cluster: in, Log: slog.New(slog.DiscardHandler)}, seat: s}
	c.neighbours.c = c
	if len(o.Engine.URLs) == 0 && (!s.Elsewhere || s.Begins) {
		return c, func() error { return nil }, nil // its node is started where that is needed; or there is nothing of the log yet
	}
	limited, stop := context.WithTimeout(ctx, majorityWithin)
	defer stop()
	end, err = c.openEngine(limited)
	return c, end, err
}

// proveLast proves that a server is the only one of its cluster, and has all of its log.
func (l *Local) proveLast(ctx context.Context, c *cluster) (err error) {
	limited, stop := context.WithTimeout(ctx, majorityWithin)
	defer stop()
	if c.seat.Elsewhere {
		err = c.vacant(limited)
	} else {
		var end func() error
		if end, err = c.onlyNode(limited); end != nil {
			defer func() { err = errors.Join(err, end()) }()
		}
	}
	if err != nil {
		return err
	}
	if err := c.openJournal(limited); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.closeJournal()) }()
	if c.members, err = members.New(limited, c.journal, l.Clock); err != nil {
		return contact(err)
	}
	running, halt := context.WithCancel(limited)
	ran := make(chan error, 1)
	go func() { ran <- c.journal.Run(running) }()
	err = c.journal.Current(limited)
	halt()
	<-ran
	if err != nil {
		return err
	}
	if others, err := c.addresses(limited, c.seat.Name); err != nil {
		return err
	} else if len(others) > 0 {
		return stillThere(slices.Sorted(maps.Keys(others)))
	}
	if _, err := c.journal.Copy.(*sqlitelog.Log).Verify(ctx); err != nil {
		return contact(err)
	}
	return nil
}

func stillThere(others []string) error {
	return sluice.Errorf(sluice.Conflict, "the cluster has other servers, too: %s", strings.Join(others, ", ")).
		WithHint("start them, and remove the others: sluice server members remove NAME")
}

// onlyNode starts this server's node of etcd, and proves that there is no other.
func (c *cluster) onlyNode(ctx context.Context) (end func() error, err error) {
	if err := c.identify(); err != nil {
		return nil, err
	}
	if err := c.startNode(); err != nil {
		return nil, err
	}
	select {
	case <-c.node.Ready():
	case <-c.node.Stopped():
	case <-ctx.Done():
	}
	nodes, err := c.nodes(ctx)
	if err != nil {
		return c.node.Close, &sluice.Error{Code: sluice.Contact, Text: "it cannot be known whether this server has all of the log: no majority answers", Err: err,
			Hint: "start the others, and remove them: sluice server members remove NAME; or give them up: sluice server recover"}
	}
	if others := slices.DeleteFunc(nodes, func(m etcd.Member) bool { return m.Name == string(c.seat.Name) }); len(others) > 0 {
		return c.node.Close, stillThere(names(others))
	}
	return c.node.Close, nil
}

// vacant waits until nobody owns the log in an engine that is elsewhere: the term of a server that was killed ends by itself.
func (c *cluster) vacant(ctx context.Context) error {
	for {
		who, term, err := c.engine.Owner(ctx)
		switch {
		case err != nil:
			return err
		case term == 0:
			return nil
		case who.Name != string(c.seat.Name):
			return sluice.Errorf(sluice.Conflict, "the server %s, at %s, owns the log now", who.Name, who.Address).
				WithHint("remove it, and stop it: sluice server members remove %s", who.Name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(ownRetry):
		}
	}
}

// endElsewhere leaves nothing of the log in an engine that others run, which would be in the way of another cluster there.
func (l *Local) endElsewhere(ctx context.Context, c *cluster) (err error) {
	log, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: c.s.Data})
	if err != nil {
		return contact(err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return c.engine.End(ctx, func(h sluice.Head) (bool, error) {
		hash, ok, err := log.HashAt(ctx, h.Namespace, h.Seq)
		return ok && hash == h.Hash, err
	})
}

func names(members []etcd.Member) (out []string) {
	for _, m := range members {
		name := m.Name
		if name == "" {
			name = m.Address
		}
		out = append(out, name)
	}
	return out
}

// gaveUp reports whether a server has left the engine of its cluster already.
func gaveUp(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, etcdDir))
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	_, err = os.Stat(filepath.Join(dir, lostDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// giveUp has a server take no part in its cluster any more: its journal is no copy from then on. It is repeated without harm.
func giveUp(dir string) error {
	left, err := gaveUp(dir)
	if err == nil && !left {
		if err = os.RemoveAll(filepath.Join(dir, lostDir)); err == nil {
			err = os.Rename(filepath.Join(dir, etcdDir), filepath.Join(dir, lostDir))
		}
		if errors.Is(err, fs.ErrNotExist) { // the engine is elsewhere, or nothing was begun: the name alone says it
			err = os.Mkdir(filepath.Join(dir, lostDir), 0o700)
		}
		err = errors.Join(err, private.Sync(dir))
	}
	if err == nil {
		err = sqlitelog.Alone(dir)
	}
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	return nil
}

// forgetSeat makes the data those of a server that is alone.
func forgetSeat(dir string) error {
	err := os.Remove(filepath.Join(dir, seatName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, private.Sync(dir))
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
	if err := giveUp(dir); err != nil {
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
		return done, forgetSeat(dir)
	}
	at, err := etcdAt(s.Address)
	if err != nil {
		return done, err
	}
	return done, seat{Cluster: rand.Text(), Name: s.Name, Address: s.Address, Begins: true, Nodes: map[string]string{string(s.Name): at}}.keep(dir)
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
