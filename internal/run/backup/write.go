// Package backup makes one stream of all that a server keeps, and a server's directory of the stream again: the records of
// the log, as they stand at one moment, then every file beside them.
//
// Memory stays flat, however much there is. What the stream goes through, and how it is locked, is handed in; so are the
// log and the files. Nothing of a stream is believed: records prove themselves, and files are counted and summed.
package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Summary is what is in a backup.
type Summary struct {
	Form    int           `json:"form"`
	Version string        `json:"version"` // of the program that made it
	Made    time.Time     `json:"made"`
	Heads   []sluice.Head `json:"heads,omitempty"`
	Records int           `json:"records,omitempty"`
	Files   int           `json:"files,omitempty"`
	Bytes   int64         `json:"bytes,omitempty"` // of files
	// Sum is the SHA-256 of the names and contents of all files, in their order.
	Sum string `json:"sum,omitempty"`
}

const (
	form      = 1
	beginName = "backup.json"
	endName   = "end.json"
	logDir    = "log"
	filesDir  = "files"
	// chunk is how many bytes of records are put into one entry at least: their number is not known before.
	chunk = 4 << 20
)

// Source is what is kept in a stream.
type Source struct {
	Log sluice.Chains
	// Files are those beside the log, in one tree.
	Files fs.FS
	// Leave says what is not kept: what is in the records, can be made anew, or is of this moment. A directory is left with
	// all that is in it.
	Leave func(name string) bool
}

// Write writes all of it. made is when.
func Write(ctx context.Context, w io.Writer, src Source, made time.Time, version string) (Summary, error) {
	s := Summary{Form: form, Version: version, Made: made.UTC()}
	t := tar.NewWriter(w)
	if err := entry(t, beginName, s); err != nil {
		return s, err
	}
	// The log first: what it names was kept before it was named, so it is among the files that are read later.
	if err := writeLog(ctx, t, src.Log, &s); err != nil {
		return s, err
	}
	if err := writeFiles(ctx, t, src, &s); err != nil {
		return s, err
	}
	return s, errors.Join(entry(t, endName, s), t.Close())
}

func entry(t *tar.Writer, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return put(t, name, b)
}

func put(t *tar.Writer, name string, b []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b)), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := t.Write(b)
	return err
}

func writeLog(ctx context.Context, t *tar.Writer, log sluice.Chains, s *Summary) error {
	var buf bytes.Buffer
	n := 0
	flush := func() error {
		if buf.Len() == 0 {
			return nil
		}
		n++
		err := put(t, fmt.Sprintf("%s/%08d.jsonl", logDir, n), buf.Bytes())
		buf.Reset()
		return err
	}
	err := log.Records(ctx, nil, func(r sluice.Record) error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		buf.Write(append(b, '\n'))
		s.Records++
		if k := len(s.Heads); k > 0 && s.Heads[k-1].Namespace == r.Namespace {
			s.Heads[k-1] = r.Head()
		} else {
			s.Heads = append(s.Heads, r.Head())
		}
		if buf.Len() < chunk {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}

// summing sums names and contents of files, so that none can be missing or exchanged.
type summing struct {
	hash.Hash
	s *Summary
}

func (x *summing) file(name string, size int64) {
	fmt.Fprintf(x, "%d %s\n%d\n", len(name), name, size)
	x.s.Files++
	x.s.Bytes += size
}

func (x *summing) end() string { return hex.EncodeToString(x.Sum(nil)) }

func writeFiles(ctx context.Context, t *tar.Writer, src Source, s *Summary) error {
	sum := &summing{sha256.New(), s}
	err := fs.WalkDir(src.Files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // removed since it was listed
			return nil
		case err != nil:
			return err
		case name == ".":
			return nil
		case src.Leave(name) && d.IsDir():
			return fs.SkipDir
		case src.Leave(name), d.IsDir(), d.Type()&(fs.ModeSocket|fs.ModeNamedPipe) != 0: // which hold nothing
			return nil
		case !d.Type().IsRegular():
			return sluice.Errorf(sluice.Config, "%s is no regular file; it would not be in the backup", name).WithHint("move it out of the server's data")
		}
		return writeFile(ctx, t, src.Files, name, sum)
	})
	s.Sum = sum.end()
	return err
}

// writeFile writes as much of a file as there is when it is opened: what is appended meanwhile belongs to events that are
// not in the backup either.
func writeFile(ctx context.Context, t *tar.Writer, files fs.FS, name string, sum *summing) (err error) {
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: path.Join(filesDir, name), Mode: int64(info.Mode().Perm()), Size: info.Size(),
		ModTime: info.ModTime(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	sum.file(name, info.Size())
	n, err := io.CopyN(io.MultiWriter(t, sum), until{ctx, f}, info.Size())
	if errors.Is(err, io.EOF) {
		return sluice.Errorf(sluice.Conflict, "%s has become shorter while it was read: %d of %d bytes", name, n, info.Size()).WithHint("try again")
	}
	return err
}

// until reads until the context ends.
type until struct {
	ctx context.Context
	r   io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// LeaveAll makes a Leave of names and directories at the top, and of beginnings of names anywhere.
func LeaveAll(names, beginnings []string) func(string) bool {
	return func(name string) bool {
		base := path.Base(name)
		return slices.Contains(names, name) || slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(base, b) })
	}
}
