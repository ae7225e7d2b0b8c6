package config_test

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/core/config"
)

// TestProvenanceIsKept: of every key that has a value it is kept what each layer said, also what does not count; and it can be read again.
func TestProvenanceIsKept(t *testing.T) {
	r, err := render(t, "a: 1\nb: {c: [1], d: x}\ne: !delete", "a: 2\nb: {c: [2]}\n", "b: {d: !delete}\n'x.y': {}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Provenance{
		{"a", []config.Word{{"1.yaml:1:1", "1", false}, {"2.yaml:1:1", "2", true}}},
		{"b.c", []config.Word{{"1.yaml:2:5", "[1]", true}, {"2.yaml:2:5", "[2]", true}}},
		{`"x.y"`, []config.Word{{"3.yaml:2:1", "{}", true}}},
	}
	got, err := config.ParseProvenance(r.Provenance().Encode())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, want)
	}
}

// TestEntriesAndProvenance: whatever is rendered, the keys of what is frozen are those of which there is a provenance, and what counts
// of one is its value or in it; and where lines moved the frozen configuration is the same.
func TestEntriesAndProvenance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layers := rapid.SliceOfN(rapid.SampledFrom([]string{"a: 1", "a: 2\nb: {c: x}", "b: {c: y, d: [1]}", "b: {d: [2]}", "e: {}", "e: {f: null}", "b: !replace {g: 1}", "b: !delete"}), 1, 5).Draw(t, "layers")
		r, err := rendered(layers)
		if err != nil {
			t.Skip(err)
		}
		entries, err := r.Freeze().Entries()
		if err != nil {
			t.Fatal(err)
		}
		p := r.Provenance()
		if len(entries) != len(p) {
			t.Fatalf("%d entries, %d of provenance: %+v %+v", len(entries), len(p), entries, p)
		}
		for i, e := range entries {
			says := ""
			for _, w := range p[i].Said {
				if w.Counts {
					says += w.Value
				}
			}
			if p[i].Key != e.Key || says == "" || !strings.HasPrefix(e.Value, "[") && says != e.Value && e.Value != "{}" {
				t.Errorf("%+v comes from %+v", e, p[i])
			}
		}
		moved := make([]string, len(layers))
		for i, l := range layers {
			moved[i] = "# moved\n" + l
		}
		if m, err := rendered(moved); err != nil || m.Freeze().Digest != r.Freeze().Digest {
			t.Errorf("another configuration where lines moved: %v", err)
		}
	})
}

func rendered(texts []string) (*config.Rendered, error) {
	var layers []*config.Layer
	for i, text := range texts {
		l, err := config.ReadLayer(string(rune('1'+i))+".yaml", []byte(text))
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return config.Render(place, layers)
}

// TestSealedProvenance: nothing that is sealed is in it, nor its ciphertext.
func TestSealedProvenance(t *testing.T) {
	text := sealed(t, canary)
	r, err := render(t, "a: "+text, "b: 1")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := r.Freeze().Entries()
	if err != nil || len(entries) != 2 || !entries[0].Sealed || !strings.HasPrefix(entries[0].Value, "sealed (age, ") {
		t.Fatalf("%+v, %v", entries, err)
	}
	if p := string(r.Provenance().Encode()); strings.Contains(p, canary) || strings.Contains(p, "AGE ENCRYPTED") || !strings.Contains(p, "sealed (age") {
		t.Error(p)
	}
}
