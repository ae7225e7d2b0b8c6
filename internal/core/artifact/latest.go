package artifact

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"sluice"
)

// Pointer says which version of a file is the latest, and the digest of that version's statement: it cannot come to mean
// another one unseen.
type Pointer struct {
	Version string
	Sum     string
}

// Encode writes the pointer as two words in a line.
func (p Pointer) Encode() []byte { return fmt.Appendf(nil, "%s %s\n", p.Version, p.Sum) }

// ParsePointer reads the pointer of a file.
func ParsePointer(text []byte, of sluice.ArtifactName) (p Pointer, err error) {
	words := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte(" "))
	if len(words) == 2 {
		p = Pointer{string(words[0]), string(words[1])}
	}
	of.Version = p.Version
	if !of.Whole() || of.Check() != nil || !IsDigest(p.Sum) || string(p.Encode()) != string(text) {
		of.Version = ""
		return Pointer{}, sluice.Errorf(sluice.Conflict, "what %s says is its latest version cannot be read: %.100q", of, text).
			WithHint("name a version; the next push mends it")
	}
	return p, nil
}

// Next is what the pointer of a file becomes when v was pushed; ok is false where it stays. is is the record that it leads to
// now; nil if none.
func Next(is *Parsed, v Parsed) (p Pointer, ok bool) {
	p = Pointer{v.Version, v.Sum}
	if is == nil {
		return p, true
	}
	return p, is.Sum != v.Sum && Newer(is.Record, v.Record) <= 0
}

// Keep says what is not to be collected.
type Keep struct {
	// Newest is how many versions of each file of each target stay, whatever else is.
	Newest int
	// Used are digests of archives and manifests that somebody needs.
	Used map[string]bool
	// SentSince: content that was sent then or later may belong to a push that is going on.
	SentSince time.Time
}

// Version is a record, and whether it is the latest of its file.
type Version struct {
	Record
	Latest bool
}

// Excess are the versions that may go, oldest first: never one of the newest, never a latest, never one that is used.
func Excess(all []Version, k Keep) (out []Version) {
	files := map[sluice.ArtifactName][]Version{}
	for _, v := range all {
		n := v.ArtifactName
		n.Version = ""
		files[n] = append(files[n], v)
	}
	for _, versions := range files {
		slices.SortFunc(versions, func(a, b Version) int { return Newer(a.Record, b.Record) })
		for _, v := range versions[:max(0, len(versions)-max(k.Newest, 1))] {
			if !v.Latest && !k.Used[v.Digest] && !k.Used[v.Manifest] {
				out = append(out, v)
			}
		}
	}
	slices.SortFunc(out, func(a, b Version) int {
		if c := Newer(a.Record, b.Record); c != 0 {
			return c
		}
		return slices.Compare(a.Parts(), b.Parts())
	})
	return out
}

// Loose is the content that may go: that of none of the versions that stay, not used, and not sent of late.
func Loose(kept []sluice.Kept, stay []Record, k Keep) (out []sluice.Kept) {
	needed := make(map[string]bool, 2*len(stay))
	for _, r := range stay {
		needed[r.Digest], needed[r.Manifest] = true, true
	}
	for _, c := range kept {
		if !needed[c.Name] && !k.Used[c.Name] && c.Changed.Before(k.SentSince) {
			out = append(out, c)
		}
	}
	return out
}
