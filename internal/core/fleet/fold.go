package fleet

import (
	"strconv"
	"strings"

	"sluice"
)

// Fold writes hosts shortly, such as "web[01-19],db[1-3]"; [Expand] reads it. Hosts that differ in one number
// stand together, at the place of the first of them and in the order given.
func Fold(hosts []sluice.Host) string {
	hosts = unique(append([]sluice.Host(nil), hosts...))
	frames := make(map[frame]int, len(hosts)) // how many hosts fit
	for _, h := range hosts {
		for f := range numbers(string(h)) {
			frames[f]++
		}
	}
	families := map[frame]*family{}
	var order []*family
	for _, h := range hosts {
		best, digits := frame{before: string(h)}, ""
		most := 1 // a frame that only this host fits is none
		for f, d := range numbers(string(h)) {
			if n := frames[f]; n > most || n == most && digits != "" {
				best, digits, most = f, d, n
			}
		}
		f := families[best]
		if f == nil || digits == "" {
			f = &family{frame: best}
			order = append(order, f)
			families[best] = f
		}
		f.digits = append(f.digits, digits)
	}
	var b strings.Builder
	for i, f := range order {
		if i > 0 {
			b.WriteByte(',')
		}
		f.write(&b)
	}
	return b.String()
}

// FoldSome is Fold within so many bytes: where they do not hold all hosts, more says how many are left out.
func FoldSome(hosts []sluice.Host, within int) (text string, more int) {
	hosts = unique(append([]sluice.Host(nil), hosts...))
	n := len(hosts)
	for {
		if text = Fold(hosts[:n]); len(text) <= within || n == 1 {
			return text, len(hosts) - n
		}
		n = (n + 1) / 2
	}
}

// frame is a host name without one of its numbers.
type frame struct {
	before, after string
	numbered      bool
}

// family is the hosts that fit one frame.
type family struct {
	frame
	digits []string
}

// longestNumber is the length of numbers that surely fit an int; longer ones are taken for text.
const longestNumber = 18

// numbers yields the frames of a name, one for each of its numbers.
func numbers(name string) func(func(frame, string) bool) {
	return func(yield func(frame, string) bool) {
		for i := 0; i < len(name); i++ {
			if !isDigit(name[i]) {
				continue
			}
			from := i
			for i < len(name) && isDigit(name[i]) {
				i++
			}
			if i-from <= longestNumber && !yield(frame{name[:from], name[i:], true}, name[from:i]) {
				return
			}
		}
	}
}

func (f *family) write(b *strings.Builder) {
	if len(f.digits) == 1 {
		b.WriteString(f.before + f.digits[0] + f.after)
		return
	}
	b.WriteString(f.before + "[")
	for i := 0; i < len(f.digits); {
		if i > 0 {
			b.WriteByte(',')
		}
		last := run(f.digits, i)
		b.WriteString(f.digits[i])
		if last > i {
			b.WriteString("-" + f.digits[last])
		}
		i = last + 1
	}
	b.WriteString("]" + f.after)
}

// run returns the last place of the range that begins at place i: numbers that follow each other as Expand
// would write them.
func run(digits []string, i int) int {
	n, _ := strconv.Atoi(digits[i])
	width := 0
	if digits[i][0] == '0' {
		width = len(digits[i])
	}
	for ; i+1 < len(digits); i++ {
		n++
		if digits[i+1] != padded(n, width) {
			break
		}
	}
	return i
}
