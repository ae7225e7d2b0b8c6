package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Limits of what is unpacked: the stream may come from a host that is not trusted.
type Limits struct {
	Entries int   // files, directories and links
	Bytes   int64 // in all files
}

// DefaultLimits are far above what a configuration or a set of logs needs.
func DefaultLimits() Limits { return Limits{Entries: 1 << 20, Bytes: 64 << 30} }

// Unpack writes a tar stream below the directory dir, which must exist and should be empty. Nothing of it can
// get out of dir: names that point outside are refused, and links that do are left out and returned.
func Unpack(r io.Reader, dir string, lim Limits) (left []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	var c checker
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return left, nil
		}
		if err != nil {
			return left, fmt.Errorf("not a packed tree: %w", err)
		}
		if n >= lim.Entries {
			return left, fmt.Errorf("more than %d entries", lim.Entries)
		}
		if err := c.check(h); err != nil {
			return left, err
		}
		if h.Typeflag == tar.TypeSymlink && outside(h) {
			left = append(left, h.Name)
			continue
		}
		if lim.Bytes -= h.Size; lim.Bytes < 0 {
			return left, errors.New("more bytes than allowed")
		}
		if err := unpackEntry(root, tr, h); err != nil {
			return left, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func unpackEntry(root *os.Root, r io.Reader, h *tar.Header) error {
	name := strings.TrimPrefix(strings.TrimSuffix(h.Name, "/"), "./")
	if name == "" || name == "." {
		return nil
	}
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(name, mode|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// outside reports whether a link, read as text, leaves the tree.
func outside(h *tar.Header) bool {
	to := path.Join(path.Dir(h.Name), h.Linkname)
	return path.IsAbs(h.Linkname) || to == ".." || strings.HasPrefix(to, "../")
}
