package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"sluice"
	"sluice/internal/core/document"
)

// frozenForm is the form of frozen configurations.
const frozenForm = 1

// Frozen is a rendered configuration as it is kept with a job: JSON that is the same wherever it was rendered. Sealed values are
// in it as ciphertext, with the files that are needed to open them.
type Frozen struct {
	JSON   []byte
	Digest string // sha256:... of the JSON
}

// frozenFile is the outermost form.
type frozenFile struct {
	Form          int                     `json:"sluice_configuration"`
	Configuration json.RawMessage         `json:"configuration"`
	SealedFiles   map[string]frozenSealed `json:"sealed_files,omitempty"`
}

type frozenSealed struct {
	Form string `json:"form"` // yaml or json
	Text string `json:"text"`
}

// Freeze makes what is kept of a rendered configuration. The same tree gives the same bytes, and so the same digest; where its
// values stood is not in it.
func (r *Rendered) Freeze() Frozen {
	f := frozenFile{Form: frozenForm, Configuration: r.Tree.JSON()}
	r.Tree.each(nil, func(_ Path, v *Value) {
		if v.Kind != Sealed || v.Sealed.File == "" {
			return
		}
		if s := r.sealedFile(v.Sealed.File); s != nil {
			if f.SealedFiles == nil {
				f.SealedFiles = map[string]frozenSealed{}
			}
			f.SealedFiles[s.digest] = frozenSealed{s.form(), string(s.raw)}
		}
	})
	return FrozenOf(encode(f))
}

// FrozenOf is a frozen configuration that was kept by its content.
func FrozenOf(b []byte) Frozen { return Frozen{b, digestOf(b)} }

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (s *sealedFile) form() string {
	if s.json {
		return "json"
	}
	return "yaml"
}

// JSON writes a value canonically: keys sorted, no spaces. What JSON has no word for is a map with a mark as its only key.
func (v *Value) JSON() []byte {
	var b bytes.Buffer
	v.write(&b)
	return b.Bytes()
}

func (v *Value) write(b *bytes.Buffer) {
	if v.Whole {
		plain := *v
		plain.Whole = false
		b.WriteString(`{"!replace":`)
		plain.write(b)
		b.WriteByte('}')
		return
	}
	switch v.Kind {
	case Null:
		b.WriteString("null")
	case Bool, Number:
		b.WriteString(v.Text)
	case Text:
		b.Write(encode(v.Text))
	case List:
		b.WriteByte('[')
		for i, e := range v.List {
			if i > 0 {
				b.WriteByte(',')
			}
			e.write(b)
		}
		b.WriteByte(']')
	case Map:
		b.WriteByte('{')
		for i, k := range v.Keys() {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(encode(k))
			b.WriteByte(':')
			v.Map[k].write(b)
		}
		b.WriteByte('}')
	case Missing:
		b.Write(encode(map[string]string{wordMissing: v.Text}))
	case Delete:
		b.WriteString(`{"` + wordDelete + `":true}`)
	case Sealed:
		b.Write(encode(map[string]any{wordSealed: v.Sealed.frozen()}))
	}
}

func (s *Seal) frozen() any {
	if s.Age != "" {
		return s.Age
	}
	return map[string]any{"file": s.File, "path": s.Path, "data": s.Data, "type": nameOfType(s.Type)}
}

// encode is JSON without the escapes that are for HTML.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // texts, numbers and maps of them
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// thawed is a frozen configuration that was read.
type thawed struct {
	tree  *Value
	files map[string]*sealedFile
}

// Check reads a frozen configuration and says what is wrong with it.
func (f Frozen) Check() error {
	_, err := f.thaw()
	return err
}

func (f Frozen) thaw() (*thawed, error) {
	bad := func(format string, args ...any) error {
		return sluice.Errorf(sluice.Config, "the frozen configuration is damaged: "+format, args...)
	}
	if is := digestOf(f.JSON); is != f.Digest {
		return nil, bad("its digest is %s, not %s", is, f.Digest)
	}
	var file frozenFile
	dec := json.NewDecoder(bytes.NewReader(f.JSON))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, bad("%v", err)
	}
	if file.Form != frozenForm {
		return nil, bad("it is of the form %d, and this program knows %d", file.Form, frozenForm)
	}
	out := &thawed{files: map[string]*sealedFile{}}
	for digest, s := range file.SealedFiles {
		l, err := ReadLayer("sealed."+s.Form, []byte(s.Text))
		if err != nil {
			return nil, bad("%v", err)
		}
		if l.seals[digest] == nil {
			return nil, bad("a file of sealed values is not the one that it should be")
		}
		out.files[digest] = l.seals[digest]
	}
	r := &reader{file: "configuration", problems: &document.Problems{}, left: frozenValues}
	out.tree = r.json(file.Configuration, false)
	if err := r.problems.Err(); err != nil {
		return nil, bad("%v", err)
	}
	return out, out.check(bad)
}

// frozenValues is how many values all layers together can have.
const frozenValues = 100 * maxValues

func (t *thawed) check(bad func(string, ...any) error) (err error) {
	t.tree.each(nil, func(p Path, v *Value) {
		switch {
		case v.Kind == Missing || v.Kind == Delete || v.Whole:
			err = bad("%s has a mark that is none of a rendered configuration", p)
		case v.Kind == Sealed && v.Sealed.File != "" && t.files[v.Sealed.File] == nil:
			err = bad("%s is sealed in a file that is not there", p)
		}
	})
	return err
}

// String says which one it is. What is in it is for [Frozen.Open].
func (f Frozen) String() string { return fmt.Sprintf("configuration %.19s", f.Digest) }
