package testfleet_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/lab/testfleet"
)

func itoa(n int) string { return strconv.Itoa(n) }

// soon is how long a test waits for something that must not happen.
const soon = 250 * time.Millisecond

// expectSilence dials the host and expects no answer of any kind.
func expectSilence(t *testing.T, f *testfleet.Fleet, h *testfleet.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	conn, err := f.Dial(ctx, "tcp", h.Addr())
	if err == nil {
		_ = conn.Close()
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%s: dialling a host that cannot answer: %v", h.Name, err)
	}
}

func expectAnswer(t *testing.T, f *testfleet.Fleet, h *testfleet.Host) {
	t.Helper()
	c, err := h.Connect(t.Context(), "root")
	if err != nil {
		t.Errorf("%s: %v", h.Name, err)
		return
	}
	_ = c.Close()
}

// An open connection hears nothing while the host is silent, not even its end, and goes on afterwards.
func TestSilenceIsSilent(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 2})
	h := f.Hosts[0]
	for _, d := range []testfleet.Direction{testfleet.BothWays, testfleet.ToHost, testfleet.FromHost} {
		c, err := h.Connect(t.Context(), "deploy")
		must(t, err)
		must(t, h.Silence(t.Context(), d))
		expectSilence(t, f, h)
		expectAnswer(t, f, f.Hosts[1])
		// Only a host that is silent both ways is silent for the other hosts, too.
		_, err = f.Hosts[1].Exec(t.Context(), "timeout 0.3 bash -c 'exec 3<>/dev/tcp/"+h.Name+"/22'")
		if silent := err != nil; silent != (d == testfleet.BothWays) {
			t.Errorf("direction %d: from another host: %v", d, err)
		}
		if got := strings.Contains(run(t, h, "cat /proc/net/tcp"), " 03 "); got != (d == testfleet.FromHost) {
			t.Errorf("direction %d: the host has seen a connection coming: %v", d, got)
		}
		answer := make(chan error, 1)
		go func() {
			s, err := c.NewSession()
			if err == nil {
				err = s.Run("true")
			}
			answer <- err
		}()
		select {
		case err := <-answer:
			t.Errorf("direction %d: a silent host answered: %v", d, err)
		case <-time.After(soon):
		}
		must(t, h.RestoreLink(t.Context()))
		if err := <-answer; err != nil {
			t.Errorf("direction %d: after the silence: %v", d, err)
		}
		must(t, c.Close())
		expectAnswer(t, f, h)
	}
}

func TestSilenceOutlivesABoot(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1})
	h := f.Hosts[0]
	must(t, h.Silence(t.Context(), testfleet.BothWays))
	must(t, h.Kill(t.Context()))
	must(t, h.Boot(t.Context()))
	expectSilence(t, f, h)
	must(t, h.RestoreLink(t.Context()))
	expectAnswer(t, f, h)
	must(t, h.Silence(t.Context(), testfleet.FromHost))
	must(t, h.Kill(t.Context()))
	must(t, h.Boot(t.Context()))
	expectSilence(t, f, h)
	must(t, h.RestoreLink(t.Context()))
	expectAnswer(t, f, h)
}

func TestUnplug(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1})
	h := f.Hosts[0]
	const carrier = "cat /sys/class/net/eth0/carrier"
	if got := run(t, h, carrier); got != "1\n" {
		t.Errorf("carrier %q with the cable in", got)
	}
	must(t, h.Unplug(t.Context()))
	if got := run(t, h, carrier); got != "0\n" {
		t.Errorf("carrier %q with the cable out", got)
	}
	expectSilence(t, f, h)
	must(t, h.Kill(t.Context()))
	must(t, h.Boot(t.Context()))
	if got := run(t, h, carrier); got != "0\n" {
		t.Errorf("carrier %q after a boot with the cable out", got)
	}
	// Silence while unplugged must not wait for the cable.
	must(t, h.Silence(t.Context(), testfleet.BothWays))
	must(t, h.RestoreLink(t.Context()))
	expectAnswer(t, f, h)
}

func TestStoppedServerRefuses(t *testing.T) {
	f := testfleet.Start(t, testfleet.Config{Hosts: 1})
	h := f.Hosts[0]
	open, err := h.Connect(t.Context(), "root")
	must(t, err)
	defer open.Close()
	must(t, h.StopSSHD(t.Context()))
	if _, err := f.Dial(t.Context(), "tcp", h.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a host without sshd: %v", err)
	}
	s, err := open.NewSession()
	must(t, err)
	must(t, s.Run("true"))
	must(t, h.StartSSHD(t.Context()))
	expectAnswer(t, f, h)
}
