package sshexec

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/internal/adapter/sshexec/sshconfig"
)

// destination is one way to a host, with all questions answered. Equal destinations have equal keys and share
// a connection.
type destination struct {
	host    sluice.Host // for credentials and messages: the host, or the name of a jump host
	user    string
	address string
	port    int
	via     *destination // the last jump host, or nil

	identities     []string
	named          bool // somebody named the identities; else they are the usual ones
	identitiesOnly bool
	certificates   []string
	agent          string // path of the agent's socket, or ""
	methods        []string

	alias      string // for host keys
	userKnown  []string
	knownHosts []string // userKnown and the system's
	revoked    string
	hashNames  bool
	algorithms algorithms

	network        string
	bind           string
	connectTimeout time.Duration
	keepAlive      time.Duration
	misses         int

	key string
}

func (d *destination) String() string {
	s := d.user + "@" + hostPort(d.address, d.port)
	if d.via != nil {
		s += " via " + d.via.String()
	}
	return s
}

// destination answers how a host is reached: the fleet's settings win over ssh_config, which wins over the
// defaults.
func (t *Transport) destination(h sluice.Host, s sluice.SSH) (*destination, error) {
	if s.Transport != "" && s.Transport != "ssh" {
		return nil, sluice.Errorf(sluice.Config, "the transport of %s is %q, not ssh", h, s.Transport)
	}
	q := sshconfig.Query{
		Host: string(h), HostName: s.Address, User: s.User, Port: s.Port,
		Jump: strings.Join(s.Jump, ","), LocalUser: t.cfg.localUser(),
	}
	return t.resolve(q, s.Identity, nil)
}

// resolve answers a query; chain are the names that led here by jumping.
func (t *Transport) resolve(q sshconfig.Query, identities, chain []string) (*destination, error) {
	s, err := t.config.resolve(q)
	if err != nil {
		return nil, err
	}
	if s.ProxyCommand.Line != 0 {
		return nil, (&sluice.Error{Code: sluice.Config, At: s.ProxyCommand,
			Text: "ProxyCommand is not supported: it runs text from a config; use ProxyJump",
		}).WithHint("set ProxyJump for %s before it, in ssh_config or in the fleet file", q.Host)
	}
	d := &destination{
		host: sluice.Host(q.Host), user: s.User, address: s.HostName, port: s.Port,
		alias: s.HostKeyAlias, hashNames: s.HashKnownHosts == sshconfig.Yes, bind: s.BindAddress,
		identitiesOnly: s.IdentitiesOnly == sshconfig.Yes,
		connectTimeout: s.ConnectTimeout, keepAlive: s.ServerAliveInterval, misses: s.ServerAliveCountMax,
	}
	set(&d.user, q.LocalUser)
	set(&d.port, 22)
	set(&d.connectTimeout, t.cfg.ConnectTimeout)
	set(&d.keepAlive, t.cfg.KeepAlive)
	set(&d.misses, t.cfg.KeepAliveMisses)
	if d.user == "" {
		return nil, sluice.Errorf(sluice.Config, "nothing says as which user to log in to %s", q.Host).
			WithHint("set the user in the fleet file or in ssh_config, or the variable USER")
	}
	if d.network, err = network(s.AddressFamily); err != nil {
		return nil, err
	}
	if d.algorithms, err = t.algorithms.choose(s); err != nil {
		return nil, err
	}
	d.methods = methods(s)
	if err := t.expand(d, q, s, identities); err != nil {
		return nil, fmt.Errorf("ssh_config for %s: %w", q.Host, err)
	}
	if d.via, err = t.jumps(d, q, s, chain); err != nil {
		return nil, err
	}
	d.key = d.makeKey()
	return d, nil
}

func network(family string) (string, error) {
	switch strings.ToLower(family) {
	case "", "any":
		return "tcp", nil
	case "inet":
		return "tcp4", nil
	case "inet6":
		return "tcp6", nil
	}
	return "", sluice.Errorf(sluice.Config, "AddressFamily %q is none of any, inet and inet6", family)
}

const (
	publicKey           = "publickey"
	password            = "password"
	keyboardInteractive = "keyboard-interactive"
)

// methods are the ways to log in, in order.
func methods(s sshconfig.Settings) (out []string) {
	order := s.PreferredAuthentications
	if len(order) == 0 {
		order = []string{publicKey, password, keyboardInteractive}
	}
	allowed := map[string]sshconfig.Choice{
		publicKey: s.PubkeyAuthentication, password: s.PasswordAuthentication, keyboardInteractive: s.KbdInteractive,
	}
	for _, m := range order {
		if choice, ours := allowed[m]; ours && choice != sshconfig.No && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// pathReader expands paths of ssh_config and keeps the first error.
type pathReader struct {
	tokens sshconfig.Tokens
	home   string
	env    func(string) string
	err    error
}

func (r *pathReader) read(in ...string) (out []string) {
	for _, p := range in {
		if p == "" || strings.EqualFold(p, none) {
			continue
		}
		full, err := r.tokens.Path(p, r.home, r.env)
		if err == nil && !filepath.IsAbs(full) {
			full, err = filepath.Abs(full)
		}
		if err != nil && r.err == nil {
			r.err = err
		}
		out = append(out, full)
	}
	return out
}

// expand fills in the paths.
func (t *Transport) expand(d *destination, q sshconfig.Query, s sshconfig.Settings, identities []string) error {
	r := &pathReader{home: t.cfg.Home, env: t.cfg.Env, tokens: sshconfig.Tokens{
		'h': d.address, 'n': q.Host, 'p': strconv.Itoa(d.port), 'r': d.user, 'u': q.LocalUser, 'd': t.cfg.Home, 'k': d.alias,
	}}
	if d.alias == "" {
		r.tokens['k'] = q.Host
	}
	dotSSH := func(names ...string) (out []string) {
		for _, name := range names {
			out = append(out, filepath.Join(t.cfg.Home, ".ssh", name))
		}
		return out
	}
	switch {
	case len(identities) > 0:
		d.identities, d.named = r.read(identities...), true
	case len(s.IdentityFile) > 0:
		d.identities, d.named = r.read(s.IdentityFile...), true
	default:
		d.identities = dotSSH("id_ed25519", "id_ecdsa", "id_rsa")
	}
	d.certificates = r.read(s.CertificateFile...)
	d.revoked = strings.Join(r.read(s.RevokedHostKeys), "")
	d.userKnown = dotSSH("known_hosts", "known_hosts2")
	if s.UserKnownHostsFile != nil {
		d.userKnown = r.read(s.UserKnownHostsFile...)
	}
	global := []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	if s.GlobalKnownHostsFile != nil {
		global = r.read(s.GlobalKnownHostsFile...)
	}
	d.knownHosts = slices.Concat(d.userKnown, global)
	if t.cfg.KnownHosts != nil {
		d.userKnown, d.knownHosts = t.cfg.KnownHosts, t.cfg.KnownHosts
	}
	d.agent = t.cfg.Env("SSH_AUTH_SOCK")
	switch a := s.IdentityAgent; {
	case a == "" || a == "SSH_AUTH_SOCK":
	case strings.HasPrefix(a, "$") && !strings.HasPrefix(a, "${"):
		d.agent = t.cfg.Env(a[1:])
	default:
		d.agent = strings.Join(r.read(a), "")
	}
	return r.err
}

// jumps resolves the jump hosts of d and returns the last of them. Each is looked up in ssh_config by itself;
// what the fleet says of d is not meant for them.
func (t *Transport) jumps(d *destination, q sshconfig.Query, s sshconfig.Settings, chain []string) (last *destination, err error) {
	if s.ProxyJump == "" || strings.EqualFold(s.ProxyJump, none) {
		return nil, nil
	}
	chain = append(slices.Clone(chain), q.Host)
	tokens := sshconfig.Tokens{'h': d.address, 'n': q.Host, 'p': strconv.Itoa(d.port), 'r': d.user}
	list, err := tokens.Expand(s.ProxyJump)
	if err != nil {
		return nil, fmt.Errorf("ProxyJump of %s: %w", q.Host, err)
	}
	for i, text := range strings.Split(list, ",") {
		hop, err := sshconfig.ParseHop(strings.TrimSpace(text))
		if err != nil {
			return nil, sluice.Errorf(sluice.Config, "the way to %s: %s", q.Host, err)
		}
		if slices.Contains(chain, hop.Host) {
			return nil, sluice.Errorf(sluice.Config, "the jump hosts of %s go in circles: %s", chain[0], strings.Join(append(chain, hop.Host), ", ")).
				WithHint("set ProxyJump none for %s in ssh_config", hop.Host)
		}
		hq := sshconfig.Query{Host: hop.Host, User: hop.User, Port: hop.Port, LocalUser: q.LocalUser}
		if i > 0 {
			hq.Jump = none
		}
		next, err := t.resolve(hq, nil, chain)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			next.via = last
			next.key = next.makeKey()
		}
		last = next
	}
	return last, nil
}

// makeKey names all that makes a connection what it is, in short: there is one for each of thousands of hosts.
func (d *destination) makeKey() string {
	parts := slices.Concat(
		[]string{d.user, d.address, strconv.Itoa(d.port), d.alias, d.revoked, d.agent, d.network, d.bind,
			strconv.FormatBool(d.named), strconv.FormatBool(d.identitiesOnly)},
		[]string{"identities"}, d.identities, []string{"certificates"}, d.certificates, []string{"known"}, d.knownHosts,
		[]string{"methods"}, d.methods, d.algorithms.kex, d.algorithms.ciphers, d.algorithms.macs, d.algorithms.hostKeys,
	)
	if d.via != nil {
		parts = append(parts, "via", d.via.key)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return string(sum[:])
}
