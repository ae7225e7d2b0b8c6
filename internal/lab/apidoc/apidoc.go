// Package apidoc makes the reference of the API, docs/api.md, of its OpenAPI document: one section for each way in, with a
// call by curl that works, and the forms of what goes over the wire. It knows nothing of the API but that document.
package apidoc

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed intro.md
var intro string

type document struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	OperationID, Summary, Description string
	Tags                              []string
	Parameters                        []parameter
	RequestBody                       *content
	Responses                         map[string]content
	path, method                      string
}

type parameter struct {
	Name, In, Description string
	Required              bool
	Schema                schema
}

type content struct {
	Description string
	Required    bool
	Content     map[string]struct{ Schema schema }
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any    // a text, or a list of them
	Format, Description  string
	Enum                 []any
	Items                *schema
	Properties           map[string]schema
	AdditionalProperties any
	Required             []string
	Default              any
}

// Reference makes the document.
func Reference(openapi []byte) (string, error) {
	var d document
	if err := json.Unmarshal(openapi, &d); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(intro)
	tag := ""
	for _, op := range d.operations() {
		if op.Tags[0] != tag {
			tag = op.Tags[0]
			fmt.Fprintf(&b, "\n## %s\n", strings.ToUpper(tag[:1])+tag[1:])
		}
		d.section(&b, op)
	}
	b.WriteString("\n## Forms\n")
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		if s := d.Components.Schemas[name]; len(s.Properties) > 0 {
			fmt.Fprintf(&b, "\n### %s\n", name)
			d.fields(&b, s)
		}
	}
	return b.String(), nil
}

var methods = []string{"get", "post", "put", "patch", "delete"}

// operations are in the order of the document: by tag, path and method.
func (d document) operations() (out []operation) {
	for path, ops := range d.Paths {
		for method, op := range ops {
			op.path, op.method = path, method
			if len(op.Tags) == 0 {
				op.Tags = []string{"others"}
			}
			out = append(out, op)
		}
	}
	slices.SortFunc(out, func(a, b operation) int {
		for _, c := range []int{strings.Compare(a.Tags[0], b.Tags[0]), strings.Compare(a.path, b.path)} {
			if c != 0 {
				return c
			}
		}
		return slices.Index(methods, a.method) - slices.Index(methods, b.method)
	})
	return out
}

func (d document) section(b *strings.Builder, op operation) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s. %s\n\n```sh\n%s```\n", strings.ToUpper(op.method), op.path, op.Summary,
		strings.ReplaceAll(strings.TrimSpace(op.Description), "\n\n", " "), d.curl(op))
	if len(op.Parameters) > 0 {
		b.WriteString("\n| parameter | in | type | |\n| --- | --- | --- | --- |\n")
		for _, p := range op.Parameters {
			text := p.Description
			if text == "" {
				text = p.Schema.Description
			}
			if p.Required && p.In == "query" {
				text = strings.TrimSuffix("required; "+text, "; ")
			}
			if p.Schema.Default != nil {
				text = strings.TrimPrefix(fmt.Sprintf("%s; default `%v`", text, p.Schema.Default), "; ")
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, p.In, p.Schema.name(), cell(text))
		}
	}
	if op.RequestBody != nil {
		d.body(b, "Body", op.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if strings.HasPrefix(status, "2") {
			d.body(b, "Answer "+status, op.Responses[status].Content)
		}
	}
}

func (d document) body(b *strings.Builder, title string, kinds map[string]struct{ Schema schema }) {
	if len(kinds) == 0 {
		fmt.Fprintf(b, "\n%s: nothing.\n", title)
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		s := kinds[kind].Schema
		text := s.Description
		if name := s.name(); name != "text" {
			text = name
		}
		fmt.Fprintf(b, "\n%s: `%s`, %s.\n", title, kind, strings.TrimSuffix(text, "."))
	}
}

func (d document) fields(b *strings.Builder, s schema) {
	b.WriteString("\n| field | type | |\n| --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		text := p.Description
		if slices.Contains(s.Required, name) {
			text = strings.TrimSuffix("required; "+text, "; ")
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, p.name(), cell(text))
	}
}

func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), "|", `\|`)
}

// name is a schema in a word or two.
func (s schema) name() string {
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	}
	if len(s.Enum) > 0 {
		words := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			words[i] = fmt.Sprintf("`%v`", e)
		}
		return strings.Join(words, ", ")
	}
	switch s.kind() {
	case "array":
		if s.Items == nil {
			return "list"
		}
		return "list of " + s.Items.name()
	case "string":
		if s.Format != "" {
			return s.Format
		}
		return "text"
	case "":
		return "anything"
	}
	return s.kind()
}

// kind is the type, without the null that it may also be.
func (s schema) kind() string {
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		for _, x := range t {
			if text, ok := x.(string); ok && text != "null" {
				return text
			}
		}
	}
	return ""
}

// examples are values of fields and parameters by name, so that calls can be read and work.
var examples = map[string]any{"id": "$JOB", "blob": "sha256:" + strings.Repeat("0", 64), "namespace": "prod", "host": "web1", "stream": "stdout", "act": "hold", "webhook": "chat",
	"targets": "web1", "command": "uptime", "hosts": []string{"web1"}, "reason": "new disk", "url": "https://chat.example.com/hooks/sluice",
	"keys":   []any{map[string]any{"host": "web1", "type": "ssh-ed25519", "key": "AAAAC3NzaC1lZDI1NTE5AAAAIFhB7ThCHtQjNsEjKyIYRXs1j5VCnPxJRZrxwGzmHQ0a"}},
	"events": []string{"job.halted", "job.finished"}, "fleet": map[string]any{}}

// also are fields that are not required, but without which a call makes no sense.
var also = map[string][]string{"submit-job": {"namespace", "command"}}

func (d document) curl(op operation) string {
	path := op.path
	var query []string
	for _, p := range op.Parameters {
		switch {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", fmt.Sprint(example(p.Name, p.Schema)))
		case p.In == "query" && p.Required:
			query = append(query, p.Name+"="+fmt.Sprint(example(p.Name, p.Schema)))
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	var b strings.Builder
	b.WriteString("curl -sS -H \"Authorization: Bearer $SLUICE_TOKEN\" ")
	if op.method != "get" {
		fmt.Fprintf(&b, "-X %s ", strings.ToUpper(op.method))
	}
	if op.OperationID == "open-session" { // what a browser says of itself
		b.WriteString("-H 'Sec-Fetch-Site: same-origin' ")
	}
	if op.RequestBody != nil {
		fmt.Fprintf(&b, "-H 'Content-Type: application/json' \\\n  -d '%s' ", d.sample(op))
	}
	fmt.Fprintf(&b, "\\\n  \"$SLUICE_SERVER%s\"\n", path)
	return b.String()
}

// sample is a body that is read without an error.
func (d document) sample(op operation) string {
	s := op.RequestBody.Content["application/json"].Schema
	if s.Ref != "" {
		s = d.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]
	}
	out := map[string]any{}
	for _, name := range append(slices.Clone(s.Required), also[op.OperationID]...) {
		if p, ok := s.Properties[name]; ok && name != "$schema" {
			out[name] = example(name, p)
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return "{}"
	}
	return string(b)
}

func example(name string, s schema) any {
	if v, ok := examples[name]; ok && (len(s.Enum) == 0 || slices.Contains(s.Enum, v)) {
		return v
	}
	if len(s.Enum) > 0 {
		return s.Enum[0]
	}
	switch s.kind() {
	case "array":
		return []any{}
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "object":
		return map[string]any{}
	}
	return name
}
