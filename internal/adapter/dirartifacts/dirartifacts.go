// Package dirartifacts keeps a repository of artifacts in a directory: it is a [sluice.Artifacts].
//
//	DIR/.sluice-artifacts            says that it is one
//	DIR/.lock                        who writes in the directory holds it, for a moment
//	DIR/.content/sha256-HEX          content
//	DIR/.content/.part-HEX           content on its way; who brings it holds its lock
//	DIR/APP/TARGET/FILE/VERSION      the record of a version
//	DIR/APP/TARGET/FILE/latest       which version is the latest
//
// A file gets its name only when it is whole and on the disk, so every file that has one is complete, whenever a process is
// killed. It knows nothing of what is in records and contents.
package dirartifacts

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
)

const (
	markName   = ".sluice-artifacts"
	mark       = "sluice artifacts 1\n"
	lockName   = ".lock"
	contentDir = ".content"
	tempPrefix = ".new-"

	maxText = 64 << 10
	// turn is how long one waits before one looks again whether a lock is free; those who have it have it for less.
	turn = 2 * time.Millisecond
)

// Store is a repository in a directory. It is safe for concurrent use, also by several processes.
type Store struct{ dir string }

var _ sluice.Artifacts = (*Store)(nil)

// New is the repository in dir. It is made with the first thing that is put there, and only in a directory that is not there
// or empty.
func New(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Store{dir}, nil
}

// is reports whether there is a repository.
func (s *Store) is() (bool, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		found, err := os.ReadDir(s.dir)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err == nil && slices.ContainsFunc(found, foreign) {
			if s.marked() { // since it was looked for, by another process
				return s.is()
			}
			return false, sluice.Errorf(sluice.Config, "%s has something else in it than artifacts", s.dir).WithHint("a repository begins in a directory that is empty or not there")
		}
		return false, err
	}
	if err == nil && string(text) != mark {
		err = sluice.Errorf(sluice.Config, "%s says %.40q, and this program knows %q: a newer program may read it", filepath.Join(s.dir, markName), text, mark)
	}
	return err == nil, err
}

func (s *Store) marked() bool {
	_, err := os.Lstat(filepath.Join(s.dir, markName))
	return err == nil
}

// foreign is what is not there when a repository begins, be it that another process is just making it.
func foreign(e os.DirEntry) bool {
	return e.Name() != lockName && e.Name() != contentDir && !strings.HasPrefix(e.Name(), tempPrefix)
}

// make sees to it that there is a repository.
func (s *Store) make(ctx context.Context) error {
	if is, err := s.is(); is || err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		if is, err := s.is(); is || err != nil {
			return err
		}
		if err := os.MkdirAll(s.content(), 0o755); err != nil {
			return err
		}
		return errors.Join(s.put(filepath.Join(s.dir, markName), []byte(mark)), syncDir(filepath.Dir(s.dir)))
	})
}

func (s *Store) content() string { return filepath.Join(s.dir, contentDir) }

// locked has do happen while no other process is in here.
func (s *Store) locked(ctx context.Context, do func() error) error {
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return do()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(turn):
		}
	}
}

// place is the file of a whole name that is proved to be one.
func (s *Store) place(n sluice.ArtifactName) (string, error) {
	if err := n.Check(); err != nil {
		return "", err
	}
	if !n.Whole() {
		return "", sluice.Errorf(sluice.Usage, "%q names no version", n)
	}
	return filepath.Join(s.dir, n.App, n.Target, n.File, n.Version), nil
}

// Read returns what is under a name.
func (s *Store) Read(ctx context.Context, n sluice.ArtifactName) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := s.place(n)
	if err != nil {
		return nil, err
	}
	if is, err := s.is(); !is {
		return nil, errors.Join(fmt.Errorf("there is no repository in %s: %w", s.dir, fs.ErrNotExist), err)
	}
	return os.ReadFile(p)
}

// Write puts text under a name, if what is there is was.
func (s *Store) Write(ctx context.Context, n sluice.ArtifactName, text, was []byte) error {
	p, err := s.place(n)
	if err != nil {
		return err
	}
	if len(text) > maxText || len(text) == 0 {
		return sluice.Errorf(sluice.Usage, "what stands under %s has 1 to %d bytes, not %d", n, maxText, len(text))
	}
	if err := s.make(ctx); err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		is, err := os.ReadFile(p)
		switch {
		case errors.Is(err, fs.ErrNotExist) && was == nil:
		case err == nil && was != nil && bytes.Equal(is, was):
		case err == nil || errors.Is(err, fs.ErrNotExist):
			return sluice.Errorf(sluice.Conflict, "%s is not what it was when it was looked at", n)
		default:
			return err
		}
		if err := s.makeDirs(filepath.Dir(p)); err != nil {
			return err
		}
		return s.put(p, text)
	})
}

// makeDirs makes a directory of the repository, durably.
func (s *Store) makeDirs(dir string) error {
	if dir == s.dir {
		return nil
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	up := filepath.Dir(dir)
	if err := s.makeDirs(up); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(up)
}

// put gives a small file its name when it is on the disk.
func (s *Store) put(p string, text []byte) error {
	f, err := temp(filepath.Dir(p))
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(p))
}

// temp makes a file that has no name yet. Who may read it is up to the umask, as with every file of the repository.
func temp(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, tempPrefix+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
}

// Names lists what is one part below.
func (s *Store) Names(ctx context.Context, under sluice.ArtifactName) ([]string, error) {
	if err := errors.Join(ctx.Err(), under.Check()); err != nil {
		return nil, err
	}
	if under.Whole() {
		return nil, sluice.Errorf(sluice.Usage, "there is nothing below the version %s", under)
	}
	if is, err := s.is(); !is {
		return nil, err
	}
	found, err := os.ReadDir(filepath.Join(append([]string{s.dir}, under.Parts()...)...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range found {
		n := under.Below(e.Name())
		if n.Check() == nil && n.Version != sluice.LatestVersion && e.IsDir() != n.Whole() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Remove takes away what is under a name, and the directories that are empty then.
func (s *Store) Remove(ctx context.Context, n sluice.ArtifactName) error {
	p, err := s.place(n)
	if err != nil {
		return err
	}
	if is, err := s.is(); !is {
		return err
	}
	return s.locked(ctx, func() error {
		if err := os.Remove(p); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		dir := filepath.Dir(p)
		if err := syncDir(dir); err != nil {
			return err
		}
		for range 3 {
			if os.Remove(dir) != nil { // it is not empty
				break
			}
			dir = filepath.Dir(dir)
		}
		return syncDir(dir)
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
