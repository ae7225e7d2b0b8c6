// The benchmark: one run that measures the program side by side with its peers, against real OpenSSH servers, and
// writes a page about it. It starts programs and reads what the kernel says of them; it knows nothing of the inside
// of any of them.
//
// Everything happens in a network of its own, where the loopback is all there is: one sshd serves thousands of
// addresses there, and nobody else can reach it. All that is started ends with it, however it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "reap":
			os.Exit(reap(os.Args[2:]))
		case "bare":
			os.Exit(bare(os.Args[2:]))
		case "answer":
			os.Exit(answer(os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := benchmark(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	write  string // the page; "" is standard output
	quick  bool
	only   string // the parts whose name has this in it
	skip   string // the peers whose name has this in it
	rounds int
	piece  bool // a piece of another page
}

// inside is set in the process that has the network of its own, to the directory of the run.
const inside = "SLUICE_BENCH_DIR"

func benchmark(ctx context.Context) error {
	var o options
	flag.StringVar(&o.write, "write", "", "write the page to this `file`")
	flag.BoolVar(&o.quick, "quick", false, "a few hosts, one round: shows that it works, and nothing else")
	flag.StringVar(&o.only, "only", "", "only the parts with this `text` in their name")
	flag.StringVar(&o.skip, "skip", "", "leave out peers with this `text` in their name, such as ansible")
	flag.IntVar(&o.rounds, "rounds", 3, "measure everything `N` times, in turn, and take the medians")
	flag.BoolVar(&o.piece, "piece", false, "write what was asked for as JSON, for another page")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 {
		return errors.New("usage: bench [-quick] [-only TEXT] [-skip TEXT] [-rounds N] [-write FILE]")
	}
	if o.quick {
		o.rounds = 1
	}
	if dir := os.Getenv(inside); dir != "" {
		return measureAll(ctx, o, dir)
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	return errors.Join(enter(ctx, dir), os.RemoveAll(dir))
}

// enter builds the program and runs this one again in a network of its own.
func enter(ctx context.Context, dir string) error {
	say("building the program")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, "sluice"), "sluice/cmd/sluice")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the program (this runs from a checkout): %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The reaper ends all that is left when the one who measures has ended, or when we have.
	cmd := exec.CommandContext(ctx, self, append([]string{"reap", self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), inside+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	line, life, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdin = line
	cmd.Cancel = life.Close
	cmd.SysProcAttr = ownNetwork()
	err = cmd.Start()
	_ = line.Close()
	if err != nil {
		return fmt.Errorf("no network of its own can be had here: %w", err)
	}
	err = cmd.Wait()
	if e := life.Close(); e != nil && !errors.Is(e, os.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// part is a group of rows that are measured together.
type part struct {
	name  string
	run   func(context.Context, *lab) (section, error)
	apart bool // it is measured only where it is asked for by its name
}

// measureAll measures in the network of its own.
func measureAll(ctx context.Context, o options, dir string) (err error) {
	l, err := newLab(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	p := page{options: o, machine: describe(ctx)}
	for _, part := range []part{
		{name: "fan-out", run: fanOut}, {name: "no fork", run: noFork}, {name: "five steps", run: fiveSteps}, {name: "round trips", run: roundTrips},
		{name: "copy", run: copies}, {name: "releases", run: releases, apart: true}, {name: "releases: configuration", run: configurations, apart: true}, {name: "rehearsal", run: rehearsals}, {name: "through a server", run: throughServer, apart: true},
	} {
		if !strings.Contains(part.name, o.only) || part.apart && (o.only == "" || !strings.HasPrefix(part.name, o.only)) {
			continue
		}
		s, err := part.run(ctx, l)
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted; nothing was written")
		case errors.Is(err, errSkipped):
			s = section{title: s.title, notes: []string{"Not measured: " + err.Error() + "."}}
		case err != nil:
			return fmt.Errorf("%s: %w", part.name, err)
		}
		p.sections = append(p.sections, s)
	}
	text := p.markdown()
	if o.piece {
		text = p.piece()
	}
	if o.write == "" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(o.write, []byte(text), 0o644)
}

var errSkipped = errors.New("not possible here")

// say tells who waits how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
