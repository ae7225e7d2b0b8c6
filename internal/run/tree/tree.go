// Package tree packs a file or a tree of files into one stream, and unpacks such a stream safely: regular
// files, directories and symbolic links, nothing else. It knows nothing of jobs and hosts.
package tree

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Pack writes the file or directory at root as a tar stream, with modes. The names of a directory's entries
// are below it; a single file has its base name. The same tree gives the same bytes, but for changed times.
func Pack(w io.Writer, root string) error {
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	if !info.IsDir() {
		if err := packFile(tw, root, filepath.Base(root), info); err != nil {
			return err
		}
		return tw.Close()
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return packFile(tw, p, filepath.ToSlash(rel), info)
	})
	if err != nil {
		return err
	}
	return tw.Close()
}

func packFile(tw *tar.Writer, file, name string, info fs.FileInfo) error {
	h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second), Format: tar.FormatPAX}
	switch {
	case info.Mode().IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink(file)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, link
	default:
		return fmt.Errorf("%s is neither a file, a directory nor a symbolic link", file)
	}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := io.Copy(tw, f); err != nil {
		return fmt.Errorf("%s changed while it was read: %w", file, err)
	}
	return nil
}

// Look is what there is to know of a packed tree.
type Look struct {
	// Single says that it is one regular file, with this name, mode and digest.
	Single bool
	Name   string
	Mode   fs.FileMode
	SHA256 string
	// Entries is the number of files, directories and links.
	Entries int
}

// Inspect reads a packed tree through and refuses what must not be unpacked.
func Inspect(r io.Reader) (Look, error) {
	var l Look
	var c checker
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Look{}, fmt.Errorf("not a packed tree: %w", err)
		}
		if err := c.check(h); err != nil {
			return Look{}, err
		}
		l.Entries++
		if l.Single = l.Entries == 1 && h.Typeflag == tar.TypeReg && !strings.Contains(h.Name, "/"); l.Single {
			sum := sha256.New()
			if _, err := io.Copy(sum, tr); err != nil {
				return Look{}, err
			}
			l.Name, l.Mode, l.SHA256 = h.Name, fs.FileMode(h.Mode).Perm(), hex.EncodeToString(sum.Sum(nil))
		}
	}
	return l, nil
}

// OpenSingle gives the content of a packed single file. It takes r over.
func OpenSingle(r io.ReadCloser) (io.ReadCloser, error) {
	tr := tar.NewReader(r)
	if _, err := tr.Next(); err != nil {
		_ = r.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{tr, r}, nil
}

// checker refuses entries that could get out of the directory in which they are unpacked.
type checker struct{ links map[string]bool }

func (c *checker) check(h *tar.Header) error {
	name := strings.TrimSuffix(h.Name, "/")
	name = strings.TrimPrefix(name, "./")
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeSymlink:
		if strings.HasSuffix(h.Name, "/") {
			return fmt.Errorf("the entry %q is a file with the name of a directory", h.Name)
		}
	case tar.TypeDir:
	default:
		return fmt.Errorf("the entry %q is neither a file, a directory nor a symbolic link", h.Name)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse") {
			return fmt.Errorf("the entry %q is sparse", h.Name)
		}
	}
	if name == "." && h.Typeflag == tar.TypeDir || name == "" && h.Typeflag == tar.TypeDir {
		return nil
	}
	if name != path.Clean(name) || !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("the entry %q points outside", h.Name)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if c.links[dir] {
			return fmt.Errorf("the entry %q lies behind a symbolic link", h.Name)
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		if c.links == nil {
			c.links = map[string]bool{}
		}
		c.links[name] = true
	} else {
		delete(c.links, name)
	}
	return nil
}
