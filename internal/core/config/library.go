package config

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/document"
)

// Tree is a directory in which layers are, as it is or as it was at some time.
type Tree interface {
	// List names the files of a directory of the tree; "." is its top. Directories are none. One that is not there has none.
	List(dir string) ([]string, error)
	// ReadFile returns the content of a file. What is more than limit bytes or no file is an error, and one that is not there
	// is [fs.ErrNotExist].
	ReadFile(name string, limit int64) ([]byte, error)
	// Executable reports whether the file may be run as a program.
	Executable(name string) (bool, error)
	// Run runs a file as a program in the directory where it is, with these variables, and returns what it prints. Another
	// exit status than 0, more than limit bytes, or too much time are errors; nothing of it goes on running.
	Run(name string, variables []string, stdin []byte, limit int64) ([]byte, error)
	// Shown is how the path of a file is told to people.
	Shown(name string) string
}

// Library finds layers and renders with them. It reads a file once, so it is for one moment: make another one later. It is not
// safe for concurrent use.
type Library struct {
	shared []*shelf
	apps   map[App]*shelf
	local  map[App]*shelf
	// Settings are what configuration.yaml of the first shared tree says.
	Settings *Settings
}

// shelf is a tree, and what was read of it.
type shelf struct {
	tree   Tree
	files  map[string]map[string][]string // of each directory: the names of files by the layer they are
	layers map[string]readLayer
	used   map[string]bool // files that were layers of something
}

type readLayer struct {
	layer *Layer
	err   error
}

func newShelf(t Tree) *shelf {
	return &shelf{t, map[string]map[string][]string{}, map[string]readLayer{}, map[string]bool{}}
}

// NewLibrary takes the shared trees, each overriding those before it.
func NewLibrary(shared []Tree) (*Library, error) {
	l := &Library{apps: map[App]*shelf{}, local: map[App]*shelf{}, Settings: &Settings{}}
	for _, t := range shared {
		l.shared = append(l.shared, newShelf(t))
	}
	if len(shared) == 0 {
		return l, nil
	}
	text, err := shared[0].ReadFile(settingsFile, MaxBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, unread(shared[0], settingsFile, err)
	}
	l.Settings, err = readSettings(shared[0].Shown(settingsFile), text)
	return l, err
}

// AddApp gives the library the layers of an application; local are those of its developer, which may be nil.
func (l *Library) AddApp(a App, t, local Tree) {
	l.apps[a] = newShelf(t)
	if local != nil {
		l.local[a] = newShelf(local)
	}
}

func unread(t Tree, name string, err error) *sluice.Error {
	e := document.ErrorAt(sluice.Position{File: t.Shown(name)}, "it cannot be read")
	e.Err = err
	return e
}

// shelves are the trees in which a layer is looked for, in their order.
func (l *Library) shelves(f For, s slot) []*shelf {
	if !s.shared {
		if app := l.apps[f.App]; app != nil {
			return []*shelf{app}
		}
		return nil
	}
	if local := l.local[f.App]; local != nil && f.Local {
		return append([]*shelf{local}, l.shared...)
	}
	return l.shared
}

// Render finds and merges the layers for one place.
func (l *Library) Render(f For) (*Rendered, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := l.Settings.check(f); err != nil {
		return nil, err
	}
	r := begin(f)
	for _, s := range f.order() {
		for _, shelf := range l.shelves(f, s) {
			shelf.add(r, s.name)
		}
	}
	if len(r.out.Layers) == 0 && r.problems.First() == nil {
		return nil, sluice.Errorf(sluice.NotFound, "there is no layer for %s", f).
			WithHint("%s-default.yaml in deploy/configuration of the application is the first one", f.App)
	}
	return r.finish()
}

var endings = []string{".yaml", ".yml", ".toml", ".json"}

// named are the files of a directory by the name of the layer that they are.
func (s *shelf) named(dir string) (map[string][]string, error) {
	if files, ok := s.files[dir]; ok {
		return files, nil
	}
	names, err := s.tree.List(dir)
	if err != nil {
		return nil, unread(s.tree, dir, err)
	}
	slices.Sort(names)
	files := map[string][]string{}
	for _, name := range names {
		whole := path.Join(dir, name)
		files[name] = append(files[name], whole)
		if stem := strings.TrimSuffix(name, path.Ext(name)); stem != name && stem != "" {
			files[stem] = append(files[stem], whole)
		}
	}
	s.files[dir] = files
	return files, nil
}

// add finds a layer by its name and merges it. A place without one is what most places are.
func (s *shelf) add(r *rendering, name string) {
	files, err := s.named(path.Dir(name))
	if err != nil {
		r.problems.Join(err)
		return
	}
	found := files[path.Base(name)]
	if len(found) == 0 {
		return
	}
	s.used[found[0]] = true
	if len(found) > 1 {
		s.used[found[1]] = true
		r.problems.Add(document.ErrorAt(sluice.Position{File: s.tree.Shown(found[1])}, "it is the same layer as %s", s.tree.Shown(found[0])).
			WithHint("a layer is one file: join them"))
		return
	}
	r.join(s.layer(found[0], path.Base(name), r))
}

func (s *shelf) layer(file, name string, r *rendering) (*Layer, error) {
	if is := strings.TrimPrefix(path.Base(file), name); slices.Contains(endings, is) {
		return s.read(file)
	}
	switch runs, err := s.tree.Executable(file); {
	case err != nil:
		return nil, unread(s.tree, file, err)
	case !runs:
		return nil, document.ErrorAt(sluice.Position{File: s.tree.Shown(file)}, "by its name it is a layer, and it cannot be read as one").
			WithHint("layers end in %s, or are programs: chmod +x", strings.Join(endings, ", "))
	case r.problems.First() != nil:
		return nil, nil // what it would be given is not whole
	}
	return s.run(file, r)
}

// read reads a file once.
func (s *shelf) read(file string) (*Layer, error) {
	if l, ok := s.layers[file]; ok {
		return l.layer, l.err
	}
	var out readLayer
	text, err := s.tree.ReadFile(file, MaxBytes)
	if err != nil {
		out.err = unread(s.tree, file, err)
	} else {
		out.layer, out.err = ReadLayer(s.tree.Shown(file), text)
	}
	s.layers[file] = out
	return out.layer, out.err
}

// run has a program compute what becomes of the configuration, and makes a layer of what it changed.
func (s *shelf) run(file string, r *rendering) (*Layer, error) {
	at := sluice.Position{File: s.tree.Shown(file)}
	f := r.out.For
	variables := []string{"SLUICE_APP=" + string(f.App), "SLUICE_ENV=" + string(f.Environment), "SLUICE_CLUSTER=" + string(f.Cluster), "SLUICE_HOST=" + string(f.Host)}
	printed, err := s.tree.Run(file, variables, r.out.Tree.JSON(), MaxBytes)
	if err != nil {
		e := document.ErrorAt(at, "the program of this layer failed")
		e.Err = err
		return nil, e
	}
	read := &reader{file: at.File, problems: &document.Problems{}, left: frozenValues}
	is := read.json(printed, false)
	if err := read.problems.Err(); err != nil {
		return nil, &sluice.Error{Code: sluice.Config, At: at, Text: "the program of this layer must print the whole configuration as JSON", Err: err}
	}
	return &Layer{File: at.File, Top: said(r.out.Tree, is)}, nil
}

// Public renders what of a configuration anybody may read, by public.yaml of the application; without one that is nothing.
func (l *Library) Public(r *Rendered) (*Rendered, error) {
	public := &Public{}
	if app := l.apps[r.For.App]; app != nil {
		text, err := app.tree.ReadFile(publicFile, MaxBytes)
		switch {
		case err == nil:
			if public, err = ReadPublic(app.tree.Shown(publicFile), text); err != nil {
				return nil, err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, unread(app.tree, publicFile, err)
		}
	}
	return public.Of(r)
}
