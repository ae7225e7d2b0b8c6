package outpost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sluice"
)

// record is what is known of an attempt that the server may not know yet.
type record struct {
	Host    sluice.Host       `json:"host"`
	Attempt sluice.AttemptID  `json:"attempt"`
	Steps   []sluice.TaskStep `json:"steps,omitzero"`
	// Balanced is what was done for the host at its balancers.
	Balanced  []sluice.BalancerChanged `json:"balanced,omitzero"`
	Finished  *sluice.TaskFinished     `json:"finished,omitzero"`
	Withdrawn *sluice.TaskWithdrawn    `json:"withdrawn,omitzero"`
	// Proved says that the host was asked: that nothing was started holds then, whoever else had the attempt.
	Proved bool            `json:"proved,omitzero"`
	Job    json.RawMessage `json:"job,omitzero"` // as the log has it, for this host alone
}

func (r record) ended() bool { return r.Finished != nil || r.Withdrawn != nil }

// doubtful reports whether it says that nothing was started, for no better reason than that this worker sent no start.
func (r record) doubtful() bool {
	return !r.Proved && (r.Withdrawn != nil || r.Finished != nil && r.Finished.NotStarted)
}

const recordSuffix = ".json"

func (o *Outpost) recordPath(id sluice.AttemptID) string {
	return filepath.Join(o.cfg.Dir, string(id)+recordSuffix)
}

// writeRecord returns when the record is durable.
func (o *Outpost) writeRecord(j *sluice.Job, r record) error {
	var err error
	if r.Job, err = json.Marshal(sluice.JobSubmitted{Submitted: *j}); err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(o.cfg.Dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), o.recordPath(r.Attempt))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(o.cfg.Dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (o *Outpost) removeRecord(id sluice.AttemptID) error {
	if err := os.Remove(o.recordPath(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readRecords takes up the outcomes that an earlier process left. What it had without an outcome is the server's to give
// again.
func (o *Outpost) readRecords() error {
	if err := os.MkdirAll(o.cfg.Dir, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(o.cfg.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(o.cfg.Dir, f.Name())
		if !strings.HasSuffix(f.Name(), recordSuffix) {
			if strings.HasPrefix(f.Name(), ".new-") { // was not finished
				err = errors.Join(err, os.Remove(path))
			}
			continue
		}
		err = errors.Join(err, o.readRecord(path))
	}
	return err
}

func (o *Outpost) readRecord(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r record
	var j sluice.JobSubmitted
	err = json.Unmarshal(text, &r)
	if err == nil {
		err = json.Unmarshal(r.Job, &j)
	}
	id, _, _, ok := r.Attempt.Parse()
	if err == nil && (!ok || !r.ended()) {
		err = errors.New("it is no record of an attempt")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	j.Submitted.ID, r.Job = id, nil
	a, err := o.newAttempt(func() (*sluice.Job, *job, error) {
		use, err := o.use(&j.Submitted)
		return &j.Submitted, use, err
	}, r.Host, r.Attempt)
	if err != nil {
		return err
	}
	a.record = r
	return nil
}
