package config

import (
	"slices"

	"sluice/internal/core/document"
)

// Rendered is the configuration of one application in one place: a tree, and how it came about.
type Rendered struct {
	For  For
	Tree *Value // a map
	// Layers are those that were merged, in their order. What a program said is there as what it changed.
	Layers []*Layer
}

// start is a tree in which nothing is yet.
func start() *Value { return &Value{Kind: Map, Map: map[string]*Value{}} }

// Render merges layers. The mistakes are [document.Errors], all of them: types that clash, and what nobody gives a value to.
func Render(f For, layers []*Layer) (*Rendered, error) {
	r := begin(f)
	for _, l := range layers {
		r.join(l, nil)
	}
	return r.finish()
}

// rendering is a configuration on its way from layer to layer.
type rendering struct {
	out      *Rendered
	problems document.Problems
}

func begin(f For) *rendering { return &rendering{out: &Rendered{For: f, Tree: start()}} }

// join merges a layer; nil is none.
func (r *rendering) join(l *Layer, err error) {
	r.problems.Join(err)
	if l == nil || err != nil {
		return
	}
	r.problems.Opened(l.File)
	r.out.Layers = append(r.out.Layers, l)
	r.out.Tree = merge(r.out.Tree, l.Top, &r.problems)
}

func (r *rendering) finish() (*Rendered, error) {
	if r.problems.First() == nil { // else what is missing may only not have been read
		r.out.checkMissing(&r.problems)
		r.out.checkSeals(&r.problems)
	}
	if err := r.problems.Err(); err != nil {
		return nil, err
	}
	return r.out, nil
}

// checkMissing complains of what should have been given by a later layer.
func (r *Rendered) checkMissing(problems *document.Problems) {
	r.Tree.each(nil, func(p Path, v *Value) {
		if v.Kind != Missing {
			return
		}
		e := document.ErrorAt(v.At, "%s is missing for %s", p, r.For)
		if v.Text != "" {
			e.Text += " (" + v.Text + ")"
		}
		problems.Add(e.WithHint("a later layer must give a value; the last ones are %s", r.last()))
	})
}

// last names the layers that could give what is missing in this one place.
func (r *Rendered) last() string {
	name := string(r.For.App) + "-" + string(r.For.Environment)
	if r.For.Cluster != "" {
		return name + " and " + name + "-" + string(r.For.Cluster)
	}
	return name + " and " + string(r.For.App) + "-overrides"
}

// checkSeals complains of sealed values of a file that was not read: a program may have made them up.
func (r *Rendered) checkSeals(problems *document.Problems) {
	r.Tree.each(nil, func(p Path, v *Value) {
		if v.Kind == Sealed && v.Sealed.File != "" && r.sealedFile(v.Sealed.File) == nil {
			problems.Add(document.ErrorAt(v.At, "%s is sealed in a file of SOPS that is none of these layers", p))
		}
	})
}

func (r *Rendered) sealedFile(digest string) *sealedFile {
	for _, l := range r.Layers {
		if s := l.seals[digest]; s != nil {
			return s
		}
	}
	return nil
}

// Sealed lists the keys whose values are sealed.
func (r *Rendered) Sealed() []Path {
	var out []Path
	r.Tree.each(nil, func(p Path, v *Value) {
		if v.Kind == Sealed {
			out = append(out, p)
		}
	})
	return slices.CompactFunc(out, func(a, b Path) bool { return slices.Equal(a, b) })
}
