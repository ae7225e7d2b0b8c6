package etcd_test

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sluice"
	"sluice/internal/adapter/etcd"
)

// TestEnd: of a log that goes on elsewhere nothing is left, by a user who may do no more than a server needs; unless somebody owns it, or it is
// another one. What others keep stays.
func TestEnd(t *testing.T) {
	ca := newCertifier(t)
	e := newElsewhere(t, ca, nil)
	e.guarded()
	ctx := t.Context()
	client := connects(t, etcd.ConnectConfig{Endpoints: []string{e.url}, CA: ca.file, User: "ann", Password: "secret-ann"})
	of := func(prefix string) *etcd.Engine {
		engine, err := etcd.New(client, etcd.Config{Prefix: prefix, Shared: true, Lease: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return engine
	}
	log, other := of("/sluice/"), of("/sluice/beside/")
	left := func(prefix string) int64 {
		t.Helper()
		got, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return got.Count
	}
	heads := []sluice.Head{{Namespace: "prod", Seq: 7, Hash: sluice.ChainHash{1}}, {Namespace: "test", Seq: 2, Hash: sluice.ChainHash{2}}}
	if err := other.Begin(ctx, heads); err != nil {
		t.Fatal(err)
	}
	all := func(sluice.Head) (bool, error) { return true, nil }
	term, err := other.Own(ctx, sluice.Owner{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.End(ctx, all); sluice.CodeOf(err) != sluice.Conflict || left("/sluice/beside/") != 3 {
		t.Errorf("somebody owns it: %v, %d keys", err, left("/sluice/beside/"))
	}
	if err := term.Resign(ctx); err != nil {
		t.Fatal(err)
	}
	if err := other.End(ctx, func(h sluice.Head) (bool, error) { return h.Namespace == "prod", nil }); sluice.CodeOf(err) != sluice.Conflict || left("/sluice/beside/") != 2 {
		t.Errorf("it is another one: %v, %d keys", err, left("/sluice/beside/"))
	}
	if _, err := client.Put(ctx, "/sluice/x", "y"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := other.End(ctx, all); err != nil {
			t.Error(err)
		}
		if left("/sluice/beside/") != 0 || left("/sluice/") != 1 {
			t.Errorf("left: %d of the log, %d in all", left("/sluice/beside/"), left("/sluice/"))
		}
	}
	if err := other.Begin(ctx, heads[:1]); err != nil {
		t.Errorf("it cannot begin anew: %v", err)
	}
	if err := log.End(ctx, all); err != nil || left("/sluice/") != 0 {
		t.Errorf("the prefix that is used otherwise: %v, %d keys", err, left("/sluice/"))
	}
}
