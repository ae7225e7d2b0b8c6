package app

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sluice/internal/run/control"
)

// guard keeps other processes of the same user, and core files, from reading the memory of a process that holds
// secrets. It is best effort: root can always read it, and so can whoever owns the kernel.
func guard(s control.Secrets) error {
	if !s.Password.Set() && !s.Sudo.Set() && !s.Passphrase.Set() {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("protecting the memory of this process: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core files: %w", err)
	}
	return nil
}
