package diroutputs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"sluice"
)

const (
	suffix = ".out"
	// maxOpen is how many jobs' files are kept open; beyond it those used longest ago are closed.
	maxOpen = 128
)

// Outputs keeps outputs in a directory. It is safe for concurrent use.
type Outputs struct {
	dir  string
	max  int
	disk func(*os.File) error // fdatasync; tests have it fail

	mu    sync.Mutex
	files map[sluice.JobID]*jobFile
	used  []sluice.JobID // the files, longest ago first
}

var _ sluice.Outputs = (*Outputs)(nil)

// New keeps outputs in dir, which it makes if it is missing, for this user alone.
func New(dir string) (*Outputs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("outputs: %w", err)
	}
	return &Outputs{dir: dir, max: maxOpen, disk: fdatasync, files: map[sluice.JobID]*jobFile{}}, nil
}

// Write keeps data at the offset of a stream.
func (o *Outputs) Write(job sluice.JobID, a sluice.AttemptID, name string, offset int64, data []byte) error {
	s, err := streamOf(job, a, name)
	if err != nil {
		return err
	}
	if len(data) == 0 && offset == 0 {
		return nil
	}
	return o.with(job, func(j *jobFile) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		if err := j.becomeWriter(); err != nil {
			return err
		}
		return j.write(s, fmt.Sprintf("%s of attempt %s", name, a), offset, data)
	})
}

// Sync makes everything written so far for the job durable.
func (o *Outputs) Sync(job sluice.JobID) error {
	return o.with(job, (*jobFile).sync)
}

// Size returns how many bytes of a stream are kept.
func (o *Outputs) Size(job sluice.JobID, a sluice.AttemptID, name string) (size int64, err error) {
	s, err := streamOf(job, a, name)
	if err != nil {
		return 0, err
	}
	err = o.with(job, func(j *jobFile) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		err := j.refresh()
		size = j.streams[s].size
		return err
	})
	return size, err
}

// Open reads a stream from its beginning, as far as it is kept now. Where a part of it is damaged, the reader ends
// there with an error.
func (o *Outputs) Open(job sluice.JobID, a sluice.AttemptID, name string) (r io.ReadCloser, err error) {
	s, err := streamOf(job, a, name)
	if err != nil {
		return nil, err
	}
	err = o.with(job, func(j *jobFile) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		if err := j.refresh(); err != nil {
			return err
		}
		r, err = j.open(s, fmt.Sprintf("%s of attempt %s", name, a))
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes the job's file. Readers that are open may go on.
func (o *Outputs) Close(job sluice.JobID) error {
	o.mu.Lock()
	j := o.files[job]
	o.mu.Unlock()
	if j == nil {
		return nil
	}
	return wrap(job, j.close())
}

// CloseAll closes every job's file.
func (o *Outputs) CloseAll() error {
	o.mu.Lock()
	var all []*jobFile
	for _, j := range o.files {
		all = append(all, j)
	}
	o.mu.Unlock()
	var errs []error
	for _, j := range all {
		errs = append(errs, wrap(j.job, j.close()))
	}
	return errors.Join(errs...)
}

// Remove removes all outputs of a job.
func (o *Outputs) Remove(job sluice.JobID) error {
	return o.with(job, func(j *jobFile) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		err := os.Remove(j.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return errors.Join(err, j.drop(), syncDir(o.dir))
	})
}

// with does something with a job's file, which is not closed for want of room meanwhile.
func (o *Outputs) with(job sluice.JobID, do func(*jobFile) error) error {
	if !job.Valid() {
		return fmt.Errorf("output: %q is no job id", job)
	}
	j := o.use(job)
	err := do(j)
	return wrap(job, errors.Join(err, o.done(j)))
}

func (o *Outputs) use(job sluice.JobID) *jobFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	j := o.files[job]
	if j == nil {
		j = &jobFile{job: job, dir: o.dir, path: filepath.Join(o.dir, string(job)+suffix), disk: o.disk, streams: map[stream]extent{}}
		o.files[job] = j
	}
	j.uses++
	o.touch(job)
	return j
}

// touch makes the job the one used last.
func (o *Outputs) touch(job sluice.JobID) {
	for i := len(o.used) - 1; i >= 0; i-- {
		if o.used[i] == job {
			copy(o.used[i:], o.used[i+1:])
			o.used[len(o.used)-1] = job
			return
		}
	}
	o.used = append(o.used, job)
}

// done ends a use, and closes files beyond the limit that nobody uses. One that a disk failed under is kept: it
// must not be forgotten.
func (o *Outputs) done(j *jobFile) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	j.uses--
	var errs []error
	kept := o.used[:0]
	over := len(o.used) - o.max
	for _, job := range o.used {
		old := o.files[job]
		if over <= 0 || old.uses > 0 || old.failed != nil {
			kept = append(kept, job)
			continue
		}
		over--
		delete(o.files, job)
		errs = append(errs, old.close())
	}
	o.used = kept
	return errors.Join(errs...)
}

func wrap(job sluice.JobID, err error) error {
	if err == nil || sluice.CodeOf(err) != "" {
		return err
	}
	return fmt.Errorf("outputs of job %s: %w", job, err)
}
