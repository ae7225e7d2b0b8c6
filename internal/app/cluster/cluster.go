// Package cluster is a server's part in a cluster: its lives as a copy and as the owner of the log, joining, and what the servers say to each
// other.
//
// Becoming the owner is like the start of a server that is alone, and ceasing to be it like its end. So this package must not know what a
// server does in a life: it says of what kind the life is ([Life]) and has it lived ([Server.Live]).
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/adapter/dirblobs"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app/doors"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
	"sluice/internal/run/copies"
	"sluice/internal/run/lookout"
	"sluice/internal/run/members"
	"sluice/internal/run/replica"
	"sluice/internal/run/retain"
)

// Config says how a server takes part in a cluster; the zero value: it does not.
type Config struct {
	// Address is where the other servers reach this one, HOST:PORT. Its etcd is reached at the port after it.
	Address string
	// Name is that of this server. No two of a cluster have the same.
	Name sluice.ServerName
	// Token lets it into a cluster that is there already; it is needed once.
	Token sluice.Secret
	// Engine is an etcd that exists already; without endpoints the servers make one up.
	Engine etcd.ConnectConfig
}

// Server is the server that takes part, as far as that needs to know it.
type Server struct {
	// Cluster says how.
	Cluster Config
	// Data is the directory of everything that it keeps.
	Data    string
	Clock   sluice.Clock
	Log     *slog.Logger
	Version string
	// Keep says what is kept, of which some is on other servers, too.
	Keep retain.Policy
	// Doors and Front are where those come in who want something from it, whatever it is in its lives.
	Doors *doors.Doors
	Front *doors.Front
	// Live is one of its lives: it serves from a journal until ctx ends.
	Live func(ctx context.Context, journal lookout.Journal, as Life) error
	// Prove says who is at the other end of a connection.
	Prove func(ctx context.Context, state *tls.ConnectionState) (httpapi.Proof, error)
	// Learn makes the key of a host known here; nil: no host is reached from here.
	Learn func(ctx context.Context, k sluice.LearnedKey) error
	// Service is what acts on a log for people, beside a life.
	Service func(log sluice.Log) (*control.Service, error)
}

// cluster is a server's part in one.
type cluster struct {
	s          Server
	seat       Seat
	identity   identity
	engine     engine
	journal    *replica.Journal
	here       here
	outlook    *outlook
	neighbours neighbours
	abouts     abouts
	seeking    seeking
	present    present
	halts      kept
	learned    *learned // nil: no host is reached from here
	stop       context.CancelCauseFunc
}

func newCluster(s Server) *cluster {
	c := &cluster{s: s}
	c.neighbours.self, c.neighbours.identity, c.neighbours.log = s.Cluster.Name, &c.identity, s.Log
	return c
}

// here is what is kept on this machine beside the log.
type here struct {
	Stored
	outputs *diroutputs.Outputs // the same as in Stored
	before  time.Time           // when the copy of the log was changed last before this server started
}

// present is what this server has in the life that it is in.
type present struct {
	api    atomic.Pointer[owning]        // answers requests while this server owns the log; nil: it does not
	copies atomic.Pointer[copies.Copies] // nil: what is kept is here alone
	guard  atomic.Pointer[lookout.Guard] // of this life, or of the last one
}

const (
	// resignWithin bounds how long the log is handed over when a server ends.
	resignWithin = 2 * time.Second
	// lifeEnds is more than a life takes to end: requests, workers, and what looks on last.
	lifeEnds = 15 * time.Second
	// lifeRetry is waited where a life as the owner could not begin.
	lifeRetry = time.Second
	// ownRetry is waited before a server wants to own the log again.
	ownRetry = 200 * time.Millisecond
)

// errTermOver ends the life of an owner.
var errTermOver = errors.New("this server does not own the log any more")

// Run serves as one of the servers of a cluster until ctx ends, or this server cannot take part any more.
func Run(ctx context.Context, s Server) (err error) {
	s.Doors.Stay = true
	defer s.Doors.Close()
	before := lastChange(s.Data, s.Clock())
	c := newCluster(s)
	c.outlook, c.here.before, c.seeking.begun = newOutlook(before), before, make(chan struct{})
	defer c.neighbours.close()
	if err := c.enter(ctx); err != nil {
		return err
	}
	if len(c.seat.Others) > 0 {
		c.neighbours.early.Store(&c.seat.Others)
	}
	closeEngine, err := c.openEngine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeEngine()) }()
	if err := c.openJournal(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.closeJournal()) }()
	if err := c.openHalts(); err != nil {
		return err
	}
	if c.neighbours.members, err = members.New(ctx, c.journal, s.Clock); err != nil {
		return contact(err)
	}
	if err := c.openStored(); err != nil {
		return err
	}
	if err := c.openLearned(ctx); err != nil {
		return err
	}
	door, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.seat.Address)
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server cannot listen for the other servers", Err: err}
	}

	// What the lives need ends behind them: the last one answers until its end, also to other servers.
	beside, end := context.WithCancel(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.stop = stop
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	c.engine.care = c.newCare()
	c.begin(beside, &all, door, stop)
	err = c.lives(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// begin starts all that goes on beside the lives, until the context ends; stop ends the lives where they cannot go on without it.
func (c *cluster) begin(beside context.Context, all *sync.WaitGroup, door net.Listener, stop context.CancelCauseFunc) {
	all.Go(func() {
		select {
		case <-beside.Done():
		case <-c.engine.ends():
			e := sluice.Errorf(sluice.Contact, "this server's part of the engine has ended").WithHint("was the server removed from the cluster? sluice server members says so, at another one")
			var why *sluice.Error
			if errors.As(c.engine.node.Err(), &why) {
				e.Err, e.Hint = why, why.Hint
			}
			stop(e)
		}
	})
	all.Go(func() {
		if err := peerwire.Serve(beside, door, c.wire()); err != nil {
			stop(fmt.Errorf("the other servers are not answered any more: %w", err))
		}
	})
	all.Go(func() { c.engine.care.Run(beside) })
	all.Go(func() { c.compare(beside) })
	all.Go(func() { c.prove(beside) })
	if c.learned != nil {
		all.Go(func() { c.learned.run(beside) })
	}
	all.Go(func() { c.outlook.run(beside, c.engine.Engine, c.s.Clock, c.tellCut) })
	all.Go(func() { c.offerHalts(beside) })
	all.Go(func() {
		c.identity.member.Keep(beside, c.certificates(), func(err error) { c.s.Log.Error("this server cannot certify itself anew", "why", err) })
	})
	all.Go(func() {
		err := c.beginLog(beside)
		if err == nil {
			err = c.journal.Run(beside)
		}
		if err != nil && beside.Err() == nil {
			c.s.Log.Error(err.Error()) // nothing is appended any more, and what is here can be read
		}
	})
}

// tellCut has people know that this server can do nothing by itself, or can again.
func (c *cluster) tellCut(cut error) {
	if cut == nil {
		c.s.Log.Info("this server has contact with a majority of the servers")
		return
	}
	c.s.Log.Warn("this server has no contact with a majority of the servers: nothing can be changed here, and what it answers may be old", "why", cut)
}

// lastChange is when something was kept last of what the copy in a directory has: what it says was so then.
func lastChange(data string, now time.Time) time.Time {
	at := time.Time{}
	for _, name := range []string{"journal.db", "journal.db-wal"} {
		if f, err := os.Stat(filepath.Join(data, name)); err == nil && f.ModTime().After(at) {
			at = f.ModTime()
		}
	}
	if at.IsZero() || at.After(now) {
		return now
	}
	return at
}

func (c *cluster) openJournal(ctx context.Context) (err error) {
	c.journal, err = replica.New(replica.Config{Engine: c.engine.Engine, Missing: c.missing, Trouble: func(text string) { c.s.Log.Warn(text) }},
		func(first func(context.Context, sluice.Record) error) (replica.Copy, error) {
			return sqlitelog.Open(ctx, sqlitelog.Config{Dir: c.s.Data, First: first})
		})
	if err != nil {
		return contact(err)
	}
	return nil
}

// openStored opens what is kept here, for this server and for the others.
func (c *cluster) openStored() (err error) {
	if c.here.outputs, err = diroutputs.New(filepath.Join(c.s.Data, "outputs")); err != nil {
		return contact(err)
	}
	c.here.Outputs = c.here.outputs
	if c.here.Blobs, err = dirblobs.New(filepath.Join(c.s.Data, "blobs"), c.s.Clock()); err != nil {
		return contact(err)
	}
	return nil
}

// openLearned begins where this server left off to learn keys of hosts, which may be more than is left of the log.
func (c *cluster) openLearned(ctx context.Context) error {
	if c.s.Learn == nil {
		return nil
	}
	heads, err := c.journal.Heads(ctx) // before more comes
	if err != nil {
		return contact(err)
	}
	if c.learned, err = newLearned(c.s.Data, c.journal, c.s.Learn, func(text string) { c.s.Log.Error(text) }); err != nil {
		return err
	}
	c.learned.upTo(heads)
	return nil
}

func (c *cluster) closeJournal() error { return c.journal.Copy.(*sqlitelog.Log).Close() }

// contact marks errors of the journal's files.
func contact(err error) error {
	if sluice.CodeOf(err) != "" {
		return err
	}
	return &sluice.Error{Code: sluice.Contact, Text: "cannot open the journal", Err: err}
}
