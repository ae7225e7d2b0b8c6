package tarball

import (
	"archive/tar"
	"path"
	"strings"
)

// nameOf is the path of an entry. tar writes ./a for a where it was given a directory.
func nameOf(h *tar.Header) (string, error) {
	name, slash := strings.CutSuffix(strings.TrimPrefix(h.Name, "./"), "/")
	switch {
	case path.IsAbs(h.Name):
		return "", refuse("%.200q begins at the root", h.Name)
	case slash && h.Typeflag != tar.TypeDir:
		return "", refuse("%.200q is a file with the name of a directory", h.Name)
	}
	return name, nil
}

// strange are kinds of entries that people know by name.
var strange = map[byte]string{tar.TypeChar: "a device", tar.TypeBlock: "a device", tar.TypeFifo: "a named pipe", tar.TypeGNUSparse: "a sparse file"}

// typeBits are those that some programs write with the mode.
var typeBits = map[byte]int64{tar.TypeReg: 0o100000, tar.TypeDir: 0o040000, tar.TypeSymlink: 0o120000, tar.TypeLink: 0o100000}

// plain says what of an entry is not plain: all but files, directories and links, and what gives more rights than a file has.
func plain(h *tar.Header, name string) error {
	bits, known := typeBits[h.Typeflag]
	high := h.Mode &^ 0o7777
	switch {
	case strange[h.Typeflag] != "":
		return refuse("%.200q is %s; there may be files, directories and links", name, strange[h.Typeflag])
	case !known:
		return refuse("%.200q is of the kind %q; there may be files, directories and links", name, h.Typeflag)
	case h.Typeflag != tar.TypeReg && h.Size != 0:
		return refuse("%.200q is no file, and says that it has content", name)
	case high != 0 && high != bits:
		return refuse("%.200q has the mode %o, which is not one of its kind", name, h.Mode)
	case h.Mode&0o7000 != 0 && h.Typeflag != tar.TypeSymlink:
		return refuse("%.200q has the mode %04o: setuid, setgid and sticky bits are not taken", name, h.Mode&0o7777).
			WithHint("chmod -R u-s,g-s,-t, or tar --mode=u-s,g-s,-t")
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse") {
			return refuse("%.200q is a sparse file; there may be files, directories and links", name).WithHint("make the archive without tar --sparse")
		}
		if strings.HasSuffix(key, ".security.capability") {
			return refuse("%.200q has capabilities, which are rights of root", name).WithHint("give them in a hook, or tar --no-xattrs")
		}
	}
	return nil
}

// global headers change the entries that follow, for some programs. The one that git archive writes, a comment, changes none.
func global(h *tar.Header) error {
	for key := range h.PAXRecords {
		if key != "comment" {
			return refuse("a global header sets %.60q for all entries; not every program heeds that", key)
		}
	}
	return nil
}
