package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/document"
)

// Checked is what came of looking at everything at once.
type Checked struct {
	Places   int // applications in environments and clusters
	Layers   int // files that are layers of any of them
	Sealed   int // keys whose value is sealed, in all places
	Problems document.Errors
}

// Check renders all applications that are given in all places that they are in, and their public parts, and names everything
// that is wrong: also files that are no layer of anything, and such that are layers of two things.
func (l *Library) Check(apps []App) Checked {
	var out Checked
	var problems document.Problems
	for _, app := range apps {
		for _, f := range l.Settings.Of(app) {
			out.Places++
			r, err := l.Render(f)
			if err != nil {
				problems.Join(about(f, err))
				continue
			}
			out.Sealed += len(r.Sealed())
			if _, err := l.Public(r); err != nil {
				problems.Join(err)
			}
		}
	}
	l.checkNames(apps, &problems)
	known := l.names(apps)
	for _, s := range l.all() {
		out.Layers += len(s.used)
		s.checkStray(known, &problems)
	}
	out.Problems = problems.All()
	return out
}

// about says which place an error without one is about.
func about(f For, err error) error {
	if e, ok := err.(*sluice.Error); ok && e.At.File == "" {
		return &sluice.Error{Code: e.Code, Text: f.String(), Hint: e.Hint, Err: e}
	}
	return err
}

// all are all trees but those of developers, in a fixed order.
func (l *Library) all() []*shelf {
	out := slices.Clone(l.shared)
	for _, a := range slices.Sorted(maps.Keys(l.apps)) {
		out = append(out, l.apps[a])
	}
	return out
}

// checkNames complains of names by which one file would be the layer of two applications: shop in "eu", and shop-eu.
func (l *Library) checkNames(apps []App, problems *document.Problems) {
	for _, app := range apps {
		for _, f := range l.Settings.Of(app) {
			names := []string{string(app) + "-" + string(f.Environment)}
			if f.Cluster != "" {
				names = append(names, names[0]+"-"+string(f.Cluster))
			}
			for _, name := range names {
				if slices.Contains(apps, App(name)) {
					problems.Add(document.ErrorAt(sluice.Position{File: l.Settings.file}, "files called %s are layers of two things: of the application %s, and of %s", name, name, f).
						WithHint("call one of them something else"))
				}
			}
		}
	}
}

// checkStray complains of files that look like layers and are none of anything: the name of an environment may be misspelt.
func (s *shelf) checkStray(known []string, problems *document.Problems) {
	names, err := s.tree.List(".")
	if err != nil {
		problems.Add(unread(s.tree, ".", err))
		return
	}
	for _, file := range names {
		stem := strings.TrimSuffix(file, path.Ext(file))
		if s.used[file] || !slices.Contains(endings, path.Ext(file)) || file == settingsFile || file == publicFile {
			continue
		}
		if _, is := slices.BinarySearch(known, stem); is {
			continue
		}
		e := document.ErrorAt(sluice.Position{File: s.tree.Shown(file)}, "it is no layer of any application in any environment")
		if e.Hint = document.DidYouMean("", stem, known); e.Hint == "" {
			e.Hint = fmt.Sprintf("name it after an application or environment of %s, or put it elsewhere", settingsFile)
		}
		problems.Add(e)
	}
}

// names are all names that layers can have, sorted.
func (l *Library) names(apps []App) []string {
	var out []string
	for _, app := range apps {
		for _, f := range l.Settings.Of(app) {
			f.Local = true
			for _, slot := range f.order() {
				out = append(out, slot.name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
