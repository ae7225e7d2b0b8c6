// Package shell runs lines of the shell on this machine, each as a process group that ends with it: what a line leaves
// behind, and what it runs when it is called off, is killed. So it is when this process is killed itself: a second process in
// the group waits for that.
//
// What leaves the group (setsid, timeout) may outlive a line that ended well, as a daemon does that builds share. Where a line fails, is
// called off, is late or is killed, it is found by a mark in its environment, and killed as well. Nobody can be asked at a terminal.
//
// It knows nothing of what the lines are for.
package shell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// grace is how long a line that is called off may take to end by itself.
const grace = 5 * time.Second

// Line is a line of the shell, and where it runs.
type Line struct {
	Text string
	Dir  string
	Env  []string // all of it
	// Output is given what it prints, on both of its outputs, in the order in which it comes.
	Output io.Writer
	// Timeout ends it; 0: it may take as long as it likes.
	Timeout time.Duration
	// Grace is how long it may take to end when it is called off; 0: 5 s.
	Grace time.Duration
}

// Ended says how a line ended that did not end well.
type Ended struct{ How string }

func (e *Ended) Error() string { return e.How }

// marked is the variable that all have which a line starts.
const marked = "SLUICE_LINE"

// guard waits until whoever has the other end of its input is gone, and kills what has the mark and the group that it leads. It has no
// mark itself.
const guard = `trap '' TERM INT HUP; read x
for e in $(grep -ls -- "$1" /proc/[0-9]*/environ); do e=${e#/proc/}; kill -KILL "${e%/environ}"; done 2>/dev/null
kill -KILL 0`

// unread runs a line that has nothing to read.
const unread = `exec "$0" -c "$1" </dev/null`

// lead starts the guard of a group. stop kills all that is in the group by then.
func lead(mark string) (group int, stop func() error, err error) {
	in, out, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", guard, "sh", mark)
	cmd.Stdin, cmd.SysProcAttr = in, &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // lines can read what it has, and this process may have a token
	if err := errors.Join(cmd.Start(), in.Close()); err != nil {
		return 0, nil, errors.Join(err, out.Close())
	}
	group = cmd.Process.Pid
	return group, func() error {
		err := signal(group, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
		return errors.Join(err, out.Close())
	}, nil
}

// Run runs a line to its end. A line that does not end well, or in time, is an [*Ended]; one that was called off with the
// context is the context's error. When Run returns, nothing of the group is left.
func Run(ctx context.Context, l Line) (err error) {
	if l.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, l.Timeout, &Ended{fmt.Sprintf("took more than %s", l.Timeout)})
		defer cancel()
	}
	if l.Grace == 0 {
		l.Grace = grace
	}
	mark := marked + "=" + rand.Text()
	group, stop, err := lead(mark)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, stop())
		if err != nil || ctx.Err() != nil {
			err = errors.Join(err, killMarked(mark))
		}
	}()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", unread, "/bin/sh", l.Text)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = l.Dir, append(slices.Clip(l.Env), mark), l.Output, l.Output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	// A line that asked somebody at our terminal would be stopped for ever, as it is in the background there. So it gives the terminal up,
	// and is told that there is none. A session of its own would do so, too, but then it could not be in the group of its guard.
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0); err == nil { // else there is none
		defer tty.Close()
		cmd.Stdin, cmd.SysProcAttr.Noctty = tty, true
	}
	cmd.Cancel = func() error { return signal(group, syscall.SIGTERM) }
	cmd.WaitDelay = l.Grace
	return told(ctx, cmd.Run())
}

// told says how a line ended.
func told(ctx context.Context, err error) error {
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and what it left behind had its output open
		return nil
	case errors.As(err, &status) && status.Exited():
		return &Ended{fmt.Sprintf("ended with status %d", status.ExitCode())}
	case errors.As(err, &status):
		return &Ended{fmt.Sprintf("was ended by a signal (%v)", status.Sys().(syscall.WaitStatus).Signal())}
	}
	return err
}

// killMarked kills what has a mark in its environment, and what that starts meanwhile: it looks until there is nothing.
func killMarked(mark string) error {
	for range mostLooks {
		found := false
		dirs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return err
		}
		for _, d := range dirs {
			text, err := os.ReadFile(filepath.Join(d, "environ")) // of others it cannot be read, and the dead have none
			if err != nil || !slices.Contains(strings.Split(string(text), "\x00"), mark) {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(d))
			if err != nil {
				continue
			}
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
		}
		if !found {
			return nil
		}
	}
	return errors.New("what the line started does not end")
}

// mostLooks bounds how often it is looked for what starts others faster than they are killed.
const mostLooks = 1000

// signal signals all that a line has started and that has not left its group.
func signal(group int, s syscall.Signal) error {
	err := syscall.Kill(-group, s)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
