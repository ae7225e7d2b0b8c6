package cluster

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/app/private"
	"sluice/internal/run/copies"
)

// wire answers the other servers.
func (c *cluster) wire() peerwire.ServerConfig {
	keeper := copies.Keeper{Outputs: c.here.outputs}
	return peerwire.ServerConfig{Name: string(c.seat.Name), Certificate: c.identity.member.Certificate, Roots: c.identity.servers.Roots(), WhoIs: authority.MemberOf, Admit: c.neighbours.admit,
		Heard: func(name string, protocol int) { c.neighbours.voices.heard(name, protocol, c.s.Log) },
		Join:  c.join,
		API: func() func(http.ResponseWriter, *http.Request) bool {
			if o := c.present.api.Load(); o != nil && o.lasts() {
				return o.answer
			}
			return nil
		},
		Line: func() func(context.Context, net.Conn) {
			if o := c.present.api.Load(); o == nil || !o.lasts() {
				return nil
			}
			return func(ctx context.Context, conn net.Conn) {
				if !c.s.Doors.Bring(ctx, "workers", conn) {
					_ = conn.Close()
				}
			}
		},
		Asks:    map[string]func(context.Context, string, json.RawMessage) (any, error){"join": c.joinFor, "about": c.answerAbout, "halts/settled": c.haltsSettled, "halts/offer": c.haltsOffered},
		Kept:    peerwire.Kept{Records: c.recordsOf, Blobs: c.here.Blobs, KeepOutput: keeper.KeepOutput, OutputSize: keeper.OutputSize, OpenOutput: keeper.OpenOutput},
		Trouble: func(text string) { c.s.Log.Debug("a server comes in vain", "why", text) }}
}

const (
	// batchRecords and batchBytes bound what is handed on at once.
	batchRecords = 500
	batchBytes   = 1 << 20
)

// recordsOf are the records of one namespace behind an event.
func (c *cluster) recordsOf(ctx context.Context, ns sluice.Namespace, after uint64, visit func([]sluice.Record) error) error {
	heads, err := c.journal.Heads(ctx)
	if err != nil {
		return err
	}
	behind := map[sluice.Namespace]uint64{}
	for _, h := range heads {
		behind[h.Namespace] = math.MaxUint64 >> 1 // nothing of any other
	}
	behind[ns] = after
	var batch []sluice.Record
	size := 0
	err = c.journal.Records(ctx, behind, func(r sluice.Record) error {
		if r.Namespace != ns {
			return nil
		}
		r.Payload = append([]byte(nil), r.Payload...)
		batch, size = append(batch, r), size+len(r.Payload)
		if len(batch) < batchRecords && size < batchBytes {
			return nil
		}
		err := visit(batch)
		batch, size = nil, 0
		return err
	})
	if err == nil && len(batch) > 0 {
		err = visit(batch)
	}
	return err
}

// grant is what a server is given that joins: it makes it one of those that know everything.
type grant struct {
	Cluster string            `json:"cluster"`
	Nodes   map[string]string `json:"nodes"`
	// Others are where the members are reached, by their names. What the engine does not keep any more comes from them.
	Others map[string]string `json:"others,omitempty"`
	// Elsewhere says that the engine is an etcd elsewhere.
	Elsewhere bool   `json:"elsewhere,omitempty"`
	Servers   []byte `json:"servers"` // the authority for servers, with its key
	Workers   []byte `json:"workers"` // that for workers
	Heads     []byte `json:"heads"`   // the key that heads are signed with
}

// join lets a server in that shows a token. Who does not own the log asks the owner to.
func (c *cluster) join(ctx context.Context, j peerwire.Joining) (json.RawMessage, error) {
	if c.present.api.Load() != nil {
		return c.letIn(ctx, j)
	}
	v := c.outlook.now()
	if !v.another(c.seat.Name) {
		return nil, sluice.Errorf(sluice.Contact, "no server owns the log now").WithHint("try again in a moment")
	}
	k, err := c.neighbours.of(v.owner.Name, v.owner.Address)
	if err != nil {
		return nil, err
	}
	var out json.RawMessage
	err = k.Ask(ctx, "join", j, &out)
	return out, err
}

// joinFor is a join that another server was asked for.
func (c *cluster) joinFor(ctx context.Context, _ string, in json.RawMessage) (any, error) {
	var j peerwire.Joining
	if err := json.Unmarshal(in, &j); err != nil {
		return nil, sluice.Errorf(sluice.Usage, "this is no joining: %v", err)
	}
	if c.present.api.Load() == nil {
		return nil, sluice.Errorf(sluice.Contact, "this server does not own the log").WithHint("try again in a moment")
	}
	return c.letIn(ctx, j)
}

// letIn makes a server a member, and takes its etcd in. A server that asks again is given the same.
func (c *cluster) letIn(ctx context.Context, j peerwire.Joining) (json.RawMessage, error) {
	at, err := etcdAt(j.Address)
	if err != nil {
		return nil, err
	}
	if err := c.oneAtATime(ctx, at); err != nil {
		return nil, err
	}
	if err := c.exclude(ctx); err != nil { // who was removed, and may come again by this name: its node must be gone before
		return nil, err
	}
	if _, err := c.neighbours.members.Join(ctx, sluice.ServerName(j.Name), j.Secret, j.Address, j.From); err != nil {
		return nil, err
	}
	if err := c.exclude(ctx); err != nil { // the one that it replaces
		return nil, err
	}
	var nodes map[string]string
	if c.engine.node != nil {
		if nodes, err = c.engine.node.Add(ctx, j.Name, at); err != nil {
			return nil, err
		}
	}
	workers, err := authority.OpenWorkers(c.s.Data, c.s.Clock)
	if err != nil {
		return nil, err
	}
	heads, err := headsdir.Dir(c.s.Data).Key()
	if err != nil {
		return nil, err
	}
	others, err := c.neighbours.addresses(ctx, sluice.ServerName(j.Name))
	if err != nil {
		return nil, err
	}
	c.s.Log.Info("a server joins", "server", j.Name, "address", j.Address, "from", j.From)
	servers, forWorkers := c.identity.servers.Secret(), workers.Secret()
	defer servers.Wipe()
	defer forWorkers.Wipe()
	return json.Marshal(grant{Cluster: c.seat.Cluster, Nodes: nodes, Others: others, Elsewhere: c.seat.Elsewhere, Servers: servers.Reveal(), Workers: forWorkers.Reveal(), Heads: heads})
}

// oneAtATime says that another server joins now, and does not count yet: two at once could be no majority. Who asks tries again.
func (c *cluster) oneAtATime(ctx context.Context, at string) error {
	all, err := c.engine.nodes(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Learner && m.Address != at {
			return sluice.Errorf(sluice.Contact, "the server at %s joins now, and one does so at a time", m.Address).
				WithHint("start it, or take it out: sluice server members remove NAME")
		}
	}
	return nil
}

// joinToken is what a server is given to join with.
type joinToken struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"` // of servers that are there
	Secret    string   `json:"secret"`
	Pin       string   `json:"pin"` // of the authority for servers
}

const joinPrefix = "sluices."

func (t joinToken) String() string {
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings can be written
	}
	return joinPrefix + base64.RawURLEncoding.EncodeToString(text)
}

// parseJoinToken never shows what it was given.
func parseJoinToken(text string) (t joinToken, err error) {
	bad := sluice.Errorf(sluice.Usage, "this is no token for a server").WithHint("sluice server members add NAME, of a server of the cluster, prints one")
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), joinPrefix)
	packed, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil || json.Unmarshal(packed, &t) != nil || len(t.Addresses) == 0 || t.Secret == "" || t.Pin == "" {
		return t, bad
	}
	if _, err := sluice.ParseServerName(t.Name); err != nil {
		return t, bad
	}
	return t, nil
}

// token lets a server in under a name.
func (c *cluster) token(ctx context.Context, name sluice.ServerName, secret string) (string, error) {
	t := joinToken{Name: string(name), Secret: secret, Pin: c.identity.servers.Pin(), Addresses: []string{c.seat.Address}}
	all, err := c.neighbours.members.All(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range all {
		if m.Joined && m.Name != c.seat.Name {
			t.Addresses = append(t.Addresses, m.Address)
		}
	}
	return t.String(), nil
}

// enterWith joins a cluster with a token. What this server needs is on its disk before it knows that it has joined.
func (c *cluster) enterWith(ctx context.Context, text sluice.Secret) error {
	s := c.s
	t, err := parseJoinToken(string(text.Reveal()))
	if err != nil {
		return err
	}
	if t.Name != string(s.Cluster.Name) {
		return sluice.Errorf(sluice.Usage, "the token is for the server %s, and this one is %s", t.Name, s.Cluster.Name).WithHint("--name %s", t.Name)
	}
	got, err := c.ask(ctx, t)
	if err != nil {
		return err
	}
	defer got.Wipe()
	var g grant
	if err := json.Unmarshal(got.Reveal(), &g); err != nil {
		return sluice.Errorf(sluice.Contact, "what the cluster answers cannot be read")
	}
	err = errors.Join(authority.AdoptServers(s.Data, sluice.NewSecret(g.Servers)), authority.AdoptWorkers(s.Data, sluice.NewSecret(g.Workers)))
	if err == nil {
		err = private.Write(filepath.Join(s.Data, headsKey), g.Heads)
	}
	if err == nil {
		err = os.RemoveAll(filepath.Join(s.Data, etcdDir)) // of a start that was not finished
	}
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	c.seat = Seat{Cluster: g.Cluster, Name: s.Cluster.Name, Address: s.Cluster.Address, Joins: true, Nodes: g.Nodes, Others: g.Others, Elsewhere: g.Elsewhere}
	return c.seat.Keep(s.Data)
}

// headsKey is where headsdir keeps its key.
const headsKey = "heads.key"

// joinWithin bounds what a new server waits for the others: they may be choosing an owner.
const joinWithin = time.Minute

// ask asks the servers of a token, one after the other, until one answers.
func (c *cluster) ask(ctx context.Context, t joinToken) (sluice.Secret, error) {
	ctx, done := context.WithTimeout(ctx, joinWithin)
	defer done()
	for {
		var failed error
		for _, address := range t.Addresses {
			got, err := peerwire.JoinAt(ctx, address, authority.Members, func(x *x509.Certificate) bool { return authority.PinOf(x) == t.Pin },
				peerwire.Joining{Secret: t.Secret, Name: t.Name, Address: c.s.Cluster.Address})
			if err == nil {
				return got, nil
			}
			if sluice.CodeOf(err) != sluice.Contact {
				return got, err
			}
			failed = errors.Join(failed, err)
		}
		select {
		case <-ctx.Done():
			return sluice.Secret{}, failed
		case <-time.After(ownRetry):
		}
	}
}
