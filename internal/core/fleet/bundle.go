package fleet

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"sluice"
)

// Bundle is all that a fleet was loaded from: the files, and what was asked of the machine beside them. Whoever has it
// loads the same fleet without that machine, and without running or reading anything.
//
// Paths are those that the files say: relative to the directory of the main file, absolute only where a file says so.
// Of inventories and answers there is what the loader uses, and nothing else: their variables may hold passwords.
type Bundle struct {
	Main        string // the fleet file; the others are included
	Files       []File
	Globs       []Found
	Inventories []Inventory
	Answers     []Answer
}

// File is a fleet file.
type File struct {
	Path    string
	Content []byte
}

// Found are the files that were like a pattern.
type Found struct {
	Pattern string   `json:"pattern"`
	Files   []string `json:"files"`
}

// Answer is which hosts a resolver named.
type Answer struct {
	Dir     string        `json:"dir"`
	Command []string      `json:"command"`
	Hosts   []sluice.Host `json:"hosts"`
}

// Limits of a bundle.
const (
	MaxBundle    = 64 << 20 // bytes of its JSON form
	maxAnswers   = 10_000   // of resolvers, and patterns
	bundleFormat = 1
)

// ErrNotRecorded says that a bundle has no answer: loading the fleet did not ask for it when it was recorded.
var ErrNotRecorded = errors.New("was not asked for when the fleet was applied")

// Load loads the fleet. What it returns may be used by several at once: an expression that asks a resolver for what the
// fleet itself does not ask for is an error, and never runs a program.
func (b Bundle) Load() (*Loaded, error) {
	l, err := load(b.Source(), b.Main)
	if err != nil {
		return nil, err
	}
	l.world.src = nothing{}
	return l.loaded(), nil
}

type wireBundle struct {
	Bundle      int         `json:"bundle"` // version of the form
	Main        string      `json:"main"`
	Files       []wireFile  `json:"files,omitempty"`
	Globs       []Found     `json:"globs,omitempty"`
	Inventories []Inventory `json:"inventories,omitempty"`
	Answers     []Answer    `json:"answers,omitempty"`
}

type wireFile struct {
	Path     string `json:"path"`
	Text     string `json:"text"`
	Encoding string `json:"encoding,omitzero"` // "base64" where the content is not UTF-8
}

// Encode writes the bundle as JSON: the same bytes for the same bundle.
func (b Bundle) Encode() ([]byte, error) {
	b = b.sorted()
	if err := b.check(); err != nil {
		return nil, err
	}
	w := wireBundle{Bundle: bundleFormat, Main: b.Main, Globs: b.Globs, Inventories: b.Inventories, Answers: b.Answers}
	for _, f := range b.Files {
		file := wireFile{Path: f.Path, Text: string(f.Content)}
		if !utf8.Valid(f.Content) {
			file.Text, file.Encoding = base64.StdEncoding.EncodeToString(f.Content), "base64"
		}
		w.Files = append(w.Files, file)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // "&" is common in fleet files
	if err := e.Encode(w); err != nil {
		return nil, err
	}
	if out.Len() > MaxBundle {
		return nil, bundleError("it has more than %d bytes", MaxBundle)
	}
	return out.Bytes(), nil
}

// Digest names the content: "sha256:" and 64 hexadecimal digits, of what Encode writes.
func (b Bundle) Digest() (string, error) {
	out, err := b.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(out)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// DecodeBundle reads what Encode writes. That it is well formed does not say that its fleet loads.
func DecodeBundle(data []byte) (Bundle, error) {
	if len(data) > MaxBundle {
		return Bundle{}, bundleError("it has more than %d bytes", MaxBundle)
	}
	var form struct {
		Bundle int `json:"bundle"`
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return Bundle{}, bundleError("it is not JSON: %v", err)
	}
	if form.Bundle != bundleFormat {
		return Bundle{}, bundleError("its form is %d, and this version of sluice knows %d", form.Bundle, bundleFormat)
	}
	var w wireBundle
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // what is not understood may change what the fleet means
	if err := d.Decode(&w); err != nil {
		return Bundle{}, bundleError("%v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Bundle{}, bundleError("something comes after it")
	}
	b := Bundle{Main: w.Main, Globs: w.Globs, Inventories: w.Inventories, Answers: w.Answers}
	for _, f := range w.Files {
		file := File{f.Path, []byte(f.Text)}
		switch f.Encoding {
		case "":
		case "base64":
			var err error
			if file.Content, err = base64.StdEncoding.DecodeString(f.Text); err != nil {
				return Bundle{}, bundleError("the file %s: %v", f.Path, err)
			}
		default:
			return Bundle{}, bundleError("the file %s has the unknown encoding %.40q", f.Path, f.Encoding)
		}
		b.Files = append(b.Files, file)
	}
	b = b.sorted()
	return b, b.check()
}

// MarshalJSON is Encode.
func (b Bundle) MarshalJSON() ([]byte, error) { return b.Encode() }

// UnmarshalJSON is DecodeBundle.
func (b *Bundle) UnmarshalJSON(data []byte) (err error) {
	*b, err = DecodeBundle(data)
	return err
}

// sorted is the bundle in the order in which it is written.
func (b Bundle) sorted() Bundle {
	b.Files = slices.SortedStableFunc(slices.Values(b.Files), func(x, y File) int { return cmp.Compare(x.Path, y.Path) })
	b.Globs = slices.SortedStableFunc(slices.Values(b.Globs), func(x, y Found) int { return cmp.Compare(x.Pattern, y.Pattern) })
	b.Inventories = slices.SortedStableFunc(slices.Values(b.Inventories), func(x, y Inventory) int { return cmp.Compare(x.Path, y.Path) })
	b.Answers = slices.SortedStableFunc(slices.Values(b.Answers), func(x, y Answer) int {
		return cmp.Or(cmp.Compare(x.Dir, y.Dir), slices.Compare(x.Command, y.Command))
	})
	return b
}

// check holds a sorted bundle to the limits, and to what it must be to be asked.
func (b Bundle) check() error {
	if len(b.Files) > maxFiles || len(b.Inventories) > maxFiles {
		return bundleError("it has more than %d files", maxFiles)
	}
	if len(b.Globs) > maxAnswers || len(b.Answers) > maxAnswers {
		return bundleError("it has more than %d answers", maxAnswers)
	}
	paths := []string{b.Main}
	size := 0
	var before string
	again := func(i int, key string) bool {
		twice := i > 0 && key == before
		before = key
		return twice
	}
	for i, f := range b.Files {
		paths = append(paths, f.Path)
		if size += len(f.Content); size > MaxBytes {
			return bundleError("its files have more than %d bytes", MaxBytes)
		}
		if again(i, f.Path) {
			return bundleError("the file %s is there twice", f.Path)
		}
	}
	for i, g := range b.Globs {
		paths = append(append(paths, g.Pattern), g.Files...)
		if again(i, g.Pattern) {
			return bundleError("the pattern %s is there twice", g.Pattern)
		}
	}
	for i, v := range b.Inventories {
		paths = append(paths, v.Path)
		if again(i, v.Path) {
			return bundleError("the inventory %s is there twice", v.Path)
		}
	}
	for i, a := range b.Answers {
		paths = append(append(paths, a.Dir), a.Command...)
		if again(i, programKey(a.Dir, a.Command)) {
			return bundleError("the answer of %q is there twice", a.Command)
		}
		if len(a.Command) == 0 || len(a.Hosts) > MaxHosts || slices.ContainsFunc(a.Hosts, invalidHost) {
			return bundleError("the answer of %.80q is none", a.Command)
		}
	}
	for _, p := range paths {
		if !utf8.ValidString(p) {
			return bundleError("the name %q is not UTF-8", p)
		}
	}
	return b.checkInventories()
}

func invalidHost(h sluice.Host) bool { return !sluice.ValidHost(string(h)) }

func bundleError(format string, args ...any) *sluice.Error {
	return sluice.Errorf(sluice.Config, "this is no bundle of a fleet: "+format, args...)
}

func programKey(dir string, command []string) string {
	return dir + "\x00" + strings.Join(command, "\x00")
}

// Source answers what the bundle knows. Anything else is an error that is [ErrNotRecorded]; nothing is ever read or run.
func (b Bundle) Source() Source {
	r := &replay{files: map[string][]byte{}, globs: map[string][]string{}, inventories: map[string]*Inventory{},
		answers: map[string][]sluice.Host{}}
	for _, f := range b.Files {
		r.files[path.Clean(f.Path)] = f.Content
	}
	for _, g := range b.Globs {
		r.globs[g.Pattern] = g.Files
	}
	for i := range b.Inventories {
		r.inventories[path.Clean(b.Inventories[i].Path)] = &b.Inventories[i]
	}
	for _, a := range b.Answers {
		r.answers[programKey(a.Dir, a.Command)] = a.Hosts
	}
	return r
}
