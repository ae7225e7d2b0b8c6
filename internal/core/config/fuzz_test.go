package config_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/internal/core/config"
	"sluice/internal/core/document"
)

// FuzzReadLayer reads anything as a layer of each form. What is taken can be rendered, explained, frozen and read again; what is
// refused is refused with a place.
func FuzzReadLayer(f *testing.F) {
	for _, text := range []string{
		"a: {b: [1, 2.5, x]}\nc: !missing why\nd: !delete\ne: !replace [1]\n", `{"a": {"b": [1, 2.5, "x", null, true]}, "c": {"!missing": "x"}}`,
		"[a]\nb = [1, 2]\nc.d = 1979-05-27\n[[e]]\nf = {g = 1}\n[[e]]\n", testdata(f, "sops/all.yaml"), testdata(f, "sops/all.json"), bomb(),
	} {
		for form := range uint8(3) {
			f.Add(text, form)
		}
	}
	f.Fuzz(func(t *testing.T, text string, form uint8) {
		file := []string{"a.yaml", "a.json", "a.toml"}[form%3]
		l, err := config.ReadLayer(file, []byte(text))
		if err != nil {
			var list document.Errors
			if !errors.As(err, &list) || list[0].At.File != file {
				t.Fatalf("without a place: %v", err)
			}
			return
		}
		r, err := config.Render(place, []*config.Layer{l})
		if err != nil {
			if !strings.Contains(err.Error(), "is missing for") && !strings.Contains(err.Error(), "none of these layers") {
				t.Fatal(err)
			}
			return
		}
		for _, e := range r.Explain(nil) {
			if p, err := config.ParsePath(e.Path.String()); len(e.Path) > 0 && (err != nil || p.String() != e.Path.String()) {
				t.Fatalf("%q: %v", e.Path, err)
			}
		}
		frozen := r.Freeze()
		if err := frozen.Check(); err != nil {
			t.Fatalf("%v: %s", err, frozen.JSON)
		}
	})
}

// FuzzFrozen opens anything as a frozen configuration.
func FuzzFrozen(f *testing.F) {
	f.Add(`{"sluice_configuration":1,"configuration":{"a":{"!sealed":{"file":"sha256:x","path":["a"],"data":"x","type":"text"}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := config.FrozenOf([]byte(text)).Open(unlock(identity(t))); err == nil && !strings.Contains(text, "sluice_configuration") {
			t.Fatal("it is opened")
		}
	})
}

func FuzzPublic(f *testing.F) {
	f.Add("keys: [a, a.b, '\"x\"']")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := config.Render(place, []*config.Layer{layer(t, "a.yaml", "a: {b: 1}\n")})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := config.ReadPublic("public.yaml", []byte(text)); err == nil {
			_, _ = p.Of(r)
		}
	})
}
