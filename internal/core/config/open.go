package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"sluice"
)

// Unlock decrypts what age has encrypted and armored. An error says nothing of what is inside.
type Unlock func(armored string) (sluice.Secret, error)

// Open opens all sealed values of a frozen configuration. Of a file of SOPS all values are decrypted and held against its
// sum, so that nothing in it was changed, moved, left out or added since it was encrypted. An error names the key, never
// a value.
func (f Frozen) Open(unlock Unlock) (*Opened, error) {
	t, err := f.thaw()
	if err != nil {
		return nil, err
	}
	o := &opener{unlock: unlock, keys: map[string]sluice.Secret{}, files: t.files}
	defer o.wipe()
	tree, err := o.open(nil, t.tree)
	if err != nil {
		for _, s := range o.out {
			s.Wipe()
		}
		return nil, err
	}
	return &Opened{tree: tree, secrets: o.out}, nil
}

// Closed is a frozen configuration in which the words that people see stand for what is sealed: what templates come to is known
// without opening anything.
func (f Frozen) Closed() (*Opened, error) {
	t, err := f.thaw()
	if err != nil {
		return nil, err
	}
	o := &opener{closed: true}
	tree, err := o.open(nil, t.tree)
	return &Opened{tree: tree}, err
}

// Look is a frozen configuration as it is looked at and compared without opening anything.
type Look struct {
	// Closed has words in the place of what is sealed.
	Closed *Opened
	// Lines are what people read: a key a line.
	Lines string
	// Sealed says of each key with something sealed which ciphertexts that is, by their digests. Of a file of SOPS they are the
	// values in it: one that is as it was counts as such, whatever else of the file has changed.
	Sealed map[string][]string
}

// Look looks at a frozen configuration.
func (f Frozen) Look() (Look, error) {
	t, err := f.thaw()
	if err != nil {
		return Look{}, err
	}
	o := &opener{closed: true}
	tree, err := o.open(nil, t.tree)
	out := Look{Closed: &Opened{tree: tree}, Lines: t.tree.Lines(), Sealed: map[string][]string{}}
	t.tree.each(nil, func(p Path, v *Value) {
		if v.Kind == Sealed {
			out.Sealed[p.String()] = append(out.Sealed[p.String()], digestOf([]byte(v.Sealed.Type.String()+"\n"+v.Sealed.Age+v.Sealed.Data)))
		}
	})
	return out, err
}

type opener struct {
	closed bool // nothing is opened
	unlock Unlock
	files  map[string]*sealedFile
	keys   map[string]sluice.Secret // of files whose sum was right, by digest
	out    []sluice.Secret
}

func (o *opener) wipe() {
	for _, k := range o.keys {
		k.Wipe()
	}
}

// open is the tree with nothing sealed in it any more.
func (o *opener) open(p Path, v *Value) (*Value, error) {
	out := *v
	var err error
	switch v.Kind {
	case Sealed:
		return o.leaf(p, v)
	case Map:
		out.Map = make(map[string]*Value, len(v.Map))
		for _, k := range v.Keys() {
			if out.Map[k], err = o.open(p.below(k), v.Map[k]); err != nil {
				return nil, err
			}
		}
	case List:
		out.List = make([]*Value, len(v.List))
		for i, e := range v.List {
			if out.List[i], err = o.open(p, e); err != nil {
				return nil, err
			}
		}
	}
	return &out, nil
}

func (o *opener) leaf(p Path, v *Value) (*Value, error) {
	s := v.Sealed
	if o.closed {
		return &Value{Kind: s.Type, Text: v.Shown(), Sealed: s}, nil
	}
	var plain sluice.Secret
	var err error
	if s.Age != "" {
		plain, err = o.unlock(s.Age)
	} else {
		plain, err = o.ofFile(s)
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: fmt.Sprintf("%s cannot be opened", p), Err: err}
	}
	o.out = append(o.out, plain)
	text, ok := canonical(s.Type, string(plain.Reveal()))
	if !ok {
		return nil, sluice.Errorf(sluice.Config, "%s was opened, and is not %s", p, s.Type)
	}
	return &Value{Kind: s.Type, Text: text, Sealed: s}, nil
}

// canonical is a text as a value of that kind has it.
func canonical(k Kind, text string) (string, bool) {
	switch k {
	case Bool:
		text = strings.ToLower(text)
		return text, text == "true" || text == "false"
	case Number:
		return number(text)
	}
	return text, true
}

// Opened is a configuration in which nothing is sealed any more. However it is printed, it shows a placeholder.
type Opened struct {
	tree    *Value
	secrets []sluice.Secret
}

// JSON is the whole configuration.
func (o *Opened) JSON() sluice.Secret { return sluice.NewSecret(o.tree.JSON()) }

// Secrets are the values that were sealed: what is printed near them has to be masked.
func (o *Opened) Secrets() []sluice.Secret { return o.secrets }

// Values is the configuration for templates: maps, lists, texts, truths, int64 and float64, and what hide makes of values that
// were sealed. It must not be put into a log, event or error.
func (o *Opened) Values(hide func(key, text string, bare bool) any) map[string]any {
	m, _ := plainValue(nil, o.tree, hide).(map[string]any)
	return m
}

func plainValue(p Path, v *Value, hide func(key, text string, bare bool) any) any {
	if v.Sealed != nil {
		return hide(p.String(), v.Text, v.Kind != Text)
	}
	switch v.Kind {
	case Map:
		out := make(map[string]any, len(v.Map))
		for k, e := range v.Map {
			out[k] = plainValue(p.below(k), e, hide)
		}
		return out
	case List:
		out := make([]any, len(v.List))
		for i, e := range v.List {
			out[i] = plainValue(p, e, hide)
		}
		return out
	case Text:
		return v.Text
	case Bool:
		return v.Text == "true"
	case Number:
		if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return n
		}
		f, _ := strconv.ParseFloat(v.Text, 64)
		return f
	}
	return nil
}

// Wipe overwrites the secrets, as far as the runtime allows.
func (o *Opened) Wipe() {
	for _, s := range o.secrets {
		s.Wipe()
	}
	o.tree = start()
}

const shut = "[configuration with secrets]"

func (o *Opened) String() string             { return shut }
func (o *Opened) GoString() string           { return shut }
func (o *Opened) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, shut) }

// MarshalText is what JSON and logs get.
func (o *Opened) MarshalText() ([]byte, error) { return []byte(shut), nil }
