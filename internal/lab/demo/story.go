package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"sluice/internal/lab/testfleet"
)

// story is what is shown: text, and real commands.
type story struct {
	dir, work, program string
	fleet              *testfleet.Fleet
	fast, terminal     bool

	busy, stopping atomic.Bool // a command runs; it shall be the last
}

// tell tells it all.
func (s *story) tell(ctx context.Context) error {
	say := func(text string) step { return func(ctx context.Context) error { return s.say(ctx, text) } }
	run := func(want int, args ...string) step {
		return func(ctx context.Context) error { return s.sluice(ctx, want, args...) }
	}
	var job string // the beginning of the newest job's id
	newest := func(ctx context.Context) (err error) { job, err = s.newest(ctx); return err }
	on := func(want int, verb string, args ...string) step {
		return func(ctx context.Context) error {
			return s.sluice(ctx, want, append([]string{verb, job}, args...)...)
		}
	}
	return steps(ctx,
		say("This is the fleet: 36 web servers and 4 databases in three places, and what must hold whenever they change."),
		func(ctx context.Context) error { return s.shell(ctx, "cat fleet.yaml", strings.TrimSpace(fleetFile)) },

		say("What would an upgrade of all of them do? The worst case is worked out before anything runs."),
		run(0, "plan", "-t", "all"),

		say("Now for real. "+fullHost+" has a full disk, which nobody knows yet."),
		run(1, "run", "-t", "all", "--script", "upgrade.sh", "--", "2.4.1"),
		newest,

		say("One host is out. It keeps its place in $colo.south for every job to come, until it is well again."),
		run(0, "host", "list", "--out"),
		say("What did it say?"),
		on(0, "log", fullHost),

		say("Somebody makes room on its disk. Then it is tried again, and only it."),
		func(context.Context) error { return s.mend() },
		on(0, "retry"),

		say("The next version is bad, on every host. The canaries go first ..."),
		run(3, "run", "-t", "all", "--script", "upgrade.sh", "--", "2.5.0"),
		newest,
		say("... and no further: 37 hosts were not touched. Every host that waits can say why."),
		func(ctx context.Context) error { return s.sluice(ctx, 0, "why", job, "web02") },

		say("So back to the version that was good, on the three hosts that are out; a success puts them into service."),
		run(0, "run", "-t", "$canary", "--yes", "--script", "upgrade.sh", "--", "2.4.1"),
		run(0, "host", "list", "--out"),
		say("All of it is on record."),
		run(0, "jobs", "--all"),
		say("That was the demonstration. The fleet is gone, nothing is left. README.md goes on."),
	)
}

// record carries the rollout out once.
func (s *story) record(ctx context.Context, file string) error {
	return s.exec(ctx, 1, "run", "-t", "all", "--record", file, "--script", "upgrade.sh", "--", "2.4.1")
}

// step is a part of the story.
type step func(context.Context) error

func steps(ctx context.Context, all ...step) error {
	for _, do := range all {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) running() bool { return s.busy.Load() }

// say prints a text and gives the reader time.
func (s *story) say(ctx context.Context, text string) error {
	if s.terminal {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Printf("\n%s\n", text)
	return s.wait(ctx, 1800*time.Millisecond)
}

func (s *story) wait(ctx context.Context, d time.Duration) error {
	if s.fast || !s.terminal {
		d = 0
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// shell shows a command of the shell and what it prints.
func (s *story) shell(ctx context.Context, command, output string) error {
	s.prompt(command)
	fmt.Println(output)
	return s.wait(ctx, 3500*time.Millisecond)
}

func (s *story) prompt(command string) { fmt.Printf("\n$ %s\n", command) }

// sluice shows and runs the program, which must end with the status.
func (s *story) sluice(ctx context.Context, want int, args ...string) error {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; strings.ContainsAny(a, "$ ") {
			words[i] = "'" + a + "'"
		}
	}
	s.prompt("sluice " + strings.Join(words, " "))
	if err := s.exec(ctx, want, args...); err != nil {
		return err
	}
	return s.wait(ctx, 1500*time.Millisecond)
}

func (s *story) exec(ctx context.Context, want int, args ...string) error {
	cmd := s.command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	s.busy.Store(true)
	err := cmd.Run()
	s.busy.Store(false)
	switch {
	case s.stopping.Load():
		return errStopped
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return ended(cmd, err, want)
}

// ended checks the exit status: a demonstration that shows something else than it says is broken.
func ended(cmd *exec.Cmd, err error, want int) error {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("sluice %s ended with %d, expected %d", strings.Join(cmd.Args[1:], " "), got, want)
	}
	return nil
}

func (s *story) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := s.fleet.Command(ctx, s.program, args...)
	cmd.Dir = s.work
	cmd.Env = append(cmd.Env, "SLUICE_FLEET=fleet.yaml")
	for _, name := range []string{"TERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

// newest is what the newest job may be called.
func (s *story) newest(ctx context.Context) (string, error) {
	out, err := s.command(ctx, "-o", "json", "jobs").Output()
	if err != nil {
		return "", fmt.Errorf("listing the jobs: %w", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	var j struct{ Job string }
	if err := json.Unmarshal([]byte(first), &j); err != nil || len(j.Job) < 5 {
		return "", fmt.Errorf("listing the jobs: %q is no job (%w)", first, err)
	}
	return j.Job[:5], nil
}

// mend makes room on the disk.
func (s *story) mend() error {
	_, err := s.fleet.Host(fullHost).Exec(context.Background(), "rm ~/disk-is-full")
	return err
}
