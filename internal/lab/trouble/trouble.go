package trouble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is what a call does.
type Kind string

// Calls that rules are asked about.
const (
	Sync  Kind = "sync"  // fsync and fdatasync
	Write Kind = "write" // at a place of a file
)

// Call is a system call that waits for an answer.
type Call struct {
	PID   int
	Kind  Kind
	Path  string // of the file, "" where it cannot be found out
	Bytes int64  // that are to be written
}

// Rule says what becomes of a call: it waits, and then fails, or passes where errno is 0. It is called from several
// goroutines.
type Rule func(Call) (wait time.Duration, errno syscall.Errno)

// ErrUnavailable says that this kernel, or who watches over this process, does not let it.
var ErrUnavailable = errors.New("system calls cannot be handed over here")

// Trouble is what goes wrong with one program. It is used for one start.
type Trouble struct {
	// Clock has the program ask for every look at its wall clock, so that [Trouble.SetClock] works. It gets on more slowly.
	Clock bool

	ctx      context.Context
	stop     func()
	listener int
	wake     *os.File // closed to end the reading
	done     sync.WaitGroup
	rule     atomic.Pointer[Rule]
	ahead    atomic.Int64
}

// Start starts a command with its troubles. Everything about the command is the caller's, but for its first extra file.
// Close is to be called when it has ended.
func (t *Trouble) Start(cmd *exec.Cmd) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "trouble"), os.NewFile(uintptr(pair[1]), "trouble")
	defer func() { _ = ours.Close() }()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, pathVar+"="+cmd.Path)
	if t.Clock {
		cmd.Env = append(cmd.Env, clockVar+"=1")
	}
	cmd.Path = self
	cmd.ExtraFiles = append([]*os.File{theirs}, cmd.ExtraFiles...)
	runtime.LockOSThread() // who starts a process is who traces it
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return err
	}
	t.listener, err = receive(pair[0])
	if err == nil && t.Clock {
		err = blind(cmd.Process.Pid)
	}
	if err == nil {
		err = t.serve()
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return err
}

// receive gets the listener, or learns that there is none.
func receive(socket int) (int, error) {
	var b [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	n, cn, _, _, err := unix.Recvmsg(socket, b[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("%w: the program said why on its standard error", ErrUnavailable)
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil {
		return 0, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// SetRule has a rule from now on; nil: none.
func (t *Trouble) SetRule(r Rule) { t.rule.Store(&r) }

func (t *Trouble) ask(c Call) (time.Duration, syscall.Errno) {
	if r := t.rule.Load(); r != nil && *r != nil {
		return (*r)(c)
	}
	return 0, 0
}

// SetClock sets the program's wall clock so far ahead of the true one.
func (t *Trouble) SetClock(ahead time.Duration) { t.ahead.Store(int64(ahead)) }

// Close lets go. What of the program still runs then gets errors from the calls that are handed over.
func (t *Trouble) Close() {
	t.stop()
	_ = t.wake.Close()
	t.done.Wait()
	_ = unix.Close(t.listener)
}

func (t *Trouble) serve() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	t.wake = w
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.done.Go(func() {
		defer func() { _ = r.Close() }()
		for t.waits(int(r.Fd())) {
			n, err := t.next()
			if err != nil {
				continue // who asked is gone
			}
			t.done.Go(func() { t.answer(n) })
		}
	})
	return nil
}

// waits returns true when a call waits, false when there will be none.
func (t *Trouble) waits(wake int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(t.listener), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || fds[1].Revents != 0:
			return false
		case fds[0].Revents&unix.POLLIN != 0:
			return true
		case fds[0].Revents != 0: // nobody is left
			return false
		}
	}
}

// handed and reply are what the kernel reads and writes (struct seccomp_notif and seccomp_notif_resp).
type handed struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type reply struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

func (t *Trouble) next() (n handed, err error) {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(t.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return n, errno
	}
	return n, nil
}

func (t *Trouble) answer(n handed) {
	r := reply{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if n.nr == unix.SYS_CLOCK_GETTIME {
		if t.tellTime(n) == nil {
			r.flags = 0
		}
	} else if wait, errno := t.ask(t.call(n)); wait > 0 || errno != 0 {
		after := time.NewTimer(wait)
		defer after.Stop()
		select {
		case <-after.C:
		case <-t.ctx.Done():
		}
		if errno != 0 {
			r.flags, r.errno = 0, -int32(errno)
		}
	}
	// An error says that who asked is gone.
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, uintptr(t.listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
}

func (t *Trouble) call(n handed) Call {
	c := Call{PID: int(n.pid), Kind: Sync}
	c.Path, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[0])))
	if n.nr == unix.SYS_PWRITE64 {
		c.Kind, c.Bytes = Write, int64(n.args[2])
	}
	return c
}

// tellTime writes the time to where the program wants it.
func (t *Trouble) tellTime(n handed) error {
	now := time.Now().Add(time.Duration(t.ahead.Load()))
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], uint64(now.Unix()))
	binary.NativeEndian.PutUint64(b[8:], uint64(now.Nanosecond()))
	local := []unix.Iovec{{Base: &b[0], Len: 16}}
	_, err := unix.ProcessVMWritev(int(n.pid), local, []unix.RemoteIovec{{Base: uintptr(n.args[1]), Len: 16}}, 0)
	return err
}
