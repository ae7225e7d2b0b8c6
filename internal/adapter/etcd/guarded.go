package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// guarded is what etcd answers in this process, until its node cannot go on. The part of etcd that met the disk may hold a lock then, for which
// a question waits whatever its context says; who asked is told why, and the question ends with the process.
type guarded struct {
	clientv3.KV
	wound *wound
}

func (g guarded) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return unless(g.wound, func() (*clientv3.GetResponse, error) { return g.KV.Get(ctx, key, opts...) })
}

func (g guarded) Put(ctx context.Context, key, val string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	return unless(g.wound, func() (*clientv3.PutResponse, error) { return g.KV.Put(ctx, key, val, opts...) })
}

func (g guarded) Delete(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	return unless(g.wound, func() (*clientv3.DeleteResponse, error) { return g.KV.Delete(ctx, key, opts...) })
}

func (g guarded) Compact(ctx context.Context, rev int64, opts ...clientv3.CompactOption) (*clientv3.CompactResponse, error) {
	return unless(g.wound, func() (*clientv3.CompactResponse, error) { return g.KV.Compact(ctx, rev, opts...) })
}

func (g guarded) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	return unless(g.wound, func() (clientv3.OpResponse, error) { return g.KV.Do(ctx, op) })
}

func (g guarded) Txn(ctx context.Context) clientv3.Txn { return guardedTxn{g.KV.Txn(ctx), g.wound} }

type guardedTxn struct {
	clientv3.Txn
	wound *wound
}

func (t guardedTxn) If(cs ...clientv3.Cmp) clientv3.Txn     { return guardedTxn{t.Txn.If(cs...), t.wound} }
func (t guardedTxn) Then(o ...clientv3.Op) clientv3.Txn     { return guardedTxn{t.Txn.Then(o...), t.wound} }
func (t guardedTxn) Else(o ...clientv3.Op) clientv3.Txn     { return guardedTxn{t.Txn.Else(o...), t.wound} }
func (t guardedTxn) Commit() (*clientv3.TxnResponse, error) { return unless(t.wound, t.Txn.Commit) }

// unless asks, and does not wait for the answer of a node that cannot go on.
func unless[T any](w *wound, ask func() (T, error)) (out T, err error) {
	select {
	case <-w.struck:
		return out, w.why
	default:
	}
	type answer struct {
		out T
		err error
	}
	got := make(chan answer, 1)
	go func() { // it ends with the answer, or with the process
		out, err := ask()
		got <- answer{out, err}
	}()
	select {
	case a := <-got:
		return a.out, a.err
	case <-w.struck:
		return out, w.why
	}
}
