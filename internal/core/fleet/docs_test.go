package fleet

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shelf is the world that the document's examples need.
type shelf map[string]string

func (s shelf) ReadFile(name string, _ int64) ([]byte, error) {
	text, ok := s[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func (s shelf) Glob(pattern string) ([]string, error) {
	return []string{strings.Replace(pattern, "*", "north", 1)}, nil
}

func (s shelf) Executable(name string) (bool, error) { return name == "dynamic.py", nil }

func (s shelf) Run(_ string, command []string, _ time.Duration, _ int64) ([]byte, error) {
	switch command[0] {
	case "./dynamic.py":
		return []byte(`{"_meta": {"hostvars": {}}, "cloud": ["c1"]}`), nil
	case "/usr/local/bin/ec2-hosts":
		return []byte(`["i-1", "i-2"]`), nil
	}
	return nil, errors.New("no such program")
}

func TestDocumentedExamplesLoad(t *testing.T) {
	for _, text := range examples(t) {
		s := shelf{"fleet.yaml": text, "common.yaml": "tag: {a: [x]}\n", "colo/north.yaml": "tag: {b: [y]}\n",
			"hosts.ini": "[web]\nweb[01:02]\n", "inv.yaml": "db: {hosts: {db1: }}\n"}
		if _, err := Load(s, "fleet.yaml"); err != nil {
			t.Errorf("%v\nin\n%s", err, text)
		}
	}
}

// TestDocumentedKeys holds the document to the keys there are.
func TestDocumentedKeys(t *testing.T) {
	text, err := os.ReadFile("../../../docs/fleet-file.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := strings.Join(regexp.MustCompile(`(?m)^#+ .*$`).FindAllString(string(text), -1), "\n")
	for _, k := range fileKeys {
		if !regexp.MustCompile(`\b` + k + `\b`).MatchString(headings) {
			t.Errorf("no section is about %s", k)
		}
	}
	for _, keys := range [][]string{sshKeys, entryKeys, limitKeys, resolverKeys, targetKeys} {
		for _, k := range keys {
			if !strings.Contains(string(text), "`"+k+"`") && !strings.Contains(string(text), k+":") {
				t.Errorf("the key %s is nowhere", k)
			}
		}
	}
}

// TestDocumentedExpressions works out what the table of expressions shows.
func TestDocumentedExpressions(t *testing.T) {
	text, err := os.ReadFile("../../../docs/expressions.md")
	if err != nil {
		t.Fatal(err)
	}
	s := shelf{"fleet.yaml": `
tag: {web: ["web[01-20]", "web[7-8]"], db: [db1, "{web,db}1"], colo: {north: [web01, "r{1,2}n[1-3].example.org", x.north]}, rack: ["rack[a-f]"]}
resolver: {ec2: {command: [/usr/local/bin/ec2-hosts]}}
`}
	l, err := Load(s, "fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\| ").FindAllStringSubmatch(string(text), -1) {
		for _, e := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			tried++
			if _, err := l.Resolve(e[1]); err != nil {
				t.Errorf("%s: %v", e[1], err)
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d expressions found", tried)
	}
}
