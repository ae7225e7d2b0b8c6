package fleet

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
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
	l.world.report = l.problems.Add
	l.open(path, nil, sluice.Position{File: path})
	for _, step := range []func(){l.declare, l.read, l.settle} {
		if l.incomplete || l.problems.Full() {
			break // the next step would complain of what was only not read
		}
		step()
	}
	if err := l.problems.Err(); err != nil {
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
	problems document.Problems
	world    *world
	src      Source
	fleet    *sluice.Fleet
	left     int64 // bytes that may still be read
	opened   map[string]bool
	docs     []*fleetFile // in the order in which they count

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
	l.problems.Opened(file)
	text, err := l.src.ReadFile(file, l.left)
	if err != nil {
		l.incomplete = true
		e := document.ErrorAt(from, "cannot read the fleet file")
		if from.Line > 0 {
			e.Text = "cannot include " + file
		}
		e.Err = err
		l.problems.Add(e)
		return
	}
	l.left -= int64(len(text))
	read, bad := form.Read(file, text, &l.problems)
	if bad != nil {
		l.incomplete = true
		l.problems.Add(bad)
		return
	}
	if read.Root == nil {
		return
	}
	d := &fleetFile{read}
	for _, p := range d.Pairs(d.Root, "a fleet file") {
		if d.Known(p, "a fleet file", fileKeys) && p.Name == "include" {
			l.include(d, p.Value, append(within, file))
		}
	}
	l.docs = append(l.docs, d)
}

func (l *loader) include(d *fleetFile, n *yaml.Node, within []string) {
	for _, e := range d.List(n) {
		pattern, ok := d.Word(e, "an include")
		if !ok {
			continue
		}
		for _, file := range l.included(d, e, pattern) {
			switch i := slices.Index(within, file); {
			case i >= 0:
				d.Fail(e, "%s includes itself: %s -> %s", file, strings.Join(within[i:], " -> "), file)
			case l.opened[file]:
			case len(within) > maxIncludes:
				d.Fail(e, "more than %d files include each other", maxIncludes)
			case len(l.opened) >= maxFiles:
				d.Fail(e, "more than %d files", maxFiles)
				return
			default:
				l.open(file, within, d.At(e))
			}
		}
	}
}

// included lists the files that an include means; a pattern does not mean the file it stands in.
func (l *loader) included(d *fleetFile, n *yaml.Node, pattern string) []string {
	whole := beside(d.File, pattern)
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{whole}
	}
	files, err := l.src.Glob(whole)
	if err != nil {
		d.Fail(n, "cannot look for %s: %v", whole, err)
		return nil
	}
	if len(files) == 0 {
		d.Fail(n, "no file is like %s", whole).WithHint("what a fleet file includes must be there: a constraint in it would be lost silently")
		return nil
	}
	for i, f := range files {
		files[i] = path.Clean(f)
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == d.File })
}

// beside is the path of a name that stands in a file.
func beside(file, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(path.Dir(file), name)
}

// sections calls f for the sections of all files, in their order.
func (l *loader) sections(f func(d *fleetFile, p document.Pair)) {
	for _, d := range l.docs {
		root := document.What(d.Root)
		if root.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(root.Content); i += 2 {
			f(d, document.Pair{Name: document.What(root.Content[i]).Value, Key: root.Content[i], Value: root.Content[i+1]})
		}
	}
}

// declare finds the names of tags and resolvers, so that they are known wherever they stand.
func (l *loader) declare() {
	l.sections(func(d *fleetFile, p document.Pair) {
		switch p.Name {
		case "resolver":
			l.readResolvers(d, p.Value)
		case "tag":
			l.declareTags(d, p.Value, "")
		case "inventory":
			l.readInventories(d, p.Value)
		}
	})
}

// read goes through the files in their order and makes hosts known where they are named.
func (l *loader) read() {
	l.sections(func(d *fleetFile, p document.Pair) {
		if l.problems.Full() {
			return
		}
		switch p.Name {
		case "namespace":
			l.readNamespace(d, p.Value)
		case "ssh":
			l.defaults = append(l.defaults, d.settings(d.Pairs(p.Value, "ssh"), "ssh", sshKeys))
		case "host":
			l.readHosts(d, p.Value)
		case "tag":
			l.readTags(d, p.Value, "")
		case "inventory":
			l.mentionInventories(d, p.Value)
		case "sequence":
			l.readSequences(d, p.Value)
		case "constraint":
			l.readConstraints(d, p.Value, nil)
		case "balancer":
			l.readBalancers(d, p.Value)
		case "target":
			l.readTarget(d, p.Value)
		case "approval":
			l.readApproval(d, p.Value)
		case "converge":
			l.readConverge(d, p)
		case "confirm_above":
			if n, ok := d.Number(p.Value, "confirm_above", 0, MaxHosts); ok {
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

func (l *loader) readNamespace(d *fleetFile, n *yaml.Node) {
	w, ok := d.Word(n, "the namespace")
	if !ok {
		return
	}
	if !validNamespace(w) {
		d.Fail(n, "%.80q cannot be a namespace", w).WithHint("namespaces are 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit")
		return
	}
	if l.namespaceAt.Line > 0 && string(l.fleet.Namespace) != w {
		d.Fail(n, "the namespace is %s here and %s at %s", w, l.fleet.Namespace, l.namespaceAt)
		return
	}
	l.fleet.Namespace, l.namespaceAt = sluice.Namespace(w), d.At(n)
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

func (l *loader) readApproval(d *fleetFile, n *yaml.Node) {
	for _, p := range d.Pairs(n, "approval") {
		if !d.Known(p, "approval", approvalKeys) {
			continue
		}
		if p.Name == "start" {
			l.fleet.Approval.Start = d.Truth(p.Value, "start")
			continue
		}
		switch w, ok := d.Word(p.Value, "by"); {
		case !ok:
		case w == sluice.AnotherApproves:
			l.fleet.Approval.By = w
		case w == "anybody":
			l.fleet.Approval.By = ""
		default:
			d.Fail(p.Value, "by must be %s or anybody, not %.80q", sluice.AnotherApproves, w).
				WithHint("%s: whoever submitted a job cannot approve it", sluice.AnotherApproves)
		}
	}
}

func (l *loader) readTarget(d *fleetFile, n *yaml.Node) {
	t := &l.fleet.Target
	for _, p := range d.Pairs(n, "target") {
		if !d.Known(p, "target", targetKeys) {
			continue
		}
		dir, ok := d.Word(p.Value, p.Name)
		if !ok {
			continue
		}
		if !path.IsAbs(dir) || hasControl(dir) {
			d.Fail(p.Value, "%s must be an absolute path on the targets, not %.80q", p.Name, dir)
			continue
		}
		switch p.Name {
		case "dir":
			t.Dir = path.Clean(dir)
		case "pre_hooks":
			t.PreHooks = path.Clean(dir)
		case "post_hooks":
			t.PostHooks = path.Clean(dir)
		}
	}
}

func (l *loader) readResolvers(d *fleetFile, n *yaml.Node) {
	for _, p := range d.Pairs(n, "resolver") {
		if !validTag(p.Name) {
			d.Fail(p.Key, "%.80q cannot be the name of a resolver", p.Name).WithHint("names are words of letters, digits, '-' and '_'")
			continue
		}
		r := &resolver{name: p.Name, at: d.At(p.Key), dir: path.Dir(d.File), timeout: resolverLimit}
		for _, q := range d.Pairs(p.Value, "a resolver") {
			switch {
			case !d.Known(q, "a resolver", resolverKeys):
			case q.Name == "command":
				r.command = d.Words(q.Value, "a word of the command")
			default:
				r.timeout, _ = d.Duration(q.Value, "timeout", maxResolver)
			}
		}
		other := l.world.resolvers[p.Name]
		switch {
		case len(r.command) == 0:
			d.Fail(p.Key, "the resolver %s has no command", p.Name).WithHint("write command: [/path/to/program, argument ...]")
		case other == nil:
			l.world.resolvers[p.Name] = r
		case !slices.Equal(other.command, r.command) || other.timeout != r.timeout || other.dir != r.dir:
			d.Fail(p.Key, "the resolver %s is defined differently at %s", p.Name, other.at)
		}
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// disagree says that two things of one name are not one.
func (l *loader) disagree(kind, name string, at, before sluice.Position) {
	l.problems.Add(document.ErrorAt(at, "the %s %s is defined differently at %s", kind, name, before).
		WithHint("a %s may be repeated word for word, but not changed", kind))
}
