package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
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
	"sluice/internal/core/member"
	"sluice/internal/run/control"
	"sluice/internal/run/copies"
	"sluice/internal/run/fold"
	"sluice/internal/run/members"
	"sluice/internal/run/replica"
	"sluice/internal/run/retain"
)

// Cluster says how a server takes part in a cluster; the zero value: it does not.
type Cluster struct {
	// Address is where the other servers reach this one, HOST:PORT. Its etcd is reached at the port after it.
	Address string
	// Name is that of this server. No two of a cluster have the same.
	Name sluice.ServerName
	// Token lets it into a cluster that is there already; it is needed once.
	Token sluice.Secret
	// Engine is an etcd that exists already; without endpoints the servers make one up.
	Engine etcd.ConnectConfig
}

// cluster is a server's part in one.
type cluster struct {
	s          *Server
	seat       seat
	servers    *authority.Servers
	member     *authority.Member
	files      authority.Files
	doors      *doors
	node       *etcd.Node
	engine     *etcd.Engine
	journal    *replica.Journal
	outlook    *outlook
	members    *members.Keeper
	neighbours neighbours
	// api answers requests while this server owns the log; nil: it does not.
	api     atomic.Pointer[http.Handler]
	copies  atomic.Pointer[copies.Copies] // of the life that the server is in
	abouts  abouts
	care    *etcd.Care
	here    stored              // what is kept here
	outputs *diroutputs.Outputs // the same as in here
	capable sync.Once           // it was said that this server can own the log
	begun   chan struct{}       // closed when the engine knows of the log that this server brought, if it did
}

const (
	// resignWithin bounds how long the log is handed over when a server ends.
	resignWithin = 2 * time.Second
	// ownRetry is waited before a server wants to own the log again.
	ownRetry = 200 * time.Millisecond
	etcdDir  = "etcd"
	// certificatesDir is where the files are that etcd reads.
	certificatesDir = "certificates"
)

// errTermOver ends the life of an owner.
var errTermOver = errors.New("this server does not own the log any more")

// among serves as one of the servers of a cluster.
func (s *Server) among(ctx context.Context, h *house) (err error) {
	h.doors.stay = true
	defer h.doors.close()
	c := &cluster{s: s, doors: h.doors, outlook: newOutlook(s.Clock()), begun: make(chan struct{})}
	c.neighbours.c = c
	defer c.neighbours.close()
	if err := c.enter(ctx); err != nil {
		return err
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
	if c.members, err = members.New(ctx, c.journal, s.Clock); err != nil {
		return contact(err)
	}
	if err := c.openStored(); err != nil {
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
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	all.Go(func() {
		select {
		case <-beside.Done():
		case <-c.engineEnds():
			e := sluice.Errorf(sluice.Contact, "this server's part of the engine has ended").WithHint("was the server removed from the cluster? sluice server members says so, at another one")
			e.Err = c.node.Err()
			stop(e)
		}
	})
	all.Go(func() {
		if err := peerwire.Serve(beside, door, c.wire()); err != nil {
			stop(fmt.Errorf("the other servers are not answered any more: %w", err))
		}
	})
	c.care = c.newCare()
	all.Go(func() { c.care.Run(beside) })
	all.Go(func() { c.outlook.run(beside, c.engine, s.Clock) })
	all.Go(func() {
		c.member.Keep(beside, c.certificates(), func(err error) { s.Log.Error("this server cannot certify itself anew", "why", err) })
	})
	all.Go(func() {
		err := c.beginLog(beside)
		if err == nil {
			err = c.journal.Run(beside)
		}
		if err != nil && beside.Err() == nil {
			s.Log.Error(err.Error()) // nothing is appended any more, and what is here can be read
		}
	})
	err = c.lives(ctx, h)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
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

func (c *cluster) startNode() (err error) {
	at, err := etcdAt(c.seat.Address)
	if err != nil {
		return err
	}
	c.node, err = etcd.Begin(etcd.NodeConfig{Name: string(c.seat.Name), Dir: filepath.Join(c.s.Data, etcdDir), Listen: at, Advertise: at, Nodes: c.seat.Nodes,
		Joins: c.seat.Joins, Token: c.seat.Cluster, Certificate: c.files.Pair, Key: c.files.Pair, Authority: c.files.Authority, Common: authority.Members, Trouble: func(text string) { c.s.Log.Warn(text) }})
	if err != nil {
		return err
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
	c.here.outputs = c.outputs
	if c.here.blobs, err = dirblobs.New(filepath.Join(c.s.Data, "blobs"), c.s.Clock()); err != nil {
		return contact(err)
	}
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

// lives has the server live as a copy and as the owner, in turn, until ctx ends.
func (c *cluster) lives(ctx context.Context, h *house) error {
	for ctx.Err() == nil {
		term, err := c.asCopy(ctx, h)
		if err != nil {
			return err
		}
		if term == nil {
			return nil
		}
		if err := c.asOwner(ctx, h, term); err != nil {
			return err
		}
	}
	return nil
}

// asCopy is a life without the log. It ends when the server owns it, and without a term when ctx ends.
func (c *cluster) asCopy(ctx context.Context, h *house) (sluice.Term, error) {
	life, stop := context.WithCancel(ctx)
	defer stop()
	var term sluice.Term
	var seeks sync.WaitGroup
	seeks.Go(func() {
		defer stop()
		term = c.seek(life)
	})
	err := c.s.live(life, h, c.journal, c.copyLife())
	stop()
	seeks.Wait()
	if term == nil || err == nil && ctx.Err() == nil {
		return term, err
	}
	c.resign(ctx, term)
	return nil, err
}

// seek returns when this server owns the log; nil when ctx ends. Only who has everything that there is may own it.
func (c *cluster) seek(ctx context.Context) sluice.Term {
	told := ""
	for ctx.Err() == nil {
		err := c.counts(ctx)
		if err == nil {
			err = c.current(ctx)
		}
		if err == nil {
			err = c.belongs(ctx)
		}
		if err == nil {
			c.capable.Do(func() { c.s.Log.Info("this server has all of the log, and can own it") })
			var term sluice.Term
			if term, err = c.engine.Own(ctx, sluice.Owner{Name: string(c.seat.Name), Address: c.seat.Address}); err == nil {
				return term
			}
		}
		if ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			c.s.Log.Warn("this server cannot own the log now", "why", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(ownRetry):
		}
	}
	return nil
}

// asOwner is a life in which the server owns the log. It is like the life of a server that is alone, and ends with the term.
func (c *cluster) asOwner(ctx context.Context, h *house, term sluice.Term) error {
	defer c.resign(ctx, term)
	life, stop := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop(nil)
	watch.Go(func() {
		select {
		case <-term.Over():
		case <-c.journal.Over():
		case <-life.Done():
		}
		stop(errTermOver)
	})
	c.journal.Own(term)
	defer c.journal.Disown()
	defer c.api.Store(nil)
	err := c.journal.Current(life)
	if err == nil {
		err = c.found(life)
	}
	if err == nil {
		c.outlook.see(sluice.Owner{Name: string(c.seat.Name), Address: c.seat.Address}, term.Number(), nil, c.s.Clock())
		c.s.Log.Info("this server owns the log", "term", term.Number())
		err = c.s.live(life, h, c.journal, c.ownerLife(term))
	}
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(life), errTermOver):
		return nil
	case context.Cause(life) != nil && ctx.Err() == nil: // another life follows, whatever the end of the term has made fail
		c.s.Log.Warn("this server does not own the log any more", "term", term.Number(), "why", err)
		return nil
	}
	return err
}

// found makes the first server of a cluster its first member.
func (c *cluster) found(ctx context.Context) error {
	all, err := c.members.All(ctx)
	if err != nil || slices.ContainsFunc(all, func(m member.Known) bool { return m.Joined }) {
		return err
	}
	return c.members.Found(ctx, c.seat.Name, c.seat.Address)
}

// resign hands the log over at once. A term that is over needs nothing more.
func (c *cluster) resign(ctx context.Context, term sluice.Term) {
	select {
	case <-term.Over():
		return
	default:
	}
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), resignWithin)
	defer done()
	if err := term.Resign(ctx); err != nil { // it ends by itself, a little later
		c.s.Log.Warn("the log is not handed over", "why", err)
	}
}

// counts says why this server may not own the log yet: one that has just joined is no part of a majority before it has what the others have.
func (c *cluster) counts(ctx context.Context) error {
	all, err := c.nodes(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Name == string(c.seat.Name) && m.Learner {
			return sluice.Errorf(sluice.Contact, "this server joins the cluster, and does not have yet what the others have")
		}
	}
	return nil
}

// belongs says that this server is no member any more, by a copy that has all of the log. The first one is none yet before it owns it.
func (c *cluster) belongs(ctx context.Context) error {
	all, err := c.members.All(ctx)
	if err != nil {
		return err
	}
	others := false
	for _, m := range all {
		if m.Joined && m.Name == c.seat.Name {
			return nil
		}
		others = others || m.Joined
	}
	if !others {
		return nil
	}
	return sluice.Errorf(sluice.Contact, "this server was removed from the cluster").WithHint("an empty --data and a token of sluice server members add let it in again")
}

func (c *cluster) copyLife() life {
	return life{inCluster: (*seats)(c), engine: c.engineSeen, stale: c.outlook.stale, answer: c.answerAsCopy, carry: c.carry, here: &c.here, beside: c.warm, ready: func(context.Context) error {
		switch v := c.outlook.now(); {
		case v.cut != nil:
			return v.cut
		case v.term == 0:
			return sluice.Errorf(sluice.Contact, "no server owns the log now")
		}
		return nil
	}}
}

// warmEvery is how often a copy looks whether its snapshots are near the end of the log.
const warmEvery = 5 * time.Second

// warm keeps this server ready to own the log: it then has little to read first.
func (c *cluster) warm(ctx context.Context) {
	w := fold.NewWarm(c.journal)
	for ctx.Err() == nil {
		heads, err := c.journal.Heads(ctx)
		if err == nil {
			err = w.Look(ctx, heads)
		}
		if err != nil && ctx.Err() == nil {
			c.s.Log.Warn("what this server would have to read first, to own the log, cannot be read", "why", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(warmEvery):
		}
	}
}

func (c *cluster) ownerLife(term sluice.Term) life {
	return life{owns: true, inCluster: (*seats)(c), engine: c.engineSeen, term: term.Number(), stillOwns: c.ownsIn(term.Number()), servers: c.abouts.workers, beside: c.tend, here: &c.here, around: c.around,
		answer: func(here http.Handler) answers {
			c.api.Store(&here)
			return func(w http.ResponseWriter, r *http.Request) bool { here.ServeHTTP(w, r); return true }
		}}
}

// ownsIn asks the engine whether a term goes on: a process that stood still does not know by itself.
func (c *cluster) ownsIn(term uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		who, now, err := c.engine.Owner(ctx)
		if err == nil && now != term {
			err = sluice.Errorf(sluice.Contact, "the server %s owns the log now", who.Name)
		}
		return err
	}
}

// around has what survives a server be kept by a majority of them.
func (c *cluster) around(service *control.Service) (end func()) {
	others := copies.New(copies.Config{Members: c.neighbours.peers, Size: c.neighbours.size, Blobs: c.here.blobs, Outputs: c.outputs, Log: c.journal,
		Needed: func(ctx context.Context) ([]string, []sluice.JobID, []sluice.JobID, error) {
			n, err := retain.Needed(ctx, retain.Config{Policy: c.s.Keep, Log: c.journal, Clock: c.s.Clock})
			return n.Blobs, n.Open, n.Over, err
		},
		Trouble: func(text string) { c.s.Log.Warn(text) }})
	service.Outputs = others.Outputs()
	service.Blobs = others.Blobs()
	c.copies.Store(others)
	return func() {
		c.copies.Store(nil)
		others.Close()
	}
}
