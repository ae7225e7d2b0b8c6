package workerwire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"sluice"
	"sluice/internal/adapter/workerwire/wirepb"
)

// ClientConfig is how a worker reaches its server.
type ClientConfig struct {
	Address string // HOST:PORT
	// ServerName is the name in the server's certificate, and Roots is the authority.
	ServerName string
	Roots      *x509.CertPool
	// Certificate is the worker's own, as it is now.
	Certificate func() (*tls.Certificate, error)
}

// Client is a worker's connection to its server. It is safe for concurrent use.
type Client struct {
	conn *grpc.ClientConn
	api  wirepb.WorkersClient
}

// Dial makes a client; it connects when it is used.
func Dial(cfg ClientConfig) (*Client, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: cfg.Roots, ServerName: cfg.ServerName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cfg.Certificate() }}
	return dial(cfg.Address, t)
}

func dial(address string, t *tls.Config) (*Client, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(t)), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)), grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: alive, Timeout: alive}))
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Usage, Text: fmt.Sprintf("%q is no address of a server", address), Err: err}
	}
	return &Client{conn, wirepb.NewWorkersClient(conn)}, nil
}

// Close ends it.
func (c *Client) Close() { _ = c.conn.Close() }

// Certified is what a worker gets.
type Certified struct{ Certificate, Authority []byte }

// EnrolAt asks a server for the first certificate. The server proves that it is the one that made the token: its chain
// leads to the authority that pinned accepts.
func EnrolAt(ctx context.Context, address, serverName string, pinned func(*x509.Certificate) bool, e Enrolment, version string) (Certified, error) {
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
	c, err := dial(address, t)
	if err != nil {
		return Certified{}, err
	}
	defer c.Close()
	got, err := c.api.Enrol(ctx, &wirepb.EnrolRequest{Name: string(e.Name), Secret: e.Secret, Csr: e.Request, SealKey: e.SealKey, Version: version})
	if err != nil {
		return Certified{}, fromStatus(ctx, err)
	}
	return Certified{got.GetCertificate(), got.GetAuthority()}, nil
}

// Renew asks for a further certificate.
func (c *Client) Renew(ctx context.Context, request []byte) (Certified, error) {
	got, err := c.api.Renew(ctx, &wirepb.RenewRequest{Csr: request})
	if err != nil {
		return Certified{}, fromStatus(ctx, err)
	}
	return Certified{got.GetCertificate(), got.GetAuthority()}, nil
}

// Open opens the line and says hello. It ends with ctx.
func (c *Client) Open(ctx context.Context, hello sluice.WorkerHello) (sluice.Line[sluice.ToServer, sluice.ToWorker], error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.api.Work(ctx)
	if err == nil {
		err = stream.Send(toServer(sluice.ToServer{Hello: &hello}))
	}
	if errors.Is(err, io.EOF) || err == nil { // then Recv says why
		var m *wirepb.ToWorker
		if m, err = stream.Recv(); err == nil {
			err = welcomed(m.GetWelcome())
		}
	}
	if err == nil {
		return &clientEnd{stream: stream, ctx: ctx, end: cancel}, nil
	}
	defer cancel()
	return nil, fromStatus(ctx, err)
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
	ctx, cancel := context.WithCancel(ctx)
	in, err := c.api.Blob(ctx, &wirepb.BlobRequest{Digest: digest})
	if err != nil {
		defer cancel()
		return nil, fromStatus(ctx, err)
	}
	next := func() (*wirepb.Chunk, error) {
		m, err := in.Recv()
		return m, fromStatus(ctx, err)
	}
	return &blob{chunks{next: next}, cancel}, nil
}

type blob struct {
	chunks
	cancel context.CancelFunc
}

func (b *blob) Close() error {
	b.cancel()
	return nil
}

// Fetched hands over what a fetch got from a host.
func (c *Client) Fetched(ctx context.Context, a sluice.AttemptID, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, err := c.api.Fetched(ctx)
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
