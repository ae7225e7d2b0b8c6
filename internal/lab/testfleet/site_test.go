package testfleet

import (
	"bytes"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSites: what one site sends to another is lost while it is to be, and only that; what runs there ends with the fleet.
func TestSites(t *testing.T) {
	f := Start(t, Config{Hosts: 1})
	sites, err := f.AddSites(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	socket := func(s *Site) *net.UDPConn {
		c, err := inNetwork(s.net, func() (net.PacketConn, error) { return net.ListenPacket("udp", s.IP+":7") })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.(*net.UDPConn)
	}
	a, b := socket(sites[0]), socket(sites[1])
	arrives := func(from, to *net.UDPConn, word string) bool {
		t.Helper()
		if _, err := from.WriteTo([]byte(word), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100)
		_ = to.SetReadDeadline(time.Now().Add(time.Second))
		n, err := to.Read(got)
		return err == nil && string(got[:n]) == word
	}
	if !arrives(a, b, "one") || !arrives(b, a, "two") {
		t.Fatal("nothing arrives")
	}
	if err := sites[0].Deafen(t.Context(), sites...); err != nil {
		t.Fatal(err)
	}
	if arrives(a, b, "three") {
		t.Error("what is to be lost arrives")
	}
	if !arrives(b, a, "four") {
		t.Error("the other way is lost, too")
	}
	if err := sites[0].Hear(t.Context(), sites...); err != nil {
		t.Fatal(err)
	}
	if !arrives(a, b, "five") {
		t.Error("it is lost still")
	}
	c, err := sites[0].Dial(t.Context(), "tcp", f.Hosts[0].Addr())
	if err != nil {
		t.Fatalf("a host is not reached: %v", err)
	}
	_ = c.Close()
	var addresses bytes.Buffer
	there := exec.Command("cat", "/proc/self/net/fib_trie")
	there.Stdout = &addresses
	if err := sites[1].Within(there.Start); err != nil {
		t.Fatal(err)
	}
	if err := there.Wait(); err != nil || !strings.Contains(addresses.String(), sites[1].IP+"\n") || strings.Contains(addresses.String(), sites[0].IP+"\n") {
		t.Errorf("it is not there: %v\n%s", err, &addresses)
	}
	cmd := sites[0].Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Errorf("it ended with %v", err)
	}
}
