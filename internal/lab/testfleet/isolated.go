package testfleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
)

const (
	sshPort    = 22
	gateway    = "10.77.0.1"
	gatewayMAC = "02:4d:00:00:00:01"
	// nobodyMAC is the address of no card: what is sent to it is lost without a word.
	nobodyMAC = "02:4d:ff:ff:ff:ff"
	perNet    = 250
	maxHosts  = 250 * 250
)

func hostIP(i int) string  { return fmt.Sprintf("10.77.%d.%d", 1+i/perNet, 1+i%perNet) }
func hostMAC(i int) string { return fmt.Sprintf("02:4d:00:00:%02x:%02x", 1+i/perNet, 1+i%perNet) }

// tools are the programs that isolated hosts are made with, and the Debian packages that have them.
var tools = []struct{ program, pkg string }{
	{"sshd", "openssh-server"}, {"ssh", "openssh-client"}, {"ip", "iproute2"},
	{"unshare", "util-linux"}, {"nsenter", "util-linux"}, {"mount", "mount"}, {"pivot_root", "util-linux"},
}

// New starts isolated hosts. The context is for the starting; [Fleet.Close] ends them. An error that is
// [ErrUnavailable] says that it is not possible here.
func New(ctx context.Context, c Config) (*Fleet, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := possible(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "testfleet-")
	if err != nil {
		return nil, err
	}
	f := &Fleet{IP: gateway, user: c.User, dir: dir}
	f.close = func() error { return os.RemoveAll(dir) }
	if f.user == "" {
		f.user = "root"
	}
	if err := f.build(ctx, c); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func possible() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: needs root, for namespaces of its own", ErrUnavailable)
	}
	for _, t := range tools {
		if !installed(t.program) {
			return fmt.Errorf("%w: %s is not installed: run .ci/install-test-deps, or install the package %s", ErrUnavailable, t.program, t.pkg)
		}
	}
	return nil
}

// installed looks where administration's programs are, too: they may be missing from PATH.
func installed(program string) bool {
	_, ok := find(program)
	return ok
}

func find(program string) (path string, ok bool) {
	for dir := range strings.SplitSeq(searchPath(), ":") {
		if path, err := exec.LookPath(dir + "/" + program); err == nil {
			return path, true
		}
	}
	return "", false
}

func (f *Fleet) build(ctx context.Context, c Config) error {
	client, err := f.makeHome()
	if err != nil {
		return err
	}
	var hosts, network strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n" + gateway + " control\n")
	network.WriteString("link set lo up\nlink add br0 address " + gatewayMAC + " type bridge\naddr add " + gateway + "/16 dev br0\nlink set br0 up\n")
	configs := make([]HostConfig, c.Hosts)
	sizes := make([]int64, c.Hosts)
	for i := range c.Hosts {
		configs[i] = c.host(i)
		sizes[i] = configs[i].Disk
		fmt.Fprintf(&hosts, "%s %s\n", hostIP(i), c.name(i))
		// Fixed neighbours: a question that a silent network does not answer would end in an error, and so not be silent.
		fmt.Fprintf(&network, "neigh replace %s lladdr %s dev br0 nud permanent\n", hostIP(i), hostMAC(i))
	}
	f.control, err = startControl(ctx, f.dir, network.String(), sizes)
	if err != nil {
		return err
	}
	f.close = f.closeIsolated
	if err := writeImage(f.control.path("image"), hosts.String()); err != nil {
		return err
	}
	if err := os.WriteFile(f.control.path("init"), []byte(initScript), 0o644); err != nil {
		return err
	}
	for i, hc := range configs {
		h, err := f.addHost(i, c.name(i), hc, client)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name(i), err)
		}
		f.Hosts = append(f.Hosts, h)
	}
	if err := f.writeHosts(); err != nil {
		return err
	}
	return f.bootAll(ctx)
}

func (f *Fleet) addHost(i int, name string, c HostConfig, client key) (*Host, error) {
	k, err := newKey("root@" + name)
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, IP: hostIP(i), Port: sshPort, fleet: f, key: k}
	h.vm = &machine{control: f.control, index: i, config: c}
	return h, writeHost(h.vm.disk("upper"), c, name, k, client)
}

// bootAll boots all hosts, some at a time: more than the processors can run only makes each of them later.
func (f *Fleet) bootAll(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(f.Hosts))
	turn := make(chan struct{}, 2*runtime.NumCPU())
	for i, h := range f.Hosts {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			errs[i] = h.Boot(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f *Fleet) closeIsolated() error {
	err := f.control.close()
	for _, h := range f.Hosts {
		h.vm.wait()
	}
	return errors.Join(err, os.RemoveAll(f.dir))
}
