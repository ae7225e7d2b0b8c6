package testfleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice/internal/lab/gosshd"
	"sluice/internal/lab/testfleet/mark"
)

// PlainConfig says what plain fleet to start. Only Hosts is needed.
type PlainConfig struct {
	Hosts int
	Names []string // of the hosts, in order; "host1", "host2" ... beyond its end
	// InProcess serves the hosts by a server in this process. It needs no sshd, and any user may have it.
	InProcess bool
	// Dir is where the fleet keeps its files, a new or empty directory; a temporary one if "". The fleet removes it.
	Dir string
	// Env is added to the environment of the commands of all hosts, "NAME=VALUE".
	Env []string
}

// plainMark is the variable by which a plain fleet finds again what it started.
const plainMark = "SLUICE_TESTFLEET"

// local is a host of a plain fleet: a listener, a home directory, and commands with a mark in their environment.
type local struct {
	name  string
	home  string
	entry string // of the environment of all that runs on it
	extra []string
	log   logBook
	serve *sshdServer    // OpenSSH, or
	in    *gosshd.Server // in this process
}

func (l *local) env(f *Fleet) []string {
	env := []string{"PATH=" + searchPath(), "HOME=" + l.home, "USER=" + f.user, "LOGNAME=" + f.user, "LANG=C.UTF-8", l.entry}
	return append(env, l.extra...)
}

// NewPlain starts a plain fleet. The context is for the starting; [Fleet.Close] ends it.
func NewPlain(_ context.Context, c PlainConfig) (*Fleet, error) {
	names := Config{Hosts: c.Hosts, Names: c.Names}
	if err := names.check(); err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("%w: who runs this is in no passwd file, and sshd serves nobody else: %w", ErrUnavailable, err)
	}
	sshd, err := plainSSHD(c.InProcess)
	if err != nil {
		return nil, err
	}
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "testfleet-"); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f := &Fleet{IP: "127.0.0.1", user: me.Username, dir: dir, entry: plainMark + "=" + rand.Text()}
	f.close = f.closePlain
	if err := f.buildPlain(c, names, sshd); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// plainSSHD finds the server program, "" if none is wanted.
func plainSSHD(inProcess bool) (string, error) {
	if inProcess {
		return "", nil
	}
	path, ok := find("sshd")
	if !ok {
		return "", fmt.Errorf("%w: sshd is not installed: run .ci/install-test-deps, or install the package openssh-server", ErrUnavailable)
	}
	// OpenSSH run by root wants this directory, which its service makes at boot.
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return path, nil
}

func (f *Fleet) buildPlain(c PlainConfig, names Config, sshd string) error {
	client, err := f.makeHome()
	if err != nil {
		return err
	}
	if err := f.startWatch(); err != nil {
		return err
	}
	for i := range c.Hosts {
		h, err := f.addLocal(i, names.name(i), c, client, sshd)
		if err != nil {
			return fmt.Errorf("%s: %w", names.name(i), err)
		}
		f.Hosts = append(f.Hosts, h)
	}
	return f.writeHosts()
}

func (f *Fleet) addLocal(i int, name string, c PlainConfig, client key, sshd string) (*Host, error) {
	k, err := newKey(name)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(f.dir, "hosts", name)
	l := &local{name: name, home: filepath.Join(dir, "home"), entry: f.entry + "/" + name, extra: c.Env}
	if err := os.MkdirAll(l.home, 0o700); err != nil {
		return nil, err
	}
	h := &Host{Name: name, IP: fmt.Sprintf("127.1.%d.%d", i/perNet, 1+i%perNet), fleet: f, key: k, local: l}
	var addr net.Addr
	if c.InProcess {
		l.in, err = gosshd.Start(gosshd.Config{
			Addr: h.IP + ":0", HostKey: k.signer, Authorized: []ssh.PublicKey{client.signer.PublicKey()},
			Dir: l.home, Env: l.env(f), Mark: l.entry, Log: &l.log,
		})
		if err != nil {
			return nil, err
		}
		f.onClose(l.in.Close)
		addr = l.in.Addr()
	} else {
		l.serve, err = startSSHD(sshd, dir, h, client, f)
		if err != nil {
			return nil, err
		}
		f.onClose(l.serve.close)
		addr = l.serve.listener.Addr()
	}
	h.Port = addr.(*net.TCPAddr).Port
	return h, nil
}

// watchScript ends what has the mark when its standard input ends, which happens however we end.
const watchScript = `trap '' INT TERM HUP
read -r _
for round in 1 2 3; do
	grep -l -s -F -e "$1" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
		[ "$pid" = "$$" ] || kill -9 "$pid"
	done
done 2>/dev/null
rm -rf "$2"
`

// startWatch starts a process that ends what the fleet left behind if this process is killed, and removes its files.
func (f *Fleet) startWatch() error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-c", watchScript, "testfleet-watch", f.entry, f.dir)
	cmd.Env, cmd.Stdin = machineEnv(), in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		return errors.Join(err, out.Close())
	}
	f.onClose(func() error {
		_ = out.Close()
		return cmd.Wait()
	})
	return nil
}

func (f *Fleet) closePlain() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	return errors.Join(mark.Kill(ctx, f.entry), os.RemoveAll(f.dir))
}

// sshdServer accepts connections and has each served by an OpenSSH of its own, "sshd -i". So the port is ours before
// anybody can ask for it, and nothing runs while nobody is connected.
type sshdServer struct {
	listener net.Listener
	sshd     string
	config   string
	env      []string
	log      *logBook
	wg       sync.WaitGroup

	mu    sync.Mutex
	run   map[*exec.Cmd]bool
	ended bool
}

func startSSHD(sshd, dir string, h *Host, client key, f *Fleet) (*sshdServer, error) {
	files := map[string]string{"host_key": string(h.key.pem), "authorized_keys": client.authorized(), "sshd_config": plainConfig(dir, h.local.env(f))}
	if err := writeFiles(dir, files, 0o600); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", h.IP+":0")
	if err != nil {
		return nil, err
	}
	s := &sshdServer{listener: l, sshd: sshd, config: filepath.Join(dir, "sshd_config"), log: &h.local.log, run: map[*exec.Cmd]bool{}}
	s.env = append(machineEnv(), h.local.entry)
	s.wg.Go(s.accept)
	return s, nil
}

func (s *sshdServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.wg.Go(func() {
			if err := s.handle(conn.(*net.TCPConn)); err != nil {
				fmt.Fprintf(s.log, "testfleet: %v\n", err)
			}
		})
	}
}

func (s *sshdServer) handle(conn *net.TCPConn) error {
	socket, err := conn.File()
	_ = conn.Close()
	if err != nil {
		return err
	}
	cmd := exec.Command(s.sshd, "-i", "-e", "-f", s.config)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.env, socket, socket, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	s.mu.Lock()
	if s.ended {
		err = net.ErrClosed
	} else if err = cmd.Start(); err == nil {
		s.run[cmd] = true
	}
	s.mu.Unlock()
	_ = socket.Close()
	if err != nil {
		return err
	}
	err = cmd.Wait()
	s.mu.Lock()
	delete(s.run, cmd)
	s.mu.Unlock()
	return err
}

// close ends the listener and the connections, but not what they have started.
func (s *sshdServer) close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.ended = true
	for cmd := range s.run {
		_ = cmd.Process.Kill()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func plainConfig(dir string, env []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HostKey %q\nAuthorizedKeysFile %q\n", dir+"/host_key", dir+"/authorized_keys")
	b.WriteString("PidFile none\nUsePAM no\nStrictModes no\nUseDNS no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n" +
		"PermitRootLogin yes\nPrintMotd no\nAcceptEnv LANG LC_*\nSubsystem sftp internal-sftp\nSetEnv")
	env = append(env, "SHLVL=1") // bash reads no .bashrc then: that of the person who runs the tests may be slow
	for _, e := range env {
		fmt.Fprintf(&b, " \"%s\"", strings.ReplaceAll(e, `"`, `\"`))
	}
	b.WriteString("\n")
	return b.String()
}
