package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
	"sluice/internal/adapter/etcd"
)

// line is what is between an engine and its node. A test says what becomes of the next requests, in turn: each is asked with a function
// that carries it out.
type line struct {
	clientv3.KV
	clientv3.Lease
	clientv3.Watcher

	mu     sync.Mutex
	txns   []func(carry func() error) error
	grants []func(carry func() error) error
	watch  func() // before the next watch
}

func next(mu *sync.Mutex, all *[]func(func() error) error) func(func() error) error {
	mu.Lock()
	defer mu.Unlock()
	if len(*all) == 0 {
		return func(carry func() error) error { return carry() }
	}
	first := (*all)[0]
	*all = (*all)[1:]
	return first
}

type lineTxn struct {
	clientv3.Txn
	l *line
}

func (l *line) Txn(ctx context.Context) clientv3.Txn { return &lineTxn{l.KV.Txn(ctx), l} }

func (x *lineTxn) If(c ...clientv3.Cmp) clientv3.Txn  { x.Txn = x.Txn.If(c...); return x }
func (x *lineTxn) Then(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Then(o...); return x }
func (x *lineTxn) Else(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(o...); return x }

func (x *lineTxn) Commit() (got *clientv3.TxnResponse, err error) {
	err = next(&x.l.mu, &x.l.txns)(func() (err error) { got, err = x.Txn.Commit(); return err })
	return got, err
}

func (l *line) Grant(ctx context.Context, ttl int64) (got *clientv3.LeaseGrantResponse, err error) {
	err = next(&l.mu, &l.grants)(func() (err error) { got, err = l.Lease.Grant(ctx, ttl); return err })
	return got, err
}

func (l *line) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	l.mu.Lock()
	before := l.watch
	l.watch = nil
	l.mu.Unlock()
	if before != nil {
		before()
	}
	return l.Watcher.Watch(ctx, key, opts...)
}

// Close closes nothing: all three have one.
func (l *line) Close() error { return nil }

// behind puts a line between a node and an engine.
func behind(t *testing.T, n *etcd.Node, prefix string) (*etcd.Engine, *line) {
	t.Helper()
	from := n.Client()
	l := &line{KV: from.KV, Lease: from.Lease, Watcher: from.Watcher}
	c := clientv3.NewCtxClient(context.Background())
	c.KV, c.Lease, c.Watcher, c.Maintenance, c.Cluster = l, l, l, from.Maintenance, from.Cluster
	e, err := etcd.New(c, etcd.Config{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return e, l
}

var errLine = errors.New("the line is dead")

// lostAnswer carries a request out, and says that it was not answered; lostRequest does not carry it out.
func lostAnswer(carry func() error) error { return errors.Join(carry(), errLine) }
func lostRequest(func() error) error      { return errLine }
func delivered(carry func() error) error  { return carry() }
func event(ns sluice.Namespace, end sluice.Head, n uint64, text string) sluice.Record {
	r := sluice.Record{Namespace: ns, First: end.Seq + 1, Last: end.Seq + n, Prev: end.Hash, Payload: []byte(text)}
	r.Hash = r.Sum()
	return r
}

func own(t testing.TB, e sluice.Engine, name string) sluice.Term {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	term, err := e.Own(ctx, sluice.Owner{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = term.Resign(context.WithoutCancel(t.Context())) })
	return term
}

func put(t testing.TB, term sluice.Term, r sluice.Record) sluice.Head {
	t.Helper()
	if err := term.Append(t.Context(), r); err != nil {
		t.Fatalf("event %d: %v", r.Last, err)
	}
	return r.Head()
}

// has compares what an engine hands on, from the first event on.
func has(t testing.TB, e sluice.Engine, want ...sluice.Record) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	var got []string
	enough := errors.New("enough")
	err := e.Follow(ctx, nil, func(all []sluice.Record) error {
		for _, r := range all {
			got = append(got, fmt.Sprint(r.Last, r.Hash))
		}
		if len(got) >= len(want) {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	var all []string
	for _, r := range want {
		all = append(all, fmt.Sprint(r.Last, r.Hash))
	}
	if strings.Join(got, " ") != strings.Join(all, " ") {
		t.Errorf("it has %v, want %v", got, all)
	}
	heads, err := e.Heads(ctx)
	if last := want[len(want)-1].Head(); err != nil || len(heads) != 1 || heads[0] != last {
		t.Errorf("it ends with %v, want %v: %v", heads, last, err)
	}
}

// TestTheHeadIsCompared: of two appends to the same end, in one term, the one that comes later is refused.
func TestTheHeadIsCompared(t *testing.T) {
	c := newCluster(t, 1)
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprint("empty ", first), func(t *testing.T) {
			e, l := behind(t, c.nodes[0], fmt.Sprintf("/head/%v/", first))
			term := own(t, e, "a")
			var end sluice.Head
			var all []sluice.Record
			if !first {
				all = append(all, event("prod", end, 2, "before"))
				end = put(t, term, all[0])
			}
			late, soon := event("prod", end, 1, "late"), event("prod", end, 3, "soon")
			l.txns = append(l.txns, func(carry func() error) error { // it has looked at the head, and is sent when another has been
				put(t, term, soon)
				return carry()
			})
			if err := term.Append(t.Context(), late); err == nil {
				t.Errorf("it ended with %v", err)
			}
			has(t, e, append(all, soon)...)
			same := event("prod", soon.Head(), 1, "the same length")
			other := event("prod", soon.Head(), 1, "another")
			l.txns = append(l.txns, func(carry func() error) error {
				put(t, term, same)
				return carry()
			})
			if err := term.Append(t.Context(), other); sluice.CodeOf(err) != sluice.Conflict {
				t.Errorf("it ended with %v", err)
			}
			has(t, e, append(all, soon, same)...)
		})
	}
}

// TestLostAnswers: an append without an answer is sent again. It is there once; refused is only what is not there.
func TestLostAnswers(t *testing.T) {
	c := newCluster(t, 1)
	for name, x := range map[string]struct {
		line []func(func() error) error
		code sluice.Code // "" where it is there
	}{
		"an answer":            {[]func(func() error) error{lostAnswer}, ""},
		"two answers":          {[]func(func() error) error{lostAnswer, lostAnswer}, ""},
		"a request":            {[]func(func() error) error{lostRequest}, ""},
		"a request, an answer": {[]func(func() error) error{lostRequest, lostAnswer}, ""},
		"an answer, a request": {[]func(func() error) error{lostAnswer, lostRequest, delivered}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e, l := behind(t, c.nodes[0], "/lost/"+strings.ReplaceAll(name, " ", "-")+"/")
			term := own(t, e, "a")
			first, second, third := event("prod", sluice.Head{}, 1, "1"), sluice.Record{}, sluice.Record{}
			second = event("prod", put(t, term, first), 2, "2")
			l.txns = x.line
			put(t, term, second)
			if len(l.txns) != 0 {
				t.Errorf("%d requests were not sent", len(l.txns))
			}
			third = event("prod", second.Head(), 1, "3")
			put(t, term, third)
			if err := term.Append(t.Context(), third); err != nil { // who has not heard of it asks again
				t.Errorf("the same again: %v", err)
			}
			has(t, e, first, second, third)
		})
	}
}

// TestLostAnswersOfAnOwnerBefore: meanwhile somebody else owns the log. What is there was appended, what is not was refused; what cannot be
// told is not said to be refused.
func TestLostAnswersOfAnOwnerBefore(t *testing.T) {
	c := newCluster(t, 1)
	for name, x := range map[string]struct {
		carried bool
		then    func(t *testing.T, e sluice.Engine, end sluice.Head) // by the next owner
		code    sluice.Code
		there   bool
	}{
		"there":     {carried: true, there: true},
		"not there": {code: sluice.Conflict},
		"another": {code: sluice.Conflict, then: func(t *testing.T, e sluice.Engine, end sluice.Head) {
			put(t, own(t, e, "b"), event("prod", end, 1, "other"))
		}},
		"cannot tell": {code: sluice.Contact, then: func(t *testing.T, e sluice.Engine, end sluice.Head) {
			put(t, own(t, e, "b"), event("prod", end, 5, "other"))
		}},
		"trimmed": {carried: true, code: sluice.Contact, then: func(t *testing.T, e sluice.Engine, end sluice.Head) {
			more := put(t, own(t, e, "b"), event("prod", end, 1, "more"))
			if err := e.Trim(t.Context(), []sluice.Head{more}); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := "/before/" + strings.ReplaceAll(name, " ", "-") + "/"
			e, l := behind(t, c.nodes[0], prefix)
			other := c.engine(t, 0, prefix)
			term := own(t, e, "a")
			end := put(t, term, event("prod", sluice.Head{}, 1, "1"))
			r := event("prod", end, 1, "2")
			l.txns = append(l.txns, func(carry func() error) error {
				if x.carried {
					if err := carry(); err != nil {
						t.Error(err)
					}
					end = r.Head()
				}
				if err := term.Resign(t.Context()); err != nil {
					t.Error(err)
				}
				if x.then != nil {
					x.then(t, other, end)
				}
				return errLine
			})
			err := term.Append(t.Context(), r)
			if x.there {
				if err != nil {
					t.Errorf("it is there, and ended with %v", err)
				}
				return
			}
			if sluice.CodeOf(err) != x.code {
				t.Errorf("it ended with %v, want %s", err, x.code)
			}
		})
	}
}

// TestOwningWithLostAnswers: whoever owns the log without having heard of it owns it, in the term that it has.
func TestOwningWithLostAnswers(t *testing.T) {
	c := newCluster(t, 1)
	e, l := behind(t, c.nodes[0], "/own/")
	l.grants = []func(func() error) error{lostAnswer, lostRequest}
	l.txns = []func(func() error) error{lostRequest, lostAnswer, lostAnswer}
	began := time.Now()
	term := own(t, e, "a")
	if took := time.Since(began); took > 1500*time.Millisecond { // not by the end of its own lease
		t.Errorf("it took %v", took)
	}
	who, n, err := c.engine(t, 0, "/own/").Owner(t.Context())
	if err != nil || who.Name != "a" || n != term.Number() {
		t.Errorf("owned by %v in term %d, and not %d: %v", who, n, term.Number(), err)
	}
	put(t, term, event("prod", sluice.Head{}, 1, "1"))
}

// TestAWatchIsCompacted under its reader: it goes on by reading, and says NotFound only where a record is gone.
func TestAWatchIsCompacted(t *testing.T) {
	c := newCluster(t, 1)
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprint("gone ", gone), func(t *testing.T) {
			prefix := fmt.Sprintf("/compacted/%v/", gone)
			e, l := behind(t, c.nodes[0], prefix)
			term := own(t, c.engine(t, 0, prefix), "a")
			end := put(t, term, event("prod", sluice.Head{}, 1, "1"))
			l.watch = func() { // it has read up to here
				for i := range 20 {
					end = put(t, term, event("prod", end, 1, fmt.Sprint(i)))
				}
				if gone {
					if err := e.Trim(t.Context(), []sluice.Head{{Namespace: "prod", Seq: 10, Hash: hashOf(t, e, 10)}}); err != nil {
						t.Error(err)
					}
					return
				}
				got, err := c.nodes[0].Client().Get(t.Context(), "x")
				if err == nil {
					_, err = c.nodes[0].Client().Compact(t.Context(), got.Header.Revision)
				}
				if err != nil {
					t.Error(err)
				}
			}
			ctx, done := context.WithTimeout(t.Context(), time.Minute)
			defer done()
			enough := errors.New("enough")
			var last uint64
			err := e.Follow(ctx, nil, func(all []sluice.Record) error {
				for _, r := range all {
					if r.First != last+1 {
						t.Errorf("event %d after event %d", r.First, last)
					}
					last = r.Last
				}
				if last == 21 {
					return enough
				}
				return nil
			})
			switch {
			case gone && (sluice.CodeOf(err) != sluice.NotFound || last != 1):
				t.Errorf("after event %d it ended with %v", last, err)
			case !gone && !errors.Is(err, enough):
				t.Errorf("after event %d it ended with %v", last, err)
			}
		})
	}
}

func hashOf(t *testing.T, e sluice.Engine, seq uint64) (h sluice.ChainHash) {
	t.Helper()
	enough := errors.New("enough")
	_ = e.Follow(t.Context(), nil, func(all []sluice.Record) error {
		for _, r := range all {
			if r.Last == seq {
				h = r.Hash
				return enough
			}
		}
		return nil
	})
	return h
}

// TestAlarms: with a full node or a damaged one nothing is appended and nobody becomes owner, and all are told why; it goes on when that
// is over.
func TestAlarms(t *testing.T) {
	for kind, why := range map[etcdserverpb.AlarmType]string{etcdserverpb.AlarmType_NOSPACE: "full", etcdserverpb.AlarmType_CORRUPT: "differ"} {
		t.Run(kind.String(), func(t *testing.T) {
			c := newCluster(t, 1)
			e, node := c.engine(t, 0, ""), c.nodes[0]
			term := own(t, e, "a")
			first := event("prod", sluice.Head{}, 1, "1")
			end := put(t, term, first)
			if err := node.Alarm(t.Context(), kind, node.ID()); err != nil {
				t.Fatal(err)
			}
			second := event("prod", end, 1, "2")
			says := func(what string, err error) {
				t.Helper()
				if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), why) {
					t.Errorf("%s: %v", what, err)
				}
			}
			says("Append", term.Append(t.Context(), second))
			_, err := c.engine(t, 0, "/other/").Own(t.Context(), sluice.Owner{Name: "b"})
			says("Own", err)
			heads, err := e.Heads(t.Context())
			followed := e.Follow(t.Context(), nil, func([]sluice.Record) error { return errLine })
			if err != nil || len(heads) != 1 || heads[0] != end { // it can be read: what is read proves itself
				t.Errorf("%v, %v", heads, err)
			}
			if !errors.Is(followed, errLine) {
				t.Errorf("Follow: %v", followed)
			}
			if kind == etcdserverpb.AlarmType_CORRUPT {
				select {
				case <-term.Over():
				case <-time.After(time.Minute):
					t.Error("the term goes on")
				}
			}
			if _, err := node.Client().AlarmDisarm(t.Context(), &clientv3.AlarmMember{MemberID: node.ID(), Alarm: kind}); err != nil {
				t.Fatal(err)
			}
			if kind == etcdserverpb.AlarmType_CORRUPT {
				term = own(t, e, "again")
			}
			put(t, term, second)
			has(t, e, first, second)
		})
	}
}
