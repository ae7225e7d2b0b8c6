package trouble

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// atSysinfoEhdr is the entry of the auxiliary vector that says where the vDSO is, and atIgnore what is to be passed over.
const (
	atNull        = 0
	atIgnore      = 1
	atSysinfoEhdr = 33
)

// blind waits until a process that is traced has become its program, and takes from it where the page is that tells the
// time without the kernel. It is called by the thread that started the process.
func blind(pid int) error {
	var s syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &s, unix.WALL, nil); err != nil {
			if err == syscall.EINTR {
				continue
			}
			return fmt.Errorf("the program does not begin: %w", err)
		}
		if s.Exited() || s.Signaled() {
			return fmt.Errorf("%w: the program said why on its standard error", ErrUnavailable)
		}
		if s.StopSignal() == syscall.SIGTRAP {
			break
		}
		if err := syscall.PtraceCont(pid, int(s.StopSignal())); err != nil { // a signal that the runtime sent itself
			return err
		}
	}
	if err := hideClock(pid); err != nil {
		return err
	}
	return syscall.PtraceDetach(pid)
}

// hideClock changes the entry. The stack begins with the number of arguments; then come the arguments, a zero, the
// environment, a zero, and the vector.
func hideClock(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	at, err := strconv.ParseUint(fields[25], 10, 64) // startstack
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	word := func() (v uint64, err error) {
		var b [8]byte
		_, err = mem.ReadAt(b[:], int64(at))
		at += 8
		return binary.NativeEndian.Uint64(b[:]), err
	}
	args, err := word()
	if err != nil {
		return err
	}
	at += 8 * (args + 1)
	for v := uint64(1); v != 0; {
		if v, err = word(); err != nil {
			return err
		}
	}
	for {
		key, err := word()
		if err != nil || key == atNull {
			return fmt.Errorf("%w: the program has no such page, %w", ErrUnavailable, err)
		}
		if key == atSysinfoEhdr {
			var b [8]byte
			binary.NativeEndian.PutUint64(b[:], atIgnore)
			_, err := mem.WriteAt(b[:], int64(at-8))
			return err
		}
		if _, err := word(); err != nil {
			return err
		}
	}
}
