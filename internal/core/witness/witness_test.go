package witness_test

import (
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/witness"
)

func head(seq uint64, hash byte) sluice.Head {
	return sluice.Head{Namespace: "prod", Seq: seq, Hash: sluice.ChainHash{hash}}
}

func TestOnlyTheServersSignatureCounts(t *testing.T) {
	key := witness.Key(make([]byte, witness.KeySize))
	s := key.Sign(head(5, 1), 3)
	if !key.Valid(s) {
		t.Fatal("its own signature does not count")
	}
	other := s
	for what, change := range map[string]func(*witness.Seen){
		"seq":       func(s *witness.Seen) { s.Seq++ },
		"epoch":     func(s *witness.Seen) { s.Epoch++ },
		"hash":      func(s *witness.Seen) { s.Hash[31]++ },
		"namespace": func(s *witness.Seen) { s.Namespace = "lab" },
		"signature": func(s *witness.Seen) { s.Sign = "00" + s.Sign[2:] },
		"none":      func(s *witness.Seen) { s.Sign = "" },
		"text":      func(s *witness.Seen) { s.Sign = "nonsense" },
	} {
		s := other
		if change(&s); key.Valid(s) {
			t.Errorf("with another %s it counts", what)
		}
	}
	other = key.Sign(head(5, 1), 3)
	if witness.Key([]byte("another key, of thirty-two bytes.")).Valid(other) {
		t.Error("with another key it counts")
	}
}

func TestJudge(t *testing.T) {
	turned := witness.History{{Epoch: 1, Heads: []sluice.Head{head(10, 0)}}, {Epoch: 2, Heads: []sluice.Head{head(7, 0), {Namespace: "lab", Seq: 3}}}}
	for name, c := range map[string]struct {
		history witness.History
		seq     uint64
		hash    byte
		epoch   int
		ok      bool
		want    witness.Verdict
	}{
		"it is there":                        {seq: 5, hash: 1, ok: true, want: witness.Fits},
		"another is there":                   {seq: 5, hash: 2, ok: true, want: witness.Changed},
		"no record ends there":               {seq: 5, hash: 1, want: witness.Changed},
		"the log ends before":                {seq: 21, hash: 1, want: witness.Backwards},
		"of an epoch that was not yet":       {seq: 5, hash: 1, ok: true, epoch: 1, want: witness.Backwards},
		"before a restore, behind it":        {history: turned, seq: 11, hash: 2, ok: true, epoch: 1, want: witness.Lost},
		"before both turns, between them":    {history: turned, seq: 9, hash: 2, ok: true, epoch: 0, want: witness.Lost},
		"before both turns, still there":     {history: turned, seq: 7, hash: 1, ok: true, epoch: 0, want: witness.Fits},
		"before both turns, changed":         {history: turned, seq: 6, hash: 2, ok: true, epoch: 0, want: witness.Changed},
		"after the turns":                    {history: turned, seq: 9, hash: 1, ok: true, epoch: 2, want: witness.Fits},
		"after the turns, beyond the end":    {history: turned, seq: 25, hash: 1, epoch: 2, want: witness.Backwards},
		"after the turns, another":           {history: turned, seq: 9, hash: 3, ok: true, epoch: 2, want: witness.Changed},
		"beyond the end, but known to be so": {history: turned, seq: 25, hash: 1, epoch: 1, want: witness.Lost},
	} {
		s := witness.Seen{Head: head(c.seq, c.hash), Epoch: c.epoch}
		if got := c.history.Judge(s, sluice.ChainHash{1}, c.ok, 20); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// What a repair was about is explained by it, whatever it was, and nothing that fitted is given up with it.
func TestRepairExplains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.Uint64Range(0, 20).Draw(t, "end")
		var seen []witness.Seen
		lowest := end + 1
		for _, seq := range rapid.SliceOfN(rapid.Uint64Range(1, 30), 1, 5).Draw(t, "seen") {
			seen = append(seen, witness.Seen{Head: head(seq, 9)})
			lowest = min(lowest, seq)
		}
		h := witness.History{{Epoch: 1, Heads: witness.Repair([]sluice.Head{head(end, 1)}, seen)}}
		for _, s := range seen {
			if got := h.Judge(s, sluice.ChainHash{1}, true, end); got != witness.Lost {
				t.Fatalf("%d is %v after the repair", s.Seq, got)
			}
		}
		for seq := uint64(1); seq <= end; seq++ {
			s := witness.Seen{Head: head(seq, 1)}
			want := witness.Fits
			if seq >= lowest {
				want = witness.Lost
			}
			if got := h.Judge(s, sluice.ChainHash{1}, true, end); got != want {
				t.Fatalf("%d is %v after the repair, want %v", seq, got, want)
			}
		}
	})
}

func TestKeeping(t *testing.T) {
	a, b, c := witness.Seen{Head: head(5, 1)}, witness.Seen{Head: head(7, 2)}, witness.Seen{Head: head(3, 3), Epoch: 1}
	if got := witness.Newer([]witness.Seen{b}, []witness.Seen{a}); len(got) != 1 || got[0] != b {
		t.Errorf("kept %v", got)
	}
	if got := witness.Newer([]witness.Seen{b}, []witness.Seen{c}); len(got) != 1 || got[0] != c {
		t.Errorf("of the new epoch kept %v", got)
	}
	for _, x := range []struct {
		kept, now witness.Seen
		bad       bool
	}{{a, b, false}, {a, a, false}, {b, a, true}, {b, c, false}, {c, b, true}, {a, witness.Seen{Head: head(5, 9)}, true}} {
		if got := witness.Regressed([]witness.Seen{x.kept}, []witness.Seen{x.now}); (len(got) > 0) != x.bad {
			t.Errorf("%v then %v: %v", x.kept, x.now, got)
		}
	}
	if got := witness.Regressed([]witness.Seen{a}, nil); len(got) > 0 {
		t.Errorf("what is not shown any more: %v", got)
	}
}
