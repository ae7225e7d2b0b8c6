// Package versions says what the version of a release is on one host: the files of its artifact, which the stock has near the
// hosts, and the configuration, which is opened here and nowhere else.
//
// It knows content by its digest only, and nothing of how it gets to a host.
package versions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/run/stock"
	"sluice/internal/run/work"
)

// Versions answers for all jobs of a worker. It is safe for concurrent use.
type Versions struct {
	// From reads content by its digest.
	From stock.Opener
	// Stock opens the cache of files; it is called once, when the first release is asked for.
	Stock func(ctx context.Context) (*stock.Stock, error)
	// Unlock opens what is sealed in configurations; nil: there is no identity to open it with.
	Unlock config.Unlock

	mu    sync.Mutex
	stock *stock.Stock
	lists map[string]manifest.Manifest // of artifacts, by digest
}

// Bounds of what is read into memory.
const (
	maxManifest = 256 << 20
	maxConfig   = 256 << 20
	keptLists   = 16
)

// Version is what the job's release is on a host.
func (v *Versions) Version(ctx context.Context, job *sluice.Job, host sluice.Host) (_ work.Version, err error) {
	r := job.Action.Release
	files, err := v.files(ctx, r.Manifest)
	if err != nil {
		return work.Version{}, err
	}
	made, err := v.configuration(ctx, r, host)
	if err != nil {
		return work.Version{}, err
	}
	defer func() {
		if err != nil {
			wipe(made)
		}
	}()
	all, err := with(files, made)
	if err != nil {
		return work.Version{}, err
	}
	s, err := v.opened(ctx)
	if err != nil {
		return work.Version{}, err
	}
	tree, err := s.Take(ctx, r.Artifact, files, v.From)
	if err != nil {
		return work.Version{}, err
	}
	done := func() {
		_ = tree.Close()
		wipe(made)
	}
	return work.Version{Files: all, Close: done, Open: func(ctx context.Context, sum string) (io.ReadCloser, error) {
		if text, ok := made[sum]; ok {
			return io.NopCloser(bytes.NewReader(text.content)), nil
		}
		return tree.Open(ctx, sum)
	}}, nil
}

// Close ends the use of the cache.
func (v *Versions) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stock == nil {
		return nil
	}
	err := v.stock.Close()
	v.stock = nil
	return err
}

func (v *Versions) opened(ctx context.Context) (*stock.Stock, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stock != nil {
		return v.stock, nil
	}
	s, err := v.Stock(ctx)
	v.stock = s
	return s, err
}

// read has content that is what its digest says.
func (v *Versions) read(ctx context.Context, what, digest string, limit int64) ([]byte, error) {
	in, err := v.From.Open(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = in.Close() }()
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch sum := sha256.Sum256(text); {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case int64(len(text)) > limit:
		return nil, fmt.Errorf("%s is larger than %d bytes", what, limit)
	case "sha256:"+hex.EncodeToString(sum[:]) != digest:
		return nil, fmt.Errorf("%s is not what its digest says: it was damaged or changed", what)
	}
	return text, nil
}

// files is the manifest of an artifact.
func (v *Versions) files(ctx context.Context, digest string) (manifest.Manifest, error) {
	v.mu.Lock()
	m, ok := v.lists[digest]
	v.mu.Unlock()
	if ok {
		return m, nil
	}
	text, err := v.read(ctx, "the manifest of the artifact", digest, maxManifest)
	if err != nil {
		return nil, err
	}
	if m, err = manifest.Parse(text); err != nil {
		return nil, fmt.Errorf("the manifest of the artifact: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lists == nil || len(v.lists) >= keptLists {
		v.lists = map[string]manifest.Manifest{}
	}
	v.lists[digest] = m
	return m, nil
}

// made is a file that is made for one host.
type made struct {
	path    string
	mode    uint32
	content []byte
}

// wipe forgets what was made: there may be secrets in it.
func wipe(files map[string]made) {
	for _, f := range files {
		clear(f.content)
	}
}

// configuration is the file that a host's configuration becomes, by its digest; none where the release has none.
func (v *Versions) configuration(ctx context.Context, r *sluice.Release, host sluice.Host) (map[string]made, error) {
	if r.Config == "" {
		return nil, nil
	}
	text, err := v.read(ctx, "the configuration", r.Config, maxConfig)
	if err != nil {
		return nil, err
	}
	list, err := release.ParseConfigs(text)
	if err != nil {
		return nil, err
	}
	unlock := v.Unlock
	if unlock == nil {
		unlock = func(string) (sluice.Secret, error) {
			return sluice.Secret{}, sluice.Errorf(sluice.Denied, "it is sealed, and this worker has no identity to open it with")
		}
	}
	opened, err := config.FrozenOf(list.For(host)).Open(unlock)
	if err != nil {
		return nil, fmt.Errorf("the configuration of %s: %w", host, err)
	}
	defer opened.Wipe()
	secret := opened.JSON()
	defer secret.Wipe()
	content := append(bytes.Clone(secret.Reveal()), '\n')
	sum := sha256.Sum256(content)
	return map[string]made{hex.EncodeToString(sum[:]): {release.ConfigPath, release.ConfigMode, content}}, nil
}

// with is a tree with more files in it, none of which is there already.
func with(m manifest.Manifest, more map[string]made) (manifest.Manifest, error) {
	if len(more) == 0 {
		return m, nil
	}
	entries := append([]manifest.Entry(nil), m...)
	for sum, f := range more {
		for _, e := range m {
			if e.Path == f.path {
				return nil, fmt.Errorf("the artifact has a file %s, and what is made for the host belongs there", f.path)
			}
		}
		entries = append(entries, manifest.Entry{Path: f.path, Kind: manifest.File, Mode: f.mode, Size: int64(len(f.content)), SHA256: sum})
	}
	return manifest.New(entries)
}
