package etcd_test

import (
	"bytes"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"

	"sluice"
)

// startsWithin is less than a node waits for others at its start, if it waits for them.
const startsWithin = 5 * time.Second

// TestAllStartAtOnce: nodes that start at the same time do not wait for each other in vain, and what they keep is compared when they run. One
// whose database was changed meanwhile is found by the others' majority, and says so.
func TestAllStartAtOnce(t *testing.T) {
	c := newCluster(t, 3)
	if _, err := c.nodes[0].Client().Put(t.Context(), "key", "as it was written"); err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		if _, err := c.nodes[i].Client().Get(t.Context(), "key"); err != nil { // it has it then
			t.Fatal(err)
		}
	}
	stop := func() {
		for i := range c.nodes {
			c.stop(t, i)
		}
	}
	start := func(which ...int) time.Duration {
		began := time.Now()
		var all sync.WaitGroup
		for _, i := range which {
			all.Go(func() { c.start(t, i) })
		}
		all.Wait()
		if t.Failed() {
			t.FailNow()
		}
		return time.Since(began)
	}
	// same asks until it is known: a node may be behind for a moment.
	same := func(i int) (err error) {
		for began := time.Now(); time.Since(began) < startsWithin; {
			if err = c.nodes[i].Same(t.Context()); err == nil || sluice.IsLasting(err) {
				return err
			}
		}
		return err
	}
	ended := c.nodes[0]
	stop()
	if err := ended.Same(t.Context()); err == nil || sluice.IsLasting(err) {
		t.Errorf("of a node that has ended: %v", err)
	}
	if took := start(0, 1, 2); took > startsWithin {
		t.Errorf("the start took %v", took)
	}
	for i := range c.nodes {
		if err := same(i); err != nil {
			t.Errorf("node %d: %v", i+1, err)
		}
	}
	stop()
	flip(t, filepath.Join(c.cfgs[2].Dir, "member", "snap", "db"), "as it was written", "as it WAS written")
	start(0, 1, 2)
	for i := range c.nodes {
		if err := same(i); i < 2 && err != nil || i == 2 && (sluice.CodeOf(err) != sluice.Config || !sluice.IsLasting(err)) {
			t.Errorf("node %d, of which the third was changed: %v", i+1, err)
		}
	}
	stop()
	start(0, 2)
	for _, i := range []int{0, 2} {
		if err := c.nodes[i].Same(t.Context()); sluice.CodeOf(err) != sluice.Contact || sluice.IsLasting(err) {
			t.Errorf("node %d, where nobody can know which was changed: %v", i+1, err)
		}
	}
}

// flip changes a value in the database of a node that does not run.
func flip(t *testing.T, path, from, to string) {
	t.Helper()
	b := backend.NewDefaultBackend(zap.NewNop(), path)
	defer b.Close()
	tx := b.BatchTx()
	tx.LockOutsideApply()
	defer tx.Unlock()
	keys, values := tx.UnsafeRange(schema.Key, []byte{0}, []byte{255}, 0)
	done := false
	for i, v := range values {
		if j := bytes.Index(v, []byte(from)); j >= 0 {
			changed := append([]byte(nil), v...)
			copy(changed[j:], to)
			tx.UnsafePut(schema.Key, keys[i], changed)
			done = true
		}
	}
	if !done {
		t.Fatalf("there is no %q in %s", from, path)
	}
}
