// Package haltsdir keeps in files the halts that a server was asked for while it had no contact with a majority: one file for each.
//
// It knows nothing of what a halt does. A file is whole and durable when Put returns.
package haltsdir

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

// Dir is a directory that is made when it is first written to. One process at a time writes to it.
type Dir string

const (
	suffix     = ".halt"
	unfinished = "new" // what is being written
)

// All are those that are kept, in no order.
func (d Dir) All() (out []sluice.KeptHalt, err error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		id, is := strings.CutSuffix(e.Name(), suffix)
		if !is {
			continue
		}
		path := filepath.Join(string(d), e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var h sluice.KeptHalt
		if err = json.Unmarshal(b, &h); err == nil && h.ID != id {
			err = fmt.Errorf("it holds the halt %q", h.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, h)
	}
	return out, err
}

// Put keeps one. Where that fails it is not kept.
func (d Dir) Put(h sluice.KeptHalt) error {
	path, err := d.path(h.ID)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	if err = os.Mkdir(string(d), 0o700); err == nil {
		err = sync(filepath.Dir(string(d)))
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	fresh := filepath.Join(string(d), unfinished)
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err == nil {
		err = sync(string(d))
	}
	if err != nil {
		_, _ = os.Remove(fresh), os.Remove(path) // what can be: the next start would have it otherwise
	}
	return err
}

// Remove keeps one no longer; one that is not there is no error.
func (d Dir) Remove(id string) error {
	path, err := d.path(id)
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil // should the power fail now, it comes again, and is known
	}
	return err
}

// path is the file of one. Its id is a file name of ours or none.
func (d Dir) path(id string) (string, error) {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return "", fmt.Errorf("%q is no id of a halt", id)
		}
	}
	if id == "" || len(id) > 64 {
		return "", fmt.Errorf("%q is no id of a halt", id)
	}
	return filepath.Join(string(d), id+suffix), nil
}

func sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
