package copies

import (
	"context"
	"errors"
	"io"

	"sluice"
)

// Keeper is what a server lets the others keep and read of outputs, as [sluice.Peer] has it. The outputs are its plain ones.
type Keeper struct{ Outputs sluice.Outputs }

// KeepOutput keeps pieces, durably. Those before one that leaves a gap are kept.
func (k Keeper) KeepOutput(ctx context.Context, job sluice.JobID, pieces []sluice.OutputPiece) error {
	err := k.keep(ctx, job, pieces)
	if len(pieces) == 0 {
		return err
	}
	return errors.Join(err, k.Outputs.Sync(job))
}

func (k Keeper) keep(ctx context.Context, job sluice.JobID, pieces []sluice.OutputPiece) error {
	for _, p := range pieces {
		if err := ctx.Err(); err != nil {
			return err
		}
		size, err := k.Outputs.Size(job, p.Attempt, p.Stream)
		if err != nil {
			return err
		}
		if p.Offset > size {
			return sluice.Errorf(sluice.Conflict, "%s of attempt %s: a piece at %d leaves a gap: %d bytes are kept", p.Stream, p.Attempt, p.Offset, size)
		}
		if len(p.Data) == 0 { // it asks whether all before it is there
			continue
		}
		if err := k.Outputs.Write(job, p.Attempt, p.Stream, p.Offset, p.Data); err != nil {
			return err
		}
	}
	return nil
}

// OutputSize is how much of a stream is kept here.
func (k Keeper) OutputSize(_ context.Context, job sluice.JobID, a sluice.AttemptID, stream string) (int64, error) {
	return k.Outputs.Size(job, a, stream)
}

// OpenOutput reads a stream from a place on.
func (k Keeper) OpenOutput(_ context.Context, job sluice.JobID, a sluice.AttemptID, stream string, from int64) (io.ReadCloser, error) {
	r, err := k.Outputs.Open(job, a, stream)
	if err != nil {
		return nil, err
	}
	if _, err := r.(io.Seeker).Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}
