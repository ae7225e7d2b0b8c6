package replica_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/conform"
	"sluice/internal/run/replica"
)

// nodes are an etcd of three nodes in this process.
type nodes struct {
	t    testing.TB
	cfgs []etcd.NodeConfig
	mu   sync.Mutex
	up   []*etcd.Node
}

func threeNodes(t testing.TB) *nodes {
	t.Helper()
	n := &nodes{t: t, up: make([]*etcd.Node, 3)}
	dir, all := t.TempDir(), map[string]string{}
	for i := range n.up {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		name, at := fmt.Sprintf("n%d", i), l.Addr().String()
		defer l.Close() // all at once, so that each is another one
		all[name] = at
		n.cfgs = append(n.cfgs, etcd.NodeConfig{Name: name, Dir: filepath.Join(dir, name), Listen: at, Advertise: at, Nodes: all, Token: "test"})
	}
	t.Cleanup(func() {
		for i := range n.up {
			n.kill(i)
		}
	})
	return n
}

// start starts all nodes.
func (n *nodes) start() {
	n.t.Helper()
	var all sync.WaitGroup
	for i := range n.up {
		all.Go(func() { n.revive(i) })
	}
	all.Wait()
	if n.t.Failed() {
		n.t.FailNow()
	}
}

func (n *nodes) revive(i int) {
	ctx, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	node, err := etcd.Start(ctx, n.cfgs[i])
	if err != nil {
		n.t.Errorf("node %d: %v", i, err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up[i] = node
}

func (n *nodes) kill(i int) {
	n.mu.Lock()
	node := n.up[i]
	n.up[i] = nil
	n.mu.Unlock()
	if node != nil {
		_ = node.Close()
	}
}

func (n *nodes) engine(i int, prefix string) *etcd.Engine {
	n.t.Helper()
	return n.patient(i, prefix, 0)
}

// patient is an engine with a lease of its own, for a machine that may have much to do.
func (n *nodes) patient(i int, prefix string, lease time.Duration) *etcd.Engine {
	n.t.Helper()
	e, err := etcd.New(n.up[i].Client(), etcd.Config{Prefix: prefix, Lease: lease})
	if err != nil {
		n.t.Fatal(err)
	}
	return e
}

func cluster(t testing.TB) *nodes {
	t.Helper()
	n := threeNodes(t)
	n.start()
	return n
}

// TestLogOnEtcd: the contract of every log, on the real thing.
func TestLogOnEtcd(t *testing.T) {
	n, i := cluster(t), 0
	conform.Log(t, func(t *testing.T) sluice.Log {
		i++
		e := n.patient(i%3, fmt.Sprintf("/test/%d/", i), 20*time.Second)
		s, term := owning(t, e, t.TempDir())
		t.Cleanup(func() { _ = term.Resign(context.WithoutCancel(t.Context())) })
		return s
	})
}

// TestNodesGoAway: nodes of etcd end and come back, one at a time, while a server appends on another one. What was acknowledged is
// there, once, in every copy.
func TestNodesGoAway(t *testing.T) {
	n := cluster(t)
	a, _ := owning(t, n.engine(0, ""), t.TempDir())
	b := open(t, n.engine(1, ""), t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	var going sync.WaitGroup
	going.Go(func() {
		for round := 0; ctx.Err() == nil && round < 4; round++ {
			i := 1 + round%2
			if i == 1 { // b reads there
				i = 2
			}
			n.kill(i)
			n.revive(i)
		}
		stop()
	})
	o := &told{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for i := 0; ctx.Err() == nil; i++ {
		host := fmt.Sprint("h", i)
		if _, err := hold(a, host); err == nil {
			o.acknowledged[host] = true
		} else {
			o.doubtful[host] = true
			t.Logf("%s: %v", host, err)
		}
	}
	going.Wait()
	last := fmt.Sprint("h", "last")
	holds(t, a, last)
	o.acknowledged[last] = true
	heads, err := a.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*server{a, b, open(t, n.engine(2, ""), t.TempDir())} {
		o.check(s, heads[0].Seq)
	}
	t.Logf("%d acknowledged, %d doubtful", len(o.acknowledged), len(o.doubtful))
}

// leader says which node the others go by.
func (n *nodes) leader() int {
	n.t.Helper()
	ctx, done := context.WithTimeout(n.t.Context(), time.Minute)
	defer done()
	for {
		for _, node := range n.up {
			if node == nil {
				continue
			}
			all, err := node.Members(ctx)
			if err != nil {
				n.t.Fatal(err)
			}
			for i, m := range all { // by name
				if m.Leader {
					return i
				}
			}
		}
		select {
		case <-ctx.Done():
			n.t.Fatal("nobody leads")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// told is what became of appends, by host.
type told struct {
	acknowledged, refused, doubtful map[string]bool
}

// appends appends until ctx ends, and hears on came of what was acknowledged. A term that is over is begun anew.
func (o *told) appends(ctx context.Context, s *server, name string, own func(context.Context) error, came chan<- struct{}) error {
	for i := 0; ctx.Err() == nil; i++ {
		host := fmt.Sprint(name, "-", i)
		_, err := hold(s, host)
		switch {
		case err == nil:
			o.acknowledged[host] = true
			select {
			case came <- struct{}{}:
			default:
			}
		case errors.Is(err, replica.NotOwner):
			o.refused[host] = true
			if err := own(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		default:
			o.doubtful[host] = true
			s.t.Logf("%s: %v", host, err)
		}
	}
	return nil
}

// TestLeadersGoAway: the node that the others go by ends, the server that owns the log ends with its node, or both are one. The log goes on;
// what was acknowledged is in every copy, once, and what was refused is in none.
func TestLeadersGoAway(t *testing.T) {
	n := cluster(t)
	o := &told{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	dirs, servers, terms := []string{t.TempDir(), t.TempDir(), t.TempDir()}, make([]*server, 3), make([]sluice.Term, 3)
	for i := range servers {
		servers[i] = open(t, n.engine(i, ""), dirs[i])
	}
	owns := func(ctx context.Context, i int) error {
		ctx, done := context.WithTimeout(ctx, time.Minute)
		defer done()
		term, err := n.engine(i, "").Own(ctx, sluice.Owner{Name: fmt.Sprint("n", i)})
		if err == nil {
			terms[i] = term
			servers[i].Own(term)
		}
		return err
	}
	waits := func(came <-chan struct{}) {
		t.Helper()
		for range 3 { // the first ones may have been on their way
			select {
			case <-came:
			case <-time.After(time.Minute):
				t.Fatal("nothing is appended any more")
			}
		}
	}
	// runs has a server append until what is done meanwhile has been done.
	runs := func(owner int, name string, meanwhile func(came <-chan struct{})) {
		t.Helper()
		if err := owns(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		came, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- o.appends(ctx, servers[owner], name, func(ctx context.Context) error { return owns(ctx, owner) }, came)
		}()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		waits(came)
		meanwhile(came)
	}
	for round, kind := range []string{"leader", "leader and owner", "owner", "leader and owner", "leader"} {
		leader := n.leader()
		owner := leader
		if kind != "leader and owner" {
			owner = (leader + 1) % 3
		}
		ends, next := leader, owner
		if kind == "owner" {
			ends = owner
		}
		var killed time.Time
		runs(owner, fmt.Sprint("r", round), func(came <-chan struct{}) {
			killed = time.Now()
			n.kill(ends)
			if ends != owner {
				waits(came)
			}
		})
		if ends == owner {
			next = (owner + 1) % 3
			runs(next, fmt.Sprint("next", round), func(<-chan struct{}) {})
		}
		t.Logf("%s ended: it goes on after %v", kind, time.Since(killed).Round(10*time.Millisecond))
		servers[ends].stop()
		n.revive(ends)
		servers[ends] = open(t, n.engine(ends, ""), dirs[ends])
		if err := terms[next].Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	heads, err := n.engine(0, "").Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(servers, open(t, n.engine(2, ""), t.TempDir())) {
		o.check(s, heads[0].Seq)
	}
	t.Logf("%d acknowledged, %d doubtful, %d refused", len(o.acknowledged), len(o.doubtful), len(o.refused))
}

// check compares what was said with what a copy has.
func (o *told) check(s *server, last uint64) {
	s.t.Helper()
	ctx, done := context.WithTimeout(s.t.Context(), time.Minute)
	defer done()
	if err := s.Wait(ctx, prod, last-1); err != nil {
		s.t.Fatal(err)
	}
	events, err := s.Read(ctx, prod, 0, 1<<20)
	if err != nil {
		s.t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range events {
		seen[string(e.Body.(sluice.HostHeld).Host)]++
	}
	for host := range o.acknowledged {
		if seen[host] != 1 {
			s.t.Errorf("%s was acknowledged, and is there %d times", host, seen[host])
		}
	}
	for host, n := range seen {
		if n > 1 || !o.acknowledged[host] && !o.doubtful[host] {
			s.t.Errorf("%s is there %d times", host, n)
		}
	}
	for host := range o.refused {
		if seen[host] != 0 {
			s.t.Errorf("%s was refused, and is there", host)
		}
	}
}

// BenchmarkAppend is one event at a time, and hundreds in a record, on three nodes and three copies on this machine; a single server's journal
// takes the same in turn, so that both see the same disk.
func BenchmarkAppend(b *testing.B) {
	n := cluster(b)
	for _, events := range []int{1, 100, 300, 1000} {
		b.Run(fmt.Sprint(events), func(b *testing.B) {
			prefix := fmt.Sprintf("/bench/%d/%d/", events, b.N)
			a, term := owning(b, n.engine(0, prefix), b.TempDir())
			defer func() { _ = term.Resign(context.Background()) }()
			others := []*server{open(b, n.engine(1, prefix), b.TempDir()), open(b, n.engine(2, prefix), b.TempDir())}
			single, err := sqlitelog.Open(b.Context(), sqlitelog.Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer single.Close()
			batch := make([]sluice.Event, events)
			for i := range batch {
				batch[i] = sluice.Event{Time: time.Unix(1e9, 0).UTC(), Job: "aaaa00000000", Body: sluice.TaskFinished{Host: sluice.Host(fmt.Sprintf("web%04d.example.com", i)),
					Attempt: "aaaa00000000-0-1", Outcome: sluice.Succeeded, DurationMS: 1234, Reason: strings.Repeat("x", 60)}}
			}
			appends := func(to sluice.Log, seq *uint64, took *[]time.Duration) {
				began := time.Now()
				var err error
				if *seq, err = to.Update(b.Context(), prod, *seq, func([]sluice.Event) ([]sluice.Event, error) { return batch, nil }); err != nil {
					b.Fatal(err)
				}
				*took = append(*took, time.Since(began))
			}
			var shared, alone []time.Duration
			var seq, seqAlone uint64
			for b.Loop() {
				appends(a, &seq, &shared)
				appends(single, &seqAlone, &alone)
			}
			began := time.Now()
			for _, s := range others { // they keep up
				if err := s.Wait(b.Context(), prod, seq-1); err != nil {
					b.Fatal(err)
				}
			}
			lag := time.Since(began)
			ms := func(all []time.Duration, percent int) float64 {
				return float64(all[len(all)*percent/100].Microseconds()) / 1000
			}
			perSecond := func(all []time.Duration, more time.Duration) float64 {
				for _, d := range all {
					more += d
				}
				return float64(events*len(all)) / more.Seconds()
			}
			many, manyAlone := perSecond(shared, lag), perSecond(alone, 0)
			slices.Sort(shared)
			slices.Sort(alone)
			b.ReportMetric(ms(shared, 50), "p50-ms")
			b.ReportMetric(ms(shared, 99), "p99-ms")
			b.ReportMetric(many, "events/s")
			b.ReportMetric(ms(alone, 50), "single-p50-ms")
			b.ReportMetric(ms(alone, 99), "single-p99-ms")
			b.ReportMetric(manyAlone, "single-events/s")
			b.ReportMetric(ms(shared, 50)/ms(alone, 50), "p50-ratio")
			b.ReportMetric(manyAlone/many, "throughput-ratio")
		})
	}
}
