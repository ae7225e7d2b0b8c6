package testfleet

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed control.sh
var controlScript string

//go:embed init.sh
var initScript string

// place is where the control process keeps everything, in its own mount namespace.
const place = "/tmp"

// closeWithin is how long the end of a fleet may take before it is an error.
const closeWithin = 20 * time.Second

// control is the control process and the namespaces that live as long as it does.
type control struct {
	cmd    *exec.Cmd
	life   *os.File // the life line; closing it ends everything
	net    *os.File // the network namespace
	keeper int      // first process of the process namespace that holds those of the hosts
	stderr *bytes.Buffer
}

// startControl starts the control process. network is text for "ip -batch", sizes are those of the hosts' disks.
func startControl(ctx context.Context, dir, network string, sizes []int64) (*control, error) {
	args := []string{"-c", controlScript, "control.sh", strconv.Itoa(os.Getpid()), dir}
	for _, s := range sizes {
		args = append(args, strconv.FormatInt(s, 10))
	}
	c := &control{cmd: exec.Command("/bin/sh", args...), stderr: &bytes.Buffer{}}
	c.cmd.Env = machineEnv()
	c.cmd.Stderr = c.stderr
	// A session of its own: an interrupt at the terminal must not end it before it has ended the others.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stdin, c.life = in, out
	answer, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	_ = in.Close()
	if err != nil {
		_ = c.life.Close()
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSPC) {
			return nil, fmt.Errorf("%w: new namespaces are refused here: %w", ErrUnavailable, err)
		}
		return nil, fmt.Errorf("starting the control process: %w", err)
	}
	if err := c.greet(ctx, network, answer); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// greet sends the network and reads the answer.
func (c *control) greet(ctx context.Context, network string, answer io.Reader) error {
	stop := context.AfterFunc(ctx, func() { _ = c.life.Close() })
	defer stop()
	if _, err := io.WriteString(c.life, network+"\n"); err != nil {
		return fmt.Errorf("the control process takes no orders: %w", err)
	}
	line, err := bufio.NewReader(answer).ReadString('\n')
	if err == nil {
		c.keeper, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		_ = c.life.Close()
		_ = c.cmd.Wait() // for the end of stderr
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: the control process could not set up its namespaces: %s", ErrUnavailable, c.stderr)
	}
	c.net, err = os.Open(c.ns("net"))
	return err
}

// ns is the path of one of the namespaces of the control process.
func (c *control) ns(kind string) string {
	return fmt.Sprintf("/proc/%d/ns/%s", c.cmd.Process.Pid, kind)
}

// path is where a file of the control process's place is for us.
func (c *control) path(elem ...string) string {
	return filepath.Join(append([]string{fmt.Sprintf("/proc/%d/root", c.cmd.Process.Pid), place}, elem...)...)
}

// enter is the beginning of a command line that runs among the hosts: with the files and the network of the control
// process, and in the namespace that all hosts' processes are in.
func (c *control) enter() []string {
	return []string{"nsenter", "--mount=" + c.ns("mnt"), "--net=" + c.ns("net"), fmt.Sprintf("--pid=/proc/%d/ns/pid", c.keeper), "--"}
}

// ip runs lines of "ip -batch" in the control network.
func (c *control) ip(ctx context.Context, lines ...string) error {
	return ip(ctx, c.ns("net"), lines...)
}

func ip(ctx context.Context, network string, lines ...string) error {
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+network, "--", "ip", "-batch", "-")
	cmd.Env = machineEnv()
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %q: %w: %s", lines, err, bytes.TrimSpace(out))
	}
	return nil
}

// close breaks the life line and waits until everything has ended.
func (c *control) close() error {
	_ = c.life.Close()
	if c.net != nil {
		_ = c.net.Close()
	}
	timer := time.AfterFunc(closeWithin, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	err := c.cmd.Wait()
	if c.cmd.ProcessState != nil && c.cmd.ProcessState.Success() {
		return nil
	}
	return fmt.Errorf("the control process of the test fleet did not end well: %w: %s", err, c.stderr)
}

// machineEnv is the environment of the machinery itself.
func machineEnv() []string { return []string{"PATH=" + searchPath(), "LANG=C"} }
