package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
)

// term is the time in which this server owns the log.
type term struct {
	e     *Engine
	rev   int64 // in which the key of the owner was created
	lease clientv3.LeaseID
	ttl   time.Duration
	over  chan struct{}
	end   context.CancelFunc
	keeps sync.WaitGroup
	last  atomic.Pointer[time.Time] // when it is over by the time, if nothing renews it
}

// Own waits until nobody owns the log, and owns it.
func (e *Engine) Own(ctx context.Context, who sluice.Owner) (sluice.Term, error) {
	text, err := json.Marshal(who)
	if err != nil {
		return nil, err
	}
	for {
		t, since, err := e.tryOwn(ctx, string(text))
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound): // it took too long
		case err != nil:
			return nil, contact("becoming the owner of the log", err)
		case t != nil:
			return t, nil
		default:
			e.vacancy(ctx, since+1)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// tryOwn owns the log if nobody does; since is when it was looked.
func (e *Engine) tryOwn(ctx context.Context, text string) (_ *term, since int64, err error) {
	asked := time.Now()
	lease, err := again(ctx, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return e.c.Grant(ctx, int64(e.ttl/time.Second))
	})
	if err != nil {
		return nil, 0, err
	}
	got, err := again(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(e.k.owner()), "=", 0)).
			Then(clientv3.OpPut(e.k.owner(), text, clientv3.WithLease(lease.ID))).Else(clientv3.OpGet(e.k.owner())).Commit()
	})
	if err != nil { // the lease ends by itself
		return nil, 0, err
	}
	rev := got.Header.Revision
	if !got.Succeeded {
		kvs := got.Responses[0].GetResponseRange().Kvs
		if len(kvs) == 0 || kvs[0].Lease != int64(lease.ID) { // somebody else; or this one, and the first answer was lost
			one, done := context.WithTimeout(ctx, firstTry)
			_, _ = e.c.Revoke(one, lease.ID) // it ends by itself, too
			done()
			return nil, rev, nil
		}
		rev = kvs[0].CreateRevision
	}
	keep, end := context.WithCancel(context.WithoutCancel(ctx))
	t := &term{e: e, rev: rev, lease: lease.ID, ttl: min(e.ttl, time.Duration(lease.TTL)*time.Second), over: make(chan struct{}), end: end}
	t.renewed(asked)
	t.keeps.Go(func() { t.keep(keep, asked) })
	return t, rev, nil
}

// vacancy waits until the key of the owner is deleted, from a revision on.
func (e *Engine) vacancy(ctx context.Context, from int64) {
	ctx, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	for news := range e.c.Watch(ctx, e.k.owner(), clientv3.WithRev(from), clientv3.WithFilterPut()) {
		if news.Err() != nil || len(news.Events) > 0 {
			return // look again
		}
	}
}

// keep renews the lease, and ends the term when it may be over: the time is counted from when the last renewal was asked for, by a clock
// that nobody sets. etcd counts from when it heard of that, which is later.
func (t *term) keep(ctx context.Context, since time.Time) {
	defer close(t.over)
	every := t.ttl / renewals
	for {
		left := time.Until(*t.last.Load())
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(every, left)):
		}
		asked := time.Now()
		one, done := context.WithTimeout(ctx, min(every, max(t.ttl-time.Since(since), time.Millisecond)))
		got, err := t.e.c.KeepAliveOnce(one, t.lease)
		done()
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return
		case err == nil && got.TTL > 0:
			since = asked
			t.renewed(asked)
		}
	}
}

// renewals is how often a lease could be renewed in the time that it lasts.
const renewals = 5

// renewed says when the lease was renewed last: half a renewal before it ends, the term is over.
func (t *term) renewed(asked time.Time) {
	last := asked.Add(t.ttl - t.ttl/renewals/2)
	t.last.Store(&last)
}

// Lasts compares the time with the end of the lease, by a clock that nobody sets.
func (t *term) Lasts() bool {
	select {
	case <-t.over:
		return false
	default:
		return time.Until(*t.last.Load()) > 0
	}
}

// Number is the revision in which the term began: it only grows.
func (t *term) Number() uint64 { return uint64(t.rev) }

func (t *term) Over() <-chan struct{} { return t.over }

// Resign ends the term.
func (t *term) Resign(ctx context.Context) error {
	t.end()
	t.keeps.Wait()
	_, err := ask(ctx, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) { return t.e.c.Revoke(ctx, t.lease) })
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return contact("handing the log over", err)
}

// Append appends a record. An engine that does not answer for as long as two leases ends the term: that its lease can be renewed does not
// say that it can append.
func (t *term) Append(ctx context.Context, r sluice.Record) error {
	if t.e.full.Load() {
		return sluice.Errorf(sluice.Contact, "appending: the cluster is almost full, and nothing can be forgotten: too few servers have what is in it").
			WithHint("see that all servers of the cluster run and have room; docs/cluster.md says more")
	}
	value, parts, err := t.e.pack.pack(r)
	if err != nil {
		return err
	}
	limited, done := context.WithTimeout(ctx, 2*t.ttl)
	defer done()
	before, there, err := t.headBefore(limited, r)
	if err != nil || there {
		return t.stuck(ctx, err)
	}
	for n, part := range parts {
		_, err := again(limited, func(ctx context.Context) (*clientv3.PutResponse, error) {
			return t.e.c.Put(ctx, t.e.k.part(r.Namespace, r.Last, r.Hash, n), string(part))
		})
		if err != nil {
			return t.stuck(ctx, contact("appending", err))
		}
	}
	return t.stuck(ctx, t.put(limited, r, string(value), before))
}

// stuck ends the term where an append had no answer, or none that another try could change.
func (t *term) stuck(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, rpctypes.ErrCorrupt)) {
		t.end()
	}
	return err
}

// headBefore is the head that a record continues, with the revision of its key; there says that the log ends with the record already, as
// it does when an append is repeated whose end nobody has heard of.
func (t *term) headBefore(ctx context.Context, r sluice.Record) (h revised, there bool, err error) {
	t.e.mu.Lock()
	h, ok := t.e.heads[r.Namespace]
	t.e.mu.Unlock()
	if ok && h.Seq+1 == r.First && h.Hash == r.Prev {
		return h, false, nil
	}
	got, err := again(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return t.e.c.Get(ctx, t.e.k.head(r.Namespace))
	})
	if err != nil {
		return h, false, contact("appending", err)
	}
	h = revised{}
	if len(got.Kvs) > 0 {
		h.rev = got.Kvs[0].ModRevision
		if h.Head, err = headOf(got.Kvs[0].Value); err != nil {
			return h, false, damaged(string(got.Kvs[0].Key), err)
		}
	}
	switch {
	case h.Head == r.Head():
		return h, true, nil
	case h.Seq >= r.Last:
		return h, false, unseen(r)
	case h.Seq+1 != r.First || h.Hash != r.Prev:
		return h, false, refused(r, h.Head)
	}
	return h, false, nil
}

// unseen says that a record may be among those up to a later end.
func unseen(r sluice.Record) error {
	return sluice.Errorf(sluice.Contact, "whether event %d of the namespace %s was appended cannot be seen any more", r.Last, r.Namespace)
}

func refused(r sluice.Record, end sluice.Head) error {
	return sluice.Errorf(sluice.Conflict, "the log of the namespace %s ends with event %d, and not where event %d continues it", r.Namespace, end.Seq, r.First)
}

// put puts the record and the head, if nothing has changed; again and again, until there is an answer.
func (t *term) put(ctx context.Context, r sluice.Record, value string, before revised) error {
	text, err := json.Marshal(r.Head())
	if err != nil {
		return err
	}
	own, head, record := t.e.k.owner(), t.e.k.head(r.Namespace), t.e.k.record(r.Namespace, r.Last)
	got, err := again(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return t.e.c.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(own), "=", t.rev), clientv3.Compare(clientv3.ModRevision(head), "=", before.rev)).
			Then(clientv3.OpPut(record, value), clientv3.OpPut(head, string(text))).
			Else(clientv3.OpGet(own), clientv3.OpGet(head), clientv3.OpGet(record)).Commit()
	})
	if err != nil {
		t.e.forget(r.Namespace)
		return contact("appending", err)
	}
	if got.Succeeded {
		t.e.remember(revised{r.Head(), got.Header.Revision})
		return nil
	}
	t.e.forget(r.Namespace)
	owner, end, there := kvsOf(got, 0), kvsOf(got, 1), kvsOf(got, 2)
	now := revised{}
	if len(end) > 0 {
		now.rev = end[0].ModRevision
		if now.Head, err = headOf(end[0].Value); err != nil {
			return damaged(head, err)
		}
	}
	if len(there) > 0 {
		if h, _, err := headerOf(there[0].Value); err == nil && h.Hash == r.Hash { // it was put, and the answer was lost
			return nil
		}
	} else if now.Seq >= r.Last {
		return unseen(r)
	}
	if len(owner) == 0 || owner[0].CreateRevision != t.rev {
		return sluice.Errorf(sluice.Conflict, "this server does not own the log any more")
	}
	return refused(r, now.Head)
}

func kvsOf(got *clientv3.TxnResponse, n int) []*mvccpb.KeyValue {
	return got.Responses[n].GetResponseRange().Kvs
}

func (e *Engine) remember(h revised) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heads[h.Namespace] = h
}

func (e *Engine) forget(ns sluice.Namespace) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.heads, ns)
}
