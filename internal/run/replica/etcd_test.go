package replica_test

import (
	"context"
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
	"sluice/internal/lab/conform"
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
	e, err := etcd.New(n.up[i].Client(), etcd.Config{Prefix: prefix})
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
		e := n.engine(i%3, fmt.Sprintf("/test/%d/", i))
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
	acknowledged, doubtful := map[string]bool{}, map[string]bool{}
	for i := 0; ctx.Err() == nil; i++ {
		host := fmt.Sprint("h", i)
		if _, err := hold(a, host); err == nil {
			acknowledged[host] = true
		} else {
			doubtful[host] = true
			t.Logf("%s: %v", host, err)
		}
	}
	going.Wait()
	last := fmt.Sprint("h", "last")
	holds(t, a, last)
	acknowledged[last] = true
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	heads, err := a.Heads(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*server{a, b, open(t, n.engine(2, ""), t.TempDir())} {
		if err := s.Wait(ctx, prod, heads[0].Seq-1); err != nil {
			t.Fatal(err)
		}
		events, err := s.Read(ctx, prod, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, e := range events {
			seen[string(e.Body.(sluice.HostHeld).Host)]++
		}
		for host := range acknowledged {
			if seen[host] != 1 {
				t.Errorf("%s was acknowledged, and is there %d times", host, seen[host])
			}
		}
		for host, n := range seen {
			if n > 1 || !acknowledged[host] && !doubtful[host] {
				t.Errorf("%s is there %d times", host, n)
			}
		}
	}
	t.Logf("%d acknowledged, %d doubtful", len(acknowledged), len(doubtful))
}

// BenchmarkAppend is one event at a time, and hundreds in a record, on three nodes and three copies on this machine.
func BenchmarkAppend(b *testing.B) {
	n := cluster(b)
	for _, events := range []int{1, 100, 300} {
		b.Run(fmt.Sprint(events), func(b *testing.B) {
			prefix := fmt.Sprintf("/bench/%d/%d/", events, b.N)
			a, term := owning(b, n.engine(0, prefix), b.TempDir())
			defer func() { _ = term.Resign(context.Background()) }()
			others := []*server{open(b, n.engine(1, prefix), b.TempDir()), open(b, n.engine(2, prefix), b.TempDir())}
			batch := make([]sluice.Event, events)
			for i := range batch {
				batch[i] = sluice.Event{Time: time.Unix(1e9, 0).UTC(), Job: "aaaa00000000", Body: sluice.TaskFinished{Host: sluice.Host(fmt.Sprintf("web%04d.example.com", i)),
					Attempt: "aaaa00000000-0-1", Outcome: sluice.Succeeded, DurationMS: 1234, Reason: strings.Repeat("x", 60)}}
			}
			var took []time.Duration
			seq := uint64(0)
			for b.Loop() {
				began := time.Now()
				var err error
				if seq, err = a.Update(b.Context(), prod, seq, func([]sluice.Event) ([]sluice.Event, error) { return batch, nil }); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			for _, s := range others { // they keep up
				if err := s.Wait(b.Context(), prod, seq-1); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
