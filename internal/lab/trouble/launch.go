package trouble

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Variables by which the process that becomes the program knows what to do before.
const (
	pathVar  = "SLUICE_TROUBLE_PROGRAM"
	clockVar = "SLUICE_TROUBLE_CLOCK"
	socketFD = 3
)

// Launch is called first in the main of a program that calls [Trouble.Start], such as TestMain. It does nothing but in the process
// that Start made: there it arranges for the troubles, and becomes the program.
func Launch() {
	if os.Getenv(pathVar) == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "trouble:", launch())
	os.Exit(127)
}

func launch() error {
	runtime.LockOSThread() // the filter and the tracing are this thread's, and so the program's
	path, clock := os.Getenv(pathVar), os.Getenv(clockVar) != ""
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	listener, err := install(filter(clock))
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(socketFD, []byte{1}, unix.UnixRights(listener), nil, 0); err != nil {
		return fmt.Errorf("the listener cannot be sent: %w", err)
	}
	_ = unix.Close(socketFD)
	if clock {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PTRACE, syscall.PTRACE_TRACEME, 0, 0); errno != 0 {
			return fmt.Errorf("ptrace: %w", errno)
		}
	}
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, pathVar+"=") && !strings.HasPrefix(v, clockVar+"=") {
			env = append(env, v)
		}
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, os.Args, env))
}

// install puts the filter before the system calls of this thread, and returns who hears of them.
func install(f []unix.SockFilter) (int, error) {
	p := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	// Killable: once a call is handed over, signals do not begin it anew; Go sends itself many.
	fd, _, errno := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return 0, fmt.Errorf("seccomp, which wants Linux 5.19: %w", errno)
	}
	return int(fd), nil
}

// Places in what the filter looks at (struct seccomp_data).
const (
	numberAt   = 0
	argumentAt = 16 // the low half of the first one
)

// filter hands over syncs and writes at a place of a file, and with clock also questions for the wall clock.
func filter(clock bool) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	is := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	f := []unix.SockFilter{load(numberAt)}
	for _, nr := range []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_PWRITE64} {
		f = append(f, is(nr, 0, 1), answer(unix.SECCOMP_RET_USER_NOTIF))
	}
	if clock {
		f = append(f, is(unix.SYS_CLOCK_GETTIME, 0, 3), load(argumentAt), is(unix.CLOCK_REALTIME, 0, 1), answer(unix.SECCOMP_RET_USER_NOTIF))
	}
	return append(f, answer(unix.SECCOMP_RET_ALLOW))
}
