package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/dirblobs"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/adapter/systemd"
	"sluice/internal/adapter/workerwire"
	"sluice/internal/core/crew"
	"sluice/internal/front/cli"
	"sluice/internal/run/outpost"
	"sluice/internal/run/tree"
	"sluice/sealed"
)

// Worker is the program as a worker of a server elsewhere.
type Worker struct {
	// Data is the directory of everything that it keeps, its keys as well.
	Data string
	// Servers are where its servers are: the URL of the API, or HOST:PORT for workers, of one or several. Without, they are those that it
	// enrolled with, and those that they have told it of since.
	Servers []string
	// Token enrols it where it has no certificate yet.
	Token sluice.Secret
	Limit int
	// Home is where ssh settings and keys are; Env and Environ are its environment.
	Home    string
	Env     func(string) string
	Environ []string
	Clock   sluice.Clock
	Log     *slog.Logger
	// LocalTargets lets jobs run commands on the worker's own machine (transport: local).
	LocalTargets bool
	// Over reaches all hosts, in place of ssh; nil: ssh does.
	Over sluice.Transport
	// Look is how often it looks whether its certificate is to be renewed; 0: a minute.
	Look time.Duration
	// Submitters is a file of the keys of those whose secrets it takes. "": whoever comes first under a name is believed, and
	// remembered.
	Submitters string
	// SignedOnly has it carry out only what one of the submitters has signed.
	SignedOnly bool
	// Ready is called when the worker has its first lease from the server. It must not block. May be nil.
	Ready func(name sluice.WorkerName, key sealed.Key)
	// Manager is told how the worker is.
	Manager systemd.Manager

	mu   sync.Mutex
	pair *tls.Certificate
	ca   *x509.Certificate
}

const (
	keyFile, certFile, caFile, serverFile = "key.pem", "certificate.pem", "authority.pem", "server"
	enrolTimeout                          = 30 * time.Second
	renewRetry                            = time.Minute
)

func (w *Worker) path(name string) string { return filepath.Join(w.Data, name) }

// Run works until ctx ends or the server refuses the worker.
func (w *Worker) Run(ctx context.Context) error {
	if err := os.MkdirAll(w.Data, 0o700); err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the worker's data", Err: err}
	}
	if err := closeMemory(); err != nil {
		return err
	}
	anew := w.lacksKey()
	opener, err := newOpener(w.Data, w.Submitters, w.Clock, w.Log)
	if err != nil {
		return err
	}
	key := opener.Key.Public()
	if anew {
		w.Log.Warn("the key for secrets was gone, and is a new one now; the server knows the other: nothing that is sealed to this worker opens until it is enrolled anew, with an empty data directory")
	}
	places, err := w.identity(ctx, key)
	if err != nil {
		return err
	}
	name, err := authority.WorkerOf(w.pair.Leaf)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.ca)
	client := workerwire.Dial(workerwire.ClientConfig{Addresses: places.all, ServerName: authority.ServerName, Roots: roots, Certificate: w.certificate})
	defer client.Close()
	outputs, err := diroutputs.New(w.path("outputs"))
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the worker's data", Err: err}
	}
	kept, err := dirblobs.New(w.path("blobs"), w.Clock())
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the worker's data", Err: err}
	}
	w.Log.Info("secrets for this worker are sealed to", "worker", name, "key", key.Fingerprint())
	hands := &workerHands{w: w, name: name, outputs: outputs, blobs: &remoteBlobs{kept: kept, fetch: client.Blob}}
	seen := witnessed{headsdir.Dir(w.path("witness")), authority.PinOf(w.ca)}
	ready := make(chan struct{})
	post, err := outpost.New(outpost.Config{Outputs: outputs, Dir: w.path("outcomes"), Limit: w.Limit, Version: Version,
		Notice: func(text string) { w.Log.Warn(text) }, Worker: hands.forJob, Opener: opener, SignedOnly: w.SignedOnly,
		FetchDir: w.path("fetched"), Fetched: handOver(client), Witness: seen, Terms: seen,
		Ready: func() {
			close(ready)
			if w.Ready != nil {
				w.Ready(name, key)
			}
		},
		Servers: places.told, Leased: places.serves,
		Open: func(ctx context.Context, hello sluice.WorkerHello) (outpost.Line, error) {
			places.leave()
			line, err := client.Open(ctx, hello)
			if err == nil {
				places.come(client.At())
				w.Log.Info("connected", "server", client.At(), "worker", name, "held", len(hello.Held))
			}
			return line, err
		}})
	if err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "the outcomes that the worker keeps", Err: err}
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	beside.Go(func() { w.keepFresh(inner, client) })
	beside.Go(func() { w.tellManager(inner, ctx.Done(), ready, post) })
	err = post.Run(ctx)
	stop()
	beside.Wait()
	return errors.Join(err, outputs.CloseAll())
}

// tellManager tells the service manager that the worker is ready, that it lives, and that it stops. A worker whose server
// is away is as well as one can be: nothing would come of starting it anew, and commands on its own machine would end.
func (w *Worker) tellManager(ctx context.Context, stopping, ready <-chan struct{}, post *outpost.Outpost) {
	tell := func(state string) {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin) // that it stops is told while it does
		defer cancel()
		if err := w.Manager.Notify(late, state); err != nil {
			w.Log.Warn("the service manager cannot be told " + state + ": " + err.Error())
		}
	}
	var guard sync.WaitGroup
	defer guard.Wait()
	guard.Go(func() {
		w.Manager.Guard(ctx, func(context.Context) error { post.Held(); return nil }, func(err error) {
			w.Log.Error("the service manager is not told that all is well: " + err.Error())
		})
	})
	select {
	case <-ready:
		tell(systemd.Ready)
	case <-stopping:
	case <-ctx.Done():
		return
	}
	select {
	case <-stopping:
		tell(systemd.Stopping)
	case <-ctx.Done():
	}
}

// witnessed are the heads that the server of an authority has shown, and the highest term of who owned its log.
type witnessed struct {
	dir headsdir.Dir
	of  string
}

func (k witnessed) Seen() ([]sluice.SeenHead, error)      { return k.dir.Seen(k.of) }
func (k witnessed) Term() (sluice.SeenTerm, error)        { return k.dir.Term(k.of) }
func (k witnessed) SetTerm(t sluice.SeenTerm) error       { return k.dir.SetTerm(k.of, t) }
func (k witnessed) SetSeen(heads []sluice.SeenHead) error { return k.dir.SetSeen(k.of, heads) }

// handOver packs what was fetched for the server.
func handOver(client *workerwire.Client) func(context.Context, sluice.AttemptID, string) error {
	return func(ctx context.Context, a sluice.AttemptID, dir string) error {
		r, into := io.Pipe()
		var packer sync.WaitGroup
		defer packer.Wait()
		defer func() { _ = r.Close() }()
		packer.Go(func() { _ = into.CloseWithError(tree.Pack(into, dir)) })
		return client.Fetched(ctx, a, r)
	}
}

// identity reads who this worker is, or enrols it. It returns where its servers are.
func (w *Worker) identity(ctx context.Context, key sealed.Key) (*places, error) {
	if _, err := os.Stat(w.path(certFile)); errors.Is(err, fs.ErrNotExist) {
		if !w.Token.Set() {
			return nil, sluice.Errorf(sluice.Usage, "this worker has not enrolled yet").
				WithHint("sluice workers invite NAME, on the server, prints a token; then sluice worker --server URL --enrol-file FILE")
		}
		if err := w.enrol(ctx, key); err != nil {
			return nil, err
		}
	} else if w.Token.Set() {
		if again, err := parseEnrolToken(string(w.Token.Reveal())); err == nil && w.differs(again) {
			if err := w.enrol(ctx, key); err != nil {
				return nil, err
			}
		}
	}
	if err := w.load(); err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the worker's certificate", Err: err}
	}
	if !w.Clock().Before(w.pair.Leaf.NotAfter) {
		return nil, sluice.Errorf(sluice.Denied, "the worker's certificate ended at %s", w.pair.Leaf.NotAfter.Format(time.RFC3339)).
			WithHint("sluice workers invite NAME, on the server, prints a token to enrol it anew")
	}
	known, err := os.ReadFile(w.path(serverFile))
	list := strings.Fields(string(known))
	if err == nil && len(list) == 0 {
		err = errors.New("the file " + w.path(serverFile) + " is empty")
	}
	p := &places{file: w.path(serverFile), list: list, trouble: func(err error) { w.Log.Warn("the addresses of servers cannot be kept", "why", err) }}
	if err == nil && len(w.Servers) > 0 {
		var port string
		if _, port, err = net.SplitHostPort(list[0]); err == nil {
			if p.given, err = serverAddresses(w.Servers, port); err != nil {
				return nil, err
			}
			p.prefer(p.given)
		}
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "where the server is", Err: err}
	}
	return p, nil
}

// lacksKey reports whether the worker has enrolled, and has lost the key that it did so with.
func (w *Worker) lacksKey() bool {
	_, enrolled := os.Stat(w.path(certFile))
	_, key := os.Stat(w.path(sealKeyFile))
	return enrolled == nil && errors.Is(key, fs.ErrNotExist)
}

// differs says that a token is for another server or worker than the certificate, or that this one has ended.
func (w *Worker) differs(t enrolToken) bool {
	if w.load() != nil {
		return true
	}
	name, err := authority.WorkerOf(w.pair.Leaf)
	return err != nil || name != t.name || authority.PinOf(w.ca) != t.pin || !w.Clock().Before(w.pair.Leaf.NotAfter)
}

// serverAddress is where workers come: to the host of a URL and the port that the token has, or exactly there.
func serverAddress(server, port string) (string, error) {
	if u, err := url.Parse(server); err == nil && u.Hostname() != "" {
		if u.Scheme == "tls" && u.Port() != "" {
			port = u.Port()
		}
		return net.JoinHostPort(u.Hostname(), port), nil
	}
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server, nil
	}
	return "", sluice.Errorf(sluice.Usage, "%q is no address of a server", server).WithHint("such as https://sluice.example.com:7657, or HOST:PORT for workers")
}

func serverAddresses(servers []string, port string) (out []string, err error) {
	for _, one := range servers {
		a, err := serverAddress(strings.TrimSpace(one), port)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out, nil
}

// enrol makes the worker's key for its certificate, and has it certified. Of its keys only the public halves leave it.
func (w *Worker) enrol(ctx context.Context, seal sealed.Key) error {
	t, err := parseEnrolToken(string(w.Token.Reveal()))
	if err != nil {
		return err
	}
	addresses := t.servers
	if len(w.Servers) > 0 {
		addresses, err = serverAddresses(w.Servers, strconv.Itoa(t.port))
	} else if len(addresses) == 0 {
		return sluice.Errorf(sluice.Usage, "where is the server?").WithHint("--server URL")
	}
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	got, at, err := workerwire.EnrolAt(ctx, addresses, authority.ServerName, func(c *x509.Certificate) bool { return authority.PinOf(c) == t.pin },
		workerwire.Enrolment{Name: t.name, Secret: t.secret, Request: request, SealKey: seal[:]}, Version)
	if err != nil {
		return err
	}
	addresses = crew.ServedBy(addresses, at)
	pair := append(authority.PEM(got.Certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return errors.Join(authority.WriteFile(w.path(caFile), authority.PEM(got.Authority)), authority.WriteFile(w.path(serverFile), addressLines(addresses)),
		authority.WriteFile(w.path(certFile), pair))
}

func (w *Worker) load() error {
	text, err := os.ReadFile(w.path(certFile))
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return err
	}
	caText, err := os.ReadFile(w.path(caFile))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(caText)
	if block == nil {
		return fmt.Errorf("%s holds no certificate", w.path(caFile))
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pair, w.ca = &pair, ca
	return nil
}

func (w *Worker) certificate() (*tls.Certificate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pair, nil
}

// keepFresh renews the certificate in time.
func (w *Worker) keepFresh(ctx context.Context, client *workerwire.Client) {
	look := w.Look
	if look <= 0 {
		look = renewRetry
	}
	for {
		pair, _ := w.certificate()
		wait := max(renewAt(pair.Leaf.NotBefore, pair.Leaf.NotAfter).Sub(w.Clock()), 0)
		if wait == 0 {
			err := w.renew(ctx, client)
			fresh, _ := w.certificate()
			switch {
			case err == nil && w.Clock().Before(renewAt(fresh.Leaf.NotBefore, fresh.Leaf.NotAfter)):
				w.Log.Info("the certificate is renewed")
				continue
			case err == nil: // each one is an event in the server's journal
				w.Log.Warn("the certificate is renewed, and is old already by the clock of this machine: it is set otherwise than the server's",
					"here", w.Clock(), "ends", fresh.Leaf.NotAfter)
			case ctx.Err() == nil:
				w.Log.Warn("the certificate cannot be renewed", "why", err, "ends", pair.Leaf.NotAfter)
			}
			wait = look
		}
		t := time.NewTimer(min(wait, look)) // the wall clock may jump
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (w *Worker) renew(ctx context.Context, client *workerwire.Client) error {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	got, err := client.Renew(ctx, request)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	pair := append(authority.PEM(got.Certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := authority.WriteFile(w.path(certFile), pair); err != nil {
		return err
	}
	return w.load()
}

func splitDots(text string) []string { return strings.Split(strings.TrimSpace(text), ".") }

// work is a worker on this machine, as the command line asks for it.
func (l *Local) work(ctx context.Context, o cli.WorkerOptions) error {
	if o.Data == "" {
		o.Data = filepath.Join(l.Places.State, "worker")
	}
	if o.TokenFile != "" {
		text, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return &sluice.Error{Code: sluice.Usage, Text: "the token for the worker", Err: err}
		}
		o.Token = sluice.NewSecret(bytes.TrimSpace(text))
	}
	w := &Worker{Data: o.Data, Servers: o.Servers, Token: o.Token, Limit: o.Limit, Home: l.Places.Home, Env: l.Env, Environ: l.Environ,
		Clock: l.Clock, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), LocalTargets: o.LocalTargets, Over: l.Over, Ready: o.Ready, Submitters: o.Submitters,
		SignedOnly: o.SignedOnly,
		Manager:    systemd.Find(l.Env, os.Getpid())}
	return w.Run(ctx)
}
