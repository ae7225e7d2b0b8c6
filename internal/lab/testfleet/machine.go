package testfleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// machine is an isolated host between power on and power off, and what stays in between: its disk and its cable.
type machine struct {
	control *control
	index   int
	config  HostConfig

	mu    sync.Mutex // held while it boots, is killed, and its cable is changed
	boots int
	run   *boot // nil if it never ran
	cable cable
	log   logBook
}

// cable is the state of the connection to the bridge.
type cable struct {
	unplugged bool
	lost      Direction
}

// boot is one run of a machine.
type boot struct {
	port  string      // our end of its cable
	first *os.Process // process 1
	ended chan struct{}
}

func (b *boot) up() bool {
	if b == nil {
		return false
	}
	select {
	case <-b.ended:
		return false
	default:
		return true
	}
}

// disk is the path of something on the host's disk.
func (m *machine) disk(elem string) string {
	return m.control.path(strconv.Itoa(m.index+1), elem)
}

func (m *machine) boot(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run.up() {
		return errors.New("it is up already")
	}
	m.boots++
	if err := m.prepare(); err != nil {
		return err
	}
	port := fmt.Sprintf("h%db%d", m.index+1, m.boots)
	b := &boot{port: port, ended: make(chan struct{})}
	cmd := m.command(name, port)
	cmd.Stdin = strings.NewReader(strings.Join(m.cable.portLines(port), "\n") + "\n")
	cmd.Stderr = &m.log
	heard := m.log.listen()
	if err := cmd.Start(); err != nil {
		m.log.stop()
		return err
	}
	go func() {
		defer close(b.ended)
		// How it ended is told by what it said: a killed machine and one that failed to boot end alike.
		_ = cmd.Wait()
	}()
	err := m.await(ctx, b, heard)
	if err != nil {
		_ = cmd.Process.Kill()
		if b.first != nil {
			_ = b.first.Kill()
		}
		<-b.ended
		return err
	}
	m.run = b
	return nil
}

// await waits until the server listens. Only who knows process 1 can end it, so it says at first who it is, and that is waited for in any
// case.
func (m *machine) await(ctx context.Context, b *boot, heard <-chan string) error {
	defer m.log.stop()
	for {
		var gone <-chan struct{}
		if b.first != nil {
			gone = ctx.Done()
		}
		select {
		case <-gone:
			return context.Cause(ctx)
		case <-b.ended:
			return fmt.Errorf("it did not boot:\n%s", m.log.text())
		case line := <-heard:
			if pid, ok := strings.CutPrefix(line, "testfleet: pid "); ok {
				n, err := strconv.Atoi(pid)
				if err != nil {
					return fmt.Errorf("process 1 says %q: %w", line, err)
				}
				if b.first, err = os.FindProcess(n); err != nil {
					return err
				}
			}
			if strings.HasPrefix(line, "Server listening on ") && b.first != nil {
				return nil
			}
		}
	}
}

// prepare writes what the next boot needs.
func (m *machine) prepare() error {
	work := fmt.Sprintf("work%d", m.boots)
	if err := os.RemoveAll(m.disk(fmt.Sprintf("work%d", m.boots-1))); err != nil {
		return err
	}
	if err := os.Mkdir(m.disk(work), 0o700); err != nil {
		return err
	}
	disk, root := fmt.Sprintf("%s/%d", place, m.index+1), place+"/root"
	var b strings.Builder
	fmt.Fprintf(&b, "overlay %s overlay lowerdir=%s/image:/,upperdir=%s/upper,workdir=%s/%s,index=off 0 0\n", root, place, disk, disk, work)
	fmt.Fprintf(&b, "proc %s/proc proc defaults 0 0\nsysfs %s/sys sysfs ro 0 0\n", root, root)
	fmt.Fprintf(&b, "run %s/run tmpfs mode=755,size=8m 0 0\nshm %s/dev/shm tmpfs mode=1777,size=8m 0 0\n", root, root)
	fmt.Fprintf(&b, "devpts %s/dev/pts devpts newinstance,ptmxmode=666,mode=620,gid=5 0 0\n", root)
	if m.config.ReadOnlyHome {
		for _, home := range []string{"/root", "/home/" + Deploy} {
			fmt.Fprintf(&b, "%s%s %s%s none bind,ro 0 0\n", root, home, root, home)
		}
	}
	if m.config.NewBootID {
		id := fmt.Sprintf("%s/boot_id.%d.%d", place, m.index+1, m.boots)
		if err := os.WriteFile(m.control.path(strings.TrimPrefix(id, place)), []byte(newBootID()), 0o444); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s/proc/sys/kernel/random/boot_id none bind 0 0\n", id, root)
	}
	return os.WriteFile(m.control.path(fmt.Sprintf("fstab.%d.%d", m.index+1, m.boots)), []byte(b.String()), 0o644)
}

// newBootID is a random UUID, as the kernel makes it.
func newBootID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x\n", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (m *machine) command(name, port string) *exec.Cmd {
	args := append(m.control.enter(), "unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--",
		"/bin/sh", place+"/init", strconv.Itoa(m.index+1), strconv.Itoa(m.boots), name, hostIP(m.index), hostMAC(m.index),
		gateway, m.cable.gatewayMAC(), m.control.ns("net"), port)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = machineEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// kill ends process 1, and with it, by the kernel, all others; the cable goes with the card.
func (m *machine) kill(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.run.up() {
		return ErrDown
	}
	if err := m.run.first.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.run.ended:
	case <-ctx.Done():
		return fmt.Errorf("its processes do not end: %w", context.Cause(ctx))
	}
	// The kernel removes the network later. Until then the old port would get what is meant for the new one. It may do so
	// just now: before ip looks for the port, or behind that.
	err := m.control.ip(ctx, "link del "+m.run.port)
	if err != nil && (strings.Contains(err.Error(), "Cannot find device") || strings.Contains(err.Error(), "No such device")) {
		return nil
	}
	return err
}

// wait returns when no process of the host is left.
func (m *machine) wait() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run != nil {
		<-m.run.ended
	}
}

// inside returns a command line that runs in all namespaces of the running host.
func (m *machine) inside(argv ...string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.run.up() {
		return nil, ErrDown
	}
	return append([]string{"nsenter", "--target=" + strconv.Itoa(m.run.first.Pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}, argv...), nil
}

// root is the path of the running host's root directory.
func (m *machine) root() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.run.up() {
		return "", ErrDown
	}
	return fmt.Sprintf("/proc/%d/root", m.run.first.Pid), nil
}

// say does something and waits until the host's log has a line that begins with answer.
func (m *machine) say(ctx context.Context, answer string, do func() error) error {
	m.mu.Lock()
	run := m.run
	m.mu.Unlock()
	if !run.up() {
		return ErrDown
	}
	heard := m.log.listen()
	defer m.log.stop()
	if err := do(); err != nil {
		return err
	}
	for {
		select {
		case line := <-heard:
			if strings.HasPrefix(line, answer) {
				return nil
			}
		case <-run.ended:
			return ErrDown
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
