package configfiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// passed are the variables that programs get of our environment. Tokens and agents of the user are not among them.
var passed = [...]string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"}

const (
	errorTail = 2 << 10         // bytes of a program's error output that are told
	drain     = 2 * time.Second // that the output may stay open after the program has been ended
)

var errTooMuch = errors.New("too much output")

// program is a program that is given something and answers.
type program struct {
	timeout   time.Duration
	limit     int64
	dir       string
	words     []string
	variables []string
	stdin     []byte
}

// run returns what the program prints. Another exit status than 0, too much output and too much time are errors; its process
// group is ended with it in any case.
func (p program) run(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("it took more than %s", p.timeout))
	defer cancel()
	ctx, tooMuch := context.WithCancelCause(ctx)
	defer tooMuch(nil)

	cmd := exec.CommandContext(ctx, p.words[0], p.words[1:]...)
	out := &head{limit: p.limit, over: func() { tooMuch(errTooMuch) }}
	var problems tail
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.dir, append(environment(), p.variables...), bytes.NewReader(p.stdin), out, &problems
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = drain
	err := cmd.Run()
	if cmd.Process != nil {
		_ = killGroup(cmd) // what it left behind must not outlive the question
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errTooMuch):
		return nil, fmt.Errorf("it printed more than %d bytes", p.limit)
	case cause != nil && err != nil:
		return nil, fmt.Errorf("it was ended: %w%s", cause, problems.told())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, errors.New("it ended, but something it started keeps its output open")
	case errors.Is(err, syscall.EPIPE): // it does not read what it is given, and has answered
		return out.b, nil
	case err != nil:
		var e *exec.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, fmt.Errorf("%w%s", plain(err), problems.told())
	}
	return out.b, nil
}

// killGroup ends the program and all that it has started and that has not left its process group.
func killGroup(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func environment() []string {
	env := make([]string, 0, len(passed))
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// head keeps what is written, and says when it is too much.
type head struct {
	b     []byte
	limit int64
	over  func()
}

func (h *head) Write(p []byte) (int, error) {
	if int64(len(h.b)+len(p)) > h.limit {
		h.over()
		return 0, errTooMuch
	}
	h.b = append(h.b, p...)
	return len(p), nil
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-errorTail):]...)
	if extra := len(t.b) - errorTail; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

// told is the text for an error, in one line and without control characters: it comes from outside and goes to a terminal.
func (t *tail) told() string {
	words := strings.Fields(strings.ToValidUTF8(string(t.b), "?"))
	text := strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r <= 0x9f || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			return '?'
		}
		return r
	}, strings.Join(words, " "))
	if text == "" {
		return ""
	}
	return ": " + text
}
