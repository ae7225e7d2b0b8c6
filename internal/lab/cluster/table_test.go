package cluster

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// asked reports whether rounds are asked for: then the rare faults are played, too, and it is looked after each what happened.
func asked() bool { return os.Getenv("SLUICE_TEST_ROUNDS") != "" }

// table is what docs/reliability.md has of faults.
type table struct {
	rows []row
	seen map[string]bool // what is wrong, of earlier rows: each look is at everything since the beginning
}

type row struct {
	fault  string
	rounds int
	wrong  []string
	again  []time.Duration // from the fault to the next start on a host
}

// news is what is wrong and was not said before.
func (t *table) news(wrong []string) (out []string) {
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	for _, v := range wrong {
		if !t.seen[v] {
			t.seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

func (t *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d hosts, %d at a time\n\n| what breaks | rounds | violations | from then to the next start on a host |\n| --- | --- | --- | --- |\n", size(), limit)
	for _, r := range t.rows {
		violations, again := fmt.Sprint(len(r.wrong)), "-"
		if !asked() && len(r.wrong) == 0 {
			violations = "looked at for all" // at the end, and an error of the test
		}
		slices.Sort(r.again)
		switch n := len(r.again); {
		case n == 1:
			again = seconds(r.again[0])
		case n > 1:
			again = fmt.Sprintf("p50 %s, p99 %s", seconds(r.again[(n-1)/2]), seconds(r.again[(n*99+99)/100-1]))
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", r.fault, r.rounds, violations, again)
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
