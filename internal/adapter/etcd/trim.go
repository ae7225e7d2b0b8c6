package etcd

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
)

const (
	// A page of what is weighed is about so many bytes, of so many records.
	pageBytes            = 1 << 20
	leastPage, mostPage  = 8, 1024
	marksEach, leastStep = 16, 4 << 10
)

// weigh reads what there is of a namespace, page by page, and returns marks between which there are about step bytes, and the whole.
func (e *Engine) weigh(ctx context.Context, end sluice.Head, step int64) (marks []mark, total int64, err error) {
	from, to := e.k.records(end.Namespace), e.k.record(end.Namespace, end.Seq)+"\x00"
	since := int64(0)
	for limit := int64(leastPage); ; {
		got, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return e.c.Get(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(limit), clientv3.WithSerializable())
		})
		if err != nil {
			return nil, 0, contact("weighing the log", err)
		}
		read := int64(0)
		for _, kv := range got.Kvs {
			h, _, err := headerOf(kv.Value)
			ns, last, ok := e.k.recordOf(string(kv.Key))
			if err != nil || !ok {
				return nil, 0, damaged(string(kv.Key), errors.Join(err, errors.New("it is no record")))
			}
			n := int64(len(kv.Key) + len(kv.Value))
			read += n
			if h.Parts > 0 {
				n += int64(h.Parts) * most
			}
			total, since = total+n, since+n
			if since >= step {
				marks, since = append(marks, mark{sluice.Head{Namespace: ns, Seq: last, Hash: h.Hash}, total}), 0
			}
			from = string(kv.Key) + "\x00"
		}
		if !got.More {
			return marks, total, nil
		}
		if read < pageBytes {
			limit = min(2*limit, mostPage)
		} else {
			limit = max(limit/2, leastPage)
		}
	}
}

// trimmable are the ends up to which each namespace can be forgotten: at most up to these, and so that keep bytes of the newest stay in all.
func (e *Engine) trimmable(ctx context.Context, upTo []sluice.Head, keep int64) (out []sluice.Head, err error) {
	heads, err := e.Heads(ctx)
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	enough := keep / int64(len(heads))
	limits := map[sluice.Namespace]uint64{}
	for _, h := range upTo {
		limits[h.Namespace] = h.Seq
	}
	for _, h := range heads {
		limit := limits[h.Namespace]
		if limit == 0 {
			continue
		}
		marks, total, err := e.weigh(ctx, h, max(enough/marksEach, leastStep))
		if err != nil {
			return nil, err
		}
		if at, ok := cut(marks, total, enough, limit); ok {
			out = append(out, at)
		}
	}
	return out, nil
}
