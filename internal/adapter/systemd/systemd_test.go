package systemd_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/adapter/systemd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manager is a service manager that listens.
func manager(t *testing.T, address string) func() string {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() string {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	abstract := "@sluice-test-" + filepath.Base(filepath.Dir(t.TempDir()))
	for _, address := range []string{path, abstract} {
		heard := manager(t, address)
		m := systemd.Find(env("NOTIFY_SOCKET", address), 1)
		if err := m.Notify(t.Context(), systemd.Ready); err != nil {
			t.Fatal(err)
		}
		if got := heard(); got != "READY=1" {
			t.Errorf("%q", got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := systemd.Find(env("NOTIFY_SOCKET", path), 1).Notify(t.Context(), systemd.Ready); err == nil {
		t.Error("nobody listens, and nobody says so")
	}
	if err := systemd.Find(env(), 1).Notify(t.Context(), systemd.Ready); err != nil {
		t.Errorf("without a manager: %v", err)
	}
}

// TestGuard: the watchdog hears of us only while all is well.
func TestGuard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	heard := manager(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked int
	told := make(chan error, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		systemd.Find(env("NOTIFY_SOCKET", path, "WATCHDOG_USEC", "3000", "WATCHDOG_PID", "7"), 7).Guard(ctx, func(context.Context) error {
			if asked++; asked == 2 {
				return errors.New("sick")
			}
			return nil
		}, func(err error) { told <- err })
	}()
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("%q", got)
	}
	if err := <-told; err.Error() != "sick" {
		t.Errorf("%v", err)
	}
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("%q", got)
	}
	cancel()
	<-done
	// The watchdog of another process is none of ours.
	systemd.Find(env("NOTIFY_SOCKET", path, "WATCHDOG_USEC", "3000", "WATCHDOG_PID", "8"), 7).Guard(t.Context(), nil, nil)
}
