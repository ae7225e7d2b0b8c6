package stock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/run/tarball"
)

// unpack reads the artifact to its end, and keeps the files that are missing. A file is kept when its content has been held
// against the manifest; the whole is held against both digests at the end.
func (t *Tree) unpack(ctx context.Context, in io.Reader, missing map[string]bool) error {
	whole := sha256.New()
	all := make(map[string]manifest.Entry, len(t.m))
	for _, e := range t.m {
		all[e.Path] = e
	}
	m, err := tarball.Read(ctx, io.TeeReader(in, whole), t.s.limits, func(e manifest.Entry, content io.Reader) error {
		want, ok := all[e.Path]
		if !ok || want.Kind != manifest.File || want.Size != e.Size {
			return differs("%q of the archive is not in its manifest like this", e.Path)
		}
		if !missing[want.SHA256] {
			return nil
		}
		if err := t.keep(e.Path, want.SHA256, content); err != nil {
			return err
		}
		delete(missing, want.SHA256)
		return nil
	})
	if err != nil {
		return err
	}
	if is := "sha256:" + hex.EncodeToString(whole.Sum(nil)); is != t.digest {
		return differs("its content is %s", is)
	}
	if m.Digest() != t.m.Digest() {
		return differs("the manifest of its tree is %s, and not %s", m.Digest(), t.m.Digest())
	}
	return nil
}

func differs(format string, args ...any) error {
	return sluice.Errorf(sluice.Conflict, "it is not what is on record: "+format, args...).WithHint("push the version again, or another one")
}

// keep writes a file of the archive under its digest. It is not synced: each process proves a file before it gives it out, so
// one that a power cut has taken is fetched again, and thousands of small files are here at once.
func (t *Tree) keep(path, sum string, content io.Reader) error {
	f, err := os.CreateTemp(t.s.mine.Name(), "")
	if err != nil {
		return err
	}
	is := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, is), content)
	if got := hex.EncodeToString(is.Sum(nil)); err == nil && got != sum {
		err = differs("%q has the digest %s, and should have %s", path, got, sum)
	}
	if err == nil {
		err = errors.Join(f.Chmod(0o400), os.Rename(f.Name(), t.s.file(sum)))
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	t.s.mu.Lock()
	t.s.proved[sum] = info
	t.s.mu.Unlock()
	return nil
}
