package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"sluice"
	"sluice/internal/core/document"
)

// json reads JSON strictly: one value, no key twice, UTF-8. places says whether values get lines and columns: what a program
// prints has none that would help.
func (r *reader) json(text []byte, places bool) *Value {
	j := &jsonReader{reader: r, text: text, places: places, line: 1, column: 1, dec: json.NewDecoder(bytes.NewReader(text))}
	j.dec.UseNumber()
	if !utf8.Valid(text) {
		if err := document.CheckText(r.file, text); err != nil && places {
			r.problems.Add(err)
		} else {
			r.fail(sluice.Position{File: r.file}, "it is not UTF-8 text")
		}
		return nil
	}
	if places {
		if s := j.sops(text); s != nil {
			j.seal = s
		}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		if !places {
			r.fail(j.at(), "nothing is there, where a map must be")
		}
		return nil
	}
	top, ok := j.value(nil, nil, 0)
	if !ok {
		return nil
	}
	if top.Kind != Map {
		r.fail(top.At, "a layer must be a map, not %s", top.Kind)
		return nil
	}
	if _, err := j.dec.Token(); !errors.Is(err, io.EOF) {
		r.fail(j.at(), "more text behind the end")
		return nil
	}
	return top
}

type jsonReader struct {
	*reader
	text         []byte
	places       bool
	dec          *json.Decoder
	offset       int // that line and column are of
	line, column int
	seal         *sealedFile
}

// at is where the next token begins, or where the reader has stopped.
func (j *jsonReader) at() sluice.Position {
	at := sluice.Position{File: j.file}
	if !j.places {
		return at
	}
	to := int(j.dec.InputOffset())
	for to < len(j.text) && strings.IndexByte(" \t\r\n,:", j.text[to]) >= 0 {
		to++
	}
	for j.offset < to {
		r, size := utf8.DecodeRune(j.text[j.offset:])
		j.offset += size
		if j.column++; r == '\n' {
			j.line, j.column = j.line+1, 1
		}
	}
	at.Line, at.Column = j.line, j.column
	return at
}

func (j *jsonReader) token() (json.Token, sluice.Position, bool) {
	at := j.at()
	t, err := j.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, at, true
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		j.fail(j.at(), "this is not JSON: it ends too early")
	case errors.As(err, &syntax):
		j.fail(at, "this is not JSON: %v", err)
	default:
		j.fail(at, "this is not JSON: %v", err)
	}
	return nil, at, false
}

// value reads one. keyed is where its key stands; without one it has a place of its own.
func (j *jsonReader) value(keyed *sluice.Position, p Path, depth int) (*Value, bool) {
	t, at, ok := j.token()
	if keyed != nil {
		at = *keyed
	}
	if !ok || !j.room(at, depth) {
		return nil, false
	}
	if t, is := t.(json.Delim); is {
		if t == '{' {
			return j.object(at, p, depth)
		}
		return j.list(at, p, depth)
	}
	if j.seal != nil && (len(p) == 0 || p[0] != sopsKey) {
		if v, ok := j.seal.scalar(t, p, at, j.reader); ok {
			return v, true
		}
	}
	switch t := t.(type) {
	case nil:
		return &Value{Kind: Null, At: at}, true
	case string:
		return &Value{Kind: Text, At: at, Text: t}, true
	case json.Number:
		text, ok := number(string(t))
		if !ok {
			j.fail(at, "%.40s is more than a number can be", t)
			return nil, false
		}
		return &Value{Kind: Number, At: at, Text: text}, true
	case bool:
		return &Value{Kind: Bool, At: at, Text: fmt.Sprint(t)}, true
	}
	return nil, false
}

func (j *jsonReader) list(at sluice.Position, p Path, depth int) (*Value, bool) {
	out := &Value{Kind: List, At: at, List: []*Value{}}
	for j.dec.More() {
		e, ok := j.value(nil, p, depth+1)
		if !ok {
			return nil, false
		}
		out.List = append(out.List, j.element(e))
	}
	_, _, ok := j.token()
	return out, ok
}

func (j *jsonReader) object(at sluice.Position, p Path, depth int) (*Value, bool) {
	out := &Value{Kind: Map, At: at, Map: map[string]*Value{}}
	for j.dec.More() {
		t, keyAt, ok := j.token()
		key, isText := t.(string)
		if !ok || !isText {
			return nil, false
		}
		if before := out.Map[key]; before != nil {
			j.fail(keyAt, "the key %.80q is there twice; the first one is at line %d", key, before.At.Line)
			return nil, false
		}
		v, ok := j.value(&keyAt, p.below(key), depth+1)
		if !ok {
			return nil, false
		}
		out.Map[key] = v
	}
	if _, _, ok := j.token(); !ok {
		return nil, false
	}
	if j.seal != nil && len(p) == 0 {
		delete(out.Map, sopsKey)
	}
	return j.settle(out), true
}
