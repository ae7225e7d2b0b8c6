package dirartifacts

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
	"time"

	"golang.org/x/sys/unix"

	"sluice"
)

const (
	algorithm     = "sha256:"
	contentPrefix = "sha256-"
	partPrefix    = ".part-"
	// staleAfter is the age at which nobody goes on with what was begun.
	staleAfter = 7 * 24 * time.Hour
	piece      = 256 << 10
)

func checkDigest(digest string) error {
	digits, ok := strings.CutPrefix(digest, algorithm)
	if !ok || len(digits) != 2*sha256.Size || strings.Trim(digits, "0123456789abcdef") != "" {
		return sluice.Errorf(sluice.Usage, "%q is no digest: %q and 64 hexadecimal digits are", digest, algorithm)
	}
	return nil
}

func (s *Store) file(digest string) string {
	return filepath.Join(s.content(), contentPrefix+strings.TrimPrefix(digest, algorithm))
}

// Open reads content.
func (s *Store) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	if err := errors.Join(ctx.Err(), checkDigest(digest)); err != nil {
		return nil, err
	}
	f, err := os.Open(s.file(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no content %s in %s: %w", digest, s.dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return &reader{ctx: ctx, f: f, digest: digest, sum: sha256.New()}, nil
}

// reader proves what it reads, if it reads all of it.
type reader struct {
	ctx    context.Context
	f      *os.File
	digest string
	sum    hash.Hash // nil after a seek
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.f.Read(p)
	if r.sum == nil {
		return n, err
	}
	r.sum.Write(p[:n])
	if err == io.EOF {
		if is := algorithm + hex.EncodeToString(r.sum.Sum(nil)); is != r.digest {
			return n, sluice.Errorf(sluice.Conflict, "%s is damaged: its content is %s", r.f.Name(), is).WithHint("push the version again: that mends it")
		}
	}
	return n, err
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	at, err := r.f.Seek(offset, whence)
	if r.sum = nil; at == 0 {
		r.sum = sha256.New()
	}
	return at, err
}

func (r *reader) Close() error { return r.f.Close() }

// Send brings content.
func (s *Store) Send(ctx context.Context, c sluice.Content, from io.ReadSeeker, sent func(bytes int64)) error {
	if sent == nil {
		sent = func(int64) {}
	}
	if err := checkDigest(c.Digest); err != nil {
		return err
	}
	if err := s.make(ctx); err != nil {
		return err
	}
	s.tidy(time.Now())
	if there, err := s.touch(ctx, c); there || err != nil {
		if err == nil {
			sent(c.Bytes)
		}
		return err
	}
	f, err := s.part(c.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(ctx, f, c, from, sent); err != nil {
		if info, e := f.Stat(); e != nil || info.Size() == 0 || strings.HasPrefix(filepath.Base(f.Name()), tempPrefix) {
			err = errors.Join(err, os.Remove(f.Name()))
		}
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Chtimes(f.Name(), time.Time{}, time.Now()); err != nil {
		return err
	}
	return errors.Join(os.Rename(f.Name(), s.file(c.Digest)), syncDir(s.content()))
}

// touch makes content young that is there and whole. What is there and is not whole is brought again.
func (s *Store) touch(ctx context.Context, c sluice.Content) (bool, error) {
	r, err := s.Open(ctx, c.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if sluice.CodeOf(err) == sluice.Conflict || err == nil && n != c.Bytes {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = s.locked(ctx, func() error { return os.Chtimes(s.file(c.Digest), time.Time{}, time.Now()) })
	if errors.Is(err, fs.ErrNotExist) { // it was taken away meanwhile
		return false, nil
	}
	return err == nil, err
}

// part is the file in which content arrives: one that goes on where a killed process has left it, or, where a live one is at
// it, a file of one's own.
func (s *Store) part(digest string) (*os.File, error) {
	p := filepath.Join(s.content(), partPrefix+strings.TrimPrefix(digest, algorithm))
	f, err := os.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		// Who had it may have given it its name between opening and locking; then it is not to be written to any more.
		mine, err1 := f.Stat()
		now, err2 := os.Stat(p)
		if err1 == nil && err2 == nil && os.SameFile(mine, now) {
			return f, nil
		}
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return temp(s.content())
}

// fill goes on with what is in f, and once more from the beginning where that is not what it should be.
func fill(ctx context.Context, f *os.File, c sluice.Content, from io.ReadSeeker, sent func(int64)) error {
	for {
		sum := sha256.New()
		there, err := io.CopyBuffer(sum, contextReader{ctx, io.LimitReader(f, c.Bytes)}, make([]byte, piece))
		if err != nil {
			return err
		}
		sent(there)
		if _, err := from.Seek(there, io.SeekStart); err != nil {
			return err
		}
		if err := f.Truncate(there); err != nil {
			return err
		}
		to := io.MultiWriter(f, sum, &meter{there, sent})
		n, err := io.CopyBuffer(to, contextReader{ctx, io.LimitReader(from, c.Bytes-there+1)}, make([]byte, piece))
		if err != nil {
			return err
		}
		if there+n == c.Bytes && algorithm+hex.EncodeToString(sum.Sum(nil)) == c.Digest {
			return nil
		}
		_, err = f.Seek(0, io.SeekStart)
		if err = errors.Join(err, f.Truncate(0)); err != nil {
			return err
		}
		if there == 0 {
			return sluice.Errorf(sluice.Conflict, "what was read is not %s of %d bytes: it changed while it was read", c.Digest, c.Bytes)
		}
	}
}

type meter struct {
	n    int64
	sent func(int64)
}

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	m.sent(m.n)
	return len(p), nil
}

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

// tidy removes what was begun long ago and nobody is at.
func (s *Store) tidy(now time.Time) {
	found, _ := os.ReadDir(s.content()) // what cannot be read now is tidied another time
	for _, e := range found {
		if !strings.HasPrefix(e.Name(), partPrefix) && !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if info, err := e.Info(); err != nil || now.Sub(info.ModTime()) < staleAfter {
			continue
		}
		p := filepath.Join(s.content(), e.Name())
		if f, err := os.Open(p); err == nil {
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				_ = os.Remove(p)
			}
			_ = f.Close()
		}
	}
}

// Kept lists the content.
func (s *Store) Kept(ctx context.Context) (out []sluice.Kept, err error) {
	if is, err := s.is(); !is {
		return nil, err
	}
	found, err := os.ReadDir(s.content())
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		digits, ok := strings.CutPrefix(e.Name(), contentPrefix)
		if !ok || checkDigest(algorithm+digits) != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, sluice.Kept{Name: algorithm + digits, Bytes: info.Size(), Changed: info.ModTime()})
	}
	return out, ctx.Err()
}

// Discard takes content away that was not sent of late.
func (s *Store) Discard(ctx context.Context, digest string, before time.Time) error {
	if err := checkDigest(digest); err != nil {
		return err
	}
	if is, err := s.is(); !is {
		return err
	}
	return s.locked(ctx, func() error {
		info, err := os.Stat(s.file(digest))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(os.Remove(s.file(digest)), syncDir(s.content()))
	})
}
