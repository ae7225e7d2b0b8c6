package config

import (
	"maps"

	"sluice/internal/core/document"
)

// merge is what a tree becomes by what a layer says. Neither is changed. What the layer may not say is added to the problems,
// and left out.
func merge(tree, said *Value, problems *document.Problems) *Value {
	m := merger{problems}
	return m.maps(nil, tree, said)
}

type merger struct{ problems *document.Problems }

func (m merger) maps(p Path, tree, said *Value) *Value {
	out := *tree
	out.Whole = false
	out.Map = maps.Clone(tree.Map)
	if out.Map == nil {
		out.Map = map[string]*Value{}
	}
	for key, s := range said.Map {
		switch v := m.value(p.below(key), tree.Map[key], s); v {
		case nil:
			delete(out.Map, key)
		default:
			out.Map[key] = v
		}
	}
	return &out
}

// value is what becomes of a value (nil: there is none yet) by what a layer says about it; nil is none.
func (m merger) value(p Path, is, said *Value) *Value {
	switch {
	case said.Kind == Delete:
		return nil
	case is == nil || is.Kind == Null || is.Kind == Missing:
		return m.fresh(p, said)
	case is.typed() != said.typed():
		m.clash(p, is, said)
		return is
	case said.Whole:
		return m.fresh(p, said)
	case said.Kind == Map:
		return m.maps(p, is, said)
	case said.Kind == List:
		out := &Value{Kind: List, At: said.At, List: make([]*Value, 0, len(is.List)+len(said.List))}
		out.List = append(append(out.List, is.List...), said.List...)
		return out
	}
	return said
}

// fresh is what a layer says where nothing was: what it deletes is not there.
func (m merger) fresh(p Path, said *Value) *Value {
	if said.Kind == Map && (said.Whole || said.deletes()) {
		return m.maps(p, &Value{Kind: Map, At: said.At}, said)
	}
	if said.Whole {
		plain := *said
		plain.Whole = false
		return &plain
	}
	return said
}

// deletes says whether there is a mark in the maps below that does not stay in a tree.
func (v *Value) deletes() bool {
	for _, e := range v.Map {
		if e.Kind == Delete || e.Whole || e.Kind == Map && e.deletes() {
			return true
		}
	}
	return false
}

func (m merger) clash(p Path, is, said *Value) {
	e := document.ErrorAt(said.At, "%s is %s here, and %s at %s", p, said.Kind, is.Kind, is.At)
	switch {
	case said.Kind == Null || said.Kind == Missing:
		e = e.WithHint("!delete takes back what earlier layers say")
	case is.typed() == Map || is.typed() == List || said.typed() == Map || said.typed() == List:
		e = e.WithHint("a layer between may say !delete; what may be of any type begins as null or !missing")
	default:
		e = e.WithHint("quotes make a text of a number or truth; what may be of any type begins as null or !missing")
	}
	m.problems.Add(e)
}

// said is what a program has said, by what it was given and what it made of it.
func said(was, is *Value) *Value {
	out := &Value{Kind: Map, At: is.At, Map: map[string]*Value{}}
	for key := range was.Map {
		if is.Map[key] == nil {
			out.Map[key] = &Value{Kind: Delete, At: is.At}
		}
	}
	for key, now := range is.Map {
		before := was.Map[key]
		switch {
		case before != nil && Equal(before, now):
		case before != nil && before.Kind == Map && now.Kind == Map:
			out.Map[key] = said(before, now)
		case before != nil && before.Kind == List && now.Kind == List:
			out.Map[key] = saidOfList(before, now)
		default:
			out.Map[key] = now
		}
	}
	return out
}

// saidOfList tells a list that has grown at its end from one that is another.
func saidOfList(before, now *Value) *Value {
	out := *now
	n := len(before.List)
	if len(now.List) > n && Equal(&Value{Kind: List, List: before.List}, &Value{Kind: List, List: now.List[:n]}) {
		out.List = now.List[n:]
		return &out
	}
	out.Whole = true
	return &out
}
