package template

import (
	"fmt"
	"strings"
)

const (
	maxFormat = 4096 // bytes
	maxWidth  = 3    // digits of a width or precision
)

// printf is Go's, for texts, numbers and truths. What does not fit together is an error instead of a text that says so.
func (r *run) printf(format string, args ...any) (any, error) {
	if len(format) > maxFormat {
		return nil, bad("printf: the format has more than %d bytes", maxFormat)
	}
	values, hidden := make([]any, 0, len(args)), false
	size := len(format)
	for rest := format; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			break
		}
		verb, tail, err := directive(after)
		if err != nil {
			return nil, err
		}
		if rest = tail; verb == '%' {
			continue
		}
		if len(values) == len(args) {
			return nil, bad("printf: the format wants more values than the %d that follow", len(args))
		}
		v, sealed, err := r.operand(verb, args[len(values)])
		if err != nil {
			return nil, err
		}
		if s, ok := v.(string); ok {
			size += 6 * len(s)
		}
		values, hidden = append(values, v), hidden || sealed
	}
	if len(values) < len(args) {
		return nil, bad("printf: the format wants %d values, and %d follow", len(values), len(args))
	}
	if err := r.room(size); err != nil {
		return nil, err
	}
	return r.result(fmt.Sprintf(format, values...), hidden)
}

// directive reads what follows a %, up to its verb.
func directive(text string) (verb byte, rest string, err error) {
	flags := strings.TrimLeft(text, "+-# 0")
	width := strings.TrimLeft(flags, "0123456789")
	digits := len(flags) - len(width)
	if after, ok := strings.CutPrefix(width, "."); ok {
		width = strings.TrimLeft(after, "0123456789")
		digits = max(digits, len(after)-len(width))
	}
	switch {
	case width == "":
		return 0, "", bad("printf: the format ends within a %%")
	case digits > maxWidth:
		return 0, "", bad("printf: a width has more than %d digits", maxWidth)
	}
	return width[0], width[1:], nil
}

// operand is a value as a verb takes it.
func (r *run) operand(verb byte, v any) (any, bool, error) {
	text, sealed, err := r.plain(v)
	if err != nil {
		return nil, false, err
	}
	n, isWhole := whole(v)
	f, isFloat := v.(float64)
	switch {
	case verb == 's' || verb == 'q' || verb == 'v':
		return text, sealed, nil
	case sealed:
		return nil, false, bad("printf: a sealed value is written with %%s, %%q or %%v, not with %%%c", verb)
	case isWhole && strings.IndexByte("dxXob", verb) >= 0:
		return n, false, nil
	case isWhole && strings.IndexByte("feg", verb) >= 0:
		return float64(n), false, nil
	case isFloat && strings.IndexByte("feg", verb) >= 0:
		return f, false, nil
	}
	return nil, false, bad("printf: %%%c is not for %s", verb, kind(v))
}
