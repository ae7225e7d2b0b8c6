package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/pkg/v3/featuregate"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

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
	etcd   *embed.Etcd
	client *clientv3.Client
}

const (
	defaultQuota = 2 << 30
	// A leader that is not heard of is replaced after 0.5 to 1 s.
	heartbeatMS, electionMS = 50, 500
	// What is kept in memory for followers that lag: with the defaults of etcd that would be hundreds of megabytes.
	snapshotEvery, snapshotBehind = 1000, 500
	maxRequest                    = 2 << 20
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
	case <-n.Stopped():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = n.Close()
	return nil, &sluice.Error{Code: sluice.Contact, Text: "the node takes no part in the cluster", Err: err}
}

// Begin starts a node, and does not wait for others: until it takes part in the cluster, its client has no answers.
func Begin(cfg NodeConfig) (*Node, error) {
	c, err := embedded(cfg)
	if err != nil {
		return nil, err
	}
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the node of the cluster does not start", Err: err}
	}
	return &Node{etcd: e, client: v3client.New(e.Server)}, nil
}

// Ready is closed when the node takes part in the cluster.
func (n *Node) Ready() <-chan struct{} { return n.etcd.Server.ReadyNotify() }

func embedded(cfg NodeConfig) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name, c.Dir = cfg.Name, cfg.Dir
	secure := cfg.Certificate != ""
	at := func(hostport string) url.URL {
		if secure {
			return url.URL{Scheme: "https", Host: hostport}
		}
		return url.URL{Scheme: "http", Host: hostport}
	}
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
	if secure {
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
	gates := map[string]bool{string(features.InitialCorruptCheck): true, string(features.CompactHashCheck): true}
	if err := c.ServerFeatureGate.(featuregate.MutableFeatureGate).SetFromMap(gates); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(cfg.Trouble))
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
func (n *Node) defragment() error { return n.etcd.Server.Backend().Defrag() }

// Stopped is closed when the node has ended by itself, as it does when its disk fails.
func (n *Node) Stopped() <-chan struct{} { return n.etcd.Server.StopNotify() }

// Close ends the node.
func (n *Node) Close() error {
	_ = n.client.Close() // it has no connection to close, and says that its context has ended
	n.etcd.Close()
	return nil
}
