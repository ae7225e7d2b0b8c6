// Package configfiles gives the directories in which layers of configuration are to whoever renders them: as they are, or as
// they were at a commit of git. It also runs layers that are programs, without a shell, with a small environment, a limit of
// time and an end for all that they have started.
//
// It must not know what is in the files.
package configfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// programLimit is how long a layer that is a program may take.
const programLimit = 30 * time.Second

// Dir is a directory as it is. Files and links that lead out of it are refused.
type Dir struct {
	// ctx ends programs that run. It is kept, and not an argument, as the caller's rules are pure and know none.
	ctx  context.Context
	path string
	root *os.Root
}

// Open opens a directory; programs in it run until the context ends. It is to be closed.
func Open(ctx context.Context, dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Dir{ctx, dir, root}, nil
}

// Close lets go of the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Shown is the path of a file as it was reached.
func (d *Dir) Shown(name string) string { return path.Join(filepath.ToSlash(d.path), name) }

// List names the files of a directory. One that is not there has none.
func (d *Dir) List(dir string) ([]string, error) {
	f, err := d.root.Open(filepath.FromSlash(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, plain(err)
	}
	var out []string
	for _, e := range entries {
		info, err := d.root.Stat(filepath.Join(filepath.FromSlash(dir), e.Name()))
		if err == nil && info.IsDir() {
			continue
		}
		out = append(out, e.Name()) // what cannot be looked at is told when it is read
	}
	slices.Sort(out)
	return out, nil
}

// ReadFile returns the content of a regular file of at most limit bytes. Nothing else is opened: a pipe may never end.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	info, err := d.root.Stat(filepath.FromSlash(name))
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, plain(err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return b, nil
}

// plain leaves the path out of an error, and keeps what kind it is: the caller says which file it is about.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Executable reports whether somebody may run the file.
func (d *Dir) Executable(name string) (bool, error) {
	info, err := d.root.Stat(filepath.FromSlash(name))
	if err != nil {
		return false, plain(err)
	}
	return info.Mode().IsRegular() && info.Mode()&0o111 != 0, nil
}

// Run runs a file of the directory as a program.
func (d *Dir) Run(name string, variables []string, stdin []byte, limit int64) ([]byte, error) {
	if ok, err := d.Executable(name); err != nil || !ok { // it leads out, or is no program any more
		return nil, errors.Join(err, errors.New("it is no program of this directory"))
	}
	whole, err := filepath.Abs(filepath.Join(d.path, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	return program{timeout: programLimit, limit: limit, dir: filepath.Dir(whole), words: []string{whole}, variables: variables, stdin: stdin}.run(d.ctx)
}
