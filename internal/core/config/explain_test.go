package config_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestExplain is the table of what is told where keys go away and come back.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		layers []string
		want   string
	}{
		{[]string{"c: {b: [1]}", "c: !delete", "c: {b: [2]}"}, "c.b=[2]: 1 2 3*"},
		{[]string{"c: {b: [1]}", "c: !replace {b: [2]}", "c: {b: [3]}"}, "c.b=[2,3]: 1 2* 3*"},
		{[]string{"c: {b: [1]}", "c: !replace {x: 1}", "c: {b: [3]}"}, "c.b=[3]: 1 2 3* | c.x=1: 2*"},
		{[]string{"c: {b: 1}", "c: !delete", "c: x"}, "c=\"x\": 1 2 3* | c.b: 1 2 3"},
		{[]string{"c: null", "c: {b: 1}"}, "c.b=1: 1 2*"},
		{[]string{"a: [1]", "a: [2]", "a: !replace [3]"}, "a=[3]: 1 2 3*"},
		{[]string{"a: 1", "a: 2", "a: !delete"}, "a: 1 2 3"},
	} {
		r, err := render(t, c.layers...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range r.Explain(nil) {
			one := e.Path.String()
			if e.Value != nil {
				one += "=" + string(e.Value.JSON())
			}
			one += ":"
			for _, s := range e.Said {
				one += fmt.Sprintf(" %.1s%s", s.Layer, strings.Repeat("*", map[bool]int{true: 1}[s.Counts]))
			}
			got = append(got, one)
		}
		if all := strings.Join(got, " | "); all != c.want {
			t.Errorf("%q: got\n%s\nwant\n%s", c.layers, all, c.want)
		}
	}
}
