package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
	"sluice/internal/adapter/etcd"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/adapter/systemd"
	"sluice/internal/app/cluster"
	"sluice/internal/app/doors"
	"sluice/internal/app/private"
	"sluice/internal/front/cli"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
	"sluice/internal/run/lookout"
	"sluice/internal/run/retain"
	"sluice/internal/run/rights"
)

// Server is the program as a server: one log that many people share, and a worker of its own that carries jobs out.
type Server struct {
	// Data is the directory of everything that it keeps.
	Data string
	// Listen is the address of the API, HOST:PORT. Without TLS it must be one of the loopback.
	Listen string
	// Certificate and Key are files for TLS; "" for none.
	Certificate, Key string
	// ClientCA is a file of authorities whose certificates let machines in, as whom they name; "" for none.
	ClientCA string
	// OIDC lets people log in with OpenID.
	OIDC OIDC
	// Hosts are the names under which it is reached.
	Hosts []string
	// PublicURL is the address by which browsers reach it, such as https://sluice.example.com/fleet; "" is not known.
	PublicURL string
	// Home is where the worker's ssh settings and keys are; Env and Environ are its environment.
	Home    string
	Env     func(string) string
	Environ []string
	Clock   sluice.Clock
	// Over reaches all hosts, in place of ssh; nil: ssh does.
	Over sluice.Transport
	Log  *slog.Logger
	// LocalTargets lets fleets name this machine itself (transport: local): everybody who may apply one can then run
	// commands as the server.
	LocalTargets bool
	// Submitters is a file of the keys of those whose secrets the server's own worker takes. "": whoever comes first under a
	// name is believed, and remembered.
	Submitters string
	// WorkerListen is the address for workers, HOST:PORT; "" for none. A host alone leaves the port to the server.
	WorkerListen string
	// NoWorker carries nothing out in this process.
	NoWorker bool
	// WorkerLimit is how many attempts this process carries out at once; 0: sluice.DefaultConcurrency.
	WorkerLimit int
	// Lease is how long a worker may start attempts after it was heard of; 0: 15 s.
	Lease time.Duration
	// Cluster says how it takes part in a cluster.
	Cluster cluster.Config
	// FirstToken is handed the token of the first administrator, once in the life of the data, before it is valid. An
	// error ends the start, and the next start makes another one.
	FirstToken func(secret string) error
	// Keep says what is kept; the zero value keeps everything. Archive is a directory, or the s3:// URL of a bucket,
	// for what is not kept any more; "" is none.
	Keep    retain.Policy
	Archive string
	// Started is told the address when jobs are taken.
	Started func(address string)
	// MetricsListen is an address of the loopback where metrics are given without a token; "" for none.
	MetricsListen string
	// OTLPEndpoint is where traces go; "" leaves it to OTEL_EXPORTER_OTLP_*, and without those there are none.
	OTLPEndpoint string
	// TraceCommands puts the text of commands into the traces.
	TraceCommands bool
	// StopDelay is how long the server says that it is not ready, and answers all the same, before it stops.
	StopDelay time.Duration
	// NamespaceRate is how many requests a second may be about one namespace; 0: what the API takes by itself.
	NamespaceRate int
	// WebhookAllow are networks and hosts inside that webhooks may reach; WebhookHTTP lets them go without TLS.
	WebhookAllow []string
	WebhookHTTP  bool
	// Manager is told how the server is.
	Manager systemd.Manager
	// WorkersStarted is told the address for workers, before Started. May be nil.
	WorkersStarted func(address string)
}

// firstAdmin is who the first token is for.
const firstAdmin sluice.Principal = "admin"

const (
	stewardRetry = time.Second
	// headerTimeout bounds slow clients; grace is what requests have to end in when the server stops.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	grace         = 5 * time.Second
	// betweenLives is that time where another life follows: nobody is served meanwhile.
	betweenLives = 200 * time.Millisecond
)

// house is what stays the same while a server runs, from one of its lives to the next: on one machine there is one life; in a cluster
// another one begins whenever it becomes the owner of the log, or is not any more.
type house struct {
	secure  *tls.Config // nil: no TLS
	openID  httpapi.OpenID
	public  *url.URL        // nil: not known
	doors   *doors.Doors    // for workers and metrics
	front   *doors.Front    // for requests
	address string          // of the API; "" before it listens
	leaves  <-chan struct{} // closed when the server is told to end

	// Whoever started it is told once.
	began, workersBegan sync.Once
}

// leaving reports whether the server was told to end: otherwise another life may follow.
func (h *house) leaving() bool {
	select {
	case <-h.leaves:
		return true
	default:
		return false
	}
}

// Run serves until ctx ends or the log cannot be relied on any more.
func (s *Server) Run(ctx context.Context) (err error) {
	h := &house{doors: &doors.Doors{}, leaves: ctx.Done(),
		front: doors.NewFront(&http.Server{ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, ConnContext: withPeer, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelInfo)})}
	defer h.front.Close(0)
	if h.secure, err = s.check(); err != nil {
		return err
	}
	if h.openID, err = s.OIDC.provider(s.Clock); err != nil {
		return err
	}
	if h.public, err = publicURL(s.PublicURL); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the server's data", Err: err}
	}
	if s.Cluster.Address != "" {
		return s.among(ctx, h)
	}
	return s.alone(ctx, h)
}

// alone serves from a journal that nobody else has.
func (s *Server) alone(ctx context.Context, h *house) (err error) {
	if cluster.HasSeat(s.Data) {
		return sluice.Errorf(sluice.Config, "%s holds the data of a server of a cluster", s.Data).WithHint("sluice server --cluster HOST:PORT")
	}
	file, err := sqlitelog.Open(ctx, sqlitelog.Config{Dir: s.Data})
	if err != nil {
		return contact(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return s.live(ctx, h, file, cluster.Life{Owns: true})
}

// among serves as one of the servers of a cluster.
func (s *Server) among(ctx context.Context, h *house) error {
	in := cluster.Server{Cluster: s.Cluster, Data: s.Data, Clock: s.Clock, Log: s.Log, Version: Version, Keep: s.Keep, Doors: h.doors, Front: h.front, Prove: s.prove,
		Live: func(ctx context.Context, journal lookout.Journal, as cluster.Life) error {
			return s.live(ctx, h, journal, as)
		},
		Service: s.beside}
	if !s.NoWorker {
		in.Learn = s.learnKey
	}
	return cluster.Run(ctx, in)
}

// beside acts on a log for people, beside what the server does in a life.
func (s *Server) beside(log sluice.Log) (*control.Service, error) {
	local := &Local{Places: Places{Home: s.Home, State: s.Data, Config: s.Data}, Env: s.Env, Environ: s.Environ, Clock: s.Clock}
	return local.around(log)
}

// local does on this machine what a server's own worker does.
func (s *Server) local() *Local {
	return &Local{Places: Places{Home: s.Home, State: s.Data, Config: s.Data}, Env: s.Env, Environ: s.Environ, Clock: s.Clock, Over: s.Over, Machine: "the server's machine", Learns: true}
}

// live is one life of a server: it serves from a journal until ctx ends.
func (s *Server) live(ctx context.Context, h *house, journal lookout.Journal, as cluster.Life) error {
	guard, err := s.watch(ctx, journal, as)
	if err != nil {
		return contact(err)
	}
	sights, err := s.look(guard.Log(), as.Engine)
	if err != nil {
		return err
	}
	log := sights.journal
	local := s.local()
	service, err := local.around(log)
	if err != nil {
		return contact(err)
	}
	service.By, service.Turned = "server", guard.Turned
	service.Unreadable = func(ns sluice.Namespace, err error) {
		s.Log.Error("a namespace cannot be read", "namespace", ns, "err", err)
	}
	if as.Here != nil {
		service.Outputs, service.Blobs = as.Here.Outputs, as.Here.Blobs
	}
	here := cluster.Stored{Outputs: service.Outputs, Blobs: service.Blobs}
	if as.Around != nil {
		defer as.Around(service)()
	}
	keep, err := s.newCustody(service)
	if err != nil {
		return err
	}
	keeper, err := rights.New(ctx, log, s.Clock)
	if err != nil {
		return contact(err)
	}
	workers, err := s.openWorkers(ctx, h, as, log, guard, service, keep)
	if err != nil {
		return err
	}
	keep.workers = workers
	defer workers.close()
	sights.crew = workers
	permit := &rights.Permit{Keeper: keeper, Log: log, Members: service.HostsOf}
	local.pool, local.may, service.May = workers.pool, permit.May, permit.MayBy
	r := &running{house: h, life: as, here: here, log: log, workers: workers, hostKeys: hostKeys{local, workers}, permit: permit, guard: guard, custody: keep, service: service,
		keeper: keeper, sights: sights, look: make(chan struct{}, 1)}
	if err := s.open(ctx, r); err != nil {
		return err
	}
	if as.Owns {
		if err := keeper.HandFirst(ctx, firstAdmin, "first administrator", s.FirstToken); err != nil {
			return errors.Join(err, closeAll(r.metrics))
		}
	}
	return s.serve(ctx, r)
}

// open opens all doors but that for workers, if they are not open yet. Where one cannot be opened, none is.
func (s *Server) open(ctx context.Context, r *running) (err error) {
	if r.metrics, err = r.house.doors.Open("metrics", func() (net.Listener, error) { return s.listenMetrics(ctx) }); err != nil {
		return err
	}
	if r.house.address != "" {
		return nil
	}
	api, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return errors.Join(&sluice.Error{Code: sluice.Config, Text: "the server cannot listen", Err: err}, closeAll(r.metrics))
	}
	socket, err := s.listenSocket(ctx)
	if err != nil {
		return errors.Join(err, closeAll(api, r.metrics))
	}
	r.house.address = api.Addr().String()
	if r.house.secure != nil {
		api = tls.NewListener(api, r.house.secure)
	}
	r.house.front.Listen(api)
	if socket != nil {
		r.house.front.Listen(socket)
	}
	return nil
}

// closeAll closes listeners; nil ones are none.
func closeAll(list ...net.Listener) (err error) {
	for _, l := range list {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// check refuses what would be unsafe or cannot work, before anything is made. It returns how to speak TLS; nil for not at all.
func (s *Server) check() (*tls.Config, error) {
	if (s.Certificate == "") != (s.Key == "") {
		return nil, sluice.Errorf(sluice.Usage, "a certificate needs its key, and a key its certificate")
	}
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return nil, sluice.Errorf(sluice.Usage, "%q is no address to listen on", s.Listen).WithHint("such as 127.0.0.1:7657")
	}
	if ip := net.ParseIP(host); s.Certificate == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, sluice.Errorf(sluice.Usage, "without TLS the server listens on the loopback alone, not on %q", host).
			WithHint("--tls-cert FILE --tls-key FILE, or a proxy in front of it that has them")
	}
	if err := checkArchive(s.Archive); err != nil {
		return nil, err
	}
	if s.Certificate == "" && s.ClientCA != "" {
		return nil, sluice.Errorf(sluice.Usage, "certificates of machines are shown by TLS alone").WithHint("--tls-cert FILE --tls-key FILE")
	}
	if s.Certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the certificate and its key", Err: err}
	}
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if s.ClientCA != "" {
		if err := clientCertificates(secure, s.ClientCA); err != nil {
			return nil, err
		}
	}
	return secure, nil
}

// serve is a server on this machine, as the command line asks for it.
func (l *Local) serve(ctx context.Context, o cli.ServeOptions) error {
	if o.Data == "" {
		o.Data = filepath.Join(l.Places.State, "server")
	}
	if o.TokenFile != "" {
		o.Token = TokenFile(o.TokenFile)
	}
	log, err := logger(os.Stderr, o.LogFormat, o.LogLevel)
	if err != nil {
		return err
	}
	in, err := inCluster(o.Cluster, o.Data)
	if err != nil {
		return err
	}
	s := &Server{Cluster: in, Data: o.Data, Listen: o.Listen, WorkerListen: workerListen(o.Listen, o.WorkerListen), NoWorker: o.NoWorker, WorkerLimit: o.WorkerLimit, WorkersStarted: o.WorkersStarted,
		Certificate: o.Certificate, Key: o.Key, ClientCA: o.ClientCA, OIDC: OIDC(o.OIDC), Hosts: o.Hosts, PublicURL: o.PublicURL, Home: l.Places.Home, Env: l.Env,
		Environ: l.Environ, Clock: l.Clock, Over: l.Over, Lease: l.Lease, Log: log, FirstToken: o.Token, Started: o.Started, MetricsListen: o.MetricsListen,
		Keep: retain.Policy{Jobs: o.Keep.Jobs, Output: o.Keep.Output, OutputBytes: o.Keep.OutputBytes}, Archive: o.Keep.Archive,
		OTLPEndpoint: o.OTLPEndpoint, TraceCommands: o.TraceCommands, StopDelay: o.StopDelay, NamespaceRate: o.NamespaceRate, Submitters: o.Submitters, LocalTargets: o.LocalTargets,
		WebhookAllow: o.WebhookAllow, WebhookHTTP: o.WebhookHTTP, Manager: systemd.Find(l.Env, os.Getpid())}
	return s.Run(ctx)
}

// inCluster is how a server takes part in a cluster. Its token is read only before it has joined: it may be gone then.
func inCluster(o cli.ClusterOptions, data string) (c cluster.Config, err error) {
	c.Address, c.Name = o.Address, o.Name
	e := o.Engine
	c.Engine = etcd.ConnectConfig{Endpoints: e.URLs, CA: e.CAFile, Cert: e.Certificate, Key: e.Key, User: e.User}
	if e.Password.Set() {
		c.Engine.Password = string(e.Password.Reveal())
	}
	if _, joined, err := cluster.ReadSeat(data); joined || err != nil || o.JoinFile == "" {
		return c, err
	}
	text, err := os.ReadFile(o.JoinFile)
	if err != nil {
		return c, &sluice.Error{Code: sluice.Usage, Text: "--join", Err: err}
	}
	c.Token = sluice.NewSecret(bytes.TrimSpace(text))
	return c, nil
}

// TokenFile makes a file, readable by its owner alone, with a token in it. What is there already is replaced.
func TokenFile(path string) func(secret string) error {
	return func(secret string) error { return ownFile(path, []byte(secret+"\n"), "the file for the first token") }
}

// ownFile makes a file that its owner alone can read, as a whole or not at all, in place of what is there.
func ownFile(path string, content []byte, what string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".token-*") // mode 0600
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: what, Err: err}
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		return private.Sync(filepath.Dir(path)) // what is valid from now on must not be lost with the power
	}
	return &sluice.Error{Code: sluice.Config, Text: what, Err: errors.Join(err, os.Remove(f.Name()))}
}
