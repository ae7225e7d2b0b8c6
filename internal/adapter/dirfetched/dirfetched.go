// Package dirfetched is the directory in which a server keeps what jobs fetched from hosts: one below it for each job, with
// one for each host. It is a [sluice.Shelf], and hands out what an archive takes.
//
// It does not put anything there, and does not know what is needed.
package dirfetched

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"sluice"
)

// Fetched is such a directory. It need not be there.
type Fetched struct{ dir string }

// New names one.
func New(dir string) *Fetched { return &Fetched{dir} }

var _ sluice.Shelf = (*Fetched)(nil)

// Kept lists the jobs of which something is there.
func (f *Fetched) Kept(ctx context.Context) (out []sluice.Kept, err error) {
	found, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, d := range found {
		if !d.IsDir() || !sluice.JobID(d.Name()).Valid() {
			continue
		}
		k := sluice.Kept{Name: d.Name()}
		err := f.walk(ctx, d.Name(), func(_ string, info fs.FileInfo) error {
			if info.Mode().IsRegular() {
				k.Bytes += info.Size()
			}
			// Files keep the time that they have on their hosts; directories tell when something came.
			if info.IsDir() && info.ModTime().After(k.Changed) {
				k.Changed = info.ModTime()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, ctx.Err()
}

// walk shows everything of a job, by its path below the job's directory. What is a link is not followed.
func (f *Fetched) walk(ctx context.Context, job string, each func(path string, info fs.FileInfo) error) error {
	root := filepath.Join(f.dir, job)
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		return each(below, info)
	})
}

// Discard removes all that a job fetched.
func (f *Fetched) Discard(_ context.Context, job string) error {
	if !sluice.JobID(job).Valid() {
		return sluice.Errorf(sluice.Usage, "%q is no job id", job)
	}
	return os.RemoveAll(filepath.Join(f.dir, job))
}

// Parts are the files that a job fetched, as HOST/fetched/PATH, for an archive. Links are not among them.
func (f *Fetched) Parts(ctx context.Context, job sluice.JobID) iter.Seq2[sluice.Part, error] {
	return func(yield func(sluice.Part, error) bool) {
		enough := errors.New("enough")
		err := f.walk(ctx, string(job), func(path string, info fs.FileInfo) error {
			if !info.Mode().IsRegular() {
				return nil
			}
			r, err := os.Open(filepath.Join(f.dir, string(job), path))
			if err != nil {
				return err
			}
			more := yield(sluice.Part{Name: archived(path), Bytes: info.Size(), From: r}, nil)
			if err := r.Close(); err != nil {
				return err
			}
			if !more {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) && !errors.Is(err, fs.ErrNotExist) {
			yield(sluice.Part{}, err)
		}
	}
}

// archived is the name of HOST/PATH in an archive.
func archived(path string) string {
	for i := range len(path) {
		if path[i] == filepath.Separator {
			return filepath.ToSlash(path[:i] + "/fetched" + path[i:])
		}
	}
	return path
}
