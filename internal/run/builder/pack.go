package builder

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"sluice"
	"sluice/internal/core/appfile"
	"sluice/internal/core/build"
	"sluice/internal/core/manifest"
	"sluice/internal/run/tarball"
)

// pack makes the archive: what the bundle takes of its directory, app.yaml, and the dependency bundles.
func (w *building) pack(ctx context.Context, to string) error {
	b := w.app.Build.Bundle
	root := w.root
	if b.Dir != "" {
		var err error
		if root, err = w.root.OpenRoot(b.Dir); err != nil {
			return &sluice.Error{Code: sluice.Config, Text: "what goes into the archive, " + b.Dir + " of the checkout", Err: err}
		}
		defer root.Close()
	}
	for _, d := range w.app.Build.Bundles { // theirs are those of the repository, whatever the scripts have made of them
		b.Exclude = append(slices.Clone(b.Exclude), literal(d.Dir))
	}
	found, err := survey(ctx, root, b)
	if err != nil {
		return err
	}
	if len(found) == 0 && len(w.bundles) == 0 {
		return sluice.Errorf(sluice.Config, "there is nothing to put into the archive").WithHint("bundle: include and exclude, or dir, say what it is")
	}
	digest, size, err := write(to, w.report.File, func(a *archive) error {
		if err := w.putAppFile(a, found); err != nil {
			return err
		}
		for _, e := range found {
			if err := errors.Join(ctx.Err(), a.put(root, e)); err != nil {
				return err
			}
		}
		for _, h := range w.bundles {
			if err := a.putBundle(ctx, h); err != nil {
				return fmt.Errorf("the bundle %s: %w", h.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m, err := read(ctx, to, nil)
	if err != nil {
		return err
	}
	w.report.Digest, w.report.Bytes, w.report.Manifest = digest, size, m.Digest()
	return nil
}

// literal is a pattern for one path.
func literal(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

// putAppFile puts what the app says of itself into an archive that has it not, as deploys read it there.
func (w *building) putAppFile(a *archive, found []manifest.Entry) error {
	places := appfile.Places()
	if slices.ContainsFunc(found, func(e manifest.Entry) bool { return slices.Contains(places, e.Path) }) {
		return nil
	}
	for _, name := range places {
		text, err := w.root.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		return a.file(manifest.Entry{Path: appfile.Name, Kind: manifest.File, Mode: 0o644, Size: int64(len(text))}, strings.NewReader(string(text)))
	}
	return nil
}

// survey lists what a bundle takes of a directory, in the order of paths. Modes are those that git knows: with what mask a
// machine makes its files is not a difference.
func survey(ctx context.Context, root *os.Root, b build.Bundle) (out []manifest.Entry, err error) {
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || p == "." {
			return err
		}
		if d.IsDir() && b.LeavesOut(p) {
			return fs.SkipDir
		}
		if !b.Takes(p) {
			return nil
		}
		e := manifest.Entry{Path: p}
		switch d.Type() {
		case fs.ModeDir:
			e.Kind, e.Mode = manifest.Dir, 0o755
		case fs.ModeSymlink:
			e.Kind = manifest.Link
			e.To, err = root.Readlink(p)
		case 0:
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				e.Kind, e.Size, e.Mode = manifest.File, info.Size(), modeOf(info)
			}
		default:
			return sluice.Errorf(sluice.Config, "%s is neither a file, a directory nor a symbolic link, so it cannot go into the archive", p).WithHint("exclude it, or remove it")
		}
		out = append(out, e)
		return err
	})
	slices.SortFunc(out, func(a, b manifest.Entry) int { return strings.Compare(a.Path, b.Path) })
	return out, err
}

func modeOf(info fs.FileInfo) uint32 {
	if info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// archive is a tar that says nothing but what is in the tree: no owner, no time.
type archive struct{ *tar.Writer }

// write makes an archive in a file; the end of name says how it is packed.
func write(to, name string, fill func(*archive) error) (digest string, size int64, err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	packed, err := packer(name, io.MultiWriter(f, sum))
	if err != nil {
		return "", 0, err
	}
	a := &archive{tar.NewWriter(packed)}
	if err := fill(a); err != nil {
		return "", 0, errors.Join(err, packed.Close())
	}
	if err := errors.Join(a.Close(), packed.Close()); err != nil {
		return "", 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), info.Size(), nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// packer packs with one thread: with several the same bytes could come out in other pieces.
func packer(name string, w io.Writer) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(name, ".zst"):
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	case strings.HasSuffix(name, "gz"):
		return gzip.NewWriterLevel(w, gzip.DefaultCompression)
	}
	return plain{w}, nil
}

func (a *archive) put(root *os.Root, e manifest.Entry) error {
	if e.Kind != manifest.File {
		return a.other(e)
	}
	f, err := root.Open(e.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return a.file(e, f)
}

func (a *archive) header(e manifest.Entry) *tar.Header {
	return &tar.Header{Name: e.Path, Mode: int64(e.Mode), Size: e.Size, ModTime: time.Unix(0, 0).UTC(), Linkname: e.To}
}

func (a *archive) file(e manifest.Entry, from io.Reader) error {
	if err := a.WriteHeader(a.header(e)); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	n, err := io.Copy(a, from) // of more than the header says nothing is written
	if n != e.Size || errors.Is(err, tar.ErrWriteTooLong) {
		err = sluice.Errorf(sluice.Conflict, "%s changed while it was read", e.Path).WithHint("build again, when nobody writes there")
	}
	return err
}

// other puts a directory or a link.
func (a *archive) other(e manifest.Entry) error {
	h := a.header(e)
	h.Typeflag = tar.TypeSymlink
	if e.Kind == manifest.Dir {
		h.Typeflag, h.Name = tar.TypeDir, e.Path+"/"
	}
	if err := a.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	return nil
}

// putBundle puts what is in a bundle at its place.
func (a *archive) putBundle(ctx context.Context, h held) error {
	at := func(e manifest.Entry) manifest.Entry {
		e.Path = h.Dir + "/" + e.Path
		return e
	}
	if err := a.other(manifest.Entry{Path: h.Dir, Kind: manifest.Dir, Mode: 0o755}); err != nil {
		return err
	}
	for _, e := range h.tree {
		if e.Kind != manifest.File {
			if err := a.other(at(e)); err != nil {
				return err
			}
		}
	}
	_, err := read(ctx, h.archive, func(e manifest.Entry, content io.Reader) error { return a.file(at(e), content) })
	return err
}

// read reads an archive of this machine, as whoever deploys it would.
func read(ctx context.Context, archive string, each func(manifest.Entry, io.Reader) error) (manifest.Manifest, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return tarball.Read(ctx, f, tarball.DefaultLimits(), each)
}
