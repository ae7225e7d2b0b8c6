package workerwire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"sluice"
	"sluice/internal/adapter/workerwire/wirepb"
)

// ClientConfig is how a worker reaches its servers.
type ClientConfig struct {
	// Addresses are those of the servers, HOST:PORT, in the order in which they are tried; each is as good as the others. It is asked
	// before each line.
	Addresses func() []string
	// ServerName is the name in the certificate of every server, and Roots is the authority.
	ServerName string
	Roots      *x509.CertPool
	// Certificate is the worker's own, as it is now.
	Certificate func() (*tls.Certificate, error)
}

// Client is a worker's connection to its servers, to one at a time. It is safe for concurrent use, but for [Client.Open].
type Client struct {
	cfg ClientConfig
	tls *tls.Config

	mu    sync.Mutex
	on    *way          // that of the last line
	first chan struct{} // closed when there is one
}

// Dial makes a client; it connects when a line is opened.
func Dial(cfg ClientConfig) *Client {
	return &Client{cfg: cfg, first: make(chan struct{}), tls: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: cfg.Roots, ServerName: cfg.ServerName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cfg.Certificate() }}}
}

// Close ends it.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on != nil {
		c.on.close()
	}
}

// Certified is what a worker gets.
type Certified struct{ Certificate, Authority []byte }

// EnrolAt asks the first of the servers that answers for the first certificate, and returns which that was. A token is good once, so no
// other one is asked then. The server proves that it is the one that made the token: its chain
// leads to the authority that pinned accepts.
func EnrolAt(ctx context.Context, addresses []string, serverName string, pinned func(*x509.Certificate) bool, e Enrolment, version string) (Certified, string, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: serverName,
		// The authority is not known yet but for its digest, so the chain is checked here and not by the library.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, c := range s.PeerCertificates {
				if !pinned(c) {
					continue
				}
				roots := x509.NewCertPool()
				roots.AddCert(c)
				_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: serverName,
					KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
				return err
			}
			return errors.New("this is not the server that the token is for")
		}}
	failed := &failures{}
	w, _ := reach(ctx, addresses, t, failed)
	if w == nil {
		if ctx.Err() != nil {
			return Certified{}, "", ctx.Err()
		}
		return Certified{}, "", failed.err()
	}
	defer w.close()
	got, err := w.api.Enrol(ctx, &wirepb.EnrolRequest{Name: string(e.Name), Secret: e.Secret, Csr: e.Request, SealKey: e.SealKey, Version: version})
	if err != nil {
		return Certified{}, "", fromStatus(ctx, err)
	}
	return Certified{got.GetCertificate(), got.GetAuthority()}, w.address, nil
}

// Renew asks for a further certificate.
func (c *Client) Renew(ctx context.Context, request []byte) (Certified, error) {
	w, err := c.over(ctx)
	if err != nil {
		return Certified{}, err
	}
	defer w.leave()
	got, err := w.api.Renew(ctx, &wirepb.RenewRequest{Csr: request})
	if err != nil {
		return Certified{}, fromStatus(ctx, err)
	}
	return Certified{got.GetCertificate(), got.GetAuthority()}, nil
}

// welcomed says why a worker cannot have to do with a server.
func welcomed(w *wirepb.Welcome) error {
	if w == nil {
		return errors.New("the server does not say hello")
	}
	if v := w.GetProtocol(); v < Oldest || v > Protocol+1 {
		return sluice.Errorf(sluice.Usage, "the server, of version %.40q, speaks version %d of the protocol, and this worker %d to %d", w.GetVersion(), v, Oldest, Protocol).
			WithHint("the worker must not be more than one version away from its server")
	}
	return nil
}

type clientEnd struct {
	stream grpc.BidiStreamingClient[wirepb.ToServer, wirepb.ToWorker]
	ctx    context.Context
	end    context.CancelFunc
	mu     sync.Mutex
}

func (l *clientEnd) Close() { l.end() }

func (l *clientEnd) Send(m sluice.ToServer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream.Send(toServer(m))
}

func (l *clientEnd) Receive() (sluice.ToWorker, error) {
	m, err := l.stream.Recv()
	if err != nil {
		return sluice.ToWorker{}, fromStatus(l.ctx, err)
	}
	return fromServer(m)
}

// Blob reads content by its digest. Whoever reads it checks the digest.
func (c *Client) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	w, err := c.over(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	in, err := w.api.Blob(ctx, &wirepb.BlobRequest{Digest: digest})
	if err != nil {
		defer w.leave()
		defer cancel()
		return nil, fromStatus(ctx, err)
	}
	next := func() (*wirepb.Chunk, error) {
		m, err := in.Recv()
		return m, fromStatus(ctx, err)
	}
	return &blob{chunks{next: next}, sync.OnceFunc(func() { cancel(); w.leave() })}, nil
}

type blob struct {
	chunks
	end func()
}

func (b *blob) Close() error {
	b.end()
	return nil
}

// Fetched hands over what a fetch got from a host.
func (c *Client) Fetched(ctx context.Context, a sluice.AttemptID, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := c.over(ctx)
	if err != nil {
		return err
	}
	defer w.leave()
	out, err := w.api.Fetched(ctx)
	if err != nil {
		return fromStatus(ctx, err)
	}
	m := &wirepb.Chunk{Attempt: string(a)}
	buf := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, buf)
		m.Data = buf[:n]
		if sent := out.Send(m); sent != nil {
			break // the end says why
		}
		m = &wirepb.Chunk{}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	_, err = out.CloseAndRecv()
	return fromStatus(ctx, err)
}
