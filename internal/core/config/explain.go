package config

import (
	"slices"

	"sluice"
)

// Said is what one layer says about a key.
type Said struct {
	Layer string
	At    sluice.Position
	// Value is what it says, [Missing] and [Delete] among it. It is nil where it says something about a map that the key was
	// in, which is Above: that it is deleted, missing, or another one.
	Value, Above *Value
	// Counts says that what is rendered is this, or has this in it: of a list every layer that added to it.
	Counts bool
}

// Explanation is all that layers say about a key, in their order, and what came of it.
type Explanation struct {
	Path  Path
	Value *Value // nil: no layer that counts has it
	Said  []Said
}

// Explain says of a key, and of all keys below it, which layers spoke about it. Keys that are only in layers that do not
// count, or were deleted, are there, too. The whole configuration is what an empty path means.
func (r *Rendered) Explain(p Path) []Explanation {
	var out []Explanation
	for _, key := range r.leaves(p) {
		out = append(out, r.explain(key))
	}
	return out
}

// leaves are the paths at and below p about which some layer says something that is no map, sorted.
func (r *Rendered) leaves(p Path) []Path {
	var out []Path
	for _, l := range r.Layers {
		if at := l.Top.Lookup(p); at != nil {
			at.leaves(p, func(p Path) { out = append(out, p) })
		}
	}
	slices.SortFunc(out, comparePaths)
	out = slices.CompactFunc(out, func(a, b Path) bool { return slices.Equal(a, b) })
	// A map that is deleted, missing or empty in one layer has keys in another: those are told, unless it is no map in the end.
	return slices.DeleteFunc(slices.Clone(out), func(p Path) bool {
		if v := r.Tree.Lookup(p); v != nil && v.Kind != Map {
			return false
		}
		i, _ := slices.BinarySearchFunc(out, p, comparePaths)
		return i+1 < len(out) && len(out[i+1]) > len(p) && slices.Equal(out[i+1][:len(p)], p)
	})
}

func (v *Value) leaves(p Path, f func(Path)) {
	if v.Kind != Map || len(v.Map) == 0 {
		f(p)
		return
	}
	for key, e := range v.Map {
		e.leaves(p.below(key), f)
	}
}

// removal is what a layer says about a map that a path leads through, where that leaves nothing at the path.
func removal(v *Value, p Path) (*Value, bool) {
	for _, key := range p {
		if v.Kind != Map || v.Whole && v.Map[key] == nil {
			return v, true
		}
		if v = v.Map[key]; v == nil {
			return nil, false
		}
	}
	return nil, false
}

func (r *Rendered) explain(p Path) Explanation {
	out := Explanation{Path: p, Value: r.Tree.Lookup(p)}
	var counts []int // places in out.Said
	for _, l := range r.Layers {
		if gone, is := removal(l.Top, p); is {
			out.Said = append(out.Said, Said{Layer: l.File, At: gone.At, Above: gone})
			counts = nil // what is no map came to nothing before
			continue
		}
		v := l.Top.Lookup(p)
		if v == nil {
			continue
		}
		if within := l.Top.whole(p); within {
			counts = nil
		}
		if !(v.Kind == List || v.Kind == Map) || v.Whole || !adds(out.Said, counts, v) {
			counts = nil
		}
		out.Said = append(out.Said, Said{Layer: l.File, At: v.At, Value: v})
		if v.Kind != Delete {
			counts = append(counts, len(out.Said)-1)
		}
	}
	for _, i := range counts {
		out.Said[i].Counts = out.Value != nil
	}
	return out
}

// whole says whether a map that the path leads through takes the place of what was there.
func (v *Value) whole(p Path) bool {
	for _, key := range p {
		if v.Whole {
			return true
		}
		v = v.Map[key]
	}
	return false
}

// adds says whether what counts so far is of the kind of v, so that v adds to it.
func adds(said []Said, counts []int, v *Value) bool {
	return len(counts) > 0 && said[counts[len(counts)-1]].Value.Kind == v.Kind
}
