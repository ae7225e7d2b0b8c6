package app

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"sluice"
	"sluice/internal/adapter/dirarchive"
	"sluice/internal/adapter/dirfetched"
	"sluice/internal/adapter/s3/s3archive"
	"sluice/internal/run/retain"
)

// retaining is what it takes to keep no more than the server is told to.
func (s *Server) retaining(ctx context.Context, r *running, trouble func(string)) (retain.Config, error) {
	cfg := retain.Config{Policy: s.Keep, Log: r.service.Log, Outputs: r.service.Outputs, Copy: !r.life.Owns, Follows: r.life.Follows, Clock: s.Clock, Trouble: trouble,
		Fetched: fetchedOf{dirfetched.New(filepath.Join(s.Data, fetchedDir)), func(ctx context.Context, job sluice.JobID) error {
			return s.bringFetched(ctx, r.service.Outputs, job)
		}}}
	var printed, sent bool
	cfg.Printed, printed = r.service.Outputs.(sluice.Shelf)
	cfg.Sent, sent = r.here.Blobs.(retain.Sent)
	if s.Keep.Any() && (!printed || !sent) {
		return cfg, fmt.Errorf("%T and %T cannot be asked what they keep", r.here.Outputs, r.here.Blobs)
	}
	var err error
	if s.Archive != "" {
		cfg.Archive, err = archive(ctx, s.Archive)
	}
	return cfg, err
}

// checkArchive says what is wrong with the name of a place, before anything is made.
func checkArchive(where string) error {
	if !strings.HasPrefix(where, "s3://") {
		return nil
	}
	_, err := s3archive.Parse(where)
	return err
}

// archive opens the place for what is not kept any more: a bucket, or a directory.
func archive(ctx context.Context, where string) (sluice.Archive, error) {
	if !strings.HasPrefix(where, "s3://") {
		return dirarchive.New(where)
	}
	place, err := s3archive.Parse(where)
	if err != nil {
		return nil, err
	}
	return s3archive.New(ctx, place)
}
