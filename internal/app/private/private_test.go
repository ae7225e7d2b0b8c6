package private_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"sluice/internal/app/private"
)

// TestWrite: a file is put in the place of another as a whole, and only its owner reads it.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("older and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := private.Write(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	info, stat := os.Stat(path)
	if errors.Join(err, stat) != nil || string(text) != "new" || info.Mode() != 0o600 {
		t.Errorf("it has %q, %v, %v", text, info, errors.Join(err, stat))
	}
}

// TestWhatIsSaid: an error names the file that was to be put, each time in the same words, and nothing is left behind.
func TestWhatIsSaid(t *testing.T) {
	dir := t.TempDir()
	nowhere := filepath.Join(dir, "nowhere", "key")
	for range 2 {
		if err := private.Write(nowhere, nil); err == nil || err.Error() != "open "+nowhere+": no such file or directory" || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
	full := filepath.Join(dir, "full")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", full, "tmpfs", 0, "size=4k,nr_inodes=10"); err != nil {
		t.Skipf("skipped: a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(full, syscall.MNT_DETACH) })
	path := filepath.Join(full, "key")
	err := private.Write(path, make([]byte, 1<<20))
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != "write "+path+": no space left on device" {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(full); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
