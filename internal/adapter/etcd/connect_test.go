package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"sluice"
	"sluice/internal/adapter/etcd"
	"sluice/internal/lab/conform"
)

// elsewhere is an etcd with a listener for clients, as others run it.
type elsewhere struct {
	t    testing.TB
	cfg  *embed.Config
	etcd *embed.Etcd
	url  string
}

// newElsewhere starts one; ca is nil for one without TLS.
func newElsewhere(t testing.TB, ca *certifier, set func(*embed.Config)) *elsewhere {
	t.Helper()
	c := embed.NewConfig()
	c.Name, c.Dir, c.ZapLoggerBuilder = "else", filepath.Join(t.TempDir(), "etcd"), embed.NewZapLoggerBuilder(zap.NewNop())
	peer, client := url.URL{Scheme: "http", Host: freeAddress(t)}, url.URL{Scheme: "http", Host: freeAddress(t)}
	if ca != nil {
		node := etcd.NodeConfig{Name: "else"}
		ca.issue(&node)
		client.Scheme = "https"
		c.ClientTLSInfo = transport.TLSInfo{CertFile: node.Certificate, KeyFile: node.Key}
	}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.InitialCluster = c.Name + "=" + peer.String()
	if set != nil {
		set(c)
	}
	e := &elsewhere{t: t, cfg: c, url: client.String()}
	e.start()
	t.Cleanup(func() { e.etcd.Close() })
	return e
}

func (e *elsewhere) start() {
	e.t.Helper()
	var err error
	if e.etcd, err = embed.StartEtcd(e.cfg); err != nil {
		e.t.Fatal(err)
	}
	select {
	case <-e.etcd.Server.ReadyNotify():
	case <-time.After(time.Minute):
		e.t.Fatal("it does not start")
	}
}

// guarded has it ask for users: ann may all below /sluice/, bob may read there, carl may nothing.
func (e *elsewhere) guarded() {
	e.t.Helper()
	c, ctx := v3client.New(e.etcd.Server), e.t.Context()
	defer c.Close()
	end := clientv3.GetPrefixRangeEnd("/sluice/")
	must := func(_ any, err error) {
		e.t.Helper()
		if err != nil {
			e.t.Fatal(err)
		}
	}
	for _, user := range []string{"root", "ann", "bob", "carl"} {
		must(c.UserAdd(ctx, user, "secret-"+user))
		must(c.RoleAdd(ctx, user))
		must(c.UserGrantRole(ctx, user, user))
	}
	must(c.RoleGrantPermission(ctx, "ann", "/sluice/", end, clientv3.PermissionType(clientv3.PermReadWrite)))
	must(c.RoleGrantPermission(ctx, "bob", "/sluice/", end, clientv3.PermissionType(clientv3.PermRead)))
	must(c.AuthEnable(ctx))
}

// connects reaches it, until the end of the test.
func connects(t testing.TB, cfg etcd.ConnectConfig) *clientv3.Client {
	t.Helper()
	c, err := etcd.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestElsewhere: an etcd that others run, with TLS and users, keeps the contract.
func TestElsewhere(t *testing.T) {
	ca := newCertifier(t)
	e := newElsewhere(t, ca, nil)
	e.guarded()
	n := 0
	conform.Engine(t, func(t *testing.T) (a, b sluice.Engine) {
		n++
		engine := func() sluice.Engine {
			cfg := etcd.ConnectConfig{Endpoints: []string{e.url}, CA: ca.file, User: "ann", Password: "secret-ann", Prefix: fmt.Sprintf("/sluice/%d/", n)}
			e, err := etcd.New(connects(t, cfg), etcd.Config{Prefix: cfg.Prefix, Shared: true, Lease: 30 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		return engine(), engine()
	})
}

// TestElsewhereStartsAgain: tokens end, and those of a start are not known after the next; the log goes on.
func TestElsewhereStartsAgain(t *testing.T) {
	ca := newCertifier(t)
	e := newElsewhere(t, ca, func(c *embed.Config) { c.AuthTokenTTL = 1 })
	e.guarded()
	c := connects(t, etcd.ConnectConfig{Endpoints: []string{e.url}, CA: ca.file, User: "ann", Password: "secret-ann"})
	engine, err := etcd.New(c, etcd.Config{Lease: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	term := own(t, engine, "a")
	first := event("prod", sluice.Head{}, 1, "1")
	end := put(t, term, first)
	came := make(chan uint64, 10)
	following, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- engine.Follow(following, nil, func(all []sluice.Record) error {
			for _, r := range all {
				came <- r.Last
			}
			return nil
		})
	}()
	defer func() {
		stop()
		<-ended
	}()
	arrives := func(want uint64) {
		t.Helper()
		select {
		case n := <-came:
			if n != want {
				t.Errorf("event %d, want %d", n, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("event %d does not come", want)
		}
	}
	arrives(1)
	<-time.After(2500 * time.Millisecond) // a token lasts 1 s, and nothing says that it has ended
	second := event("prod", end, 1, "2")
	end = put(t, term, second)
	arrives(2)
	e.etcd.Close()
	e.start()
	third := event("prod", end, 1, "3")
	put(t, term, third)
	arrives(3)
	has(t, engine, first, second, third)
}

// TestConnectSaysWhy nothing can be done with what it is given. No password is in it.
func TestConnectSaysWhy(t *testing.T) {
	ca, other := newCertifier(t), newCertifier(t)
	plain := newElsewhere(t, nil, nil)
	secure := newElsewhere(t, ca, nil)
	secure.guarded()
	mutual := newElsewhere(t, ca, func(c *embed.Config) { c.ClientTLSInfo.ClientCertAuth, c.ClientTLSInfo.TrustedCAFile = true, ca.file })
	small := newElsewhere(t, nil, func(c *embed.Config) { c.QuotaBackendBytes = 16 << 20 })
	full := newElsewhere(t, nil, nil)
	if _, err := full.etcd.Server.Alarm(t.Context(), &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, Alarm: etcdserverpb.AlarmType_NOSPACE, MemberID: uint64(full.etcd.Server.MemberID())}); err != nil {
		t.Fatal(err)
	}
	var mine, foreign etcd.NodeConfig
	mine.Name, foreign.Name = "mine", "foreign"
	ca.issue(&mine)
	other.issue(&foreign)
	named := strings.Replace(secure.url, "127.0.0.1", "localhost", 1)
	tlsOn := func(at, text string) string {
		return strings.Replace(at, text, "http"+map[bool]string{true: "s"}[text == "http"], 1)
	}
	ann := etcd.ConnectConfig{Endpoints: []string{secure.url}, CA: ca.file, User: "ann", Password: "secret-ann"}
	with := func(c etcd.ConnectConfig, set func(*etcd.ConnectConfig)) etcd.ConnectConfig {
		set(&c)
		return c
	}
	at := func(urls ...string) etcd.ConnectConfig { return etcd.ConnectConfig{Endpoints: urls} }
	for name, x := range map[string]struct {
		cfg  etcd.ConnectConfig
		code sluice.Code // "" where it is good
		says string
	}{
		"good":                   {ann, "", ""},
		"good, without TLS":      {at(plain.url), "", ""},
		"good, one is down":      {with(ann, func(c *etcd.ConnectConfig) { c.Endpoints = []string{"https://" + freeAddress(t), secure.url} }), "", ""},
		"good, with both":        {etcd.ConnectConfig{Endpoints: []string{mutual.url}, CA: ca.file, Cert: mine.Certificate, Key: mine.Key}, "", ""},
		"wrong password":         {with(ann, func(c *etcd.ConnectConfig) { c.Password = "secret-wrong" }), sluice.Denied, "does not know the user ann with this password"},
		"nobody's password":      {with(ann, func(c *etcd.ConnectConfig) { c.User = "dora" }), sluice.Denied, "does not know the user dora"},
		"no user":                {with(ann, func(c *etcd.ConnectConfig) { c.User, c.Password = "", "" }), sluice.Denied, "wants a user"},
		"no right":               {with(ann, func(c *etcd.ConnectConfig) { c.User, c.Password = "carl", "secret-carl" }), sluice.Denied, "reading below /sluice/: etcd does not let the user carl"},
		"may only read":          {with(ann, func(c *etcd.ConnectConfig) { c.User, c.Password = "bob", "secret-bob" }), sluice.Denied, "writing below /sluice/"},
		"another prefix":         {with(ann, func(c *etcd.ConnectConfig) { c.Prefix = "/other/" }), sluice.Denied, "below /other/"},
		"a user without need":    {with(at(plain.url), func(c *etcd.ConnectConfig) { c.User, c.Password = "ann", "secret-ann" }), sluice.Config, "asks nobody for a password"},
		"another authority":      {with(ann, func(c *etcd.ConnectConfig) { c.CA = other.file }), sluice.Config, "an authority that is not known here"},
		"no authority":           {with(ann, func(c *etcd.ConnectConfig) { c.CA = "" }), sluice.Config, "an authority that is not known here"},
		"another name":           {with(ann, func(c *etcd.ConnectConfig) { c.Endpoints = []string{named} }), sluice.Config, "another name"},
		"http to TLS":            {at(tlsOn(secure.url, "https")), sluice.Config, "wants TLS"},
		"TLS to http":            {with(ann, func(c *etcd.ConnectConfig) { c.Endpoints = []string{tlsOn(plain.url, "http")} }), sluice.Config, "speaks no TLS"},
		"no certificate":         {etcd.ConnectConfig{Endpoints: []string{mutual.url}, CA: ca.file}, sluice.Config, "wants a certificate"},
		"another's certificate":  {etcd.ConnectConfig{Endpoints: []string{mutual.url}, CA: ca.file, Cert: foreign.Certificate, Key: foreign.Key}, sluice.Config, "does not take the certificate"},
		"nobody there":           {at("http://" + freeAddress(t)), sluice.Contact, "cannot be reached"},
		"little quota":           {at(small.url), sluice.Config, "quota of 16 MiB"},
		"full":                   {at(full.url), sluice.Contact, "is full"},
		"no address":             {at(), sluice.Usage, "no address"},
		"no port":                {at("https://example.com"), sluice.Usage, "address 1 of etcd is none"},
		"no scheme":              {at(plain.url, "127.0.0.1:2379"), sluice.Usage, "address 2 of etcd is none"},
		"in the clear":           {at("http://192.0.2.1:2379"), sluice.Usage, "no TLS"},
		"a password in it":       {at("https://ann:secret-ann@127.0.0.1:2379"), sluice.Usage, "has a user in it"},
		"both":                   {at(plain.url, secure.url), sluice.Usage, "differs from the first"},
		"a path":                 {at(plain.url + "/v3"), sluice.Usage, "more than a host and a port"},
		"a prefix without slash": {with(ann, func(c *etcd.ConnectConfig) { c.Prefix = "/sluice" }), sluice.Usage, "does not end with a slash"},
		"a CA without TLS":       {with(at(plain.url), func(c *etcd.ConnectConfig) { c.CA = ca.file }), sluice.Usage, "begins with http://"},
		"no password":            {with(ann, func(c *etcd.ConnectConfig) { c.Password = "" }), sluice.Usage, "needs a password"},
		"no key":                 {with(ann, func(c *etcd.ConnectConfig) { c.Cert = mine.Certificate }), sluice.Usage, "needs its key"},
		"no authority in it":     {with(ann, func(c *etcd.ConnectConfig) { c.CA = mine.Key }), sluice.Config, "no certificate in it"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := etcd.Connect(t.Context(), x.cfg)
			if err == nil {
				_ = c.Close()
			}
			if x.code == "" && err == nil {
				return
			}
			if sluice.CodeOf(err) != x.code || !strings.Contains(fmt.Sprint(err), x.says) {
				t.Errorf("it says %s: %v", sluice.CodeOf(err), err)
			}
			if strings.Contains(fmt.Sprint(err), "secret-") {
				t.Errorf("a password is in it: %v", err)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]bool{"3.7.3": true, "3.5.0": true, "3.5.17-rc.1": true, "4.0.0": true, "3.4.34": false, "2.3.8": false, "3": false, "": false, "x.9": false} {
		if got := etcd.Recent(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// proxy passes on what goes between clients and an address, until it is told to drop the next answer.
type proxy struct {
	t     testing.TB
	to    string
	l     net.Listener
	drops atomic.Bool
	cut   atomic.Int64
	all   sync.WaitGroup
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, to: to, l: l}
	ctx, stop := context.WithCancel(context.Background())
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(ctx, c) })
		}
	})
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		p.all.Wait()
	})
	return p
}

func (p *proxy) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _, _ = c.Close(), s.Close() })()
	var ask sync.WaitGroup
	defer ask.Wait()
	ask.Go(func() {
		_, _ = io.Copy(s, c)
		_ = s.Close()
	})
	b := make([]byte, 64<<10)
	for {
		n, err := s.Read(b)
		if err == nil && p.drops.CompareAndSwap(true, false) {
			p.cut.Add(1)
			err = errors.New("dropped")
		} else if n > 0 {
			_, err = c.Write(b[:n])
		}
		if err != nil {
			_ = c.Close()
			return
		}
	}
}

// TestLostAnswersOnTheWire: connections break when an answer comes; what was appended is there once, and appended to no end.
func TestLostAnswersOnTheWire(t *testing.T) {
	e := newElsewhere(t, nil, nil)
	p := newProxy(t, strings.TrimPrefix(e.url, "http://"))
	engine, err := etcd.New(connects(t, etcd.ConnectConfig{Endpoints: []string{"http://" + p.l.Addr().String()}}), etcd.Config{Lease: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	term := own(t, engine, "a")
	var all []sluice.Record
	var end sluice.Head
	for i := range 20 {
		r := event("prod", end, 1, fmt.Sprint(i))
		p.drops.Store(true)
		end = put(t, term, r)
		all = append(all, r)
	}
	p.drops.Store(false)
	has(t, engine, all...)
	if n := p.cut.Load(); n < 10 {
		t.Errorf("only %d answers were lost", n)
	}
}
