package app

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/prometheus"
	"sluice/internal/adapter/workerwire"
	"sluice/internal/app/cluster"
	"sluice/internal/app/private"
	"sluice/internal/core/crew"
	"sluice/internal/run/control"
	"sluice/internal/run/lookout"
	"sluice/internal/run/pool"
	"sluice/internal/run/roster"
)

// workers are those of a server.
type workers struct {
	pool     *pool.Pool
	roster   *roster.Keeper
	ca       *authority.Workers
	listener net.Listener // nil: none elsewhere
	service  *control.Service
	sealKey  []byte // of the embedded worker, if there is one
	fetchDir func(sluice.JobID) string
	servers  func() []string // of a cluster, where workers reach them; nil: there is none
	clock    sluice.Clock
	log      *slog.Logger
}

// workerPort is where workers come where nothing else is said, and nothing else is there already.
const workerPort = "7658"

// workerListen is the address for workers: HOST:PORT, "" for none, or the host of the API alone, with a port that the data
// remember.
func workerListen(api, given string) string {
	switch given {
	case "none":
		return ""
	case "":
	default:
		return given
	}
	host, _, err := net.SplitHostPort(api)
	if err != nil {
		return "" // the server says what is wrong with it
	}
	return host
}

// listenForWorkers listens on an address that workerListen gave. Where a port was not asked for, another server on this
// machine is no reason not to start: the port is then any that is free, and stays the same from then on, since workers
// come back to where they enrolled. Where there are none yet, it may change again.
func (s *Server) listenForWorkers(ctx context.Context, none bool) (net.Listener, error) {
	var c net.ListenConfig
	if _, _, err := net.SplitHostPort(s.WorkerListen); err == nil {
		return c.Listen(ctx, "tcp", s.WorkerListen)
	}
	file := filepath.Join(s.Data, "workers.port")
	ports := []string{workerPort, "0"}
	if text, err := os.ReadFile(file); err == nil {
		kept := []string{strings.TrimSpace(string(text))}
		if none {
			kept = append(kept, ports...)
		}
		ports = kept
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l net.Listener
	var err error
	for _, port := range ports {
		if l, err = c.Listen(ctx, "tcp", net.JoinHostPort(s.WorkerListen, port)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := private.Write(file, []byte(port+"\n")); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (s *Server) openWorkers(ctx context.Context, h *house, as cluster.Life, log sluice.Log, guard *lookout.Guard, service *control.Service, keep *custody) (*workers, error) {
	w := &workers{servers: as.Servers, fetchDir: s.fetchDir, service: service, clock: s.Clock, log: s.Log}
	var err error
	if w.ca, err = authority.OpenWorkers(s.Data, s.Clock); err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the authority for workers", Err: err}
	}
	if w.roster, err = roster.New(ctx, log, s.Clock, w.ca.Sign); err != nil {
		return nil, contact(err)
	}
	embedded := s.WorkerLimit
	if embedded == 0 {
		embedded = sluice.DefaultConcurrency
	}
	if s.NoWorker {
		embedded = 0
	} else {
		key := keep.opener.Key.Public()
		w.sealKey = key[:]
	}
	known, err := w.roster.All(ctx)
	if err != nil {
		return nil, contact(err)
	}
	others := slices.ContainsFunc(known, func(k crew.Known) bool { return k.Enrolled })
	w.pool = pool.New(pool.Config{Others: others, Outputs: handedOver(service.Outputs), Clock: s.Clock, Embedded: embedded, Version: Version, Lease: s.Lease,
		Term: as.Term, Owns: as.StillOwns, Servers: w.known,
		Heads: guard.Heads, Witness: guard.Witness, Alarm: guard.Alarm, Epoch: guard.Epoch,
		Trouble: func(text string) { s.Log.Warn(text) }, Custody: keep,
		Settled: (&settled{log: log}).is})
	service.Unplaced = w.pool.Waits
	if s.WorkerListen == "" {
		return w, nil
	}
	if w.listener, err = h.doors.Open("workers", func() (net.Listener, error) { return s.listenForWorkers(ctx, len(known) == 0) }); err != nil {
		return nil, (&sluice.Error{Code: sluice.Config, Text: "the server cannot listen for workers", Err: err}).
			WithHint("--worker-listen HOST:PORT chooses another address, or none")
	}
	if s.WorkersStarted != nil {
		h.workersBegan.Do(func() { s.WorkersStarted(w.listener.Addr().String()) })
	}
	return w, nil
}

// known are the addresses for workers of all servers of a cluster.
func (w *workers) known() []string {
	if w.servers == nil {
		return nil
	}
	return w.servers()
}

func (w *workers) close() {
	if w.listener != nil {
		_ = w.listener.Close()
	}
}

// serve answers workers elsewhere until ctx ends.
func (w *workers) serve(ctx context.Context) error {
	if w.listener == nil {
		<-ctx.Done()
		return nil
	}
	return workerwire.Serve(ctx, w.listener, workerwire.ServerConfig{
		Certificate: w.ca.Server, Roots: w.ca.Roots(), Authority: w.ca.Certificate(), Version: Version,
		WhoIs: func(c *x509.Certificate) (sluice.WorkerName, string, error) {
			name, err := authority.WorkerOf(c)
			return name, authority.Serial(c), err
		},
		Admit: func(ctx context.Context, p workerwire.Peer) error {
			_, err := w.roster.Admit(ctx, p.Name, p.Serial)
			return w.refused(err, p)
		},
		Enrol: func(ctx context.Context, e workerwire.Enrolment) ([]byte, error) {
			der, err := w.roster.Enrol(ctx, e.Name, e.Secret, e.Request, e.SealKey, e.From)
			return der, w.refused(err, workerwire.Peer{Name: e.Name, From: e.From})
		},
		Renew: func(ctx context.Context, p workerwire.Peer, request []byte) ([]byte, error) {
			return w.roster.Renew(ctx, p.Name, p.Serial, request)
		},
		Serve: func(ctx context.Context, p workerwire.Peer, line pool.Line) error {
			known, err := w.roster.Admit(ctx, p.Name, p.Serial)
			if err != nil {
				return err
			}
			w.log.Info("worker connected", "worker", p.Name, "from", p.From)
			err = w.pool.Serve(ctx, p.Name, known.Pools, known.Draining, line)
			w.log.Info("worker gone", "worker", p.Name, "why", err)
			if _, removed := w.roster.Admit(ctx, p.Name, p.Serial); sluice.CodeOf(removed) == sluice.Denied {
				return removed
			}
			return err
		},
		Blob:    w.service.Blobs.Open,
		Fetched: w.fetched,
	})
}

// fetched keeps what a worker fetched, where the server's own worker would have put it.
func (w *workers) fetched(_ context.Context, p workerwire.Peer, a sluice.AttemptID, r io.Reader) error {
	job, host, ok := w.pool.Given(p.Name, a)
	if !ok { // this server may have begun a moment ago
		return sluice.Errorf(sluice.Contact, "the server does not wait for %s from this worker", a)
	}
	if job.Action.Kind != sluice.FetchFrom {
		return sluice.Errorf(sluice.Denied, "the job of %s fetches nothing", a)
	}
	if err := unpackFetched(r, w.fetchDir(job.ID), host, job.Action.Source); err != nil {
		w.log.Warn("what a worker fetched is not kept", "worker", p.Name, "attempt", a, "why", err)
		return sluice.Errorf(sluice.Usage, "it cannot be kept there: %v", err)
	}
	if keep := keepFetched(w.service.Outputs); keep != nil {
		return keep(job.ID, a, filepath.Join(w.fetchDir(job.ID), string(host)))
	}
	return nil
}

func (w *workers) refused(err error, p workerwire.Peer) error {
	if sluice.CodeOf(err) == sluice.Denied {
		w.log.Warn("worker refused", "worker", p.Name, "from", p.From, "why", err)
	}
	return err
}

// List tells about all workers.
func (w *workers) List(ctx context.Context) ([]api.Worker, error) {
	known, err := w.roster.All(ctx)
	if err != nil {
		return nil, err
	}
	members := w.pool.Members()
	var out []api.Worker
	for _, m := range members {
		if m.Name == sluice.EmbeddedWorker {
			out = append(out, w.form(crew.Known{Name: m.Name, Pools: m.Pools, Enrolled: true, SealKey: w.sealKey}, &m))
		}
	}
	for _, k := range known {
		i := slices.IndexFunc(members, func(m crew.Member) bool { return m.Name == k.Name })
		if i < 0 {
			out = append(out, w.form(k, nil))
		} else {
			out = append(out, w.form(k, &members[i]))
		}
	}
	return out, nil
}

// collectTime bounds what those who collect metrics wait for the log.
const collectTime = 5 * time.Second

// census is how it stands with all pools, for whoever collects metrics. What cannot be read is left out.
func (w *workers) census() []prometheus.Pool {
	ctx, cancel := context.WithTimeout(context.Background(), collectTime)
	defer cancel()
	list, err := w.List(ctx)
	if err != nil {
		w.log.Warn("the metrics of workers are left out", "why", err)
		return nil
	}
	pools := map[sluice.Pool]*prometheus.Pool{}
	of := func(name sluice.Pool) *prometheus.Pool {
		p := pools[name]
		if p == nil {
			p = &prometheus.Pool{Name: name, Workers: map[string]int{}}
			pools[name] = p
		}
		return p
	}
	now := time.Now()
	for _, one := range list {
		for _, name := range one.Pools {
			p := of(name)
			p.Workers[one.Health]++
			if one.Health != "connected" && one.Health != "draining" {
				continue
			}
			p.Limit, p.Running = p.Limit+one.Limit, p.Running+one.Running
			if one.Heard != nil {
				p.Silent = max(p.Silent, now.Sub(*one.Heard))
			}
		}
	}
	for name, c := range w.pool.Census() {
		p := of(name)
		p.Waiting, p.LeasesLost = c.Waiting, c.LeasesLost
	}
	out := make([]prometheus.Pool, 0, len(pools))
	for _, p := range pools {
		out = append(out, *p)
	}
	return out
}

func (w *workers) form(k crew.Known, m *crew.Member) api.Worker {
	out := api.Worker{Name: k.Name, Pools: k.Pools, Health: "lost", SealKey: k.SealKey}
	if key, ok := keyOf(k); ok {
		out.SealFingerprint = key.Fingerprint()
	}
	if !k.Expires.IsZero() {
		out.Certificate = &k.Expires
	}
	draining := k.Draining
	if m != nil {
		out.Limit, out.Running, out.Version = m.Limit, m.Running, m.Version
		since, heard := m.Since.UTC(), m.Heard.UTC()
		out.Since, out.Heard = &since, &heard
		draining = draining || m.Draining
		if m.Live {
			out.Health = "connected"
			if m.Name == sluice.EmbeddedWorker {
				out.Heard = nil
			}
		}
	}
	switch {
	case !k.Enrolled:
		out.Health = "invited"
	case draining && out.Health == "connected":
		out.Health = "draining"
	}
	return out
}

// Invite lets a worker enrol. The token holds what it needs to find and know the server.
func (w *workers) Invite(ctx context.Context, by sluice.Principal, name sluice.WorkerName, pools []sluice.Pool) (api.Invitation, error) {
	if w.listener == nil {
		return api.Invitation{}, sluice.Errorf(sluice.Config, "this server does not listen for workers").WithHint("sluice server --worker-listen HOST:PORT")
	}
	secret, expires, err := w.roster.Invite(ctx, by, name, pools)
	if err != nil {
		return api.Invitation{}, err
	}
	port := w.listener.Addr().(*net.TCPAddr).Port
	return api.Invitation{Worker: name, Token: enrolToken{name, port, secret, w.ca.Pin(), w.known()}.String(), Expires: expires}, nil
}

// Drain keeps new attempts from a worker; off gives them to it again.
func (w *workers) Drain(ctx context.Context, by sluice.Principal, name sluice.WorkerName, off bool) error {
	if name == sluice.EmbeddedWorker {
		return sluice.Errorf(sluice.Usage, "the worker inside the server is drained with the server").WithHint("sluice server --no-worker runs it without one")
	}
	if err := w.roster.Drain(ctx, by, name, off); err != nil {
		return err
	}
	w.pool.Drain(name, !off)
	return nil
}

// Remove refuses a worker from now on.
func (w *workers) Remove(ctx context.Context, by sluice.Principal, name sluice.WorkerName) error {
	if err := w.roster.Remove(ctx, by, name); err != nil {
		return err
	}
	w.pool.Remove(name)
	return nil
}

// enrolToken is what a worker is given to enrol with.
type enrolToken struct {
	name   sluice.WorkerName
	port   int
	secret string
	pin    string
	// servers are the addresses of the servers of a cluster; without any the person says where the server is.
	servers []string
}

const enrolPrefix = "sluicew"

func (t enrolToken) String() string {
	text := fmt.Sprintf("%s.%s.%d.%s.%s", enrolPrefix, t.name, t.port, t.secret, t.pin)
	if len(t.servers) > 0 {
		text += "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Join(t.servers, ",")))
	}
	return text
}

// parseEnrolToken never shows what it was given.
func parseEnrolToken(text string) (t enrolToken, err error) {
	bad := sluice.Errorf(sluice.Usage, "this is no token for a worker").WithHint("sluice workers invite NAME, on the server, prints one")
	parts := splitDots(text)
	if len(parts) != 5 && len(parts) != 6 || parts[0] != enrolPrefix {
		return t, bad
	}
	var servers []string
	if len(parts) == 6 {
		text, err := base64.RawURLEncoding.DecodeString(parts[5])
		if err != nil {
			return t, bad
		}
		for _, a := range strings.Split(string(text), ",") {
			if _, _, err := net.SplitHostPort(a); err != nil {
				return t, bad
			}
			servers = append(servers, a)
		}
	}
	name, err1 := sluice.ParseWorkerName(parts[1])
	port, err2 := strconv.ParseUint(parts[2], 10, 16)
	pin, err3 := hex.DecodeString(parts[4])
	if errors.Join(err1, err2, err3) != nil || len(pin) != sha256.Size || parts[3] == "" {
		return t, bad
	}
	return enrolToken{name, int(port), parts[3], parts[4], servers}, nil
}

// renewAt is when a certificate is to be renewed: when a third of its life is left.
func renewAt(notBefore, notAfter time.Time) time.Time {
	return notAfter.Add(-notAfter.Sub(notBefore) / 3)
}
