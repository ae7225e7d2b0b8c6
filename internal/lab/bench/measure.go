package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// program is a command line that is measured.
type program struct {
	name string
	argv []string
	env  []string // added to that of the lab
	// journal says that each run gets a journal of its own, as the first run of a person does.
	journal bool
	// after looks at what it has done, and undoes it; it may be nil.
	after func(context.Context) error
	// within gives the process that runs it, where that is not here.
	within func(argv []string) *exec.Cmd
}

// child is a program under a reaper.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	report *json.Decoder
	pipe   *os.File
	errs   bytes.Buffer
}

// start starts a program under a reaper. The end of the context ends it, with all that it started.
func (l *lab) start(ctx context.Context, p program) (*child, error) {
	argv := append([]string{l.self, "reap", "-report"}, p.argv...)
	c := &child{cmd: exec.Command(argv[0], argv[1:]...)}
	if p.within != nil {
		c.cmd = p.within(argv)
	}
	c.cmd.Env = append(slices.Clone(l.env), p.env...)
	if p.journal {
		l.runs++
		c.cmd.Env = append(c.cmd.Env, "XDG_STATE_HOME="+l.path("state", strconv.Itoa(l.runs)))
	}
	c.cmd.Stderr = &c.errs
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.in, c.pipe, c.report = in, r, json.NewDecoder(r)
	c.cmd.ExtraFiles = []*os.File{w} // the descriptor reportFD
	err = c.cmd.Start()
	_ = w.Close()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	context.AfterFunc(ctx, func() { _ = in.Close() })
	return c, nil
}

// usage asks for what was used so far.
func (c *child) usage() (u usage, err error) {
	if _, err = io.WriteString(c.in, "?\n"); err == nil {
		err = c.report.Decode(&u)
	}
	if err != nil {
		err = fmt.Errorf("%s does not answer: %w: %s", c.cmd.Args[0], err, c.said())
	}
	return u, err
}

// wait returns the usage of a program that has ended.
func (c *child) wait() (u usage, err error) {
	for !u.Ended && err == nil {
		err = c.report.Decode(&u)
	}
	return u, errors.Join(err, c.end())
}

// end ends it, if it has not.
func (c *child) end() error {
	_ = c.in.Close()
	_ = c.pipe.Close()
	var exit *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// said is the end of what it wrote to its standard error.
func (c *child) said() string {
	s := strings.TrimSpace(c.errs.String())
	return s[max(0, len(s)-600):]
}

// timeLimit is for one program in one round.
const timeLimit = 10 * time.Minute

// run measures a program that must succeed.
func (l *lab) run(ctx context.Context, p program) (usage, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	c, err := l.start(ctx, p)
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w", p.name, err)
	}
	u, err := c.wait()
	switch {
	case ctx.Err() != nil:
		return u, fmt.Errorf("%s: %w", p.name, ctx.Err())
	case err != nil:
		return u, fmt.Errorf("%s: %w", p.name, err)
	case u.Status != 0:
		return u, fmt.Errorf("%s ended with %d: %s", p.name, u.Status, c.said())
	}
	return u, nil
}

// result is the median of several measurements of one program.
type result struct {
	name   string
	hosts  int
	wall   time.Duration
	cpu    time.Duration // of the client
	server time.Duration // of sshd and what it started
	memory int64
	sent   int64  // bytes that left the client; only where that is measured
	err    string // why there are no figures
}

// sample is one measurement.
type sample struct{ client, server usage }

func summarise(name string, hosts int, samples []sample) result {
	return result{name: name, hosts: hosts,
		wall:   median(samples, func(s sample) time.Duration { return s.client.Wall }),
		cpu:    median(samples, func(s sample) time.Duration { return s.client.CPU }),
		server: median(samples, func(s sample) time.Duration { return s.server.CPU }),
		memory: median(samples, func(s sample) int64 { return s.client.Memory }),
	}
}

func median[S any, T int64 | time.Duration](samples []S, of func(S) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}

// compare measures programs in turn, round by round. A program that is not installed, or fails, has no figures.
func (l *lab) compare(ctx context.Context, hosts, rounds int, programs []program) ([]result, error) {
	programs = slices.DeleteFunc(programs, func(p program) bool {
		ours := p.argv[0] == l.self || p.argv[0] == l.sluice()
		return !ours && l.skip != "" && strings.Contains(p.name, l.skip)
	})
	samples := make([][]sample, len(programs))
	results := make([]result, len(programs))
	for round := range rounds {
		for i, p := range programs {
			if results[i].err != "" {
				continue
			}
			say("%d hosts, round %d of %d: %s", hosts, round+1, rounds, p.name)
			s, err := l.sample(ctx, p)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				say("%v", err)
				results[i].err = shortly(err)
				continue
			}
			samples[i] = append(samples[i], s)
		}
	}
	for i, p := range programs {
		if results[i].err == "" {
			results[i] = summarise(p.name, hosts, samples[i])
		}
		results[i].name, results[i].hosts = p.name, hosts
	}
	return results, nil
}

func (l *lab) sample(ctx context.Context, p program) (s sample, err error) {
	if _, err := exec.LookPath(p.argv[0]); err != nil {
		return s, fmt.Errorf("%s is not installed", p.argv[0])
	}
	before, err := l.serverRests(ctx)
	if err != nil {
		return s, err
	}
	if s.client, err = l.run(ctx, p); err != nil {
		return s, err
	}
	if p.after != nil {
		if err := p.after(ctx); err != nil {
			return s, fmt.Errorf("%s did not do what it should: %w", p.name, err)
		}
	}
	after, err := l.serverRests(ctx)
	s.server.CPU = after.CPU - before.CPU
	return s, err
}

// shortly is the first line of an error, for the table, without paths of this machine.
func shortly(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if i := strings.Index(text, ": "); i >= 0 && !strings.HasSuffix(text, "installed") {
		text = text[:i]
	}
	return text
}
