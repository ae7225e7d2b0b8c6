// Package linediff compares texts line by line, as people read differences: what stayed, what is gone, what is new, in runs
// with a few lines around them.
//
// It is pure, and its work is bounded: texts that have little in common are shown as one that is gone and one that is new.
package linediff

import "strings"

// Kind says what became of a line.
type Kind string

// The kinds of lines.
const (
	Same Kind = "same"
	Gone Kind = "gone"
	New  Kind = "new"
)

// Line is a line of either text, without its end. Was and Now are its numbers in the texts, from 1; 0 where it is not there.
type Line struct {
	Kind Kind
	Text string
	Was  int
	Now  int
}

// maxEdits bounds how far apart texts are searched: time and memory grow with its square.
const maxEdits = 1000

// Lines cuts a text into lines. A last line that does not end counts as one.
func Lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// Diff is all lines of both texts, those that are gone before those that came in their place.
func Diff(was, now []string) []Line {
	head := 0
	for head < len(was) && head < len(now) && was[head] == now[head] {
		head++
	}
	tail := 0
	for tail < len(was)-head && tail < len(now)-head && was[len(was)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	out := make([]Line, 0, max(len(was), len(now)))
	for i := range head {
		out = append(out, Line{Same, was[i], i + 1, i + 1})
	}
	out = middle(out, was[head:len(was)-tail], now[head:len(now)-tail], head)
	for i := len(was) - tail; i < len(was); i++ {
		out = append(out, Line{Same, was[i], i + 1, i + 1 + len(now) - len(was)})
	}
	return out
}

// middle compares what begins and ends differently, by the shortest way from one to the other (Myers, 1986). offset is the
// number of lines before both.
func middle(out []Line, a, b []string, offset int) []Line {
	keeps, ok := shortest(a, b)
	if !ok {
		keeps = nil
	}
	i, j := 0, 0
	upTo := func(x, y int) {
		for ; i < x; i++ {
			out = append(out, Line{Gone, a[i], offset + i + 1, 0})
		}
		for ; j < y; j++ {
			out = append(out, Line{New, b[j], 0, offset + j + 1})
		}
	}
	for _, k := range keeps {
		upTo(k[0], k[1])
		out = append(out, Line{Same, a[i], offset + i + 1, offset + j + 1})
		i, j = i+1, j+1
	}
	upTo(len(a), len(b))
	return out
}

// shortest is the pairs of lines that stay on a shortest way; false if it is too long.
func shortest(a, b []string) ([][2]int, bool) {
	limit := min(len(a)+len(b), maxEdits)
	far := make([]int, 2*limit+2) // by diagonal, how far in a
	at := func(k int) int { return k + limit }
	var trail [][]int // far of each number of edits, from -d-1 to d+1
	for d := 0; d <= limit; d++ {
		for k := -d; k <= d; k += 2 {
			var x int
			if k == -d || k != d && far[at(k-1)] < far[at(k+1)] {
				if at(k+1) < len(far) {
					x = far[at(k+1)]
				}
			} else {
				x = far[at(k-1)] + 1
			}
			for x < len(a) && x-k < len(b) && x-k >= 0 && a[x] == b[x-k] {
				x++
			}
			far[at(k)] = x
			if x >= len(a) && x-k >= len(b) {
				return back(trail, a, b), true
			}
		}
		trail = append(trail, append([]int(nil), far[at(-d):at(d)+1]...))
	}
	return nil, false
}

// back goes the way that was found from its end to its beginning.
func back(trail [][]int, a, b []string) [][2]int {
	var keeps [][2]int
	x, y := len(a), len(b)
	for d := len(trail); d > 0; d-- {
		before := func(k int) int { // how far d-1 edits came on a diagonal
			if i := k + d - 1; i >= 0 && i < len(trail[d-1]) {
				return trail[d-1][i]
			}
			return -1
		}
		k := x - y
		from := k - 1
		if k == -d || k != d && before(k-1) < before(k+1) {
			from = k + 1
		}
		px := before(from)
		py := px - from
		for x > px && y > py {
			if from == k+1 && y == py+1 || from == k-1 && x == px+1 {
				break
			}
			x, y = x-1, y-1
			keeps = append(keeps, [2]int{x, y})
		}
		x, y = px, py
	}
	for x > 0 && y > 0 {
		x, y = x-1, y-1
		keeps = append(keeps, [2]int{x, y})
	}
	for i, j := 0, len(keeps)-1; i < j; i, j = i+1, j-1 {
		keeps[i], keeps[j] = keeps[j], keeps[i]
	}
	return keeps
}

// Runs are the lines that differ with so many lines around them; runs that touch are one.
func Runs(lines []Line, around int) [][]Line {
	var out [][]Line
	from, to := -1, -1 // of the run that is open
	for i, l := range lines {
		if l.Kind == Same {
			continue
		}
		if from >= 0 && i-around <= to {
			to = i + around + 1
			continue
		}
		if from >= 0 {
			out = append(out, lines[from:min(to, len(lines))])
		}
		from, to = max(0, i-around), i+around+1
	}
	if from >= 0 {
		out = append(out, lines[from:min(to, len(lines))])
	}
	return out
}
