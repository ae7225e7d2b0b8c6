// Package dirarchive keeps in a directory what a server does not keep any more: it is a [sluice.Archive]. Each segment is
// a tar in gzip; "index.jsonl" has a line for each, with its digest and the hash of the line before it, so that none can be
// changed, removed or exchanged without a trace but at the end.
//
// It knows nothing of what is in the parts.
package dirarchive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
)

const indexName = "index.jsonl"

// line is one of the index.
type line struct {
	Seq    int          `json:"seq"`
	Time   time.Time    `json:"time"`
	Job    sluice.JobID `json:"job"`
	File   string       `json:"file"`
	Bytes  int64        `json:"bytes"`
	Digest string       `json:"digest"` // of the file
	Prev   string       `json:"prev"`   // SHA-256 of the line before; "" for the first
}

func (l line) name() string { return fmt.Sprintf("%08d-%s.tar.gz", l.Seq, l.Job) }

// Archive is one directory. It is safe for concurrent use by one process.
type Archive struct {
	dir string
	mu  sync.Mutex
}

var _ sluice.Archive = (*Archive)(nil)

// New makes the directory if it is missing, for this user alone.
func New(dir string) (*Archive, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the archive", Err: err}
	}
	return &Archive{dir: dir}, nil
}

// Put writes a segment and its line of the index.
func (a *Archive) Put(ctx context.Context, job sluice.JobID, at time.Time, parts iter.Seq2[sluice.Part, error]) (name, digest string, err error) {
	if !job.Valid() {
		return "", "", fmt.Errorf("archive: %q is no job id", job)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last, prev, err := a.last()
	if err != nil {
		return "", "", err
	}
	f, err := os.CreateTemp(a.dir, ".new-*") // mode 0600
	if err != nil {
		return "", "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			_ = os.Remove(f.Name()) // it may have its name already
		}
	}()
	sum := sha256.New()
	if err := writeParts(ctx, io.MultiWriter(f, sum), at, parts); err != nil {
		return "", "", fmt.Errorf("archive of job %s: %w", job, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", "", err
	}
	l := line{Seq: last.Seq + 1, Time: at.UTC(), Job: job, Bytes: size, Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Prev: prev}
	l.File = l.name()
	if err := errors.Join(f.Sync(), os.Rename(f.Name(), filepath.Join(a.dir, l.File)), syncDir(a.dir)); err != nil {
		return "", "", err
	}
	if err := a.add(l); err != nil {
		return "", "", err
	}
	return l.File, l.Digest, f.Close()
}

func writeParts(ctx context.Context, w io.Writer, at time.Time, parts iter.Seq2[sluice.Part, error]) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for p, err := range parts {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = t.WriteHeader(&tar.Header{Name: p.Name, Mode: 0o600, Size: p.Bytes, ModTime: at, Format: tar.FormatPAX})
		}
		if err == nil {
			_, err = io.CopyN(t, p.From, p.Bytes)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

// add appends a line to the index, durably.
func (a *Archive) add(l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(a.dir, indexName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Sync(), f.Close(), syncDir(a.dir))
}

// last returns the last line of the index and its hash. A line that was torn by a loss of power is taken away: nobody was
// told of its segment.
func (a *Archive) last() (last line, hash string, err error) {
	path := filepath.Join(a.dir, indexName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return line{}, "", nil
	}
	if err != nil {
		return line{}, "", err
	}
	if whole := bytes.LastIndexByte(b, '\n') + 1; whole < len(b) {
		if err := os.Truncate(path, int64(whole)); err != nil {
			return line{}, "", err
		}
		b = b[:whole]
	}
	if len(b) == 0 {
		return line{}, "", nil
	}
	text := b[bytes.LastIndexByte(b[:len(b)-1], '\n')+1:]
	if err := json.Unmarshal(text, &last); err != nil {
		return line{}, "", fmt.Errorf("%s: its last line: %w", path, err)
	}
	return last, hashOf(text), nil
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(bytes.TrimSuffix(text, []byte{'\n'}))
	return hex.EncodeToString(sum[:])
}

// Verify proves the index and every segment, and returns how many there are.
func (a *Archive) Verify(ctx context.Context) (n int, err error) {
	f, err := os.Open(filepath.Join(a.dir, indexName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	prev := ""
	for in := bufio.NewScanner(f); in.Scan(); n++ {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil || l.Seq != n+1 || l.Prev != prev || l.File != l.name() || !filepath.IsLocal(l.File) {
			return n, sluice.Errorf(sluice.Contact, "the archive in %s is damaged: line %d of its index does not continue the one before", a.dir, n+1)
		}
		prev = hashOf(in.Bytes())
		if err := a.proveFile(ctx, l); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (a *Archive) proveFile(ctx context.Context, l line) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(a.dir, l.File))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if is := "sha256:" + hex.EncodeToString(sum.Sum(nil)); is != l.Digest {
		return sluice.Errorf(sluice.Contact, "the archive in %s is damaged: %s is not what was written", a.dir, l.File)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
