package testfleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"sluice/internal/lab/testfleet/mark"
)

// Host is one host of a fleet. Its methods may be called at the same time; those that cannot work in a plain fleet
// return [ErrUnsupported], those that need a running host [ErrDown].
type Host struct {
	Name string
	IP   string
	Port int

	fleet *Fleet
	key   key
	vm    *machine // of an isolated host
	local *local   // of a plain one
}

// Addr is where the host's sshd listens, "IP:PORT".
func (h *Host) Addr() string { return net.JoinHostPort(h.IP, strconv.Itoa(h.Port)) }

// Key is the host's key, as known_hosts has it.
func (h *Host) Key() ssh.PublicKey { return h.key.signer.PublicKey() }

func (h *Host) String() string { return h.Name }

// Kill is a power cut: all processes of the host are gone at once, and its card with them. The disk stays, /run does
// not.
func (h *Host) Kill(ctx context.Context) error {
	if h.vm == nil {
		return fmt.Errorf("%s: power cut: %w", h.Name, ErrUnsupported)
	}
	if err := h.vm.kill(ctx); err != nil {
		return fmt.Errorf("%s: power cut: %w", h.Name, err)
	}
	return nil
}

// Boot switches a killed host on again and waits until its sshd listens. The cable is as it was.
func (h *Host) Boot(ctx context.Context) error {
	if h.vm == nil {
		return fmt.Errorf("%s: boot: %w", h.Name, ErrUnsupported)
	}
	if err := h.vm.boot(ctx, h.Name); err != nil {
		return fmt.Errorf("%s: boot: %w", h.Name, err)
	}
	return nil
}

// awaitPid waits for the file that sshd writes only after it listens.
const awaitPid = "n=0; until [ -s /run/sshd.pid ] || [ $n -ge 200 ]; do sleep 0.05; n=$((n + 1)); done; "

// StopSSHD ends the listening sshd: connections are refused. Open ones stay, as on a real host.
func (h *Host) StopSSHD(ctx context.Context) error {
	return h.sshd(ctx, "stopping sshd", "touch /run/nosshd; "+awaitPid+"kill \"$(cat /run/sshd.pid)\"", "testfleet: sshd stopped")
}

// StartSSHD starts it again.
func (h *Host) StartSSHD(ctx context.Context) error {
	return h.sshd(ctx, "starting sshd", "rm /run/nosshd", "Server listening on ")
}

// ReloadSSHD has sshd read its configuration and key again.
func (h *Host) ReloadSSHD(ctx context.Context) error {
	return h.sshd(ctx, "reloading sshd", awaitPid+"kill -HUP \"$(cat /run/sshd.pid)\"", "Server listening on ")
}

// ChangeKey gives the host another key, which the client's known_hosts does not have.
func (h *Host) ChangeKey(ctx context.Context) error {
	if h.vm == nil {
		return fmt.Errorf("%s: changing its key: %w", h.Name, ErrUnsupported)
	}
	k, err := newKey("root@" + h.Name)
	if err != nil {
		return err
	}
	if err := h.WriteFile("/etc/ssh/ssh_host_ed25519_key", k.pem, 0o600); err != nil {
		return err
	}
	return h.ReloadSSHD(ctx)
}

func (h *Host) sshd(ctx context.Context, what, text, answer string) error {
	if h.vm == nil {
		return fmt.Errorf("%s: %s: %w", h.Name, what, ErrUnsupported)
	}
	if err := h.vm.say(ctx, answer, func() error { _, err := h.Exec(ctx, text); return err }); err != nil {
		return fmt.Errorf("%s: %s: %w", h.Name, what, err)
	}
	return nil
}

// SetPassword changes the password of a user.
func (h *Host) SetPassword(ctx context.Context, user, password string) error {
	if h.vm == nil {
		return fmt.Errorf("%s: password of %s: %w", h.Name, user, ErrUnsupported)
	}
	_, err := h.exec(ctx, strings.NewReader(user+":"+password+"\n"), "chpasswd -c SHA512 -s 5000")
	return err
}

// Exec runs shell text on the host, as root, without ssh and whatever the state of its link. It returns the standard
// output; the error of a status other than 0 wraps an [exec.ExitError] and holds the standard error.
func (h *Host) Exec(ctx context.Context, text string) (string, error) { return h.exec(ctx, nil, text) }

func (h *Host) exec(ctx context.Context, stdin io.Reader, text string) (string, error) {
	argv, env, dir := []string{"/bin/sh", "-c", text}, []string(nil), ""
	if h.vm != nil {
		inside, err := h.vm.inside(argv...)
		if err != nil {
			return "", fmt.Errorf("%s: %w", h.Name, err)
		}
		argv = inside
		env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LOGNAME=root", "LANG=C"}
	} else {
		env, dir = h.local.env(h.fleet), h.local.home
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if h.vm != nil {
		// nsenter is found by our path; the host's is in the environment.
		if path, ok := find("nsenter"); ok {
			cmd.Path, cmd.Err = path, nil
		}
	}
	cmd.Env, cmd.Dir = env, dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // what it left in the background holds its output
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s: %q: %w: %s", h.Name, text, err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}

// Processes lists what runs on the host.
func (h *Host) Processes() ([]mark.Process, error) {
	if h.vm == nil {
		return mark.Find(h.local.entry)
	}
	root, err := h.vm.root()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	return mark.List(root + "/proc")
}

// ReadFile reads a file of the host; of a plain host, only one in its home.
func (h *Host) ReadFile(path string) ([]byte, error) {
	f, err := h.open(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(f)
}

// WriteFile writes a file of the host as root, with its mode whatever the umask is; directories must exist. On a plain
// host it writes only in the home, with paths relative to it or absolute: the rest is the machine's.
func (h *Host) WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := h.open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// open opens a file with the host's root as root, so that its links mean what they mean there.
func (h *Host) open(path string, flags uint64, mode fs.FileMode) (*os.File, error) {
	if h.vm == nil {
		return h.local.open(path, int(flags), mode)
	}
	root, err := h.vm.root()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	defer func() { _ = unix.Close(dir) }()
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: uint64(mode.Perm()), Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(dir, path, &how)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: h.Name + ":" + path, Err: err}
	}
	return os.NewFile(uintptr(fd), h.Name+":"+path), nil
}

// open opens a file in the home of a plain host, and none outside of it.
func (l *local) open(path string, flags int, mode fs.FileMode) (*os.File, error) {
	if filepath.IsAbs(path) {
		inside, err := filepath.Rel(l.home, path)
		if err != nil || !filepath.IsLocal(inside) {
			return nil, fmt.Errorf("%s: %s is a file of the machine, outside of the home %s: %w", l.name, path, l.home, ErrUnsupported)
		}
		path = inside
	}
	home, err := os.OpenRoot(l.home)
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.Close() }()
	return home.OpenFile(path, flags, mode.Perm())
}

// FillDisk takes all space on the host's disk but the last bytes. It works on a host that is down, too.
func (h *Host) FillDisk(leaving int64) error {
	if h.vm == nil {
		return fmt.Errorf("%s: filling the disk: %w", h.Name, ErrUnsupported)
	}
	if err := h.vm.fillDisk(leaving); err != nil {
		return fmt.Errorf("%s: filling the disk: %w", h.Name, err)
	}
	return nil
}

// FreeDisk gives back what FillDisk took.
func (h *Host) FreeDisk() error {
	if h.vm == nil {
		return fmt.Errorf("%s: freeing the disk: %w", h.Name, ErrUnsupported)
	}
	return removeIfThere(h.vm.disk("filler"))
}

func (m *machine) fillDisk(leaving int64) error {
	filler := m.disk("filler")
	if err := removeIfThere(filler); err != nil {
		return err
	}
	f, err := os.OpenFile(filler, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return err
	}
	size := int64(st.Bavail)*st.Bsize - leaving
	if size <= 0 {
		return nil
	}
	return unix.Fallocate(int(f.Fd()), 0, 0, size)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Log is the end of what the host's sshd and its first process have said.
func (h *Host) Log() string {
	if h.vm != nil {
		return h.vm.log.text()
	}
	return h.local.log.text()
}

// Connect opens an SSH connection as the user, in this process, with the fleet's key and the host's key checked.
func (h *Host) Connect(ctx context.Context, user string) (*ssh.Client, error) {
	conn, err := h.fleet.Dial(ctx, "tcp", h.Addr())
	if err != nil {
		return nil, err
	}
	// The handshake knows no context: it ends when its connection does.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, h.Addr(), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(h.fleet.Signer)},
		HostKeyCallback: ssh.FixedHostKey(h.Key()), HostKeyAlgorithms: []string{h.Key().Type()},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", h.Name, err), conn.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}
