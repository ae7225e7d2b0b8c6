package testfleet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The image is a layer above the machine's own files and below those of each host: devices, users, and nothing of
// what the machine has in its changing directories.

// emptied are directories that begin empty on every host, with their modes.
var emptied = []struct {
	path string
	mode uint32
}{
	{"dev", 0o755}, {"dev/pts", 0o755}, {"dev/shm", 0o1777}, {"home", 0o755}, {"media", 0o755}, {"mnt", 0o755}, {"root", 0o700},
	{"run", 0o755}, {"tmp", 0o1777}, {"proc", 0o755}, {"sys", 0o755},
	{"var/tmp", 0o1777}, {"var/log", 0o755}, {"var/mail", 0o755},
	{"etc/ssh", 0o755}, {"etc/sudoers.d", 0o755}, {"etc/update-motd.d", 0o755},
}

var devices = []struct {
	name         string
	major, minor uint32
}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}

var links = map[string]string{
	"dev/ptmx": "pts/ptmx", "dev/fd": "/proc/self/fd",
	"dev/stdin": "/proc/self/fd/0", "dev/stdout": "/proc/self/fd/1", "dev/stderr": "/proc/self/fd/2",
	"etc/mtab": "/proc/self/mounts",
}

// pam is what sshd and sudo ask: the passwd file and nothing of the machine's own rules, and without the delay after a
// wrong password.
const pam = "auth required pam_unix.so nodelay\naccount required pam_nologin.so\naccount required pam_unix.so\nsession required pam_unix.so\n"

// writeImage fills dir, which is on a tmpfs. hosts is the text of /etc/hosts.
func writeImage(dir, hosts string) error {
	for _, d := range emptied {
		path := filepath.Join(dir, d.path)
		if err := makeDir(path); err != nil {
			return err
		}
		if err := unix.Chmod(path, d.mode); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
		if err := unix.Setxattr(path, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("%w: a layer cannot hide %s: %w", ErrUnavailable, d.path, err)
		}
	}
	// What is tested makes this one itself, so it is not empty but not there: a device 0:0 is a whiteout.
	if err := makeDir(filepath.Join(dir, "var/lib")); err != nil {
		return err
	}
	if err := unix.Mknod(filepath.Join(dir, "var/lib/sluice"), unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("%w: a layer cannot hide /var/lib/sluice: %w", ErrUnavailable, err)
	}
	for _, d := range devices {
		path := filepath.Join(dir, "dev", d.name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("%w: making the device %s: %w", ErrUnavailable, d.name, err)
		}
		if err := unix.Chmod(path, 0o666); err != nil {
			return &fs.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	for path, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	return writeFiles(dir, map[string]string{
		"etc/hosts": hosts, "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
		"etc/resolv.conf": "", "etc/motd": "", "etc/pam.d/sshd": pam, "etc/pam.d/sudo": pam,
	}, 0o644)
}

// makeDir makes a directory and those above it that everybody may read, whatever the umask is.
func makeDir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func writeFiles(dir string, files map[string]string, mode fs.FileMode) error {
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := makeDir(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}

// accounts are passwd, shadow and group as the machine has them, but for the users of the fleet.
func accounts(shell string) (passwd, shadow, group string, err error) {
	ours := []string{
		"root:x:0:0:root:/root:" + shell,
		fmt.Sprintf("%s:x:%d:%d::/home/%s:%s", Deploy, deployUID, deployUID, Deploy, shell),
	}
	passwd, names, err := table("/etc/passwd", ours)
	if err != nil {
		return "", "", "", err
	}
	var b strings.Builder
	for _, name := range names {
		hash := "*"
		if name == "root" || name == Deploy {
			hash = passwordHash
		}
		fmt.Fprintf(&b, "%s:%s:19000:0:99999:7:::\n", name, hash)
	}
	group, _, err = table("/etc/group", []string{fmt.Sprintf("%s:x:%d:", Deploy, deployUID)})
	return passwd, b.String(), group, err
}

// table returns the lines of ours and those lines of a machine's file that share neither name nor number with them, and
// the names of all.
func table(path string, ours []string) (text string, names []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	taken := func(fields []string) bool {
		return slices.ContainsFunc(ours, func(line string) bool {
			o := strings.Split(line, ":")
			return o[0] == fields[0] || o[2] == fields[2]
		})
	}
	lines := slices.Clone(ours)
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if fields := strings.Split(s.Text(), ":"); len(fields) >= 3 && !taken(fields) {
			lines = append(lines, s.Text())
		}
	}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	return strings.Join(lines, "\n") + "\n", names, nil
}

// writeHost fills the upper layer of one host with what only it has.
func writeHost(upper string, c HostConfig, name string, host key, client key) error {
	if err := makeDir(upper); err != nil {
		return err
	}
	shellPath, err := shell(c.Shell)
	if err != nil {
		return err
	}
	passwd, shadow, group, err := accounts(shellPath)
	if err != nil {
		return err
	}
	files := map[string]string{
		"etc/hostname": name + "\n", "etc/passwd": passwd, "etc/group": group,
		"etc/ssh/sshd_config": sshdConfig(c), "etc/ssh/banner": c.Banner,
	}
	secret := map[string]string{"etc/shadow": shadow, "etc/ssh/ssh_host_ed25519_key": string(host.pem)}
	if err := errors.Join(
		writeFiles(upper, files, 0o644),
		writeFiles(upper, secret, 0o600),
		writeFiles(upper, map[string]string{"etc/sudoers": sudoers(c.Sudo)}, 0o440),
		writeShells(upper, c.Sh),
		writeHomeOf(upper, "root", 0, c, client),
		writeHomeOf(upper, "home/"+Deploy, deployUID, c, client),
	); err != nil {
		return err
	}
	for path, text := range c.Files {
		if err := writeExtra(upper, path, text); err != nil {
			return err
		}
	}
	return nil
}

// writeShells gives the host busybox as a shell, and another /bin/sh if sh says so.
func writeShells(upper, sh string) error {
	link := func(target, path string) error {
		path = filepath.Join(upper, path)
		if err := makeDir(filepath.Dir(path)); err != nil {
			return err
		}
		return os.Symlink(target, path)
	}
	if target, err := exec.LookPath("busybox"); err == nil {
		if err := link(target, busyboxSh); err != nil {
			return err
		}
	}
	if sh == "" {
		return nil
	}
	target, err := shell(sh)
	if err != nil {
		return err
	}
	return link(target, "usr/bin/sh")
}

func writeHomeOf(upper, home string, uid int, c HostConfig, client key) error {
	// The rc files of this machine's users may be slow, and are not what is tested.
	files := map[string]string{".ssh/authorized_keys": client.authorized(), ".bashrc": "", ".profile": ""}
	if c.Noise != "" {
		noise := "echo " + quote(c.Noise) + "; echo " + quote(c.Noise) + " >&2\n"
		files[".bashrc"], files[".profile"], files[".ssh/rc"] = noise, noise, noise
	}
	dir := filepath.Join(upper, home)
	if err := writeFiles(dir, files, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
}

func writeExtra(upper, path, text string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("file %q of a host: expected an absolute path", path)
	}
	if err := writeFiles(upper, map[string]string{path: text}, 0o644); err != nil {
		return err
	}
	if strings.HasPrefix(filepath.Clean(path), "/home/"+Deploy+"/") {
		return os.Chown(filepath.Join(upper, path), deployUID, deployUID)
	}
	return nil
}

// quote makes one word of POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func sudoers(s Sudo) string {
	text := "Defaults env_reset, use_pty\nDefaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\nroot ALL=(ALL:ALL) ALL\n"
	switch s {
	case SudoNoPassword:
		text += Deploy + " ALL=(ALL:ALL) NOPASSWD: ALL\n"
	case SudoPassword:
		text += Deploy + " ALL=(ALL:ALL) ALL\n"
	case SudoTTY:
		text += "Defaults requiretty\n" + Deploy + " ALL=(ALL:ALL) ALL\n"
	}
	return text
}

func sshdConfig(c HostConfig) string {
	var b strings.Builder
	// The first value of a keyword is the one that counts.
	for _, line := range c.SSHD {
		b.WriteString(line + "\n")
	}
	if c.Banner != "" {
		b.WriteString("Banner /etc/ssh/banner\n")
	}
	b.WriteString("Port " + strconv.Itoa(sshPort) + `
AddressFamily inet
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
UsePAM yes
UseDNS no
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
`)
	return b.String()
}
