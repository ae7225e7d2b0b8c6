package soak

import (
	"fmt"
	"strings"
	"time"
)

// lease is short, so that a round sees the end of some.
const lease = 2 * time.Second

// mix is who reaches which hosts.
type mix struct {
	name    string
	share   int // of 50 rounds
	colos   int
	perColo int
	percent int // of a colo that may be out at once
	first   int // hosts that go before all others
	own     bool
	workers int
	real    bool
	acts    int // faults in a round, at most
}

var mixes = []mix{
	{name: "the server's own worker on 200 hosts", share: 24, colos: 4, perColo: 50, percent: 10, first: 4, own: true, acts: 3},
	{name: "three workers elsewhere on 200 hosts", share: 16, colos: 4, perColo: 50, percent: 10, first: 4, workers: 3, acts: 3},
	{name: "three workers elsewhere on 1,000 hosts", share: 2, colos: 4, perColo: 250, percent: 10, first: 4, workers: 3, acts: 6},
	{name: "the server's own worker and one elsewhere on 20 real hosts", share: 8, colos: 2, perColo: 10, percent: 20, first: 2, own: true, workers: 1, real: true, acts: 4},
}

// rounds are those of a mix, of so many in all.
func (m mix) rounds(all int) int { return max(1, all*m.share/50) }

func (m mix) host(colo, i int) string {
	if m.real {
		return fmt.Sprintf("host%d", colo*m.perColo+i+1)
	}
	return fmt.Sprintf("c%d-%03d", colo, i+1)
}

func (m mix) colo(colo int) (hosts []string) {
	for i := range m.perColo {
		hosts = append(hosts, m.host(colo, i))
	}
	return hosts
}

func (m mix) rules() rules {
	r := rules{atOnce: m.perColo * m.percent / 100, first: m.colo(0)[:m.first]}
	of := map[string]string{}
	for c := range m.colos {
		for _, h := range m.colo(c) {
			of[h] = fmt.Sprintf("c%d", c)
			r.hosts = append(r.hosts, h)
		}
	}
	r.group = func(host string) string { return of[host] }
	return r
}

func (m mix) fleet() string {
	var b strings.Builder
	b.WriteString("tag:\n")
	for c := range m.colos {
		fmt.Fprintf(&b, "  colo.c%d: [%s]\n", c, strings.Join(m.colo(c), ", "))
	}
	fmt.Fprintf(&b, "  canary: [%s]\nsequence:\n  rollout:\n    - $canary\n    - $colo\nconstraint:\n  $colo: %d%%\n", strings.Join(m.colo(0)[:m.first], ", "), m.percent)
	return b.String()
}

// command takes a moment and prints where it is; on a real host it writes down what truly runs, as simulated ones do.
func (m mix) command(trace string) string {
	if !m.real {
		return "sim 60ms"
	}
	return `t() { printf '{"host":"%s","attempt":"%s","what":"%s","pid":%d,"time":"%s"}\n' "$SLUICE_HOST" "$SLUICE_ATTEMPT" "$1" $$ "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" >>` +
		trace + `; }; t start; sleep 0.2; echo "on $SLUICE_HOST"; t end`
}
