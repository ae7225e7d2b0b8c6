package document

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sluice"
)

// MaxErrors is how many errors are told at once.
const MaxErrors = 20

// Errors are the mistakes found in files, by place: files in the order in which they are read, then lines.
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

// Problems collects errors while reading goes on. What is there already is the cause of several mishaps, and is
// told once.
type Problems struct {
	list  []*sluice.Error
	seen  map[string]bool
	files []string // in the order in which they were opened
}

// Opened says that a file is read now: errors are told in the order in which files were opened.
func (p *Problems) Opened(file string) { p.files = append(p.files, file) }

// Add takes an error; nil is none.
func (p *Problems) Add(err *sluice.Error) {
	if err == nil || p.seen[err.Error()] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[err.Error()] = true
	p.list = append(p.list, err)
}

// Join takes the errors of an error: those of [Errors] one by one, another one as what it is.
func (p *Problems) Join(err error) {
	switch e := err.(type) { //nolint:errorlint // what wraps several has words of its own for them
	case nil:
	case Errors:
		for _, one := range e {
			p.Add(one)
		}
	case *sluice.Error:
		p.Add(e)
	default:
		p.Add(&sluice.Error{Code: sluice.Config, Text: "it failed", Err: err})
	}
}

// First is the error that was added first, or nil.
func (p *Problems) First() *sluice.Error {
	if len(p.list) == 0 {
		return nil
	}
	return p.list[0]
}

// Latest is the error that was added last. Who cannot do without what was wrong remembers it as the reason.
func (p *Problems) Latest() *sluice.Error { return p.list[len(p.list)-1] }

// Full says that there are so many errors that looking further helps nobody.
func (p *Problems) Full() bool { return len(p.list) >= 50*MaxErrors }

// All are the errors by place.
func (p *Problems) All() Errors {
	place := func(file string) int { return slices.Index(p.files, file) }
	slices.SortStableFunc(p.list, func(a, b *sluice.Error) int {
		return cmp.Or(cmp.Compare(place(a.At.File), place(b.At.File)), cmp.Compare(a.At.Line, b.At.Line),
			cmp.Compare(a.At.Column, b.At.Column))
	})
	return p.list
}

// Err returns [Errors], or nil where there are none. The first [MaxErrors] of them are told.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	p.All()
	if more := len(p.list) - MaxErrors; more > 0 {
		rest := sluice.Errorf(sluice.Config, "%d more errors are not shown", more)
		rest.At = sluice.Position{File: p.list[MaxErrors].At.File}
		return append(Errors(p.list[:MaxErrors:MaxErrors]), rest)
	}
	return Errors(p.list)
}

// ErrorAt is an error in a file, at its place.
func ErrorAt(at sluice.Position, format string, args ...any) *sluice.Error {
	e := sluice.Errorf(sluice.Config, format, args...)
	e.At = at
	return e
}

// Nearest returns the word that was probably meant, or "".
func Nearest[S ~string](word string, words []S) S {
	best, limit := S(""), min(1+len(word)/4, len(word)-1)
	for _, w := range words {
		if d := distance(word, string(w), limit); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

// DidYouMean asks whether the nearest word was meant, behind a prefix; "" where none is near.
func DidYouMean[S ~string](prefix, word string, words []S) string {
	if w := Nearest(word, words); w != "" {
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
