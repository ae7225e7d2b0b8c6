package app

import (
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"

	"sluice"
	"sluice/internal/adapter/dirfetched"
	"sluice/internal/run/copies"
	"sluice/internal/run/tree"
)

// atWork are outputs for those who carry attempts out.
func atWork(o sluice.Outputs) sluice.Outputs {
	if c, ok := o.(*copies.Outputs); ok {
		return c.AtWork()
	}
	return o
}

// handedOver are outputs for those who take what workers elsewhere print.
func handedOver(o sluice.Outputs) sluice.Outputs {
	if c, ok := o.(*copies.Outputs); ok {
		return c.Patient()
	}
	return o
}

// keepFetched has what an attempt fetched into a directory survive this server, where it is one of several.
func keepFetched(o sluice.Outputs) func(job sluice.JobID, a sluice.AttemptID, dir string) error {
	c, ok := o.(*copies.Outputs)
	if !ok {
		return nil
	}
	return func(job sluice.JobID, a sluice.AttemptID, dir string) error {
		return c.KeepFetched(job, a, func(w io.Writer) error { return tree.Pack(w, dir) })
	}
}

// bringFetched has all that a job fetched be here, which an earlier owner of the log may have got.
func (s *Server) bringFetched(ctx context.Context, o sluice.Outputs, job sluice.JobID) error {
	c, ok := o.(*copies.Outputs)
	if !ok {
		return nil
	}
	has := func(h sluice.Host) bool {
		_, err := os.Lstat(filepath.Join(s.fetchDir(job), string(h)))
		return err == nil
	}
	return c.BringFetched(ctx, job, has, func(r io.Reader, j *sluice.Job, h sluice.Host) error {
		return unpackFetched(r, s.fetchDir(job), h, j.Action.Source)
	})
}

// fetchedOf is what jobs fetched, for an archive: wherever it is.
type fetchedOf struct {
	*dirfetched.Fetched
	bring func(ctx context.Context, job sluice.JobID) error
}

func (f fetchedOf) Parts(ctx context.Context, job sluice.JobID) iter.Seq2[sluice.Part, error] {
	return func(yield func(sluice.Part, error) bool) {
		if err := f.bring(ctx, job); err != nil {
			yield(sluice.Part{}, err)
			return
		}
		f.Fetched.Parts(ctx, job)(yield)
	}
}
