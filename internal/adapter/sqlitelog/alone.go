package sqlitelog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Alone says that the journal in a directory is no copy any more: from then on it is the only place of its records. Nobody may have it
// open.
func Alone(dir string) error {
	err := os.Remove(filepath.Join(dir, copyName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(dir))
}
