package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"sluice"
	"sluice/internal/core/document"
)

// toml reads TOML. What it means comes from the library's decoder; where it stands, from its parser: the first place of a
// table counts.
func (r *reader) toml(text []byte) *Value {
	if err := document.CheckText(r.file, text); err != nil {
		r.problems.Add(err)
		return nil
	}
	spots, err := tomlSpots(r.file, text)
	if err != nil {
		r.problems.Add(err)
		return nil
	}
	var top map[string]any
	if err := toml.Unmarshal(text, &top); err != nil {
		at := sluice.Position{File: r.file}
		var d *toml.DecodeError
		if errors.As(err, &d) {
			at.Line, at.Column = d.Position()
		}
		r.fail(at, "this is not TOML: %s", message(err))
		return nil
	}
	return r.tomlValue(top, spots, 0)
}

func message(err error) string {
	const prefix = "toml: "
	if s := err.Error(); len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):]
	}
	return err.Error()
}

func (r *reader) tomlValue(v any, s *spot, depth int) *Value {
	out := &Value{At: s.at}
	if !r.room(s.at, depth) {
		out.Kind = Null
		return out
	}
	switch v := v.(type) {
	case map[string]any:
		out.Kind, out.Map = Map, make(map[string]*Value, len(v))
		for k, e := range v {
			out.Map[k] = r.tomlValue(e, s.key(k), depth+1)
		}
		return r.settle(out)
	case []any:
		out.Kind, out.List = List, make([]*Value, len(v))
		for i, e := range v {
			out.List[i] = r.element(r.tomlValue(e, s.item(i), depth+1))
		}
	case string:
		out.Kind, out.Text = Text, v
	case bool:
		out.Kind, out.Text = Bool, strconv.FormatBool(v)
	case int64:
		out.Kind, out.Text = Number, strconv.FormatInt(v, 10)
	case float64:
		out.Kind, out.Text = Number, formatFloat(v)
		if math.IsInf(v, 0) || math.IsNaN(v) {
			r.fail(s.at, "%s is no number that JSON could hold", out.Text)
		}
	case time.Time:
		out.Kind, out.Text = Text, v.Format(time.RFC3339Nano)
	case fmt.Stringer: // days and times without a zone
		out.Kind, out.Text = Text, v.String()
	default:
		r.fail(s.at, "a value that is not supported")
	}
	return out
}

// spot is where a value stands, and what is in it.
type spot struct {
	at    sluice.Position
	keys  map[string]*spot
	items []*spot
}

func (s *spot) key(k string) *spot {
	if below := s.keys[k]; below != nil {
		return below
	}
	return &spot{at: s.at}
}

func (s *spot) item(i int) *spot {
	if i < len(s.items) {
		return s.items[i]
	}
	return &spot{at: s.at}
}

// tomlSpots finds out where all keys of a document stand.
func tomlSpots(file string, text []byte) (*spot, *sluice.Error) {
	w := &tomlPlaces{text: text, at: sluice.Position{File: file, Line: 1, Column: 1}, offset: 0}
	top := &spot{at: w.at}
	within := top
	w.p.Reset(text)
	for w.p.NextExpression() {
		switch e := w.p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			within = w.walk(top, e.Key())
			if e.Kind == unstable.ArrayTable {
				item := &spot{at: within.at}
				if len(within.items) > 0 {
					item.at = w.keyed
				}
				within.items = append(within.items, item)
				within = item
			}
		case unstable.KeyValue:
			w.keyValue(within, e, 0)
		}
	}
	if err := w.p.Error(); err != nil {
		var parse *unstable.ParserError
		if errors.As(err, &parse) && parse.Highlight != nil {
			return nil, document.ErrorAt(w.place(int(w.p.Range(parse.Highlight).Offset)), "this is not TOML: %s", parse.Message)
		}
		return nil, document.ErrorAt(sluice.Position{File: file, Line: 1, Column: 1}, "this is not TOML: %s", message(err))
	}
	return top, w.err
}

type tomlPlaces struct {
	p      unstable.Parser
	text   []byte
	at     sluice.Position // of offset
	offset int
	keyed  sluice.Position // of the key that was read last
	err    *sluice.Error
}

// place is where an offset is. Going back is rare.
func (w *tomlPlaces) place(offset int) sluice.Position {
	if offset < w.offset {
		w.at.Line, w.at.Column, w.offset = 1, 1, 0
	}
	for w.offset < offset && w.offset < len(w.text) {
		r, size := utf8.DecodeRune(w.text[w.offset:])
		w.offset += size
		if w.at.Column++; r == '\n' {
			w.at.Line, w.at.Column = w.at.Line+1, 1
		}
	}
	return w.at
}

// walk goes down the keys, and makes spots where there are none. Of an array of tables the last one is meant.
func (w *tomlPlaces) walk(s *spot, keys unstable.Iterator) *spot {
	for keys.Next() {
		n := keys.Node()
		w.keyed = w.place(int(n.Raw.Offset))
		if len(s.items) > 0 {
			s = s.items[len(s.items)-1]
		}
		below := s.keys[string(n.Data)]
		if below == nil {
			if s.keys == nil {
				s.keys = map[string]*spot{}
			}
			below = &spot{at: w.keyed}
			s.keys[string(n.Data)] = below
		}
		s = below
	}
	return s
}

func (w *tomlPlaces) keyValue(within *spot, e *unstable.Node, depth int) {
	w.value(w.walk(within, e.Key()), e.Value(), depth)
}

func (w *tomlPlaces) value(s *spot, n *unstable.Node, depth int) {
	if depth > maxDepth {
		if w.err == nil {
			w.err = document.ErrorAt(s.at, "more than %d levels of nesting", maxDepth)
		}
		return
	}
	switch n.Kind {
	case unstable.InlineTable:
		for c := n.Children(); c.Next(); {
			w.keyValue(s, c.Node(), depth+1)
		}
	case unstable.Array:
		for c := n.Children(); c.Next(); {
			item := &spot{at: s.at}
			if c.Node().Raw.Length > 0 {
				item.at = w.place(int(c.Node().Raw.Offset))
			}
			s.items = append(s.items, item)
			w.value(item, c.Node(), depth+1)
		}
	}
}
