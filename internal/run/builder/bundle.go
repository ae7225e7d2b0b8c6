package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"sluice"
	"sluice/internal/core/artifact"
	"sluice/internal/core/build"
	"sluice/internal/core/manifest"
)

// held is a dependency bundle that is here: its archive, and what is in it.
type held struct {
	build.Dependency
	archive string
	tree    manifest.Manifest
	digest  string
}

// dependency has a bundle in its place in the checkout: the one of the repository, or a new one, which is kept there for those
// who come next.
func (w *building) dependency(ctx context.Context, d build.Dependency) error {
	tracked, err := w.Tracked(ctx, w.Dir, d.Dir)
	switch {
	case err != nil:
		return err
	case len(tracked) > 0:
		return sluice.Errorf(sluice.Config, "the directory %s of the bundle %s has files of the commit in it, such as %s: a bundle takes its place", d.Dir, d.Name, tracked[0]).
			WithHint("another dir for the bundle")
	}
	platform := d.Platform
	if platform == build.AutoPlatform {
		platform = w.Platform
	}
	key, err := w.key(d, platform)
	if err != nil {
		return err
	}
	n := d.At(w.app.App, platform, key)
	if err := n.Check(); err != nil {
		return err
	}
	return w.timed(d.Name, func() (note string, err error) {
		h := held{Dependency: d, archive: filepath.Join(w.temp, d.Name+".tar.gz")}
		if found, err := w.fetch(ctx, n, &h); err != nil || found {
			return "from the repository", err
		}
		if err := w.make(ctx, d, platform, &h); err != nil {
			return "", err
		}
		if w.NoPush {
			w.bundles = append(w.bundles, h)
			return "made", nil
		}
		meta := map[string]string{"platform": platform, "make": inOneLine(d.Make)}
		if _, err = w.Depot.Push(ctx, n, h.archive, artifact.PushOptions{Meta: meta, By: w.By, Sign: w.Sign}); sluice.CodeOf(err) == sluice.Conflict {
			// Somebody else made it meanwhile, and no two come out the same: the one that is kept counts.
			found, err := w.fetch(ctx, n, &h)
			if err == nil && !found {
				err = sluice.Errorf(sluice.Conflict, "the bundle %s was there when this one came, and is gone now", n).WithHint("the same command builds it again")
			}
			return "made, and another build was faster", err
		} else if err != nil {
			return "", err
		}
		w.bundles = append(w.bundles, h)
		return "made", nil
	})
}

// inOneLine is a script as metadata can have it, for people: without control characters, and not too long.
func inOneLine(script string) string {
	const most = 200
	text := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(script, ""), func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// key reads what a bundle depends on.
func (w *building) key(d build.Dependency, platform string) (string, error) {
	var files []build.File
	names := d.KeyedBy
	if p := build.Program(d.Make); p != "" {
		names = append(names[:len(names):len(names)], p)
	}
	for _, name := range names {
		f, err := w.root.Open(name)
		if err != nil {
			return "", &sluice.Error{Code: sluice.Config, Text: "what the bundle " + d.Name + " is keyed by", Err: err}
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", &sluice.Error{Code: sluice.Config, Text: "what the bundle " + d.Name + " is keyed by", Err: err}
		}
		files = append(files, build.File{Path: name, SHA256: hex.EncodeToString(sum.Sum(nil))})
	}
	return build.Key(d, platform, w.app.Build.Env, files), nil
}

// fetch takes a bundle out of the repository, and puts it in its place.
func (w *building) fetch(ctx context.Context, n sluice.ArtifactName, h *held) (found bool, err error) {
	if w.Depot == nil {
		return false, nil
	}
	v, err := w.Depot.Pull(ctx, n, h.archive, true, w.Progress)
	if sluice.CodeOf(err) == sluice.NotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the bundle %s: %w", h.Name, err)
	}
	h.digest = v.Digest
	if h.tree, err = read(ctx, h.archive, nil); err != nil {
		return false, err
	}
	if err := w.place(ctx, *h); err != nil {
		return false, fmt.Errorf("putting the bundle %s into %s: %w", h.Name, h.Dir, err)
	}
	w.bundles = append(w.bundles, *h)
	return true, nil
}

// make makes a bundle in its place, and packs it.
func (w *building) make(ctx context.Context, d build.Dependency, platform string, h *held) error {
	if err := w.root.RemoveAll(d.Dir); err != nil {
		return err
	}
	if err := w.run(ctx, d.Name, d.Make, d.Timeout, map[string]string{
		"SLUICE_PART": d.Name, "SLUICE_PLATFORM": platform, "SOURCE_DATE_EPOCH": strconv.Itoa(oldest),
	}); err != nil {
		return err
	}
	root, err := w.root.OpenRoot(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &build.Failed{Part: d.Name, Script: d.Make, How: "ended well, and there is no directory " + d.Dir}
	}
	if err != nil {
		return err
	}
	defer root.Close()
	found, err := survey(ctx, root, build.Bundle{})
	if err != nil {
		return err
	}
	if h.digest, _, err = write(h.archive, h.archive, func(a *archive) error {
		for _, e := range found {
			if err := errors.Join(ctx.Err(), a.put(root, e)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if h.tree, err = read(ctx, h.archive, nil); err != nil {
		return &sluice.Error{Code: sluice.Config, Text: "what " + d.Make + " left in " + d.Dir + " cannot be put on hosts", Err: err,
			Hint: "links must stay inside: for a virtualenv, python3 -m venv --copies"}
	}
	return nil
}

// place unpacks a bundle. Its tree was checked, and nothing that is written leaves the checkout.
func (w *building) place(ctx context.Context, h held) error {
	if err := errors.Join(w.root.RemoveAll(h.Dir), w.root.MkdirAll(h.Dir, 0o755)); err != nil {
		return err
	}
	root, err := w.root.OpenRoot(h.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, e := range h.tree {
		if e.Kind == manifest.Dir {
			if err := root.Mkdir(e.Path, 0o755); err != nil {
				return err
			}
		}
	}
	if _, err := read(ctx, h.archive, func(e manifest.Entry, content io.Reader) error { return unpack(root, e, content) }); err != nil {
		return err
	}
	for _, e := range h.tree {
		if e.Kind == manifest.Link {
			if err := root.Symlink(e.To, e.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

func unpack(root *os.Root, e manifest.Entry, content io.Reader) error {
	if err := root.MkdirAll(path.Dir(e.Path), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(e.Mode))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// digests are those of the bundles, by name.
func (w *building) digests() map[string]string {
	out := map[string]string{}
	for _, h := range w.bundles {
		out[h.Name] = h.digest
	}
	return out
}
