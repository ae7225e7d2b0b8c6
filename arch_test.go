package sluice_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house rules, executable. Each message says why.

const module = "sluice"

// layers say what a package may import of this module. The key is a path below the module; "x/" in a rule
// stands for the package itself and what is below it.
var layers = []struct {
	prefix string
	may    []string
	why    string
}{
	{"internal/core/", []string{"", "internal/core/"}, "core is pure: it knows the nouns and itself"},
	{"internal/run/", []string{"", "sealed", "internal/core/", "internal/run/"}, "run does what core decided, through ports; which adapter is behind a port is a question of app"},
	{"internal/adapter/", []string{"", "self/"}, "an adapter knows the nouns and one foreign thing, never another adapter"},
	{"sealed/", []string{""}, "both ends of an envelope share it, so it knows neither"},
	{"api/", []string{"", "sealed"}, "what goes over the wire is made of nouns"},
	{"client/", []string{"", "api", "sealed"}, "a client is for programs of others, too: it knows what goes over the wire and no more"},
	{"internal/front/", []string{"", "api", "client", "sealed", "internal/core/", "internal/run/control", "internal/front/"}, "front shows views and calls control; it does not reach around it"},
	{"internal/lab/simulated/", []string{"internal/app", "internal/lab/simhosts"}, "it is the program itself, on hosts that are simulated"},
	{"internal/lab/", []string{"", "internal/lab/"}, "lab is for tests of everything, so it depends on nothing"},
	{"internal/app/private/", nil, "how a file is written says nothing of what it is for"},
	{"internal/app/doors/", []string{"", "internal/front/httpapi"}, "who comes in waits at a door, whatever the server is in its lives"},
	{"internal/app/cluster/", []string{"", "api", "internal/core/", "internal/run/", "internal/adapter/", "internal/front/httpapi", "internal/app/doors", "internal/app/private"},
		"being one of several servers says of what kind a life is; what a server does in it is handed in"},
	{"internal/app/", []string{"", "api", "client", "sealed", "internal/core/", "internal/run/", "internal/adapter/", "internal/front/", "internal/app/"}, "app wires"},
	{"cmd/", []string{"", "internal/app/", "internal/app", "internal/front/cli"}, "main parses nothing itself"},
	{"", nil, "the root holds nouns and imports only the standard library"},
}

// impure are the standard packages that a pure package must not import.
var impure = []string{"os", "net", "sync", "context", "log", "os/exec", "os/signal", "os/user", "net/http", "log/slog",
	"sync/atomic", "io/ioutil", "syscall", "crypto/rand", "math/rand", "runtime", "testing"}

// clockCalls read or use the clock; a pure package takes the time as a value.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

type goFile struct {
	path string
	ast  *ast.File
	test bool
}

func files(t *testing.T) (out []goFile) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != "." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, goFile{filepath.ToSlash(p), f, strings.HasSuffix(p, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImportsRunOneWay(t *testing.T) {
	for _, f := range files(t) {
		if f.test {
			continue
		}
		dir := path.Dir(f.path)
		if dir == "." {
			dir = ""
		}
		for _, l := range layers {
			if !strings.HasPrefix(dir+"/", l.prefix) {
				continue
			}
			for _, imp := range f.ast.Imports {
				p, _ := strconv.Unquote(imp.Path.Value)
				below, ours := strings.CutPrefix(p+"/", module+"/")
				switch {
				case ours && !mayImport(dir, strings.TrimSuffix(below, "/"), l.may):
					t.Errorf("%s imports %s: %s", f.path, p, l.why)
				case !ours && l.prefix == "" && strings.Contains(strings.Split(p, "/")[0], "."):
					t.Errorf("%s imports %s: %s", f.path, p, l.why)
				}
			}
			break
		}
	}
}

func mayImport(dir, below string, may []string) bool {
	for _, m := range may {
		switch {
		case m == "" && below == "":
			return true
		case m == "self/":
			parts := strings.Split(dir, "/")
			if len(parts) >= 3 && strings.HasPrefix(below+"/", strings.Join(parts[:3], "/")+"/") {
				return true
			}
		case m != "" && strings.HasSuffix(m, "/") && strings.HasPrefix(below+"/", m):
			return true
		case m != "" && below == m:
			return true
		}
	}
	return false
}

func TestCoreIsPure(t *testing.T) {
	for _, f := range files(t) {
		isCore := strings.HasPrefix(f.path, "internal/core/")
		if f.test || !isCore {
			continue
		}
		for _, imp := range f.ast.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			if slices.Contains(impure, p) {
				t.Errorf("%s imports %s: the same values must give the same answer in plan, rehearsal, test and live run", f.path, p)
			}
			if p == "math/rand/v2" && !strings.HasPrefix(f.path, "internal/core/rehearse/") {
				t.Errorf("%s imports %s: only the rehearsal has chance in it, and it is seeded", f.path, p)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: core decides, run acts", f.path)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockCalls, n.Sel.Name) {
					t.Errorf("%s calls time.%s: the time comes in as a value", f.path, n.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestLabIsForTestsOnly(t *testing.T) {
	for _, f := range files(t) {
		if f.test || strings.HasPrefix(f.path, "internal/lab/") {
			continue
		}
		for _, imp := range f.ast.Imports {
			if p, _ := strconv.Unquote(imp.Path.Value); strings.HasPrefix(p, module+"/internal/lab") {
				t.Errorf("%s imports %s: what is made for tests does not ship", f.path, p)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	docs := map[string]bool{}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		dir := path.Dir(f.path)
		docs[dir] = docs[dir] || f.ast.Doc != nil
		switch name := f.ast.Name.Name; name {
		case "util", "utils", "common", "helpers", "helper", "manager", "misc", "base":
			t.Errorf("%s: package %s: a package is named for what it is in the user's words", f.path, name)
		}
	}
	for dir, ok := range docs {
		if !ok {
			t.Errorf("package %s has no package comment: say what it does and what it must not know", dir)
		}
	}
}

func TestNoSleepInTests(t *testing.T) {
	for _, f := range files(t) {
		if !f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && !importsSynctest(f.ast) {
					t.Errorf("%s sleeps: wait for what you mean, or use testing/synctest", f.path)
				}
			}
			return true
		})
	}
}

func importsSynctest(f *ast.File) bool {
	for _, imp := range f.Imports {
		if imp.Path.Value == `"testing/synctest"` {
			return true
		}
	}
	return false
}

// forbidden are names that must not be used anywhere, with the reason.
var forbidden = map[string]string{
	"InsecureIgnoreHostKey": "host keys are always checked; there is no switch",
}

func TestForbiddenNames(t *testing.T) {
	for _, f := range files(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if why, bad := forbidden[s.Sel.Name]; bad {
					t.Errorf("%s uses %s: %s", f.path, s.Sel.Name, why)
				}
			}
			return true
		})
	}
}
