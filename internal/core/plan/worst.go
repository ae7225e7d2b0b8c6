package plan

import "sluice"

// Worst is the largest number of a tag's hosts that a job can have out of service at once: running, or failed
// and not yet repaired. It holds for a fleet in which nothing is out when the job starts, and as long as
// nobody skips a host.
type Worst struct {
	Tag     sluice.Tag
	Members int // hosts that carry the tag
	Targets int // those of them that the job changes
	Out     int
}

// WorstCase bounds every tag that has a target, in the order of the fleet's tags.
func WorstCase(f *sluice.Fleet, p sluice.Plan) []Worst {
	stageOf := make(map[sluice.Host][2]int)
	for i, t := range p.Tracks {
		for k, s := range t.Stages {
			for _, h := range s.Hosts {
				if _, named := stageOf[h]; !named {
					stageOf[h] = [2]int{i, k}
				}
			}
		}
	}
	groupsOf := make(map[sluice.Host][][2]int)
	for i, c := range p.Constraints {
		for k, g := range c.Groups {
			for _, h := range g.Members {
				if _, target := stageOf[h]; target {
					groupsOf[h] = append(groupsOf[h], [2]int{i, k})
				}
			}
		}
	}
	var out []Worst
	for _, tag := range f.TagOrder {
		var targets []sluice.Host
		for _, h := range f.Tags[tag] {
			if _, ok := stageOf[h]; ok {
				targets = append(targets, h)
			}
		}
		if len(targets) == 0 {
			continue
		}
		bound := min(len(targets), byConstraints(targets, p.Constraints, groupsOf), bySequences(targets, p.Tracks, stageOf))
		out = append(out, Worst{tag, len(f.Tags[tag]), len(targets), bound})
	}
	return out
}

// byConstraints is the best of the bounds that the constraints give, each by itself: what its groups let go,
// and all hosts that it does not count.
func byConstraints(targets []sluice.Host, cs []sluice.Constraint, groupsOf map[sluice.Host][][2]int) int {
	inGroup := make(map[[2]int]int)
	counted := make([]int, len(cs))
	for _, h := range targets {
		last := -1
		for _, g := range groupsOf[h] {
			inGroup[g]++
			if g[0] != last {
				counted[g[0]]++
				last = g[0]
			}
		}
	}
	allowed := make([]int, len(cs))
	for g, n := range inGroup {
		group := cs[g[0]].Groups[g[1]]
		allowed[g[0]] += min(n, group.Limit.Capacity(len(group.Members)))
	}
	best := len(targets)
	for i := range cs {
		best = min(best, allowed[i]+len(targets)-counted[i])
	}
	return best
}

// bySequences adds up, over the tracks, the largest stage and the failures that the gates before it let pass.
func bySequences(targets []sluice.Host, tracks []sluice.Track, stageOf map[sluice.Host][2]int) int {
	inStage := make(map[[2]int]int)
	for _, h := range targets {
		inStage[stageOf[h]]++
	}
	sum := 0
	for i, t := range tracks {
		largest, before, passed, entry, entryPassed := 0, 0, 0, -1, 0
		for k, s := range t.Stages {
			n := inStage[[2]int{i, k}]
			largest = max(largest, n+min(before, passed))
			before += n
			if s.Entry != entry {
				entry, entryPassed = s.Entry, s.MaxFailures
				passed += entryPassed
			}
		}
		sum += largest
	}
	return sum
}
