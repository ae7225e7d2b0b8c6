package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// page is what is written.
type page struct {
	preface  string
	load     string
	began    time.Time
	sections []section
}

// section is what a part found.
type section struct {
	title, about string
	aims         []aim
	head         []string // of the table
	rows         [][]string
	notes        []string
}

// aim is a figure and what it shall be.
type aim struct {
	what, shall, is string
	met             bool
	why             string // it was missed
}

func (s *section) row(cells ...string) {
	s.rows = append(s.rows, cells)
	say("%s", strings.Join(cells, " | "))
}

func (s *section) aim(a aim) {
	s.aims = append(s.aims, a)
	say("%s: %s, shall be %s", a.what, a.is, a.shall)
}

const preface = `# Benchmarks of a server

Made by ` + "`make bench-server`" + `, on hosts that are [simulated](../internal/lab/simhosts/doc.go) unless it says otherwise: they
speak the target protocol and run no command. Hosts, server, workers and clients share the processors of one machine, so
trust ratios and processor time more than wall time. Every event is synced before anything follows from it.

| machine | |
| --- | --- |
| processors | %d |
| Go | %s |
| load before it began, at the end | %s, %s |
| made in | %v |
`

const prefaceUI = `# Benchmarks of the web UI

Made by ` + "`make bench-ui`" + ` in a real browser, on a server whose hosts are [simulated](../internal/lab/simhosts/doc.go). Browser,
server, worker and hosts share the processors of one machine.

| machine | |
| --- | --- |
| processors | %d |
| Go | %s |
| load before it began, at the end | %s, %s |
| made in | %v |
`

const prefaceCluster = `# Benchmarks of a cluster

Made by ` + "`make bench-cluster`" + `: three servers on one machine, next to a single server on the same machine, in turn. The hosts are
[simulated](../internal/lab/simhosts/doc.go). Three servers have three times the work of one to do, and here the same processors and the
same disk to do it with; on machines of their own they have not.

| machine | |
| --- | --- |
| processors | %d |
| Go | %s |
| load before it began, at the end | %s, %s |
| made in | %v |
`

func (p *page) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, p.preface, runtime.NumCPU(), runtime.Version(), p.load, loadNow(), time.Since(p.began).Round(time.Second))
	p.writeAims(&b)
	for _, s := range p.sections {
		fmt.Fprintf(&b, "\n## %s\n", s.title)
		if s.about != "" {
			fmt.Fprintf(&b, "\n%s\n", s.about)
		}
		if len(s.rows) > 0 {
			fmt.Fprintf(&b, "\n| %s |\n|%s\n", strings.Join(s.head, " | "), strings.Repeat(" --- |", len(s.head)))
			for _, r := range s.rows {
				fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
			}
		}
		for _, n := range s.notes {
			fmt.Fprintf(&b, "\n%s\n", n)
		}
	}
	b.WriteString("\nHow fast it is without a server, next to other tools: [benchmarks](benchmarks.md). What survives: [reliability](reliability.md).\n")
	return b.String()
}

// writeAims says what was met and what was missed, and why.
func (p *page) writeAims(b *strings.Builder) {
	var all []aim
	for _, s := range p.sections {
		all = append(all, s.aims...)
	}
	if len(all) == 0 {
		return
	}
	b.WriteString("\n## Aims\n\n| what | shall be | measured | |\n| --- | --- | --- | --- |\n")
	for _, a := range all {
		verdict := "met"
		if !a.met {
			verdict = "**missed**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", a.what, a.shall, a.is, verdict)
	}
	for _, a := range all {
		if !a.met && a.why != "" {
			fmt.Fprintf(b, "\nMissed, %s: %s\n", a.what, a.why)
		}
	}
}

func loadNow() string {
	load, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(load))[:1], "")
}

// percentile is one of sorted times.
func percentile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)]
}

// spread is a row of times: how many, and where most of them are.
func (s *section) spread(what string, times []time.Duration) {
	slices.Sort(times)
	s.row(what, fmt.Sprint(len(times)), millis(percentile(times, 0.5)), millis(percentile(times, 0.99)), millis(percentile(times, 1)))
}

var spreadHead = []string{"what", "times", "p50 ms", "p99 ms", "most ms"}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
