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
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/dirblobs"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/app/doors"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
	"sluice/internal/run/copies"
	"sluice/internal/run/halts"
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
	servers    *authority.Servers
	member     *authority.Member
	files      authority.Files
	node       *etcd.Node
	engine     *etcd.Engine
	journal    *replica.Journal
	outlook    *outlook
	before     time.Time // when the copy was changed last before this server started
	members    *members.Keeper
	learned    *learned // nil: no host is reached from here
	neighbours neighbours
	// api answers requests while this server owns the log; nil: it does not.
	api    atomic.Pointer[owning]
	copies atomic.Pointer[copies.Copies] // of the life that the server is in
	guard  atomic.Pointer[lookout.Guard] // of the life that the server is in, or was in last
	abouts abouts
	voices voices
	early  atomic.Pointer[map[string]string] // those that let this server in, until it has the log
	// halts are those that this server was asked for while it had no majority; taking appends such, in the term in which this server owns
	// the log.
	halts         *halts.Keeper
	taking        atomic.Pointer[taking]
	unsettledSaid atomic.Pointer[string]
	care          *etcd.Care
	here          Stored              // what is kept here
	outputs       *diroutputs.Outputs // the same as in here
	caughtUp      atomic.Bool         // this server had all of the log, since it started
	begun         chan struct{}       // closed when the engine knows of the log that this server brought, if it did
	ready         bool                // this server goes by the log, and has heard which versions the others speak; of seek alone
	same          bool                // what this server's part of the engine keeps is what the others keep; of seek alone
	waits         atomic.Value        // a text: what this server waits for before it can own the log; "": nothing, or for the one who does
	stop          context.CancelCauseFunc
}

const (
	// resignWithin bounds how long the log is handed over when a server ends.
	resignWithin = 2 * time.Second
	// lifeRetry is waited where a life as the owner could not begin.
	lifeRetry = time.Second
	// ownRetry is waited before a server wants to own the log again.
	ownRetry = 200 * time.Millisecond
	etcdDir  = "etcd"
	// certificatesDir is where the files are that etcd reads.
	certificatesDir = "certificates"
)

// errTermOver ends the life of an owner.
var errTermOver = errors.New("this server does not own the log any more")

// Run serves as one of the servers of a cluster until ctx ends, or this server cannot take part any more.
func Run(ctx context.Context, s Server) (err error) {
	s.Doors.Stay = true
	defer s.Doors.Close()
	before := lastChange(s.Data, s.Clock())
	c := &cluster{s: s, outlook: newOutlook(before), before: before, begun: make(chan struct{})}
	c.neighbours.c = c
	defer c.neighbours.close()
	if err := c.enter(ctx); err != nil {
		return err
	}
	if len(c.seat.Others) > 0 {
		c.early.Store(&c.seat.Others)
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
	if c.members, err = members.New(ctx, c.journal, s.Clock); err != nil {
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
	c.care = c.newCare()
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
		case <-c.engineEnds():
			e := sluice.Errorf(sluice.Contact, "this server's part of the engine has ended").WithHint("was the server removed from the cluster? sluice server members says so, at another one")
			var why *sluice.Error
			if errors.As(c.node.Err(), &why) {
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
	all.Go(func() { c.care.Run(beside) })
	all.Go(func() { c.compare(beside) })
	all.Go(func() { c.prove(beside) })
	if c.learned != nil {
		all.Go(func() { c.learned.run(beside) })
	}
	all.Go(func() { c.outlook.run(beside, c.engine, c.s.Clock, c.tellCut) })
	all.Go(func() { c.offerHalts(beside) })
	all.Go(func() {
		c.member.Keep(beside, c.certificates(), func(err error) { c.s.Log.Error("this server cannot certify itself anew", "why", err) })
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

// identify has the server certify itself towards the others.
func (c *cluster) identify() (err error) {
	host, _, err := net.SplitHostPort(c.seat.Address)
	if err != nil {
		return err
	}
	if c.servers, err = authority.OpenServers(c.s.Data, c.s.Clock); err == nil {
		c.member, err = c.servers.Member(string(c.seat.Name), host)
	}
	if err == nil {
		c.files, err = c.member.Write(c.certificates())
	}
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the authority for servers", Err: err}
	}
	return nil
}

// certificates is where the files are that etcd reads.
func (c *cluster) certificates() string { return filepath.Join(c.s.Data, certificatesDir) }

// openEngine starts this server's part of the engine, or reaches the one that exists.
func (c *cluster) openEngine(ctx context.Context) (end func() error, err error) {
	if err := c.identify(); err != nil {
		return nil, err
	}
	if c.seat.Elsewhere != (len(c.s.Cluster.Engine.Endpoints) > 0) {
		if c.seat.Elsewhere {
			return nil, sluice.Errorf(sluice.Config, "this cluster has its engine in an etcd elsewhere").WithHint("--engine URL")
		}
		return nil, sluice.Errorf(sluice.Config, "the servers of this cluster make its engine up themselves").WithHint("without --engine")
	}
	if !c.seat.Elsewhere {
		return func() error { return c.node.Close() }, c.startNode()
	}
	client, err := etcd.Connect(ctx, c.s.Cluster.Engine)
	if err != nil {
		return nil, err
	}
	if c.engine, err = etcd.New(client, etcd.Config{Prefix: c.s.Cluster.Engine.Prefix, Shared: true}); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client.Close, nil
}

// engineEnds is closed when this server's part of the engine has ended; nil where it is elsewhere.
func (c *cluster) engineEnds() <-chan struct{} {
	if c.node == nil {
		return nil
	}
	return c.node.Stopped()
}

// nodes are the members of the engine that the servers make up; none where it is elsewhere.
func (c *cluster) nodes(ctx context.Context) ([]etcd.Member, error) {
	if c.node == nil {
		return nil, nil
	}
	return c.node.Members(ctx)
}

// startNode starts this server's node of etcd. One that has lost what it kept would give its vote a second time, for something else than
// before, and what a majority acknowledged could be lost.
func (c *cluster) startNode() (err error) {
	at, err := etcdAt(c.seat.Address)
	if err != nil {
		return err
	}
	if c.seat.Kept {
		if _, err := os.Stat(filepath.Join(c.s.Data, etcdDir, "member")); err != nil {
			return &sluice.Error{Code: sluice.Config, Text: "this server has lost what its part of the engine kept, and cannot take part as the one that it was", Err: err,
				Hint: "at another server: sluice server members replace " + string(c.seat.Name) + " NEW; then start NEW with an empty --data"}
		}
	}
	c.node, err = etcd.Begin(etcd.NodeConfig{Name: string(c.seat.Name), Dir: filepath.Join(c.s.Data, etcdDir), Listen: at, Advertise: at, Nodes: c.seat.Nodes,
		Joins: c.seat.Joins, Token: c.seat.Cluster, Certificate: c.files.Pair, Key: c.files.Pair, Authority: c.files.Authority, Common: authority.Members, Trouble: func(text string) { c.s.Log.Warn(text) }})
	if err != nil {
		return err
	}
	if !c.seat.Kept {
		c.seat.Kept = true
		if err := c.seat.Keep(c.s.Data); err != nil {
			return errors.Join(err, c.node.Close())
		}
	}
	c.engine, err = etcd.New(c.node.Client(), etcd.Config{})
	return err
}

func (c *cluster) openJournal(ctx context.Context) (err error) {
	c.journal, err = replica.New(replica.Config{Engine: c.engine, Missing: c.missing, Trouble: func(text string) { c.s.Log.Warn(text) }},
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
	if c.outputs, err = diroutputs.New(filepath.Join(c.s.Data, "outputs")); err != nil {
		return contact(err)
	}
	c.here.Outputs = c.outputs
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

// etcdAt is where a server's etcd is reached: at the port after the server's own.
func etcdAt(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || host == "" || n == 0 || n == 65535 {
		return "", sluice.Errorf(sluice.Usage, "%q is no address at which other servers reach this one", address).WithHint("HOST:PORT, such as 10.0.0.1:7659; the port after it is used, too")
	}
	return net.JoinHostPort(host, strconv.FormatUint(n+1, 10)), nil
}

// contact marks errors of the journal's files.
func contact(err error) error {
	if sluice.CodeOf(err) != "" {
		return err
	}
	return &sluice.Error{Code: sluice.Contact, Text: "cannot open the journal", Err: err}
}
