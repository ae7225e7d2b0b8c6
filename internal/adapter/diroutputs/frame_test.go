package diroutputs

import (
	"bytes"
	"io"
	"os"
	"testing"
)

// FuzzScan gives the scanner files as a crash or a damaged disk might leave them.
func FuzzScan(f *testing.F) {
	file, _ := filled(f, f.TempDir())
	var s salt
	copy(s[:], file[len(fileMagic):])
	f.Add(file, s[:])
	f.Add(file[:len(file)-7], s[:])
	damaged := bytes.Clone(file)
	damaged[fileHeader+3] ^= 1
	f.Add(damaged, s[:])
	f.Add(bytes.Repeat([]byte(frameMagic), 100), s[:])
	f.Add([]byte{}, s[:])
	f.Fuzz(func(t *testing.T, file, seed []byte) {
		var s salt
		copy(s[:], seed)
		size := int64(len(file))
		at := int64(fileHeader)
		end, hole, err := scan(bytes.NewReader(file), s, at, size, func(f frame) error {
			if f.at < at || f.end > size || f.end != f.at+frameHeader+int64(f.length) {
				t.Fatalf("a frame from %d to %d after one that ends at %d, in a file of %d", f.at, f.end, at, size)
			}
			at = f.end
			return nil
		})
		if err != nil || end != at || hole >= end {
			t.Fatalf("ends at %d, not %d; hole at %d; error %v", end, at, hole, err)
		}
	})
}

// FuzzFile opens such files as a whole: reading must end and writing must go on.
func FuzzFile(f *testing.F) {
	file, _ := filled(f, f.TempDir())
	f.Add(file)
	f.Add(file[:100])
	f.Add(append(bytes.Clone(file), file[fileHeader:]...)) // every frame twice: offsets go back
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile(path(dir), file, 0o600); err != nil {
			t.Fatal(err)
		}
		o := newOutputs(t, dir)
		if _, err := readAll(o, try(0)); err != nil {
			t.Log(err) // damage is an error; hanging and panics are what is looked for
		}
		size, err := o.Size(job, try(7), "stdout")
		if err != nil || size > 0 {
			return
		}
		write(t, o, 7, 0, "x")
		if got, err := readAll(o, try(7)); got != "x" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	o := newOutputs(b, b.TempDir())
	data := bytes.Repeat([]byte("x"), 32<<10)
	b.SetBytes(int64(len(data)))
	for offset := int64(0); b.Loop(); offset += int64(len(data)) {
		if err := o.Write(job, try(int(offset/int64(len(data)))%256), "stdout", offset/int64(len(data))/256*int64(len(data)), data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTenThousandHosts is one small write each, and then reading one of them with a new index.
func BenchmarkTenThousandHosts(b *testing.B) {
	dir := b.TempDir()
	o := newOutputs(b, dir)
	for host := range 10_000 {
		write(b, o, host, 0, "hello\n")
	}
	for b.Loop() {
		if err := o.Close(job); err != nil {
			b.Fatal(err)
		}
		r, err := o.Open(job, try(5_000), "stdout")
		if err != nil {
			b.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != "hello\n" {
			b.Fatal(got, err)
		}
		_ = r.Close()
	}
}
