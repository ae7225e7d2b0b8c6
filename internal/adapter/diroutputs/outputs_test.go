package diroutputs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/internal/lab/conform"

	"go.uber.org/goleak"
)

const job sluice.JobID = "aaaa00000000"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirEnv); dir != "" {
		if err := writeUntilFull(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func newOutputs(t testing.TB, dir string) *Outputs {
	t.Helper()
	o, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.CloseAll(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func try(host int) sluice.AttemptID { return sluice.NewAttemptID(job, host, 1) }

func write(t testing.TB, o *Outputs, host int, offset int64, data string) {
	t.Helper()
	if err := o.Write(job, try(host), "stdout", offset, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func readAll(o *Outputs, a sluice.AttemptID) (string, error) {
	j, _, _, _ := a.Parse()
	r, err := o.Open(j, a, "stdout")
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestConformance(t *testing.T) {
	conform.Outputs(t, func(t *testing.T) sluice.Outputs { return newOutputs(t, t.TempDir()) })
}

// TestConformanceWithOneFile has every use of another job close the one before.
func TestConformanceWithOneFile(t *testing.T) {
	conform.Outputs(t, func(t *testing.T) sluice.Outputs {
		o := newOutputs(t, t.TempDir())
		o.max = 0
		return o
	})
}

func TestReadWhileAnotherWrites(t *testing.T) {
	dir := t.TempDir()
	w, r := newOutputs(t, dir), newOutputs(t, dir)
	if got, err := readAll(r, try(0)); got != "" || err != nil {
		t.Errorf("before anything was written: %q, %v", got, err)
	}
	want := ""
	for i := range 20 {
		piece := strings.Repeat(string(rune('a'+i)), i+1)
		write(t, w, 0, int64(len(want)), piece)
		want += piece
		if got, err := readAll(r, try(0)); got != want || err != nil {
			t.Fatalf("the reader sees %q, %v; want %q", got, err, want)
		}
	}
	if err := r.Write(job, try(0), "stdout", 0, []byte(want+"x")); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("two processes write: error %v, want code %s", err, sluice.Conflict)
	}
	if got, err := readAll(r, try(0)); got != want || err != nil {
		t.Errorf("after that it sees %q, %v; want %q", got, err, want)
	}
	if err := w.Close(job); err != nil {
		t.Fatal(err)
	}
	write(t, r, 0, int64(len(want)), "x")
	if got, err := readAll(w, try(0)); got != want+"x" || err != nil {
		t.Errorf("after changing places: %q, %v", got, err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	o := newOutputs(t, dir)
	write(t, o, 0, 0, "x")
	for range 2 {
		if err := o.Remove(job); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(o, try(0)); got != "" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	write(t, o, 0, 0, "anew")
	if got, err := readAll(o, try(0)); got != "anew" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := o.Remove("../x"); err == nil {
		t.Error("a job id that is none was removed")
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	o := newOutputs(t, t.TempDir())
	o.max = 5
	before := openFiles(t)
	id := func(i int) sluice.JobID { return sluice.JobID(fmt.Sprintf("%012d", i)) }
	for round := range 3 {
		for i := range 40 {
			err := o.Write(id(i), sluice.NewAttemptID(id(i), 0, 1), "stdout", int64(round), []byte{byte('a' + round)})
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Sync(id((i + 20) % 40)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := openFiles(t) - before; n > o.max {
		t.Errorf("%d files are open, want %d at most", n, o.max)
	}
	for i := range 40 {
		if got, err := readAll(o, sluice.NewAttemptID(id(i), 0, 1)); got != "abc" || err != nil {
			t.Errorf("job %d: %q, %v", i, got, err)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// path is where the job's file is.
func path(dir string) string { return filepath.Join(dir, string(job)+suffix) }

// filled writes two streams in turn, syncs in the middle, and returns the file and what is in each stream.
func filled(t testing.TB, dir string) (file []byte, want [2]string) {
	t.Helper()
	o := newOutputs(t, dir)
	for i := range 12 {
		piece := strings.Repeat(string(rune('a'+i)), 10*i+1)
		write(t, o, i%2, int64(len(want[i%2])), piece)
		want[i%2] += piece
		if i == 5 {
			if err := o.Sync(job); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := o.Close(job); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path(dir))
	if err != nil {
		t.Fatal(err)
	}
	return file, want
}

// TestTorn cuts the file at every place. What was synced is there, and writing goes on where it ends.
func TestTorn(t *testing.T) {
	file, want := filled(t, t.TempDir())
	synced := [2]int{1 + 21 + 41, 11 + 31 + 51}
	syncedAt := fileHeader + 6*frameHeader + synced[0] + synced[1]
	for cut := range len(file) + 1 {
		dir := t.TempDir()
		if err := os.WriteFile(path(dir), file[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		r := newOutputs(t, dir)
		w := newOutputs(t, dir)
		for host := range 2 {
			seen, err := readAll(r, try(host))
			if err != nil || !strings.HasPrefix(want[host], seen) {
				t.Fatalf("cut at %d: host %d reads %q, %v", cut, host, seen, err)
			}
			if cut >= syncedAt && len(seen) < synced[host] {
				t.Fatalf("cut at %d: host %d has only %d bytes of %d that were synced", cut, host, len(seen), synced[host])
			}
			write(t, w, host, int64(len(seen)), want[host][len(seen):]+"!")
			if got, err := readAll(r, try(host)); got != want[host]+"!" || err != nil {
				t.Fatalf("cut at %d: host %d goes on to %q, %v", cut, host, got, err)
			}
		}
		if err := w.CloseAll(); err != nil {
			t.Fatal(err)
		}
		if err := r.CloseAll(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostData has the last frame's data not on the disk although its header is, as after a power failure.
func TestLostData(t *testing.T) {
	dir := t.TempDir()
	file, want := filled(t, dir)
	clear(file[len(file)-50:])
	if err := os.WriteFile(path(dir), file, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOutputs(t, dir)
	if _, err := readAll(o, try(1)); err == nil {
		t.Error("a reader does not see the damage")
	}
	write(t, o, 0, int64(len(want[0])), "!") // a writer cuts it off
	if got, err := readAll(o, try(1)); err != nil || got != want[1][:len(want[1])-111] {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	if got, err := readAll(o, try(0)); got != want[0]+"!" || err != nil {
		t.Errorf("the other stream: %d bytes, error %v", len(got), err)
	}
}

// TestDamage flips a bit of every byte. No stream ever reads as something that was not written.
func TestDamage(t *testing.T) {
	file, want := filled(t, t.TempDir())
	dir := t.TempDir()
	found := 0
	for at := range file {
		bad := bytes.Clone(file)
		bad[at] ^= 0x20
		if err := os.WriteFile(path(dir), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		o := newOutputs(t, dir)
		hit := false
		for host := range 2 {
			got, err := readAll(o, try(host))
			if !strings.HasPrefix(want[host], got) {
				t.Fatalf("byte %d: host %d reads %q", at, host, got)
			}
			hit = hit || err != nil || got != want[host]
		}
		if hit {
			found++
		}
		if err := o.CloseAll(); err != nil {
			t.Fatal(err)
		}
	}
	// All but the one mark, which says nothing of streams, and the salt and magic, without which nothing is read.
	if found < len(file)-frameHeader {
		t.Errorf("%d of %d flips were found", found, len(file))
	}
}

// TestDamageBeforeMark damages what was synced: a writer does not cut off what is behind it.
func TestDamageBeforeMark(t *testing.T) {
	dir := t.TempDir()
	file, want := filled(t, dir)
	file[fileHeader+frameHeader+1] ^= 1 // the header of the first frame of host 1
	if err := os.WriteFile(path(dir), file, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOutputs(t, dir)
	write(t, o, 0, int64(len(want[0])), "!")
	if got, err := readAll(o, try(0)); got != want[0]+"!" || err != nil {
		t.Errorf("the stream that was not hit: %d bytes, error %v", len(got), err)
	}
	if got, err := readAll(o, try(1)); err == nil || got != "" {
		t.Errorf("the stream that was hit: %q, error %v", got, err)
	}
	if n, err := o.Size(job, try(1), "stdout"); err != nil || n != int64(len(want[1])) {
		t.Errorf("its size is %d, error %v; want %d", n, err, len(want[1]))
	}
}

// TestDamageBehindMark damages a header that was not synced: a writer cuts off there, so that every stream can be
// read and goes on.
func TestDamageBehindMark(t *testing.T) {
	dir := t.TempDir()
	file, want := filled(t, dir)
	at := len(file) - 111 - frameHeader - 101 - frameHeader // the last but one
	file[at] ^= 1
	if err := os.WriteFile(path(dir), file, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOutputs(t, dir)
	write(t, o, 2, 0, "new")
	for host, lost := range []int{101, 111} {
		if got, err := readAll(o, try(host)); err != nil || got != want[host][:len(want[host])-lost] {
			t.Errorf("host %d: %d bytes of %d, error %v", host, len(got), len(want[host]), err)
		}
	}
	if info, err := os.Stat(path(dir)); err != nil || info.Size() != int64(at+frameHeader+len("new")) {
		t.Errorf("the file has %d bytes, error %v", info.Size(), err)
	}
}

// TestSyncFails has the disk refuse to keep the file. That is said until the process ends: the kernel says it once.
func TestSyncFails(t *testing.T) {
	o := newOutputs(t, t.TempDir())
	o.max = 0
	broken := errors.New("input/output error")
	o.disk = func(*os.File) error { return broken }
	write(t, o, 0, 0, "x")
	for range 2 {
		if err := o.Sync(job); !errors.Is(err, broken) || !sluice.IsLasting(err) {
			t.Errorf("Sync: %v", err)
		}
		if err := o.Close(job); err != nil {
			t.Error(err)
		}
		if err := o.Write(job, try(0), "stdout", 1, []byte("y")); !errors.Is(err, broken) {
			t.Errorf("Write: %v", err)
		}
	}
	if got, err := readAll(o, try(0)); got != "x" || err != nil {
		t.Errorf("reading: %q, %v", got, err)
	}
}

// TestSyncOnlyWhenNeeded counts what reaches the disk.
func TestSyncOnlyWhenNeeded(t *testing.T) {
	o := newOutputs(t, t.TempDir())
	n := 0
	o.disk = func(*os.File) error { n++; return nil }
	for want := range 3 {
		for range 2 {
			if err := o.Sync(job); err != nil || n != want {
				t.Errorf("%d syncs, error %v; want %d", n, err, want)
			}
			if err := o.Close(job); err != nil {
				t.Error(err)
			}
		}
		write(t, o, want, 0, "x")
		if err := o.Close(job); err != nil { // closing does not make it durable, nor forget that it is not
			t.Error(err)
		}
	}
}

// TestFramesInData has a host print a copy of the file. It stays data, also where the scanner has to search.
func TestFramesInData(t *testing.T) {
	other := t.TempDir()
	forged, _ := filled(t, other)
	dir := t.TempDir()
	o := newOutputs(t, dir)
	write(t, o, 0, 0, string(forged))
	write(t, o, 1, 0, "after")
	if err := o.Sync(job); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(job); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path(dir))
	if err != nil {
		t.Fatal(err)
	}
	file[fileHeader] ^= 1 // the header of the frame that holds the copy
	if err := os.WriteFile(path(dir), file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(o, try(0)); got != "" || err != nil {
		t.Errorf("host 0: %q, %v", got, err)
	}
	if got, err := readAll(o, try(1)); got != "after" || err != nil {
		t.Errorf("host 1: %q, %v", got, err)
	}
}

func TestNotOurs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(path(dir), []byte("somebody else's notes"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOutputs(t, dir)
	if err := o.Write(job, try(0), "stdout", 0, []byte("x")); err == nil {
		t.Error("written over a file that is not ours")
	}
	if b, err := os.ReadFile(path(dir)); err != nil || string(b) != "somebody else's notes" {
		t.Errorf("it is now %q, %v", b, err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outputs")
	o := newOutputs(t, dir)
	write(t, o, 0, 0, "x")
	for p, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, path(dir): 0o600} {
		if info, err := os.Stat(p); err != nil || info.Mode() != want {
			t.Errorf("%s has the mode %v, error %v", p, info.Mode(), err)
		}
	}
}

const dirEnv = "SLUICE_TEST_FULL_DIR"

// writeUntilFull runs in a mount namespace of its own, on a small tmpfs.
func writeUntilFull(dir string) error {
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/ballast", make([]byte, 300_000), 0o600); err != nil {
		return err
	}
	o, err := New(dir + "/outputs")
	if err != nil {
		return err
	}
	want := ""
	put := func() error {
		piece := strings.Repeat(string(rune('a'+len(want)%26)), 9_999)
		err := o.Write(job, try(0), "stdout", int64(len(want)), []byte(piece))
		if err == nil {
			want += piece
		}
		return err
	}
	for err == nil {
		err = put()
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	frames := int64(len(want) / 9_999)
	if info, err := os.Stat(path(dir + "/outputs")); err != nil || info.Size() != int64(fileHeader)+frames*(frameHeader+9_999) {
		return fmt.Errorf("the file has %d bytes with %d frames: a part of one is left, error %w", info.Size(), frames, err)
	}
	if got, err := readAll(o, try(0)); got != want || err != nil {
		return fmt.Errorf("on a full disk %d bytes can be read of %d, error %w", len(got), len(want), err)
	}
	if err := o.Sync(job); err != nil {
		return err
	}
	if err := os.Remove(dir + "/ballast"); err != nil {
		return err
	}
	if err := put(); err != nil {
		return err
	}
	if err := o.CloseAll(); err != nil {
		return err
	}
	if got, err := readAll(o, try(0)); got != want || err != nil {
		return fmt.Errorf("with room again %d bytes can be read of %d, error %w", len(got), len(want), err)
	}
	return o.CloseAll()
}
