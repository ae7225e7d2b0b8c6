package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// lab is what the measured programs find: a home directory with keys and settings, and a server.
type lab struct {
	options
	self    string
	dir     string
	user    string
	env     []string
	port    int // of sshd, on every address of the loopback
	hostKey key
	login   key
	server  *child // sshd
	runs    int
}

type key struct {
	signer ssh.Signer
	pem    []byte
}

func newKey() (key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return key{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return key{}, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	return key{signer, pem.EncodeToMemory(block)}, err
}

// public is the line of the key for authorized_keys and known_hosts.
func (k key) public() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
}

func newLab(ctx context.Context, o options, dir string) (*lab, error) {
	if err := loopbackUp(); err != nil {
		return nil, fmt.Errorf("switching the loopback on: %w", err)
	}
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("who runs this must be in the passwd file, as sshd serves nobody else: %w", err)
	}
	l := &lab{options: o, dir: dir, user: me.Username}
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if l.hostKey, err = newKey(); err != nil {
		return nil, err
	}
	if l.login, err = newKey(); err != nil {
		return nil, err
	}
	l.env = []string{"HOME=" + l.path("home"), "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "USER=" + l.user, "LOGNAME=" + l.user,
		"LANG=C.UTF-8", "ANSIBLE_REMOTE_TMP=" + l.path("remote"), "ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3", "ANSIBLE_NOCOLOR=1",
		"ANSIBLE_DEPRECATION_WARNINGS=False"}
	if err := l.startServer(ctx); err != nil {
		return nil, err
	}
	return l, l.writeHome()
}

func (l *lab) path(elem ...string) string { return filepath.Join(append([]string{l.dir}, elem...)...) }

func (l *lab) sluice() string { return l.path("sluice") }

func (l *lab) write(name, text string) error {
	path := l.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// startServer starts the one sshd that is all hosts.
func (l *lab) startServer(ctx context.Context) error {
	sshd := "/usr/sbin/sshd"
	if path, err := exec.LookPath("sshd"); err == nil {
		sshd = path
	}
	if _, err := os.Stat(sshd); err != nil {
		return errors.New("sshd is not installed: run .ci/install-test-deps --bench")
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(l.path("remote"), 0o700); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	l.port = port
	config := fmt.Sprintf(`Port %d
ListenAddress 0.0.0.0
HostKey %s
AuthorizedKeysFile %s
PidFile none
UsePAM no
StrictModes no
UseDNS no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
LogLevel ERROR
MaxStartups 10000
Subsystem sftp internal-sftp
SetEnv SHLVL=1 HOME=%s
`, port, l.path("server/host_key"), l.path("server/authorized_keys"), l.path("remote"))
	files := map[string]string{"server/host_key": string(l.hostKey.pem), "server/authorized_keys": l.login.public() + "\n", "server/config": config}
	for name, text := range files {
		if err := l.write(name, text); err != nil {
			return err
		}
	}
	// Newer servers punish addresses that come too often, unless they are told not to.
	const forgiving = "PerSourcePenalties no\n"
	if err := l.write("server/config", config+forgiving); err != nil {
		return err
	}
	if exec.CommandContext(ctx, sshd, "-t", "-f", l.path("server/config")).Run() != nil {
		if err := l.write("server/config", config); err != nil {
			return err
		}
	}
	if l.server, err = l.start(ctx, program{name: "sshd", argv: []string{sshd, "-D", "-e", "-f", l.path("server/config")}}); err != nil {
		return err
	}
	return l.listening(ctx, port)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "0.0.0.0:0") // in the network of our own
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// listening waits until somebody serves the port.
func (l *lab) listening(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not come up: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// serverRests waits until sshd serves nobody any more, and returns what it has used so far.
func (l *lab) serverRests(ctx context.Context) (usage, error) {
	for range 250 {
		u, err := l.server.usage()
		if err != nil || u.Alive <= 1 {
			return u, err
		}
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return usage{}, errors.New("connections to sshd do not end")
}

// addresses are n hosts, one a line.
func addresses(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "127.1.%d.%d\n", i/250, 1+i%250)
	}
	return b.String()
}

// writeHome writes what clients read.
func (l *lab) writeHome() error {
	settings := fmt.Sprintf(`  User %s
  IdentityFile %s
  IdentitiesOnly yes
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  LogLevel ERROR
`, l.user, l.path("home/.ssh/id_ed25519"), l.path("home/.ssh/known_hosts"))
	stock := fmt.Sprintf("Host 127.*\n  Port %d\n%s", l.port, settings)
	master := fmt.Sprintf("  ControlMaster auto\n  ControlPersist 60\n  ControlPath %s/%%C\n", l.path("cm"))
	const light = "  KexAlgorithms curve25519-sha256\n"
	if err := os.MkdirAll(l.path("cm"), 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"home/.ssh/id_ed25519":  string(l.login.pem),
		"home/.ssh/config":      stock,
		"home/.ssh/known_hosts": fmt.Sprintf("127.*,[127.*]:* %s\n", l.hostKey.public()),
		"ssh.stock":             stock,
		"ssh.light":             stock + light,
		"ssh.master":            stock + light + master,
		"host.pub":              l.hostKey.public(),
	} {
		if err := l.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

// hosts writes a list of hosts and a fleet file with them, and returns their paths.
func (l *lab) hosts(n, port int) (list, fleet string, err error) {
	list, fleet = fmt.Sprintf("hosts.%d", n), fmt.Sprintf("fleet.%d.%d.yaml", n, port)
	// All hosts are one machine here, and the last attempt to end would remove the place under the feet of the next.
	place := l.path("place")
	if err := os.MkdirAll(filepath.Join(place, "stays"), 0o700); err != nil {
		return "", "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ssh: {port: %d}\ntarget: {dir: %q}\ntag:\n  all-of-them:\n", port, place)
	for h := range strings.Lines(addresses(n)) {
		fmt.Fprintf(&b, "    - %s\n", strings.TrimSpace(h))
	}
	return l.path(list), l.path(fleet), errors.Join(l.write(list, addresses(n)), l.write(fleet, b.String()))
}

func (l *lab) close() error { return l.server.end() }
