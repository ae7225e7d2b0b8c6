// Package dirblobs keeps content under its digest in a directory, one file for each: it is a [sluice.Blobs]. It
// knows nothing of what the content is for, nor when it is not needed any more.
//
// A file gets its name only when it is whole and on the disk, so every file there is complete. It is proved when it
// is read, once by every process: again only if it is not the same file any more, or was written since.
package dirblobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice"
)

const (
	algorithm = "sha256:"
	tempName  = ".new-*"
	// staleAfter is the age at which a temporary file cannot be a put that is going on: writing makes it young.
	staleAfter = 24 * time.Hour
	// settledAfter is well above the grain of the times of files: two changes of a file that is younger may show the
	// same time.
	settledAfter = 2 * time.Second
)

// Blobs keeps blobs in a directory. It is safe for concurrent use, also by several processes.
type Blobs struct {
	dir    string
	mu     sync.Mutex
	proved map[string]os.FileInfo // by digest, as the file was when it was read
}

var _ sluice.Blobs = (*Blobs)(nil)

// New keeps blobs in dir, which it makes if it is missing, for this user alone. What puts have left there that
// were killed long before now is removed.
func New(dir string, now time.Time) (*Blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	stale, err := filepath.Glob(filepath.Join(dir, tempName))
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	for _, path := range stale {
		if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > staleAfter {
			_ = os.Remove(path) // another process may have been faster
		}
	}
	return &Blobs{dir: dir, proved: map[string]os.FileInfo{}}, nil
}

// Put keeps the content. It is durable when Put returns.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	f, err := os.CreateTemp(b.dir, tempName) // mode 0600
	if err != nil {
		return "", 0, fmt.Errorf("blobs: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("blobs: %w", errors.Join(err, f.Close(), os.Remove(f.Name())))
		}
	}()
	sum := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, sum), contextReader{ctx, r})
	if err != nil {
		return "", 0, err
	}
	if err = f.Sync(); err != nil {
		return "", 0, err
	}
	digest = algorithm + hex.EncodeToString(sum.Sum(nil))
	// Also where it is there already: the new one is known to be whole.
	if err = b.beside(ctx, func() error { return os.Rename(f.Name(), b.path(digest)) }); err != nil {
		return "", 0, err
	}
	if err := errors.Join(f.Close(), syncDir(b.dir)); err != nil {
		return "", 0, fmt.Errorf("blobs: %w", err)
	}
	return digest, size, nil
}

// Renew makes a blob as young as one that is put now.
func (b *Blobs) Renew(ctx context.Context, digest string) (size int64, err error) {
	err = b.beside(ctx, func() error {
		if size, err = b.Size(ctx, digest); err != nil {
			return err
		}
		now := time.Now()
		if err := os.Chtimes(b.path(digest), now, now); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
		return nil
	})
	return size, err
}

// Size is that of a blob.
func (b *Blobs) Size(ctx context.Context, digest string) (int64, error) {
	if err := check(ctx, digest); err != nil {
		return 0, err
	}
	info, err := os.Stat(b.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, notThere(digest)
	}
	if err != nil {
		return 0, fmt.Errorf("blobs: %w", err)
	}
	return info.Size(), nil
}

// Open reads a blob. If it is not what its digest says, the reader ends with an error instead of the end of file.
func (b *Blobs) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if err := check(ctx, digest); err != nil {
		return nil, err
	}
	f, err := os.Open(b.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notThere(digest)
	}
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blobs: %w", err), f.Close())
	}
	b.mu.Lock()
	before := b.proved[digest]
	b.mu.Unlock()
	if same(before, info) {
		return f, nil
	}
	settled := time.Since(changed(info)) > settledAfter
	return &reader{f: f, sum: sha256.New(), digest: digest, whole: func() {
		if !settled {
			return
		}
		// What was written while we read shows in the time, and is proved again.
		b.mu.Lock()
		defer b.mu.Unlock()
		b.proved[digest] = info
	}}, nil
}

// same reports whether nobody has written to a file since.
func same(before, now os.FileInfo) bool {
	if before == nil || !os.SameFile(before, now) || before.Size() != now.Size() {
		return false
	}
	return changed(before).Equal(changed(now))
}

// changed is when the content or anything else of a file was changed last, by the kernel's word: nobody can set it.
func changed(info os.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix())
	}
	return info.ModTime()
}

// path is the file of a digest that is valid.
func (b *Blobs) path(digest string) string {
	return filepath.Join(b.dir, "sha256-"+strings.TrimPrefix(digest, algorithm))
}

func check(ctx context.Context, digest string) error {
	if !valid(digest) {
		return sluice.Errorf(sluice.Usage, "%q is no digest: %q and 64 hexadecimal digits are", digest, algorithm)
	}
	return ctx.Err()
}

func notThere(digest string) error {
	return fmt.Errorf("there is no blob %s: %w", digest, fs.ErrNotExist)
}

func valid(digest string) bool {
	digits, ok := strings.CutPrefix(digest, algorithm)
	if !ok || len(digits) != 2*sha256.Size {
		return false
	}
	return strings.Trim(digits, "0123456789abcdef") == ""
}

// reader proves what it reads.
type reader struct {
	f      *os.File
	sum    hash.Hash
	digest string
	whole  func() // is told that the content is what its digest says
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.sum.Write(p[:n])
	if err == io.EOF {
		if is := algorithm + hex.EncodeToString(r.sum.Sum(nil)); is != r.digest {
			return n, fmt.Errorf("blob %s is damaged: its content is %s", r.digest, is)
		}
		r.whole()
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
