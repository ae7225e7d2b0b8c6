// Package witness judges what others remember of a log: heads that its server has signed and that they hand back. From
// what does not fit follows that the log went backwards or was changed.
//
// Only the server's own signature counts, so nobody who was never shown a head can make one. It knows nothing of files,
// requests and clocks, nor of who hands a head back.
package witness

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"sluice"
)

// Seen is a head that a server has shown, with its signature.
type Seen = sluice.SeenHead

// Key signs heads. It must be 32 random bytes.
type Key []byte

// KeySize is the length of a key in bytes.
const KeySize = 32

func (k Key) sum(h sluice.Head, epoch int) []byte {
	m := hmac.New(sha256.New, k)
	m.Write([]byte("sluice head 1\n"))
	var b [8]byte
	for _, n := range []uint64{h.Seq, uint64(epoch), uint64(len(h.Namespace))} {
		binary.BigEndian.PutUint64(b[:], n)
		m.Write(b[:])
	}
	m.Write([]byte(h.Namespace))
	m.Write(h.Hash[:])
	return m.Sum(nil)
}

// Sign signs a head.
func (k Key) Sign(h sluice.Head, epoch int) Seen {
	return Seen{Head: h, Epoch: epoch, Sign: hex.EncodeToString(k.sum(h, epoch))}
}

// Valid reports whether a head was signed with this key.
func (k Key) Valid(s Seen) bool {
	b, err := hex.DecodeString(s.Sign)
	return err == nil && hmac.Equal(b, k.sum(s.Head, s.Epoch))
}

// Verdict is what follows from a head that was handed back.
type Verdict int

const (
	// Fits: the log has it.
	Fits Verdict = iota
	// Lost: it was shown before a restore or a repair, and what it stands for is known to be lost.
	Lost
	// Backwards: the log ends before it, and nobody has said why.
	Backwards
	// Changed: the log has something else in its place.
	Changed
)

func (v Verdict) String() string {
	return [...]string{"fits", "lost", "went backwards", "was changed"}[v]
}

// Turn is a restore or a repair: up to its heads, what was seen in earlier epochs still counts.
type Turn struct {
	Epoch int
	Heads []sluice.Head
}

// History are the turns that the log has, in any order.
type History []Turn

// TurnOf is the turn of an event; ok is false for other events.
func TurnOf(e sluice.Event) (t Turn, ok bool) {
	switch b := e.Body.(type) {
	case sluice.ServerRestored:
		return Turn{b.Epoch, b.Heads}, true
	case sluice.LogRepaired:
		return Turn{b.Epoch, b.Heads}, true
	}
	return Turn{}, false
}

// Epoch is the one that the log is in; 0 before the first turn.
func (h History) Epoch() (epoch int) {
	for _, t := range h {
		epoch = max(epoch, t.Epoch)
	}
	return epoch
}

// bound is the last event of a namespace up to which heads of an epoch still count; all is set where all do.
func (h History) bound(ns sluice.Namespace, epoch int) (last uint64, all bool) {
	all = true
	for _, t := range h {
		if t.Epoch <= epoch {
			continue
		}
		at := uint64(0) // a namespace that it does not name was not there
		for _, head := range t.Heads {
			if head.Namespace == ns {
				at = head.Seq
			}
		}
		if all || at < last {
			last, all = at, false
		}
	}
	return last, all
}

// Judge says what follows from a head. have is the hash of the record of the log that ends with the head's event, ok says
// whether one does, and end is the last event of the namespace in the log.
func (h History) Judge(s Seen, have sluice.ChainHash, ok bool, end uint64) Verdict {
	if last, all := h.bound(s.Namespace, s.Epoch); !all && s.Seq > last {
		return Lost
	}
	switch {
	case ok && have == s.Hash && s.Epoch <= h.Epoch():
		return Fits
	case s.Seq > end || s.Epoch > h.Epoch():
		return Backwards
	}
	return Changed
}

// Repair are the heads for a repair: up to where, in each namespace, what was seen before counts once heads that do not
// fit are given up.
func Repair(now []sluice.Head, seen []Seen) []sluice.Head {
	at := map[sluice.Namespace]sluice.Head{}
	for _, h := range now {
		at[h.Namespace] = h
	}
	for _, s := range seen {
		if h, is := at[s.Namespace]; is && s.Seq <= h.Seq {
			at[s.Namespace] = sluice.Head{Namespace: s.Namespace, Seq: s.Seq - min(s.Seq, 1)}
		}
	}
	return slices.SortedFunc(maps.Values(at), func(a, b sluice.Head) int {
		if a.Namespace < b.Namespace {
			return -1
		}
		return 1
	})
}

// Newer are the heads that somebody should keep: for each namespace the one that says most.
func Newer(kept, now []Seen) []Seen {
	best := map[sluice.Namespace]Seen{}
	for _, s := range slices.Concat(kept, now) {
		if was, is := best[s.Namespace]; !is || s.Epoch > was.Epoch || s.Epoch == was.Epoch && s.Seq >= was.Seq {
			best[s.Namespace] = s
		}
	}
	out := make([]Seen, 0, len(best))
	for _, ns := range slices.Sorted(maps.Keys(best)) {
		out = append(out, best[ns])
	}
	return out
}

// Regressed are the heads that a server showed before and that do not go with what it shows now: for whoever keeps them,
// and cannot prove their signature.
func Regressed(kept, now []Seen) (out []Seen) {
	shown := map[sluice.Namespace]Seen{}
	for _, s := range now {
		shown[s.Namespace] = s
	}
	for _, k := range kept {
		s, is := shown[k.Namespace]
		if !is { // it may not be shown to us any more
			continue
		}
		if s.Epoch < k.Epoch || s.Epoch == k.Epoch && (s.Seq < k.Seq || s.Seq == k.Seq && s.Hash != k.Hash) {
			out = append(out, k)
		}
	}
	return out
}
