package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// page is what is written.
type page struct {
	options  options
	machine  []fact
	sections []section
}

type section struct {
	title, about string
	notes        []string
	targets      []target
	tables       []table
}

type table struct {
	caption string
	columns []column
	results []result // the first is what the ratios are to
}

type column struct {
	title string
	show  func(r, base result) string
}

// target is a figure and what it shall be: at most, or else at least.
type target struct {
	what        string
	most, least float64
	got         float64
	format      string
}

func (r result) ok() bool { return r.err == "" && r.wall > 0 }

// find returns the results of a program, none if it was not measured.
func (t table) find(name string) result {
	for _, r := range t.results {
		if r.name == name {
			return r
		}
	}
	return result{name: name, err: "not measured"}
}

func (t target) met() bool {
	if t.least > 0 {
		return t.got >= t.least
	}
	return t.got <= t.most
}

func (t target) limit() string {
	if t.least > 0 {
		return "≥ " + fmt.Sprintf(t.format, t.least)
	}
	return "≤ " + fmt.Sprintf(t.format, t.most)
}

func cores() int { return runtime.NumCPU() }

const preface = `# Benchmarks

Made by ` + "`make bench`" + `: every figure is the median of %s, of programs measured in turn in the same run on the same
machine. The client and all hosts share its processors, so that what a server needs slows every client: trust ratios,
and processor time more than wall time. *Bare Go* is the floor: a hundred lines on the same ssh library that connect,
check the host key, log in and run the command, and promise nothing.

A server and its workers, on up to 100,000 simulated hosts and on real ones: [benchmarks of a server](benchmarks-server.md).
Three servers beside one, and how long a killed owner is missed: [benchmarks of a cluster](benchmarks-cluster.md).
The page of a job on 10,000 hosts, in a browser: [benchmarks of the web UI](benchmarks-ui.md).
Versions of an application, beside rsync, tar, Ansible and Capistrano: [benchmarks of releases](benchmarks-releases.md).

`

// ofReleases is the preface of the page about releases, which is one of its own.
const ofReleases = `# Benchmarks of releases

Made by ` + "`make bench-releases`" + `: every figure is the median of %s, of programs measured in turn in the same run on the
same machine. The client and all hosts share its processors: trust ratios and bytes more than seconds. Other figures are in
[benchmarks](benchmarks.md).

`

const whyMissed = `
Why some are missed: with the target protocol a host starts some eight small programs (mkdir, mkfifo, sync, two cat, rm,
rmdir) and as many shells around the command, so that it runs at most once, outlives the link and can be killed whole.
That is about 15 ms of the host's processor, which here is the client's, too; a fleet pays it side by side, and
` + "`--read-only`" + ` does without. A copy is written to the disk and proved there; ` + "`ssh cat`" + `, scp and clush leave it in the
page cache. Half of the memory of open connections is buffers and stacks of the ssh library.
`

func (p *page) markdown() string {
	var b strings.Builder
	rounds := fmt.Sprintf("%d rounds", p.options.rounds)
	if p.options.rounds == 1 {
		rounds = "one round"
	}
	head := preface
	if p.options.only == "releases" {
		head = ofReleases
	}
	fmt.Fprintf(&b, head, rounds)
	b.WriteString("| machine | |\n| --- | --- |\n")
	for _, f := range p.machine {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.value)
	}
	p.writeTargets(&b)
	for _, s := range p.sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		s.writeTo(&b)
	}
	return b.String()
}

func (s section) writeTo(b *strings.Builder) {
	b.WriteString(s.about + "\n")
	for _, n := range s.notes {
		fmt.Fprintf(b, "\n%s\n", n)
	}
	for _, t := range s.tables {
		t.writeTo(b)
	}
}

// piece is what another page takes over: the targets, and the text of the sections.
func (p *page) piece() string {
	type aim struct {
		What, Shall, Is string
		Met             bool
	}
	out := struct {
		Aims []aim
		Text string
	}{}
	var b strings.Builder
	for _, s := range p.sections {
		for _, t := range s.targets {
			out.Aims = append(out.Aims, aim{t.what, t.limit(), fmt.Sprintf(t.format, t.got), t.met()})
		}
		s.writeTo(&b)
	}
	out.Text = b.String()
	text, _ := json.Marshal(out)
	return string(text)
}

// writeTargets says what was met and what was missed.
func (p *page) writeTargets(b *strings.Builder) {
	head, missed := false, false
	for _, s := range p.sections {
		for _, t := range s.targets {
			if !head {
				b.WriteString("\n## Targets\n\n| what | target | measured | |\n| --- | --- | --- | --- |\n")
				head = true
			}
			verdict := "met"
			if !t.met() {
				verdict, missed = "**missed**", true
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", t.what, t.limit(), fmt.Sprintf(t.format, t.got), verdict)
		}
	}
	if missed && p.options.only != "releases" {
		b.WriteString(whyMissed)
	}
}

func (t table) writeTo(b *strings.Builder) {
	b.WriteString("\n| " + t.caption)
	for _, c := range t.columns {
		b.WriteString(" | " + c.title)
	}
	b.WriteString(" |\n|" + strings.Repeat(" --- |", len(t.columns)+1) + "\n")
	for _, r := range t.results {
		b.WriteString("| " + r.name)
		for i, c := range t.columns {
			switch {
			case r.ok() && t.results[0].ok():
				b.WriteString(" | " + c.show(r, t.results[0]))
			case i == 0 && r.err != "":
				b.WriteString(" | not measured: " + r.err)
			default:
				b.WriteString(" | ")
			}
		}
		b.WriteString(" |\n")
	}
}

func ratio(a, b time.Duration) string { return fmt.Sprintf("%.2f", a.Seconds()/b.Seconds()) }

func percent(a, b time.Duration) string {
	return fmt.Sprintf("%.0f %%", 100*a.Seconds()/b.Seconds())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func perHost(d time.Duration, hosts int) string {
	return fmt.Sprintf("%.2f", d.Seconds()*1000/float64(hosts))
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) }
