package fleet

import (
	"path"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/core/document"
	"sluice/internal/core/target"
)

// drivers are the kinds of balancers that there are.
var drivers = []string{"haproxy", "nginx", "exec"}

const maxPools = 1000 // of one balancer

// readBalancers reads the section "balancer:". The hosts that balancers are on do not become known by that: they are no
// part of what "all" means.
func (l *loader) readBalancers(d *fleetFile, n *yaml.Node) {
	for _, p := range d.Pairs(n, "balancer") {
		if !validNamespace(p.Name) {
			d.Fail(p.Key, "%.80q cannot name a balancer", p.Name).WithHint("names are 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit")
			continue
		}
		if other, there := l.fleet.Balancer(p.Name); there {
			d.Fail(p.Key, "the balancer %s is also at %s", p.Name, other.At)
			continue
		}
		l.fleet.Balancers = append(l.fleet.Balancers, d.balancer(p))
	}
}

// balancer reads one balancer.
func (d *fleetFile) balancer(p document.Pair) sluice.NamedBalancer {
	b := sluice.NamedBalancer{Name: p.Name, At: d.At(p.Key)}
	place, least := "the balancer "+p.Name, balance.Least
	var pools, sudo *yaml.Node
	for _, q := range d.Pairs(p.Value, place) {
		if !d.Known(q, place, balancerKeys) {
			continue
		}
		switch q.Name {
		case "on":
			if w := d.checked(q, sluice.ValidHost, "the name of a host"); w != nil {
				b.On = sluice.Host(*w)
			}
		case "sudo":
			if w := d.checked(q, target.ValidUser, "a user name"); w != nil {
				b.Sudo, sudo = *w, q.Key
			}
		case "least":
			if a, ok := d.amount(q.Value, "least"); ok {
				least = a
			}
		case "pool":
			pools = q.Value
		default:
			if b.Driver != "" {
				d.Fail(q.Key, "a balancer is one thing, and %s has %s and %s", p.Name, b.Driver, q.Name).WithHint("make two of it")
			}
			b.Driver = q.Name
			b.Address = d.balancerAddress(q)
		}
	}
	if b.Sudo != "" && b.Driver == "haproxy" {
		d.Fail(sudo, "sudo is for programs, and haproxy is spoken with by its socket").WithHint("whoever logs in must be able to write to it, such as by mode 660 and a group")
	}
	switch {
	case b.Driver == "":
		d.Fail(p.Key, "the balancer %s does not say what it is", p.Name).WithHint("it has one of %s", strings.Join(drivers, ", "))
	case pools == nil || document.IsNull(pools):
		d.Fail(p.Key, "the balancer %s has no pool", p.Name).WithHint("pool: NAME, or pool: {NAME: LEAST} with how many servers must stay up")
	default:
		b.Pools = d.pools(pools, least)
	}
	return b
}

// balancerAddress reads where a balancer is. What runs on its host is named by its whole path.
func (d *fleetFile) balancerAddress(p document.Pair) string {
	w, ok := d.Word(p.Value, p.Name)
	switch {
	case !ok:
	case hasControl(w):
		d.Fail(p.Value, "%s has a control character in it: %.100q", p.Name, w)
	case p.Name == "haproxy" && !path.IsAbs(w) && !strings.Contains(w, ":"):
		d.Fail(p.Value, "haproxy must be the absolute path of its socket, or HOST:PORT, not %.100q", w)
	case p.Name == "nginx" && !path.IsAbs(w):
		d.Fail(p.Value, "nginx must be the absolute path of the file with its upstreams, not %.100q", w)
	case p.Name == "exec" && !path.IsAbs(w):
		d.Fail(p.Value, "exec must be the absolute path of a program, not %.100q", w)
	}
	return w
}

// pools reads the names of pools, or names with how many servers must stay up.
func (d *fleetFile) pools(n *yaml.Node, least sluice.Amount) (out []sluice.NamedPool) {
	type named struct {
		at    *yaml.Node
		value *yaml.Node // nil: the least of the balancer
	}
	var all []named
	if document.What(n).Kind == yaml.MappingNode {
		for _, p := range d.Pairs(n, "pool") {
			all = append(all, named{p.Key, p.Value})
		}
	} else {
		for _, e := range d.List(n) {
			all = append(all, named{e, nil})
		}
	}
	if len(all) == 0 || len(all) > maxPools {
		d.Fail(n, "a balancer has 1 to %d pools, not %d", maxPools, len(all))
		return nil
	}
	seen := map[string]bool{}
	for _, p := range all {
		w, ok := d.Word(p.at, "a pool")
		switch {
		case !ok:
			continue
		case strings.ContainsAny(w, " \t/;'\"") || hasControl(w) || len(w) > 256:
			d.Fail(p.at, "%.80q cannot be a pool", w)
			continue
		case seen[w]:
			d.Fail(p.at, "the pool %s is there twice", w)
			continue
		}
		seen[w] = true
		one := sluice.NamedPool{Name: w, Least: least}
		if p.value != nil && !document.IsNull(p.value) {
			if one.Least, ok = d.amount(p.value, "the least of the pool "+w); !ok {
				continue
			}
		}
		out = append(out, one)
	}
	return out
}
