package fleet

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
)

// groupKeys may stand in a group of a YAML inventory.
var groupKeys = []string{"hosts", "children", "vars"}

// parseInventoryYAML reads the YAML form of inventories: groups with hosts, children and vars.
func parseInventoryYAML(file string, text []byte) (*inventory, *sluice.Error) {
	inv := newInventory(file)
	root, err := parseYAML(file, text)
	if err != nil || root == nil {
		return inv, err
	}
	r := yamlInventory{inv, document{file: file, lines: strings.Split(string(text), "\n"), problems: &problems{}}}
	for _, p := range r.doc.pairs(root, "an inventory") {
		if p.name == "plugin" {
			return nil, configError(r.doc.at(p.key), "this configures a plugin of Ansible and is no inventory").
				WithHint("ansible-inventory -i %s --list --yaml > hosts.yaml writes one; or use a program that prints it", file)
		}
		r.group(p)
	}
	if len(r.doc.problems.list) > 0 {
		return nil, r.doc.problems.list[0]
	}
	return inv, nil
}

type yamlInventory struct {
	inv *inventory
	doc document
}

func (r *yamlInventory) group(p pair) *group {
	g := r.inv.group(p.name, r.doc.at(p.key))
	for _, q := range r.doc.pairs(p.value, "the group "+p.name) {
		switch {
		case !r.doc.known(q, "a group of an inventory", groupKeys):
		case q.name == "children":
			for _, c := range r.doc.pairs(q.value, "children") {
				g.children = append(g.children, r.group(c))
			}
		case q.name == "vars":
			r.variables(&g.vars, r.doc.pairs(q.value, "vars"))
		default:
			r.hosts(g, q.value)
		}
	}
	return g
}

func (r *yamlInventory) hosts(g *group, n *yaml.Node) {
	for _, h := range r.doc.pairs(n, "hosts") {
		hosts, err := inventoryHosts(h.name)
		if err != nil {
			r.doc.fail(h.key, "%v", err)
			continue
		}
		r.inv.add(g, hosts...)
		var vars settings
		r.variables(&vars, r.doc.pairs(h.value, "the variables of "+h.name))
		if vars != (settings{}) {
			for _, one := range hosts {
				r.inv.variables(one).add(vars)
			}
		}
	}
}

func (r *yamlInventory) variables(s *settings, vars []pair) {
	for _, v := range vars {
		value := what(v.value)
		if !strings.HasPrefix(v.name, "ansible_") || value.Kind != yaml.ScalarNode {
			continue
		}
		if problem := s.variable(v.name, value.Value); problem != "" {
			r.doc.fail(v.value, "%s", problem)
		}
	}
}
