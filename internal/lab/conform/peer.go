package conform

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"sluice"
)

// Peer is the suite of [sluice.Peer]. open returns another server that has nothing, and what adds a record to its log; nil, where that
// cannot be done.
func Peer(t *testing.T, open func(t *testing.T) (p sluice.Peer, add func(sluice.Record))) {
	t.Run("Blobs", func(t *testing.T) {
		Blobs(t, func(t *testing.T) sluice.Blobs {
			p, _ := open(t)
			return p.Blobs()
		})
	})
	for _, c := range []struct {
		name string
		test func(t *testing.T, p sluice.Peer)
	}{
		{"NoOutput", peerNoOutput},
		{"KeepOutput", peerKeepOutput},
		{"Gap", peerGap},
		{"EmptyPieces", peerEmptyPieces},
		{"Many", peerMany},
		{"BadNames", peerBadNames},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := open(t)
			if p.Name() == "" {
				t.Error("it has no name")
			}
			c.test(t, p)
		})
	}
	t.Run("Records", func(t *testing.T) {
		p, add := open(t)
		if add == nil {
			t.Skip("no record can be added")
		}
		peerRecords(t, p, add)
	})
}

func piece(a sluice.AttemptID, stream string, offset int64, data string) sluice.OutputPiece {
	return sluice.OutputPiece{Attempt: a, Stream: stream, Offset: offset, Data: []byte(data)}
}

func keep(t *testing.T, p sluice.Peer, pieces ...sluice.OutputPiece) {
	t.Helper()
	if err := p.KeepOutput(t.Context(), jobA, pieces); err != nil {
		t.Fatal(err)
	}
}

// keptThere checks what another server has of a stream, from every place on.
func keptThere(t *testing.T, p sluice.Peer, a sluice.AttemptID, stream, want string) {
	t.Helper()
	if n, err := p.OutputSize(t.Context(), jobA, a, stream); err != nil || n != int64(len(want)) {
		t.Errorf("%s of %s: %d bytes, %v; want %d", stream, a, n, err, len(want))
	}
	for from := 0; from <= len(want); from += 1 + len(want)/7 {
		r, err := p.OpenOutput(t.Context(), jobA, a, stream, int64(from))
		if err != nil {
			t.Errorf("%s of %s from %d: %v", stream, a, from, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || string(got) != want[from:] {
			t.Errorf("%s of %s from %d: %.80q, %v; want %.80q", stream, a, from, got, err, want[from:])
		}
	}
}

func peerNoOutput(t *testing.T, p sluice.Peer) {
	keptThere(t, p, try1, "stdout", "")
	keep(t, p)
	keptThere(t, p, try1, "stdout", "")
}

func peerKeepOutput(t *testing.T, p sluice.Peer) {
	keep(t, p, piece(try1, "stdout", 0, "0123"), piece(try1, "stderr", 0, "e\x00\xff"), piece(try1, "stdout", 4, "4"), piece(far1, "stdout", 0, "far"))
	keep(t, p, piece(try1, "stdout", 2, "234567")) // one that overlaps is cut
	keep(t, p, piece(try1, "stdout", 0, "0123"), piece(try2, "stdout", 0, "again"))
	keptThere(t, p, try1, "stdout", "01234567")
	keptThere(t, p, try1, "stderr", "e\x00\xff")
	keptThere(t, p, try2, "stdout", "again")
	keptThere(t, p, far1, "stdout", "far")
	keptThere(t, p, far1, "stderr", "")
}

func peerGap(t *testing.T, p sluice.Peer) {
	keep(t, p, piece(try1, "stdout", 0, "0123"))
	for _, offset := range []int64{5, 1 << 40} {
		if err := p.KeepOutput(t.Context(), jobA, []sluice.OutputPiece{piece(try1, "stdout", offset, "x")}); sluice.CodeOf(err) != sluice.Conflict {
			t.Errorf("a piece at %d of a stream of 4 bytes: %v", offset, err)
		}
	}
	keptThere(t, p, try1, "stdout", "0123")
}

// peerEmptyPieces: a piece of nothing at the end of a stream asks whether all before it is there.
func peerEmptyPieces(t *testing.T, p sluice.Peer) {
	keep(t, p, piece(try1, "stdout", 0, "0123"), piece(try2, "stderr", 0, "e"))
	keep(t, p, piece(try1, "stdout", 4, ""), piece(try1, "stdout", 2, ""), piece(try2, "stderr", 1, ""), piece(far1, "stdout", 0, ""))
	for _, missing := range []sluice.OutputPiece{piece(try1, "stdout", 5, ""), piece(far1, "stdout", 1, "")} {
		if err := p.KeepOutput(t.Context(), jobA, []sluice.OutputPiece{piece(try2, "stderr", 1, ""), missing}); sluice.CodeOf(err) != sluice.Conflict {
			t.Errorf("nothing at %d of %s: %v", missing.Offset, missing.Attempt, err)
		}
	}
	keptThere(t, p, try1, "stdout", "0123")
	keptThere(t, p, far1, "stdout", "")
}

func peerMany(t *testing.T, p sluice.Peer) {
	var pieces []sluice.OutputPiece
	for host := range 2000 {
		pieces = append(pieces, piece(sluice.NewAttemptID(jobA, host, 1), "stdout", 0, fmt.Sprint("host ", host)))
	}
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	pieces = append(pieces, piece(far1, "stderr", 0, string(long)), piece(far1, "stderr", int64(len(long)), string(long)))
	keep(t, p, pieces...)
	keptThere(t, p, sluice.NewAttemptID(jobA, 1234, 1), "stdout", "host 1234")
	keptThere(t, p, far1, "stderr", string(long)+string(long))
}

func peerBadNames(t *testing.T, p sluice.Peer) {
	for _, c := range []struct {
		job    sluice.JobID
		a      sluice.AttemptID
		stream string
	}{{"../../../etc", try1, "stdout"}, {jobA, "x", "stdout"}, {jobA, sluice.NewAttemptID(jobB, 0, 1), "stdout"}, {jobA, try1, "../x"}} {
		if err := p.KeepOutput(t.Context(), c.job, []sluice.OutputPiece{piece(c.a, c.stream, 0, "x")}); err == nil {
			t.Errorf("KeepOutput took %q, %q, %q", c.job, c.a, c.stream)
		}
		if _, err := p.OutputSize(t.Context(), c.job, c.a, c.stream); err == nil {
			t.Errorf("OutputSize took %q, %q, %q", c.job, c.a, c.stream)
		}
		if r, err := p.OpenOutput(t.Context(), c.job, c.a, c.stream, 0); err == nil {
			t.Errorf("OpenOutput took %q, %q, %q", c.job, c.a, c.stream)
			_ = r.Close()
		}
	}
}

func peerRecords(t *testing.T, p sluice.Peer, add func(sluice.Record)) {
	c := newChain()
	var all []sluice.Record
	for i := range 7 {
		r := c.next(prod, 1+i%3, fmt.Appendf(nil, "prod %d <é\x00>\n", i))
		add(r)
		all = append(all, r)
		add(c.next(lab, 1, []byte("lab")))
	}
	for _, after := range []uint64{0, all[3].Last, all[6].Last} {
		var got []sluice.Record
		err := p.Records(t.Context(), prod, after, func(records []sluice.Record) error {
			for _, r := range records {
				r.Payload = bytes.Clone(r.Payload) // it is the visitor's only now
				got = append(got, r)
			}
			return nil
		})
		want := slices.DeleteFunc(slices.Clone(all), func(r sluice.Record) bool { return r.Last <= after })
		if err != nil {
			t.Fatal(err)
		}
		sameRecords(t, got, want...)
	}
	enough := errors.New("enough")
	if err := p.Records(t.Context(), prod, 0, func([]sluice.Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the visitor's error came back as %v", err)
	}
}
