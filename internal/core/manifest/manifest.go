// Package manifest says what is in a tree of files: each path with its mode, its size and the digest of its content. It says
// which trees may be put on a host at all, and which files of one are there already because another tree has them.
//
// It is values in and values out, and knows nothing of archives, versions, apps and hosts.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what stands at a path. There is nothing else in a tree: no device, no pipe, no hard link.
type Kind byte

const (
	File Kind = 'f'
	Dir  Kind = 'd'
	Link Kind = 'l' // a symbolic link that stays in the tree
)

// Limits of a manifest.
const (
	MaxEntries = 1 << 20
	MaxPath    = 1024 // bytes
	maxHops    = 40   // links on the way to where a link leads, as in the kernel
	// maxSteps is how many names are looked at on the ways of all links together. Some dozen links that lead through each
	// other, again and again, would take hours.
	maxSteps = 2 << 20
)

// Entry is one path of a tree.
type Entry struct {
	Path   string // relative, with /, without ., .. and control characters
	Kind   Kind
	Mode   uint32 // permissions, 0 to 0777; 0 for links
	Size   int64  // of a file, in bytes
	SHA256 string // of a file's content, 64 hexadecimal digits
	To     string // where a link leads: relative to its own directory
	// User and Group own a file that does not belong to whom the tree belongs to; "" is that one.
	User, Group string
}

// Owned says that a file does not belong to whom the tree belongs to.
func (e Entry) Owned() bool { return e.User != "" || e.Group != "" }

// Manifest is a tree: entries sorted by path, each path once, every directory before what is in it.
type Manifest []Entry

// New sorts the entries, adds the directories that are only implied (0755), and checks the whole with [Manifest.Check].
func New(entries []Entry) (Manifest, error) {
	if len(entries) > MaxEntries {
		return nil, fmt.Errorf("more than %d files, directories and links", MaxEntries)
	}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if err := checkPath(e.Path); err != nil {
			return nil, err
		}
		if seen[e.Path] {
			return nil, fmt.Errorf("%q is there twice", e.Path)
		}
		seen[e.Path] = true
	}
	m := slices.Clone(entries)
	for _, e := range entries {
		for dir := path.Dir(e.Path); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			m = append(m, Entry{Path: dir, Kind: Dir, Mode: 0o755})
		}
	}
	slices.SortFunc(m, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	if err := Manifest(m).Check(); err != nil {
		return nil, err
	}
	return m, nil
}

// Check says why the tree must not be put on a host, or nil: an order or a form that is not a manifest's, a name that is
// odd, or a link that leads out of the tree, be it by way of other links.
func (m Manifest) Check() error {
	if len(m) > MaxEntries {
		return fmt.Errorf("more than %d files, directories and links", MaxEntries)
	}
	at := m.index()
	for i, e := range m {
		if err := e.check(); err != nil {
			return err
		}
		if i > 0 && m[i-1].Path >= e.Path {
			return fmt.Errorf("%q is not in its place", e.Path)
		}
		if dir := path.Dir(e.Path); dir != "." {
			if up, ok := at[dir]; !ok || m[up].Kind != Dir {
				return fmt.Errorf("%q is below %q, which is no directory", e.Path, dir)
			}
		}
	}
	steps := 0
	for _, e := range m {
		if e.Kind != Link {
			continue
		}
		if !m.stays(at, e, &steps) {
			return fmt.Errorf("the link %q leads out of the tree, to %q", e.Path, e.To)
		}
		if steps > maxSteps {
			return fmt.Errorf("the links lead through each other in too many ways, such as %q", e.Path)
		}
	}
	return nil
}

func (m Manifest) index() map[string]int {
	at := make(map[string]int, len(m))
	for i, e := range m {
		at[e.Path] = i
	}
	return at
}

func (e Entry) check() error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	switch {
	case e.Mode > 0o777:
		return fmt.Errorf("%q: the mode %o has more than permissions", e.Path, e.Mode)
	case e.Kind == File && (e.Size < 0 || !isHex(e.SHA256) || e.To != ""), e.Kind == Dir && (e.Size != 0 || e.SHA256 != "" || e.To != ""),
		e.Kind == Link && (e.Size != 0 || e.SHA256 != "" || e.Mode != 0):
		return fmt.Errorf("%q: what is said of it does not fit together", e.Path)
	case e.Kind == Link && (e.To == "" || len(e.To) > MaxPath || odd(e.To)):
		return fmt.Errorf("the link %q leads to an odd name, %q", e.Path, e.To)
	case e.Kind != File && e.Kind != Dir && e.Kind != Link:
		return fmt.Errorf("%q is neither file, directory nor link", e.Path)
	case e.Owned() && (e.Kind != File || !ownerName(e.User) || !ownerName(e.Group)):
		return fmt.Errorf("%q cannot belong to %q and %q", e.Path, e.User, e.Group)
	}
	return nil
}

func checkPath(p string) error {
	switch {
	case p == "" || p == ".":
		return fmt.Errorf("an entry has no name")
	case len(p) > MaxPath:
		return fmt.Errorf("the path %.60q goes on for more than %d bytes", p, MaxPath)
	case odd(p):
		return fmt.Errorf("%.200q: a name must be UTF-8 text without control characters and backslashes", p)
	case path.IsAbs(p):
		return fmt.Errorf("%.200q begins at the root", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return fmt.Errorf("%.200q has the part %q", p, part)
		case len(part) > 255:
			return fmt.Errorf("%.200q has a part of more than 255 bytes", p)
		}
	}
	return nil
}

// odd names cannot be carried in lines, or look like something else.
func odd(name string) bool {
	if !utf8.ValidString(name) {
		return true
	}
	return strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\\' || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
	})
}

// ownerName says that a user or group can be carried in a line, and taken for no option of a program.
func ownerName(s string) bool {
	return len(s) <= 64 && !strings.HasPrefix(s, "-") && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

func isHex(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// stays reports whether a link stays in the tree: it is followed as the kernel follows it, through every link on the way.
// What it leads to need not be there. A circle leads nowhere, and so not out. It stops looking after maxSteps.
func (m Manifest) stays(at map[string]int, link Entry, steps *int) bool {
	here := strings.Split(link.Path, "/")
	here = here[:len(here)-1]
	if path.IsAbs(link.To) {
		return false
	}
	way, hops := strings.Split(link.To, "/"), 0
	for len(way) > 0 {
		part := way[0]
		way = way[1:]
		if *steps += 1 + len(here)/16; *steps > maxSteps { // a deep place takes longer to look at
			return true
		}
		switch part {
		case "", ".":
			continue
		case "..":
			if len(here) == 0 {
				return false
			}
			here = here[:len(here)-1]
			continue
		}
		i, ok := at[strings.Join(append(slices.Clone(here), part), "/")]
		if !ok || m[i].Kind != Link {
			here = append(slices.Clone(here), part)
			continue
		}
		if hops++; hops > maxHops {
			return true
		}
		if path.IsAbs(m[i].To) {
			return false
		}
		way = append(strings.Split(m[i].To, "/"), way...)
		*steps += len(way) / 4
	}
	return true
}

// header begins every manifest; the number is the version of its form.
const header = "sluice manifest 1\n"

// Encode writes the manifest as text, a line for each entry. The same tree has the same text.
func (m Manifest) Encode() []byte {
	b := make([]byte, 0, len(header)+len(m)*120)
	b = append(b, header...)
	for _, e := range m {
		switch e.Kind {
		case File:
			b = fmt.Appendf(b, "f %04o %d %s %s\n", e.Mode, e.Size, e.SHA256, e.Path)
			if e.Owned() {
				b = fmt.Appendf(b, "o %s %s\n", orDash(e.User), orDash(e.Group)) // of the file before
			}
		case Dir:
			b = fmt.Appendf(b, "d %04o %s\n", e.Mode, e.Path)
		case Link:
			b = fmt.Appendf(b, "l %s\t%s\n", e.Path, e.To)
		}
	}
	return b
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Parse reads what Encode wrote, and checks it with [Manifest.Check]. Errors name the line.
func Parse(text []byte) (Manifest, error) {
	rest, ok := strings.CutPrefix(string(text), header)
	if !ok {
		return nil, fmt.Errorf("this is no manifest: it does not begin with %q", strings.TrimSuffix(header, "\n"))
	}
	m := make(Manifest, 0, strings.Count(rest, "\n"))
	for n := 2; rest != ""; n++ {
		var line string
		if line, rest, ok = strings.Cut(rest, "\n"); !ok {
			return nil, fmt.Errorf("line %d of the manifest is cut off", n)
		}
		if owner, is := strings.CutPrefix(line, "o "); is {
			if !m.owner(owner) {
				return nil, fmt.Errorf("line %d of the manifest is no owner of a file: %.100q", n, line)
			}
			continue
		}
		e, ok := parseLine(line)
		if !ok {
			return nil, fmt.Errorf("line %d of the manifest is not one of a file, a directory or a link: %.100q", n, line)
		}
		if m = append(m, e); len(m) > MaxEntries {
			break
		}
	}
	return m, m.Check()
}

// owner gives the last file the owner that a line behind it says.
func (m Manifest) owner(line string) bool {
	user, group, ok := strings.Cut(line, " ")
	if !ok || len(m) == 0 || m[len(m)-1].Kind != File || m[len(m)-1].Owned() || user == "" || group == "" || user == "-" && group == "-" {
		return false
	}
	e := &m[len(m)-1]
	if user != "-" {
		e.User = user
	}
	if group != "-" {
		e.Group = group
	}
	return true
}

func parseLine(line string) (e Entry, ok bool) {
	kind, rest, _ := strings.Cut(line, " ")
	var mode string
	switch kind {
	case "l":
		e.Kind = Link
		e.Path, e.To, ok = strings.Cut(rest, "\t")
		return e, ok
	case "d":
		e.Kind = Dir
		mode, e.Path, ok = strings.Cut(rest, " ")
	case "f":
		var f [4]string
		if parts := strings.SplitN(rest, " ", 4); len(parts) == 4 {
			f, ok = [4]string(parts), true
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || strconv.FormatInt(size, 10) != f[1] {
			return e, false
		}
		e = Entry{Kind: File, Size: size, SHA256: f[2], Path: f[3]}
		mode = f[0]
	}
	bits, err := strconv.ParseUint(mode, 8, 16)
	if err != nil || fmt.Sprintf("%04o", bits) != mode {
		return e, false
	}
	e.Mode = uint32(bits)
	return e, ok
}

// Digest names the tree: "sha256:" and 64 hexadecimal digits, of [Manifest.Encode].
func (m Manifest) Digest() string {
	sum := sha256.Sum256(m.Encode())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Owners are the users and groups that files have of their own, sorted.
func (m Manifest) Owners() (users, groups []string) {
	add := func(to *[]string, name string) {
		if name != "" && !slices.Contains(*to, name) {
			*to = append(*to, name)
		}
	}
	for _, e := range m {
		add(&users, e.User)
		add(&groups, e.Group)
	}
	slices.Sort(users)
	slices.Sort(groups)
	return users, groups
}

// Bytes is the size of all files together.
func (m Manifest) Bytes() (n int64) {
	for _, e := range m {
		n += e.Size
	}
	return n
}

// Sums lists the digests of all files as the program sha256sum reads them with -c, below dir; "" is where it runs.
func (m Manifest) Sums(dir string) []byte {
	var b []byte
	for _, e := range m {
		if e.Kind == File {
			b = fmt.Appendf(b, "%s  %s\n", e.SHA256, path.Join(dir, e.Path))
		}
	}
	return b
}
