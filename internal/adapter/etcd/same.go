package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"sluice"
)

// hashWithin bounds what another node may take to say what it keeps.
const hashWithin = 10 * time.Second

// sum is what a node keeps, up to a revision: two that keep the same have the same.
type sum struct {
	compacted int64
	hash      uint32
}

// said is what one of the other nodes said of itself.
type said struct {
	name string
	sum  sum
	err  error // it could not say
}

// Same compares what this node keeps with what the others keep. Nil: a majority of those that count keep the same. An error that lasts says
// that a majority keep something else, so that this node is damaged; any other, that this is not known yet.
//
// etcd has a check of its own for this. It is made before a node answers, and takes no answer for a good one: where all nodes start at once
// each waits for the others until they give up, and then nothing has been compared.
func (n *Node) Same(ctx context.Context) error {
	server := n.etcd.Server
	own, err := unless(n.wound, func() (own mvcc.KeyValueHash, err error) {
		defer func() { // of a node that ends meanwhile, or a file that is damaged where it says what is where
			if p := recover(); p != nil {
				err = fmt.Errorf("%v", p)
			}
		}()
		select {
		case <-server.StoppingNotify():
			return own, errors.New("it ends")
		default:
		}
		own, _, err = server.KV().HashStorage().HashByRev(0)
		return own, err
	})
	if err != nil {
		return contact("reading what this server's part of the engine keeps", err)
	}
	here := sum{own.CompactRevision, own.Hash}
	over, err := transport.NewTransport(n.etcd.Config().PeerTLSInfo, firstTry)
	if err != nil {
		return err
	}
	over.DisableKeepAlives = true // one request each, and no connection stays
	client := &http.Client{Transport: over, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ctx, done := context.WithTimeout(ctx, hashWithin)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer done()
	members := server.Cluster().Members()
	answers := make(chan said, len(members))
	voters, waits, counts := 0, 0, false
	for _, m := range members {
		if m.IsLearner {
			continue
		}
		voters++
		if m.ID == server.MemberID() {
			counts = true
			continue
		}
		waits++
		asked.Go(func() {
			is := said{name: m.Name, err: errors.New("it has no address")}
			if len(m.PeerURLs) > 0 {
				got, err := etcdserver.HashByRev(ctx, server.Cluster().ID(), client, m.PeerURLs[0], own.Revision)
				if is.err = err; err == nil {
					is.sum = sum{got.CompactRevision, got.Hash}
				}
			}
			answers <- is
		})
	}
	var all []said
	for ; waits > 0; waits-- {
		if judge(here, counts, all, voters) == nil {
			break // without those that are slow
		}
		all = append(all, <-answers)
	}
	return judge(here, counts, all, voters)
}

// judge says whether what is kept here is what a majority of those that count keep; counts says that this one is among them.
func judge(here sum, counts bool, all []said, voters int) error {
	same, others := 0, map[sum]int{}
	if counts {
		same++
	}
	var why []string
	for _, a := range all {
		switch {
		case errors.Is(a.err, rpctypes.ErrFutureRev), errors.Is(a.err, rpctypes.ErrCompacted), a.err == nil && a.sum.compacted != here.compacted:
			why = append(why, a.name+" is at another place now")
		case a.err != nil:
			why = append(why, a.name+" does not answer")
		case a.sum == here:
			same++
		default:
			others[a.sum]++
			why = append(why, a.name+" keeps something else")
		}
	}
	if same > voters/2 {
		return nil
	}
	for _, n := range others {
		if n > voters/2 {
			return sluice.Errorf(sluice.Config, "what this server's part of the engine keeps is not what the others keep: something on its disk has changed").
				WithHint("at another server: sluice server members replace; then start the new one with an empty --data").Lasts()
		}
	}
	e := sluice.Errorf(sluice.Contact, "what this server's part of the engine keeps is not compared yet with what a majority of the others keep")
	if len(why) > 0 {
		e.Err = fmt.Errorf("%s", strings.Join(why, ", "))
	}
	return e
}
