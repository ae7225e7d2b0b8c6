// Package flockdrivers says which process of this machine drives a job, by locks on files: it is a
// [sluice.Drivers]. It knows nothing of jobs but their ids.
//
// The kernel drops a lock with the process that holds it, so a claim needs no time limit and none that is dead
// stays. The locks are those of open file descriptions (F_OFD_SETLK): like flock's they belong to the open file,
// and other than flock's they can be looked at without being taken. Looking never gets in the way of a claim.
//
// A file may go away between opening and locking it, because its holder or a sweep removed it; a lock on a file
// without a name excludes nobody. So names are made and removed under the lock of the directory: shared to open and
// lock, exclusive to remove. Both take microseconds.
package flockdrivers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sluice"

	"golang.org/x/sys/unix"
)

const suffix = ".lock"

// Drivers are the claims in a directory. It is safe for concurrent use, also by several processes.
type Drivers struct{ dir string }

var _ sluice.Drivers = (*Drivers)(nil)

// New keeps claims in dir, which it makes if it is missing, for this user alone. What dead processes have left
// there is removed.
func New(dir string) (*Drivers, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("drivers: %w", err)
	}
	d := &Drivers{dir}
	if err := d.sweep(); err != nil {
		return nil, fmt.Errorf("drivers: %w", err)
	}
	return d, nil
}

// Claim takes the job for this process until release is called or it ends.
func (d *Drivers) Claim(job sluice.JobID) (release func(), err error) {
	if !job.Valid() {
		return nil, sluice.Errorf(sluice.Usage, "%q is no job id", job)
	}
	unlock, err := d.lockDir(unix.LOCK_SH)
	if err != nil {
		return nil, fmt.Errorf("drivers: %w", err)
	}
	defer unlock()
	f, err := os.OpenFile(d.path(job), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("drivers: %w", err)
	}
	if err := lock(f); err != nil {
		who := holder(f)
		_ = f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, sluice.Errorf(sluice.Conflict, "job %s is driven by another process (%s)", job, who).
				WithHint("follow it with `sluice watch %s`, or end that process first", job)
		}
		return nil, fmt.Errorf("drivers: lock %s: %w", f.Name(), err)
	}
	// For messages only: the lock is the claim.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "pid %d\n", os.Getpid())
	}
	return sync.OnceFunc(func() { d.release(f) }), nil
}

// release removes the name before it gives up the lock, so that nobody finds it unlocked in between.
func (d *Drivers) release(f *os.File) {
	// If the directory cannot be locked, the file stays: the next claim or sweep takes it.
	if unlock, err := d.lockDir(unix.LOCK_EX); err == nil {
		defer unlock()
		_ = os.Remove(f.Name())
	}
	_ = f.Close()
}

// Driven reports whether a live process has the job.
func (d *Drivers) Driven(job sluice.JobID) bool {
	if !job.Valid() {
		return false
	}
	f, err := os.Open(d.path(job))
	if err != nil {
		// Where nobody can look, the careful answer is that somebody may have it.
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	held := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &held); err != nil {
		return true
	}
	return held.Type != unix.F_UNLCK
}

// sweep removes files that no process has locked.
func (d *Drivers) sweep() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		job, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || !sluice.JobID(job).Valid() || d.Driven(sluice.JobID(job)) {
			continue
		}
		if err := d.removeIfFree(sluice.JobID(job)); err != nil {
			return err
		}
	}
	return nil
}

// removeIfFree looks again under the lock of the directory, where nobody can claim.
func (d *Drivers) removeIfFree(job sluice.JobID) error {
	unlock, err := d.lockDir(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if d.Driven(job) {
		return nil
	}
	if err := os.Remove(d.path(job)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *Drivers) path(job sluice.JobID) string {
	return filepath.Join(d.dir, string(job)+suffix)
}

func (d *Drivers) lockDir(how int) (unlock func(), err error) {
	f, err := os.Open(d.dir)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return func() { _ = f.Close() }, nil
	}
}

func lock(f *os.File) error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
}

// holder is what the process that has the file wrote into it.
func holder(f *os.File) string {
	b := make([]byte, 64)
	n, _ := f.ReadAt(b, 0)
	if who := strings.TrimSpace(string(b[:n])); who != "" {
		return who
	}
	return "unknown pid"
}
