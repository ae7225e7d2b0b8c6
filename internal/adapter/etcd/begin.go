package etcd

import (
	"context"
	"encoding/json"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
)

// End forgets a log that goes on elsewhere, and leaves nothing of it here. It is refused where a server owns the log, and where a namespace
// is none of those: ours reports whether a head is in the log that goes on. It is repeated without harm.
func (e *Engine) End(ctx context.Context, ours func(sluice.Head) (bool, error)) error {
	heads, err := e.Heads(ctx)
	if err != nil {
		return err
	}
	for _, h := range heads {
		is, err := ours(h)
		if err != nil {
			return err
		}
		if !is {
			return sluice.Errorf(sluice.Conflict, "the engine has event %d of the namespace %s, which is not in this log: nothing of it was removed", h.Seq, h.Namespace)
		}
	}
	got, err := ask(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(e.k.owner()), "=", 0)).Then(clientv3.OpDelete(string(e.k), clientv3.WithPrefix())).Commit()
	})
	if err != nil {
		return contact("ending the log", err)
	}
	if !got.Succeeded {
		return sluice.Errorf(sluice.Conflict, "a server owns the log: nothing of it was removed")
	}
	return nil
}

// Begin says where the log ends that a server brings into a new cluster, whose records it has: nothing was appended here before. It is
// repeated without harm.
func (e *Engine) Begin(ctx context.Context, heads []sluice.Head) error {
	for _, h := range heads {
		text, err := json.Marshal(h)
		if err != nil {
			return err
		}
		key := e.k.head(h.Namespace)
		got, err := ask(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return e.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, string(text))).
				Else(clientv3.OpGet(key)).Commit()
		})
		if err != nil {
			return contact("beginning the log", err)
		}
		if got.Succeeded {
			continue
		}
		there := kvsOf(got, 0)
		if len(there) == 0 {
			return contact("beginning the log", context.DeadlineExceeded)
		}
		if was, err := headOf(there[0].Value); err != nil || was != h {
			return sluice.Errorf(sluice.Conflict, "the engine has the namespace %s already, up to event %d, and it is not the log of this server", h.Namespace, was.Seq).Lasts()
		}
	}
	// A namespace of which this server knows nothing is of another log.
	all, err := e.Heads(ctx)
	if err != nil {
		return err
	}
	known := map[sluice.Namespace]bool{}
	for _, h := range heads {
		known[h.Namespace] = true
	}
	for _, h := range all {
		if !known[h.Namespace] {
			return sluice.Errorf(sluice.Conflict, "the engine has a namespace %s that is not in the log of this server", h.Namespace).Lasts()
		}
	}
	return nil
}
