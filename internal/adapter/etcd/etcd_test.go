package etcd_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/etcd"
	"sluice/internal/lab/conform"
)

// cluster is an etcd of several nodes in this process.
type cluster struct {
	nodes []*etcd.Node
	cfgs  []etcd.NodeConfig
}

// freeAddress is one of the loopback that nobody listens on now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newCluster starts n nodes, and ends them with the test.
func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	return newClusterWith(t, n, func(*etcd.NodeConfig) {})
}

func newClusterWith(t testing.TB, n int, set func(*etcd.NodeConfig)) *cluster {
	t.Helper()
	c := &cluster{nodes: make([]*etcd.Node, n)}
	dir, all := t.TempDir(), map[string]string{}
	for i := range n {
		name, at := fmt.Sprintf("n%d", i+1), freeAddress(t)
		all[name] = at
		c.cfgs = append(c.cfgs, etcd.NodeConfig{Name: name, Dir: filepath.Join(dir, name), Listen: at, Advertise: at, Nodes: all, Token: "test"})
		set(&c.cfgs[i])
	}
	var starts sync.WaitGroup
	for i := range n {
		starts.Go(func() { c.start(t, i) })
	}
	starts.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stop(t, i)
		}
	})
	return c
}

func (c *cluster) start(t testing.TB, i int) {
	ctx, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	n, err := etcd.Start(ctx, c.cfgs[i])
	if err != nil {
		t.Errorf("node %d: %v", i+1, err)
		return
	}
	c.nodes[i] = n
}

func (c *cluster) stop(t testing.TB, i int) {
	if c.nodes[i] == nil {
		return
	}
	if err := c.nodes[i].Close(); err != nil {
		t.Errorf("node %d: %v", i+1, err)
	}
	c.nodes[i] = nil
}

// engine is that of one node.
func (c *cluster) engine(t testing.TB, i int, prefix string) *etcd.Engine {
	t.Helper()
	e, err := etcd.New(c.nodes[i].Client(), etcd.Config{Prefix: prefix, Lease: 5 * time.Second}) // the machine may have much to do
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEngine(t *testing.T) {
	c := newCluster(t, 3)
	n := 0
	conform.Engine(t, func(t *testing.T) (a, b sluice.Engine) {
		n++
		prefix := fmt.Sprintf("/test/%d/", n) // each has an empty one
		return c.engine(t, 0, prefix), c.engine(t, 1, prefix)
	})
}

// secure has a node show a certificate of an authority.
func secure(t testing.TB, a *authority.Servers, c *etcd.NodeConfig, hosts ...string) {
	t.Helper()
	m, err := a.Member(c.Name, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.Write(c.Dir + ".tls")
	if err != nil {
		t.Fatal(err)
	}
	c.Certificate, c.Key, c.Authority, c.Common = files.Pair, files.Pair, files.Authority, authority.Members
}

func servers(t testing.TB) *authority.Servers {
	t.Helper()
	a, err := authority.OpenServers(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestGrowing: one node becomes three, one of them is replaced, and the log goes on meanwhile. All they say goes through TLS.
func TestGrowing(t *testing.T) {
	ca, dir := servers(t), t.TempDir()
	config := func(name string) etcd.NodeConfig {
		at := freeAddress(t)
		cfg := etcd.NodeConfig{Name: name, Dir: filepath.Join(dir, name), Listen: at, Advertise: at, Nodes: map[string]string{name: at}, Token: "test"}
		secure(t, ca, &cfg, "127.0.0.1")
		return cfg
	}
	c := &cluster{nodes: make([]*etcd.Node, 4), cfgs: []etcd.NodeConfig{config("n1"), config("n2"), config("n3"), config("n4")}}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stop(t, i)
		}
	})
	c.start(t, 0)
	if t.Failed() {
		t.FailNow()
	}
	first := c.nodes[0]
	term, err := c.engine(t, 0, "").Own(t.Context(), sluice.Owner{Name: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	appending, stop := context.WithCancel(t.Context())
	done := make(chan uint64, 1)
	go func() {
		end := sluice.Head{Namespace: "prod"}
		for appending.Err() == nil {
			r := sluice.Record{Namespace: "prod", First: end.Seq + 1, Last: end.Seq + 1, Prev: end.Hash, Payload: []byte("x")}
			r.Hash = r.Sum()
			if err := term.Append(t.Context(), r); err != nil {
				t.Errorf("event %d: %v", r.Last, err)
				break
			}
			end = r.Head()
		}
		done <- end.Seq
	}()
	join := func(i int) {
		t.Helper()
		cfg := &c.cfgs[i]
		for range 2 { // whoever had no answer asks again
			if cfg.Nodes, err = first.Add(t.Context(), cfg.Name, cfg.Advertise); err != nil {
				t.Fatal(err)
			}
		}
		cfg.Joins = true
		c.start(t, i)
		if t.Failed() {
			t.FailNow()
		}
		if err := first.Promote(t.Context(), cfg.Name); err != nil {
			t.Fatal(err)
		}
	}
	join(1)
	if _, err := first.Add(t.Context(), "n2", freeAddress(t)); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("a second n2 was added: %v", err)
	}
	if _, err := first.Add(t.Context(), "n2", c.cfgs[1].Advertise); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("n2, which votes, was let begin again with nothing: %v", err)
	}
	join(2)
	c.stop(t, 2)
	members, err := first.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is out already
		if err := first.Remove(t.Context(), members[slices.IndexFunc(members, func(m etcd.Member) bool { return m.Name == "n3" })]); err != nil {
			t.Fatal(err)
		}
	}
	join(3)
	stop()
	n := <-done
	all, err := first.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
		if m.Learner {
			t.Errorf("%s is a learner", m.Name)
		}
	}
	if !slices.Equal(names, []string{"n1", "n2", "n4"}) {
		t.Errorf("the members are %v", names)
	}
	heads, err := c.engine(t, 3, "").Heads(t.Context())
	if err != nil || len(heads) != 1 || heads[0].Seq != n {
		t.Errorf("the new one has %v, want event %d: %v", heads, n, err)
	}
	if err := first.Promote(t.Context(), "nobody"); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("nobody was promoted: %v", err)
	}
	t.Logf("%d appends meanwhile", n)
	_ = term.Resign(context.WithoutCancel(t.Context()))
}
