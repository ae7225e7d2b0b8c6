package config

import "encoding/json"

// Provenance says where each value of a configuration came from, key by key, for those who look at it later. It is kept beside the
// frozen configuration, not in it: where a line was moved the configuration is still the same. Sealed values are in it as little as
// in what is shown.
type Provenance []Came

// Came is what layers said about a key, in their order.
type Came struct {
	Key  string `json:"key"` // as [Path.String] writes it
	Said []Word `json:"said"`
}

// Word is what one layer said about a key, or about a map that it was in.
type Word struct {
	At    string `json:"at"`    // file, line and column
	Value string `json:"value"` // as [Value.Shown] shows it
	// Counts says that it is the value, or in it.
	Counts bool `json:"counts,omitzero"`
}

// Provenance is that of all keys that have a value.
func (r *Rendered) Provenance() Provenance {
	out := Provenance{}
	for _, e := range r.Explain(nil) {
		if e.Value == nil {
			continue
		}
		c := Came{Key: e.Path.String()}
		for _, s := range e.Said {
			w := Word{At: s.At.String(), Counts: s.Counts}
			switch {
			case s.Value != nil:
				w.Value = s.Value.Shown()
			case s.Above != nil:
				w.Value = s.Above.Shown()
			}
			c.Said = append(c.Said, w)
		}
		out = append(out, c)
	}
	return out
}

// Encode writes it; the same provenance gives the same text.
func (p Provenance) Encode() []byte { return encode(p) }

// ParseProvenance reads what Encode wrote.
func ParseProvenance(text []byte) (p Provenance, err error) {
	err = json.Unmarshal(text, &p)
	return p, err
}

// Entry is a key of a frozen configuration, as people look at it.
type Entry struct {
	Key, Value string
	Sealed     bool // the value only says how it is sealed
}

// Entries are all keys that are no maps, and maps in which nothing is, sorted. Nothing is opened.
func (f Frozen) Entries() ([]Entry, error) {
	t, err := f.thaw()
	if err != nil {
		return nil, err
	}
	var out []Entry
	t.tree.entries(nil, &out)
	return out, nil
}

func (v *Value) entries(p Path, out *[]Entry) {
	if v.Kind != Map || len(v.Map) == 0 {
		if len(p) > 0 {
			*out = append(*out, Entry{p.String(), v.Shown(), v.Kind == Sealed})
		}
		return
	}
	for _, k := range v.Keys() {
		v.Map[k].entries(p.below(k), out)
	}
}
