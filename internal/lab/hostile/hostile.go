// Package hostile makes archives that must not get onto any host: each with what is wrong with it. They are made when they are
// asked for, of lines that can be read, and never of files that somebody would have to trust.
package hostile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"time"
)

// Archive is a hostile archive. Why is part of what is to be said of it.
type Archive struct {
	Name, Why string
	Bytes     []byte
}

// Limits that the archives pass which are too large: a test says them, so that it need not make gigabytes.
const (
	Entries = 2_000
	Links   = 200
	Names   = 1 << 20
	Bytes   = 96 << 20
	Depth   = 40
)

// Raw is an entry, written as it is said and not as it should be.
type Raw struct {
	Name, Link string
	Kind       byte
	Mode       int64
	Size       string // octal; "" is what Data has
	Data       []byte
	Sum        string // "" is the right one
}

// Block is the entry as it stands in a tar.
func (r Raw) Block() []byte {
	h := make([]byte, 512)
	size := r.Size
	if size == "" {
		size = fmt.Sprintf("%011o", len(r.Data))
	}
	copy(h, r.Name)
	copy(h[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00", r.Mode, 0, 0))
	copy(h[124:], size)
	copy(h[136:], fmt.Sprintf("%011o", 1_700_000_000))
	h[156] = r.Kind
	copy(h[157:], r.Link)
	copy(h[257:], "ustar\x0000")
	copy(h[148:156], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	if r.Sum != "" {
		copy(h[148:], r.Sum)
	}
	h = append(h, r.Data...)
	return append(h, make([]byte, -len(r.Data)&511)...)
}

var end = make([]byte, 1024)

// Tar is a tar of such entries.
func Tar(entries ...Raw) []byte {
	var b []byte
	for _, e := range entries {
		b = append(b, e.Block()...)
	}
	return append(b, end...)
}

// Gzip packs.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// pax is a tar whose second header has records, such as "GNU.sparse.major=1".
func pax(kind byte, entry Raw, records ...string) []byte {
	var text string
	for _, r := range records {
		n := len(r) + 3
		for len(fmt.Sprintf("%d %s\n", n, r)) != n {
			n++
		}
		text += fmt.Sprintf("%d %s\n", n, r)
	}
	return Tar(Raw{Name: "PaxHeaders.0/x", Kind: kind, Mode: 0o644, Data: []byte(text)}, entry)
}

func file(name string) Raw { return Raw{Name: name, Kind: '0', Mode: 0o644, Data: []byte("x\n")} }
func dir(name string) Raw  { return Raw{Name: name, Kind: '5', Mode: 0o755} }

func link(name, to string) Raw { return Raw{Name: name, Kind: '2', Mode: 0o777, Link: to} }
func hard(name, to string) Raw { return Raw{Name: name, Kind: '1', Mode: 0o644, Link: to} }

func mode(m int64) Raw { return Raw{Name: "app/x", Kind: '0', Mode: m, Data: []byte("x")} }

// Archives are all of them.
func Archives() []Archive {
	out := names()
	out = append(out, links()...)
	out = append(out, kinds()...)
	out = append(out, bombs()...)
	return append(out, damaged()...)
}

func names() []Archive {
	return []Archive{
		{"traversal", `the part ".."`, Tar(file("../x"))},
		{"what yodeploy let through", `the part ".."`, Tar(dir("app/"), file("app/../../etc/x"))},
		{"traversal that stays", `the part ".."`, Tar(file("app/../x"))},
		{"traversal behind a dot", `the part ".."`, Tar(file("./../x"))},
		{"a directory above", `the part ".."`, Tar(dir("../"))},
		{"traversal by a pax name", `the part ".."`, pax('x', file("x"), "path=../../x")},
		{"traversal by a long name", `the part ".."`, Tar(Raw{Name: "././@LongLink", Kind: 'L', Data: []byte("../" + strings.Repeat("aaaaaaaaa/", 20) + "x\x00")}, file("x"))},
		{"absolute", "begins at the root", Tar(file("/etc/passwd"))},
		{"absolute behind a dot", "begins at the root", Tar(file(".//etc/passwd"))},
		{"two slashes", `the part ""`, Tar(file("app//x"))},
		{"a dot in the middle", `the part "."`, Tar(file("app/./x"))},
		{"no name", "no name", Tar(file(""))},
		{"a file that is the tree", "no name", Tar(file("."))},
		{"a link that is the tree", "no name", Tar(link("./", "/etc"), file("x"))},
		{"a new line", "control characters", Tar(file("app/a\nb"))},
		{"an escape", "control characters", Tar(file("app/\x1b]0;owned\x07"))},
		{"a backslash", "backslashes", Tar(file(`..\..\x`))},
		{"not UTF-8", "UTF-8", Tar(file("app/\xff\xfe"))},
		{"from right to left", "control characters", Tar(file("app/\u202egpj.sh"))},
		{"a long part", "255 bytes", pax('x', file("x"), "path="+strings.Repeat("a", 256))},
		{"a long path", "1024 bytes", pax('x', file("x"), "path="+strings.Repeat(strings.Repeat("a", 200)+"/", 6)+"x")},
		{"NUL in a name", "damaged", pax('x', file("x"), "path=app/x\x00/../../y")},
		{"twice", "there twice", Tar(file("app/x"), file("app/x"))},
		{"twice, behind a dot", "there twice", Tar(file("app/x"), file("./app/x"))},
		{"a file below a file", "no directory", Tar(file("app"), file("app/x"))},
	}
}

func links() []Archive {
	return []Archive{
		{"a link to the root", "leads out", Tar(link("app/x", "/etc/passwd"))},
		{"a link up", "leads out", Tar(dir("app"), link("app/x", "../../etc"))},
		{"a link by way of a link", "leads out", Tar(dir("a/"), link("a/up", ".."), link("out", "a/up/../etc"))},
		{"through a link", "no directory", Tar(link("app", "."), file("app/x"))},
		{"through a link out", "there twice", Tar(link("app", "/tmp"), dir("app"), file("app/x"))},
		{"a file in place of a link", "there twice", Tar(link("x", "/etc/passwd"), file("x"))},
		{"a link with a size", "has content", Tar(Raw{Name: "x", Kind: '2', Mode: 0o777, Link: "y", Size: "00000001000"}, file("y"))},
		{"a hard link out", "no file of the archive", Tar(hard("x", "/etc/shadow"))},
		{"a hard link up", "no file of the archive", Tar(hard("x", "../../etc/shadow"))},
		{"a hard link to what comes later", "no file of the archive", Tar(hard("x", "y"), file("y"))},
		{"a hard link to a link", "no file of the archive", Tar(link("y", "z"), hard("x", "y"))},
		{"a hard link to a directory", "no file of the archive", Tar(dir("y"), hard("x", "y"))},
		{"a hard link to itself", "no file of the archive", Tar(hard("x", "x"))},
		{"a link to an odd name", "odd name", Tar(link("x", "a\tb"))},
		{"a link to nothing", "odd name", Tar(link("x", ""))},
	}
}

func kinds() []Archive {
	return []Archive{
		{"a character device", "a device", Tar(Raw{Name: "app/null", Kind: '3', Mode: 0o666})},
		{"a block device", "a device", Tar(Raw{Name: "app/sda", Kind: '4', Mode: 0o660})},
		{"a pipe", "a named pipe", Tar(Raw{Name: "app/pipe", Kind: '6', Mode: 0o644})},
		{"a contiguous file", "of the kind", Tar(Raw{Name: "app/x", Kind: '7', Mode: 0o644, Data: []byte("x")})},
		{"a volume label", "of the kind", Tar(Raw{Name: "label", Kind: 'V'})},
		{"a piece of a file", "of the kind", Tar(Raw{Name: "x", Kind: 'M', Data: []byte("x")})},
		{"setuid", "setuid", Tar(mode(0o4755))},
		{"setgid", "setuid", Tar(mode(0o2755))},
		{"sticky", "setuid", Tar(mode(0o1777))},
		{"a directory that gives its group away", "setuid", Tar(Raw{Name: "app", Kind: '5', Mode: 0o2775})},
		{"a file with the mode of a device", "not one of its kind", Tar(mode(0o060644))},
		{"capabilities", "capabilities", pax('x', file("x"), "SCHILY.xattr.security.capability=\x01\x00\x00\x02")},
		{"a sparse file of pax", "sparse", pax('x', Raw{Name: "GNUSparseFile.0/x", Kind: '0', Mode: 0o644, Data: append([]byte("1\n0\n1\n"), append(make([]byte, 506), 'x')...)},
			"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=../../x", "GNU.sparse.realsize=1")},
		{"a global name", "a global header", pax('g', file("x"), "path=../../x")},
		{"a global mode", "a global header", pax('g', file("x"), "SCHILY.xattr.user.x=1")},
		{"a file that is called a directory", "the name of a directory", paxFile()},
	}
}

// paxFile is a file with a slash at its end; in a plain header that would be a directory of old programs.
func paxFile() []byte { return pax('x', link("x", "y"), "path=app/x/") }

func bombs() []Archive {
	many, lots, wide := make([]Raw, Entries+1), make([]Raw, Links+1), []byte{}
	for i := range many {
		many[i] = Raw{Name: fmt.Sprintf("f%06d", i), Kind: '0', Mode: 0o644}
	}
	for i := range lots {
		lots[i] = link(fmt.Sprintf("l%06d", i), "x")
	}
	for i := range Names/1000 + 60 {
		one := pax('x', file("x"), fmt.Sprintf("path=%04d%s/x", i, strings.Repeat("/"+strings.Repeat("n", 120), 8)))
		wide = append(wide, one[:len(one)-1024]...)
	}
	zeros := func(n int) []byte { return Raw{Name: "zeros", Kind: '0', Mode: 0o644, Data: make([]byte, n)}.Block() }
	comments := Raw{Name: "g", Kind: 'g', Data: []byte("13 comment=x\n")}
	return []Archive{
		{"many entries", "more than 2000 entries", Tar(many...)},
		{"many headers", "more than 2000 entries", bytes.Repeat(comments.Block(), Entries+1)},
		{"many links", "symbolic links", Tar(lots...)},
		{"long names", "names are longer", append(wide, end...)},
		{"deep", "directories deep", Tar(file(strings.Repeat("a/", 45) + "x"))},
		{"a ratio", "times its size", Gzip(append(zeros(80<<20), end...))},
		{"zeros behind the end", "times its size", Gzip(append(Tar(file("x")), make([]byte, 80<<20)...))},
		{"a size that is not there", "may be in it", Tar(Raw{Name: "x", Kind: '0', Mode: 0o644, Size: "77777777777"})},
		{"many bytes", "more than", append(zeros(Bytes), end...)},
	}
}

func damaged() []Archive {
	good := Tar(file("app/x"), file("app/y"))
	packed := Gzip(good)
	flipped := bytes.Clone(packed)
	flipped[len(flipped)-5] ^= 1 // of the sum at the end
	zeros := Raw{Name: "zeros", Kind: '0', Mode: 0o644, Data: make([]byte, 4096)}.Block()
	other := Tar(file("app/z"))
	return []Archive{
		{"empty", "it is empty", nil},
		{"nothing in it", "nothing in it", end},
		{"text", "damaged", []byte(strings.Repeat("this is no archive\n", 100))},
		{"a zip", "a zip", []byte("PK\x03\x04" + strings.Repeat("\x00", 600))},
		{"an xz", "an xz", []byte("\xfd7zXZ\x00\x00\x04")},
		{"a bzip2", "a bzip2", []byte("BZh91AY&SY")},
		{"a zstd that is none", "damaged", []byte("\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff")},
		{"a wrong sum of a header", "damaged", Tar(Raw{Name: "x", Kind: '0', Sum: "000000\x00 "})},
		{"a negative size", "damaged", Tar(Raw{Name: "x", Kind: '0', Size: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"})},
		{"cut in a header", "damaged", good[:300]},
		{"cut in a file", "damaged", good[:513]},
		{"cut behind a file", "cut off", good[:700]},
		{"cut between two entries", "cut off", good[:1024]},
		{"cut before its end", "cut off", good[:2048]},
		{"cut behind zeros", "cut off", zeros},
		{"half an end", "cut off", good[:2048+512]},
		{"an end and then more", "damaged", append(bytes.Clone(good[:2048+512]), good...)},
		{"two archives", "second one", append(bytes.Clone(good), other...)},
		{"two archives, each packed", "second one", append(bytes.Clone(packed), Gzip(other)...)},
		{"text behind the end", "second one", append(bytes.Clone(good), "#!/bin/sh\n"...)},
		{"text behind a gzip", "damaged", append(bytes.Clone(packed), "#!/bin/sh\n"...)},
		{"a gzip cut off", "damaged", packed[:len(packed)-9]},
		{"a gzip without its sum", "damaged", packed[:len(packed)-4]},
		{"a gzip with a wrong sum", "damaged", flipped},
	}
}

// Good is an archive that is as it should be, with one file in two places, for what differs from it by little.
func Good() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	at := time.Unix(1_700_000_000, 0)
	for _, e := range []struct {
		h    tar.Header
		data string
	}{
		{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "1a2b3c"}}, ""},
		{tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o750}, ""},
		{tar.Header{Name: "./bin/app", Typeflag: tar.TypeReg, Mode: 0o755}, "#!/bin/sh\necho app\n"},
		{tar.Header{Name: "./bin/again", Typeflag: tar.TypeLink, Linkname: "./bin/app", Mode: 0o755}, ""},
		{tar.Header{Name: "./current", Typeflag: tar.TypeSymlink, Linkname: "bin/app", Mode: 0o777}, ""},
		{tar.Header{Name: "./share/doc/README", Typeflag: tar.TypeReg, Mode: 0o644}, "read me\n"},
		{tar.Header{Name: "./share/empty", Typeflag: tar.TypeReg, Mode: 0o600}, ""},
	} {
		if e.h.Size = int64(len(e.data)); e.h.Typeflag != tar.TypeXGlobalHeader {
			e.h.ModTime = at
		}
		if err := w.WriteHeader(&e.h); err != nil {
			panic(err)
		}
		_, _ = w.Write([]byte(e.data))
	}
	_ = w.Close()
	_ = z.Close()
	return b.Bytes()
}
