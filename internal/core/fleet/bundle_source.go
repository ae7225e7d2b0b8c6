package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sluice"
)

// reader is a [Source] that may have inventories as they were read, in place of files and programs. has says that it
// answers for all inventories.
type reader interface {
	inventory(file string) (inv *inventory, has bool, err error)
}

// nothing answers nothing.
type nothing struct{}

func (nothing) ReadFile(string, int64) ([]byte, error) { return nil, notRecorded() }
func (nothing) Glob(string) ([]string, error)          { return nil, notRecorded() }
func (nothing) Executable(string) (bool, error)        { return false, notRecorded() }
func (nothing) Run(string, []string, time.Duration, int64) ([]byte, error) {
	return nil, notRecorded()
}

func notRecorded() error { return fmt.Errorf("it %w", ErrNotRecorded) }

// replay answers from a bundle.
type replay struct {
	nothing     // whether a file is executable is asked of inventories only
	files       map[string][]byte
	globs       map[string][]string
	inventories map[string]*Inventory
	answers     map[string][]sluice.Host
}

func (r *replay) ReadFile(path string, limit int64) ([]byte, error) {
	text, ok := r.files[path]
	switch {
	case !ok:
		return nil, notRecorded()
	case int64(len(text)) > limit:
		return nil, tooLong(limit)
	}
	return slices.Clone(text), nil
}

func tooLong(limit int64) error {
	return fmt.Errorf("it has more than the %d bytes that are left of the limit for all files", limit)
}

func (r *replay) Glob(pattern string) ([]string, error) {
	files, ok := r.globs[pattern]
	if !ok {
		return nil, notRecorded()
	}
	return slices.Clone(files), nil
}

func (r *replay) Run(dir string, command []string, _ time.Duration, limit int64) ([]byte, error) {
	hosts, ok := r.answers[programKey(dir, command)]
	if !ok {
		return nil, notRecorded()
	}
	if hosts == nil {
		hosts = []sluice.Host{}
	}
	out, err := json.Marshal(hosts)
	if err == nil && int64(len(out)) > limit {
		err = tooLong(limit)
	}
	return out, err
}

func (r *replay) inventory(file string) (*inventory, bool, error) {
	v, ok := r.inventories[file]
	if !ok {
		return nil, true, notRecorded()
	}
	inv, err := v.inventory()
	return inv, true, err
}
