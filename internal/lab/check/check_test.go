package check_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"sluice"
	"sluice/internal/lab/check"
)

var none sluice.Options

// story is a log and the names of the rules that it breaks, in the order of the events.
type story struct {
	name   string
	breaks []string
	tell   func(s *script)
}

func breaks(names ...string) []string { return names }

func (st story) check(t *testing.T) {
	t.Helper()
	s := newScript()
	st.tell(s)
	found := check.Log(s.events)
	var names []string
	for _, v := range found {
		names = append(names, v.Invariant)
		if v.Text == "" || v.Seq == 0 {
			t.Errorf("%v does not say what is wrong and where", v)
		}
	}
	if !slices.Equal(names, st.breaks) {
		t.Errorf("breaks %v, want %v:\n%v", names, st.breaks, found)
	}
}

func TestLog(t *testing.T) {
	for _, set := range [][]story{capacityStories, hostStories, stageStories, tryStories, jobStories, endStories} {
		for _, st := range set {
			t.Run(st.name, st.check)
		}
	}
}

// Every rule must have a story that breaks it, and that rule alone: else nobody knows that the checker bites.
func TestEveryRuleIsBroken(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "check.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	broken := map[string]bool{}
	for _, set := range [][]story{capacityStories, hostStories, stageStories, tryStories, jobStories, endStories} {
		for _, st := range set {
			if len(st.breaks) == 1 {
				broken[st.breaks[0]] = true
			}
		}
	}
	rules := 0
	for _, d := range file.Decls {
		if d, ok := d.(*ast.GenDecl); !ok || d.Tok != token.CONST {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				rules++
				if name, _ := strconv.Unquote(lit.Value); !broken[name] {
					t.Errorf("no story breaks %s alone", name)
				}
			}
			return true
		})
	}
	if rules < 20 {
		t.Errorf("found %d rules in check.go and expected more", rules)
	}
}
