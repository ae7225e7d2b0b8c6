package cluster

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/haltsdir"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app/private"
	"sluice/internal/run/members"
)

const (
	// lostDir is what the engine kept of a cluster that was given up.
	lostDir = "etcd.given-up"
	// majorityWithin bounds what a command waits for an engine that has one server alone.
	majorityWithin = 20 * time.Second
)

// MayLeave says why a server that does not run may not leave its cluster: it keeps halts that nobody else may know of.
func MayLeave(dir string) error {
	kept, err := haltsdir.Dir(filepath.Join(dir, haltsDir)).All()
	if err != nil || len(kept) > 0 {
		return errors.Join(sluice.Errorf(sluice.Conflict, "this server keeps halts that are not appended yet: %d", len(kept)).WithHint("start it as it was: it appends them when it owns the log"), err)
	}
	return nil
}

// Stopped is the part of a server in its cluster that does not run, while a command has a look at it.
type Stopped struct{ c *cluster }

// Look looks at a server of a cluster that does not run; end ends what it uses of the engine.
func Look(ctx context.Context, s Server, at Seat) (stopped Stopped, end func() error, err error) {
	c := newCluster(s)
	c.seat = at
	stopped = Stopped{c}
	if len(s.Cluster.Engine.Endpoints) == 0 && (!at.Elsewhere || at.Begins) {
		return stopped, func() error { return nil }, nil // its node is started where that is needed; or there is nothing of the log yet
	}
	limited, done := context.WithTimeout(ctx, majorityWithin)
	defer done()
	end, err = c.openEngine(limited)
	return stopped, end, err
}

// ProveLast proves that a server is the only one of its cluster, and has all of its log.
func (s Stopped) ProveLast(ctx context.Context) (err error) {
	c := s.c
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
	if c.neighbours.members, err = members.New(limited, c.journal, c.s.Clock); err != nil {
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
	if others, err := c.neighbours.addresses(limited, c.seat.Name); err != nil {
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
	case <-c.engine.node.Ready():
	case <-c.engine.node.Stopped():
	case <-ctx.Done():
	}
	nodes, err := c.engine.nodes(ctx)
	if err != nil {
		return c.engine.node.Close, &sluice.Error{Code: sluice.Contact, Text: "it cannot be known whether this server has all of the log: no majority answers", Err: err,
			Hint: "start the others, and remove them: sluice server members remove NAME; or give them up: sluice server recover"}
	}
	if others := slices.DeleteFunc(nodes, func(m etcd.Member) bool { return m.Name == string(c.seat.Name) }); len(others) > 0 {
		return c.engine.node.Close, stillThere(names(others))
	}
	return c.engine.node.Close, nil
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

// EndElsewhere leaves nothing of the log in an engine that others run, which would be in the way of another cluster there.
func (s Stopped) EndElsewhere(ctx context.Context) (err error) {
	c := s.c
	if c.engine.Engine == nil {
		return nil
	}
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

// ForgetLost forgets what the engine kept of a cluster that was given up.
func ForgetLost(dir string) error { return os.RemoveAll(filepath.Join(dir, lostDir)) }

// GaveUp reports whether a server has left the engine of its cluster already.
func GaveUp(dir string) (bool, error) {
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

// GiveUp has a server take no part in its cluster any more: its journal is no copy from then on. It is repeated without harm.
func GiveUp(dir string) error {
	left, err := GaveUp(dir)
	if err == nil && !left {
		if err = ForgetLost(dir); err == nil {
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
