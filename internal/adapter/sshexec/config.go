package sshexec

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"sluice"
)

// Config says where the user's things are. Fields that are zero have defaults, but for Home.
type Config struct {
	// Home is what "~" means. It is required: who the user is by other means is not asked.
	Home string
	// Env looks up environment variables: USER, LOGNAME, SSH_AUTH_SOCK, and those that ssh_config names.
	// Nil is an empty environment.
	Env func(name string) string
	// UserConfig and SystemConfig are the ssh_config files: ~/.ssh/config and /etc/ssh/ssh_config.
	// "none" reads none.
	UserConfig, SystemConfig string
	// KnownHosts replaces all known_hosts files, those that ssh_config names, too.
	KnownHosts []string
	// Machine says whose known_hosts these are, to whoever is told that a key is missing and sits elsewhere, such as "the
	// server's machine"; "" is the one that they sit at.
	Machine string
	// Learns says that those who sit elsewhere can have that machine learn keys.
	Learns bool
	// Credentials give out passwords and passphrases; nil has none.
	Credentials sluice.Credentials

	ConnectTimeout   time.Duration // of TCP, and of a tunnel through a jump host
	HandshakeTimeout time.Duration // of all up to the login but waiting for a password; and of opening a session
	// A host that sends nothing for KeepAlive is asked for a sign of life; after KeepAliveMisses times that
	// without one the link is lost.
	KeepAlive       time.Duration
	KeepAliveMisses int
	// Linger is how long a connection stays open when nobody uses it.
	Linger time.Duration
	// Handshakes is the number of handshakes at once: each costs milliseconds of processor time, and all
	// must end before the hosts' patience does.
	Handshakes int

	// Dial replaces net.Dialer.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Clock sluice.Clock
}

// Defaults of Config.
const (
	DefaultConnectTimeout   = 10 * time.Second
	DefaultHandshakeTimeout = 15 * time.Second
	DefaultKeepAlive        = 15 * time.Second
	DefaultKeepAliveMisses  = 3
	DefaultHandshakes       = 256

	systemConfig = "/etc/ssh/ssh_config"
	none         = "none"
)

func (c Config) withDefaults() (Config, error) {
	if !filepath.IsAbs(c.Home) {
		return c, errors.New("sshexec: the home directory must be an absolute path: set HOME")
	}
	set(&c.UserConfig, filepath.Join(c.Home, ".ssh", "config"))
	set(&c.SystemConfig, systemConfig)
	set(&c.ConnectTimeout, DefaultConnectTimeout)
	set(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	set(&c.KeepAlive, DefaultKeepAlive)
	set(&c.KeepAliveMisses, DefaultKeepAliveMisses)
	set(&c.Handshakes, DefaultHandshakes)
	if c.Env == nil {
		c.Env = func(string) string { return "" }
	}
	if c.Credentials == nil {
		c.Credentials = noCredentials{}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c, nil
}

func set[T comparable](dst *T, value T) {
	var zero T
	if *dst == zero {
		*dst = value
	}
}

// localUser is who the user is on this machine; "" if nothing says so.
func (c *Config) localUser() string {
	for _, name := range []string{"USER", "LOGNAME"} {
		if user := c.Env(name); user != "" {
			return user
		}
	}
	if os.Getuid() == 0 {
		return "root" // cron and containers set neither
	}
	return ""
}

type noCredentials struct{}

func (noCredentials) Login(context.Context, sluice.Host) (sluice.Secret, func(bool), error) {
	return sluice.Secret{}, nil, sluice.ErrNoSecret
}

func (noCredentials) Sudo(context.Context, sluice.Host) (sluice.Secret, func(bool), error) {
	return sluice.Secret{}, nil, sluice.ErrNoSecret
}

func (noCredentials) Passphrase() (sluice.Secret, error) { return sluice.Secret{}, sluice.ErrNoSecret }
func (noCredentials) PrivateKey() (sluice.Secret, error) { return sluice.Secret{}, sluice.ErrNoSecret }
func (noCredentials) Values() []sluice.Secret            { return nil }
