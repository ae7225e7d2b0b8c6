package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/internal/adapter/dirartifacts"
	"sluice/internal/adapter/minisign"
	"sluice/internal/adapter/s3/s3artifacts"
	"sluice/internal/core/artifact"
	"sluice/internal/front/cli"
	"sluice/internal/run/depot"
	"sluice/internal/run/tarball"
)

// artifacts are the repositories of artifacts, and a file that says which one is used.
type artifacts struct {
	path  string
	who   func() string
	clock sluice.Clock
}

// Open opens a repository. Nothing is asked of it yet.
func (a artifacts) Open(ctx context.Context, p cli.ArtifactPlace) (cli.Depot, func() error, error) {
	d := &depot.Depot{Clock: a.clock, Limits: tarball.DefaultLimits()}
	if len(p.Keys) > 0 {
		keys, err := minisign.ParseKeys(p.Keys)
		if err != nil {
			return nil, nil, err
		}
		d.Verify = keys.Verify
	}
	store, closing, err := openArtifacts(ctx, p.Store)
	d.Store = store
	return d, closing, err
}

// openArtifacts opens what a repository is kept in: a bucket, or a directory.
func openArtifacts(ctx context.Context, where string) (sluice.Artifacts, func() error, error) {
	if strings.HasPrefix(where, "s3://") {
		place, err := s3artifacts.Parse(where)
		if err != nil {
			return nil, nil, err
		}
		s, err := s3artifacts.New(ctx, place)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	}
	if strings.Contains(where, "://") {
		return nil, nil, sluice.Errorf(sluice.Usage, "%q is no repository of artifacts", where).WithHint("a directory is one, or s3://BUCKET/PREFIX")
	}
	s, err := dirartifacts.New(where)
	return s, func() error { return nil }, err
}

func (a artifacts) Who() string { return a.who() }

func (artifacts) CheckKeys(keys []string) error {
	_, err := minisign.ParseKeys(keys)
	return err
}

func (artifacts) Signer(key []byte, passphrase func() (sluice.Secret, error)) (artifact.Sign, error) {
	s, err := minisign.NewSigner(key, passphrase)
	if err != nil {
		return nil, err
	}
	return s.Sign, nil
}

// Load reads which repository is used.
func (a artifacts) Load() (p cli.ArtifactPlace, err error) {
	text, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, &sluice.Error{Code: sluice.Config, Text: "which repository of artifacts is used", Err: fmt.Errorf("%s: %w", a.path, err), Hint: "sluice artifact use DIRECTORY writes it anew"}
	}
	return p, nil
}

// Save keeps which repository is used.
func (a artifacts) Save(p cli.ArtifactPlace) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	const what = "keeping which repository is used"
	if err := os.MkdirAll(filepath.Dir(a.path), 0o700); err != nil {
		return &sluice.Error{Code: sluice.Config, Text: what, Err: err}
	}
	return ownFile(a.path, append(text, '\n'), what)
}
