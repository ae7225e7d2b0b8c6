package config

import (
	"sluice"
	"sluice/internal/core/document"
)

// publicFile says which keys anybody may read.
const publicFile = "public.yaml"

// Public is the part of a configuration that anybody may read: only keys that are named.
type Public struct {
	keys []publicKey
}

type publicKey struct {
	path Path
	at   sluice.Position
}

// ReadPublic reads public.yaml:
//
//	keys:
//	  - shop.title
//	  - shop.limits
func ReadPublic(file string, text []byte) (*Public, error) {
	problems := &document.Problems{}
	problems.Opened(file)
	if len(text) > MaxBytes {
		problems.Add(document.ErrorAt(sluice.Position{File: file}, "more than %d bytes", MaxBytes))
		return nil, problems.Err()
	}
	d, err := yamlForm.Read(file, text, problems)
	if err != nil {
		problems.Add(err)
		return nil, problems.Err()
	}
	out := &Public{}
	if d.Root == nil {
		return out, nil
	}
	for _, p := range d.Pairs(d.Root, file) {
		if !d.Known(p, file, []string{"keys"}) {
			continue
		}
		for _, n := range d.List(p.Value) {
			w, ok := d.Word(n, "a key")
			if !ok {
				continue
			}
			key, err := ParsePath(w)
			if err != nil {
				d.Fail(n, "%v", err).Hint = `keys have dots between them, and quotes where one has a dot in it: 'hosts."a.example.com"'`
				continue
			}
			out.keys = append(out.keys, publicKey{key, d.At(n)})
		}
	}
	return out, problems.Err()
}

// Of is the public part of a rendered configuration. A key that is not there is an error, and so is one that is sealed, or has
// something sealed below it.
func (p *Public) Of(r *Rendered) (*Rendered, error) {
	var problems document.Problems
	out := *r
	out.Tree = start()
	for _, k := range p.keys {
		v := r.Tree.Lookup(k.path)
		if v == nil {
			problems.Add(document.ErrorAt(k.at, "there is no %s for %s", k.path, r.For).WithHint("sluice config explain %s says what there is", r.For.App))
			continue
		}
		v.each(k.path, func(at Path, e *Value) {
			if e.Kind == Sealed {
				problems.Add(document.ErrorAt(k.at, "%s is sealed, at %s, and cannot be public", at, e.At))
			}
		})
		said := v
		for i := len(k.path) - 1; i >= 0; i-- {
			said = &Value{Kind: Map, At: v.At, Map: map[string]*Value{k.path[i]: said}}
		}
		if out.Tree.Lookup(k.path) == nil { // named twice, or within another one
			out.Tree = merge(out.Tree, said, &problems)
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return &out, nil
}
