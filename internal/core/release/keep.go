package release

import "slices"

// outdated are the trees that go when tree is live and its deploy has succeeded. Never go that one, the one that is live
// before, and those whose manifest is in safe. Of the others, those stay that were live last and did succeed, up to keep with
// tree; and one at least, however small keep is, so that there is a way back when a deploy is tried a second time. A version
// that failed takes no place from one that one could go back to.
func outdated(trees []Tree, tree, live string, keep int, safe []string) (names []string) {
	order := slices.Clone(trees)
	slices.SortStableFunc(order, func(a, b Tree) int { return b.Seq - a.Seq })
	left := max(1, keep-1)
	for _, t := range order {
		if t.Name == tree {
			continue
		}
		if t.Good && !t.Damaged && left > 0 {
			left--
			continue
		}
		if t.Name != live && !slices.Contains(safe, t.Manifest) {
			names = append(names, t.Name)
		}
	}
	return names
}
