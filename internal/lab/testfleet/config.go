package testfleet

import (
	"fmt"
	"os/exec"
	"slices"
)

// The users of every isolated host, and their password.
const (
	Deploy   = "deploy" // the unprivileged user, with sudo as configured
	Password = "correct horse"
)

// passwordHash is crypt(3)'s SHA-512 of Password.
const passwordHash = "$6$testfleet$yWDEW8mk.B3GjcGXxII8kg0s46vXoXWfU2nuB4/9iU8P2KsZusBVVA56T4.WEPGwcdms1VawFC5wrYF/67Wza."

const (
	deployUID   = 1500
	defaultDisk = 64 << 20
)

// Config says what fleet to start. Only Hosts is needed.
type Config struct {
	Hosts int
	Names []string // of the hosts, in order; "host1", "host2" ... beyond its end
	User  string   // whom the ssh configuration logs in as; "" is root
	Host  HostConfig
	// Each changes the configuration of the host with the index i. It may be nil.
	Each func(i int, h *HostConfig)
}

// Sudo is what sudo does for the unprivileged user.
type Sudo string

const (
	SudoNever      Sudo = ""           // refuses
	SudoNoPassword Sudo = "nopasswd"   // asks nothing
	SudoPassword   Sudo = "password"   // asks for the password
	SudoTTY        Sudo = "requiretty" // asks for the password, and only on a terminal
)

// HostConfig says what one isolated host is like. The zero value is a plain Debian-like host.
type HostConfig struct {
	Disk  int64  // bytes that the changes on the host may take; 64 MiB if 0
	Shell string // login shell of root and of the unprivileged user: one of [Shells]; bash if ""
	Sh    string // which of [Shells] /bin/sh is; the machine's own if ""
	Sudo  Sudo
	// Banner is what sshd sends before the login, Noise what ~/.ssh/rc, ~/.bashrc and ~/.profile of both users print on
	// their standard output and error.
	Banner, Noise string
	ReadOnlyHome  bool // /root and /home/deploy cannot be written
	// NewBootID gives every boot another /proc/sys/kernel/random/boot_id, as a reboot of a machine does. Without it
	// only the start time of process 1 tells boots apart, as after the restart of a container.
	NewBootID bool
	SSHD      []string          // lines of sshd_config that come before, and so win over, those of the fleet
	Files     map[string]string // text of more files, by absolute path; below a home they belong to its user
}

// Shells are the shells that a host can have, where the machine has them installed, and how they are found.
func Shells() []string { return []string{"bash", "dash", "busybox", "ksh", "mksh"} }

// shell returns where the shell is on the host. Busybox becomes a shell by the name under which it is called.
func shell(name string) (string, error) {
	if !slices.Contains(Shells(), name) {
		return "", fmt.Errorf("no shell %q is known to testfleet: expected one of %v", name, Shells())
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: the shell %s is not installed on this machine", ErrUnavailable, name)
	}
	if name == "busybox" {
		return busyboxSh, nil
	}
	return path, nil
}

const busyboxSh = "/usr/local/lib/busybox/sh"

func (c Config) name(i int) string {
	if i < len(c.Names) {
		return c.Names[i]
	}
	return fmt.Sprintf("host%d", i+1)
}

func (c Config) host(i int) HostConfig {
	h := c.Host
	h.SSHD = slices.Clone(h.SSHD)
	files := make(map[string]string, len(h.Files))
	for path, text := range h.Files {
		files[path] = text
	}
	h.Files = files
	if c.Each != nil {
		c.Each(i, &h)
	}
	if h.Disk == 0 {
		h.Disk = defaultDisk
	}
	if h.Shell == "" {
		h.Shell = "bash"
	}
	return h
}

func (c Config) check() error {
	if c.Hosts < 1 || c.Hosts > maxHosts {
		return fmt.Errorf("a fleet of %d hosts: expected 1 to %d", c.Hosts, maxHosts)
	}
	seen := map[string]bool{}
	for i := range c.Hosts {
		name := c.name(i)
		if !validName(name) {
			return fmt.Errorf("host name %q: expected 1 to 63 of the characters a to z, A to Z, 0 to 9, '-', '_' and '.'", name)
		}
		if seen[name] {
			return fmt.Errorf("two hosts are named %q", name)
		}
		seen[name] = true
	}
	return nil
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || i > 0 && (c == '-' || c == '.')) {
			return false
		}
	}
	return len(s) > 0 && len(s) < 64
}
