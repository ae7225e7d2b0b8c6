// Package versions says what the version of a release is on one host: the files of its artifact, which the stock has near the
// hosts, and what its templates and its configuration come to there. The configuration is opened here and nowhere else.
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
	all   map[string]release.Configs   // of the hosts of a release, by digest
}

// Bounds of what is read into memory.
const (
	maxManifest = 256 << 20
	maxConfig   = 256 << 20
	keptLists   = 16
	keptConfigs = 4 // each has those of all hosts of a release, which ask one after the other
)

// Version is what the job's release is on a host.
func (v *Versions) Version(ctx context.Context, job *sluice.Job, host sluice.Host) (work.Version, error) {
	r := job.Action.Release
	files, err := v.files(ctx, r.Manifest)
	if err != nil {
		return work.Version{}, err
	}
	opened, err := v.configuration(ctx, r.Config, host)
	if err != nil {
		return work.Version{}, err
	}
	if opened != nil {
		defer opened.Wipe()
	}
	s, err := v.opened(ctx)
	if err != nil {
		return work.Version{}, err
	}
	tree, err := s.Take(ctx, r.Artifact, files, v.From)
	if err != nil {
		return work.Version{}, err
	}
	on, err := render(ctx, tree, files, r.Deploy.Templates, opened)
	if err != nil {
		_ = tree.Close()
		return work.Version{}, err
	}
	// Two files may have the same content: what is looked for is a content, whichever file it is for.
	made := map[string][]byte{}
	for _, f := range on.Made {
		made[f.Sum()] = f.Content
	}
	done := func() {
		_ = tree.Close()
		release.Wipe(on.Made)
	}
	return work.Version{Files: on.Files, Links: on.Links, Close: done, Open: func(ctx context.Context, sum string) (io.ReadCloser, error) {
		if text, ok := made[sum]; ok {
			return io.NopCloser(bytes.NewReader(text)), nil
		}
		return tree.Open(ctx, sum)
	}}, nil
}

// Secrets are what is sealed in the configuration that the job deploys on a host, and in the one that the host has, as far as the job
// says it, and goes back to.
func (v *Versions) Secrets(ctx context.Context, job *sluice.Job, host sluice.Host) (list []sluice.Secret, err error) {
	defer func() {
		if err != nil {
			for _, s := range list {
				s.Wipe()
			}
			list = nil
		}
	}()
	for _, digest := range []string{job.Action.Release.Config, job.Action.Back[host].Config} {
		opened, err := v.configuration(ctx, digest, host)
		if err != nil {
			return list, err
		}
		if opened != nil {
			list = append(list, opened.Secrets()...)
		}
	}
	return list, nil
}

// render makes what a host has beside the artifact.
func render(ctx context.Context, tree *stock.Tree, files manifest.Manifest, list []sluice.Template, opened *config.Opened) (release.Host, error) {
	r, err := release.NewRenderer(files, list, func(e manifest.Entry) ([]byte, error) {
		in, err := tree.Open(ctx, e.SHA256)
		if err != nil {
			return nil, err
		}
		defer func() { _ = in.Close() }()
		return io.ReadAll(in)
	})
	if err != nil {
		return release.Host{}, err
	}
	return r.Render(opened)
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

// configs are the configurations of all hosts of a release.
func (v *Versions) configs(ctx context.Context, digest string) (release.Configs, error) {
	v.mu.Lock()
	c, ok := v.all[digest]
	v.mu.Unlock()
	if ok {
		return c, nil
	}
	text, err := v.read(ctx, "the configuration", digest, maxConfig)
	if err != nil {
		return c, err
	}
	if c, err = release.ParseConfigs(text); err != nil {
		return c, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil || len(v.all) >= keptConfigs {
		v.all = map[string]release.Configs{}
	}
	v.all[digest] = c
	return c, nil
}

// configuration is a host's configuration of those with a digest, opened; nil for "", which is none.
func (v *Versions) configuration(ctx context.Context, digest string, host sluice.Host) (*config.Opened, error) {
	if digest == "" {
		return nil, nil
	}
	list, err := v.configs(ctx, digest)
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
	return opened, nil
}
