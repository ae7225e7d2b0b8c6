package fleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice"
)

// Inventory is what counts of an Ansible inventory: hosts, groups, and the variables that say how to reach a host.
// Other variables and comments are not kept: they are nobody's business who gets the fleet.
type Inventory struct {
	Path   string           `json:"path"`
	Hosts  []sluice.Host    `json:"hosts"` // in the order in which they stand
	Groups []InventoryGroup `json:"groups,omitempty"`
	Vars   []HostVars       `json:"vars,omitempty"` // in the order of the hosts
}

// InventoryGroup is a group of an inventory.
type InventoryGroup struct {
	Name     string            `json:"name"`
	Line     int               `json:"line,omitzero"`
	Column   int               `json:"column,omitzero"`
	Hosts    string            `json:"hosts,omitzero"` // ranges of places in the list of hosts, such as "0-99,105"
	Children []string          `json:"children,omitempty"`
	Vars     map[string]string `json:"vars,omitempty"`
}

// HostVars are the variables of a host.
type HostVars struct {
	Host sluice.Host       `json:"host"`
	Vars map[string]string `json:"vars"`
}

// The variables under which a bundle has what counts.
const (
	varHost       = "ansible_host"
	varUser       = "ansible_user"
	varPort       = "ansible_port"
	varIdentity   = "ansible_ssh_private_key_file"
	varConnection = "ansible_connection"
)

const maxGroups = 100_000 // of all inventories of a bundle

var keptVars = []string{varHost, varUser, varPort, varIdentity, varConnection}

// reduced keeps what counts of an inventory that was read.
func reduced(inv *inventory) Inventory {
	out := Inventory{Path: inv.file, Hosts: slices.Clone(inv.hosts)}
	place := make(map[sluice.Host]int32, len(inv.hosts))
	for i, h := range inv.hosts {
		place[h] = int32(i)
		if s := inv.vars[h]; s != nil && *s != (settings{}) {
			out.Vars = append(out.Vars, HostVars{h, s.variables()})
		}
	}
	for _, g := range inv.groups {
		members := make([]int32, len(g.hosts))
		for i, h := range g.hosts {
			members[i] = place[h]
		}
		r := InventoryGroup{Name: g.name, Line: g.at.Line, Column: g.at.Column, Hosts: writeRanges(setOf(members)), Vars: g.vars.variables()}
		for _, c := range g.children {
			r.Children = append(r.Children, c.name)
		}
		out.Groups = append(out.Groups, r)
	}
	return out
}

// variables are the settings as variables; [settings.variable] reads them.
func (s *settings) variables() map[string]string {
	vars := map[string]string{}
	if s.address != nil {
		vars[varHost] = *s.address
	}
	if s.user != nil {
		vars[varUser] = *s.user
	}
	if s.port != nil {
		vars[varPort] = strconv.Itoa(*s.port)
	}
	if s.identity != nil {
		vars[varIdentity] = strings.Join(*s.identity, "")
	}
	if s.transport != nil {
		vars[varConnection] = *s.transport
	}
	if len(vars) == 0 {
		return nil
	}
	return vars
}

// inventory is the inventory as it was read.
func (v *Inventory) inventory() (*inventory, error) {
	inv := newInventory(v.Path)
	inv.add(nil, v.Hosts...)
	for _, g := range v.Groups {
		inv.group(g.Name, sluice.Position{File: v.Path, Line: g.Line, Column: g.Column})
	}
	for _, g := range v.Groups {
		of := inv.byName[g.Name]
		members, err := readRanges(g.Hosts, len(v.Hosts))
		if err != nil {
			return nil, fmt.Errorf("the group %s: %w", g.Name, err)
		}
		for _, i := range members {
			of.hosts = append(of.hosts, v.Hosts[i])
		}
		for _, c := range g.Children {
			child := inv.byName[c]
			if child == nil {
				return nil, fmt.Errorf("the group %s has a child %.80q that is no group", g.Name, c)
			}
			of.children = append(of.children, child)
		}
		if err := of.vars.take(g.Vars); err != nil {
			return nil, fmt.Errorf("the group %s: %w", g.Name, err)
		}
	}
	for _, h := range v.Vars {
		if !inv.known[h.Host] {
			return nil, fmt.Errorf("the host %.80q has variables and is not listed", h.Host)
		}
		if err := inv.variables(h.Host).take(h.Vars); err != nil {
			return nil, fmt.Errorf("the host %s: %w", h.Host, err)
		}
	}
	return inv, nil
}

func (s *settings) take(vars map[string]string) error {
	for _, name := range keptVars {
		if value, ok := vars[name]; ok {
			if problem := s.variable(name, value); problem != "" {
				return fmt.Errorf("%s", problem)
			}
		}
	}
	return nil
}

// checkInventories holds the inventories to the limits before they are read: a few bytes of ranges may stand for many
// hosts.
func (b Bundle) checkInventories() error {
	mentions, groups := 0, 0
	for _, v := range b.Inventories {
		if len(v.Hosts) > MaxHosts || slices.ContainsFunc(v.Hosts, invalidHost) {
			return bundleError("the inventory %s has hosts that cannot be", v.Path)
		}
		if groups += len(v.Groups); groups > maxGroups {
			return bundleError("the inventories have more than %d groups", maxGroups)
		}
		names := map[string]bool{}
		for _, g := range v.Groups {
			if names[g.Name] {
				return bundleError("the inventory %s has the group %s twice", v.Path, g.Name)
			}
			names[g.Name] = true
			n := 0
			if err := eachRange(g.Hosts, len(v.Hosts), func(first, last int) { n += last - first + 1 }); err != nil {
				return bundleError("the inventory %s: the group %.80q: %v", v.Path, g.Name, err)
			}
			if err := checkVars(g.Vars); err != nil {
				return bundleError("the inventory %s: the group %.80q: %v", v.Path, g.Name, err)
			}
			if mentions += n; mentions > maxMentions {
				return bundleError("the inventories name hosts more than %d times", maxMentions)
			}
		}
		for _, h := range v.Vars {
			if err := checkVars(h.Vars); err != nil {
				return bundleError("the inventory %s: the host %.80q: %v", v.Path, h.Host, err)
			}
		}
	}
	return nil
}

// checkVars refuses what no recorder writes: a bundle is no place for other variables.
func checkVars(vars map[string]string) error {
	for name := range vars {
		if !slices.Contains(keptVars, name) {
			return fmt.Errorf("the variable %.80q is none that is recorded", name)
		}
	}
	return nil
}

// writeRanges writes places as "0-3,7".
func writeRanges(s set) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		last := i
		for last+1 < len(s) && s[last+1] == s[last]+1 {
			last++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(s[i])))
		if last > i {
			b.WriteString("-" + strconv.Itoa(int(s[last])))
		}
		i = last + 1
	}
	return b.String()
}

// eachRange calls f for the ranges that writeRanges wrote: they ascend, and lie below n.
func eachRange(text string, n int, f func(first, last int)) error {
	if text == "" {
		return nil
	}
	next := 0
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err1 := strconv.Atoi(from)
		last, err2 := first, error(nil)
		if isRange {
			last, err2 = strconv.Atoi(to)
		}
		if err1 != nil || err2 != nil || first < next || last < first || last >= n {
			return fmt.Errorf("%.40q is no range of the %d hosts", part, n)
		}
		f(first, last)
		next = last + 1
	}
	return nil
}

func readRanges(text string, n int) (out []int, err error) {
	err = eachRange(text, n, func(first, last int) {
		for i := first; i <= last; i++ {
			out = append(out, i)
		}
	})
	return out, err
}
