package testfleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Errors of this package.
var (
	// ErrUnavailable says that this machine, or this user, cannot have such a fleet.
	ErrUnavailable = errors.New("not possible here")
	// ErrUnsupported says that a plain fleet cannot do that, because its hosts are not isolated.
	ErrUnsupported = fmt.Errorf("a host of a plain fleet is not isolated: %w", errors.ErrUnsupported)
	// ErrDown says that the host has no power.
	ErrDown = errors.New("the host is down")
)

// Fleet is some running hosts and what a client needs to reach them.
type Fleet struct {
	Hosts []*Host
	// Home is a home directory for programs: .ssh with config, known_hosts and id_ed25519, and the XDG directories. Real
	// ssh looks for its files in the home of the passwd file, so it needs "-F SSHConfig".
	Home       string
	SSHConfig  string // path of an ssh_config that knows all hosts by name
	KnownHosts string // path of known_hosts
	Identity   string // path of the private key that logs in as every user
	Signer     ssh.Signer
	// IP is the address that the hosts see the client under, and reach its listeners at.
	IP string

	user    string
	dir     string
	control *control // nil if plain
	entry   string   // of the environment of what a plain fleet starts, to find it again

	mu      sync.Mutex
	closers []func() error // of proxies and servers in this process, ended before the rest
	close   func() error
}

// Start starts isolated hosts and ends them with the test. The test is skipped where that is not possible; but root
// must not skip it where CI=true or SLUICE_TEST_MUST_RUN=1 is set.
func Start(t testing.TB, c Config) *Fleet {
	t.Helper()
	return started(t, func(ctx context.Context) (*Fleet, error) { return New(ctx, c) })
}

// StartPlain starts n hosts that are OpenSSH servers on loopback addresses, run by the current user, and ends them with
// the test. It skips as [Start] does.
func StartPlain(t testing.TB, n int) *Fleet {
	t.Helper()
	return started(t, func(ctx context.Context) (*Fleet, error) { return NewPlain(ctx, PlainConfig{Hosts: n}) })
}

func started(t testing.TB, start func(context.Context) (*Fleet, error)) *Fleet {
	t.Helper()
	f, err := start(t.Context())
	switch {
	case errors.Is(err, ErrUnavailable) && !mustRun():
		t.Skipf("skipped: no test fleet: %v", err)
	case err != nil:
		t.Fatalf("test fleet: %v", err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("ending the test fleet: %v", err)
		}
	})
	return f
}

func mustRun() bool {
	return os.Geteuid() == 0 && (os.Getenv("CI") == "true" || os.Getenv("SLUICE_TEST_MUST_RUN") == "1")
}

// Host returns the host of that name; it panics if there is none, as an index out of range does.
func (f *Fleet) Host(name string) *Host {
	i := slices.IndexFunc(f.Hosts, func(h *Host) bool { return h.Name == name })
	if i < 0 {
		panic("testfleet: no host is named " + name)
	}
	return f.Hosts[i]
}

// Plain reports whether the hosts are not isolated.
func (f *Fleet) Plain() bool { return f.control == nil }

// Env is the environment that programs of this fleet get: little, so that nothing of the machine's user leaks into
// a test.
func (f *Fleet) Env() []string {
	env := []string{
		"HOME=" + f.Home,
		"XDG_CONFIG_HOME=" + filepath.Join(f.Home, ".config"),
		"XDG_DATA_HOME=" + filepath.Join(f.Home, ".local/share"),
		"XDG_STATE_HOME=" + filepath.Join(f.Home, ".local/state"),
		"XDG_CACHE_HOME=" + filepath.Join(f.Home, ".cache"),
		"XDG_RUNTIME_DIR=" + filepath.Join(f.Home, ".run"),
		"PATH=" + searchPath(),
		"USER=" + f.user, "LOGNAME=" + f.user, "LANG=C.UTF-8",
	}
	if f.entry != "" {
		env = append(env, f.entry)
	}
	// A binary built with coverage has to know where its figures go.
	if dir, ok := os.LookupEnv("GOCOVERDIR"); ok {
		env = append(env, "GOCOVERDIR="+dir)
	}
	return env
}

// Command returns a program that can reach the hosts, to be started by the caller. Its process id is the program's
// own, so killing it hits the program. What it leaves behind ends with the fleet.
func (f *Fleet) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	argv := append([]string{name}, args...)
	if f.control != nil {
		argv = append([]string{"nsenter", "--net=" + f.control.ns("net"), "--"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = f.Env()
	cmd.WaitDelay = time.Second
	return cmd
}

// SSH returns the real OpenSSH client, as the fleet's user or "user@host", with the command.
func (f *Fleet) SSH(ctx context.Context, host, command string, options ...string) *exec.Cmd {
	args := append([]string{"-F", f.SSHConfig}, options...)
	return f.Command(ctx, "ssh", append(args, "--", host, command)...)
}

// Dial opens a connection from where the client is. The host part of the address may be the name of a host.
func (f *Fleet) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if name, port, err := net.SplitHostPort(address); err == nil {
		if i := slices.IndexFunc(f.Hosts, func(h *Host) bool { return h.Name == name }); i >= 0 {
			address = net.JoinHostPort(f.Hosts[i].IP, port)
		}
	}
	return within(f, func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	})
}

// Listen listens where the client is. The hosts reach it at the address [Fleet.IP].
func (f *Fleet) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return within(f, func() (net.Listener, error) {
		var c net.ListenConfig
		return c.Listen(ctx, network, address)
	})
}

func within[T any](f *Fleet, open func() (T, error)) (T, error) {
	if f.control == nil {
		return open()
	}
	return inNetwork(f.control.net, open)
}

// Close ends all hosts and programs of the fleet and removes its files. It may be called more than once.
func (f *Fleet) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, c := range slices.Backward(f.closers) {
		errs = append(errs, c())
	}
	f.closers = nil
	if f.close != nil {
		errs = append(errs, f.close())
		f.close = nil
	}
	return errors.Join(errs...)
}

// onClose has c called before the fleet ends.
func (f *Fleet) onClose(c func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closers = append(f.closers, c)
}
