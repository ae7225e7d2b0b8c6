package release

import (
	"cmp"
	"slices"
)

// outdated are the trees that go when tree is live: all but the keep that were live last. Never go the one that is made
// live, the one that is live before, and those whose manifest is in safe. What was never live goes first.
func outdated(trees []Tree, tree, live string, keep int, safe []string) (names []string) {
	kept := slices.Clone(trees)
	slices.SortStableFunc(kept, func(a, b Tree) int {
		return cmp.Or(cmp.Compare(rank(b, tree, live), rank(a, tree, live)), cmp.Compare(b.Seq, a.Seq), cmp.Compare(a.Name, b.Name))
	})
	n := 0
	if !slices.ContainsFunc(trees, func(t Tree) bool { return t.Name == tree }) {
		n = 1 // it will be there
	}
	for _, t := range kept {
		if n++; n > keep && t.Name != tree && t.Name != live && !slices.Contains(safe, t.Manifest) {
			names = append(names, t.Name)
		}
	}
	return names
}

func rank(t Tree, tree, live string) int {
	switch {
	case t.Name == tree:
		return 2
	case t.Name == live:
		return 1
	}
	return 0
}
