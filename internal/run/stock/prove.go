package stock

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
	"syscall"
	"time"

	"sluice"
)

// proven opens a file that has what its digest says. One that has not is removed, and is as one that is not there.
func (s *Stock) proven(ctx context.Context, sum string, size int64) (*os.File, error) {
	f, err := os.Open(s.file(sum))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.mu.Lock()
	before := s.proved[sum]
	s.mu.Unlock()
	if same(before, info) {
		return f, nil
	}
	is := sha256.New()
	if _, err := io.Copy(is, contextReader{ctx, f}); err != nil && ctx.Err() != nil {
		return nil, errors.Join(err, f.Close())
	} else if err != nil || info.Size() != size || hex.EncodeToString(is.Sum(nil)) != sum { // a disk that cannot read it has lost it, too
		_ = os.Remove(f.Name())
		return nil, errors.Join(fmt.Errorf("%s is damaged: %w", f.Name(), fs.ErrNotExist), f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.mu.Lock()
	s.proved[sum] = info
	s.mu.Unlock()
	return f, nil
}

// same reports whether nobody has touched a file since.
func same(before, now os.FileInfo) bool {
	return before != nil && os.SameFile(before, now) && before.Size() == now.Size() && changed(before).Equal(changed(now))
}

// changed is when anything of a file was changed last, by the kernel's word.
func changed(info os.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix())
	}
	return info.ModTime()
}

func (s *Stock) reading(f *os.File, sum string) io.ReadCloser {
	return &reader{s: s, f: f, sum: sum, is: sha256.New()}
}

// reader proves once more what it reads: it costs next to nothing, and a disk may fail between two reads.
type reader struct {
	s   *Stock
	f   *os.File
	sum string
	is  hash.Hash
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.is.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(r.is.Sum(nil)) != r.sum {
		r.s.mu.Lock()
		delete(r.s.proved, r.sum)
		r.s.mu.Unlock()
		return n, sluice.Errorf(sluice.Conflict, "%s is damaged, and is fetched again the next time", r.f.Name())
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
