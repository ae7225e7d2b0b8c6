package sshconfig

import (
	"strconv"
	"strings"
	"time"

	"sluice"
)

// Query is what is asked: the host, and what is set from elsewhere, which wins over any file.
type Query struct {
	Host      string // as the user gave it
	HostName  string
	User      string
	Port      int
	Jump      string // as ProxyJump; "none" for no jump
	LocalUser string
}

// Choice is a yes or no that may be left open.
type Choice int8

const (
	Open Choice = iota
	Yes
	No
)

// Settings are what the files say about a host; zero fields are left open. Paths and names are as written:
// tokens and "~" are expanded by [Tokens].
type Settings struct {
	HostName       string // expanded, in lower case; the host itself if no file says otherwise
	User           string
	Port           int
	IdentityFile   []string
	IdentitiesOnly Choice
	IdentityAgent  string
	// CertificateFile are certificates for the keys.
	CertificateFile []string
	// ProxyJump is a comma-separated list of hops, "none", or "".
	ProxyJump string
	// ProxyCommand is where a command is set that ssh would use to connect.
	ProxyCommand sluice.Position

	HostKeyAlias         string
	UserKnownHostsFile   []string
	GlobalKnownHostsFile []string
	HashKnownHosts       Choice
	RevokedHostKeys      string

	ConnectTimeout      time.Duration
	ServerAliveInterval time.Duration
	ServerAliveCountMax int

	KexAlgorithms, Ciphers, MACs, HostKeyAlgorithms string

	PasswordAuthentication   Choice
	KbdInteractive           Choice
	PubkeyAuthentication     Choice
	PreferredAuthentications []string
	AddressFamily            string // "any", "inet" or "inet6"
	BindAddress              string
}

type resolver struct {
	q Query
	s Settings
}

// Resolve says what the files, in order of precedence, mean for a host.
func Resolve(q Query, files ...*File) (Settings, error) {
	r := &resolver{q: q, s: Settings{HostName: q.HostName, User: q.User, Port: q.Port, ProxyJump: q.Jump}}
	for _, f := range files {
		if err := r.file(f); err != nil {
			return Settings{}, err
		}
	}
	r.s.HostName = strings.ToLower(r.hostName())
	return r.s, nil
}

func (r *resolver) file(f *File) error {
	for _, b := range f.blocks {
		ok, err := b.when.holds(r)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		for _, it := range b.items {
			if err := r.apply(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// hostName is the name to connect to, as far as it is known.
func (r *resolver) hostName() string {
	if r.s.HostName == "" {
		return r.q.Host
	}
	name, err := Tokens{'h': r.q.Host}.Expand(r.s.HostName)
	if err != nil {
		return r.s.HostName // checked where it was set
	}
	return name
}

func (r *resolver) user() string {
	if r.s.User != "" {
		return r.s.User
	}
	return r.q.LocalUser
}

func (r *resolver) apply(it item) error {
	if it.keyword == "include" {
		for _, f := range it.included {
			if err := r.file(f); err != nil {
				return err
			}
		}
		return nil
	}
	if it.keyword == "proxycommand" {
		r.proxyCommand(it)
		return nil
	}
	if len(it.args) == 0 {
		return nil // nothing but a comment, or a value that is not ours to read
	}
	var err error
	value := it.args[0]
	switch it.keyword {
	case "hostname":
		err = r.setHostName(value)
	case "port":
		err = number(&r.s.Port, value, 1, 65535)
	case "serveralivecountmax":
		err = number(&r.s.ServerAliveCountMax, value, 0, 1<<20)
	case "connecttimeout":
		err = seconds(&r.s.ConnectTimeout, value)
	case "serveraliveinterval":
		err = seconds(&r.s.ServerAliveInterval, value)
	case "proxyjump":
		if r.s.ProxyJump == "" && r.s.ProxyCommand.Line == 0 {
			r.s.ProxyJump = value
		}
	case "preferredauthentications":
		if r.s.PreferredAuthentications == nil {
			r.s.PreferredAuthentications = strings.Split(value, ",")
		}
	case "identityfile":
		add(&r.s.IdentityFile, value)
	case "certificatefile":
		add(&r.s.CertificateFile, value)
	default:
		switch {
		case r.text(it.keyword) != nil:
			first(r.text(it.keyword), value)
		case r.list(it.keyword) != nil:
			if dst := r.list(it.keyword); *dst == nil {
				*dst = it.args
			}
		case r.choice(it.keyword) != nil:
			err = choose(r.choice(it.keyword), value)
		}
	}
	if err != nil {
		return &sluice.Error{Code: sluice.Config, At: it.at, Text: it.keyword, Err: err}
	}
	return nil
}

func (r *resolver) text(keyword string) *string {
	switch keyword {
	case "user":
		return &r.s.User
	case "identityagent":
		return &r.s.IdentityAgent
	case "hostkeyalias":
		return &r.s.HostKeyAlias
	case "revokedhostkeys":
		return &r.s.RevokedHostKeys
	case "kexalgorithms":
		return &r.s.KexAlgorithms
	case "ciphers":
		return &r.s.Ciphers
	case "macs":
		return &r.s.MACs
	case "hostkeyalgorithms":
		return &r.s.HostKeyAlgorithms
	case "addressfamily":
		return &r.s.AddressFamily
	case "bindaddress":
		return &r.s.BindAddress
	}
	return nil
}

func (r *resolver) list(keyword string) *[]string {
	switch keyword {
	case "userknownhostsfile":
		return &r.s.UserKnownHostsFile
	case "globalknownhostsfile":
		return &r.s.GlobalKnownHostsFile
	}
	return nil
}

func (r *resolver) choice(keyword string) *Choice {
	switch keyword {
	case "identitiesonly":
		return &r.s.IdentitiesOnly
	case "hashknownhosts":
		return &r.s.HashKnownHosts
	case "passwordauthentication":
		return &r.s.PasswordAuthentication
	case "kbdinteractiveauthentication", "challengeresponseauthentication", "skeyauthentication":
		return &r.s.KbdInteractive
	case "pubkeyauthentication":
		return &r.s.PubkeyAuthentication
	}
	return nil
}

// proxyCommand competes with ProxyJump: whichever comes first wins.
func (r *resolver) proxyCommand(it item) {
	if r.s.ProxyJump != "" || r.s.ProxyCommand.Line != 0 {
		return
	}
	if strings.EqualFold(it.rest, "none") {
		r.s.ProxyJump = "none"
		return
	}
	r.s.ProxyCommand = it.at
}

func (r *resolver) setHostName(value string) error {
	if _, err := (Tokens{'h': ""}).Expand(value); err != nil {
		return err
	}
	first(&r.s.HostName, value)
	return nil
}

func first(dst *string, value string) {
	if *dst == "" {
		*dst = value
	}
}

func add(dst *[]string, value string) {
	for _, have := range *dst {
		if have == value {
			return
		}
	}
	*dst = append(*dst, value)
}

func choose(dst *Choice, value string) error {
	c := Open
	switch strings.ToLower(value) {
	case "yes", "true":
		c = Yes
	case "no", "false":
		c = No
	case "unbound", "host-bound": // of PubkeyAuthentication: kinds of yes
		c = Yes
	default:
		return sluice.Errorf(sluice.Config, "%q is neither yes nor no", value)
	}
	if *dst == Open {
		*dst = c
	}
	return nil
}

func number(dst *int, value string, low, high int) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		return sluice.Errorf(sluice.Config, "%q is not a number from %d to %d", value, low, high)
	}
	if *dst == 0 {
		*dst = n
	}
	return nil
}

// seconds reads OpenSSH's times: "none", a number of seconds, or pieces such as 1h30m.
func seconds(dst *time.Duration, value string) error {
	if strings.EqualFold(value, "none") {
		return nil
	}
	total := time.Duration(0)
	for rest := value; rest != ""; {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || n > 1<<30 {
			return sluice.Errorf(sluice.Config, "%q is not a time, such as 10 or 1m", value)
		}
		unit := time.Second
		if rest = rest[digits:]; rest != "" {
			var ok bool
			if unit, ok = units[rest[0]|0x20]; !ok {
				return sluice.Errorf(sluice.Config, "%q is not a time, such as 10 or 1m", value)
			}
			rest = rest[1:]
		}
		if total += time.Duration(n) * unit; total < 0 || total > 1<<30*time.Second {
			return sluice.Errorf(sluice.Config, "%q is too long a time", value)
		}
	}
	if *dst == 0 {
		*dst = total
	}
	return nil
}

var units = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}
