package document_test

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/core/document"
)

// TestReading reads a file of another kind than fleet files, whose own tests hold most of what is here to their words.
func TestReading(t *testing.T) {
	text := `name: shop
wait: 1d2h
keep: [a, b]
on: yes
keeep: 3
name: again
`
	var problems document.Problems
	problems.Opened("app.yaml")
	form := document.Form{Merge: "write it out"}
	d, err := form.Read("app.yaml", []byte(text), &problems)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Pairs(d.Root, "an app") {
		switch p.Name {
		case "wait":
			if v, ok := d.Duration(p.Value, "wait", 0); !ok || v != 26*time.Hour {
				t.Errorf("wait is %v, %v", v, ok)
			}
		case "keep":
			if w := d.Words(p.Value, "keep"); strings.Join(w, " ") != "a b" {
				t.Errorf("keep is %q", w)
			}
		case "on":
			d.Truth(p.Value, "on")
		default:
			d.Known(p, "an app", []string{"name", "keep", "wait", "on"})
		}
	}
	want := "app.yaml:4:5: on must be true or false, not \"yes\"\n" +
		"app.yaml:5:1: unknown key \"keeep\" in an app\n    did you mean keep?\n" +
		"app.yaml:6:1: the key \"name\" is there twice; the first one is at line 1"
	if got := problems.Err(); got == nil || got.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", got, want)
	}
}

// Each kind of file has hints of its own, or none.
func TestForms(t *testing.T) {
	for text, want := range map[string]string{
		"a: {<<: {b: 1}}":   "merge",
		"a: !x b":           "tagged",
		"a: @b":             "quote",
		"a: 1\n---\nb: 2\n": "second",
	} {
		for form, hint := range map[document.Form]string{
			{}: "", {Quote: "quote", Merge: "merge", Tagged: "tagged", Second: "second"}: want,
		} {
			var problems document.Problems
			d, err := form.Read("f", []byte(text), &problems)
			if err == nil {
				for _, p := range d.Pairs(d.Root, "a") {
					if want == "merge" {
						d.Pairs(p.Value, "b")
					} else {
						d.Word(p.Value, "c")
					}
				}
				err = problems.First()
			}
			if err == nil || err.Hint != hint {
				t.Errorf("%q: %v with the hint %q, not %q", text, err, err.Hint, hint)
			}
		}
	}
}
