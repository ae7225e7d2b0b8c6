package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
)

// Engine is etcd, for one server of a cluster.
type Engine struct {
	c      *clientv3.Client
	k      keys
	pack   *packer
	ttl    time.Duration
	shared bool

	full atomic.Bool // nothing is appended: what is left is for leases

	mu    sync.Mutex
	heads map[sluice.Namespace]revised // as this server appended or read them last
}

// revised is a head, and the revision of the key that says so; the zero value is a namespace without records.
type revised struct {
	sluice.Head
	rev int64
}

// Config says how etcd is used.
type Config struct {
	// Prefix is what the keys begin with; "" is /sluice/.
	Prefix string
	// Lease is how long a server that is not heard of owns the log, in whole seconds; 0: 2 s.
	Lease time.Duration
	// Shared says that others keep something in this etcd, too: then what was there before is left to whoever looks after it.
	Shared bool
}

const (
	defaultPrefix = "/sluice/"
	defaultLease  = 2 * time.Second
	// A try is one request: one that was passed on to a leader that has died has no answer for many seconds.
	firstTry, longestTry = 250 * time.Millisecond, 2 * time.Second
	// patience bounds a question, with all its tries: who has no majority is to be told.
	patience = 5 * time.Second
	// pause is waited after a request that failed at once.
	pause = 20 * time.Millisecond
	// page is how many records are read at a time, within longestPage: each may be a megabyte.
	page        = 64
	longestPage = 30 * time.Second
)

// New uses etcd by a client, which the caller closes when the engine is not used any more.
func New(c *clientv3.Client, cfg Config) (*Engine, error) {
	p, err := newPacker()
	if err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = defaultPrefix
	}
	if err := checkPrefix(cfg.Prefix); err != nil {
		return nil, err
	}
	if cfg.Lease == 0 {
		cfg.Lease = defaultLease
	}
	if cfg.Lease < time.Second || cfg.Lease%time.Second != 0 {
		return nil, sluice.Errorf(sluice.Usage, "a lease of %s: etcd has them in whole seconds", cfg.Lease)
	}
	return &Engine{c: c, k: keys(cfg.Prefix), pack: p, ttl: cfg.Lease, shared: cfg.Shared, heads: map[sluice.Namespace]revised{}}, nil
}

var _ sluice.Engine = (*Engine)(nil)

// contact is an error of somebody who cannot be reached, has no majority, or can do nothing at the moment.
func contact(doing string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	why := "does not answer"
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		why = "is full: a node has reached its quota"
	case errors.Is(err, rpctypes.ErrCorrupt):
		why = "takes nothing: what its nodes have differs"
	}
	e := sluice.Errorf(sluice.Contact, "%s: the cluster %s", doing, why)
	e.Err = err
	return e
}

// again does something until it is answered, or ctx ends. Each try has its own time.
func again[T any](ctx context.Context, do func(context.Context) (T, error)) (out T, err error) {
	for within := firstTry; ; within = min(2*within, longestTry) {
		one, done := context.WithTimeout(ctx, within)
		out, err = do(one)
		done()
		if err == nil || !passes(err) {
			return out, err
		}
		if ctx.Err() != nil {
			return out, errors.Join(ctx.Err(), err)
		}
		select {
		case <-ctx.Done():
			return out, errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// ask is again, for a question that has no majority to answer it if it takes longer.
func ask[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	ctx, done := context.WithTimeout(ctx, patience)
	defer done()
	return again(ctx, do)
}

// passes reports whether an error may be over in a moment: what was asked may or may not have been done.
func passes(err error) bool {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		switch e {
		case rpctypes.ErrCompacted, rpctypes.ErrFutureRev, rpctypes.ErrNoSpace, rpctypes.ErrCorrupt, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrLeaseNotFound,
			rpctypes.ErrPeerURLExist, rpctypes.ErrTooManyLearners, rpctypes.ErrMemberNotFound, rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrMemberNotLearner,
			rpctypes.ErrAuthFailed, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty:
			return false
		}
	}
	return true
}

// Heads are the ends of all namespaces.
func (e *Engine) Heads(ctx context.Context) ([]sluice.Head, error) {
	all, _, err := e.readHeads(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]sluice.Head, 0, len(all))
	for _, h := range all {
		out = append(out, h.Head)
	}
	return out, nil
}

// readHeads reads the ends of all namespaces, sorted, and the revision in which they were so.
func (e *Engine) readHeads(ctx context.Context) (out []revised, rev int64, err error) {
	got, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return e.c.Get(ctx, e.k.heads(), clientv3.WithPrefix())
	})
	if err != nil {
		return nil, 0, contact("reading where the log ends", err)
	}
	for _, kv := range got.Kvs {
		h, err := headOf(kv.Value)
		if err != nil || e.k.head(h.Namespace) != string(kv.Key) {
			return nil, 0, damaged(string(kv.Key), err)
		}
		out = append(out, revised{h, kv.ModRevision})
	}
	return out, got.Header.Revision, nil
}

func headOf(value []byte) (h sluice.Head, err error) {
	err = json.Unmarshal(value, &h)
	return h, err
}

func damaged(key string, err error) error {
	e := sluice.Errorf(sluice.Contact, "what the cluster has under %s is damaged; nothing will be started", key).Lasts()
	e.Err = err
	return e
}

// Follow hands on records as they are, and then as they come.
func (e *Engine) Follow(ctx context.Context, after map[sluice.Namespace]uint64, visit func([]sluice.Record) error) error {
	seen := map[sluice.Namespace]uint64{}
	for ns, seq := range after {
		seen[ns] = seq
	}
	for {
		rev, err := e.catchUp(ctx, seen, visit)
		if err == nil {
			err = e.watch(ctx, rev+1, seen, visit)
		}
		if !errors.Is(err, errBehind) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// errBehind says that a watch cannot go on from where it was: what is between has to be read.
var errBehind = errors.New("behind")

// catchUp reads what is there behind what was seen, and returns the revision up to which that is all.
func (e *Engine) catchUp(ctx context.Context, seen map[sluice.Namespace]uint64, visit func([]sluice.Record) error) (int64, error) {
	heads, rev, err := e.readHeads(ctx)
	if err != nil {
		return 0, err
	}
	for _, h := range heads {
		for seen[h.Namespace] < h.Seq {
			from := seen[h.Namespace] + 1
			one, done := context.WithTimeout(ctx, longestPage)
			got, err := e.c.Get(one, e.k.record(h.Namespace, from), clientv3.WithRange(e.k.record(h.Namespace, h.Seq)+"\x00"), clientv3.WithLimit(page))
			done()
			if err != nil {
				return 0, contact("reading the log", err)
			}
			var batch []sluice.Record
			for _, kv := range got.Kvs {
				r, err := e.record(ctx, string(kv.Key), kv.Value)
				if err != nil {
					return 0, err
				}
				batch = append(batch, r)
			}
			if len(batch) == 0 || batch[0].First > from {
				return 0, sluice.Errorf(sluice.NotFound, "the cluster does not keep event %d of the namespace %s any more", from, h.Namespace)
			}
			if err := hand(batch, seen, visit); err != nil {
				return 0, err
			}
		}
	}
	return rev, nil
}

// watch hands on records from a revision on.
func (e *Engine) watch(ctx context.Context, rev int64, seen map[sluice.Namespace]uint64, visit func([]sluice.Record) error) error {
	ctx, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	for news := range e.c.Watch(ctx, e.k.log(), clientv3.WithPrefix(), clientv3.WithRev(rev), clientv3.WithFilterDelete()) {
		if err := news.Err(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errBehind
		}
		var batch []sluice.Record
		for _, ev := range news.Events {
			r, err := e.record(ctx, string(ev.Kv.Key), ev.Kv.Value)
			if err != nil {
				return err
			}
			if r.Last > seen[r.Namespace] {
				batch = append(batch, r)
			}
		}
		if err := hand(batch, seen, visit); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errBehind
}

// hand hands records on, and remembers that. A watch that left something out has to be begun anew.
func hand(batch []sluice.Record, seen map[sluice.Namespace]uint64, visit func([]sluice.Record) error) error {
	if len(batch) == 0 {
		return nil
	}
	ends := map[sluice.Namespace]uint64{}
	for _, r := range batch {
		end, ok := ends[r.Namespace]
		if !ok {
			end = seen[r.Namespace]
		}
		if r.First != end+1 {
			return errBehind
		}
		ends[r.Namespace] = r.Last
	}
	if err := visit(batch); err != nil {
		return err
	}
	maps.Copy(seen, ends)
	return nil
}

// record makes a record of a key and its value, with its parts.
func (e *Engine) record(ctx context.Context, key string, value []byte) (r sluice.Record, err error) {
	ns, last, ok := e.k.recordOf(key)
	if !ok {
		return r, damaged(key, errors.New("its name is none of a record"))
	}
	h, payload, err := headerOf(value)
	if err != nil {
		return r, damaged(key, err)
	}
	for n := range h.Parts {
		got, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return e.c.Get(ctx, e.k.part(ns, last, h.Hash, n))
		})
		switch {
		case err != nil:
			return r, contact("reading the log", err)
		case len(got.Kvs) == 0:
			return r, e.lacks(ctx, key, fmt.Errorf("part %d of %d is missing", n+1, h.Parts))
		}
		payload = append(payload, got.Kvs[0].Value...)
	}
	if r, err = e.pack.unpack(ns, last, h, payload); err != nil {
		return r, damaged(key, err)
	}
	return r, nil
}

// lacks says what it means that a part of a record is missing: the record may have been forgotten a moment ago.
func (e *Engine) lacks(ctx context.Context, key string, missing error) error {
	got, err := again(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return e.c.Get(ctx, key, clientv3.WithCountOnly())
	})
	switch {
	case err != nil:
		return contact("reading the log", err)
	case got.Count == 0:
		return sluice.Errorf(sluice.NotFound, "the cluster does not keep the record under %s any more", key)
	}
	return damaged(key, missing)
}

// Trim forgets records, some at a time: one request that forgets all would keep the servers from everything else.
func (e *Engine) Trim(ctx context.Context, upTo []sluice.Head) error {
	var last int64
	for _, h := range upTo {
		for more := true; more; {
			rev, left, err := e.trimSome(ctx, h)
			if err != nil {
				return contact("forgetting a part of the log", err)
			}
			last, more = max(last, rev), left
		}
	}
	if last == 0 {
		return nil
	}
	return e.compact(ctx, last)
}

// compact has what was overwritten or deleted before a revision go, and waits for it.
func (e *Engine) compact(ctx context.Context, rev int64) error {
	if e.shared {
		return nil
	}
	ctx, done := context.WithTimeout(ctx, longestPage)
	defer done()
	_, err := e.c.Compact(ctx, rev, clientv3.WithCompactPhysical())
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil
	}
	return contact("forgetting a part of the log", err)
}

// trimmed is how many records are forgotten at a time.
const trimmed = 500

// trimSome forgets the oldest records, of those up to a head that is still there: it goes last, and proves that the rest is meant.
func (e *Engine) trimSome(ctx context.Context, upTo sluice.Head) (rev int64, more bool, err error) {
	end := e.k.record(upTo.Namespace, upTo.Seq)
	proof, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) { return e.c.Get(ctx, end) })
	if err != nil || len(proof.Kvs) == 0 {
		return 0, false, err
	}
	if h, _, err := headerOf(proof.Kvs[0].Value); err != nil || h.Hash != upTo.Hash {
		return 0, false, sluice.Errorf(sluice.Conflict, "event %d of the namespace %s is another one in the cluster: nothing is forgotten", upTo.Seq, upTo.Namespace)
	}
	got, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return e.c.Get(ctx, e.k.records(upTo.Namespace), clientv3.WithRange(end+"\x00"), clientv3.WithLimit(trimmed), clientv3.WithKeysOnly())
	})
	if err != nil || len(got.Kvs) == 0 {
		return 0, false, err
	}
	key := string(got.Kvs[len(got.Kvs)-1].Key)
	_, to, ok := e.k.recordOf(key)
	if !ok {
		return 0, false, damaged(key, errors.New("its name is none of a record"))
	}
	done, err := again(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return e.c.Txn(ctx).Then(clientv3.OpDelete(e.k.records(upTo.Namespace), clientv3.WithRange(key+"\x00")),
			clientv3.OpDelete(e.k.partsOf(upTo.Namespace), clientv3.WithRange(e.k.parts(upTo.Namespace, to+1)))).Commit()
	})
	if err != nil {
		return 0, false, err
	}
	return done.Header.Revision, got.More, nil
}

// Owner says who owns the log.
func (e *Engine) Owner(ctx context.Context) (who sluice.Owner, term uint64, err error) {
	got, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) { return e.c.Get(ctx, e.k.owner()) })
	if err != nil {
		return who, 0, contact("asking who owns the log", err)
	}
	if len(got.Kvs) == 0 {
		return who, 0, nil
	}
	if err := json.Unmarshal(got.Kvs[0].Value, &who); err != nil {
		return who, 0, damaged(e.k.owner(), err)
	}
	return who, uint64(got.Kvs[0].CreateRevision), nil
}

// String says where the log is.
func (e *Engine) String() string { return "etcd at " + strings.Join(e.c.Endpoints(), ", ") }
