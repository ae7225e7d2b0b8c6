package sealed

import (
	"bufio"
	"bytes"
	"slices"
	"strings"

	"sluice"
)

// Known are keys that somebody trusts, by name: workers that a client seals to, or people whose secrets a worker takes. A
// name may have several.
type Known []Named

// Named is a key and whose it is.
type Named struct {
	Name string
	Key  Key
}

// maxKnown is the number of bytes of a file of known keys.
const maxKnown = 1 << 20

// ParseKnown reads lines of a name and a key in base64. Empty lines, and those that begin with #, say nothing.
func ParseKnown(text []byte) (out Known, err error) {
	if len(text) > maxKnown {
		return nil, sluice.Errorf(sluice.Config, "more than %d bytes of known keys", maxKnown)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		k := Named{Name: words[0]}
		if len(words) != 2 || k.Key.UnmarshalText([]byte(words[1])) != nil {
			return nil, sluice.Errorf(sluice.Config, "line %d is not a name and a key in base64", n)
		}
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out, lines.Err()
}

// Text writes what ParseKnown reads.
func (k Known) Text() []byte {
	var b bytes.Buffer
	for _, n := range k {
		b.WriteString(n.Name + " " + n.Key.String() + "\n")
	}
	return b.Bytes()
}

// Of are the keys of a name.
func (k Known) Of(name string) (out []Key) {
	for _, n := range k {
		if n.Name == name {
			out = append(out, n.Key)
		}
	}
	return out
}

// Has reports whether a name has a key.
func (k Known) Has(name string, key Key) bool { return slices.Contains(k, Named{name, key}) }

// Namable reports whether a name can stand in a file of known keys.
func Namable(name string) bool {
	return name != "" && name[0] != '#' && len(strings.Fields(name)) == 1 && strings.TrimSpace(name) == name && !strings.ContainsAny(name, "\x00")
}
