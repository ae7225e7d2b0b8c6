package config

import "slices"

// Change is a key that is different in two configurations. Of a key that is only in one of them the other value is nil.
type Change struct {
	Path     Path
	Was, Now *Value
	// WasSaid and NowSaid are the layers that count on either side.
	WasSaid, NowSaid []Said
}

// Diff lists what is different, by path. Lists are compared as a whole. Sealed values are compared by their ciphertext: what
// was encrypted anew is different, whatever is inside.
func Diff(was, now *Rendered) []Change {
	var out []Change
	add := func(p Path, a, b *Value) {
		out = append(out, Change{p, a, b, was.counting(p), now.counting(p)})
	}
	diff(nil, was.Tree, now.Tree, add)
	slices.SortFunc(out, func(a, b Change) int { return comparePaths(a.Path, b.Path) })
	return out
}

func diff(p Path, a, b *Value, add func(Path, *Value, *Value)) {
	switch {
	case Equal(a, b):
	case a != nil && b != nil && a.Kind == Map && b.Kind == Map:
		for key, v := range a.Map {
			diff(p.below(key), v, b.Map[key], add)
		}
		for key, v := range b.Map {
			if a.Map[key] == nil {
				diff(p.below(key), nil, v, add)
			}
		}
	case a == nil && b.Kind == Map && len(b.Map) > 0:
		for key, v := range b.Map {
			diff(p.below(key), nil, v, add)
		}
	case b == nil && a.Kind == Map && len(a.Map) > 0:
		for key, v := range a.Map {
			diff(p.below(key), v, nil, add)
		}
	default:
		add(p, a, b)
	}
}

func (r *Rendered) counting(p Path) []Said {
	e := r.explain(p)
	return slices.DeleteFunc(e.Said, func(s Said) bool { return !s.Counts })
}
