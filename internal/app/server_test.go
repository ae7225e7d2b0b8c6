package app_test

import (
	"context"
	"errors"
	"fmt"
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
}

func (s *served) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	server := &app.Server{Data: s.data, Listen: "127.0.0.1:0", Home: s.t.TempDir(), Env: func(string) string { return "" },
		Environ: []string{"PATH=" + os.Getenv("PATH")}, Clock: app.Now, LocalTargets: true,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		FirstToken: func(secret string) error {
			s.tokens++
			s.token = secret
			return nil
		},
		Started: func(address string) { ready <- address }}
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

	// A server that ends leaves what runs alone, and the next one joins it: every command runs once.
	fifo := filepath.Join(marks, "go")
	j, err = s.client.Submit(t.Context(), api.Submit{Targets: "$web",
		Command: fmt.Sprintf("echo once >>%s/second-$SLUICE_HOST; until [ -e %s ]; do sleep 0.05; done", marks, fifo)})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan sluice.Host, 10)
	watch, unwatch := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() {
		_, err := s.client.Follow(watch, string(j.ID), 0, func(e sluice.Event) {
			if b, ok := e.Body.(sluice.TaskStarted); ok {
				started <- b.Host
			}
		}, nil)
		watched <- err
	}()
	for range 2 {
		<-started
	}
	unwatch()
	if err := <-watched; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatalf("the server ends with %v", err)
	}
	s.start()
	if s.tokens != 1 {
		t.Errorf("%d first tokens", s.tokens)
	}
	if err := os.WriteFile(fifo, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, ok := s.end(j.ID).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded {
		t.Errorf("it ended with %+v", b)
	}
	for i := range 4 {
		if b, err := os.ReadFile(fmt.Sprintf("%s/second-web%d", marks, i+1)); err != nil || string(b) != "once\n" {
			t.Errorf("on web%d the command left %q, error %v", i+1, b, err)
		}
	}

	// Halted jobs wait for people, and go on when they say so.
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
	full := errors.New("the disk is full")
	data := filepath.Join(t.TempDir(), "data")
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
