// Package fleetfiles gives the fleet files, inventories and resolver programs of this machine to whoever loads a
// fleet: it reads regular files within a limit, and runs programs without a shell, with a small environment, a time
// limit and an end for all that they have started.
//
// It must not know what is in the files.
package fleetfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Files are the files and programs of this machine.
type Files struct {
	// ctx ends what is being run. It is kept, and not an argument, as the caller's rules are pure and know none.
	ctx context.Context
}

// New gives access to this machine's files and programs until the context ends.
func New(ctx context.Context) *Files { return &Files{ctx: ctx} }

// ReadFile returns the content of a regular file of at most limit bytes. Nothing else is opened: a pipe or device
// may never end.
func (f *Files) ReadFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is %s, not a file", kindOf(info))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, plain(err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, plain(err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("it has more than the %d bytes that are left of the limit for all files", limit)
	}
	return b, nil
}

func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// plain leaves the path out of an error: the caller says which file it is about.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Glob lists the files that match a pattern, sorted. Directories are none.
func (f *Files) Glob(pattern string) ([]string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.IsDir()
	})
	slices.Sort(found)
	return found, nil
}

// Executable reports whether somebody may run the file.
func (f *Files) Executable(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, plain(err)
	}
	return info.Mode().IsRegular() && info.Mode()&0o111 != 0, nil
}
