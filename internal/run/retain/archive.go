package retain

import (
	"bytes"
	"context"
	"encoding/json"

	"sluice"
)

// archive puts a job's events, and all that its attempts printed and fetched, into a segment.
func (s *sweep) archive(ctx context.Context, id sluice.JobID, j *job) (name, digest string, err error) {
	events, err := s.cfg.Log.ReadJob(ctx, j.ns, id)
	if err != nil {
		return "", "", err
	}
	var text bytes.Buffer
	for _, e := range events {
		b, err := json.Marshal(e)
		if err != nil {
			return "", "", err
		}
		text.Write(append(b, '\n'))
	}
	return s.cfg.Archive.Put(ctx, id, s.now, func(yield func(sluice.Part, error) bool) {
		if !yield(sluice.Part{Name: "events.jsonl", Bytes: int64(text.Len()), From: &text}, nil) {
			return
		}
		for _, e := range events {
			if b, ok := e.Body.(sluice.TaskStarted); ok && !s.printed(id, b, yield) {
				return
			}
		}
		for p, err := range s.cfg.Fetched.Parts(ctx, id) {
			if !yield(p, err) {
				return
			}
		}
	})
}

// printed hands on what an attempt printed. It returns false where that is enough.
func (s *sweep) printed(id sluice.JobID, b sluice.TaskStarted, yield func(sluice.Part, error) bool) bool {
	for _, stream := range []string{"stdout", "stderr"} {
		size, err := s.cfg.Outputs.Size(id, b.Attempt, stream)
		if err != nil {
			return yield(sluice.Part{}, err)
		}
		if size == 0 {
			continue
		}
		r, err := s.cfg.Outputs.Open(id, b.Attempt, stream)
		if err != nil {
			return yield(sluice.Part{}, err)
		}
		more := yield(sluice.Part{Name: string(b.Host) + "/" + string(b.Attempt) + "." + stream, Bytes: size, From: r}, nil)
		if err := r.Close(); err != nil && more {
			return yield(sluice.Part{}, err)
		}
		if !more {
			return false
		}
	}
	return true
}
