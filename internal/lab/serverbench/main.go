// Program serverbench measures a server on simulated hosts, and writes a page of what it found. Each part has processes of
// its own, on this machine: hosts, server, workers and clients share its processors. A part that fails or takes too long
// is named on the page, and the others go on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	write   string
	only    string
	large   int
	profile string
	program string        // the program itself, on simulated hosts
	ui      time.Duration // how long the page of a job is looked at, and nothing else measured; 0: it is not
	cluster int           // how often the owner of a cluster's log is killed, and nothing else but clusters measured; 0: it is not
}

// part is what is measured together.
type part struct {
	name  string
	limit time.Duration
	run   func(*lab) (section, error)
}

func main() {
	if err := benchmark(); err != nil {
		fmt.Fprintln(os.Stderr, "serverbench:", err)
		os.Exit(1)
	}
}

func benchmark() error {
	var o options
	flag.StringVar(&o.write, "write", "", "`file` for the page; standard output if empty")
	flag.StringVar(&o.only, "only", "", "only the parts with this `text` in their name")
	flag.IntVar(&o.large, "large", 100_000, "hosts of the largest job")
	flag.StringVar(&o.profile, "profile", "", "`HOST:PORT` at which servers can be profiled")
	flag.DurationVar(&o.ui, "ui", 0, "measure the web UI alone, for so `long`")
	flag.IntVar(&o.cluster, "cluster", 0, "measure clusters alone, and kill the owner so `often`")
	flag.Parse()
	dir, err := os.MkdirTemp("", "serverbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.program = filepath.Join(dir, "simulated")
	if out, err := exec.Command("go", "build", "-o", o.program, "sluice/internal/lab/simulated").CombinedOutput(); err != nil {
		return fmt.Errorf("building the program (this runs from a checkout): %w: %s", err, out)
	}
	var failed []string
	p := page{preface: preface, load: loadNow(), began: time.Now()}
	parts := []part{
		{"soon", 3 * time.Minute, soon}, {"killed", 3 * time.Minute, killed}, {"jobs", 6 * time.Minute, jobs}, {"watched", 4 * time.Minute, watched},
		{"rest", 2 * time.Minute, rest}, {"appends", 2 * time.Minute, appends}, {"over run", 10 * time.Minute, overRun},
		{"huge", 6 * time.Minute, func(l *lab) (section, error) { return huge(l, o.large) }},
	}
	if o.ui > 0 {
		p.preface = prefaceUI
		parts = []part{{"ui", o.ui + 3*time.Minute, func(l *lab) (section, error) { return ui(l, o.ui) }}}
	}
	if o.cluster > 0 {
		p.preface = prefaceCluster
		parts = []part{
			{"shared appends", 4 * time.Minute, sharedAppends}, {"shared jobs", 15 * time.Minute, sharedJobs},
			{"owner killed", time.Duration(o.cluster) * time.Minute, func(l *lab) (section, error) { return ownerKilled(l, o.cluster) }},
		}
	}
	for _, part := range parts {
		if !strings.Contains(part.name, o.only) {
			continue
		}
		say("%s", part.name)
		s, err := measure(o, part)
		if err != nil {
			say("%s: %v", part.name, err)
			failed = append(failed, part.name)
			s.notes = append(s.notes, "**Not all of it was measured:** "+shortly(err)+".")
		}
		p.sections = append(p.sections, s)
	}
	text := p.markdown()
	if o.write == "" {
		fmt.Print(text)
	} else if err := os.WriteFile(o.write, []byte(text), 0o644); err != nil {
		return err
	}
	if len(failed) > 0 {
		return errors.New("these parts failed, and the page says so: " + strings.Join(failed, ", "))
	}
	return nil
}

// measure runs one part. What takes too long is ended.
func measure(o options, p part) (section, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.limit)
	defer cancel()
	l, err := newLab(ctx, o.program, o.profile)
	if err != nil {
		return section{title: p.name}, err
	}
	defer l.close()
	s, err := p.run(l)
	if err != nil {
		if ctx.Err() != nil {
			err = errLate
		}
		say("its processes said: %s", l.said())
	}
	return s, err
}

// shortly is the first line of an error, for the page, without paths of this machine.
func shortly(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(text, os.TempDir(), "")
}

// say tells who waits how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "serverbench: "+format+"\n", args...) }
