package fake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"sluice"
)

// Outputs are [sluice.Outputs] in memory.
type Outputs struct {
	Faults Faults

	mu      sync.Mutex
	streams map[stream][]byte
}

type stream struct {
	attempt sluice.AttemptID
	name    string
}

var (
	_ sluice.Outputs = (*Outputs)(nil)
	_ sluice.Shelf   = (*Outputs)(nil)
)

// NewOutputs returns empty outputs.
func NewOutputs() *Outputs { return &Outputs{streams: map[stream][]byte{}} }

// Write keeps a piece of a stream.
func (o *Outputs) Write(job sluice.JobID, a sluice.AttemptID, name string, offset int64, data []byte) error {
	if err := checkStream(job, a, name); err != nil {
		return err
	}
	if err := o.Faults.pass(context.Background(), OutputWrite); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := stream{a, name}
	size := int64(len(o.streams[s]))
	if offset < 0 || offset > size {
		return fmt.Errorf("%s of attempt %s: a piece at %d leaves a gap: %d bytes are kept", name, a, offset, size)
	}
	if fresh := size - offset; fresh < int64(len(data)) {
		o.streams[s] = append(o.streams[s], data[fresh:]...)
	}
	return nil
}

// Sync makes what was written durable.
func (o *Outputs) Sync(sluice.JobID) error { return o.Faults.pass(context.Background(), OutputSync) }

// Size returns how many bytes of a stream are kept.
func (o *Outputs) Size(job sluice.JobID, a sluice.AttemptID, name string) (int64, error) {
	b, err := o.bytes(job, a, name)
	return int64(len(b)), err
}

// Open reads a stream.
func (o *Outputs) Open(job sluice.JobID, a sluice.AttemptID, name string) (io.ReadCloser, error) {
	b, err := o.bytes(job, a, name)
	if err != nil {
		return nil, err
	}
	return reader{bytes.NewReader(b)}, nil
}

func (o *Outputs) bytes(job sluice.JobID, a sluice.AttemptID, name string) ([]byte, error) {
	if err := checkStream(job, a, name); err != nil {
		return nil, err
	}
	if err := o.Faults.pass(context.Background(), OutputRead); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clip(o.streams[stream{a, name}]), nil
}

// Close forgets nothing: nothing is held open.
func (o *Outputs) Close(sluice.JobID) error { return nil }

// Kept lists the jobs of which something is kept.
func (o *Outputs) Kept(context.Context) (out []sluice.Kept, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	sizes := map[string]int64{}
	for s, data := range o.streams {
		job, _, _, _ := s.attempt.Parse()
		sizes[string(job)] += int64(len(data))
	}
	for _, job := range slices.Sorted(maps.Keys(sizes)) {
		out = append(out, sluice.Kept{Name: job, Bytes: sizes[job]})
	}
	return out, nil
}

// Discard removes all of a job.
func (o *Outputs) Discard(_ context.Context, job string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.streams, func(s stream, _ []byte) bool {
		of, _, _, _ := s.attempt.Parse()
		return string(of) == job
	})
	return nil
}

func checkStream(job sluice.JobID, a sluice.AttemptID, name string) error {
	of, _, _, ok := a.Parse()
	if !ok || of != job || name != "stdout" && name != "stderr" && name != "fetched" {
		return fmt.Errorf("no stream %q of an attempt %q of a job %q", name, a, job)
	}
	return nil
}

// reader reads a stream from any place.
type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }
