// Package stock keeps, near the hosts, the files of artifacts that jobs put there: each file once, under its digest, whichever
// artifacts it is in. What is not there is unpacked from the artifact, once for all who need it; what is there is proved
// before it is given out.
//
//	DIR/lock          who makes or frees room holds it, for a moment
//	DIR/trees/HEX     the manifest of an artifact that is here or on its way; whoever needs it holds a shared lock on it,
//	                  and whoever unpacks it an exclusive one on HEX.busy
//	DIR/files/HEX     the content of a file
//	DIR/new/NAME/     what is being unpacked; its process holds its lock
//
// It may be used by several processes, each of which may be killed at any time: locks end with their process, and a file
// has its name only when it is whole. It knows nothing of jobs and hosts.
package stock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/core/manifest"
	"sluice/internal/run/tarball"
)

// turn is how long one waits before one looks again whether a lock is free.
const turn = 10 * time.Millisecond

// Opener reads content by its digest: [sluice.Blobs] and [sluice.Artifacts] do.
type Opener interface {
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
}

// Stock is a cache in a directory. It is safe for concurrent use.
type Stock struct {
	dir    string
	most   int64
	limits tarball.Limits
	mine   *os.File // the directory of this process in new/, with its lock

	mu     sync.Mutex
	proved map[string]os.FileInfo // by digest, as the file was when it was proved
	taken  map[string]*taken      // by the digest of the manifest
}

// taken is a tree that is in use here: as long as it is, none of its files goes away, and they are looked at once for all.
type taken struct {
	users int
	turn  chan struct{} // whoever has it may look, and fill
	whole bool
}

// Open opens the cache in dir, which it makes if it is missing, for this user alone. It keeps to most bytes of files. The context
// bounds the wait for others who make or free room.
func Open(ctx context.Context, dir string, most int64) (*Stock, error) {
	s := &Stock{dir: dir, most: most, limits: tarball.DefaultLimits(), proved: map[string]os.FileInfo{}, taken: map[string]*taken{}}
	for _, d := range []string{"trees", "files", "new"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("the cache of artifacts: %w", err)
		}
	}
	err := s.locked(ctx, func() (err error) {
		s.sweep()
		own := filepath.Join(dir, "new", rand.Text())
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		if s.mine, err = os.Open(own); err != nil {
			return err
		}
		return unix.Flock(int(s.mine.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	})
	if err != nil {
		return nil, fmt.Errorf("the cache of artifacts: %w", err)
	}
	return s, nil
}

// Close ends the use of the cache. Whatever was taken must have been closed.
func (s *Stock) Close() error { return errors.Join(os.RemoveAll(s.mine.Name()), s.mine.Close()) }

// sweep removes what killed processes were unpacking.
func (s *Stock) sweep() {
	found, _ := os.ReadDir(filepath.Join(s.dir, "new"))
	for _, e := range found {
		p := filepath.Join(s.dir, "new", e.Name())
		if f, err := os.Open(p); err == nil {
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				_ = os.RemoveAll(p)
			}
			_ = f.Close()
		}
	}
}

// locked has do happen while nobody else makes or frees room.
func (s *Stock) locked(ctx context.Context, do func() error) error {
	unlock, err := flock(ctx, filepath.Join(s.dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	return do()
}

// flock takes the exclusive lock of a file as soon as it is free.
func flock(ctx context.Context, p string) (unlock func(), err error) {
	f, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", p, err), f.Close())
		}
		select {
		case <-ctx.Done():
		case <-time.After(turn):
		}
	}
}

// Tree is an artifact whose files are here. None of them goes away before it is closed.
type Tree struct {
	s      *Stock
	digest string // of the artifact
	m      manifest.Manifest
	files  map[string]int64 // sizes by digest
	from   Opener
	lock   *os.File
	key    string // of shared
	shared *taken
}

// Take has the files of an artifact here, and returns when they are: what is missing is unpacked from the content that the
// digest names. m is the manifest of its tree. An artifact that is not what digest and manifest say is refused with the
// reason. Close the tree when it is not needed any more.
func (s *Stock) Take(ctx context.Context, digest string, m manifest.Manifest, from Opener) (*Tree, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("artifact %s: %w", digest, err)
	}
	t := &Tree{s: s, digest: digest, m: m, files: sizes(m), from: from}
	var err error
	if t.lock, err = s.room(ctx, m); err != nil {
		return nil, err
	}
	t.share()
	if err := t.fillOnce(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close says that the tree is not needed any more.
func (t *Tree) Close() error {
	t.s.mu.Lock()
	if t.shared.users--; t.shared.users == 0 {
		delete(t.s.taken, t.key)
	}
	t.s.mu.Unlock()
	return t.lock.Close()
}

// share counts the tree among those in use.
func (t *Tree) share() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.key = t.m.Digest()
	if t.shared = t.s.taken[t.key]; t.shared == nil {
		t.shared = &taken{turn: make(chan struct{}, 1)}
		t.s.taken[t.key] = t.shared
	}
	t.shared.users++
}

// fillOnce is fill, for the first of those that have the tree in use.
func (t *Tree) fillOnce(ctx context.Context) (err error) {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case t.shared.turn <- struct{}{}:
	}
	defer func() { <-t.shared.turn }()
	if !t.shared.whole {
		err = t.fill(ctx)
		t.shared.whole = err == nil
	}
	return err
}

func (s *Stock) tree(m manifest.Manifest) string {
	return filepath.Join(s.dir, "trees", strings.TrimPrefix(m.Digest(), "sha256:"))
}

func (s *Stock) file(sum string) string { return filepath.Join(s.dir, "files", sum) }

// missing are the files of the tree that are not here, by digest.
func (t *Tree) missing() map[string]bool {
	out := map[string]bool{}
	for sum, size := range t.files {
		if info, err := os.Stat(t.s.file(sum)); err != nil || info.Size() != size {
			out[sum] = true
		}
	}
	return out
}

// fill unpacks what is missing. Others who need the same tree wait for whoever does.
func (t *Tree) fill(ctx context.Context) error {
	if len(t.missing()) == 0 {
		return nil
	}
	unlock, err := flock(ctx, t.s.tree(t.m)+busySuffix)
	if err != nil {
		return err
	}
	defer unlock()
	missing := t.missing()
	if len(missing) == 0 {
		return nil
	}
	in, err := t.from.Open(ctx, t.digest)
	if err != nil {
		return fmt.Errorf("artifact %s: %w", t.digest, err)
	}
	defer in.Close()
	if err := t.unpack(ctx, in, missing); err != nil {
		return fmt.Errorf("artifact %s: %w", t.digest, err)
	}
	return nil
}

// Open reads a file of the tree by its digest, 64 hexadecimal digits. It was proved to be whole; one that was damaged on the
// disk is fetched again. Should it be damaged while it is read, the reader ends with an error instead of the end of file.
func (t *Tree) Open(ctx context.Context, sum string) (io.ReadCloser, error) {
	size, ok := t.files[sum]
	if !ok {
		return nil, fmt.Errorf("the artifact has no file %q: %w", sum, fs.ErrNotExist)
	}
	for try := 0; ; try++ {
		f, err := t.s.proven(ctx, sum, size)
		if err == nil {
			return t.s.reading(f, sum), nil
		}
		if try > 0 || !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := t.fill(ctx); err != nil {
			return nil, err
		}
	}
}
