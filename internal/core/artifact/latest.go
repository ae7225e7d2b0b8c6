package artifact

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
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

// AppVersion is a version of an app.
type AppVersion struct{ App, Version string }

// Keep says what is not to be collected.
type Keep struct {
	// Newest is how many versions of each file of each target stay, whatever else is.
	Newest int
	// Used are digests of archives and manifests that somebody needs.
	Used map[string]bool
	// Live are versions of apps that are live somewhere, or may come back, whichever target they are of.
	Live map[AppVersion]bool
	// SentSince: content that was sent then or later may belong to a push that is going on.
	SentSince time.Time
}

// Version is a record, and whether it is the latest of its file.
type Version struct {
	Record
	Latest bool
}

// Dependency bundles are versions, too: of a target of their own, beside the branches. Artifacts that have one name its digest
// in their metadata.
const (
	BundleTarget = "bundles"
	BundlePrefix = "bundle."
)

// Excess are the versions that may go, oldest first: never one of the newest, never a latest, never one that is used or live. Of
// dependency bundles those may go that no version which stays has: not how many there are counts, and one that was pushed of late
// may belong to a build that is going on.
func Excess(all []Version, k Keep) (out []Version) {
	files := map[sluice.ArtifactName][]Version{}
	named, bundles := map[string]bool{}, []Version(nil)
	for _, v := range all {
		if v.Target == BundleTarget {
			bundles = append(bundles, v)
			continue
		}
		n := v.ArtifactName
		n.Version = ""
		files[n] = append(files[n], v)
	}
	stays := func(v Version) bool {
		return v.Latest || k.Used[v.Digest] || k.Used[v.Manifest] || k.Live[AppVersion{v.App, v.Version}]
	}
	for _, versions := range files {
		slices.SortFunc(versions, func(a, b Version) int { return Newer(a.Record, b.Record) })
		old := max(0, len(versions)-max(k.Newest, 1))
		for i, v := range versions {
			if i < old && !stays(v) {
				out = append(out, v)
				continue
			}
			for key, digest := range v.Meta {
				named[digest] = named[digest] || strings.HasPrefix(key, BundlePrefix)
			}
		}
	}
	for _, v := range bundles {
		if !stays(v) && !named[v.Digest] && v.Pushed.Before(k.SentSince) {
			out = append(out, v)
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
