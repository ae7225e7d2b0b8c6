package soak

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"sluice/internal/lab/simhosts"
)

// rules are what a job on the fleet of these tests is under.
type rules struct {
	hosts  []string
	group  func(host string) string // of which few may run at once
	atOnce int
	first  []string // these end before any other begins
}

// readTrace reads what happened on the hosts, for the attempts of one job; "" is all.
func readTrace(file, job string) ([]simhosts.Mark, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []simhosts.Mark
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var m simhosts.Mark
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if job == "" || strings.HasPrefix(m.Attempt, job+"-") {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b simhosts.Mark) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	return out, lines.Err()
}

// wrong says what is wrong with a job that succeeded everywhere: every host ran it exactly once, no group was ever over
// its limit, and the first ones were done before the others began.
func wrong(marks []simhosts.Mark, r rules) (out []string) {
	starts, running, over := map[string]int{}, map[string]int{}, map[string]bool{}
	done := 0
	for _, m := range marks {
		first := slices.Contains(r.first, m.Host)
		g := r.group(m.Host)
		switch m.What {
		case "start":
			if starts[m.Host]++; starts[m.Host] > 1 {
				out = append(out, fmt.Sprintf("%s ran it %d times", m.Host, starts[m.Host]))
			}
			if running[g]++; running[g] > r.atOnce && !over[g] {
				over[g] = true
				out = append(out, fmt.Sprintf("%d of %s at once, %d may", running[g], g, r.atOnce))
			}
			if !first && done < len(r.first) {
				out = append(out, fmt.Sprintf("%s began when %d of the first %d were done", m.Host, done, len(r.first)))
			}
		case "end":
			running[g]--
			if first {
				done++
			}
		}
	}
	for _, h := range r.hosts {
		if starts[h] == 0 {
			out = append(out, h+" was skipped")
		}
		delete(starts, h)
	}
	for h := range starts {
		out = append(out, h+" is no target")
	}
	slices.Sort(out)
	return out
}
