package app

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/internal/run/control"
)

// guard keeps other processes of the same user, and core files, from reading the memory of a process that holds
// secrets. It is best effort: root can always read it, and so can whoever owns the kernel.
func guard(s control.Secrets) error {
	if !s.Any() {
		return nil
	}
	return closeMemory()
}

// closeMemory does so for this process, for good.
func closeMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("protecting the memory of this process: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core files: %w", err)
	}
	return nil
}

// hold copies a secret into pages that are neither swapped nor in core files, where this machine has some to spare, and
// wipes what it was given. release gives the pages back.
func hold(s sluice.Secret) (held sluice.Secret, release func()) {
	text := s.Reveal()
	pages, err := unix.Mmap(-1, 0, max(len(text), 1), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return s, func() {}
	}
	_ = unix.Mlock(pages) // best effort: there is a limit to it
	_ = unix.Madvise(pages, unix.MADV_DONTDUMP)
	n := copy(pages, text)
	s.Wipe()
	return sluice.NewSecret(pages[:n:n]), func() {
		clear(pages)
		_ = unix.Munmap(pages)
	}
}
