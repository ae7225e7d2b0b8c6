package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestLargeArtifacts: an artifact is pushed and pulled in the same memory, however large it is. SLUICE_LARGE is the size of the large one
// in MiB; 256 if it is not set.
func TestLargeArtifacts(t *testing.T) {
	large := int64(256)
	if n, err := strconv.ParseInt(os.Getenv("SLUICE_LARGE"), 10, 64); err == nil {
		large = n
	}
	program, err := exec.LookPath("sluice")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(args ...string) (peak int64) {
		t.Helper()
		cmd := exec.Command(program, append([]string{"artifact"}, args...)...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+dir, "XDG_CONFIG_HOME="+dir, "SLUICE_ARTIFACTS="+filepath.Join(dir, "store"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	}
	peaks := func(version string, size int64) (push, pull int64) {
		t.Helper()
		from, to := filepath.Join(dir, "shop.tar"), filepath.Join(dir, "pulled.tar")
		if err := pack(from, size<<20); err != nil {
			t.Fatal(err)
		}
		push = run("push", "shop", from, version)
		pull = run("pull", "shop", "shop.tar", version, "--force", "--to", to)
		if err := sameFiles(from, to); err != nil {
			t.Error(err)
		}
		t.Logf("%d MiB: push %d MiB, pull %d MiB", size, push, pull)
		return push, pull
	}
	push1, pull1 := peaks("1", 64)
	push2, pull2 := peaks("2", large)
	const more = 32 // what a garbage collector may be late by
	if push2 > push1+more || pull2 > pull1+more {
		t.Errorf("%d MiB take %d MiB of memory to push and %d to pull; 64 MiB take %d and %d", large, push2, pull2, push1, pull1)
	}
}

// pack makes an archive of one file of chance.
func pack(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	w := tar.NewWriter(b)
	err = w.WriteHeader(&tar.Header{Name: "big", Mode: 0o644, Size: size, Typeflag: tar.TypeReg})
	if err == nil {
		_, err = io.CopyN(w, rand.NewChaCha8([32]byte{byte(size >> 20)}), size)
	}
	return errors.Join(err, w.Close(), b.Flush(), f.Close())
}

func sameFiles(a, b string) error {
	x, err := os.Open(a)
	if err != nil {
		return err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return err
	}
	defer y.Close()
	left, right := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(x, left)
		m, err2 := io.ReadFull(y, right)
		if !bytes.Equal(left[:n], right[:m]) || (err == nil) != (err2 == nil) {
			return errors.New("what was pulled is not what was pushed")
		}
		if err != nil {
			return nil
		}
	}
}
