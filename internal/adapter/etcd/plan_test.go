package etcd

import (
	"fmt"
	"reflect"
	"testing"

	"sluice"
)

func TestPlan(t *testing.T) {
	three := []Member{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}, {ID: 3, Name: "c"}}
	learner := append(append([]Member(nil), three...), Member{ID: 4, Learner: true}, Member{ID: 5, Name: "e", Learner: true}, Member{ID: 6, Name: "f", Learner: true})
	base := scene{size: 100, inUse: 10, quota: 1000, begin: 100, node: true, owns: true, owned: true, me: 1, members: three}
	with := func(set func(*scene)) scene {
		s := base
		set(&s)
		return s
	}
	for name, x := range map[string]struct {
		s    scene
		want deeds
	}{
		"nothing to do":              {base, deeds{}},
		"some in use":                {with(func(s *scene) { s.size, s.inUse = 120, 100 }), deeds{trim: trimAll}},
		"not the owner":              {with(func(s *scene) { s.size, s.inUse, s.owns = 120, 100, false }), deeds{}},
		"nobody owns it":             {with(func(s *scene) { s.size, s.inUse, s.owns, s.owned = 120, 100, false, false }), deeds{}},
		"half is in use":             {with(func(s *scene) { s.size, s.inUse = 500, 500 }), deeds{trim: trimMost}},
		"not below the reserve":      {with(func(s *scene) { s.size, s.inUse = 799, 799 }), deeds{trim: trimMost}},
		"into the reserve":           {with(func(s *scene) { s.size, s.inUse = 800, 800 }), deeds{trim: trimMost, hold: true}},
		"the others hold, too":       {with(func(s *scene) { s.size, s.inUse, s.owns = 800, 800, false }), deeds{hold: true}},
		"it holds on":                {with(func(s *scene) { s.size, s.inUse, s.held = 799, 700, true }), deeds{trim: trimMost, hold: true}},
		"and lets go":                {with(func(s *scene) { s.size, s.inUse, s.held = 799, 699, true }), deeds{trim: trimMost}},
		"the quota is not known":     {with(func(s *scene) { s.size, s.inUse, s.quota = 5000, 5000, 0 }), deeds{trim: trimAll}},
		"full":                       {with(func(s *scene) { s.size, s.inUse, s.full = 990, 600, []uint64{1, 3} }), deeds{trim: trimMost, defrag: true, alone: true, disarm: []uint64{1, 3}}},
		"another is full":            {with(func(s *scene) { s.full = []uint64{2} }), deeds{trim: trimMost, disarm: []uint64{2}}},
		"full, another owns it":      {with(func(s *scene) { s.size, s.full, s.owns = 990, []uint64{1}, false }), deeds{defrag: true, alone: true, disarm: []uint64{1}}},
		"full, nobody can own it":    {with(func(s *scene) { s.size, s.full, s.owns, s.owned = 990, []uint64{1}, false, false }), deeds{trim: trimMost, defrag: true, alone: true, disarm: []uint64{1}}},
		"full, of others":            {with(func(s *scene) { s.size, s.full, s.node = 990, []uint64{1}, false }), deeds{trim: trimMost}},
		"much is free":               {with(func(s *scene) { s.size, s.idle = 200, late-1 }), deeds{}},
		"for long":                   {with(func(s *scene) { s.size, s.idle = 200, late }), deeds{defrag: true}},
		"not at the owner":           {with(func(s *scene) { s.size, s.idle, s.owns = 200, soon, false }), deeds{defrag: true}},
		"not at once":                {with(func(s *scene) { s.size, s.idle, s.owns = 200, soon-1, false }), deeds{}},
		"it would take too long":     {with(func(s *scene) { s.size, s.inUse, s.begin, s.quota, s.idle = 300<<20, brief+1, 128<<20, 2<<30, late }), deeds{}},
		"it takes a moment":          {with(func(s *scene) { s.size, s.inUse, s.begin, s.quota, s.idle = 300<<20, brief, 128<<20, 2<<30, late }), deeds{defrag: true}},
		"of others":                  {with(func(s *scene) { s.size, s.idle, s.node = 200, late, false }), deeds{}},
		"too little is free":         {with(func(s *scene) { s.size, s.inUse, s.idle = 199, 10, late }), deeds{}},
		"most is in use":             {with(func(s *scene) { s.size, s.inUse, s.begin, s.idle = 200, 101, 90, late }), deeds{trim: trimAll}},
		"a learner":                  {with(func(s *scene) { s.members = learner }), deeds{promote: "e"}},
		"a learner, elsewhere":       {with(func(s *scene) { s.members, s.owns = learner, false }), deeds{}},
		"one differs":                {with(func(s *scene) { s.corrupt = []uint64{2, 2} }), deeds{takeOut: 2}},
		"seen by all":                {with(func(s *scene) { s.corrupt, s.owns, s.owned = []uint64{2}, false, false }), deeds{takeOut: 2}},
		"this one differs":           {with(func(s *scene) { s.corrupt = []uint64{1} }), deeds{}},
		"two differ":                 {with(func(s *scene) { s.corrupt = []uint64{2, 3} }), deeds{undecide: []uint64{2, 3}}},
		"nobody knows which":         {with(func(s *scene) { s.corrupt = []uint64{0} }), deeds{undecide: []uint64{0}}},
		"one of two":                 {with(func(s *scene) { s.corrupt, s.members = []uint64{2}, three[:2] }), deeds{undecide: []uint64{2}}},
		"one that is out already":    {with(func(s *scene) { s.corrupt, s.members = []uint64{3}, three[:2] }), deeds{takeOut: 3}},
		"a learner of few":           {with(func(s *scene) { s.corrupt, s.members = []uint64{9}, []Member{three[0], {ID: 9, Learner: true}} }), deeds{takeOut: 9}},
		"nothing else then":          {with(func(s *scene) { s.corrupt, s.full, s.size, s.members = []uint64{2}, []uint64{1}, 990, learner }), deeds{takeOut: 2}},
		"differs, elsewhere":         {with(func(s *scene) { s.corrupt, s.node, s.members = []uint64{2}, false, nil }), deeds{}},
		"two, elsewhere, it is said": {with(func(s *scene) { s.corrupt, s.node, s.members = []uint64{2, 3}, false, nil }), deeds{undecide: []uint64{2, 3}}},
	} {
		if got := plan(x.s); !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %+v, want %+v", name, got, x.want)
		}
	}
}

func TestEnds(t *testing.T) {
	h := func(ns sluice.Namespace, seq uint64) sluice.Head { return sluice.Head{Namespace: ns, Seq: seq} }
	for name, x := range map[string]struct {
		copies     map[string][]sluice.Head
		all, major []sluice.Head
	}{
		"nobody":            {nil, nil, nil},
		"one":               {map[string][]sluice.Head{"a": {h("x", 3), h("w", 1)}}, []sluice.Head{h("w", 1), h("x", 3)}, []sluice.Head{h("w", 1), h("x", 3)}},
		"two":               {map[string][]sluice.Head{"a": {h("x", 3)}, "b": {h("x", 2)}}, []sluice.Head{h("x", 2)}, []sluice.Head{h("x", 2)}},
		"three":             {map[string][]sluice.Head{"a": {h("x", 3)}, "b": {h("x", 1)}, "c": {h("x", 2)}}, []sluice.Head{h("x", 1)}, []sluice.Head{h("x", 2)}},
		"one is not known":  {map[string][]sluice.Head{"a": {h("x", 3)}, "b": nil, "c": {h("x", 2)}}, nil, []sluice.Head{h("x", 2)}},
		"two are not known": {map[string][]sluice.Head{"a": {h("x", 3)}, "b": nil, "c": nil}, nil, nil},
		"four, of which 3":  {map[string][]sluice.Head{"a": {h("x", 9)}, "b": {h("x", 8)}, "c": {h("x", 7)}, "d": {h("x", 1)}}, []sluice.Head{h("x", 1)}, []sluice.Head{h("x", 7)}},
		"four, of which 2":  {map[string][]sluice.Head{"a": {h("x", 9)}, "b": {h("x", 8)}, "c": nil, "d": nil}, nil, nil},
	} {
		if all, major := ends(x.copies); fmt.Sprint(all) != fmt.Sprint(x.all) || fmt.Sprint(major) != fmt.Sprint(x.major) {
			t.Errorf("%s: %v and %v", name, all, major)
		}
	}
}

func TestCut(t *testing.T) {
	marks := []mark{{sluice.Head{Seq: 2}, 20}, {sluice.Head{Seq: 4}, 40}, {sluice.Head{Seq: 6}, 60}}
	for _, x := range []struct {
		enough int64
		limit  uint64
		want   uint64
	}{{0, 9, 6}, {40, 9, 6}, {41, 9, 4}, {60, 9, 4}, {61, 9, 2}, {80, 9, 2}, {81, 9, 0}, {0, 5, 4}, {0, 4, 4}, {0, 3, 2}, {0, 1, 0}} {
		if at, ok := cut(marks, 100, x.enough, x.limit); at.Seq != x.want || ok != (x.want > 0) {
			t.Errorf("of 100, %d and event %d: %d, %v", x.enough, x.limit, at.Seq, ok)
		}
	}
}
