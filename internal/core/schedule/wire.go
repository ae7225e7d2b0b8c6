package schedule

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"sluice"
)

// writer appends values in the form in which a reader takes them.
type writer struct{ b []byte }

func (w *writer) uint(n int)    { w.b = binary.AppendUvarint(w.b, uint64(n)) }
func (w *writer) int(n int64)   { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) byte(c byte)   { w.b = append(w.b, c) }
func (w *writer) text(s string) { w.uint(len(s)); w.b = append(w.b, s...) }

func (w *writer) time(t time.Time) {
	w.int(t.Unix())
	w.uint(t.Nanosecond())
}

// spans writes numbers as runs that count upwards.
func (w *writer) spans(numbers []int32) {
	w.uint(len(numbers))
	var last int32
	for i := 0; i < len(numbers); {
		first, n := numbers[i], 1
		for i+n < len(numbers) && numbers[i+n] == first+int32(n) {
			n++
		}
		i += n
		w.int(int64(first) - int64(last))
		w.uint(n)
		last = first + int32(n)
	}
}

// reader takes values from a text. After the first that is not there, or cannot be, it is bad and gives zeros.
type reader struct {
	s   string
	bad bool
}

func (r *reader) fail() {
	r.s, r.bad = "", true
}

func (r *reader) uvarint() (n uint64) {
	for i := 0; i < len(r.s) && i < binary.MaxVarintLen64; i++ {
		c := r.s[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			return n
		}
	}
	r.fail()
	return 0
}

// uint takes a number from 0 to limit.
func (r *reader) uint(limit int) int {
	n := r.uvarint()
	if n > uint64(limit) {
		r.fail()
		return 0
	}
	return int(n)
}

// count takes a number of things that follow, each at least a byte long.
func (r *reader) count() int { return r.uint(len(r.s)) }

func (r *reader) int() int64 {
	n := r.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (r *reader) byte() byte {
	if len(r.s) == 0 {
		r.fail()
		return 0
	}
	c := r.s[0]
	r.s = r.s[1:]
	return c
}

func (r *reader) text() string {
	n := r.count()
	if r.bad || n > len(r.s) {
		r.fail()
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) time() time.Time {
	sec := r.int()
	return time.Unix(sec, int64(r.uint(int(time.Second)-1))).UTC()
}

// spans calls visit with numbers below limit, at most most of them, and returns how many there are.
func (r *reader) spans(limit, most int, visit func(int32)) int {
	total := r.uint(most)
	last := int64(0)
	for left := total; left > 0 && !r.bad; {
		first, n := last+r.int(), r.uint(left)
		if n == 0 || first < 0 || first > int64(limit-n) {
			r.fail()
			return 0
		}
		for i := range n {
			visit(int32(first) + int32(i))
		}
		left -= n
		last = first + int64(n)
	}
	return total
}

// table numbers values that many jobs share. Numbers stay what they are from one snapshot to the next.
type table[T any] struct {
	texts  []string // as JSON
	values []T
	index  map[string]int
}

// number finds a value in the table, or adds it.
func (t *table[T]) number(v T) (int, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	if t.index == nil {
		t.index = make(map[string]int, len(t.texts))
		for i, s := range t.texts {
			t.index[s] = i
		}
	}
	n, ok := t.index[string(b)]
	if !ok {
		n = len(t.texts)
		t.texts, t.values, t.index[string(b)] = append(t.texts, string(b)), append(t.values, v), n
	}
	return n, nil
}

func (t *table[T]) write(w *writer) {
	w.uint(len(t.texts))
	for _, s := range t.texts {
		w.text(s)
	}
}

func (t *table[T]) read(r *reader) {
	n := r.count()
	if r.bad {
		return
	}
	t.texts, t.values = make([]string, n), make([]T, n)
	for i := range n {
		t.texts[i] = r.text()
		if json.Unmarshal([]byte(t.texts[i]), &t.values[i]) != nil {
			r.fail()
			return
		}
	}
}

// tables are the values that jobs share.
type tables struct {
	specs table[sluice.Job] // without what differs from job to job
	ssh   table[sluice.SSH]
	gates table[sluice.Gate]
}

// codes of outcomes in a snapshot. 0 is none; what comes after them is an outcome that this version does not know.
var codes = [...]sluice.Outcome{"", sluice.Succeeded, sluice.Failed, sluice.Unreachable, sluice.TimedOut, sluice.Unknown,
	sluice.Cancelled, sluice.Skipped}

func codeOf(o sluice.Outcome) int {
	for c, known := range codes {
		if o == known {
			return c
		}
	}
	return len(codes)
}

func (w *writer) outcome(o sluice.Outcome) {
	c := codeOf(o)
	w.uint(c)
	if c == len(codes) {
		w.text(string(o))
	}
}

func (r *reader) outcome() sluice.Outcome {
	if c := r.uint(len(codes)); c < len(codes) {
		return codes[c]
	}
	return sluice.Outcome(r.text())
}

// tally counts tasks by the code of their outcome.
type tally [len(codes) + 1]int

func (t *tally) of(o sluice.Outcome) int { return t[codeOf(o)] }

// counts are the outcomes by name.
func (t *tally) counts() map[sluice.Outcome]int {
	out := map[sluice.Outcome]int{}
	for c, o := range codes {
		if t[c] > 0 {
			out[o] = t[c]
		}
	}
	return out
}
