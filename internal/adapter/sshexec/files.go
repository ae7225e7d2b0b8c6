package sshexec

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// stamp tells versions of a file apart. The zero stamp is that of a missing file.
type stamp struct {
	mtime time.Time
	size  int64
	inode uint64
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	s := stamp{mtime: info.ModTime(), size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

// fileCache keeps what was made of files, and makes it again when a file has changed: a thousand hosts that
// connect at once read it once. Failures are kept, too.
type fileCache[T any] struct {
	// load makes a value of a file; a missing one is data == nil.
	load func(path string, data []byte) (T, error)

	mu      sync.Mutex
	entries map[string]cachedFile[T]
}

type cachedFile[T any] struct {
	at    stamp
	value T
	err   error
}

func newFileCache[T any](load func(path string, data []byte) (T, error)) *fileCache[T] {
	return &fileCache[T]{load: load, entries: map[string]cachedFile[T]{}}
}

func (c *fileCache[T]) get(path string) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := stampOf(path)
	if e, ok := c.entries[path]; ok && e.at == at {
		return e.value, e.err
	}
	e := cachedFile[T]{at: at}
	data, err := readFile(path)
	if err != nil {
		e.err = err
	} else {
		e.value, e.err = c.load(path, data)
	}
	c.entries[path] = e
	return e.value, e.err
}

// maxFile keeps a mistaken path, such as a device, from being read for ever.
const maxFile = 64 << 20

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		if path == os.DevNull {
			return nil, nil
		}
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
	}
	if info.Size() > maxFile {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is too large")}
	}
	return os.ReadFile(path)
}
