package copies

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"sluice"
)

// packed is the stream of an attempt that has what it fetched, as a tar stream. So it is where outputs are, and goes when they do: files
// that are on one server only need no way of their own to the others.
//
// An attempt may fetch again, where it was not heard that it had. So behind each content is how long it is and what it is: it counts if it
// is the last one, and whole.
const packed = "fetched"

const (
	footMagic = "SLUICEF1"
	footLen   = len(footMagic) + 8 + sha256.Size
)

// KeepFetched keeps what an attempt fetched on a majority. pack writes it as a tar stream.
func (o *Outputs) KeepFetched(job sluice.JobID, a sluice.AttemptID, pack func(io.Writer) error) error {
	at, err := o.Size(job, a, packed)
	if err != nil {
		return err
	}
	w := &packing{o: o, job: job, a: a, at: at, sum: sha256.New()}
	if err := pack(w); err != nil {
		return err
	}
	foot := append([]byte(footMagic), make([]byte, 8)...)
	binary.BigEndian.PutUint64(foot[len(footMagic):], uint64(w.at+int64(len(w.buf))-at))
	w.buf = append(w.buf, w.sum.Sum(foot)...)
	if err := w.flush(); err != nil {
		return err
	}
	return o.Sync(job)
}

// packing writes a stream.
type packing struct {
	o   *Outputs
	job sluice.JobID
	a   sluice.AttemptID
	at  int64
	buf []byte
	sum hash.Hash
}

func (w *packing) Write(p []byte) (int, error) {
	_, _ = w.sum.Write(p)
	for n := 0; n < len(p); {
		k := min(len(p)-n, maxPiece-len(w.buf))
		w.buf, n = append(w.buf, p[n:n+k]...), n+k
		if len(w.buf) == maxPiece {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
	}
	return len(p), nil
}

func (w *packing) flush() error {
	err := w.o.Write(w.job, w.a, packed, w.at, w.buf)
	w.at, w.buf = w.at+int64(len(w.buf)), w.buf[:0]
	return err
}

// OpenFetched reads what an attempt fetched, wherever it is kept; fs.ErrNotExist if there is nothing. If it is not what was kept, the reader
// ends with an error.
func (o *Outputs) OpenFetched(job sluice.JobID, a sluice.AttemptID) (_ io.ReadCloser, err error) {
	size, err := o.Size(job, a, packed)
	if err != nil {
		return nil, err
	}
	none := fmt.Errorf("nothing that the attempt %s fetched is kept: %w", a, fs.ErrNotExist)
	end := size - int64(footLen)
	if end < 0 {
		return nil, none
	}
	r, err := o.local.Open(job, a, packed)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	place, foot := r.(io.Seeker), make([]byte, footLen)
	if _, err := place.Seek(end, io.SeekStart); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, foot); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint64(foot[len(footMagic):]))
	if !bytes.HasPrefix(foot, []byte(footMagic)) || n < 0 || n > end {
		return nil, none
	}
	if _, err := place.Seek(end-n, io.SeekStart); err != nil {
		return nil, err
	}
	return unpacking{&proving{r: io.LimitReader(r, n), sum: sha256.New(), digest: fmt.Sprintf("sha256:%x", foot[len(footMagic)+8:])}, r}, nil
}

type unpacking struct {
	io.Reader
	io.Closer
}

// BringFetched has what a job fetched be here. has says of a host whether that is so, and unpack puts a tar stream in its place.
func (o *Outputs) BringFetched(ctx context.Context, job sluice.JobID, has func(sluice.Host) bool, unpack func(io.Reader, *sluice.Job, sluice.Host) error) error {
	ns, _, err := o.c.cfg.Log.FindJob(ctx, string(job))
	if err != nil {
		return err
	}
	events, err := o.c.cfg.Log.ReadJob(ctx, ns, job)
	if err != nil {
		return err
	}
	spec := specOf(events)
	if spec == nil || spec.Action.Kind != sluice.FetchFrom {
		return nil
	}
	var errs []error
	for h, a := range succeeded(events) {
		if has(h) {
			continue
		}
		r, err := o.OpenFetched(job, a)
		if err == nil {
			err = errors.Join(unpack(r, spec, h), r.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("what job %s fetched from %s: %w", job, h, err))
		}
	}
	return errors.Join(errs...)
}

func specOf(events []sluice.Event) *sluice.Job {
	for _, e := range events {
		if b, is := e.Body.(sluice.JobSubmitted); is {
			return &b.Submitted
		}
	}
	return nil
}

// succeeded are the attempts that ended well, and whose output was not removed since.
func succeeded(events []sluice.Event) map[sluice.Host]sluice.AttemptID {
	out := map[sluice.Host]sluice.AttemptID{}
	for _, e := range events {
		switch b := e.Body.(type) {
		case sluice.TaskFinished:
			if b.Outcome == sluice.Succeeded && b.Attempt != "" {
				out[b.Host] = b.Attempt
			}
		case sluice.OutputRemoved:
			clear(out)
		}
	}
	return out
}
