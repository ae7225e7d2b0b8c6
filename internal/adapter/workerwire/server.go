package workerwire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"sluice"
	"sluice/internal/adapter/workerwire/wirepb"
)

// Peer is a worker that showed a certificate of the authority.
type Peer struct {
	Name   sluice.WorkerName
	Serial string
	From   string
}

// Enrolment is what a worker brings that wants to become one.
type Enrolment struct {
	Name             sluice.WorkerName
	Secret           string
	Request, SealKey []byte
	From             string
}

// ServerConfig is what answers workers.
type ServerConfig struct {
	Certificate func() (*tls.Certificate, error)
	Roots       *x509.CertPool
	// Authority is the authority's certificate.
	Authority []byte
	// WhoIs reads the certificate of a worker, which was checked.
	WhoIs func(*x509.Certificate) (sluice.WorkerName, string, error)

	// Admit says why a worker is refused. It is asked before every call.
	Admit func(ctx context.Context, p Peer) error
	Enrol func(ctx context.Context, e Enrolment) (certificate []byte, err error)
	Renew func(ctx context.Context, p Peer, request []byte) (certificate []byte, err error)
	// Serve has the line of a worker until it returns.
	Serve func(ctx context.Context, p Peer, line sluice.Line[sluice.ToWorker, sluice.ToServer]) error
	Blob  func(ctx context.Context, digest string) (io.ReadCloser, error)
	// Fetched takes what a fetch got from a host.
	Fetched func(ctx context.Context, p Peer, a sluice.AttemptID, r io.Reader) error
	Version string
}

type server struct {
	wirepb.UnimplementedWorkersServer
	cfg ServerConfig
}

// Serve answers workers on a listener until ctx ends.
func Serve(ctx context.Context, l net.Listener, cfg ServerConfig) error {
	t := &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: cfg.Roots, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cfg.Certificate() }}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(t)), grpc.MaxRecvMsgSize(maxMessage), grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: alive, Timeout: alive}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: alive / 4, PermitWithoutStream: true}))
	wirepb.RegisterWorkersServer(s, &server{cfg: cfg})
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	err := s.Serve(l)
	s.Stop() // waits for the handlers
	if ctx.Err() != nil || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// peer finds out who calls, and whether they still may.
func (s *server) peer(ctx context.Context) (Peer, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Peer{}, sluice.Errorf(sluice.Denied, "nobody is named")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return Peer{}, sluice.Errorf(sluice.Denied, "a worker shows its certificate")
	}
	name, serial, err := s.cfg.WhoIs(info.State.VerifiedChains[0][0])
	if err != nil {
		return Peer{}, err
	}
	who := Peer{name, serial, p.Addr.String()}
	return who, s.cfg.Admit(ctx, who)
}

func (s *server) Enrol(ctx context.Context, r *wirepb.EnrolRequest) (*wirepb.Certificate, error) {
	e := Enrolment{Secret: r.GetSecret(), Request: r.GetCsr(), SealKey: r.GetSealKey()}
	if p, ok := peer.FromContext(ctx); ok {
		e.From = p.Addr.String()
	}
	var err error
	if e.Name, err = sluice.ParseWorkerName(r.GetName()); err != nil {
		return nil, toStatus(err)
	}
	der, err := s.cfg.Enrol(ctx, e)
	if err != nil {
		return nil, toStatus(err)
	}
	return &wirepb.Certificate{Certificate: der, Authority: s.cfg.Authority}, nil
}

func (s *server) Renew(ctx context.Context, r *wirepb.RenewRequest) (*wirepb.Certificate, error) {
	p, err := s.peer(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	der, err := s.cfg.Renew(ctx, p, r.GetCsr())
	if err != nil {
		return nil, toStatus(err)
	}
	return &wirepb.Certificate{Certificate: der, Authority: s.cfg.Authority}, nil
}

func (s *server) Blob(r *wirepb.BlobRequest, out grpc.ServerStreamingServer[wirepb.Chunk]) error {
	ctx := out.Context()
	if _, err := s.peer(ctx); err != nil {
		return toStatus(err)
	}
	in, err := s.cfg.Blob(ctx, r.GetDigest())
	if err != nil {
		return toStatus(sluice.Errorf(sluice.NotFound, "the blob %.80q cannot be read: %v", r.GetDigest(), err))
	}
	defer func() { _ = in.Close() }()
	buf := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 {
			if err := out.Send(&wirepb.Chunk{Data: buf[:n]}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return toStatus(err)
		}
	}
}

func (s *server) Fetched(in grpc.ClientStreamingServer[wirepb.Chunk, wirepb.Empty]) error {
	ctx := in.Context()
	p, err := s.peer(ctx)
	if err != nil {
		return toStatus(err)
	}
	first, err := in.Recv()
	if err != nil {
		return err
	}
	if err := s.cfg.Fetched(ctx, p, sluice.AttemptID(first.GetAttempt()), &chunks{next: in.Recv, rest: first.GetData()}); err != nil {
		return toStatus(err)
	}
	return in.SendAndClose(&wirepb.Empty{})
}

// chunks reads a stream of them.
type chunks struct {
	next func() (*wirepb.Chunk, error)
	rest []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		m, err := c.next()
		if err != nil {
			return 0, err
		}
		c.rest = m.GetData()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (s *server) Work(stream grpc.BidiStreamingServer[wirepb.ToServer, wirepb.ToWorker]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	p, err := s.peer(ctx)
	if err != nil {
		return toStatus(err)
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if v := hello.GetProtocol(); hello == nil || v < Oldest || v > Protocol+1 {
		return toStatus(sluice.Errorf(sluice.Usage, "the worker speaks version %d of the protocol, and this server %d to %d", v, Oldest, Protocol).
			WithHint("the worker must not be more than one version away from its server"))
	}
	if err := stream.Send(&wirepb.ToWorker{Is: &wirepb.ToWorker_Welcome{Welcome: &wirepb.Welcome{Protocol: Protocol, Version: s.cfg.Version}}}); err != nil {
		return err
	}
	l := &serverLine{stream: stream, first: first, in: make(chan received), ended: ctx.Done(), end: cancel}
	// Receive must end when the line is closed from this side. The stream itself ends only when this returns, and so does
	// the reader then: gRPC waits for nobody in Recv.
	go l.read(ctx)
	return toStatus(s.cfg.Serve(ctx, p, serverEnd{l}))
}

type received struct {
	m   *wirepb.ToServer
	err error
}

type serverLine struct {
	stream grpc.BidiStreamingServer[wirepb.ToServer, wirepb.ToWorker]
	first  *wirepb.ToServer
	in     chan received
	ended  <-chan struct{}
	end    func()
	mu     sync.Mutex
}

func (l *serverLine) read(ctx context.Context) {
	for {
		m, err := l.stream.Recv()
		select {
		case l.in <- received{m, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// serverEnd is the server's end of a line.
type serverEnd struct{ l *serverLine }

func (e serverEnd) Close() { e.l.end() }

func (e serverEnd) Send(m sluice.ToWorker) error {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	select {
	case <-e.l.ended:
		return errClosed
	default:
	}
	return e.l.stream.Send(toWorker(m))
}

var errClosed = errors.New("the line is closed")

func (e serverEnd) Receive() (sluice.ToServer, error) {
	if first := e.l.first; first != nil {
		e.l.first = nil
		return fromWorker(first)
	}
	select {
	case r := <-e.l.in:
		if r.err != nil {
			return sluice.ToServer{}, fmt.Errorf("the line was cut: %w", r.err)
		}
		return fromWorker(r.m)
	case <-e.l.ended:
		return sluice.ToServer{}, errClosed
	}
}
