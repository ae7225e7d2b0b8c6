package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sluice"
)

// Errors are the mistakes found in fleet files, by place: files in the order in which they are read, then lines.
type Errors []*sluice.Error

// Error lists the errors, one per line, each with its hint.
func (e Errors) Error() string {
	var b strings.Builder
	for i, err := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(err.Error())
		if err.Hint != "" {
			b.WriteString("\n    " + err.Hint)
		}
	}
	return b.String()
}

// Unwrap gives each error to errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, err := range e {
		out[i] = err
	}
	return out
}

// problems collects errors while loading goes on. What is there already is the cause of several mishaps, and is
// told once.
type problems struct {
	list  []*sluice.Error
	seen  map[string]bool
	files []string // in the order in which they were opened
}

func (p *problems) add(err *sluice.Error) {
	if err == nil || p.seen[err.Error()] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[err.Error()] = true
	p.list = append(p.list, err)
}

// latest is the error added last. Who cannot do without what was wrong remembers it as the reason.
func (p *problems) latest() *sluice.Error { return p.list[len(p.list)-1] }

// full says that there are so many errors that looking further helps nobody.
func (p *problems) full() bool { return len(p.list) >= 50*MaxErrors }

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	place := func(file string) int { return slices.Index(p.files, file) }
	slices.SortStableFunc(p.list, func(a, b *sluice.Error) int {
		return cmp.Or(cmp.Compare(place(a.At.File), place(b.At.File)), cmp.Compare(a.At.Line, b.At.Line),
			cmp.Compare(a.At.Column, b.At.Column))
	})
	if more := len(p.list) - MaxErrors; more > 0 {
		rest := sluice.Errorf(sluice.Config, "%d more errors are not shown", more)
		rest.At = sluice.Position{File: p.list[MaxErrors].At.File}
		return append(Errors(p.list[:MaxErrors:MaxErrors]), rest)
	}
	return Errors(p.list)
}

func configError(at sluice.Position, format string, args ...any) *sluice.Error {
	e := sluice.Errorf(sluice.Config, format, args...)
	e.At = at
	return e
}

// nearest returns the word that was probably meant, or "".
func nearest[S ~string](word string, words []S) S {
	best, limit := S(""), min(1+len(word)/4, len(word)-1)
	for _, w := range words {
		if d := distance(word, string(w), limit); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

func didYouMean[S ~string](prefix, word string, words []S) string {
	if w := nearest(word, words); w != "" {
		return fmt.Sprintf("did you mean %s%s?", prefix, w)
	}
	return ""
}

// distance counts the letters to add, drop, change or swap with their neighbour to get from a to b; more than
// limit is limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			next[j] = min(change, last[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
			least = min(least, next[j])
		}
		if least > limit {
			return limit + 1
		}
		before, last, next = last, next, before
	}
	return min(last[len(b)], limit+1)
}
