package webhookhttp

import (
	"net"
	"net/netip"
	"strings"

	"sluice"
)

// special are ranges in which no receiver of a stranger's choice may be, beside those that netip knows by name.
var special = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	// These have an address of IPv4 within: 64:ff9b::169.254.169.254 is one of them.
	"::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16",
	"100::/64", "2001:db8::/32", "fec0::/10")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// inside reports whether an address is this machine, a neighbour, or otherwise none of the open network.
func inside(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return true
	}
	for _, p := range special {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// allowed is what may be reached although it is inside.
type allowed struct {
	prefixes []netip.Prefix
	hosts    map[string]bool
}

func parseAllowed(list []string) (a allowed, err error) {
	a.hosts = map[string]bool{}
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			a.prefixes = append(a.prefixes, p.Masked())
			continue
		}
		if ip, err := netip.ParseAddr(s); err == nil {
			ip = ip.Unmap()
			a.prefixes = append(a.prefixes, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		if !sluice.ValidHost(s) {
			return a, sluice.Errorf(sluice.Usage, "%q is neither a network nor the name of a host", s).WithHint("such as 10.1.0.0/16 or chat.example.com")
		}
		a.hosts[strings.ToLower(s)] = true
	}
	return a, nil
}

// check refuses an address that was resolved, right before it is connected to. host is the name that it was resolved from.
// A name that is allowed may be inside, but not where only this machine or its cloud's metadata are: whoever answers for
// the name is not who allowed it.
func (a allowed) check(host, address string) error {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return sluice.Errorf(sluice.Denied, "the address of the receiver cannot be checked")
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return sluice.Errorf(sluice.Denied, "the address of the receiver cannot be checked")
	}
	ip = ip.Unmap()
	for _, p := range a.prefixes {
		if p.Contains(ip) {
			return nil
		}
	}
	if !inside(ip) || a.hosts[strings.ToLower(host)] && ip.IsPrivate() {
		return nil
	}
	return sluice.Errorf(sluice.Denied, "the receiver is at %s, where this server sends nothing", ip).
		WithHint("sluice server --webhook-allow %s, if it is meant", ip)
}
