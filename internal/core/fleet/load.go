package fleet

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
)

// Loaded is a fleet, and what is needed to work out target expressions in it. It is not safe for concurrent use,
// but for one that was loaded from a [Bundle]: nothing about that changes.
type Loaded struct {
	world *world
	fleet *sluice.Fleet
}

// Load reads the fleet file at path. Mistakes in it are [Errors].
func Load(src Source, path string) (*Loaded, error) {
	l, err := load(src, path)
	if err != nil {
		return nil, err
	}
	return l.loaded(), nil
}

func load(src Source, path string) (*loader, error) {
	l := &loader{
		world: newWorld(src), src: src, left: MaxBytes, opened: map[string]bool{},
		fleet:  &sluice.Fleet{Namespace: sluice.DefaultNamespace, Source: path},
		listed: map[*yaml.Node]*inventory{},
	}
	l.world.report = l.problems.add
	l.open(path, nil, sluice.Position{File: path})
	for _, step := range []func(){l.declare, l.read, l.settle} {
		if l.incomplete || l.problems.full() {
			break // the next step would complain of what was only not read
		}
		step()
	}
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	l.world.report = func(*sluice.Error) {}
	return l, nil
}

func (l *loader) loaded() *Loaded { return &Loaded{world: l.world, fleet: l.fleet} }

// Adhoc makes a fleet of the hosts that an expression names, for work without a fleet file: names and globs are the
// hosts themselves, and there are no tags.
func Adhoc(expression string) (*Loaded, error) {
	w := newWorld(nil)
	w.noFile = true
	l := &Loaded{world: w, fleet: &sluice.Fleet{Namespace: sluice.DefaultNamespace, Tags: map[sluice.Tag][]sluice.Host{}}}
	if _, err := l.Resolve(expression); err != nil {
		return nil, err
	}
	return l, nil
}

// Fleet returns the fleet. It is never changed; one that is asked for after [Loaded.Resolve] also has the hosts
// that resolvers have named since.
func (l *Loaded) Fleet() *sluice.Fleet {
	if len(l.fleet.Hosts) < len(l.world.hosts) {
		grown := *l.fleet
		grown.Hosts = slices.Clip(l.world.hosts)
		l.fleet = &grown
	}
	return l.fleet
}

// Resolve returns the hosts that a target expression means, each once, in fleet order. No hosts are an error.
func (l *Loaded) Resolve(expression string) ([]sluice.Host, error) {
	from := origin{
		start: sluice.Position{File: "expression", Line: 1, Column: 1},
		text:  expression, exact: true, shown: true, code: sluice.Usage,
	}
	n, err := from.parse()
	if err != nil {
		return nil, err
	}
	if l.world.noFile {
		if err := l.world.mention(n, from); err != nil {
			return nil, err
		}
	}
	s, err := l.world.hostsOf(n, from)
	if err != nil {
		return nil, err
	}
	if len(s) == 0 {
		return nil, from.fail(0, "the expression means no hosts at all", "")
	}
	return l.world.names(s), nil
}

// loader is the state of loading a fleet.
type loader struct {
	problems problems
	world    *world
	src      Source
	fleet    *sluice.Fleet
	left     int64 // bytes that may still be read
	opened   map[string]bool
	docs     []*document // in the order in which they count

	incomplete  bool // a file could not be read
	namespaceAt sluice.Position
	inventories []*inventory
	listed      map[*yaml.Node]*inventory // by the element of "inventory:" that names it
	sequences   []sequence
	constraints []constraint
	defaults    []settings
	tagged      []hostSettings // host: $tag
	named       []hostSettings // host: names and globs
}

// open reads a file and what it includes. within are the files that are being opened, outermost first, and from is
// what asks for it.
func (l *loader) open(file string, within []string, from sluice.Position) {
	file = path.Clean(file)
	l.opened[file] = true
	l.problems.files = append(l.problems.files, file)
	text, err := l.src.ReadFile(file, l.left)
	if err != nil {
		l.incomplete = true
		e := configError(from, "cannot read the fleet file")
		if from.Line > 0 {
			e.Text = "cannot include " + file
		}
		e.Err = err
		l.problems.add(e)
		return
	}
	l.left -= int64(len(text))
	root, bad := parseYAML(file, text)
	if bad != nil {
		l.incomplete = true
		l.problems.add(bad)
		return
	}
	if root == nil {
		return
	}
	d := &document{file: file, lines: strings.Split(string(text), "\n"), root: root, problems: &l.problems}
	for _, p := range d.pairs(root, "a fleet file") {
		if d.known(p, "a fleet file", fileKeys) && p.name == "include" {
			l.include(d, p.value, append(within, file))
		}
	}
	l.docs = append(l.docs, d)
}

func (l *loader) include(d *document, n *yaml.Node, within []string) {
	for _, e := range d.list(n) {
		pattern, ok := d.word(e, "an include")
		if !ok {
			continue
		}
		for _, file := range l.included(d, e, pattern) {
			switch i := slices.Index(within, file); {
			case i >= 0:
				d.fail(e, "%s includes itself: %s -> %s", file, strings.Join(within[i:], " -> "), file)
			case l.opened[file]:
			case len(within) > maxIncludes:
				d.fail(e, "more than %d files include each other", maxIncludes)
			case len(l.opened) >= maxFiles:
				d.fail(e, "more than %d files", maxFiles)
				return
			default:
				l.open(file, within, d.at(e))
			}
		}
	}
}

// included lists the files that an include means; a pattern does not mean the file it stands in.
func (l *loader) included(d *document, n *yaml.Node, pattern string) []string {
	whole := beside(d.file, pattern)
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{whole}
	}
	files, err := l.src.Glob(whole)
	if err != nil {
		d.fail(n, "cannot look for %s: %v", whole, err)
		return nil
	}
	if len(files) == 0 {
		d.fail(n, "no file is like %s", whole).WithHint("what a fleet file includes must be there: a constraint in it would be lost silently")
		return nil
	}
	for i, f := range files {
		files[i] = path.Clean(f)
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == d.file })
}

// beside is the path of a name that stands in a file.
func beside(file, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(path.Dir(file), name)
}

// sections calls f for the sections of all files, in their order.
func (l *loader) sections(f func(d *document, p pair)) {
	for _, d := range l.docs {
		root := what(d.root)
		if root.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(root.Content); i += 2 {
			f(d, pair{what(root.Content[i]).Value, root.Content[i], root.Content[i+1]})
		}
	}
}

// declare finds the names of tags and resolvers, so that they are known wherever they stand.
func (l *loader) declare() {
	l.sections(func(d *document, p pair) {
		switch p.name {
		case "resolver":
			l.readResolvers(d, p.value)
		case "tag":
			l.declareTags(d, p.value, "")
		case "inventory":
			l.readInventories(d, p.value)
		}
	})
}

// read goes through the files in their order and makes hosts known where they are named.
func (l *loader) read() {
	l.sections(func(d *document, p pair) {
		if l.problems.full() {
			return
		}
		switch p.name {
		case "namespace":
			l.readNamespace(d, p.value)
		case "ssh":
			l.defaults = append(l.defaults, d.settings(d.pairs(p.value, "ssh"), "ssh", sshKeys))
		case "host":
			l.readHosts(d, p.value)
		case "tag":
			l.readTags(d, p.value, "")
		case "inventory":
			l.mentionInventories(d, p.value)
		case "sequence":
			l.readSequences(d, p.value)
		case "constraint":
			l.readConstraints(d, p.value, nil)
		case "target":
			l.readTarget(d, p.value)
		case "approval":
			l.readApproval(d, p.value)
		case "confirm_above":
			if n, ok := d.number(p.value, "confirm_above", 0, MaxHosts); ok {
				l.fleet.ConfirmAbove = n
			}
		}
	})
}

// settle works out what tags, sequences, constraints and settings mean.
func (l *loader) settle() {
	f := l.fleet
	f.Tags = make(map[sluice.Tag][]sluice.Host, len(l.world.tagOrder))
	for _, t := range l.world.tagOrder {
		if err := l.world.settle(t); err == nil {
			f.Tags[t.name] = l.world.names(t.hosts)
		}
		f.TagOrder = append(f.TagOrder, t.name)
	}
	f.Hosts = slices.Clip(l.world.hosts)
	f.Sequences = l.settleSequences()
	f.Constraints = l.settleConstraints()
	f.SSH, f.HostSSH = l.settleSettings()
}

func (l *loader) readNamespace(d *document, n *yaml.Node) {
	w, ok := d.word(n, "the namespace")
	if !ok {
		return
	}
	if !validNamespace(w) {
		d.fail(n, "%.80q cannot be a namespace", w).WithHint("namespaces are 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit")
		return
	}
	if l.namespaceAt.Line > 0 && string(l.fleet.Namespace) != w {
		d.fail(n, "the namespace is %s here and %s at %s", w, l.fleet.Namespace, l.namespaceAt)
		return
	}
	l.fleet.Namespace, l.namespaceAt = sluice.Namespace(w), d.at(n)
}

func validNamespace(s string) bool {
	if len(s) > 64 || s == "" || !isLetter(s[0]) && !isDigit(s[0]) {
		return false
	}
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return true
}

func (l *loader) readApproval(d *document, n *yaml.Node) {
	for _, p := range d.pairs(n, "approval") {
		if !d.known(p, "approval", approvalKeys) {
			continue
		}
		if p.name == "start" {
			l.fleet.Approval.Start = d.truth(p.value, "start")
			continue
		}
		switch w, ok := d.word(p.value, "by"); {
		case !ok:
		case w == sluice.AnotherApproves:
			l.fleet.Approval.By = w
		case w == "anybody":
			l.fleet.Approval.By = ""
		default:
			d.fail(p.value, "by must be %s or anybody, not %.80q", sluice.AnotherApproves, w).
				WithHint("%s: whoever submitted a job cannot approve it", sluice.AnotherApproves)
		}
	}
}

func (l *loader) readTarget(d *document, n *yaml.Node) {
	t := &l.fleet.Target
	for _, p := range d.pairs(n, "target") {
		if !d.known(p, "target", targetKeys) {
			continue
		}
		dir, ok := d.word(p.value, p.name)
		if !ok {
			continue
		}
		if !path.IsAbs(dir) || hasControl(dir) {
			d.fail(p.value, "%s must be an absolute path on the targets, not %.80q", p.name, dir)
			continue
		}
		switch p.name {
		case "dir":
			t.Dir = path.Clean(dir)
		case "pre_hooks":
			t.PreHooks = path.Clean(dir)
		case "post_hooks":
			t.PostHooks = path.Clean(dir)
		}
	}
}

func (l *loader) readResolvers(d *document, n *yaml.Node) {
	for _, p := range d.pairs(n, "resolver") {
		if !validTag(p.name) {
			d.fail(p.key, "%.80q cannot be the name of a resolver", p.name).WithHint("names are words of letters, digits, '-' and '_'")
			continue
		}
		r := &resolver{name: p.name, at: d.at(p.key), dir: path.Dir(d.file), timeout: resolverLimit}
		for _, q := range d.pairs(p.value, "a resolver") {
			switch {
			case !d.known(q, "a resolver", resolverKeys):
			case q.name == "command":
				r.command = d.words(q.value, "a word of the command")
			default:
				r.timeout, _ = d.duration(q.value, "timeout", maxResolver)
			}
		}
		other := l.world.resolvers[p.name]
		switch {
		case len(r.command) == 0:
			d.fail(p.key, "the resolver %s has no command", p.name).WithHint("write command: [/path/to/program, argument ...]")
		case other == nil:
			l.world.resolvers[p.name] = r
		case !slices.Equal(other.command, r.command) || other.timeout != r.timeout || other.dir != r.dir:
			d.fail(p.key, "the resolver %s is defined differently at %s", p.name, other.at)
		}
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// disagree says that two things of one name are not one.
func (l *loader) disagree(kind, name string, at, before sluice.Position) {
	l.problems.add(configError(at, "the %s %s is defined differently at %s", kind, name, before).
		WithHint("a %s may be repeated word for word, but not changed", kind))
}
