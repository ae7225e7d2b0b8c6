package testfleet

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed site.sh
var siteScript string

// Site is a place beside the hosts where programs run: a network of its own, with a cable to theirs. Sites reach each other
// and the hosts; what one sends to another can be lost.
type Site struct {
	IP string

	fleet *Fleet
	mac   string
	cmd   *exec.Cmd // keeps the network
	life  *os.File
	net   *os.File
}

// AddSites makes n sites, which end with the fleet and with them all that runs there. Only isolated hosts can have them.
func (f *Fleet) AddSites(ctx context.Context, n int) ([]*Site, error) {
	if f.control == nil {
		return nil, ErrUnsupported
	}
	var all []*Site
	for i := range n {
		s := &Site{IP: fmt.Sprintf("10.77.0.%d", 11+i), mac: fmt.Sprintf("02:4d:01:00:00:%02x", 1+i), fleet: f}
		if err := s.begin(ctx, fmt.Sprintf("site%d", i+1)); err != nil {
			return nil, fmt.Errorf("site %d: %w", i+1, err)
		}
		all = append(all, s)
	}
	for _, s := range all {
		if err := s.Hear(ctx, all...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *Site) begin(ctx context.Context, port string) error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	s.cmd = exec.Command("/bin/sh", "-c", siteScript, "site.sh", strconv.Itoa(os.Getpid()))
	s.cmd.Env = machineEnv()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNET}
	s.cmd.Stdin, s.life = in, out
	err = s.cmd.Start()
	_ = in.Close()
	if err != nil {
		return errors.Join(err, s.life.Close())
	}
	s.fleet.onClose(s.end)
	if s.net, err = os.Open(s.ns()); err != nil {
		return err
	}
	if err := s.fleet.control.ip(ctx, fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %d", port, s.mac, s.cmd.Process.Pid),
		"link set "+port+" master br0", "link set "+port+" up"); err != nil {
		return err
	}
	return ip(ctx, s.ns(), "link set lo up", "addr add "+s.IP+"/16 dev eth0", "link set eth0 up")
}

func (s *Site) ns() string { return fmt.Sprintf("/proc/%d/ns/net", s.cmd.Process.Pid) }

// end ends all that runs there.
func (s *Site) end() error {
	err := s.life.Close()
	if s.net != nil {
		err = errors.Join(err, s.net.Close())
	}
	return errors.Join(err, s.cmd.Wait())
}

// Command returns a program that is to run there. Its process id is the program's own.
func (s *Site) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--net=" + s.ns(), "--", name}, args...)...)
	cmd.Env = s.fleet.Env()
	cmd.WaitDelay = time.Second
	return cmd
}

// Within calls do there: a program that it starts runs there. It is for what has to start one itself, on the thread on which it is called.
func (s *Site) Within(do func() error) error {
	_, err := inNetwork(s.net, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// Dial opens a connection from there.
func (s *Site) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return inNetwork(s.net, func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	})
}

// Deafen loses what this site sends to others; neither side is told anything. What they send to it arrives.
func (s *Site) Deafen(ctx context.Context, others ...*Site) error {
	return s.sendTo(ctx, others, func(*Site) string { return nobodyMAC })
}

// Hear undoes Deafen.
func (s *Site) Hear(ctx context.Context, others ...*Site) error {
	return s.sendTo(ctx, others, func(o *Site) string { return o.mac })
}

func (s *Site) sendTo(ctx context.Context, others []*Site, mac func(*Site) string) error {
	var lines []string
	for _, o := range others {
		if o != s {
			lines = append(lines, fmt.Sprintf("neigh replace %s lladdr %s dev eth0 nud permanent", o.IP, mac(o)))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	if err := ip(ctx, s.ns(), lines...); err != nil {
		return fmt.Errorf("what %s sends: %w\n%s", s.IP, err, strings.Join(lines, "\n"))
	}
	return nil
}
