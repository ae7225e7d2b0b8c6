// Package audit proves the chains of a log from its records, compares them with heads that were kept elsewhere, and says
// in one line who did what.
//
// It believes nobody: a record counts for what its bytes come to, not for what it says of itself. It knows nothing of
// where records come from.
package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"sluice"
)

// Proof goes through the records of a log and finds what does not fit. The zero value is not ready; see [New].
type Proof struct {
	ends    map[sluice.Namespace]sluice.Head
	kept    map[sluice.Namespace]map[uint64]sluice.ChainHash
	records int
}

// New begins a proof against heads that were kept elsewhere, of any age; there may be none.
func New(kept ...sluice.Head) (*Proof, error) {
	p := &Proof{ends: map[sluice.Namespace]sluice.Head{}, kept: map[sluice.Namespace]map[uint64]sluice.ChainHash{}}
	for _, h := range kept {
		of := p.kept[h.Namespace]
		if of == nil {
			of = map[uint64]sluice.ChainHash{}
			p.kept[h.Namespace] = of
		}
		if was, two := of[h.Seq]; two && was != h.Hash {
			return nil, sluice.Errorf(sluice.Conflict, "what was kept elsewhere contradicts itself: the namespace %s ends at event %d with %s and with %s",
				h.Namespace, h.Seq, was, h.Hash).WithHint("it was kept of two logs, or of one that forked")
		}
		of[h.Seq] = h.Hash
	}
	return p, nil
}

func broken(ns sluice.Namespace, format string, args ...any) error {
	return sluice.Errorf(sluice.Contact, "the log is not what was written: namespace %s: %s", ns, fmt.Sprintf(format, args...)).
		WithHint("docs/audit.md says what can have happened")
}

// Add takes the next record of a namespace in, and returns its events. Records of different namespaces may be mixed.
func (p *Proof) Add(r sluice.Record) ([]sluice.Event, error) {
	end := p.ends[r.Namespace]
	switch {
	case r.Sum() != r.Hash:
		return nil, broken(r.Namespace, "the events %d to %d were changed: they do not come to their hash", r.First, r.Last)
	case r.First != end.Seq+1:
		return nil, broken(r.Namespace, "event %d follows event %d: what is between was removed, or the order was changed", r.First, end.Seq)
	case r.Prev != end.Hash:
		return nil, broken(r.Namespace, "the events %d to %d do not continue event %d: the chain was forked there", r.First, r.Last, end.Seq)
	}
	events, err := Events(r)
	if err != nil {
		return nil, err
	}
	if err := p.compare(end.Seq, r); err != nil {
		return nil, err
	}
	p.ends[r.Namespace] = r.Head()
	p.records++
	return events, nil
}

// compare looks at what was kept of the events of a record.
func (p *Proof) compare(before uint64, r sluice.Record) error {
	kept := p.kept[r.Namespace]
	if len(kept) == 0 {
		return nil
	}
	for seq := before + 1; seq <= r.Last; seq++ {
		hash, is := kept[seq]
		if is && (seq != r.Last || hash != r.Hash) {
			return broken(r.Namespace, "event %d or one before it is another than was seen elsewhere: the log was written anew", seq)
		}
		delete(kept, seq)
	}
	return nil
}

// End says what was kept elsewhere and is not in the log any more.
func (p *Proof) End() error {
	for _, ns := range slices.Sorted(maps.Keys(p.kept)) {
		if kept := p.kept[ns]; len(kept) > 0 {
			last := slices.Max(slices.Collect(maps.Keys(kept)))
			return broken(ns, "it ends at event %d, and event %d was seen elsewhere: its end was cut off", p.ends[ns].Seq, last)
		}
	}
	return nil
}

// Heads are the ends of the chains so far, sorted by namespace.
func (p *Proof) Heads() (out []sluice.Head) {
	for _, ns := range slices.Sorted(maps.Keys(p.ends)) {
		out = append(out, p.ends[ns])
	}
	return out
}

// Events are those of a record. Their numbers must be those that the record says.
func Events(r sluice.Record) ([]sluice.Event, error) {
	var out []sluice.Event
	seq := r.First
	for rest := r.Payload; len(rest) > 0; seq++ {
		line, more, ok := bytes.Cut(rest, []byte{'\n'})
		rest = more
		var e sluice.Event
		if err := json.Unmarshal(line, &e); err != nil || !ok {
			return nil, broken(r.Namespace, "event %d cannot be read", seq)
		}
		if e.Seq != seq {
			return nil, broken(r.Namespace, "event %d says that it is %d", seq, e.Seq)
		}
		out = append(out, e)
	}
	if seq != r.Last+1 || r.First < 1 {
		return nil, broken(r.Namespace, "the record of the events %d to %d holds another number of events", r.First, r.Last)
	}
	return out, nil
}

// ParseHeads reads heads that were kept: an export (one record a line) or heads (one a line). An empty line is none.
func ParseHeads(text []byte) (out []sluice.Head, err error) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var w struct {
			Namespace sluice.Namespace  `json:"namespace"`
			Seq       uint64            `json:"seq"`
			Last      uint64            `json:"last"`
			Hash      *sluice.ChainHash `json:"hash"`
		}
		if err := json.Unmarshal(line, &w); err != nil || w.Hash == nil || w.Namespace == "" || w.Seq+w.Last == 0 {
			e := sluice.Errorf(sluice.Usage, "this is neither a record of an export nor a head: it has no namespace, number and hash")
			e.At.Line = n
			return nil, e.WithHint("sluice audit export -o json writes records, sluice audit verify -o json heads")
		}
		out = append(out, sluice.Head{Namespace: w.Namespace, Seq: max(w.Seq, w.Last), Hash: *w.Hash})
	}
	return out, nil
}
