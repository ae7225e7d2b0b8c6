package fleet_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/core/fleet"
)

// bigFleet writes a fleet of n hosts, each by its name, with 50 constraints and 10 sequences.
func bigFleet(n int) string {
	var b strings.Builder
	b.WriteString("tag:\n  colo:\n")
	const colos = 20
	for c := range colos {
		fmt.Fprintf(&b, "    c%02d:\n", c)
		for h := c; h < n; h += colos {
			fmt.Fprintf(&b, "      - web%06d.c%02d.example.org\n", h, c)
		}
	}
	b.WriteString("  env:\n    prod: $all_of_them ! $env.test\n    test: ['*0.c*']\n  all_of_them: all\n  rack:\n")
	for r := range 10 {
		fmt.Fprintf(&b, "    r%d: '*%d.c*'\n", r, r)
	}
	b.WriteString("constraint:\n  $colo: 5%\n  $env: 10%\n  $rack: 20%\n")
	for c := range colos {
		fmt.Fprintf(&b, "  $colo.c%02d:\n    $rack: 1\n    $env: 3\n", c)
	}
	for r := range 6 {
		fmt.Fprintf(&b, "  $rack.r%d: {$colo: 2}\n", r)
	}
	b.WriteString("  $env.prod: {$colo: {$rack: 7}}\nsequence:\n")
	for s := range 10 {
		fmt.Fprintf(&b, "  s%d: [$rack.r%d, $env.test, $env.prod, $colo.c0%d & all]\n", s, s, s)
	}
	return b.String()
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := one(bigFleet(n))
			b.ReportAllocs()
			for b.Loop() {
				f := mustLoad(b, w).Fleet()
				if len(f.Hosts) != n || len(f.Constraints) != 50 || len(f.Sequences) != 10 {
					b.Fatal(len(f.Hosts), len(f.Constraints), len(f.Sequences))
				}
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := mustLoad(b, one(bigFleet(n)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Resolve("($env.prod & !$colo.c03, *5.c05.*) & $rack"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFold(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			hosts := mustLoad(b, one(bigFleet(n))).Fleet().Hosts
			b.ReportAllocs()
			for b.Loop() {
				fleet.Fold(hosts)
			}
		})
	}
}
