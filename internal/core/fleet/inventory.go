package fleet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// inventory is an Ansible inventory: groups become tags, and a few variables ssh settings. The rest is not for us.
type inventory struct {
	file   string
	hosts  []sluice.Host // in the order in which they stand
	known  map[sluice.Host]bool
	groups []*group
	byName map[string]*group
	vars   map[sluice.Host]*settings
}

type group struct {
	name     string
	at       sluice.Position
	hosts    []sluice.Host
	children []*group
	vars     settings
	depth    int
	progress progress
}

func newInventory(file string) *inventory {
	return &inventory{file: file, known: map[sluice.Host]bool{}, byName: map[string]*group{}, vars: map[sluice.Host]*settings{}}
}

// everyHost is the group that all hosts are in, whatever the inventory says. Its word in expressions is "all".
const everyHost = "all"

const inventoryTimeout = time.Minute // of an inventory that is a program

func (inv *inventory) group(name string, at sluice.Position) *group {
	g := inv.byName[name]
	if g == nil {
		g = &group{name: name, at: at}
		inv.byName[name] = g
		inv.groups = append(inv.groups, g)
	}
	return g
}

// add puts hosts into a group; nil is none.
func (inv *inventory) add(g *group, hosts ...sluice.Host) {
	for _, h := range hosts {
		if !inv.known[h] {
			inv.known[h] = true
			inv.hosts = append(inv.hosts, h)
		}
	}
	if g != nil {
		g.hosts = append(g.hosts, hosts...)
	}
}

func (inv *inventory) variables(h sluice.Host) *settings {
	if inv.vars[h] == nil {
		inv.vars[h] = &settings{}
	}
	return inv.vars[h]
}

// check finds groups that contain themselves, and how deep each stands.
func (inv *inventory) check() *sluice.Error {
	var order []*group // children before the groups that contain them
	var visit func(g *group) *sluice.Error
	visit = func(g *group) *sluice.Error {
		switch g.progress {
		case underway:
			return document.ErrorAt(g.at, "the group %s contains itself", g.name)
		case done:
			return nil
		}
		g.progress = underway
		for _, c := range g.children {
			if err := visit(c); err != nil {
				return err
			}
		}
		g.progress = done
		order = append(order, g)
		return nil
	}
	for _, g := range inv.groups {
		if !validTag(g.name) || g.name == "resolver" || strings.HasPrefix(g.name, "resolver.") {
			return document.ErrorAt(g.at, "the group %.80q cannot be a tag", g.name)
		}
		if err := visit(g); err != nil {
			return err
		}
	}
	for _, g := range slices.Backward(order) {
		for _, c := range g.children {
			c.depth = max(c.depth, g.depth+1)
		}
	}
	return nil
}

// eachSetting calls f in Ansible's order: all, outer groups before inner ones, hosts. Later ones win.
func (inv *inventory) eachSetting(f func(sluice.Host, *settings)) {
	groups := slices.Clone(inv.groups)
	slices.SortStableFunc(groups, func(a, b *group) int {
		if all := cmp.Compare(boolInt(b.name == everyHost), boolInt(a.name == everyHost)); all != 0 {
			return all
		}
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.name, b.name))
	})
	for _, g := range groups {
		switch {
		case g.vars == settings{}:
		case g.name == everyHost:
			for _, h := range inv.hosts {
				f(h, &g.vars)
			}
		default:
			g.eachHost(map[*group]bool{}, func(h sluice.Host) { f(h, &g.vars) })
		}
	}
	for _, h := range inv.hosts {
		if v := inv.vars[h]; v != nil {
			f(h, v)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (g *group) eachHost(seen map[*group]bool, f func(sluice.Host)) {
	if seen[g] {
		return
	}
	seen[g] = true
	for _, h := range g.hosts {
		f(h)
	}
	for _, c := range g.children {
		c.eachHost(seen, f)
	}
}

// readInventories reads the inventories that a section names, and declares their groups as tags.
func (l *loader) readInventories(d *fleetFile, n *yaml.Node) {
	for _, e := range d.List(n) {
		name, ok := d.Word(e, "an inventory")
		if !ok {
			continue
		}
		inv, err := l.readInventory(d, e, beside(d.File, name))
		if err == nil {
			err = inv.check()
		}
		if err != nil {
			l.problems.Add(err)
			l.incomplete = true
			continue
		}
		l.listed[e] = inv
		l.inventories = append(l.inventories, inv)
		for _, g := range inv.groups {
			if g.name != everyHost {
				l.world.declare(sluice.Tag(g.name), g.at)
			}
		}
	}
}

func (l *loader) readInventory(d *fleetFile, n *yaml.Node, file string) (*inventory, *sluice.Error) {
	l.problems.Opened(file)
	fail := func(err error) (*inventory, *sluice.Error) {
		e := document.ErrorAt(d.At(n), "cannot read the inventory %s", file)
		e.Err = err
		return nil, e
	}
	if r, ok := l.src.(reader); ok {
		if inv, has, err := r.inventory(file); has && err == nil {
			return inv, nil
		} else if has {
			return fail(err)
		}
	}
	extension := path.Ext(file)
	isYAML := slices.Contains([]string{".yaml", ".yml", ".json"}, extension)
	if !isYAML && extension != ".ini" && extension != ".cfg" {
		runs, err := l.src.Executable(file)
		if err != nil {
			return fail(err)
		}
		if runs {
			out, err := l.src.Run(path.Dir(file), []string{"./" + path.Base(file), "--list"}, inventoryTimeout, maxAnswer)
			if err != nil {
				return fail(err)
			}
			return parseInventoryJSON(file, out, fail)
		}
	}
	text, err := l.src.ReadFile(file, l.left)
	if err != nil {
		return fail(err)
	}
	l.left -= int64(len(text))
	switch {
	case extension == ".json" && bytes.Contains(text, []byte(`"_meta"`)): // what a program has printed
		return parseInventoryJSON(file, text, fail)
	case isYAML:
		return parseInventoryYAML(file, text)
	}
	return parseInventoryINI(file, text)
}

// mentionInventories makes the hosts of the inventories known, and gives them their tags.
func (l *loader) mentionInventories(d *fleetFile, n *yaml.Node) {
	for _, e := range d.List(n) {
		inv := l.listed[e]
		if inv == nil {
			continue
		}
		if _, err := l.world.know(inv.hosts); err != nil {
			d.Fail(e, "%v", err)
			return
		}
		for _, g := range inv.groups {
			if g.name == everyHost {
				continue
			}
			t := l.world.tags[sluice.Tag(g.name)]
			hosts, err := l.world.know(g.hosts)
			if err != nil {
				d.Fail(e, "%v", err)
				return
			}
			t.defs = append(t.defs, definition{hosts: hosts})
			for _, c := range g.children {
				if c.name != everyHost {
					t.groups = append(t.groups, l.world.tags[sluice.Tag(c.name)])
				}
			}
		}
	}
}

// variable takes one of Ansible's variables, if it says how to reach a host; problem says what is wrong with it.
func (s *settings) variable(name, value string) (problem string) {
	ok := true
	switch name {
	case "ansible_host", "ansible_ssh_host":
		ok, s.address = validAddress(value), &value
	case "ansible_user", "ansible_ssh_user":
		ok, s.user = value != "" && validUser(value), &value
	case "ansible_port", "ansible_ssh_port":
		if ok = validPort(value); ok {
			port, _ := strconv.Atoi(value)
			s.port = &port
		}
	case "ansible_ssh_private_key_file", "ansible_private_key_file":
		ok, s.identity = value != "" && validIdentity(value), &[]string{value}
	case "ansible_connection":
		transport := "ssh"
		if value == "local" {
			transport = "local"
		}
		ok, s.transport = slices.Contains([]string{"local", "ssh", "smart", "paramiko", "ansible.builtin.ssh", "ansible.builtin.local"}, value), &transport
	}
	switch {
	case ok:
		return ""
	case strings.Contains(value, "{{"):
		return fmt.Sprintf("%s is a template, which is not worked out here: %.80q", name, value)
	}
	return fmt.Sprintf("%s cannot be %.80q", name, value)
}

// inventoryHosts reads a host's name with Ansible's ranges: "web[01:20]", "db-[a:f]", "n[0:100:10]".
func inventoryHosts(pattern string) ([]sluice.Host, error) {
	g := glob{text: pattern}
	count := 1
	for rest := pattern; rest != ""; {
		open := strings.IndexByte(rest, '[')
		if open < 0 {
			open = len(rest)
		}
		if open > 0 {
			g.pieces = append(g.pieces, []string{rest[:open]})
		}
		if rest = rest[open:]; rest == "" {
			break
		}
		inner, after, closed := strings.Cut(rest[1:], "]")
		if !closed {
			return nil, fmt.Errorf("%.80q lacks a ]", pattern)
		}
		values, err := inventoryRange(inner)
		if err != nil {
			return nil, err
		}
		if count *= len(values); count > MaxHosts {
			return nil, fmt.Errorf("%.80q names more than %d hosts", pattern, MaxHosts)
		}
		g.pieces = append(g.pieces, values)
		rest = after
	}
	if g.longest() > longestHost {
		return nil, fmt.Errorf("%.80q is too long for the name of a host", pattern)
	}
	names := g.names()
	hosts := make([]sluice.Host, len(names))
	for i, n := range names {
		if !sluice.ValidHost(n) {
			return nil, fmt.Errorf("%.80q cannot be the name of a host", n)
		}
		hosts[i] = sluice.Host(n)
	}
	return hosts, nil
}

func inventoryRange(inner string) ([]string, error) {
	ends := strings.Split(inner, ":")
	wrong := fmt.Errorf("the range [%.60s] is not one such as [01:20], [a:f] or [0:100:10]", inner)
	if len(ends) < 2 || len(ends) > 3 {
		return nil, wrong
	}
	for i, e := range ends {
		letter := len(e) == 1 && isLetter(e[0]) && i < 2
		if e == "" || !letter && strings.Trim(e, "0123456789") != "" {
			return nil, wrong
		}
	}
	step := 1
	if len(ends) == 3 {
		var err error
		if step, err = strconv.Atoi(ends[2]); err != nil || step < 1 || step > MaxHosts {
			return nil, wrong
		}
	}
	values, problem := between(ends[0], ends[1], ':', step, MaxHosts)
	if problem != "" {
		return nil, fmt.Errorf("%s", problem)
	}
	return values, nil
}

// parseInventoryJSON reads what a program prints for --list.
func parseInventoryJSON(file string, out []byte, fail func(error) (*inventory, *sluice.Error)) (*inventory, *sluice.Error) {
	inv, err := inventoryJSON(file, out)
	if err != nil {
		return fail(err)
	}
	return inv, nil
}

// inventoryJSON takes the groups by name, as JSON has no order.
func inventoryJSON(file string, out []byte) (*inventory, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("it printed no JSON object: %w", err)
	}
	var meta struct {
		HostVars map[string]map[string]any `json:"hostvars"`
	}
	if raw, ok := all["_meta"]; ok {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&meta); err != nil {
			return nil, fmt.Errorf("_meta: %w", err)
		}
		delete(all, "_meta")
	}
	inv := newInventory(file)
	at := sluice.Position{File: file}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := inv.groupJSON(inv.group(name, at), all[name]); err != nil {
			return nil, fmt.Errorf("the group %.80q: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(meta.HostVars)) {
		if !sluice.ValidHost(name) {
			return nil, fmt.Errorf("%.80q cannot be the name of a host", name)
		}
		h := sluice.Host(name)
		inv.add(nil, h)
		if err := inv.variables(h).variablesJSON(meta.HostVars[name]); err != nil {
			return nil, fmt.Errorf("the host %s: %w", h, err)
		}
	}
	return inv, nil
}

func (inv *inventory) groupJSON(g *group, raw json.RawMessage) error {
	var is struct {
		Hosts    []string       `json:"hosts"`
		Children []string       `json:"children"`
		Vars     map[string]any `json:"vars"`
	}
	if len(raw) > 0 && raw[0] == '[' {
		if err := json.Unmarshal(raw, &is.Hosts); err != nil {
			return err
		}
	} else {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&is); err != nil {
			return err
		}
	}
	for _, n := range is.Hosts {
		if !sluice.ValidHost(n) {
			return fmt.Errorf("%.80q cannot be the name of a host", n)
		}
		inv.add(g, sluice.Host(n))
	}
	for _, c := range is.Children {
		g.children = append(g.children, inv.group(c, g.at))
	}
	return g.vars.variablesJSON(is.Vars)
}

func (s *settings) variablesJSON(vars map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		switch vars[name].(type) {
		case string, json.Number:
			if problem := s.variable(name, fmt.Sprint(vars[name])); problem != "" {
				return fmt.Errorf("%s", problem)
			}
		}
	}
	return nil
}
