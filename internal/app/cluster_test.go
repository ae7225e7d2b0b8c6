package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
	"sluice/internal/app/cluster"
	"sluice/internal/lab/testfleet"
)

// twoPorts is an address of the loopback at which nobody listens, nor at the port after it.
func twoPorts(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = next.Close()
		return l.Addr().String()
	}
	t.Fatal("there are no two free ports side by side")
	return ""
}

// TestClusterOfOne: one server of a cluster does what a server does that is alone, also when it starts anew.
func TestClusterOfOne(t *testing.T) {
	at := twoPorts(t)
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), log: slog.NewTextHandler(os.Stderr, nil)}
	token := make(chan string, 10)
	s.set = func(server *app.Server) {
		server.Cluster = cluster.Config{Address: at, Name: "one"}
		server.FirstToken = func(secret string) error { token <- secret; return nil }
	}
	s.start()
	s.token = <-token
	s.connect()
	s.apply(localFleet)
	run := func() {
		t.Helper()
		j, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "echo I am $SLUICE_HOST"})
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := s.end(j.ID).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded || b.Counts[sluice.Succeeded] != 4 {
			t.Fatalf("it ended with %+v", b)
		}
	}
	run()
	if err := s.stop(); err != nil {
		t.Fatalf("the server ends with %v", err)
	}
	s.start()
	run()
	if len(token) > 0 {
		t.Error("a second first token")
	}
}

// hasty has the beginning of a server's first life take until the server owns the log.
type hasty struct {
	slog.Handler
	first, may *sync.Once
	can        chan struct{}
}

func (h hasty) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "this server has all of the log, and can own it":
		h.may.Do(func() { close(h.can) })
	case "the server's own worker opens secrets":
		h.first.Do(func() {
			<-h.can
			<-time.After(time.Second) // in which it owns it
		})
	}
	return h.Handler.Handle(ctx, r)
}

// TestOwnerBeforeItBegan: a server that owns the log before its life as a copy has begun lives on as the owner.
func TestOwnerBeforeItBegan(t *testing.T) {
	at := twoPorts(t)
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), log: hasty{slog.NewTextHandler(os.Stderr, nil), new(sync.Once), new(sync.Once), make(chan struct{})}}
	s.set = func(server *app.Server) {
		server.Cluster = cluster.Config{Address: at, Name: "one"}
		server.FirstToken = func(secret string) error { s.token = secret; return nil }
	}
	s.start()
	s.connect()
	s.apply(localFleet)
	s.runs("true")
	if err := s.stop(); err != nil {
		t.Fatalf("the server ends with %v", err)
	}
}

// crowd are the servers of a cluster, in this process.
type crowd struct {
	t       *testing.T
	names   []sluice.ServerName
	at      map[sluice.ServerName]string
	servers map[sluice.ServerName]*served
	token   chan string
	admin   string
	set     func(*app.Server) // may be nil
}

// newCrowd starts a cluster of one, and has others join.
func newCrowd(t *testing.T, names ...sluice.ServerName) *crowd {
	t.Helper()
	return newCrowdOn(t, nil, names...)
}

// newCrowdOn starts one whose servers are set up otherwise.
func newCrowdOn(t *testing.T, set func(*app.Server), names ...sluice.ServerName) *crowd {
	t.Helper()
	c := &crowd{t: t, set: set, at: map[sluice.ServerName]string{}, servers: map[sluice.ServerName]*served{}, token: make(chan string, 10)}
	for _, name := range names {
		c.at[name] = twoPorts(t)
		c.join(name)
		c.until(name, "owner", "copy")
	}
	return c
}

// join starts a server that is none of the cluster yet.
func (c *crowd) join(name sluice.ServerName) {
	c.t.Helper()
	token := ""
	if len(c.names) > 0 {
		got, err := c.any().client.InviteServer(c.t.Context(), name, "")
		if err != nil {
			c.t.Fatal(err)
		}
		token = got.Token
	}
	c.joinWith(name, token)
}

// joinWith starts it with a token; without one it begins a cluster.
func (c *crowd) joinWith(name sluice.ServerName, text string) {
	c.t.Helper()
	var token sluice.Secret
	if text != "" {
		token = sluice.NewSecret([]byte(text))
	}
	s := &served{t: c.t, data: filepath.Join(c.t.TempDir(), "data"), token: c.admin, log: slog.NewTextHandler(os.Stderr, nil).WithAttrs([]slog.Attr{slog.String("at", string(name))})}
	s.set = func(server *app.Server) {
		server.Cluster = cluster.Config{Address: c.at[name], Name: name, Token: token}
		server.FirstToken = func(secret string) error { c.token <- secret; return nil }
		if c.set != nil {
			c.set(server)
		}
	}
	s.start()
	if c.admin == "" {
		c.admin = <-c.token
		s.token = c.admin
		s.connect()
	}
	c.names, c.servers[name] = append(c.names, name), s
}

// until waits until a server has one of these roles.
func (c *crowd) until(name sluice.ServerName, roles ...string) {
	c.t.Helper()
	for c.t.Context().Err() == nil {
		got, err := c.any().client.Cluster(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		for _, m := range got.Members {
			if m.Name == name && slices.Contains(roles, m.Role) {
				return
			}
		}
		select {
		case <-c.t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// any is a server that runs.
func (c *crowd) any() *served { return c.servers[c.names[0]] }

// TestClusterOfThree: servers join, one after the other; each of them takes requests, and what it has is what all have.
func TestClusterOfThree(t *testing.T) {
	c := newCrowd(t, "a", "b", "c")
	c.servers["b"].apply(localFleet)
	for _, name := range c.names {
		c.servers[name].runs("echo I am $SLUICE_HOST, by " + string(name))
	}
	leads := func() (all, owners int) {
		got, err := c.any().client.Cluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Members {
			if m.Leads {
				all++
				if m.Role == api.OwnerRole {
					owners++
				}
			}
		}
		return all, owners
	}
	// The owner has another one lead as soon as there is another one.
	for all, owners := leads(); all != 1 || owners != 0; all, owners = leads() {
		select {
		case <-t.Context().Done():
			t.Fatalf("%d lead, %d of them own the log", all, owners)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestOwnerLeaves: a job goes on when the server ends that carries it out, and no command runs twice. Who follows the job at another server
// sees all of it.
func TestOwnerLeaves(t *testing.T) {
	hosts := testfleet.StartPlain(t, 4)
	c := newCrowdOn(t, func(server *app.Server) { server.Home = hosts.Home }, "a", "b", "c")
	b := c.servers["b"]
	b.apply("tag: {web: [" + strings.Join(names(hosts), ", ") + "]}\nconstraint: {$web: 2}\n")
	marks := t.TempDir()
	gate := filepath.Join(marks, "gate")
	j, err := b.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "echo $SLUICE_HOST >> " + marks + "/ran; until test -e " + gate + "; do sleep 0.05; done"})
	if err != nil {
		t.Fatal(err)
	}
	ran := func() int {
		text, err := os.ReadFile(filepath.Join(marks, "ran"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Count(string(text), "\n")
	}
	for ran() < 2 { // one that is not begun yet could end without anybody knowing whether it was
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := c.servers["a"].stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	last, err := b.client.Follow(t.Context(), string(j.ID), 0, func(sluice.Event) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := last.Body.(sluice.JobFinished); !ok || e.Outcome != sluice.Succeeded || e.Counts[sluice.Succeeded] != 4 {
		events, err := b.client.Events(t.Context(), string(j.ID), 0)
		for _, e := range events {
			t.Logf("%d %T%+v", e.Seq, e.Body, e.Body)
		}
		t.Fatalf("it ended with %+v, error %v", last.Body, err)
	}
	if n := ran(); n != 4 {
		t.Errorf("%d commands ran", n)
	}
	c.servers["a"].start()
	c.servers["a"].runs("true")
}

func names(f *testfleet.Fleet) (out []string) {
	for _, h := range f.Hosts {
		out = append(out, h.Name)
	}
	return out
}

// TestEngineElsewhere: servers share an etcd that exists already, as if they made it up themselves.
func TestEngineElsewhere(t *testing.T) {
	engine := existing(t)
	c := newCrowdOn(t, func(server *app.Server) { server.Cluster.Engine.Endpoints = []string{engine} }, "a", "b", "c")
	b := c.servers["b"]
	b.apply(localFleet)
	b.runs("true")
	if err := c.servers["a"].stop(); err != nil {
		t.Fatal(err)
	}
	b.runs("true")
}

// TestRemovedWhileItWaits: a server that waits for the log when it is removed does not own it when the owner is gone, though it runs on where the
// engine is elsewhere.
func TestRemovedWhileItWaits(t *testing.T) {
	engine, said := existing(t), newTold()
	c := newCrowdOn(t, func(server *app.Server) {
		server.Cluster.Engine.Endpoints = []string{engine}
		if server.Cluster.Name == "b" {
			server.Log = slog.New(slog.NewTextHandler(said, nil))
		}
	}, "a", "b")
	said.wait(t, "this server has all of the log, and can own it")
	a := c.servers["a"]
	if err := a.client.RemoveServer(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	said.wait(t, "this server was removed from the cluster")
	if text := said.String(); strings.Contains(text, "this server owns the log") {
		t.Errorf("it owns the log:\n%s", text)
	}
	a.start()
	a.apply(localFleet)
	a.runs("true")
}

// existing is an etcd that others run.
func existing(t *testing.T) string {
	t.Helper()
	c := embed.NewConfig()
	c.Dir, c.Logger, c.LogOutputs = t.TempDir(), "zap", []string{filepath.Join(t.TempDir(), "log")}
	at := url.URL{Scheme: "http", Host: twoPorts(t)}
	peers := url.URL{Scheme: "http", Host: twoPorts(t)}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{at}, []url.URL{at}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peers}, []url.URL{peers}
	c.InitialCluster = c.Name + "=" + peers.String()
	e, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	return at.String()
}

// only is a token without the addresses of some servers.
func only(t *testing.T, token string, addresses ...string) string {
	t.Helper()
	rest, _ := strings.CutPrefix(token, "sluices.")
	text, err := base64.RawURLEncoding.DecodeString(rest)
	var is map[string]any
	if err == nil {
		err = json.Unmarshal(text, &is)
	}
	if err == nil {
		is["addresses"] = addresses
		text, err = json.Marshal(is)
	}
	if err != nil {
		t.Fatal(err)
	}
	return "sluices." + base64.RawURLEncoding.EncodeToString(text)
}

// TestJoinAtAny: a server joins by way of one that does not own the log, and one that was let in and never came can be taken out again, so
// that the next one gets in.
func TestJoinAtAny(t *testing.T) {
	c := newCrowd(t, "a", "b")
	ctx := t.Context()
	client := c.any().client
	never, err := client.InviteServer(ctx, "never", "")
	if err != nil {
		t.Fatal(err)
	}
	// It asks, and goes away with what it was given.
	gone := &app.Server{Data: t.TempDir(), Listen: "127.0.0.1:0", Home: t.TempDir(), Env: func(string) string { return "" }, Clock: app.Now,
		Log: slog.New(slog.DiscardHandler), Cluster: cluster.Config{Address: twoPorts(t), Name: "never", Token: sluice.NewSecret([]byte(never.Token))}}
	blocked, err := net.Listen("tcp", gone.Cluster.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer blocked.Close()
	host, port, _ := net.SplitHostPort(gone.Cluster.Address)
	n, _ := strconv.Atoi(port)
	next, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(n+1)))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := gone.Run(ctx); err == nil {
		t.Fatal("it started")
	}
	if err := client.RemoveServer(ctx, "never"); err != nil {
		t.Fatal(err)
	}
	invited, err := client.InviteServer(ctx, "c", "")
	if err != nil {
		t.Fatal(err)
	}
	c.at["c"] = twoPorts(t)
	c.joinWith("c", only(t, invited.Token, c.at["b"]))
	c.until("c", "copy")
}

// TestLostStore: a server that has lost what etcd kept does not take part as the one that it was.
func TestLostStore(t *testing.T) {
	c := newCrowd(t, "a")
	a := c.servers["a"]
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(a.data, "etcd")); err != nil {
		t.Fatal(err)
	}
	err := (&app.Server{Data: a.data, Listen: "127.0.0.1:0", Home: t.TempDir(), Env: func(string) string { return "" }, Clock: app.Now,
		Log: slog.New(slog.DiscardHandler), Cluster: cluster.Config{Address: c.at["a"], Name: "a"}}).Run(t.Context())
	if sluice.CodeOf(err) != sluice.Config || !strings.Contains(err.Error(), "has lost what its part of the engine kept") {
		t.Errorf("it ended with %v", err)
	}
}
