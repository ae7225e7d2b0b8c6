package fleet

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// groupKeys may stand in a group of a YAML inventory.
var groupKeys = []string{"hosts", "children", "vars"}

// parseInventoryYAML reads the YAML form of inventories: groups with hosts, children and vars.
func parseInventoryYAML(file string, text []byte) (*inventory, *sluice.Error) {
	inv := newInventory(file)
	doc, err := form.Read(file, text, &document.Problems{})
	if err != nil || doc.Root == nil {
		return inv, err
	}
	r := yamlInventory{inv, doc}
	for _, p := range r.doc.Pairs(doc.Root, "an inventory") {
		if p.Name == "plugin" {
			return nil, document.ErrorAt(r.doc.At(p.Key), "this configures a plugin of Ansible and is no inventory").
				WithHint("ansible-inventory -i %s --list --yaml > hosts.yaml writes one; or use a program that prints it", file)
		}
		r.group(p)
	}
	if err := doc.Problems.First(); err != nil {
		return nil, err
	}
	return inv, nil
}

type yamlInventory struct {
	inv *inventory
	doc *document.Document
}

func (r *yamlInventory) group(p document.Pair) *group {
	g := r.inv.group(p.Name, r.doc.At(p.Key))
	for _, q := range r.doc.Pairs(p.Value, "the group "+p.Name) {
		switch {
		case !r.doc.Known(q, "a group of an inventory", groupKeys):
		case q.Name == "children":
			for _, c := range r.doc.Pairs(q.Value, "children") {
				g.children = append(g.children, r.group(c))
			}
		case q.Name == "vars":
			r.variables(&g.vars, r.doc.Pairs(q.Value, "vars"))
		default:
			r.hosts(g, q.Value)
		}
	}
	return g
}

func (r *yamlInventory) hosts(g *group, n *yaml.Node) {
	for _, h := range r.doc.Pairs(n, "hosts") {
		hosts, err := inventoryHosts(h.Name)
		if err != nil {
			r.doc.Fail(h.Key, "%v", err)
			continue
		}
		r.inv.add(g, hosts...)
		var vars settings
		r.variables(&vars, r.doc.Pairs(h.Value, "the variables of "+h.Name))
		if vars != (settings{}) {
			for _, one := range hosts {
				r.inv.variables(one).add(vars)
			}
		}
	}
}

func (r *yamlInventory) variables(s *settings, vars []document.Pair) {
	for _, v := range vars {
		value := document.What(v.Value)
		if !strings.HasPrefix(v.Name, "ansible_") || value.Kind != yaml.ScalarNode {
			continue
		}
		if problem := s.variable(v.Name, value.Value); problem != "" {
			r.doc.Fail(v.Value, "%s", problem)
		}
	}
}
