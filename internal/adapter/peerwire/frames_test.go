package peerwire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"sluice"
)

func two() (out []sluice.Record) {
	r := sluice.Record{Namespace: "prod", First: 1, Last: 2, Payload: []byte("a\nb\n")}
	r.Hash = r.Sum()
	s := sluice.Record{Namespace: "prod", First: 3, Last: 3, Prev: r.Hash}
	s.Hash = s.Sum()
	return append(out, r, s)
}

func seeds(f *testing.F, all ...func(*bytes.Buffer)) {
	for _, write := range all {
		var b bytes.Buffer
		write(&b)
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
	}
	f.Add([]byte{})
	f.Add([]byte{recordFrame, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{recordFrame, 0x07, 0xff, 0xff, 0xff, 1})
}

// FuzzRecords: whatever comes, only records that are proved, and continue each other, are handed on; and a stream that ends well has its
// last frame.
func FuzzRecords(f *testing.F) {
	seeds(f, func(b *bytes.Buffer) {
		for _, r := range two() {
			_ = writeRecord(b, r)
		}
		_ = writeFrame(b, endFrame)
	}, func(b *bytes.Buffer) {
		_ = writeRecord(b, two()[0])
		_ = writeFrame(b, errorFrame, []byte(`{"code":"contact","text":"x"}`))
	})
	f.Fuzz(func(t *testing.T, text []byte) {
		var before sluice.Record
		said, err := readRecords(bufio.NewReader(bytes.NewReader(text)), "prod", 0, func(some []sluice.Record) error {
			for _, r := range some {
				if r.Sum() != r.Hash || r.First > r.Last || before.Last > 0 && (r.First != before.Last+1 || r.Prev != before.Hash) {
					t.Errorf("%+v came behind %+v", r, before)
				}
				before = r
			}
			return nil
		})
		if err == nil && said == nil && !bytes.Contains(text, []byte{endFrame, 0, 0, 0, 0}) && !bytes.Contains(text, []byte{endFrame}) {
			t.Error("it ended well without an end")
		}
	})
}

// FuzzPieces: whatever comes, no piece is handed on that is larger than may be, and a stream without its last frame is an error.
func FuzzPieces(f *testing.F) {
	seeds(f, func(b *bytes.Buffer) {
		_ = writePiece(b, sluice.OutputPiece{Attempt: "a", Stream: "stdout", Offset: 7, Data: []byte("x\ny")})
		_ = writePiece(b, sluice.OutputPiece{Attempt: "a", Stream: "stderr"})
		_ = writeFrame(b, endFrame)
	})
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &server{cfg: ServerConfig{Kept: Kept{KeepOutput: func(_ context.Context, _ sluice.JobID, pieces []sluice.OutputPiece) error {
			for _, p := range pieces {
				if p.Offset < 0 || len(p.Data) > maxPiece {
					t.Errorf("a piece of %d bytes at %d", len(p.Data), p.Offset)
				}
			}
			return nil
		}}}}
		err := s.takePieces(t.Context(), "0123456789ab", bufio.NewReader(bytes.NewReader(text)))
		if err == nil && !bytes.Contains(text, []byte{endFrame}) {
			t.Error("it ended well without an end")
		}
	})
}

// TestFrames: pieces and records come back as they were; what is cut off anywhere is an error.
func TestFrames(t *testing.T) {
	var b bytes.Buffer
	data := bytes.Repeat([]byte("0123456789\n"), 300_000)
	if err := writePiece(&b, sluice.OutputPiece{Attempt: "a", Stream: "stdout", Offset: 7, Data: data}); err != nil {
		t.Fatal(err)
	}
	if err := writeFrame(&b, endFrame); err != nil {
		t.Fatal(err)
	}
	var got []byte
	s := &server{cfg: ServerConfig{Kept: Kept{KeepOutput: func(_ context.Context, _ sluice.JobID, pieces []sluice.OutputPiece) error {
		for _, p := range pieces {
			if p.Offset != int64(7+len(got)) || p.Attempt != "a" || p.Stream != "stdout" {
				t.Errorf("a piece %s, %s at %d", p.Attempt, p.Stream, p.Offset)
			}
			got = append(got, p.Data...)
		}
		return nil
	}}}}
	if err := s.takePieces(t.Context(), "0123456789ab", bufio.NewReader(bytes.NewReader(b.Bytes()))); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	b.Reset()
	for _, r := range two() {
		if err := writeRecord(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFrame(&b, endFrame); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		if said, err := readRecords(bufio.NewReader(bytes.NewReader(b.Bytes()[:n])), "prod", 0, func([]sluice.Record) error { return nil }); !errors.Is(err, errCut) || said != nil {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	var all []sluice.Record
	if _, err := readRecords(bufio.NewReader(&b), "prod", 0, func(some []sluice.Record) error { all = append(all, some...); return nil }); err != nil {
		t.Error(err)
	}
	if !slices.EqualFunc(all, two(), func(a, b sluice.Record) bool { return a.Hash == b.Hash && bytes.Equal(a.Payload, b.Payload) }) {
		t.Errorf("%+v came", all)
	}
}
