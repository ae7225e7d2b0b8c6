package diroutputs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"sluice"
)

var _ sluice.Shelf = (*Outputs)(nil)

// Kept lists the jobs of which output is kept, by id.
func (o *Outputs) Kept(ctx context.Context) (out []sluice.Kept, err error) {
	found, err := os.ReadDir(o.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		id, ok := strings.CutSuffix(f.Name(), suffix)
		if !ok || !sluice.JobID(id).Valid() {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, sluice.Kept{Name: id, Bytes: info.Size(), Changed: info.ModTime()})
	}
	return out, ctx.Err()
}

// Discard removes all outputs of a job.
func (o *Outputs) Discard(_ context.Context, job string) error { return o.Remove(sluice.JobID(job)) }
