package app_test

import (
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"sluice"
	"sluice/internal/app"
)

// TestPortForWorkers: a server that nobody told a port keeps the one that it has, since workers come back there. Where there
// are no workers, somebody else on that port is no reason not to start.
func TestPortForWorkers(t *testing.T) {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), workersListen: "127.0.0.1"}
	s.start()
	first := s.workers
	s.must(s.stop())
	s.start()
	if s.workers != first {
		t.Errorf("workers come to %s, and came to %s", s.workers, first)
	}
	s.must(s.stop())

	other, err := net.Listen("tcp", first)
	s.must(err)
	s.start()
	if s.workers == first {
		t.Error("two listen on one port")
	}
	second := s.workers
	_, err = s.client.InviteWorker(t.Context(), "w1", nil)
	s.must(err)
	s.must(s.stop())
	s.must(other.Close())

	other, err = net.Listen("tcp", second)
	s.must(err)
	defer func() { s.must(other.Close()) }()
	again := &app.Server{Data: s.data, Listen: "127.0.0.1:0", WorkerListen: "127.0.0.1", Home: t.TempDir(), Env: func(string) string { return "" },
		Clock: app.Now, Log: slog.New(slog.DiscardHandler), Started: func(string) { t.Error("it started, and its workers cannot find it") }}
	if err := again.Run(t.Context()); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("error %v", err)
	}
}
