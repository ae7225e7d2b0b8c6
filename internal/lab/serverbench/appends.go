package main

import (
	"fmt"
	"iter"
	"os/exec"
	"strings"
)

// appends is how fast the log is, beside a disk that is only written to.
func appends(l *lab) (section, error) {
	s := section{title: "The log alone", head: []string{"what", "p50 µs", "p99 µs", "events/s", "x bare"},
		about: "One writer. *Bare* writes as many bytes to the end of a file and syncs it. An append to the log is a transaction of SQLite and a mark in the\n" +
			"file beside it that shows a log whose end was cut off: two syncs."}
	program := l.path("sqlitelog")
	if out, err := exec.CommandContext(l.ctx, "go", "test", "-c", "-o", program, "sluice/internal/adapter/sqlitelog").CombinedOutput(); err != nil {
		return s, fmt.Errorf("building the benchmarks of the log: %w: %s", err, out)
	}
	c := exec.CommandContext(l.ctx, program, "-test.run", "^$", "-test.bench", "^(BenchmarkAppend|BenchmarkBare)$", "-test.benchtime", "3s")
	c.Dir = l.dir
	out, err := c.Output()
	if err != nil {
		return s, fmt.Errorf("the benchmarks of the log: %w", err)
	}
	bare := map[string]float64{}
	var rows [][]string
	for name, figures := range benchmarks(string(out)) {
		what, size, is := strings.Cut(name, "/events=")
		if !is {
			continue
		}
		size, _, _ = strings.Cut(size, "-")
		title := size + " events at once"
		if what == "BenchmarkBare" {
			title, bare[size] = "bare, "+title, figures["p50-µs"]
		}
		rows = append(rows, []string{title, fmt.Sprintf("%.0f", figures["p50-µs"]), fmt.Sprintf("%.0f", figures["p99-µs"]), fmt.Sprintf("%.0f", figures["events/s"]), size})
	}
	if len(rows) == 0 {
		return s, fmt.Errorf("the benchmarks of the log gave no figures: %s", out)
	}
	for _, r := range rows {
		var p50 float64
		_, _ = fmt.Sscan(r[1], &p50)
		r[4] = fmt.Sprintf("%.1f", p50/bare[r[4]])
		s.row(r...)
	}
	return s, nil
}

// benchmarks are the figures that `go test -bench` prints, by the names of the benchmarks and of the units.
func benchmarks(out string) iter.Seq2[string, map[string]float64] {
	return func(yield func(string, map[string]float64) bool) {
		for line := range strings.Lines(out) {
			name, rest, is := strings.Cut(line, "\t")
			if !is || !strings.HasPrefix(name, "Benchmark") {
				continue
			}
			figures := map[string]float64{}
			for _, f := range strings.Split(rest, "\t") {
				var v float64
				var unit string
				if n, _ := fmt.Sscan(f, &v, &unit); n == 2 {
					figures[unit] = v
				}
			}
			if !yield(strings.TrimSpace(name), figures) {
				return
			}
		}
	}
}
