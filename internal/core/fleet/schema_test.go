package fleet

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestSchemaHasTheKeysOfTheLoader compares both ways.
func TestSchemaHasTheKeysOfTheLoader(t *testing.T) {
	s := newSchema(t)
	for place, keys := range map[string][]string{
		"": fileKeys, "ssh": sshKeys, "host": hostKeys, "entry": entryKeys, "limit": limitKeys, "balancer": balancerKeys, "converge": convergeKeys, "resolver": resolverKeys, "target": targetKeys,
	} {
		def := s
		if place != "" {
			def = s["$defs"].(schemaNode)[place].(schemaNode)
		}
		got := slices.Sorted(maps.Keys(def["properties"].(schemaNode)))
		if want := slices.Sorted(slices.Values(keys)); !slices.Equal(got, want) {
			t.Errorf("%q: the schema has %q, the loader %q", place, got, want)
		}
		if def["additionalProperties"] == true || def["additionalProperties"] == nil {
			t.Errorf("%q: the schema lets unknown keys pass", place)
		}
	}
}

// TestSchemaAgreesWithTheLoader holds what the document shows, and common mistakes, to the schema.
func TestSchemaAgreesWithTheLoader(t *testing.T) {
	s := newSchema(t)
	for _, text := range examples(t) {
		if err := s.check(text); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	for _, text := range []string{
		"foo: 1\n", "namespace: -x\n", "ssh: {port: 0}\n", "ssh: {transport: telnet}\n", "host: {a: {prot: 1}}\n", "tag: {a b: [x]}\n",
		"sequence: [{pause: 1m}]\n", "sequence: [{target: a, pause: 10}]\n", "sequence: [{target: a, ramp: []}]\n", "sequence: [a, [b]]\n",
		"constraint: {a: -1}\n", "constraint: {a: 101%}\n", "constraint: {a: {max_parallel: many}}\n", "constraint: {a: {max_parallel: 1, x: 2}}\n",
		"constraint: {a: {}}\n", "balancer: {a: {pool: x}}\n", "balancer: {a: {exec: /x}}\n", "balancer: {a: {exec: x, pool: x}}\n", "balancer: {a: {exec: /x, pool: {x: many}}}\n",
		"balancer: {a: {exec: /x, pool: x, fool: x}}\n", "resolver: {r: {}}\n", "resolver: {r: {command: x, cmd: y}}\n", "target: {dir: x}\n", "confirm_above: -1\n", "approval: {by: me}\n", "approval: another\n", "converge: {}\n", "converge: {every: 5}\n", "converge: {every: 5m, apps: x}\n", "converge: 5m\n", "- a\n",
	} {
		if s.check(text) == nil {
			t.Errorf("the schema lets pass: %s", text)
		}
	}
}

// examples are the YAML blocks of the document.
func examples(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/fleet-file.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	if len(out) < 10 {
		t.Fatalf("only %d examples found", len(out))
	}
	return out
}

// schemaNode is as much of JSON Schema as ours uses.
type schemaNode map[string]any

func newSchema(t *testing.T) schemaNode {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return typed(s).(schemaNode)
}

func typed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := schemaNode{}
		for k, e := range v {
			out[k] = typed(e)
		}
		return out
	case []any:
		for i := range v {
			v[i] = typed(v[i])
		}
	}
	return v
}

func (s schemaNode) check(text string) error {
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	return s.valid(s, v, "file")
}

func (s schemaNode) valid(n schemaNode, v any, at string) error {
	for key := range n {
		if err := s.keyword(n, key, v, at); err != nil {
			return err
		}
	}
	return nil
}

func (s schemaNode) keyword(n schemaNode, key string, v any, at string) error {
	wrong := fmt.Errorf("%s: %v is against %s %v", at, v, key, n[key])
	object, isObject := v.(map[string]any)
	list, isList := v.([]any)
	number, isNumber := v.(float64)
	text, isText := v.(string)
	bad := false
	switch key {
	case "$schema", "title", "description", "$defs", "additionalProperties":
	case "$ref":
		target := s
		for p := range strings.SplitSeq(strings.TrimPrefix(n[key].(string), "#/"), "/") {
			target = target[p].(schemaNode)
		}
		return s.valid(target, v, at)
	case "type":
		types, ok := n[key].([]any)
		if !ok {
			types = []any{n[key]}
		}
		bad = !slices.ContainsFunc(types, func(t any) bool { return isType(t.(string), v) })
	case "anyOf":
		for _, option := range n[key].([]any) {
			if s.valid(option.(schemaNode), v, at) == nil {
				return nil
			}
		}
		bad = true
	case "not":
		bad = s.valid(n[key].(schemaNode), v, at) == nil
	case "const":
		bad = v != n[key]
	case "enum":
		bad = !slices.Contains(n[key].([]any), v)
	case "pattern":
		bad = isText && !regexp.MustCompile(n[key].(string)).MatchString(text)
	case "minimum":
		bad = isNumber && number < n[key].(float64)
	case "maximum":
		bad = isNumber && number > n[key].(float64)
	case "minItems":
		bad = isList && len(list) < int(n[key].(float64))
	case "minProperties":
		bad = isObject && len(object) < int(n[key].(float64))
	case "required":
		for _, r := range n[key].([]any) {
			_, ok := object[r.(string)]
			bad = bad || isObject && !ok
		}
	case "items":
		for i, e := range list {
			if err := s.valid(n[key].(schemaNode), e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case "propertyNames":
		for name := range object {
			if err := s.valid(n[key].(schemaNode), name, at); err != nil {
				return err
			}
		}
	case "properties":
		for name, e := range object {
			of, ok := n[key].(schemaNode)[name]
			if ok {
				if err := s.valid(of.(schemaNode), e, at+"."+name); err != nil {
					return err
				}
			} else if n["additionalProperties"] == false {
				return fmt.Errorf("%s: unknown key %s", at, name)
			}
		}
	default:
		return fmt.Errorf("the test does not know the keyword %s", key)
	}
	if more, ok := n["additionalProperties"].(schemaNode); ok && key == "additionalProperties" {
		for name, e := range object {
			if err := s.valid(more, e, at+"."+name); err != nil {
				return err
			}
		}
	}
	if bad {
		return wrong
	}
	return nil
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == float64(int(v))
	case []any:
		return name == "array"
	}
	return name == "object"
}
