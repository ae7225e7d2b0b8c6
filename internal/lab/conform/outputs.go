package conform

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"sluice"

	"pgregory.net/rapid"
)

// Outputs is the suite of [sluice.Outputs].
func Outputs(t *testing.T, open func(t *testing.T) sluice.Outputs) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, o sluice.Outputs)
	}{
		{"Nothing", outputsNothing},
		{"WriteAndOpen", outputsWriteAndOpen},
		{"Overlap", outputsOverlap},
		{"BadNames", outputsBadNames},
		{"CloseAndGoOn", outputsCloseAndGoOn},
		{"ReaderAtItsPlace", outputsReaderAtItsPlace},
		{"FromAnyPlace", outputsFromAnyPlace},
		{"LargePiece", outputsLargePiece},
		{"AnyBytes", outputsAnyBytes},
		{"NoSharedMemory", outputsNoSharedMemory},
		{"Writers", outputsWriters},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("Model", func(t *testing.T) { outputsModel(t, open) })
}

var (
	try1 = sluice.NewAttemptID(jobA, 0, 1)
	try2 = sluice.NewAttemptID(jobA, 0, 2)
	far1 = sluice.NewAttemptID(jobA, 99999, 1)
)

func outputsNothing(t *testing.T, o sluice.Outputs) {
	kept(t, o, jobA, try1, "stdout", "")
	if err := o.Sync(jobA); err != nil {
		t.Errorf("syncing a job without output: %v", err)
	}
	if err := o.Close(jobA); err != nil {
		t.Errorf("closing a job without output: %v", err)
	}
	write(t, o, jobA, try1, "stdout", 0, "")
	kept(t, o, jobA, try1, "stdout", "")
}

func outputsWriteAndOpen(t *testing.T, o sluice.Outputs) {
	write(t, o, jobA, try1, "stdout", 0, "one ")
	write(t, o, jobA, try1, "stderr", 0, "error")
	write(t, o, jobA, try1, "fetched", 0, "files")
	write(t, o, jobA, far1, "stdout", 0, "far")
	write(t, o, jobA, try1, "stdout", 4, "two")
	write(t, o, jobA, try2, "stdout", 0, "again")
	write(t, o, jobB, sluice.NewAttemptID(jobB, 0, 1), "stdout", 0, "other")
	if err := o.Sync(jobA); err != nil {
		t.Fatal(err)
	}
	kept(t, o, jobA, try1, "stdout", "one two")
	kept(t, o, jobA, try1, "stderr", "error")
	kept(t, o, jobA, try1, "fetched", "files")
	kept(t, o, jobA, try2, "fetched", "")
	kept(t, o, jobA, far1, "stdout", "far")
	kept(t, o, jobA, try2, "stdout", "again")
	kept(t, o, jobA, try2, "stderr", "")
	kept(t, o, jobB, sluice.NewAttemptID(jobB, 0, 1), "stdout", "other")
	kept(t, o, jobC, sluice.NewAttemptID(jobC, 0, 1), "stdout", "")
}

func outputsOverlap(t *testing.T, o sluice.Outputs) {
	write(t, o, jobA, try1, "stdout", 0, "01234")
	write(t, o, jobA, try1, "stdout", 0, "0123")
	write(t, o, jobA, try1, "stdout", 1, "1234")
	kept(t, o, jobA, try1, "stdout", "01234")
	write(t, o, jobA, try1, "stdout", 3, "34567")
	kept(t, o, jobA, try1, "stdout", "01234567")
	write(t, o, jobA, try1, "stdout", 0, "----------") // what is there is not written again
	kept(t, o, jobA, try1, "stdout", "01234567--")
	for _, offset := range []int64{11, 1 << 40, -1} {
		if err := o.Write(jobA, try1, "stdout", offset, []byte("x")); err == nil {
			t.Errorf("a piece at %d of a stream of 10 bytes was taken", offset)
		}
	}
	kept(t, o, jobA, try1, "stdout", "01234567--")
}

func outputsBadNames(t *testing.T, o sluice.Outputs) {
	for _, c := range []struct {
		job    sluice.JobID
		a      sluice.AttemptID
		stream string
	}{
		{"../../../etc", try1, "stdout"},
		{"", try1, "stdout"},
		{jobA, "", "stdout"},
		{jobA, "x", "stdout"},
		{jobA, sluice.NewAttemptID(jobB, 0, 1), "stdout"},
		{jobA, try1, ""},
		{jobA, try1, "stdin"},
		{jobA, try1, "../x"},
	} {
		if err := o.Write(c.job, c.a, c.stream, 0, []byte("x")); err == nil {
			t.Errorf("Write took %q, %q, %q", c.job, c.a, c.stream)
		}
		if _, err := o.Size(c.job, c.a, c.stream); err == nil {
			t.Errorf("Size took %q, %q, %q", c.job, c.a, c.stream)
		}
		if r, err := o.Open(c.job, c.a, c.stream); err == nil {
			t.Errorf("Open took %q, %q, %q", c.job, c.a, c.stream)
			_ = r.Close()
		}
	}
}

func outputsCloseAndGoOn(t *testing.T, o sluice.Outputs) {
	want := ""
	for i := range 5 {
		piece := string(rune('a' + i))
		write(t, o, jobA, try1, "stdout", int64(len(want)), piece)
		want += piece
		if i%2 == 0 {
			if err := o.Sync(jobA); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Close(jobA); err != nil {
			t.Fatal(err)
		}
		kept(t, o, jobA, try1, "stdout", want)
	}
}

func outputsReaderAtItsPlace(t *testing.T, o sluice.Outputs) {
	write(t, o, jobA, try1, "stdout", 0, "before")
	r, err := o.Open(jobA, try1, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b [3]byte
	if _, err := io.ReadFull(r, b[:]); err != nil || string(b[:]) != "bef" {
		t.Fatalf("%q, %v", b, err)
	}
	write(t, o, jobA, try1, "stderr", 0, "between")
	write(t, o, jobA, try1, "stdout", 6, "after")
	if err := o.Close(jobA); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.HasPrefix(rest, []byte("ore")) || !bytes.HasPrefix([]byte("oreafter"), rest) {
		t.Errorf("an open reader goes on with %q, %v", rest, err)
	}
}

func outputsFromAnyPlace(t *testing.T, o sluice.Outputs) {
	const text = "01234567890123456789"
	for at := 0; at < len(text); at += 3 { // pieces of three, with those of another stream between
		write(t, o, jobA, try1, "stdout", int64(at), text[at:min(at+3, len(text))])
		write(t, o, jobA, try1, "stderr", int64(at), text[at:min(at+3, len(text))])
	}
	r, err := o.Open(jobA, try1, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	from, ok := r.(io.Seeker)
	if !ok {
		t.Fatal("it reads from the beginning alone")
	}
	for _, at := range []int64{7, 0, 20, 3, 19, 1, 12} {
		if n, err := from.Seek(at, io.SeekStart); n != at || err != nil {
			t.Errorf("to %d: at %d, error %v", at, n, err)
		}
		if b, err := io.ReadAll(r); string(b) != text[at:] || err != nil {
			t.Errorf("from %d: %q, error %v", at, b, err)
		}
	}
	if n, err := from.Seek(-2, io.SeekEnd); n != 18 || err != nil {
		t.Errorf("at %d, error %v", n, err)
	}
	if _, err := from.Seek(-1, io.SeekStart); err == nil {
		t.Error("there is no place before the beginning")
	}
}

func outputsLargePiece(t *testing.T, o sluice.Outputs) {
	want := make([]byte, 3<<20+7)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(want)
	write(t, o, jobA, try1, "stdout", 0, string(want))
	r, err := o.Open(jobA, try1, "stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := iotest.TestReader(r, want); err != nil {
		t.Error(err)
	}
}

func outputsAnyBytes(t *testing.T, o sluice.Outputs) {
	for i, s := range []string{"\x00", "\x00\xff\xfe", "\r\n\r\n", "\x1b[31m"} {
		a := sluice.NewAttemptID(jobA, i, 1)
		write(t, o, jobA, a, "stderr", 0, s)
		kept(t, o, jobA, a, "stderr", s)
	}
}

func outputsNoSharedMemory(t *testing.T, o sluice.Outputs) {
	data := []byte("data")
	if err := o.Write(jobA, try1, "stdout", 0, data); err != nil {
		t.Fatal(err)
	}
	copy(data, "XXXX")
	kept(t, o, jobA, try1, "stdout", "data")
}

func outputsWriters(t *testing.T, o sluice.Outputs) {
	const hosts, pieces = 8, 40
	var wg sync.WaitGroup
	for h := range hosts {
		a := sluice.NewAttemptID(jobA, h, 1)
		wg.Go(func() {
			for i := range pieces {
				if err := o.Write(jobA, a, "stdout", int64(i), []byte{byte('a' + (h+i)%26)}); err != nil {
					t.Error(err)
				}
				if _, err := o.Size(jobA, a, "stdout"); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if err := o.Sync(jobA); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for h := range hosts {
		var want []byte
		for i := range pieces {
			want = append(want, byte('a'+(h+i)%26))
		}
		kept(t, o, jobA, sluice.NewAttemptID(jobA, h, 1), "stdout", string(want))
	}
}

// outputsModel does the same to outputs and to plain byte slices.
func outputsModel(t *testing.T, open func(t *testing.T) sluice.Outputs) {
	o := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		job := sluice.JobID(rapid.StringMatching(`[0-9abcdefgh]{12}`).Draw(rt, "job"))
		type stream struct {
			a    sluice.AttemptID
			name string
		}
		model := map[stream][]byte{}
		draw := func(rt *rapid.T) stream {
			return stream{sluice.NewAttemptID(job, rapid.IntRange(0, 2).Draw(rt, "host"), rapid.IntRange(1, 2).Draw(rt, "try")),
				rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(rt, "stream")}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				s := draw(rt)
				offset := rapid.IntRange(0, len(model[s])+1).Draw(rt, "offset")
				data := rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(rt, "data")
				err := o.Write(job, s.a, s.name, int64(offset), data)
				if gap := offset > len(model[s]); gap != (err != nil) {
					rt.Fatalf("gap %v, error %v", gap, err)
				}
				if fresh := len(model[s]) - offset; err == nil && fresh < len(data) {
					model[s] = append(model[s], data[fresh:]...)
				}
			},
			"close": func(rt *rapid.T) {
				if err := o.Close(job); err != nil {
					rt.Fatal(err)
				}
			},
			"sync": func(rt *rapid.T) {
				if err := o.Sync(job); err != nil {
					rt.Fatal(err)
				}
			},
			"read": func(rt *rapid.T) {
				s := draw(rt)
				kept(t, o, job, s.a, s.name, string(model[s]))
				if t.Failed() {
					rt.FailNow()
				}
			},
		})
	})
}

func write(t *testing.T, o sluice.Outputs, job sluice.JobID, a sluice.AttemptID, stream string, offset int64, data string) {
	t.Helper()
	if err := o.Write(job, a, stream, offset, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// kept checks what is kept of a stream, by its size and by reading it.
func kept(t *testing.T, o sluice.Outputs, job sluice.JobID, a sluice.AttemptID, stream, want string) {
	t.Helper()
	if n, err := o.Size(job, a, stream); err != nil || n != int64(len(want)) {
		t.Errorf("%s of %s has %d bytes, error %v; want %d", stream, a, n, err, len(want))
	}
	r, err := o.Open(job, a, stream)
	if err != nil {
		t.Errorf("%s of %s: %v", stream, a, err)
		return
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != want {
		t.Errorf("%s of %s is %q, error %v; want %q", stream, a, got, err, want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
