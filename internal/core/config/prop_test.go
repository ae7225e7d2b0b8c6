package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/core/config"
)

// mark is !missing or !delete in the trees of the model, which are those of encoding/json otherwise.
type mark string

// drawTree draws what one layer says. Few keys and few kinds make layers meet.
func drawTree(t *rapid.T, depth int, marks bool) map[string]any {
	out := map[string]any{}
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d.e"}), 0, 3, rapid.ID[string]).Draw(t, "keys") {
		out[key] = drawValue(t, key, depth, marks)
	}
	return out
}

// drawValue leans to one type per key, so that most trees merge.
func drawValue(t *rapid.T, key string, depth int, marks bool) any {
	kinds := []string{"number"}
	switch key {
	case "b":
		kinds = []string{"list"}
	case "c", "d.e":
		kinds = []string{"map", "map", "text"}
	}
	if marks {
		kinds = append(kinds, kinds...)
		kinds = append(kinds, kinds...)
		kinds = append(kinds, "null", "missing", "delete", "bool")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "number":
		return float64(rapid.IntRange(0, 9).Draw(t, "n"))
	case "list":
		out := []any{}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 3), 0, 3).Draw(t, "list") {
			out = append(out, float64(n))
		}
		return out
	case "map":
		if depth > 0 {
			return drawTree(t, depth-1, marks)
		}
		return map[string]any{}
	case "bool":
		return rapid.Bool().Draw(t, "bool")
	case "null":
		return nil
	case "missing":
		return mark("!missing")
	case "delete":
		return mark("!delete")
	}
	return rapid.SampledFrom([]string{"x", "y", "!z", ""}).Draw(t, "text")
}

// The model merges as yoconfigurator's users know it, written from its manual: one dictionary is poured into another. It says
// whether it was refused.
func pour(into, from map[string]any) bool {
	for key, v := range from {
		was, there := into[key]
		if v == mark("!delete") {
			delete(into, key)
			continue
		}
		if m, isMap := v.(map[string]any); isMap && (!there || was == nil || was == mark("!missing")) {
			fresh := map[string]any{}
			if !pour(fresh, m) {
				return false
			}
			into[key] = fresh
			continue
		}
		switch w := was.(type) {
		case map[string]any:
			m, isMap := v.(map[string]any)
			if !isMap || !pour(w, m) {
				return false
			}
		case []any:
			l, isList := v.([]any)
			if !isList {
				return false
			}
			into[key] = append(slices.Clone(w), l...)
		default:
			if there && was != nil && was != mark("!missing") && reflect.TypeOf(was) != reflect.TypeOf(v) {
				return false
			}
			if was == mark("!missing") || was == nil || !there || reflect.TypeOf(was) == reflect.TypeOf(v) {
				into[key] = v
			}
		}
	}
	return true
}

func missing(m map[string]any) (out []string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch v := m[key].(type) {
		case mark:
			out = append(out, key)
		case map[string]any:
			out = append(out, missing(v)...)
		}
	}
	return out
}

// copyOf is a tree of its own.
func copyOf(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		if below, is := v.(map[string]any); is {
			v = copyOf(below)
		}
		out[k] = v
	}
	return out
}

// encoded is a tree of the model as JSON that a layer may be.
func encoded(t *rapid.T, v any) string { return encodedAs(t, v, func() bool { return false }) }

// encodedAs writes some lists and maps as such that replace what was there.
func encodedAs(t *rapid.T, v any, whole func() bool) string {
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case mark:
			if v == "!missing" {
				return map[string]any{"!missing": ""}
			}
			return map[string]any{"!delete": true}
		case map[string]any:
			out := map[string]any{}
			for _, k := range slices.Sorted(maps.Keys(v)) {
				out[k] = walk(v[k])
				switch v[k].(type) {
				case map[string]any, []any:
					if whole() {
						out[k] = map[string]any{"!replace": out[k]}
					}
				}
			}
			return out
		}
		return v
	}
	b, err := json.Marshal(walk(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func drawLayers(t *rapid.T, marks bool) (models []map[string]any, layers []*config.Layer) {
	for i := range rapid.IntRange(1, 5).Draw(t, "layers") {
		m := drawTree(t, 3, marks)
		l, err := config.ReadLayer(strconv.Itoa(i)+".json", []byte(encoded(t, m)))
		if err != nil {
			t.Fatal(err)
		}
		models, layers = append(models, m), append(layers, l)
	}
	return models, layers
}

// Rendering agrees with the model: what is refused, and what comes of the rest.
func TestMergeAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		models, layers := drawLayers(t, true)
		want, ok := map[string]any{}, true
		for _, m := range models {
			ok = ok && pour(want, copyOf(m))
		}
		r, err := config.Render(place, layers)
		lacks := missing(want)
		switch {
		case !ok:
			if err == nil {
				t.Fatalf("the model refuses what became %s", r.Tree.JSON())
			}
		case len(lacks) > 0:
			if err == nil || strings.Count(err.Error(), " is missing for ") != min(len(lacks), 20) {
				t.Fatalf("%d keys are missing: %v", len(lacks), err)
			}
		case err != nil:
			t.Fatalf("refused, but by the model it is %s: %v", encoded(t, want), err)
		case string(r.Tree.JSON()) != encoded(t, want):
			t.Fatalf("got\n%s\nwant\n%s", r.Tree.JSON(), encoded(t, want))
		}
	})
}

// Without marks it is the same whether what comes later is merged first: layers can be joined.
func TestMergeIsAssociative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, layers := drawLayers(t, false)
		at := rapid.IntRange(0, len(layers)-1).Draw(t, "at")
		all, err := config.Render(place, layers)
		later, err2 := config.Render(place, layers[at:])
		if err2 != nil {
			if err == nil {
				t.Fatalf("joined: %v", err2)
			}
			return
		}
		joined, err2 := config.Render(place, append(slices.Clone(layers[:at]), &config.Layer{File: "joined", Top: later.Tree}))
		if (err == nil) != (err2 == nil) || err == nil && !config.Equal(all.Tree, joined.Tree) {
			t.Fatalf("%v, joined: %v", err, err2)
		}
	})
}

// A layer said twice says no more, but for lists, which it appends to again.
func TestMergeIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, layers := drawLayers(t, true)
		once, err := config.Render(place, layers)
		if err != nil {
			return
		}
		last := layers[len(layers)-1]
		twice, err := config.Render(place, append(slices.Clone(layers), last))
		if err != nil {
			if strings.Contains(err.Error(), "!missing") || strings.Contains(err.Error(), "null") {
				return
			}
			t.Fatal(err)
		}
		for _, c := range config.Diff(once, twice) {
			if c.Now == nil || c.Now.Kind != config.List {
				t.Fatalf("%s changed", c.Path)
			}
		}
	})
}

// What is told of each key fits what was rendered: the value is put together from what counts, each rendered leaf is told, and
// what every layer says about the key is told in the order of layers.
func TestProvenance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		models, layers := drawLayers(t, true)
		for i, m := range models {
			text := encodedAs(t, m, func() bool { return rapid.IntRange(0, 3).Draw(t, "whole") == 0 })
			var err error
			if layers[i], err = config.ReadLayer(layers[i].File, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := config.Render(place, layers)
		if err != nil {
			return
		}
		told := map[string]config.Explanation{}
		for _, e := range r.Explain(nil) {
			told[e.Path.String()] = e
			var counting []config.Said
			for _, s := range e.Said {
				if s.Counts {
					counting = append(counting, s)
				}
			}
			checkCounting(t, e, counting)
			if !slices.IsSortedFunc(e.Said, func(a, b config.Said) int { return strings.Compare(a.Layer, b.Layer) }) {
				t.Fatalf("%s: not in order: %+v", e.Path, e.Said)
			}
			for _, l := range layers {
				v := l.Top.Lookup(e.Path)
				if v != nil && !slices.ContainsFunc(e.Said, func(s config.Said) bool { return s.Layer == l.File && s.Value == v && s.At == v.At }) {
					t.Fatalf("%s: what %s says is not told", e.Path, l.File)
				}
			}
		}
		var leaves func(config.Path, *config.Value)
		leaves = func(p config.Path, v *config.Value) {
			if v.Kind != config.Map {
				if _, ok := told[p.String()]; !ok {
					t.Fatalf("%s is rendered and not told", p)
				}
				return
			}
			for _, k := range v.Keys() {
				leaves(append(slices.Clone(p), k), v.Map[k])
			}
		}
		leaves(nil, r.Tree)
	})
}

func checkCounting(t *rapid.T, e config.Explanation, counting []config.Said) {
	switch {
	case e.Value == nil:
		if len(counting) > 0 {
			t.Fatalf("%s is not there, and %+v counts", e.Path, counting)
		}
	case len(counting) == 0:
		t.Fatalf("%s: nothing counts", e.Path)
	case e.Value.Kind == config.List:
		var all []*config.Value
		for _, s := range counting {
			all = append(all, s.Value.List...)
		}
		if !slices.EqualFunc(all, e.Value.List, config.Equal) {
			t.Fatalf("%s: what counts is not the list", e.Path)
		}
	case e.Value.Kind != config.Map:
		if len(counting) != 1 || !config.Equal(counting[0].Value, e.Value) || counting[0].At != e.Value.At {
			t.Fatalf("%s is %s at %s, and %+v counts", e.Path, e.Value.JSON(), e.Value.At, counting)
		}
	}
}

// The difference of two trees tells all that is different, and nothing else: with it the one becomes the other.
func TestDiff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, a := drawLayers(t, false)
		_, b := drawLayers(t, false)
		was, err1 := config.Render(place, a)
		now, err2 := config.Render(place, b)
		if err1 != nil || err2 != nil {
			return
		}
		changes := config.Diff(was, now)
		if (len(changes) == 0) != config.Equal(was.Tree, now.Tree) {
			t.Fatalf("%d changes", len(changes))
		}
		for _, c := range changes {
			if !config.Equal(was.Tree.Lookup(c.Path), c.Was) || !config.Equal(now.Tree.Lookup(c.Path), c.Now) || config.Equal(c.Was, c.Now) {
				t.Fatalf("%s is no change", c.Path)
			}
			if (c.Was != nil) != (len(c.WasSaid) > 0) && c.Was.Kind != config.Map || (c.Now != nil) != (len(c.NowSaid) > 0) && c.Now.Kind != config.Map {
				t.Fatalf("%s: said by %+v and %+v", c.Path, c.WasSaid, c.NowSaid)
			}
		}
	})
}

// What is frozen is the tree, whatever the layers were that it came from.
func TestFreeze(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, layers := drawLayers(t, false)
		r, err := config.Render(place, layers)
		if err != nil {
			return
		}
		f := r.Freeze()
		again, err := config.Render(place, []*config.Layer{{File: "x", Top: r.Tree}})
		if err != nil || again.Freeze().Digest != f.Digest {
			t.Fatalf("another digest: %v", err)
		}
		o, err := f.Open(nil)
		if err != nil || string(o.JSON().Reveal()) != string(r.Tree.JSON()) {
			t.Fatalf("opened: %v", err)
		}
		for i := range f.JSON {
			bad := slices.Clone(f.JSON)
			bad[i] ^= 1
			if (config.Frozen{JSON: bad, Digest: f.Digest}).Check() == nil {
				t.Fatal("a changed bit is not seen")
			}
		}
		_ = fmt.Sprint(o)
	})
}
