package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/net/http/httpproxy"

	"sluice"
)

// NodeConfig is what one node of an embedded etcd needs.
type NodeConfig struct {
	// Name is that of the server; no two of a cluster have the same.
	Name string
	// Dir holds what the node keeps.
	Dir string
	// Listen and Advertise are where the other nodes come, HOST:PORT: to listen on, and as they reach it.
	Listen, Advertise string
	// Nodes are all that the cluster begins with, or has when the node joins, by name: where they are reached. It counts at the first start.
	Nodes map[string]string
	// Joins says that the cluster is there already, and has taken the node in.
	Joins bool
	// Certificate, Key and Authority are files for what nodes say to each other; both sides show theirs. Certificate and key, which may
	// be one file, are read at every handshake, and have to fit together at all times.
	Certificate, Key, Authority string
	// Common is a DNS name that the certificates of all nodes have, and nobody else's; "" is any.
	Common string
	// Token tells one cluster from another.
	Token string
	// Quota is how many bytes the node keeps at most; 0: 2 GiB.
	Quota int64
	// Trouble is told what etcd says that a person has to know. It must not block.
	Trouble func(text string)
}

// Node is a running etcd in this process. It listens for other nodes, and for nobody else.
type Node struct {
	etcd    *embed.Etcd
	client  *clientv3.Client
	wound   *wound
	stopped chan struct{}
	watch   sync.WaitGroup
}

// wound is what a node cannot go on with, such as a full disk. etcd would end the process then.
type wound struct {
	name    string // of the node
	trouble func(string)
	once    sync.Once
	struck  chan struct{}
	why     error // once struck is closed
}

// OnWrite is called for what etcd logs as fatal, and ends the goroutine that did: it must not go on. Nothing that it had not done before is
// acknowledged after that.
func (w *wound) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	w.once.Do(func() {
		text := e.Message
		for _, f := range fields {
			if err, is := f.Interface.(error); is && f.Type == zapcore.ErrorType {
				text += ": " + err.Error()
			}
		}
		w.why = sluice.Errorf(sluice.Contact, "the node of the cluster cannot go on: %s", text).WithHint("see that its disk has room and is sound, and start the server again: nothing that was acknowledged is lost")
		if went(e.Message) {
			w.why = sluice.Errorf(sluice.Contact, "the node of the cluster cannot go on: its disk is older than it was, and lacks what this node had told the others that it keeps (%s)", e.Message).
				WithHint("%s", replaceIt(w.name))
		}
		close(w.struck)
		if w.trouble != nil {
			w.trouble(w.why.Error())
		}
	})
	runtime.Goexit()
}

// went reports whether etcd says that what a node had kept is not there any more.
func went(message string) bool {
	return strings.Contains(message, "Was the raft log corrupted, truncated, or lost?")
}

// replaceIt says what is done about a node whose data cannot be used any more.
func replaceIt(name string) string {
	return fmt.Sprintf("at another server: sluice server members replace %s NEW; then start NEW with an empty --data", name)
}

// later is for what etcd panics with: what follows from a wound, or is one, does not end the process; anything else does.
type later struct{ *wound }

func (l later) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	select {
	case <-l.struck:
		runtime.Goexit()
	default:
	}
	if went(e.Message) || ofTheDisk(fields) {
		l.wound.OnWrite(e, fields)
	}
	panic(e.Message)
}

// ofTheDisk reports whether the system refused to keep or to read something.
func ofTheDisk(fields []zapcore.Field) bool {
	return slices.ContainsFunc(fields, func(f zapcore.Field) bool {
		err, is := f.Interface.(error)
		var refused syscall.Errno
		return is && f.Type == zapcore.ErrorType && errors.As(err, &refused)
	})
}

const (
	defaultQuota = 2 << 30
	// A leader that is not heard of is replaced after 0.5 to 1 s.
	heartbeatMS, electionMS = 50, 500
	// What is kept in memory for followers that lag: with the defaults of etcd that would be hundreds of megabytes.
	snapshotEvery, snapshotBehind = 1000, 500
	maxRequest                    = 2 << 20
	// lastWords is how long is waited for a node to end that cannot go on.
	lastWords = 3 * time.Second
)

// Start starts a node, and returns when it takes part in the cluster: where there is no majority of the others, that is never, and ctx
// ends the wait.
func Start(ctx context.Context, cfg NodeConfig) (*Node, error) {
	n, err := Begin(cfg)
	if err != nil {
		return nil, err
	}
	select {
	case <-n.Ready():
		return n, nil
	case err = <-n.etcd.Err():
	case <-n.etcd.Server.StopNotify():
		err = errors.New("it stopped")
	case <-n.wound.struck:
		err = n.wound.why
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = n.Close()
	return nil, &sluice.Error{Code: sluice.Contact, Text: "the node takes no part in the cluster", Err: err}
}

// Begin starts a node, and does not wait for others: until it takes part in the cluster, its client has no answers.
func Begin(cfg NodeConfig) (*Node, error) {
	if err := cfg.straight(httpproxy.FromEnvironment()); err != nil {
		return nil, err
	}
	w := &wound{name: cfg.Name, trouble: cfg.Trouble, struck: make(chan struct{})}
	c, err := embedded(cfg, w)
	if err != nil {
		return nil, err
	}
	type begun struct {
		e   *embed.Etcd
		err error
	}
	began := make(chan begun, 1)
	go func() { // it ends with the start, or by a wound
		e, err := embed.StartEtcd(c)
		began <- begun{e, err}
	}()
	n := &Node{wound: w, stopped: make(chan struct{})}
	select {
	case b := <-began:
		if b.err != nil {
			e := &sluice.Error{Code: sluice.Config, Text: "the node of the cluster does not start", Err: b.err}
			if strings.Contains(b.err.Error(), "data inconsistency") {
				e.Text, e.Hint = "the node of the cluster does not start: what it has is not what another one has", "if the others agree: "+replaceIt(cfg.Name)
			}
			return nil, e
		}
		n.etcd = b.e
	case <-w.struck:
		return nil, w.why
	}
	n.client = v3client.New(n.etcd.Server)
	n.client.KV = guarded{n.client.KV, w}
	n.watch.Go(func() {
		select {
		case <-n.etcd.Server.StopNotify():
		case <-w.struck:
		}
		close(n.stopped)
	})
	return n, nil
}

// Ready is closed when the node takes part in the cluster.
func (n *Node) Ready() <-chan struct{} { return n.etcd.Server.ReadyNotify() }

func (cfg NodeConfig) secure() bool { return cfg.Certificate != "" }

func (cfg NodeConfig) scheme() string {
	if cfg.secure() {
		return "https"
	}
	return "http"
}

func embedded(cfg NodeConfig, w *wound) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name, c.Dir = cfg.Name, cfg.Dir
	at := func(hostport string) url.URL { return url.URL{Scheme: cfg.scheme(), Host: hostport} }
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{at(cfg.Listen)}, []url.URL{at(cfg.Advertise)}
	c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil // clients are in this process
	var all []string
	for name, hostport := range cfg.Nodes {
		u := at(hostport)
		all = append(all, name+"="+u.String())
	}
	c.InitialCluster, c.InitialClusterToken = strings.Join(all, ","), cfg.Token
	c.ClusterState = embed.ClusterStateFlagNew
	if cfg.Joins {
		c.ClusterState = embed.ClusterStateFlagExisting
	}
	if cfg.secure() {
		// From where a node comes says nothing: it may have several addresses, or those of a network between. To etcd it would also
		// mean to ask DNS for every name in a certificate. The node that is gone to is the one that its certificate names.
		c.PeerTLSInfo = transport.TLSInfo{CertFile: cfg.Certificate, KeyFile: cfg.Key, TrustedCAFile: cfg.Authority, ClientCertAuth: true, SkipClientSANVerify: true}
		if cfg.Common != "" {
			c.PeerTLSInfo.AllowedHostnames = []string{cfg.Common}
		}
		c.TlsMinVersion = "TLS1.3"
	}
	c.TickMs, c.ElectionMs, c.PreVote = heartbeatMS, electionMS, true
	c.SnapshotCount, c.SnapshotCatchUpEntries = snapshotEvery, snapshotBehind
	c.QuotaBackendBytes, c.MaxRequestBytes = cfg.Quota, maxRequest
	if c.QuotaBackendBytes == 0 {
		c.QuotaBackendBytes = defaultQuota
	}
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModeRevision, "1000"
	c.EnableGRPCGateway, c.StrictReconfigCheck = false, true
	// A value that was changed on one node is otherwise served as it is.
	c.CompactHashCheckTime, c.CorruptCheckTime = time.Minute, 10*time.Minute
	// What is compared at the start is compared by Same.
	gates := map[string]bool{string(features.CompactHashCheck): true}
	if err := c.ServerFeatureGate.(featuregate.MutableFeatureGate).SetFromMap(gates); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(cfg.Trouble).WithOptions(zap.WithFatalHook(w), zap.WithPanicHook(later{w})))
	return c, nil
}

// logger tells what etcd logs as an error, and nothing else: it warns of every slow disk and network, for which there are metrics.
func logger(trouble func(string)) *zap.Logger {
	if trouble == nil {
		return zap.NewNop()
	}
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(told(trouble)), zapcore.ErrorLevel))
}

type told func(string)

func (t told) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(net.ErrClosed.Error())) { // each node says that when it ends in order
		return len(p), nil
	}
	t("etcd: " + strings.TrimSpace(string(p)))
	return len(p), nil
}

// Client is for this process.
func (n *Node) Client() *clientv3.Client { return n.client }

// room is how much the node has. To ask for it by the client would end the process where the node was taken out.
func (n *Node) room() room {
	b := n.etcd.Server.Backend()
	return room{b.Size(), b.SizeInUse(), n.etcd.Server.Cfg.QuotaBackendBytes, uint64(n.etcd.Server.Leader())}
}

// defragment writes the node's file anew. The client in this process cannot ask for that.
func (n *Node) defragment() error {
	_, err := unless(n.wound, func() (struct{}, error) { return struct{}{}, n.etcd.Server.Backend().Defrag() })
	return err
}

// Stopped is closed when the node has ended by itself: because its disk fails, or because it was taken out.
func (n *Node) Stopped() <-chan struct{} { return n.stopped }

// Err says why the node cannot go on, once it has stopped; nil where it was taken out or closed.
func (n *Node) Err() error {
	select {
	case <-n.wound.struck:
		return n.wound.why
	default:
		return nil
	}
}

// Close ends the node. One that cannot go on may not end either: then the rest of it ends with the process, which should not go on for long.
func (n *Node) Close() error {
	_ = n.client.Close() // it has no connection to close, and says that its context has ended
	n.end()
	n.watch.Wait()
	return nil
}

// end ends what etcd does, as far as it ends.
func (n *Node) end() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.etcd.Close()
	}()
	select {
	case <-ended:
		return
	case <-n.wound.struck:
	}
	select {
	case <-ended:
	case <-time.After(lastWords):
	}
}
