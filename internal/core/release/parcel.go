package release

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"sluice/internal/core/manifest"
)

// Parcel is what is sent to a host: a tar archive that is unpacked in the directory versions. Files that another version
// has there are hard links in it; only the rest is content. It is made here, of a manifest that was checked, so that no
// archive of anybody else is ever unpacked on a host. The same parcel has the same bytes.
//
// Where files are linked most of it is their names: that is compressed, if the host can read it. A first version is not: it
// would keep the worker busy for longer than the network.
type Parcel struct {
	plan    *Plan
	sources []manifest.Source
	from    []string // trees, by number of the source
	// Sent counts files whose content is in the parcel, Linked those that are linked.
	Sent, Linked   int
	size, unpacked int64
	gzip           bool
}

// Parcel makes the parcel, with the lists of files of some of the trees of [Plan.Linkable], by name.
func (p *Plan) Parcel(lists map[string]manifest.Manifest) (*Parcel, error) {
	c := &Parcel{plan: p}
	var there []manifest.Manifest
	for _, t := range p.Linkable() {
		if m, ok := lists[t.Name]; ok && m.Digest() == t.Manifest {
			c.from, there = append(c.from, t.Name), append(there, m)
		}
	}
	c.sources = p.wish.Tree.Sources(there)
	for i, e := range p.wish.Tree {
		switch {
		case e.Kind != manifest.File:
		case c.sources[i].Tree >= 0:
			c.Linked++
		default:
			c.Sent++
			c.unpacked += (e.Size + 4095) &^ 4095
		}
		c.unpacked += 256 // of a directory
	}
	c.gzip = c.Linked > c.Sent && p.report.Gzip
	c.unpacked += 2 * int64(len(p.wish.Tree.Encode()))
	var n counter
	if err := c.write(&n, func(string) (io.ReadCloser, error) { return nil, nil }); err != nil {
		return nil, err
	}
	c.size = int64(n)
	return c, nil
}

// Size is how many bytes it has before it is compressed.
func (c *Parcel) Size() int64 { return c.size }

// Linked from are the trees of which files are linked.
func (c *Parcel) linkedFrom() []string {
	used := map[int]bool{}
	for _, s := range c.sources {
		used[s.Tree] = true
	}
	var out []string
	for i, name := range c.from {
		if used[i] {
			out = append(out, name)
		}
	}
	return out
}

type counter int64

func (n *counter) Write(p []byte) (int, error) { *n += counter(len(p)); return len(p), nil }

// Write writes the archive. open gives the content with a digest, in hexadecimal; what it gives is checked.
func (c *Parcel) Write(w io.Writer, open func(sha256 string) (io.ReadCloser, error)) error {
	checked := func(sum string) (io.ReadCloser, error) {
		r, err := open(sum)
		if err == nil && r == nil {
			err = errors.New("it is nowhere")
		}
		return r, err
	}
	if !c.gzip {
		return c.write(w, checked)
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err == nil {
		err = c.write(z, checked)
	}
	if err != nil {
		return err
	}
	return z.Close()
}

// then is the time of everything in the archive; the host sets its own.
var then = time.Unix(946684800, 0)

func (c *Parcel) write(w io.Writer, open func(string) (io.ReadCloser, error)) error {
	t := tar.NewWriter(w)
	top := ".new-" + string(c.plan.wish.Attempt)
	own := c.plan.tree
	put := func(h tar.Header) error {
		h.Format, h.ModTime = tar.FormatGNU, then // the one that busybox reads with long names
		return t.WriteHeader(&h)
	}
	if err := errors.Join(put(tar.Header{Typeflag: tar.TypeDir, Name: top + "/", Mode: 0o700}), put(tar.Header{Typeflag: tar.TypeDir, Name: top + "/record/", Mode: 0o700})); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"about", []byte(about(own))}, {"links", c.links()}, {"manifest", c.plan.wish.Tree.Encode()}} {
		err := put(tar.Header{Typeflag: tar.TypeReg, Name: top + "/record/" + f.name, Mode: 0o600, Size: int64(len(f.text))})
		if err == nil {
			_, err = t.Write(f.text)
		}
		if err != nil {
			return err
		}
	}
	tree := top + "/tree/"
	if err := put(tar.Header{Typeflag: tar.TypeDir, Name: tree, Mode: 0o755, Uid: own.UID, Gid: own.GID}); err != nil {
		return err
	}
	var late []tar.Header // directories that their owner cannot write
	for i, e := range c.plan.wish.Tree {
		h := tar.Header{Name: tree + e.Path, Mode: int64(e.Mode), Uid: own.UID, Gid: own.GID}
		switch {
		case e.Kind == manifest.Dir:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
			if e.Mode&0o700 != 0o700 {
				late = append(late, h)
				h.Mode |= 0o700
			}
		case e.Kind == manifest.Link:
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.To, 0o777
		case c.sources[i].Tree >= 0:
			h.Typeflag, h.Linkname = tar.TypeLink, path.Join(c.from[c.sources[i].Tree], c.sources[i].From)
		default:
			h.Typeflag, h.Size = tar.TypeReg, e.Size
			h.Uid, h.Gid = c.plan.owner(e)
		}
		if err := put(h); err != nil {
			return fmt.Errorf("%q cannot be put into an archive: %w", e.Path, err)
		}
		if h.Typeflag == tar.TypeReg && e.Size > 0 {
			if err := content(t, e, open); err != nil {
				return fmt.Errorf("the content of %q: %w", e.Path, err)
			}
		}
	}
	for _, h := range late {
		if err := put(h); err != nil {
			return err
		}
	}
	return t.Close()
}

// owner is to whom a file belongs.
func (p *Plan) owner(e manifest.Entry) (uid, gid int) {
	uid, gid = p.tree.UID, p.tree.GID
	if e.User != "" {
		uid = p.report.Users[e.User]
	}
	if e.Group != "" {
		gid = p.report.Groups[e.Group]
	}
	return uid, gid
}

// content copies the content of a file, and checks that it is what the manifest says. Where open gives nothing it is
// only counted.
func content(w io.Writer, e manifest.Entry, open func(string) (io.ReadCloser, error)) error {
	r, err := open(e.SHA256)
	if err != nil {
		return err
	}
	if r == nil {
		_, err := io.CopyN(w, zeros{}, e.Size)
		return err
	}
	defer func() { _ = r.Close() }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(r, e.Size))
	if err != nil {
		return err
	}
	if more, _ := io.CopyN(io.Discard, r, 1); n != e.Size || more > 0 || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("it is damaged: it has not %d bytes with the digest %s", e.Size, e.SHA256)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// links is the list of links outside, as the record of the version has it.
func (c *Parcel) links() []byte {
	var b strings.Builder
	for _, l := range c.plan.wish.Outside {
		b.WriteString(l.Path + "\t" + l.To + "\n")
	}
	return []byte(b.String())
}
