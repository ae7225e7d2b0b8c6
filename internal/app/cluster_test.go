package app_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
)

// twoPorts is an address of the loopback at which nobody listens, nor at the port after it.
func twoPorts(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = next.Close()
		return l.Addr().String()
	}
	t.Fatal("there are no two free ports side by side")
	return ""
}

// TestClusterOfOne: one server of a cluster does what a server does that is alone, also when it starts anew.
func TestClusterOfOne(t *testing.T) {
	at := twoPorts(t)
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), log: slog.NewTextHandler(os.Stderr, nil)}
	token := make(chan string, 10)
	s.set = func(server *app.Server) {
		server.Cluster = app.Cluster{Address: at, Name: "one"}
		server.FirstToken = func(secret string) error { token <- secret; return nil }
	}
	s.start()
	s.token = <-token
	s.connect()
	s.apply(localFleet)
	run := func() {
		t.Helper()
		j, err := s.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "echo I am $SLUICE_HOST"})
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := s.end(j.ID).Body.(sluice.JobFinished); !ok || b.Outcome != sluice.Succeeded || b.Counts[sluice.Succeeded] != 4 {
			t.Fatalf("it ended with %+v", b)
		}
	}
	run()
	if err := s.stop(); err != nil {
		t.Fatalf("the server ends with %v", err)
	}
	s.start()
	run()
	if len(token) > 0 {
		t.Error("a second first token")
	}
}
