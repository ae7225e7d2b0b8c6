package plan

import (
	"fmt"
	"strings"

	"sluice"
)

// A host in two tracks waits for its stage in both, so tracks can wait for each other for ever. The graph has
// two nodes a stage: it opens, and it is done. A stage is done after it opened; the next one of the track opens
// after that; and a stage that shares a host with another is done only after the other opened, too.

type stageRef struct{ track, stage int }

// refuseCycles returns an error that names the stages if tracks wait for each other.
func refuseCycles(tracks []sluice.Track, from []sluice.Sequence) error {
	var refs []stageRef
	first := make([]int, len(tracks)) // number of the track's first stage
	for i, t := range tracks {
		first[i] = len(refs)
		for k := range t.Stages {
			refs = append(refs, stageRef{i, k})
		}
	}
	opens := func(s int) int { return 2 * s }
	done := func(s int) int { return 2*s + 1 }
	next := make([][]int, 2*len(refs)) // what waits for a node
	for s, r := range refs {
		next[opens(s)] = append(next[opens(s)], done(s))
		if r.stage+1 < len(tracks[r.track].Stages) {
			next[done(s)] = append(next[done(s)], opens(s+1))
		}
	}
	shared := shares(tracks, first)
	for pair := range shared.order {
		a, b := shared.order[pair][0], shared.order[pair][1]
		next[opens(a)] = append(next[opens(a)], done(b))
		next[opens(b)] = append(next[opens(b)], done(a))
	}
	circle := findCycle(next)
	if circle == nil {
		return nil
	}
	var names []string
	for _, node := range circle {
		r := refs[node/2]
		name := fmt.Sprintf("%s of %s", tracks[r.track].Stages[r.stage].Name, tracks[r.track].Name)
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return &sluice.Error{Code: sluice.Config, At: from[refs[circle[0]/2].track].At,
		Text: "sequences wait for each other: " + strings.Join(names, ", then ") + ", then the first again",
		Hint: "a host that stands in two sequences must not be before another in one and behind it in the other"}
}

type pairs struct {
	seen  map[[2]int]bool
	order [][2]int
}

// shares lists the pairs of stages of different tracks that have a host in common.
func shares(tracks []sluice.Track, first []int) pairs {
	p := pairs{seen: map[[2]int]bool{}}
	where := make(map[sluice.Host][]int)
	for i, t := range tracks {
		for k, s := range t.Stages {
			for _, h := range s.Hosts {
				for _, other := range where[h] {
					if pair := [2]int{other, first[i] + k}; !p.seen[pair] {
						p.seen[pair] = true
						p.order = append(p.order, pair)
					}
				}
				where[h] = append(where[h], first[i]+k)
			}
		}
	}
	return p
}

// findCycle returns the nodes of a cycle in order, or nil.
func findCycle(next [][]int) []int {
	const (
		unseen = iota
		onPath
		clear
	)
	state := make([]int, len(next))
	type frame struct{ node, edge int }
	for start := range next {
		if state[start] != unseen {
			continue
		}
		state[start] = onPath
		path := []frame{{start, 0}}
		for len(path) > 0 {
			top := &path[len(path)-1]
			if top.edge == len(next[top.node]) {
				state[top.node] = clear
				path = path[:len(path)-1]
				continue
			}
			to := next[top.node][top.edge]
			top.edge++
			switch state[to] {
			case unseen:
				state[to] = onPath
				path = append(path, frame{to, 0})
			case onPath:
				var circle []int
				for i := len(path) - 1; i >= 0; i-- {
					circle = append([]int{path[i].node}, circle...)
					if path[i].node == to {
						return circle
					}
				}
			}
		}
	}
	return nil
}
