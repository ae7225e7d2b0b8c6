package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// rehearsals plan and rehearse fleets of growing size.
func rehearsals(ctx context.Context, l *lab) (section, error) {
	s := section{title: "Plan and rehearsal",
		about: "A fleet with 50 constraints and 10 sequences. The time includes reading the fleet file. *Growth* is the time per host, compared with that of the " +
			"smallest fleet: 1 is linear."}
	var plans, runs []result
	for _, n := range l.pick([]int{100}, []int{1000, 10000, 100000}) {
		name := fmt.Sprintf("fleet.%d.yaml", n)
		if err := l.write(name, bigFleet(n)); err != nil {
			return s, err
		}
		rounds := l.rounds
		if n > 10000 {
			rounds = 1
		}
		// Its own errors would be hidden by a pipe, so nothing is piped: what it prints is lost.
		r, err := l.compare(ctx, n, rounds, []program{
			{name: "plan, " + strconv.Itoa(n) + " hosts", argv: []string{l.sluice(), "plan", "-f", l.path(name), "-t", "all"}},
			{name: "rehearse, " + strconv.Itoa(n) + " hosts", argv: []string{l.sluice(), "rehearse", "-f", l.path(name), "-t", "all", "--duration", "30s",
				"--jitter", "20%", "--concurrency", "1000000"}},
		})
		if err != nil {
			return s, err
		}
		plans, runs = append(plans, r[0]), append(runs, r[1])
	}
	columns := []column{
		{"growth", func(r, base result) string {
			return fmt.Sprintf("%.2f", r.wall.Seconds()/float64(r.hosts)/(base.wall.Seconds()/float64(base.hosts)))
		}},
		fanColumns[2], {"CPU µs/host", func(r, _ result) string { return fmt.Sprintf("%.0f", r.cpu.Seconds()*1e6/float64(r.hosts)) }},
		fanColumns[5], {"memory KB/host", func(r, _ result) string { return fmt.Sprintf("%.1f", float64(r.memory)/1e3/float64(r.hosts)) }},
	}
	s.tables = []table{{columns: columns, results: plans}, {columns: columns, results: runs}}
	return s, nil
}

// bigFleet has n hosts with 10 apps, 10 colos and 30 racks, each of which is under a constraint; each app has a
// sequence over the colos.
func bigFleet(n int) string {
	const apps, colos, racks = 10, 10, 30
	var b strings.Builder
	b.WriteString("tag:\n")
	groups := func(tag string, count int, of func(int) int) {
		fmt.Fprintf(&b, "  %s:\n", tag)
		members := make([]strings.Builder, count)
		for i := range n {
			fmt.Fprintf(&members[of(i)], "%s%d", map[bool]string{true: ", "}[members[of(i)].Len() > 0], i+1)
		}
		for g := range count {
			if members[g].Len() > 0 {
				fmt.Fprintf(&b, "    %c%d: \"h{%s}\"\n", tag[0], g, strings.ReplaceAll(members[g].String(), ", ", ","))
			}
		}
	}
	groups("app", apps, func(i int) int { return i % apps })
	groups("colo", colos, func(i int) int { return i / apps % colos })
	groups("rack", racks, func(i int) int { return i / (apps * colos) % racks })
	b.WriteString("sequence:\n")
	for a := range apps {
		fmt.Fprintf(&b, "  $app.a%d: [", a)
		for c := range colos {
			fmt.Fprintf(&b, "%s$colo.c%d", map[bool]string{true: ", "}[c > 0], c)
		}
		b.WriteString("]\n")
	}
	b.WriteString("constraint:\n")
	for g := range apps {
		fmt.Fprintf(&b, "  $app.a%d: 10%%\n", g)
	}
	for g := range colos {
		fmt.Fprintf(&b, "  $colo.c%d: 20%%\n", g)
	}
	for g := range racks {
		if n > g*apps*colos {
			fmt.Fprintf(&b, "  $rack.r%d: 30%%\n", g)
		}
	}
	return b.String()
}
