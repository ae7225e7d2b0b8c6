// Program serverbench measures a server on simulated hosts, and writes a page of what it found. Hosts, server and workers
// share the processors of the machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is one figure of the page.
type row struct{ what, figure, aim, met string }

func main() {
	write := flag.String("write", "", "`file` for the page; standard output if empty")
	large := flag.Int("large", 100_000, "hosts of the largest job")
	flag.Parse()
	text, err := measure(*large)
	if err == nil && *write != "" {
		err = os.WriteFile(*write, []byte(text), 0o644)
	} else if err == nil {
		fmt.Print(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "serverbench:", err)
		os.Exit(1)
	}
}

func measure(large int) (string, error) {
	load, _ := os.ReadFile("/proc/loadavg")
	l, err := newLab()
	if err != nil {
		return "", err
	}
	defer l.close()
	var rows []row
	for _, part := range []func(*lab) ([]row, error){ready, moments, restarts, many, watched, apart, func(l *lab) ([]row, error) { return huge(l, large) }} {
		more, err := part(l)
		if err != nil {
			return "", err
		}
		for _, r := range more {
			fmt.Fprintf(os.Stderr, "%-70s %s\n", r.what, r.figure)
		}
		rows = append(rows, more...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks of a server

Made by `+"`make bench-server`"+`, on hosts that are [simulated](../internal/lab/simhosts/doc.go): they speak the target protocol
and run no command. Hosts, server, workers and clients share %d processors (%s, load before it began: %s). Every event is
synced before anything follows from it.

| what | measured | aim | |
| --- | --- | --- | --- |
`, runtime.NumCPU(), runtime.Version(), strings.Join(strings.Fields(string(load))[:1], ""))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.what, r.figure, r.aim, r.met)
	}
	fmt.Fprintf(&b, "\nHow fast it is without a server, next to other tools: [benchmarks](benchmarks.md). What survives: [reliability](reliability.md).\n")
	return b.String(), nil
}

// percentile is one of sorted times.
func percentile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func both(sorted []time.Duration) string {
	return fmt.Sprintf("p50 %v, p99 %v of %d", percentile(sorted, 0.5).Round(100*time.Microsecond), percentile(sorted, 0.99).Round(100*time.Microsecond), len(sorted))
}

func met(is bool) string {
	if is {
		return "met"
	}
	return "**missed**"
}
