package peerwire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"sluice"
)

// Joining is what a new server brings.
type Joining struct {
	// Secret is that of the token.
	Secret string
	Name   string
	// Address is where the others will reach it, HOST:PORT.
	Address string
	// From is where it came from.
	From string
}

// ServerConfig is what answers the other servers. What is nil is refused.
type ServerConfig struct {
	// Name is that of this server, for errors.
	Name        string
	Certificate func() (*tls.Certificate, error)
	Roots       *x509.CertPool
	// WhoIs reads the certificate of a server, which was checked.
	WhoIs func(*x509.Certificate) (name string, err error)
	// Admit says why a server is refused. It is asked before every call.
	Admit func(ctx context.Context, name string) error
	// Heard is told which version of the protocol a server speaks, with every call of one that was admitted; nil: nobody is told.
	Heard func(name string, protocol int)

	// Join lets a new server in. What it returns holds keys: it goes to that server, and nowhere else.
	Join func(ctx context.Context, j Joining) (json.RawMessage, error)
	// API is what takes requests that are handed on; nil while this server does not own the log. What it returns says false where it has not
	// answered and read nothing, as this server has just ceased to own it.
	API func() func(w http.ResponseWriter, r *http.Request) bool
	// Line is what takes connections of workers that are carried here; nil while this server does not own the log. It may hand the
	// connection to somebody else and return; the connection lives until it is closed, or ctx ends.
	Line func() func(ctx context.Context, conn net.Conn)
	// Asks are questions by their paths.
	Asks map[string]func(ctx context.Context, from string, in json.RawMessage) (any, error)

	// Kept is what other servers read and keep here.
	Kept Kept
	// Trouble is told what was wrong with a connection. It must not block; nil: nobody is told.
	Trouble func(text string)
}

// Kept is what a server lets the others read and keep: what [sluice.Peer] has, but for the name.
type Kept struct {
	// Records hands on the records of a namespace behind an event. It must not be called again before visit has returned; visit keeps
	// nothing.
	Records func(ctx context.Context, ns sluice.Namespace, after uint64, visit func([]sluice.Record) error) error
	Blobs   sluice.Blobs
	// KeepOutput keeps pieces, durably when it returns. It must not keep their data.
	KeepOutput func(ctx context.Context, job sluice.JobID, pieces []sluice.OutputPiece) error
	OutputSize func(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string) (int64, error)
	OpenOutput func(ctx context.Context, job sluice.JobID, a sluice.AttemptID, stream string, from int64) (io.ReadCloser, error)
}

type server struct {
	cfg ServerConfig
	mux *http.ServeMux

	mu    sync.Mutex
	over  bool
	calls sync.WaitGroup
}

// Serve answers other servers on a listener until ctx ends, and returns when all calls have ended.
func Serve(ctx context.Context, l net.Listener, cfg ServerConfig) error {
	s := &server{cfg: cfg, mux: http.NewServeMux()}
	s.routes()
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true) // lines
	h := &http.Server{Handler: s, Protocols: &protocols, ReadHeaderTimeout: headerTime, IdleTimeout: idleTimeServer, MaxHeaderBytes: maxHeader,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: cfg.Roots, SessionTicketsDisabled: true,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cfg.Certificate() }},
		HTTP2: &http.HTTP2Config{SendPingTimeout: quietTime, PingTimeout: pingTime, WriteByteTimeout: writeTime, MaxConcurrentStreams: maxStreams,
			MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connWindow},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			keepAlive(c)
			return ctx
		},
		ErrorLog: log.New(told(cfg.Trouble), "", 0)}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	err := h.ServeTLS(l, "", "")
	stop()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	_ = h.Close()
	s.calls.Wait()
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// keepAlive has a dead connection be found soon.
func keepAlive(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = t.SetKeepAliveConfig(alive) // a connection that is closed already needs none
	}
}

var alive = net.KeepAliveConfig{Enable: true, Idle: quietTime, Interval: time.Second, Count: 3}

type told func(string)

func (t told) Write(p []byte) (int, error) {
	if t != nil {
		t(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func (s *server) routes() {
	s.mux.HandleFunc("POST "+prefix+"ask/{path...}", s.ask)
	s.mux.HandleFunc("GET "+prefix+"line", s.line)
	s.keepRoutes()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, sluice.Errorf(sluice.Usage, "the server %s does not know %s %.200q: it may be of another version", s.cfg.Name, r.Method, r.URL.Path))
	})
}

const joinPath = prefix + "join"

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	over := s.over
	if !over {
		s.calls.Add(1)
	}
	s.mu.Unlock()
	if over {
		refuse(w, sluice.Errorf(sluice.Contact, "the server %s is stopping", s.cfg.Name))
		return
	}
	defer s.calls.Done()
	from := r.Header.Values(fromHeader)
	if len(from) == 0 && r.Method == http.MethodPost && r.URL.Path == joinPath {
		s.join(w, r)
		return
	}
	name, err := s.who(r)
	switch {
	case err != nil:
		refuse(w, err)
	case !Fits(s.heard(name, r.Header)):
		refuse(w, apart(name, protocolOf(r.Header), "the server "+s.cfg.Name))
	case len(from) > 0:
		s.handedOn(w, r, from)
	default:
		s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), nameKey{}, name)))
	}
}

// heard is the version of the protocol that a server speaks.
func (s *server) heard(name string, h http.Header) int {
	v := protocolOf(h)
	if s.cfg.Heard != nil {
		s.cfg.Heard(name, v)
	}
	return v
}

type nameKey struct{}

// who finds out who calls, and whether it still may.
func (s *server) who(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", sluice.Errorf(sluice.Denied, "a server of the cluster shows its certificate")
	}
	name, err := s.cfg.WhoIs(r.TLS.VerifiedChains[0][0])
	if err != nil {
		return "", err
	}
	return name, s.cfg.Admit(r.Context(), name)
}

type wireJoining struct {
	Secret  string `json:"secret"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

func (s *server) join(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(joinTime)) // anybody may come here
	if v := protocolOf(r.Header); !Fits(v) {
		refuse(w, apart("that wants to join", v, "the server "+s.cfg.Name))
		return
	}
	var j wireJoining
	if err := readJSON(r.Body, maxProblem, &j); err != nil {
		refuse(w, err)
		return
	}
	if s.cfg.Join == nil {
		refuse(w, sluice.Errorf(sluice.Denied, "the server %s lets nobody in", s.cfg.Name))
		return
	}
	ctx, done := context.WithTimeout(r.Context(), joinTime)
	defer done()
	text, err := s.cfg.Join(ctx, Joining{j.Secret, j.Name, j.Address, r.RemoteAddr})
	answer(w, text, err)
}

// readJSON reads one value of at most so many bytes.
func readJSON(r io.Reader, most int64, v any) error {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return &sluice.Error{Code: sluice.Contact, Text: "what was sent did not come", Err: err}
	case int64(len(text)) > most:
		return sluice.Errorf(sluice.Usage, "at most %d bytes are taken", most)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return &sluice.Error{Code: sluice.Usage, Text: "what was sent is not understood", Err: err}
	}
	return nil
}

func (s *server) ask(w http.ResponseWriter, r *http.Request) {
	do := s.cfg.Asks[r.PathValue("path")]
	if do == nil {
		refuse(w, sluice.Errorf(sluice.Usage, "the server %s does not know the question %.200q: it may be of another version", s.cfg.Name, r.PathValue("path")))
		return
	}
	var in json.RawMessage
	if err := readJSON(r.Body, maxAsk, &in); err != nil {
		refuse(w, err)
		return
	}
	from, _ := r.Context().Value(nameKey{}).(string)
	out, err := do(r.Context(), from, in)
	answer(w, out, err)
}

// notOwner says that what is meant for the owner came to another server.
func (s *server) notOwner(w http.ResponseWriter) {
	refuseWith(w, http.StatusMisdirectedRequest, problemOf(sluice.Errorf(sluice.Contact, "the server %s does not own the log", s.cfg.Name)))
}
