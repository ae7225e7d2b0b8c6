package app_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/app"
	"sluice/internal/core/fleet"
	"sluice/internal/lab/testfleet"
)

// served is a server in this process, on data that outlives it.
type served struct {
	t       *testing.T
	data    string
	token   string
	tokens  int
	client  *client.Client
	address string
	stop    func() error
	set     func(*app.Server) // changes how it is set up; may be nil
	log     slog.Handler      // nil: nobody reads it
	listen  string            // "": any free port of the loopback
	// For workers elsewhere.
	noWorker      bool
	workersListen string
	workers       string // where they come to
	via           string // where they come to instead, if not ""
	lease         time.Duration
	fleet         *testfleet.Fleet // whose hosts workers reach
}

func (s *served) start() {
	s.t.Helper()
	if s.log == nil {
		s.log = slog.NewTextHandler(io.Discard, nil)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	listen := s.listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	server := &app.Server{Data: s.data, Listen: listen, Home: s.t.TempDir(), Env: func(string) string { return "" },
		Environ: []string{"PATH=" + os.Getenv("PATH")}, Clock: app.Now, LocalTargets: true,
		Log: slog.New(s.log), NoWorker: s.noWorker, WorkerListen: s.workersListen, Lease: s.lease,
		WorkersStarted: func(address string) { s.workers = address },
		FirstToken: func(secret string) error {
			s.tokens++
			s.token = secret
			return nil
		},
		Started: func(address string) { ready <- address }}
	if s.set != nil {
		s.set(server)
	}
	go func() { ended <- server.Run(ctx) }()
	select {
	case s.address = <-ready:
	case err := <-ended:
		s.t.Fatalf("the server ended: %v", err)
	}
	var once bool
	s.stop = func() error {
		if once {
			return nil
		}
		once = true
		cancel()
		return <-ended
	}
	s.t.Cleanup(func() { _ = s.stop() })
	if s.token != "" { // a server of a cluster hands it out when it owns the log
		s.connect()
	}
}

// connect makes a client with the token.
func (s *served) connect() {
	s.t.Helper()
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	var err error
	if s.client, err = client.New("http://"+s.address, s.token, &http.Client{Transport: transport}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *served) apply(text string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	b, err := fleet.Record(fleetfiles.New(s.t.Context())).Bundle(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.ApplyFleet(s.t.Context(), "default", b, "", -1); err != nil {
		s.t.Fatal(err)
	}
}

func (s *served) end(id sluice.JobID) sluice.Event {
	s.t.Helper()
	last, err := s.client.Follow(s.t.Context(), string(id), 0, func(sluice.Event) {}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return last
}

const localFleet = `ssh: {transport: local}
tag:
  web: ["web[1-4]"]
constraint:
  $web: 2
`

// TestServer: what people submit is carried out by the server itself, also what is left when it starts anew; the first
// token is made once in the life of the data.
func TestServer(t *testing.T) {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.start()
	s.apply(localFleet)
	marks := t.TempDir()
	j, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "echo I am $SLUICE_HOST | tee -a " + marks + "/$SLUICE_HOST"})
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := s.end(j.ID).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded || b.Counts[sluice.Succeeded] != 4 {
		t.Fatalf("it ended with %+v", b)
	}
	out, err := s.client.Output(t.Context(), string(j.ID), "web3", "stdout", 5)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if out.Close(); err != nil || string(text) != "web3\n" {
		t.Errorf("web3 printed %q from the 5th byte on, error %v", text, err)
	}

	// Halted jobs wait for people, also for the next server, and go on when they say so.
	j, err = s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "test -e " + marks + "/well"})
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := s.end(j.ID).Body.(sluice.JobHalted); !ok || b.Rule != sluice.RuleConstraint {
		t.Fatalf("it ended with %+v", b)
	}
	if err := os.WriteFile(marks+"/well", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatalf("the server ends with %v", err)
	}
	s.start()
	if s.tokens != 1 {
		t.Errorf("%d first tokens", s.tokens)
	}
	events, err := s.client.Retry(t.Context(), j.ID, nil, nil)
	if err != nil || len(events) == 0 {
		t.Fatalf("%v, error %v", events, err)
	}
	last, err := s.client.Follow(t.Context(), string(j.ID), events[0].Seq, func(sluice.Event) {}, nil)
	if b, ok := last.Body.(sluice.JobFinished); err != nil || !ok || b.Outcome != sluice.Succeeded {
		t.Errorf("after the retry it ended with %+v, error %v", last.Body, err)
	}
	all, err := s.client.Events(t.Context(), string(j.ID), 0)
	if err != nil || len(all) == 0 {
		t.Errorf("%d events, error %v", len(all), err)
	}
}

// TestServerRefuses: what would be unsafe or cannot work ends the start, with what to do.
func TestServerRefuses(t *testing.T) {
	for listen, says := range map[string]string{"0.0.0.0:0": "TLS", ":0": "TLS", "example.com:0": "TLS", "127.0.0.1": "no address"} {
		server := &app.Server{Data: filepath.Join(t.TempDir(), "data"), Listen: listen, Clock: app.Now, Log: slog.New(slog.DiscardHandler)}
		err := server.Run(t.Context())
		if sluice.CodeOf(err) != sluice.Usage || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", listen, err)
		}
		if _, err := os.Stat(server.Data); err == nil {
			t.Errorf("%s: something was made before", listen)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	data := filepath.Join(t.TempDir(), "data")
	server := &app.Server{Data: data, Listen: "127.0.0.1:0", Certificate: none, Key: none, Clock: app.Now, Log: slog.New(slog.DiscardHandler),
		FirstToken: func(string) error { t.Error("a token, though it cannot start"); return nil }}
	if err := server.Run(t.Context()); sluice.CodeOf(err) != sluice.Config || !strings.Contains(err.Error(), none) {
		t.Errorf("without its certificate: %v", err)
	}
	full := errors.New("the disk is full")
	run := func(token func(string) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return (&app.Server{Data: data, Listen: "127.0.0.1:0", Home: t.TempDir(), Env: func(string) string { return "" }, Clock: app.Now,
			Log: slog.New(slog.DiscardHandler), FirstToken: token, Started: func(string) { cancel() }}).Run(ctx)
	}
	if err := run(func(string) error { return full }); !errors.Is(err, full) {
		t.Errorf("a token that cannot be handed over: %v", err)
	}
	made := 0
	if err := run(func(string) error { made++; return nil }); err != nil || made != 1 {
		t.Errorf("the next start makes %d tokens, error %v", made, err)
	}
}
