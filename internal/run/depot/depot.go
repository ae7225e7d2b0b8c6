// Package depot pushes and pulls artifacts, says which there are, and collects those that nobody needs any more. What it gives
// out was proved: a record by its sum, a signature by the keys that are asked for, content by its digest.
//
// It knows nothing of what a repository is kept in.
package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/manifest"
	"sluice/internal/run/tarball"
)

// Depot is a repository. It is safe for concurrent use.
type Depot struct {
	Store sluice.Artifacts
	Clock sluice.Clock
	// Verify looks at signatures; nil: none is needed.
	Verify artifact.Verify
	Limits tarball.Limits
}

// maxManifest bounds what is read of a manifest.
const maxManifest = 1 << 30

// record reads the record of a version, and what of it is on the disk.
func (d *Depot) record(ctx context.Context, n sluice.ArtifactName) (p artifact.Parsed, text []byte, err error) {
	if text, err = d.Store.Read(ctx, n); err != nil {
		return p, nil, err
	}
	p, err = artifact.Parse(text, n)
	return p, text, err
}

// latest reads what a file says is its latest version, and its record. text is what is there; p is nil where nothing is said.
func (d *Depot) latest(ctx context.Context, file sluice.ArtifactName) (p *artifact.Parsed, text []byte, err error) {
	file.Version = sluice.LatestVersion
	if text, err = d.Store.Read(ctx, file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	file.Version = ""
	pointer, err := artifact.ParsePointer(text, file)
	if err != nil {
		return nil, text, err
	}
	file.Version = pointer.Version
	is, _, err := d.record(ctx, file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && is.Sum != pointer.Sum {
		err = sluice.Errorf(sluice.Conflict, "what is said to be the latest version, %s, is not the one that was meant: the word for it is damaged", file).
			WithHint("name a version; the next push mends it")
	}
	if err != nil {
		return nil, text, err
	}
	return &is, text, nil
}

// Find returns the record of a version, or for [sluice.LatestVersion] of the one that is the latest, and proves the signature
// where one is needed.
func (d *Depot) Find(ctx context.Context, n sluice.ArtifactName) (artifact.Shown, error) {
	p, latest, err := d.find(ctx, n)
	if err != nil {
		return artifact.Shown{}, err
	}
	by, err := d.signed(p)
	return artifact.Shown{Record: p.Record, Latest: latest, Signed: p.Signature != nil, SignedBy: by}, err
}

func (d *Depot) find(ctx context.Context, n sluice.ArtifactName) (p artifact.Parsed, latest bool, err error) {
	if err := n.Check(); err != nil {
		return p, false, err
	}
	is, _, err := d.latest(ctx, n)
	if n.Version == sluice.LatestVersion {
		if err != nil {
			return p, false, err
		}
		if is == nil {
			return d.newest(ctx, n)
		}
		return *is, true, nil
	}
	p, _, err = d.record(ctx, n)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, d.missing(ctx, n)
	}
	return p, is != nil && is.Version == p.Version, err
}

// newest stands in for the latest where a push was killed before it could say so.
func (d *Depot) newest(ctx context.Context, n sluice.ArtifactName) (p artifact.Parsed, latest bool, err error) {
	all, err := d.records(ctx, n)
	if err != nil {
		return p, false, err
	}
	if len(all) == 0 {
		return p, false, d.missing(ctx, n)
	}
	return slices.MaxFunc(all, func(a, b artifact.Parsed) int { return artifact.Newer(a.Record, b.Record) }), true, nil
}

// missing says what is there instead of what was asked for.
func (d *Depot) missing(ctx context.Context, n sluice.ArtifactName) error {
	there := sluice.ArtifactName{}
	for _, part := range n.Parts() {
		names, err := d.Store.Names(ctx, there)
		if err != nil {
			return err
		}
		if !slices.Contains(names, part) {
			e := sluice.Errorf(sluice.NotFound, "there is no artifact %s", n)
			if len(names) == 0 && there.App == "" {
				return e.WithHint("the repository is empty")
			}
			slices.SortFunc(names, artifact.Compare)
			if len(names) > 8 {
				names = append([]string{"..."}, names[len(names)-8:]...)
			}
			return e.WithHint("below %q there is: %s", there, strings.Join(names, ", "))
		}
		there = there.Below(part)
	}
	return sluice.Errorf(sluice.NotFound, "the artifact %s went away just now", n)
}

// signed proves a signature.
func (d *Depot) signed(p artifact.Parsed) (by string, err error) {
	if d.Verify == nil {
		return "", nil
	}
	if p.Signature == nil {
		return "", sluice.Errorf(sluice.Denied, "%s is not signed, and only what is signed is taken here", p.ArtifactName).
			WithHint("push it again with --sign KEY, which adds the signature")
	}
	by, err = d.Verify(p.Statement, p.Signature)
	if err != nil {
		e := sluice.Errorf(sluice.Denied, "the signature of %s is not one of those that count here", p.ArtifactName)
		e.Err = err
		return "", e
	}
	return by, nil
}

// Names lists what is one part below a name, in the order of versions.
func (d *Depot) Names(ctx context.Context, under sluice.ArtifactName) ([]string, error) {
	names, err := d.Store.Names(ctx, under)
	if err == nil && len(names) == 0 && under.App != "" {
		err = d.missing(ctx, under)
	}
	slices.SortFunc(names, artifact.Compare)
	return names, err
}

// records are those of all versions of a file.
func (d *Depot) records(ctx context.Context, file sluice.ArtifactName) (out []artifact.Parsed, err error) {
	file.Version = ""
	names, err := d.Store.Names(ctx, file)
	if err != nil {
		return nil, err
	}
	for _, v := range names {
		p, _, err := d.record(ctx, file.Below(v))
		if errors.Is(err, fs.ErrNotExist) { // collected meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Versions lists the versions of a file, the newest last.
func (d *Depot) Versions(ctx context.Context, file sluice.ArtifactName) (out []artifact.Shown, err error) {
	all, err := d.records(ctx, file)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, d.missing(ctx, file)
	}
	file.Version = ""
	is, _, err := d.latest(ctx, file)
	for _, p := range all {
		out = append(out, artifact.Shown{Record: p.Record, Latest: is != nil && is.Version == p.Version, Signed: p.Signature != nil})
	}
	slices.SortFunc(out, func(a, b artifact.Shown) int { return artifact.Newer(a.Record, b.Record) })
	return out, err
}

// Manifest reads the manifest of a version.
func (d *Depot) Manifest(ctx context.Context, r artifact.Record) (manifest.Manifest, error) {
	in, err := d.Store.Open(ctx, r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", r.ArtifactName, err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", r.ArtifactName, err)
	}
	m, err := manifest.Parse(text)
	if err == nil && m.Digest() != r.Manifest {
		err = sluice.Errorf(sluice.Conflict, "it is not the one on record")
	}
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", r.ArtifactName, err)
	}
	return m, nil
}

// Content reads the archive of a version. If it is not what its digest says, the reader ends with an error.
func (d *Depot) Content(ctx context.Context, r artifact.Record) (io.ReadCloser, error) {
	in, err := d.Store.Open(ctx, r.Digest)
	if err != nil {
		return nil, fmt.Errorf("the content of %s: %w", r.ArtifactName, err)
	}
	return in, nil
}

// File reads a small file of a version's tree; fs.ErrNotExist if there is none, or it is larger than limit bytes.
func (d *Depot) File(ctx context.Context, r artifact.Record, name string, limit int64) ([]byte, error) {
	texts, err := d.Texts(ctx, r, []string{name}, limit)
	return texts[name], err
}

// Texts reads small files of a version's tree, in one pass; fs.ErrNotExist if one is not there, or is larger than limit bytes.
func (d *Depot) Texts(ctx context.Context, r artifact.Record, names []string, limit int64) (map[string][]byte, error) {
	m, err := d.Manifest(ctx, r)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, name := range names {
		at := slices.IndexFunc(m, func(e manifest.Entry) bool { return e.Path == name && e.Kind == manifest.File && e.Size <= limit })
		if at < 0 {
			return nil, fmt.Errorf("%s of %s: %w", name, r.ArtifactName, fs.ErrNotExist)
		}
		sums[name] = m[at].SHA256
	}
	in, err := d.Content(ctx, r)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return tarball.Texts(ctx, in, d.Limits, sums, limit)
}

// Remove takes a version away, also one whose record is damaged. Its content goes with the next collection.
func (d *Depot) Remove(ctx context.Context, n sluice.ArtifactName) error {
	if n.Version == sluice.LatestVersion {
		return sluice.Errorf(sluice.Usage, "%q is no version, it says which one is the latest", n.Version)
	}
	if _, err := d.Store.Read(ctx, n); errors.Is(err, fs.ErrNotExist) {
		return d.missing(ctx, n)
	} else if err != nil {
		return err
	}
	if is, _, err := d.latest(ctx, n); err == nil && is != nil && is.Version == n.Version {
		return sluice.Errorf(sluice.Conflict, "%s is the latest version of its file", n).WithHint("push another one first")
	}
	return d.Store.Remove(ctx, n)
}
