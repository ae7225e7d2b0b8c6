package fleet

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// settings are ssh settings that a file gives: nil fields are not given.
type settings struct {
	user, address, transport *string
	pool                     *sluice.Pool
	port                     *int
	identity, jump           *[]string
}

func (s *settings) apply(to *sluice.SSH) {
	put(&to.User, s.user)
	put(&to.Address, s.address)
	put(&to.Transport, s.transport)
	put(&to.Port, s.port)
	put(&to.Identity, s.identity)
	put(&to.Jump, s.jump)
	put(&to.Pool, s.pool)
}

// put puts a value that is given.
func put[T any](to *T, given *T) {
	if given != nil {
		*to = *given
	}
}

// hostSettings are settings of the hosts of an expression.
type hostSettings struct {
	expr *node
	from origin
	settings
}

// readHosts reads the section "host:".
func (l *loader) readHosts(d *fleetFile, n *yaml.Node) {
	for _, p := range d.Pairs(n, "host") {
		expr, from, ok := l.expression(d, p.Key, "a host")
		if !ok {
			continue
		}
		var given, nested []document.Pair
		for _, q := range d.Pairs(p.Value, "the settings of "+p.Name) {
			if q.Name == "ssh" {
				nested = d.Pairs(q.Value, "ssh")
			} else {
				given = append(given, q)
			}
		}
		h := hostSettings{expr, from, d.settings(nested, "ssh", sshKeys)}
		h.add(d.settings(given, "the settings of a host", hostKeys))
		if expr.plain() {
			l.named = append(l.named, h)
		} else {
			l.tagged = append(l.tagged, h)
		}
	}
}

// add puts the settings that more gives over those of s.
func (s *settings) add(more settings) {
	over(&s.user, more.user)
	over(&s.address, more.address)
	over(&s.transport, more.transport)
	over(&s.port, more.port)
	over(&s.identity, more.identity)
	over(&s.jump, more.jump)
	over(&s.pool, more.pool)
}

func over[T any](to **T, given *T) {
	if given != nil {
		*to = given
	}
}

// settings reads ssh settings.
func (d *fleetFile) settings(pairs []document.Pair, place string, allowed []string) settings {
	var s settings
	for _, p := range pairs {
		if !d.Known(p, place, allowed) {
			continue
		}
		switch p.Name {
		case "user":
			s.user = d.checked(p, validUser, "a user name")
		case "address":
			s.address = d.checked(p, validAddress, "a host name or IP address")
		case "transport":
			s.transport = d.checked(p, validTransport, "ssh or local")
		case "pool":
			if w := d.checked(p, sluice.ValidPool, "a name of small letters, digits and '-'"); w != nil {
				pool := sluice.Pool(*w)
				s.pool = &pool
			}
		case "port":
			if n, ok := d.Number(p.Value, "port", 1, 65535); ok {
				s.port = &n
			}
		case "identity":
			s.identity = d.checkedList(p, validIdentity, "the path of a private key")
		case "jump":
			s.jump = d.checkedList(p, validJump, "[user@]host[:port]")
		}
	}
	return s
}

func (d *fleetFile) checked(p document.Pair, valid func(string) bool, meant string) *string {
	w, ok := d.Word(p.Value, p.Name)
	if !ok {
		return nil
	}
	if !valid(w) {
		d.Fail(p.Value, "%s must be %s, not %.80q", p.Name, meant, w)
		return nil
	}
	return &w
}

// checkedList reads a list that may be empty: it takes back what is set for more hosts.
func (d *fleetFile) checkedList(p document.Pair, valid func(string) bool, meant string) *[]string {
	var out []string
	for _, e := range d.List(p.Value) {
		w, ok := d.Word(e, p.Name)
		switch {
		case !ok:
		case !valid(w):
			d.Fail(e, "%s must be %s, not %.80q", p.Name, meant, w)
		default:
			out = append(out, w)
		}
	}
	return &out
}

func validUser(s string) bool {
	return !strings.HasPrefix(s, "-") && !strings.ContainsAny(s, "@:/\\ \t'\"") && !hasControl(s) && len(s) <= 256
}

// validAddress is a host name, an IPv4 address, or an IPv6 address with or without a zone.
func validAddress(s string) bool {
	if !strings.Contains(s, ":") {
		return sluice.ValidHost(s)
	}
	ip, zone, zoned := strings.Cut(s, "%")
	return strings.Trim(ip, "0123456789abcdefABCDEF:.") == "" && (!zoned || sluice.ValidHost(zone))
}

func validTransport(s string) bool { return s == "ssh" || s == "local" }

func validIdentity(s string) bool { return !strings.HasPrefix(s, "-") && !hasControl(s) }

func validJump(s string) bool {
	if user, host, found := strings.Cut(s, "@"); found {
		if user == "" || !validUser(user) {
			return false
		}
		s = host
	}
	host, port := s, ""
	if inner, after, bracketed := strings.Cut(strings.TrimPrefix(s, "["), "]"); bracketed && strings.HasPrefix(s, "[") {
		host, port = inner, after
		if port != "" && port[0] != ':' {
			return false
		}
		port = strings.TrimPrefix(port, ":")
		return validAddress(host) && (after == "" || validPort(port))
	}
	if strings.Count(s, ":") == 1 {
		host, port, _ = strings.Cut(s, ":")
		return validAddress(host) && validPort(port)
	}
	return validAddress(host)
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && 1 <= n && n <= 65535 && s[0] != '+'
}

// settleSettings works out the settings of every host: those for all, then inventories, then tags, then names;
// later ones win over earlier ones.
func (l *loader) settleSettings() (sluice.SSH, map[sluice.Host]sluice.SSH) {
	var all sluice.SSH
	for _, s := range l.defaults {
		s.apply(&all)
	}
	own := map[int32]*sluice.SSH{}
	change := func(host int32, s *settings) {
		if own[host] == nil {
			one := all
			own[host] = &one
		}
		s.apply(own[host])
	}
	for _, inv := range l.inventories {
		inv.eachSetting(func(h sluice.Host, s *settings) { change(l.world.place[h], s) })
	}
	for _, h := range slices.Concat(l.tagged, l.named) {
		hosts, err := l.world.hostsOf(h.expr, h.from)
		if err != nil {
			l.problems.Add(err)
			continue
		}
		for _, place := range hosts {
			change(place, &h.settings)
		}
	}
	out := map[sluice.Host]sluice.SSH{}
	for place, s := range own {
		if !sameSSH(*s, all) {
			out[l.world.hosts[place]] = *s
		}
	}
	return all, out
}

func sameSSH(a, b sluice.SSH) bool {
	return a.User == b.User && a.Port == b.Port && a.Address == b.Address && a.Transport == b.Transport && a.Pool == b.Pool &&
		slices.Equal(a.Identity, b.Identity) && slices.Equal(a.Jump, b.Jump)
}
