package template

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"sluice"
	"sluice/internal/core/document"
)

// run is one rendering.
type run struct {
	t      *Template
	out    output
	steps  int
	bytes  int // that were made
	secret bool
	sealed map[string]bool // keys of what was sealed and is in a text, also in one that is not written
}

// Hidden is a value that was sealed, or a text that was made of one. However it is printed, it shows a placeholder; only what is
// rendered has it.
type Hidden struct {
	key  string
	bare bool // a number or truth: it stands without quotes in JSON
	made bool // of others, which are known
	// A function, so that nothing can compare it or look into it.
	text func() string
}

// Hide is the sealed value of a key, or the word that stands for it where it is not opened. bare says that it is a number or a
// truth.
func Hide(key, text string, bare bool) Hidden {
	return Hidden{key: key, bare: bare, text: func() string { return text }}
}

// open is what is hidden, for a text.
func (r *run) open(h Hidden) string {
	if !h.made {
		if r.sealed == nil {
			r.sealed = map[string]bool{}
		}
		r.sealed[h.key] = true
	}
	return h.text()
}

const shut = "[sealed]"

func (Hidden) String() string               { return shut }
func (Hidden) GoString() string             { return shut }
func (Hidden) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, shut) }
func (Hidden) MarshalText() ([]byte, error) { return []byte(shut), nil }
func (h Hidden) why() string                { return h.key + " is sealed: a template can write it, and nothing else" }

func bad(format string, args ...any) *sluice.Error {
	return sluice.Errorf(sluice.Config, format, args...)
}

// wrong is a value that a function cannot take.
func wrong(name, want string, v any) error {
	if h, ok := v.(Hidden); ok {
		return bad("%s", h.why())
	}
	return bad("%s takes %s, not %s", name, want, kind(v))
}

// kind is what messages call a value.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a text"
	case bool:
		return "a truth"
	case int, int32, int64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	case Hidden:
		return "a sealed value"
	}
	return "what no configuration has"
}

// step counts.
func (r *run) step(n int) (string, error) {
	if r.steps += n; r.steps > maxSteps {
		return "", bad("it does more than %d steps; does it go through lists in lists?", maxSteps)
	}
	return "", nil
}

// make counts bytes that are made or looked at.
func (r *run) make(n int) error {
	if r.bytes += n; r.bytes > maxMade {
		return bad("it makes more than %d bytes", maxMade)
	}
	return r.room(n)
}

// room refuses a text before it is made.
func (r *run) room(n int) error {
	if n > MaxOutput {
		return bad("it makes a text of more than %d bytes", MaxOutput)
	}
	return nil
}

// placed gives an error its place.
func (r *run) placed(n, key int, err *sluice.Error) error {
	err.At = r.t.position(n, key)
	return err
}

// get finds a key below a value.
func (r *run) get(n int, from any) (any, error) {
	p := r.t.places[n]
	way := p.way
	for i, key := range p.keys {
		switch v := from.(type) {
		case map[string]any:
			e, ok := v[key]
			if !ok && !p.soft {
				err := noKey(way, key, v)
				if err.Hint == "" {
					err.Hint = fmt.Sprintf("where it may be missing: {{default VALUE %s.%s}}", p.way, strings.Join(p.keys, "."))
				}
				return nil, r.placed(n, i, err)
			}
			from = e
		case nil:
			if p.soft {
				return nil, nil
			}
			return nil, r.placed(n, i, bad("%s is null, so it has no key %s", orThis(way), key))
		case Hidden:
			return nil, r.placed(n, i, bad("%s", v.why()))
		default:
			return nil, r.placed(n, i, bad("%s is %s, so it has no key %s", orThis(way), kind(v), key))
		}
		way += "." + key
	}
	return from, nil
}

func orThis(way string) string {
	if way == "" {
		return "what is at hand (.)"
	}
	return way
}

// noKey says what was probably meant.
func noKey(way, key string, in map[string]any) *sluice.Error {
	e := bad("there is no key %s.%.100s", way, key)
	e.Hint = document.DidYouMean(way+".", key, slices.Sorted(maps.Keys(in)))
	return e
}

// write is what an action comes to. Only texts, numbers and truths can stand in a file as they are.
func (r *run) write(n int, v any) (string, error) {
	text, sealed, err := r.plain(v)
	if err != nil {
		return "", r.placed(n, 0, asOurs(err))
	}
	r.secret = r.secret || sealed
	return text, nil
}

// plain is a text, number or truth as it stands in a file.
func (r *run) plain(v any) (text string, sealed bool, err error) {
	switch v := v.(type) {
	case string:
		return v, false, nil
	case bool:
		return strconv.FormatBool(v), false, nil
	case int:
		return strconv.Itoa(v), false, nil
	case int64:
		return strconv.FormatInt(v, 10), false, nil
	case float64:
		return number64(v), false, nil
	case Hidden:
		return r.open(v), true, nil
	case nil:
		return "", false, bad("it is null, which cannot be written").WithHint("default VALUE KEY is VALUE where there is nothing")
	case []any:
		return "", false, bad("it is a list, which cannot be written as it is").WithHint(`join ", " LIST, toJson LIST, toYaml LIST, or range`)
	case map[string]any:
		return "", false, bad("it is a map, which cannot be written as it is").WithHint("toJson MAP, toYaml MAP, or range")
	}
	return "", false, bad("it is %s", kind(v))
}

// number64 is a number as JSON has it, without an exponent where people would write none.
func number64(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// test is a value that something is decided by.
func (r *run) test(n int, v any) (any, error) {
	if h, ok := v.(Hidden); ok {
		return nil, r.placed(n, 0, bad("%s", h.why()))
	}
	return v, nil
}

// each is a value that is gone through.
func (r *run) each(n int, v any) (any, error) {
	switch v := v.(type) {
	case nil, []any, map[string]any, int, int64:
		return v, nil
	}
	return nil, r.placed(n, 0, asOurs(wrong("range", "a list or a map", v)))
}

func asOurs(err error) *sluice.Error { return err.(*sluice.Error) } //nolint:errorlint,forcetypeassert // made above, with bad

func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

// compare orders two values of one kind.
func (r *run) compare(a, b any) (int, error) {
	for _, v := range []any{a, b} {
		if h, ok := v.(Hidden); ok {
			return 0, bad("%s", h.why())
		}
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y), r.make(min(len(x), len(y)))
		}
	case int, int64:
		p, _ := whole(x)
		if q, ok := whole(b); ok {
			return cmp.Compare(p, q), nil
		}
		if q, ok := b.(float64); ok {
			return cmp.Compare(float64(p), q), nil
		}
	case float64:
		if q, ok := whole(b); ok {
			return cmp.Compare(x, float64(q)), nil
		}
		if q, ok := b.(float64); ok {
			return cmp.Compare(x, q), nil
		}
	}
	return 0, bad("%s and %s cannot be compared", kind(a), kind(b))
}

// equal says whether two values are the same. null is the same as null alone.
func (r *run) equal(a, b any) (bool, error) {
	x, one := a.(bool)
	y, two := b.(bool)
	switch {
	case one && two:
		return x == y, nil
	case (a == nil || b == nil) && kind(a) != "a sealed value" && kind(b) != "a sealed value":
		return a == nil && b == nil, nil
	}
	c, err := r.compare(a, b)
	return c == 0, err
}

func (r *run) ordered(is func(int) bool) func(a, b any) (bool, error) {
	return func(a, b any) (bool, error) {
		c, err := r.compare(a, b)
		return is(c), err
	}
}
