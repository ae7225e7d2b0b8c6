package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"sluice"
)

// Kind is what a value is.
type Kind uint8

const (
	Null Kind = iota + 1
	Bool
	Number
	Text
	List
	Map
	Missing // a later layer must give a value
	Delete  // the key is removed
	Sealed  // a value that only a worker can read
)

// told is how messages speak of a kind.
var told = [...]string{Null: "null", Bool: "a truth", Number: "a number", Text: "a text", List: "a list", Map: "a map",
	Missing: "!missing", Delete: "!delete", Sealed: "a sealed value"}

func (k Kind) String() string { return told[k] }

// Value is a value of a layer or of a rendered tree. It is never changed after it was made: trees share values.
type Value struct {
	Kind Kind
	// At is where its key stands, or it itself in a list. A value of a program has a file and no line.
	At sluice.Position
	// Text is what a scalar says: true or false, a number as JSON has it, a text. Of !missing it is what the layer says
	// about it.
	Text   string
	List   []*Value
	Map    map[string]*Value
	Sealed *Seal
	// Whole says that it takes the place of what earlier layers said, instead of being merged into it: !replace.
	Whole bool
}

// Keys are the keys of a map, sorted.
func (v *Value) Keys() []string { return slices.Sorted(maps.Keys(v.Map)) }

// typed is the kind of what a value holds: a sealed value is of the type of what is in it.
func (v *Value) typed() Kind {
	if v.Kind == Sealed {
		return v.Sealed.Type
	}
	return v.Kind
}

// Equal says whether two values say the same, wherever they stand. Sealed ones are equal only where the ciphertext is.
func Equal(a, b *Value) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.Kind != b.Kind || a.Text != b.Text || len(a.List) != len(b.List) || len(a.Map) != len(b.Map) {
		return false
	}
	if a.Kind == Sealed {
		return a.Sealed.equal(b.Sealed)
	}
	for i := range a.List {
		if !Equal(a.List[i], b.List[i]) {
			return false
		}
	}
	for k, v := range a.Map {
		if !Equal(v, b.Map[k]) {
			return false
		}
	}
	return true
}

// Path is the way to a value: the keys from the top.
type Path []string

// below is the path with a key more; the path itself stays as it is.
func (p Path) below(key string) Path { return append(slices.Clip(p), key) }

// String writes a path with dots between keys. A key that has anything else than letters, digits, "-" and "_" in it stands in
// quotes.
func (p Path) String() string {
	var b strings.Builder
	for i, key := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		if plainKey(key) {
			b.WriteString(key)
			continue
		}
		b.WriteByte('"')
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key))
		b.WriteByte('"')
	}
	return b.String()
}

func plainKey(key string) bool {
	return key != "" && strings.IndexFunc(key, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// ParsePath reads what [Path.String] writes. Text that is no path is an error of the person who typed it.
func ParsePath(text string) (Path, error) {
	var out Path
	bad := func() (Path, error) {
		return nil, sluice.Errorf(sluice.Usage, "%.80q is no key", text).
			WithHint(`keys have dots between them, and quotes where one has a dot in it: db.hosts."a.example.com"`)
	}
	for rest := text; ; {
		key := ""
		if strings.HasPrefix(rest, `"`) {
			i := 1
			for ; i < len(rest) && rest[i] != '"'; i++ {
				if rest[i] == '\\' {
					i++
				}
				if i < len(rest) {
					key += rest[i : i+1]
				}
			}
			if i >= len(rest) {
				return bad()
			}
			rest = rest[i+1:]
		} else {
			end := strings.IndexByte(rest, '.')
			if end < 0 {
				end = len(rest)
			}
			if key, rest = rest[:end], rest[end:]; key == "" || strings.Contains(key, `"`) {
				return bad()
			}
		}
		out = append(out, key)
		switch {
		case rest == "":
			return out, nil
		case rest[0] != '.':
			return bad()
		}
		rest = rest[1:]
	}
}

func comparePaths(a, b Path) int { return slices.CompareFunc(a, b, cmp.Compare[string]) }

// Lookup is the value at a path below v, or nil.
func (v *Value) Lookup(p Path) *Value {
	for _, key := range p {
		if v == nil || v.Kind != Map {
			return nil
		}
		v = v.Map[key]
	}
	return v
}

// each calls f for all values below v, keys in order, and for what is in lists; the path of those is the list's.
func (v *Value) each(p Path, f func(Path, *Value)) {
	f(p, v)
	for _, k := range v.Keys() {
		v.Map[k].each(p.below(k), f)
	}
	for _, e := range v.List {
		e.each(p, f)
	}
}
