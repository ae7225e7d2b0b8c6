package workerwire_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"sluice"
	"sluice/internal/adapter/authority"
	"sluice/internal/adapter/workerwire"
	"sluice/internal/adapter/workerwire/wirepb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAuthority(t *testing.T, clock sluice.Clock) *authority.Workers {
	t.Helper()
	ca, err := authority.OpenWorkers(t.TempDir(), clock)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// certified makes a worker's certificate.
func certified(t *testing.T, ca *authority.Workers, name sluice.WorkerName) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, _, _, err := ca.Sign(request, name)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serve answers on the loopback; lines are handed to got.
func serve(t *testing.T, ca *authority.Workers, got chan<- sluice.Line[sluice.ToWorker, sluice.ToServer], admit func(workerwire.Peer) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- workerwire.Serve(ctx, l, workerwire.ServerConfig{Certificate: ca.Server, Roots: ca.Roots(), Authority: ca.Certificate(),
			WhoIs: func(c *x509.Certificate) (sluice.WorkerName, string, error) {
				name, err := authority.WorkerOf(c)
				return name, authority.Serial(c), err
			},
			Admit: func(_ context.Context, p workerwire.Peer) error { return admit(p) },
			Serve: func(ctx context.Context, _ workerwire.Peer, line sluice.Line[sluice.ToWorker, sluice.ToServer]) error {
				select {
				case got <- line:
				case <-ctx.Done():
				}
				<-ctx.Done()
				return nil
			}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

var seen = []sluice.SeenHead{{Head: sluice.Head{Namespace: "prod", Seq: 9, Hash: sluice.ChainHash{1, 31: 0xff}}, Epoch: 2, Sign: "ab"}}

var term = sluice.SeenTerm{Epoch: 1792000000, Term: 1 << 40}

func open(t *testing.T, address string, roots *x509.CertPool, c *tls.Certificate) (sluice.Line[sluice.ToServer, sluice.ToWorker], error) {
	t.Helper()
	client := workerwire.Dial(workerwire.ClientConfig{Addresses: func() []string { return []string{address} }, ServerName: authority.ServerName, Roots: roots,
		Certificate: func() (*tls.Certificate, error) { return c, nil }})
	t.Cleanup(client.Close)
	return client.Open(t.Context(), sluice.WorkerHello{Version: "x", Limit: 3, Held: []sluice.WorkerHeld{{Attempt: "a", Ended: true}},
		Opened: []sluice.WorkerOpened{{Job: "0123456789ab", Digest: [32]byte{1}, Refused: true}}, Heads: seen, Seen: term})
}

// TestWhoIsRefused: nobody gets a line but who shows a certificate of this authority that counts.
func TestWhoIsRefused(t *testing.T) {
	ca, other := newAuthority(t, time.Now), newAuthority(t, time.Now)
	dir := t.TempDir()
	aged, err := authority.OpenWorkers(dir, func() time.Time { return time.Now().Add(-2 * authority.Life) })
	if err != nil {
		t.Fatal(err)
	}
	now, err := authority.OpenWorkers(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	admit := func(p workerwire.Peer) error {
		if p.Name == "removed" {
			return sluice.Errorf(sluice.Denied, "the worker was removed").WithHint("ask")
		}
		return nil
	}
	lines := make(chan sluice.Line[sluice.ToWorker, sluice.ToServer], 9)
	for _, c := range []struct {
		what   string
		ca     *authority.Workers
		cert   *tls.Certificate
		roots  *x509.CertPool
		denied bool
	}{
		{"of another authority", ca, certified(t, other, "w1"), ca.Roots(), false},
		{"expired", now, certified(t, aged, "w1"), now.Roots(), false},
		{"none", ca, &tls.Certificate{}, ca.Roots(), true},
		{"removed", ca, certified(t, ca, "removed"), ca.Roots(), true},
		{"towards another server", ca, certified(t, ca, "w1"), other.Roots(), false},
	} {
		address := serve(t, c.ca, lines, admit)
		_, err := open(t, address, c.roots, c.cert)
		if err == nil || c.denied && sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if len(lines) > 0 {
		t.Errorf("%d lines", len(lines))
	}
	server, err := ca.Server()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, serve(t, ca, lines, admit), ca.Roots(), server); err == nil {
		t.Error("the server's own certificate is taken for a worker's")
	}
}

// TestMessages: what is sent arrives as it was, on both ways, and a line that is closed ends at both ends.
func TestMessages(t *testing.T) {
	ca := newAuthority(t, time.Now)
	lines := make(chan sluice.Line[sluice.ToWorker, sluice.ToServer], 1)
	worker, err := open(t, serve(t, ca, lines, func(workerwire.Peer) error { return nil }), ca.Roots(), certified(t, ca, "w1"))
	if err != nil {
		t.Fatal(err)
	}
	server := <-lines
	if m, err := server.Receive(); err != nil || !reflect.DeepEqual(m.Hello, &sluice.WorkerHello{Version: "x", Limit: 3, Held: []sluice.WorkerHeld{{Attempt: "a", Ended: true}},
		Opened: []sluice.WorkerOpened{{Job: "0123456789ab", Digest: [32]byte{1}, Refused: true}}, Heads: seen, Seen: term}) {
		t.Fatalf("hello came as %+v, error %v", m.Hello, err)
	}
	code := 3
	for _, want := range []sluice.ToServer{
		{Beat: &sluice.WorkerBeat{Number: 7, Held: 2}},
		{Output: &sluice.WorkerOutput{Attempt: "a", Stream: "stdout", Offset: 5, Data: []byte{0, 0xff, '\n'}}},
		{Step: &sluice.TaskStep{Host: "h", Attempt: "a", Step: "command", ExitCode: 3}},
		{Balanced: &sluice.BalancerChanged{Host: "h", Attempt: "a", Balancer: "web", Pool: "shop", Server: "s", Wanted: sluice.ServerUp, Before: sluice.ServerDown,
			State: sluice.ServerDown, Cut: -1, WaitedMS: 7, Error: "why"}},
		{Outcome: &sluice.TaskFinished{Host: "h", Attempt: "a", Outcome: sluice.Failed, ExitCode: &code, Reason: "why", Truncated: []string{"stderr"}}},
		{Withdraw: &sluice.TaskWithdrawn{Host: "h", Attempt: "a", Reason: "why"}},
		{Gone: &sluice.WorkerGone{Attempt: "a", Error: "why"}},
		{Opened: &sluice.WorkerOpened{Job: "0123456789ab", Digest: [32]byte{1, 2}, Error: "why", Refused: true}},
	} {
		if err := worker.Send(want); err != nil {
			t.Fatal(err)
		}
		if got, err := server.Receive(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came as %+v, error %v", want, got, err)
		}
	}
	on := true
	whole := &sluice.Job{ID: "0123456789ab", Namespace: "prod", Command: "x", Action: sluice.Action{Kind: sluice.RunCommand, Shell: "x"},
		Targets: []sluice.Host{"h", "i"}, Tracks: []sluice.Track{{Name: "t", Stages: []sluice.Stage{{Name: "s", Hosts: []sluice.Host{"h", "i"}}}}},
		HostSSH: map[sluice.Host]sluice.SSH{"i": {Port: 22}}}
	for _, want := range []sluice.ToWorker{
		{Lease: &sluice.WorkerLease{Number: 7, For: 15 * time.Second, Term: term}},
		{Owner: &sluice.WorkerOwner{Term: term, Servers: []string{"a.example.com:7658", "[::1]:7658"}}},
		{Assign: &sluice.WorkerAssign{Job: &sluice.Job{ID: "0123456789ab", Namespace: "prod", Command: "x", Action: sluice.Action{Kind: sluice.RunCommand, Shell: "x"},
			SSH: sluice.SSH{Pool: "dmz", Port: 22}}, Host: "h", Attempt: "a", Settle: true, Resumed: true, Stdout: 4, Stderr: 5}},
		{Drop: "a"}, {Kill: &sluice.WorkerKill{Attempt: "a", TimeLimit: true}}, {Stop: "a"}, {Committed: "a"}, {Drain: &on}, {Wipe: "0123456789ab"},
		{Secrets: &sluice.WorkerSecrets{Job: whole, Sealed: []byte("opaque")}},
		{Heads: seen},
	} {
		if err := server.Send(want); err != nil {
			t.Fatal(err)
		}
		if got, err := worker.Receive(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came as %+v, error %v", want, got, err)
		}
	}
	server.Close()
	if _, err := worker.Receive(); err == nil {
		t.Error("the worker's end goes on")
	}
	if _, err := server.Receive(); err == nil {
		t.Error("the server's end goes on")
	}
}

// TestPin: first contact is made with the server of the token alone.
func TestPin(t *testing.T) {
	ca := newAuthority(t, time.Now)
	address := serve(t, ca, nil, func(workerwire.Peer) error { return errors.New("nobody") })
	_, _, err := workerwire.EnrolAt(t.Context(), []string{address}, authority.ServerName, func(c *x509.Certificate) bool { return authority.PinOf(c) == strings.Repeat("0", 64) },
		workerwire.Enrolment{Name: "w1", Secret: "s"}, "x")
	if err == nil || !strings.Contains(err.Error(), "not the server") {
		t.Errorf("it ended with %v", err)
	}
}

// TestTooLarge: a worker that sends more than a message may have loses its line, and nobody else does.
func TestTooLarge(t *testing.T) {
	ca := newAuthority(t, time.Now)
	lines := make(chan sluice.Line[sluice.ToWorker, sluice.ToServer], 2)
	address := serve(t, ca, lines, func(workerwire.Peer) error { return nil })
	var ends [2]sluice.Line[sluice.ToWorker, sluice.ToServer]
	var workers [2]sluice.Line[sluice.ToServer, sluice.ToWorker]
	for i, name := range []sluice.WorkerName{"w1", "w2"} {
		var err error
		if workers[i], err = open(t, address, ca.Roots(), certified(t, ca, name)); err != nil {
			t.Fatal(err)
		}
		ends[i] = <-lines
		if _, err := ends[i].Receive(); err != nil { // the hello
			t.Fatal(err)
		}
	}
	_ = workers[0].Send(sluice.ToServer{Outcome: &sluice.TaskFinished{Host: "h", Attempt: "a", Reason: strings.Repeat("x", 9<<20)}})
	if m, err := ends[0].Receive(); err == nil {
		t.Errorf("it came as %T", m)
	}
	if err := workers[1].Send(sluice.ToServer{Beat: &sluice.WorkerBeat{Number: 7}}); err != nil {
		t.Fatal(err)
	}
	if m, err := ends[1].Receive(); err != nil || m.Beat == nil {
		t.Errorf("another one: %+v, %v", m, err)
	}
}

// TestVersions: each end takes the versions beside its own, and says which are meant where it takes none. A worker ends
// then: to try again is of no use.
func TestVersions(t *testing.T) {
	ca := newAuthority(t, time.Now)
	lines := make(chan sluice.Line[sluice.ToWorker, sluice.ToServer], 9)
	address := serve(t, ca, lines, func(workerwire.Peer) error { return nil })
	mine := certified(t, ca, "w1")
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithNoProxy(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13,
		RootCAs: ca.Roots(), ServerName: authority.ServerName, Certificates: []tls.Certificate{*mine}})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for v, fits := range map[uint32]bool{0: false, workerwire.Protocol: true, workerwire.Protocol + 1: true, workerwire.Protocol + 2: false} {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := wirepb.NewWorkersClient(conn).Work(ctx)
		if err == nil {
			err = stream.Send(&wirepb.ToServer{Is: &wirepb.ToServer_Hello{Hello: &wirepb.Hello{Protocol: v, Version: "x", Limit: 1}}})
		}
		var m *wirepb.ToWorker
		if err == nil {
			m, err = stream.Recv()
		}
		if fits && (err != nil || m.GetWelcome().GetProtocol() != workerwire.Protocol) {
			t.Errorf("a worker of version %d: %v, %v", v, m, err)
		}
		if !fits && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("speaks version %d", v)) || !strings.Contains(err.Error(), "more than one version away")) {
			t.Errorf("a worker of version %d: %v, %v", v, m, err)
		}
		cancel()
		if fits {
			<-lines
		}
	}

	for v, fits := range map[uint32]bool{0: false, workerwire.Protocol: true, workerwire.Protocol + 1: true, workerwire.Protocol + 2: false} {
		_, err := open(t, greeting(t, ca, v), ca.Roots(), mine)
		if fits != (err == nil) {
			t.Errorf("a server of version %d: %v", v, err)
		}
		if !fits && (sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), fmt.Sprintf("speaks version %d", v))) {
			t.Errorf("a server of version %d: %v", v, err)
		}
	}
}

// greets is a server that says hello, and no more.
type greets struct {
	wirepb.UnimplementedWorkersServer
	version uint32
}

func (g greets) Work(s grpc.BidiStreamingServer[wirepb.ToServer, wirepb.ToWorker]) error {
	if err := s.Send(&wirepb.ToWorker{Is: &wirepb.ToWorker_Welcome{Welcome: &wirepb.Welcome{Protocol: g.version, Version: "x"}}}); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

func greeting(t *testing.T, ca *authority.Workers, version uint32) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.Server() }})))
	wirepb.RegisterWorkersServer(s, greets{version: version})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	return l.Addr().String()
}
