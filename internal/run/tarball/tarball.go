// Package tarball reads the archive of an artifact once, from its beginning to its end, and makes its manifest. What must not
// get onto a host is refused with the reason, and so is whatever two programs could read as two different trees.
//
// It writes nothing, and knows nothing of where archives come from.
package tarball

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"sluice"
	"sluice/internal/core/manifest"
)

// Limits of what is read. What is beyond them is a mistake or an attack.
type Limits struct {
	Bytes   int64 // of the unpacked stream
	Entries int   // files, directories, links, and headers that are none of these
	Links   int   // symbolic links among them
	Names   int64 // bytes of all names together
	Depth   int   // directories in each other
	Ratio   int64 // how much larger it is unpacked than packed, once it is larger than Small
	Small   int64
}

// DefaultLimits are above all that people deploy.
func DefaultLimits() Limits {
	return Limits{Bytes: 64 << 30, Entries: 500_000, Links: 50_000, Names: 64 << 20, Depth: 64, Ratio: 200, Small: 64 << 20}
}

// Read reads an archive: tar, as it is or in gzip or zstd. each, which may be nil, is given every file with its content when
// its turn comes; the digest is not known yet. A hard link to a file of the archive is a file with the same content, and
// has no turn. Nothing has been proved before Read returns: what each is given is to be used only then.
func Read(ctx context.Context, from io.Reader, l Limits, each func(e manifest.Entry, content io.Reader) error) (manifest.Manifest, error) {
	raw := &counter{r: from, ctx: ctx}
	plain, in, err := unzip(raw)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	r := reader{Limits: l, each: each, at: map[string]int{}}
	r.plain = &counter{r: plain, ctx: ctx, check: r.bomb(raw)}
	if err := r.entriesOf(tar.NewReader(r.plain)); err != nil {
		return nil, err
	}
	if err := r.rest(); err != nil {
		return nil, err
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return nil, errors.Join(refuse("something follows the end of the archive"), err)
	}
	m, err := manifest.New(r.entries)
	if err != nil {
		return nil, refuse("%v", err)
	}
	return m, nil
}

// Texts reads small files of an archive, in one pass: those of these paths, which have these sums.
func Texts(ctx context.Context, from io.Reader, l Limits, sums map[string]string, limit int64) (map[string][]byte, error) {
	texts := map[string][]byte{}
	_, err := Read(ctx, from, l, func(e manifest.Entry, content io.Reader) (err error) {
		if _, wanted := sums[e.Path]; wanted {
			texts[e.Path], err = io.ReadAll(io.LimitReader(content, limit+1))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for name, sum := range sums {
		if is := sha256.Sum256(texts[name]); hex.EncodeToString(is[:]) != sum {
			return nil, sluice.Errorf(sluice.Conflict, "%s in the archive is not the one of its manifest", name)
		}
	}
	return texts, nil
}

// refuse says why an archive is not taken.
func refuse(format string, args ...any) *sluice.Error {
	return sluice.Errorf(sluice.Usage, "the archive is refused: "+format, args...)
}

// refusal makes one of an error of a library; one of ours it leaves as it is.
func refusal(err error, where string) error {
	var e *sluice.Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e = refuse("%s it is damaged, cut off, or no tar", where)
	e.Err = err
	return e
}

type reader struct {
	Limits
	each    func(manifest.Entry, io.Reader) error
	plain   *counter
	entries []manifest.Entry
	at      map[string]int // by path
	headers int
	links   int
	names   int64
}

// bomb stops what unpacks to more than it may.
func (r *reader) bomb(raw *counter) func(n int64) error {
	return func(n int64) error {
		switch {
		case n > r.Bytes:
			return refuse("it unpacks to more than %d bytes", r.Bytes)
		case n > r.Small && n/r.Ratio > raw.n:
			return refuse("it unpacks to more than %d times its size", r.Ratio)
		}
		return nil
	}
}

func (r *reader) entriesOf(tr *tar.Reader) error {
	pad := int64(0) // what fills the last block of the entry before
	for {
		before := r.plain.n
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			// Two blocks of zeros end an archive. tar.Reader is content with the end of the stream.
			if r.plain.n-before != pad+1024 {
				return refuse("its end is missing: it was cut off")
			}
			break
		}
		if err != nil {
			return refusal(err, fmt.Sprintf("after %d entries", r.headers))
		}
		if r.headers++; r.headers > r.Entries {
			return refuse("it has more than %d entries", r.Entries)
		}
		if err := r.entry(h, tr); err != nil {
			return err
		}
		pad = 0
		if h.Typeflag == tar.TypeReg {
			pad = -h.Size & 511
		}
	}
	if len(r.entries) == 0 {
		return refuse("there is nothing in it")
	}
	return nil
}

// rest reads what is behind the end of the tar: zeros, to fill the last record.
func (r *reader) rest() error {
	b := make([]byte, 32<<10)
	for {
		n, err := r.plain.Read(b)
		if strings.Trim(string(b[:n]), "\x00") != "" {
			return refuse("something follows the end of the archive; other programs would read it as a second one")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return refusal(err, "at its end")
		}
	}
}

func (r *reader) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return global(h)
	}
	name, err := nameOf(h)
	if err != nil {
		return err
	}
	if err := plain(h, name); err != nil {
		return err
	}
	if name == "" || name == "." {
		if h.Typeflag != tar.TypeDir {
			return refuse("an entry has no name")
		}
		return nil // the tree itself
	}
	if r.names += int64(len(name) + len(h.Linkname)); r.names > r.Names {
		return refuse("its names are longer than %d bytes together", r.Names)
	}
	if strings.Count(name, "/") >= r.Depth {
		return refuse("%.200q is more than %d directories deep", name, r.Depth)
	}
	if _, twice := r.at[name]; twice {
		return refuse("%.200q is there twice; which one counts differs from program to program", name)
	}
	e, err := r.made(h, name, content)
	if err != nil {
		return err
	}
	r.at[name] = len(r.entries)
	r.entries = append(r.entries, e)
	return nil
}

func (r *reader) made(h *tar.Header, name string, content io.Reader) (manifest.Entry, error) {
	e := manifest.Entry{Path: name, Mode: uint32(h.Mode & 0o777)}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Kind = manifest.Dir
	case tar.TypeSymlink:
		if r.links++; r.links > r.Links {
			return e, refuse("it has more than %d symbolic links", r.Links)
		}
		e.Kind, e.Mode, e.To = manifest.Link, 0, h.Linkname
	case tar.TypeLink:
		i, ok := r.at[strings.TrimPrefix(h.Linkname, "./")]
		if !ok || r.entries[i].Kind != manifest.File {
			return e, refuse("the hard link %.200q leads to %.200q, which is no file of the archive before it", name, h.Linkname)
		}
		is := r.entries[i]
		e.Kind, e.Mode, e.Size, e.SHA256 = manifest.File, is.Mode, is.Size, is.SHA256
	case tar.TypeReg:
		return r.file(e, h.Size, content)
	}
	return e, nil
}

func (r *reader) file(e manifest.Entry, size int64, content io.Reader) (manifest.Entry, error) {
	e.Kind, e.Size = manifest.File, size
	if size > r.Bytes {
		return e, refuse("%.200q says that it has %d bytes, and %d may be in it", e.Path, size, r.Bytes)
	}
	sum := sha256.New()
	source := &failing{r: io.TeeReader(content, sum)}
	var err error
	if r.each != nil {
		err = r.each(e, source)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, source)
	}
	switch {
	case source.err != nil:
		return e, refusal(source.err, fmt.Sprintf("in %.200q", e.Path))
	case err != nil:
		return e, err
	}
	e.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return e, nil
}

// failing remembers that it was the archive that failed, and not who reads it.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}
