package fleet

import "strings"

// Word is a tag or a host that an expression could go on with.
type Word struct {
	Text string // as it is written: $tag, or the name of the host
	Tag  bool
	// Hosts are those that carry the tag; 1 for a host.
	Hosts int
}

// Complete returns what could stand where an expression ends, at most so many words, and the text that each of them would
// take the place of. Words that begin as the text does come first, then those that have it elsewhere.
func (l *Loaded) Complete(expression string, most int) (words []Word, instead string, more bool) {
	from := strings.LastIndexAny(expression, ",&!() \t\r\n") + 1
	instead = expression[from:]
	if strings.ContainsAny(instead, "[]{}*?\"'") {
		return nil, instead, false // what a pattern means is shown by what it matches
	}
	mark, wanted := "$", instead
	tagsOnly := false
	if instead != "" && (instead[0] == '$' || instead[0] == '@') {
		mark, wanted, tagsOnly = instead[:1], instead[1:], true
	}
	add := func(w Word) bool {
		if len(words) == most {
			more = true
			return false
		}
		words = append(words, w)
		return true
	}
	for _, begins := range []bool{true, false} {
		fits := func(name string) bool {
			if strings.HasPrefix(name, wanted) {
				return begins
			}
			return !begins && strings.Contains(name, wanted)
		}
		for _, t := range l.fleet.TagOrder {
			if fits(string(t)) && !add(Word{mark + string(t), true, len(l.fleet.Tags[t])}) {
				return words, instead, more
			}
		}
		if tagsOnly {
			continue
		}
		for _, h := range l.fleet.Hosts {
			if fits(string(h)) && !add(Word{string(h), false, 1}) {
				return words, instead, more
			}
		}
	}
	return words, instead, more
}
