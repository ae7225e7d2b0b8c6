package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
	"sluice/internal/adapter/etcd"
)

// crew are servers that look after a cluster.
type crew struct {
	t     testing.TB
	c     *cluster
	cares []*etcd.Care

	mu      sync.Mutex
	owner   int // -1: nobody
	copies  map[string][]sluice.Head
	trouble []string
	heard   chan struct{} // something was told
}

// cares has each node of a cluster looked after, until the end of the test.
func (c *cluster) cares(t testing.TB, set func(*etcd.CareConfig)) *crew {
	t.Helper()
	w := &crew{t: t, c: c, owner: -1, copies: map[string][]sluice.Head{}, heard: make(chan struct{}, 100)}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i, n := range c.nodes {
		if n == nil {
			continue
		}
		w.copies[c.cfgs[i].Name] = nil
		cfg := etcd.CareConfig{Engine: c.engine(t, i, ""), Node: n, Every: 20 * time.Millisecond,
			Owns: func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.owner == i
			},
			Copies: func(context.Context) (map[string][]sluice.Head, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				out := map[string][]sluice.Head{}
				for name, heads := range w.copies {
					out[name] = heads
				}
				return out, nil
			},
			Trouble: func(text string) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.trouble = append(w.trouble, text)
				select {
				case w.heard <- struct{}{}:
				default:
				}
			}}
		if set != nil {
			set(&cfg)
		}
		care := etcd.NewCare(cfg)
		w.cares = append(w.cares, care)
		all.Go(func() { care.Run(ctx) })
	}
	t.Cleanup(func() {
		stop()
		all.Wait()
	})
	return w
}

func (w *crew) owns(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owner = i
}

// has says how far copies are.
func (w *crew) has(end sluice.Head, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		w.copies[name] = []sluice.Head{end}
	}
}

func (w *crew) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.trouble, "\n")
}

// hears waits until something was told that has a text in it.
func (w *crew) hears(text string) {
	w.t.Helper()
	limit := time.After(time.Minute)
	for !strings.Contains(w.told(), text) {
		select {
		case <-w.heard:
		case <-limit:
			w.t.Fatalf("nothing is told of %q: %s", text, w.told())
		}
	}
}

// until waits for something that nobody tells of.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for !is() {
		select {
		case <-limit:
			t.Fatal("it does not come: " + what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// noise is a record that cannot be compressed.
func noise(end sluice.Head, size int) sluice.Record {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(end.Seq), byte(end.Seq >> 8), byte(end.Seq >> 16)}).Read(b)
	return event("prod", end, 1, string(b))
}

func alarms(t testing.TB, n *etcd.Node) []*etcdserverpb.AlarmMember {
	t.Helper()
	got, err := n.Client().AlarmList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got.Alarms
}

func sizeOf(t testing.TB, n *etcd.Node) *clientv3.StatusResponse {
	t.Helper()
	got, err := n.Client().Status(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const small = 16 << 20

func quota(bytes int64) func(*etcd.NodeConfig) {
	return func(c *etcd.NodeConfig) { c.Quota = bytes }
}

// TestCareKeepsClear: many times what fits goes through a cluster that is looked after, and nothing is refused. A copy that is away for a moment
// gets what it lacks.
func TestCareKeepsClear(t *testing.T) {
	c := newClusterWith(t, 3, quota(small))
	w := c.cares(t, nil)
	term := own(t, c.engine(t, 0, ""), "a")
	w.owns(0)
	var end, away sluice.Head
	for i := range 1000 {
		end = put(t, term, noise(end, 40<<10))
		w.has(end, "n1", "n2")
		if i%100 == 0 {
			away = end // it comes late each time
			w.has(end, "n3")
		}
	}
	for i, n := range c.nodes {
		if s := sizeOf(t, n); s.DbSize >= small*9/10 || len(s.Errors) > 0 {
			t.Errorf("node %d has %d MiB: %v", i+1, s.DbSize>>20, s.Errors)
		}
	}
	last := away
	err := c.engine(t, 2, "").Follow(t.Context(), map[sluice.Namespace]uint64{"prod": away.Seq}, func(all []sluice.Record) error {
		for _, r := range all {
			if r.Prev != last.Hash {
				t.Errorf("event %d does not continue event %d", r.First, last.Seq)
			}
			last = r.Head()
		}
		if last == end {
			return errLine
		}
		return nil
	})
	if !errors.Is(err, errLine) {
		t.Errorf("the one that was away, after event %d: %v", away.Seq, err)
	}
	if text := w.told(); text != "" {
		t.Error(text)
	}
	until(t, "how far they are", func() bool {
		n := w.cares[0].Numbers()
		return n.Behind["n3"] == end.Seq-away.Seq && n.Behind["n1"] == 0
	})
	if n := w.cares[0].Numbers(); n.Trims == 0 || n.Quota != small || n.Size == 0 || n.InUse == 0 || n.Sync.Count == 0 || n.Commit.Count == 0 {
		t.Errorf("its numbers are %+v", n)
	}
}

// TestCareForgetsWhatAMajorityHas, when one is away for long; it is not waited for until the cluster is full.
func TestCareForgetsWhatAMajorityHas(t *testing.T) {
	c := newClusterWith(t, 1, quota(small))
	w := c.cares(t, nil)
	term := own(t, c.engine(t, 0, ""), "a")
	w.owns(0)
	w.has(sluice.Head{}, "n1", "n2")
	w.mu.Lock()
	w.copies["n3"] = nil
	w.mu.Unlock()
	var end sluice.Head
	for range 1000 {
		end = put(t, term, noise(end, 40<<10))
		w.has(end, "n1", "n2")
	}
	if n := w.cares[0].Numbers(); !slices.Equal(n.Unknown, []string{"n3"}) {
		t.Errorf("its numbers are %+v", n)
	}
}

// TestCareKeepsAReserve: what can be forgotten nowhere fills no cluster: appends are refused before leases are, and go on when the copies have
// what they lack.
func TestCareKeepsAReserve(t *testing.T) {
	c := newClusterWith(t, 1, quota(small))
	e := c.engine(t, 0, "")
	w := c.cares(t, func(cfg *etcd.CareConfig) { cfg.Engine = e })
	term := own(t, e, "a")
	w.owns(0)
	w.has(sluice.Head{}, "n1", "n2", "n3")
	var end sluice.Head
	var err error
	for n := 0; err == nil; n++ {
		if n > 2000 {
			t.Fatal("it is never full")
		}
		r := noise(end, 20<<10)
		if err = term.Append(t.Context(), r); err == nil {
			end = r.Head()
		}
	}
	if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "almost full") {
		t.Errorf("it ended with %v", err)
	}
	w.hears("almost full")
	if a := alarms(t, c.nodes[0]); len(a) > 0 {
		t.Errorf("there are alarms: %v", a)
	}
	own(t, c.engine(t, 0, "/other/"), "b") // leases are still given
	if heads, err := e.Heads(t.Context()); err != nil || heads[0] != end {
		t.Errorf("it ends with %v, want %v: %v", heads, end, err)
	}
	w.has(end, "n1", "n2")
	until(t, "an append", func() bool { return term.Append(t.Context(), noise(end, 20<<10)) == nil })
}

// TestAFullClusterRecovers by itself, also where nobody can own the log, and loses nothing.
func TestAFullClusterRecovers(t *testing.T) {
	for _, owned := range []bool{true, false} {
		t.Run(fmt.Sprint("owned ", owned), func(t *testing.T) {
			c := newClusterWith(t, 3, quota(small))
			e := c.engine(t, 0, "")
			term := own(t, e, "a")
			var end sluice.Head
			var err error
			for err == nil {
				r := noise(end, 200<<10)
				if err = term.Append(t.Context(), r); err == nil {
					end = r.Head()
				}
			}
			if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "is full") {
				t.Errorf("it ended with %v", err)
			}
			// A follower has them all, and the one that ended so, if it is there.
			after, chain := uint64(0), sluice.Head{}
			heads, err := e.Heads(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last := heads[0]
			err = c.engine(t, 1, "").Follow(t.Context(), nil, func(all []sluice.Record) error {
				for _, r := range all {
					if r.Prev != chain.Hash || r.First != after+1 {
						t.Errorf("event %d does not continue event %d", r.First, after)
					}
					after, chain = r.Last, r.Head()
				}
				if chain == last {
					return errLine
				}
				return nil
			})
			if !errors.Is(err, errLine) || after < end.Seq {
				t.Errorf("of %d events there are %d: %v", end.Seq, after, err)
			}
			if len(alarms(t, c.nodes[0])) == 0 {
				t.Fatal("there is no alarm")
			}
			if !owned {
				if err := term.Resign(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := c.engine(t, 1, "").Own(t.Context(), sluice.Owner{Name: "b"}); err == nil || !strings.Contains(err.Error(), "is full") {
					t.Errorf("becoming the owner of a full cluster ended with %v", err)
				}
			}
			began := time.Now()
			w := c.cares(t, nil)
			owner := e
			if owned {
				w.owns(0)
			}
			w.has(last, "n1", "n2", "n3")
			if !owned {
				owner = c.engine(t, 1, "")
				until(t, "an owner", func() bool {
					var err error
					term, err = owner.Own(t.Context(), sluice.Owner{Name: "b"})
					return err == nil
				})
				w.owns(1)
			}
			for range 120 { // more than there is room for
				until(t, "an append", func() bool {
					r := noise(last, 200<<10)
					if term.Append(t.Context(), r) == nil {
						last = r.Head()
						return true
					}
					select {
					case <-term.Over(): // a busy machine: the lease could not be renewed in time
						if again, err := owner.Own(t.Context(), sluice.Owner{Name: "again"}); err == nil {
							term = again
						}
					default:
					}
					if heads, err := e.Heads(t.Context()); err == nil {
						last = heads[0] // it may have been carried out all the same
					}
					return false
				})
				w.has(last, "n1", "n2", "n3")
			}
			t.Logf("24 MiB after %v; %s", time.Since(began).Round(time.Millisecond), w.told())
			until(t, "the end of the alarms", func() bool { return len(alarms(t, c.nodes[0])) == 0 })
			if heads, err := e.Heads(t.Context()); err != nil || heads[0] != last {
				t.Errorf("it ends with %v, want %v: %v", heads, last, err)
			}
		})
	}
}

// TestCareDefragments: what is free is given back; only one does it at a time.
func TestCareDefragments(t *testing.T) {
	c := newCluster(t, 1)
	e, node := c.engine(t, 0, ""), c.nodes[0]
	term := own(t, e, "a")
	var end sluice.Head
	for range 200 {
		end = put(t, term, noise(end, 100<<10))
	}
	if err := e.Trim(t.Context(), []sluice.Head{end}); err != nil {
		t.Fatal(err)
	}
	full := sizeOf(t, node).DbSize
	lease, err := node.Client().Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Client().Put(t.Context(), "/sluice/defrag", "", clientv3.WithLease(lease.ID)); err != nil { // another one does
		t.Fatal(err)
	}
	looks := make(chan struct{})
	w := c.cares(t, func(cfg *etcd.CareConfig) {
		cfg.Begin = 1 << 20
		copies := cfg.Copies
		cfg.Copies = func(ctx context.Context) (map[string][]sluice.Head, error) {
			select {
			case looks <- struct{}{}:
			case <-ctx.Done():
			}
			return copies(ctx)
		}
	})
	for range 6 { // it would have been due after two
		<-looks
	}
	if now := sizeOf(t, node).DbSize; now < full || w.cares[0].Numbers().Defrags > 0 {
		t.Errorf("it was defragmented while another one was: %d of %d", now, full)
	}
	if _, err := node.Client().Revoke(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		<-looks
	}
	if now := sizeOf(t, node).DbSize; now > full/4 {
		t.Errorf("it has %d of %d", now, full)
	}
	go func() { // so that the last look ends
		for range looks {
		}
	}()
	put(t, term, noise(end, 1))
}

// TestCareTakesOut the one member whose data differ, and says so; where it is not certain which, it only says so.
func TestCareTakesOut(t *testing.T) {
	c := newCluster(t, 3)
	term := own(t, c.engine(t, 0, ""), "a")
	first := event("prod", sluice.Head{}, 1, "1")
	put(t, term, first)
	for _, i := range []int{1, 2} {
		if err := c.nodes[0].Alarm(t.Context(), etcdserverpb.AlarmType_CORRUPT, c.nodes[i].ID()); err != nil {
			t.Fatal(err)
		}
	}
	w := c.cares(t, nil)
	w.hears("it is said of n2, n3")
	if all, err := c.nodes[0].Members(t.Context()); err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	if _, err := c.nodes[0].Client().AlarmDisarm(t.Context(), &clientv3.AlarmMember{MemberID: c.nodes[1].ID(), Alarm: etcdserverpb.AlarmType_CORRUPT}); err != nil {
		t.Fatal(err)
	}
	w.hears("what the member n3 has is damaged: it was taken out")
	select {
	case <-c.nodes[2].Stopped():
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
	if all, err := c.nodes[0].Members(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	until(t, "the end of the alarm", func() bool { return len(alarms(t, c.nodes[0])) == 0 })
	second := event("prod", first.Head(), 1, "2")
	put(t, term, second)
	has(t, c.engine(t, 0, ""), first, second)
}

// TestCarePromotes a member that was added, when it is in sync.
func TestCarePromotes(t *testing.T) {
	c := newCluster(t, 1)
	w := c.cares(t, nil)
	w.owns(0)
	cfg := etcd.NodeConfig{Name: "n2", Dir: t.TempDir(), Listen: freeAddress(t), Token: "test", Joins: true}
	cfg.Advertise = cfg.Listen
	var err error
	if cfg.Nodes, err = c.nodes[0].Add(t.Context(), cfg.Name, cfg.Advertise); err != nil {
		t.Fatal(err)
	}
	c.nodes, c.cfgs = append(c.nodes, nil), append(c.cfgs, cfg)
	c.start(t, 1)
	until(t, "that it counts", func() bool {
		all, err := c.nodes[0].Members(t.Context())
		return err == nil && len(all) == 2 && !all[1].Learner
	})
	if text := w.told(); text != "" {
		t.Error(text)
	}
}

// BenchmarkDefragment is how long appends wait while a node's file of 128 MiB is written anew, of which 32 MiB are in use: that of the owner, and another's.
func BenchmarkDefragment(b *testing.B) {
	for _, which := range []string{"owner", "another"} {
		b.Run(which, func(b *testing.B) {
			c := newCluster(b, 3)
			e := c.engine(b, 0, "")
			term := own(b, e, "a")
			var end, at sluice.Head
			for i := range 128 {
				if end = put(b, term, noise(end, 1<<20)); i == 95 {
					at = end
				}
			}
			if err := e.Trim(b.Context(), []sluice.Head{at}); err != nil {
				b.Fatal(err)
			}
			node := c.nodes[0]
			if which == "another" {
				node = c.nodes[1]
			}
			before := sizeOf(b, node).DbSize
			ended := make(chan error, 1)
			defragged := 0
			var longest time.Duration
			for b.Loop() {
				began := time.Now()
				go func() { ended <- node.Defragment() }()
				for going := true; going; {
					one := time.Now()
					end = put(b, term, noise(end, 1<<10))
					longest = max(longest, time.Since(one))
					select {
					case err := <-ended:
						if err != nil {
							b.Fatal(err)
						}
						going = false
					default:
					}
				}
				if defragged++; defragged == 1 {
					b.ReportMetric(float64(time.Since(began).Milliseconds()), "first-ms")
				}
			}
			b.ReportMetric(float64(longest.Milliseconds()), "longest-append-ms")
			b.ReportMetric(float64(before>>20), "MiB-before")
			b.ReportMetric(float64(sizeOf(b, node).DbSize>>20), "MiB-after")
		})
	}
}
