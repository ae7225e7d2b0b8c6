package backup

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/internal/core/audit"
)

// Target is what a stream is put into. It is empty before.
type Target struct {
	// Put fills the log.
	Put func(ctx context.Context, records iter.Seq2[sluice.Record, error]) error
	// Create makes a file, with the directories above it.
	Create func(name string, mode uint32, changed time.Time) (io.WriteCloser, error)
}

func damaged(format string, args ...any) error {
	return sluice.Errorf(sluice.Contact, "the backup is damaged: %s", fmt.Sprintf(format, args...)).WithHint("take another one; nothing was restored")
}

// Read puts a stream into a target, and proves all of it. After an error nothing of the target may be used.
func Read(ctx context.Context, r io.Reader, to Target) (Summary, error) {
	in := &reading{t: tar.NewReader(until{ctx, r}), to: to}
	in.sum = &summing{sha256.New(), &in.got}
	var err error
	if in.proof, err = audit.New(); err != nil {
		return Summary{}, err
	}
	s, err := in.all(ctx)
	if err == nil { // up to the end of what was encrypted, which proves itself there
		_, err = io.Copy(io.Discard, r)
	}
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	var known *sluice.Error
	if err != nil && !errors.As(err, &known) {
		err = &sluice.Error{Code: sluice.Contact, Text: "the backup cannot be restored", Err: err, Hint: "it may be damaged or cut off; nothing was restored"}
	}
	return s, err
}

type reading struct {
	t     *tar.Reader
	to    Target
	head  *tar.Header // that was read and not used yet
	got   Summary
	proof *audit.Proof
	sum   *summing
}

// next is the next entry.
func (in *reading) next() (*tar.Header, error) {
	if h := in.head; h != nil {
		in.head = nil
		return h, nil
	}
	h, err := in.t.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, damaged("it ends before its end")
	case err != nil:
		return nil, err
	case h.Typeflag != tar.TypeReg:
		return nil, damaged("%q is no file", h.Name)
	}
	return h, nil
}

func (in *reading) all(ctx context.Context) (Summary, error) {
	var begin, end Summary
	h, err := in.next()
	if err == nil && h.Name != beginName {
		err = damaged("it begins with %q", h.Name)
	}
	if err == nil {
		err = json.NewDecoder(in.t).Decode(&begin)
	}
	if err != nil {
		return begin, err
	}
	if begin.Form != form {
		return begin, sluice.Errorf(sluice.Usage, "the backup has the form %d; this version knows %d", begin.Form, form).WithHint("use a newer sluice")
	}
	if err := in.to.Put(ctx, in.records()); err != nil {
		return begin, err
	}
	for {
		h, err := in.next()
		if err != nil {
			return begin, err
		}
		if h.Name == endName {
			break
		}
		if err := in.file(h); err != nil {
			return begin, err
		}
	}
	if err := json.NewDecoder(in.t).Decode(&end); err != nil {
		return begin, err
	}
	in.got.Sum = in.sum.end()
	if heads := in.proof.Heads(); !slices.Equal(heads, sorted(end.Heads)) || in.got.Records != end.Records {
		return begin, damaged("its log is not the one that was put in")
	}
	if in.got.Files != end.Files || in.got.Bytes != end.Bytes || in.got.Sum != end.Sum {
		return begin, damaged("its files are not those that were put in")
	}
	return end, nil
}

func sorted(heads []sluice.Head) []sluice.Head {
	return slices.SortedFunc(slices.Values(heads), func(a, b sluice.Head) int { return strings.Compare(string(a.Namespace), string(b.Namespace)) })
}

// records are those of the entries of the log, proved.
func (in *reading) records() iter.Seq2[sluice.Record, error] {
	return func(yield func(sluice.Record, error) bool) {
		for {
			h, err := in.next()
			if err != nil {
				yield(sluice.Record{}, err)
				return
			}
			if !strings.HasPrefix(h.Name, logDir+"/") {
				in.head = h
				return
			}
			dec := json.NewDecoder(bufio.NewReader(in.t))
			for dec.More() {
				var r sluice.Record
				err := dec.Decode(&r)
				if err == nil {
					_, err = in.proof.Add(r)
				}
				in.got.Records++
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

func (in *reading) file(h *tar.Header) (err error) {
	name, ok := strings.CutPrefix(h.Name, filesDir+"/")
	if !ok || !filepath.IsLocal(name) || name != filepath.Clean(name) {
		return damaged("%q is no place for a file", h.Name)
	}
	f, err := in.to.Create(name, uint32(h.Mode)&0o700, h.ModTime)
	if err != nil {
		return err
	}
	in.sum.file(name, h.Size)
	_, err = io.Copy(io.MultiWriter(f, in.sum), in.t)
	return errors.Join(err, f.Close())
}
