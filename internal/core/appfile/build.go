package appfile

import (
	"path"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sluice/internal/core/build"
	"sluice/internal/core/document"
)

// Limits of the section build.
const (
	maxBundles = 20
	maxScript  = 16 << 10 // bytes of a shell line
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

func (r *reader) build(n *yaml.Node) (b build.Spec) {
	for _, p := range r.Pairs(n, "build") {
		if !r.Known(p, "build", []string{"build", "test", "bundle", "file", "env", "timeouts", "bundles", "status"}) {
			continue
		}
		switch p.Name {
		case "build":
			b.Build = r.line(p.Value, "build")
		case "test":
			b.Test = r.line(p.Value, "test")
		case "bundle":
			b.Bundle = r.bundle(p.Value)
		case "file":
			b.File = r.packed(p.Value)
		case "env":
			b.Env = r.variables(p.Value)
		case "timeouts":
			b.Timeouts = r.timeouts(p.Value)
		case "bundles":
			b.Bundles = r.dependencies(p.Value)
		case "status":
			b.Status = r.status(p.Value)
		}
	}
	return b
}

// line reads what the shell is given.
func (r *reader) line(n *yaml.Node, meant string) string {
	w, ok := r.Word(n, meant)
	if ok && (len(w) > maxScript || strings.ContainsRune(w, 0)) {
		r.Fail(n, "%s is a line for the shell, and this is longer than %d bytes or has a zero byte", meant, maxScript).Hint = "put it into a script of the checkout"
	}
	return strings.TrimSpace(w)
}

// inside reads a path of the checkout.
func (r *reader) inside(n *yaml.Node, meant string) string {
	w, ok := r.Word(n, meant)
	if !ok {
		return ""
	}
	w = strings.TrimPrefix(w, "./")
	if path.IsAbs(w) || path.Clean(w) != w || w == "." || w == ".." || strings.HasPrefix(w, "../") || strings.Contains(w, `\`) || strings.HasPrefix(w+"/", ".git/") {
		r.Fail(n, "%s must be a path inside the checkout, such as dist or build/out, not %.100q", meant, w)
		return ""
	}
	return w
}

// Ends of a file, and so how it is packed.
var ends = []string{".tar.gz", ".tgz", ".tar.zst", ".tar"}

func (r *reader) packed(n *yaml.Node) string {
	w := r.word(n, "file")
	for _, e := range ends {
		if strings.HasSuffix(w, e) && w != e {
			return w
		}
	}
	if w != "" {
		r.Fail(n, "file must end in one of %s, not %.100q", strings.Join(ends, ", "), w)
	}
	return w
}

func (r *reader) bundle(n *yaml.Node) (b build.Bundle) {
	for _, p := range r.Pairs(n, "bundle") {
		if !r.Known(p, "bundle", []string{"run", "dir", "include", "exclude"}) {
			continue
		}
		switch p.Name {
		case "run":
			b.Run = r.line(p.Value, "run")
		case "dir":
			b.Dir = r.inside(p.Value, "dir")
		case "include":
			b.Include = r.patterns(p.Value, "include")
		case "exclude":
			b.Exclude = r.patterns(p.Value, "exclude")
		}
	}
	return b
}

func (r *reader) patterns(n *yaml.Node, meant string) (out []string) {
	for _, e := range r.some(n, "patterns") {
		if w, ok := r.Word(e, meant); ok {
			if err := build.CheckPattern(w); err != nil {
				r.Fail(e, "%v", err)
			}
			out = append(out, w)
		}
	}
	return out
}

// variables are those that scripts get. Ours tell them what is built, so nobody else sets them.
func (r *reader) variables(n *yaml.Node) map[string]string {
	out := map[string]string{}
	for _, p := range r.Pairs(n, "env") {
		switch v := document.What(p.Value); {
		case !variable.MatchString(p.Name):
			r.Fail(p.Key, "%.40q cannot be the name of a variable", p.Name)
		case strings.HasPrefix(p.Name, "SLUICE_"):
			r.Fail(p.Key, "variables that begin with SLUICE_ are set by sluice")
		case v.Kind != yaml.ScalarNode || document.IsNull(v):
			r.Fail(p.Value, "the value of %s must be a text, not %s", p.Name, document.Described(v))
		case strings.ContainsRune(v.Value, 0):
			r.Fail(p.Value, "the value of %s has a zero byte", p.Name)
		default:
			out[p.Name] = v.Value // which may be empty
		}
	}
	return out
}

func (r *reader) timeouts(n *yaml.Node) (t build.Timeouts) {
	for _, p := range r.Pairs(n, "timeouts") {
		if !r.Known(p, "timeouts", []string{"build", "test", "bundle"}) {
			continue
		}
		d, _ := r.Duration(p.Value, p.Name, longest)
		*map[string]*time.Duration{"build": &t.Build, "test": &t.Test, "bundle": &t.Bundle}[p.Name] = d
	}
	return t
}

// parts of a build have names of their own, which a dependency bundle cannot have beside them.
var parts = map[string]bool{"build": true, "test": true, "bundle": true, "pack": true, "push": true}

func (r *reader) dependencies(n *yaml.Node) (out []build.Dependency) {
	list := r.some(n, "bundles")
	if len(list) > maxBundles {
		r.Fail(n, "more than %d bundles", maxBundles)
		return nil
	}
	for _, e := range list {
		d := r.dependency(e)
		for _, o := range out {
			switch {
			case d.Name != "" && o.Name == d.Name:
				r.Fail(e, "two bundles are called %s", d.Name)
			case d.Dir != "" && (o.Dir == d.Dir || strings.HasPrefix(o.Dir+"/", d.Dir+"/") || strings.HasPrefix(d.Dir+"/", o.Dir+"/")):
				r.Fail(e, "the bundles %s and %s are in each other's directory", o.Name, d.Name)
			}
		}
		out = append(out, d)
	}
	return out
}

func (r *reader) dependency(n *yaml.Node) build.Dependency {
	d := build.Dependency{Platform: build.AutoPlatform, Timeout: build.DefaultTimeout}
	for _, p := range r.Pairs(n, "a bundle") {
		if !r.Known(p, "a bundle", []string{"name", "keyed_by", "make", "dir", "platform", "timeout"}) {
			continue
		}
		switch p.Name {
		case "name":
			if d.Name = r.word(p.Value, "the name of a bundle"); parts[d.Name] || len(d.Name) > 40 {
				r.Fail(p.Value, "a bundle cannot be called %s: a part of the build is, or it is longer than 40", d.Name)
			}
		case "keyed_by":
			for _, e := range r.some(p.Value, "keyed_by") {
				d.KeyedBy = append(d.KeyedBy, r.inside(e, "keyed_by"))
			}
		case "make":
			d.Make = r.line(p.Value, "make")
		case "dir":
			d.Dir = r.inside(p.Value, "dir")
		case "platform":
			d.Platform = r.word(p.Value, "platform")
			if len(d.Platform) > 60 {
				r.Fail(p.Value, "platform has more than 60 letters")
			}
		case "timeout":
			d.Timeout, _ = r.Duration(p.Value, "timeout", longest)
		}
	}
	for _, missing := range []struct{ is, said string }{
		{d.Name, "has no name"}, {strings.Join(d.KeyedBy, ""), "is keyed by nothing: keyed_by names the files that it depends on"},
		{d.Make, "is made by nothing: make is a line for the shell"}, {d.Dir, "has no dir, in which it is when it is made"},
	} {
		if missing.is == "" {
			r.Fail(n, "a bundle %s", missing.said)
		}
	}
	return d
}

func (r *reader) status(n *yaml.Node) *build.Status {
	s := &build.Status{}
	var at *yaml.Node
	for _, p := range r.Pairs(n, "status") {
		if !r.Known(p, "status", []string{"url", "token_env", "form", "context", "link_env"}) {
			continue
		}
		switch p.Name {
		case "url":
			at = p.Value
			s.URL, _ = r.Word(p.Value, "url")
		case "token_env":
			s.TokenEnv = r.env(p.Value, "token_env")
		case "form":
			s.Form = r.one(p.Value, "form", build.Forms)
		case "context":
			s.Context, _ = r.Word(p.Value, "context")
		case "link_env":
			s.LinkEnv = r.env(p.Value, "link_env")
		}
	}
	switch {
	case at == nil:
		r.Fail(n, "status has no url").Hint = "such as https://api.github.com/repos/ORG/REPO/statuses/{commit}"
	case s.URL != "":
		if wrong := s.CheckURL(); wrong != "" {
			r.Fail(at, "%s", wrong)
		}
	}
	if s.Form == "" {
		s.Form = "json"
	}
	return s
}

func (r *reader) env(n *yaml.Node, meant string) string {
	w, ok := r.Word(n, meant)
	if ok && !variable.MatchString(w) {
		r.Fail(n, "%s must be the name of a variable, not %.40q", meant, w)
	}
	return w
}

// defaults of the section build.
func (a *App) defaults() {
	b := &a.Build
	if b.File == "" {
		b.File = a.App + ".tar.gz"
	}
	for _, t := range []*time.Duration{&b.Timeouts.Build, &b.Timeouts.Test, &b.Timeouts.Bundle} {
		if *t == 0 {
			*t = build.DefaultTimeout
		}
	}
	if b.Status != nil && b.Status.Context == "" {
		b.Status.Context = "sluice/" + a.App
	}
}

// Places are where the file is in a checkout and in an artifact: the first that is there counts.
func Places() []string { return []string{Name, "deploy/" + Name} }
