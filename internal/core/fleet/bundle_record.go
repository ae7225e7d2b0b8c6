package fleet

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Recorder is a [Source] that remembers what it was asked, so that a [Bundle] can be made of it. What it has answered
// once it answers again, whatever became of the files meanwhile. It is not safe for concurrent use.
type Recorder struct {
	src        Source
	files      map[string]said[[]byte]
	globs      map[string]said[[]string]
	executable map[string]said[bool]
	programs   map[string]said[[]byte]
}

// said is an answer.
type said[T any] struct {
	what T
	err  error
}

// Record remembers what src is asked from now on.
func Record(src Source) *Recorder {
	return &Recorder{src: src, files: map[string]said[[]byte]{}, globs: map[string]said[[]string]{},
		executable: map[string]said[bool]{}, programs: map[string]said[[]byte]{}}
}

// once asks only if there is no answer yet.
func once[T any](answers map[string]said[T], key string, ask func() (T, error)) (T, error) {
	a, ok := answers[key]
	if !ok {
		a.what, a.err = ask()
		answers[key] = a
	}
	return a.what, a.err
}

// ReadFile reads a file.
func (r *Recorder) ReadFile(path string, limit int64) ([]byte, error) {
	text, err := once(r.files, path, func() ([]byte, error) { return r.src.ReadFile(path, limit) })
	if err == nil && int64(len(text)) > limit {
		return nil, tooLong(limit)
	}
	return slices.Clone(text), err
}

// Glob lists the files that match a pattern.
func (r *Recorder) Glob(pattern string) ([]string, error) {
	files, err := once(r.globs, pattern, func() ([]string, error) { return r.src.Glob(pattern) })
	return slices.Clone(files), err
}

// Executable reports whether the file may be run.
func (r *Recorder) Executable(path string) (bool, error) {
	return once(r.executable, path, func() (bool, error) { return r.src.Executable(path) })
}

// Run runs a program.
func (r *Recorder) Run(dir string, command []string, timeout time.Duration, limit int64) ([]byte, error) {
	out, err := once(r.programs, programKey(dir, command), func() ([]byte, error) { return r.src.Run(dir, command, timeout, limit) })
	return slices.Clone(out), err
}

func (r *Recorder) inventory(file string) (*inventory, bool, error) {
	if from, ok := r.src.(reader); ok {
		return from.inventory(file)
	}
	return nil, false, nil
}

// Bundle makes the bundle of the fleet file main. Only what loading that fleet needs is in it, whatever else was asked
// meanwhile: equal fleets make equal bundles. The mistakes of one that does not load are [Errors], with places as they
// are called in the bundle.
func (r *Recorder) Bundle(main string) (Bundle, error) {
	main = path.Clean(main)
	from := &placed{Recorder: r, dir: path.Dir(main), found: map[string][]string{}}
	l, err := load(from, path.Base(main))
	if err != nil {
		return Bundle{}, err
	}
	b := Bundle{Main: path.Base(main)}
	for file := range l.opened {
		text, err := from.ReadFile(file, MaxBytes)
		if err != nil {
			return Bundle{}, fmt.Errorf("recording %s: %w", file, err)
		}
		b.Files = append(b.Files, File{file, text})
	}
	for pattern, files := range from.found {
		b.Globs = append(b.Globs, Found{pattern, files})
	}
	listed := map[string]bool{}
	for _, inv := range l.inventories {
		if !listed[inv.file] {
			listed[inv.file] = true
			b.Inventories = append(b.Inventories, reduced(inv))
		}
	}
	if b.Answers, err = from.answers(l.world); err != nil {
		return Bundle{}, err
	}
	b = b.sorted()
	_, err = b.Encode()
	return b, err
}

// placed is a recorder that is asked with paths relative to the directory of the main file.
type placed struct {
	*Recorder
	dir   string
	found map[string][]string
}

func (p *placed) at(name string) string { return beside(path.Join(p.dir, "-"), name) }

func (p *placed) ReadFile(path string, limit int64) ([]byte, error) {
	return p.Recorder.ReadFile(p.at(path), limit)
}

func (p *placed) Executable(path string) (bool, error) { return p.Recorder.Executable(p.at(path)) }

func (p *placed) Run(dir string, command []string, timeout time.Duration, limit int64) ([]byte, error) {
	return p.Recorder.Run(p.at(dir), command, timeout, limit)
}

func (p *placed) inventory(file string) (*inventory, bool, error) {
	return p.Recorder.inventory(p.at(file))
}

func (p *placed) Glob(pattern string) ([]string, error) {
	files, err := p.Recorder.Glob(p.at(pattern))
	if err != nil {
		return nil, err
	}
	if !path.IsAbs(pattern) {
		for i, f := range files {
			if files[i], err = p.below(pattern, f); err != nil {
				return nil, err
			}
		}
	}
	p.found[pattern] = slices.Clone(files)
	return files, nil
}

// below is how a file that is like a relative pattern is called from the directory of the main file.
func (p *placed) below(pattern, file string) (string, error) {
	up := ""
	for strings.HasPrefix(pattern[len(up):], "../") {
		up += "../"
	}
	base := path.Join(p.dir, up)
	file = path.Clean(file)
	if base == "." {
		return up + file, nil
	}
	rest, ok := strings.CutPrefix(file, strings.TrimSuffix(base, "/")+"/")
	if !ok {
		return "", fmt.Errorf("%s is found, and is not below %s", file, base)
	}
	return up + rest, nil
}

// answers lists what resolvers answered while the fleet was loaded.
func (p *placed) answers(w *world) ([]Answer, error) {
	asked := map[string]Answer{}
	for q := range w.answers {
		r := w.resolvers[q.resolver]
		line := r.line(q.argument)
		out, err := p.Run(r.dir, line, r.timeout, maxAnswer)
		if err != nil {
			return nil, fmt.Errorf("recording %q: %w", line, err)
		}
		hosts, err := readAnswer(out)
		if err != nil {
			return nil, fmt.Errorf("recording %q: %w", line, err)
		}
		asked[programKey(r.dir, line)] = Answer{r.dir, slices.Clone(line), hosts}
	}
	return slices.Collect(maps.Values(asked)), nil
}
