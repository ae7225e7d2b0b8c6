package fleet

import (
	"fmt"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/document"
)

// world is what expressions are worked out against: the known hosts, the tags and the resolvers.
type world struct {
	src       Source
	hosts     []sluice.Host
	place     map[sluice.Host]int32
	tags      map[sluice.Tag]*tag
	tagOrder  []*tag
	resolvers map[string]*resolver
	answers   map[question]*answer
	mentions  int
	settling  []*tag              // tags underway, each needed by the one before
	report    func(*sluice.Error) // what is wrong with a tag, once for each mistake
	noFile    bool                // names are the hosts themselves
}

func newWorld(src Source) *world {
	return &world{
		src: src, place: map[sluice.Host]int32{}, tags: map[sluice.Tag]*tag{},
		resolvers: map[string]*resolver{}, answers: map[question]*answer{},
		report: func(*sluice.Error) {},
	}
}

// know makes hosts known, in order, and returns their places.
func (w *world) know(hosts []sluice.Host) (set, error) {
	if w.mentions += len(hosts); w.mentions > maxMentions {
		return nil, fmt.Errorf("the files name hosts more than %d times; write tags once and refer to them", maxMentions)
	}
	places := make([]int32, len(hosts))
	for i, h := range hosts {
		p, known := w.place[h]
		if !known {
			if len(w.hosts) == MaxHosts {
				return nil, fmt.Errorf("the fleet has more than %d hosts", MaxHosts)
			}
			p = int32(len(w.hosts))
			w.place[h] = p
			w.hosts = append(w.hosts, h)
		}
		places[i] = p
	}
	return setOf(places), nil
}

func (w *world) names(s set) []sluice.Host {
	out := make([]sluice.Host, len(s))
	for i, p := range s {
		out[i] = w.hosts[p]
	}
	return out
}

// mention makes the hosts known that an expression adds, by itself or through a resolver. Names that only narrow
// it down ("a & b", "a ! b") must be known otherwise: they may be misspelt.
func (w *world) mention(n *node, from origin) *sluice.Error { return w.mentionIn(n, from, true) }

func (w *world) mentionIn(n *node, from origin, adds bool) *sluice.Error {
	switch {
	case n.kind == theNames && adds:
		if _, err := w.know(n.hosts); err != nil {
			return document.ErrorAt(from.at(n.at), "%v", err)
		}
	case n.kind == oneAnswer:
		_, err := w.ask(n, from)
		return err
	}
	adds = adds && (n.kind == anyOf || w.noFile)
	for _, k := range n.kids {
		if err := w.mentionIn(k, from, adds); err != nil {
			return err
		}
	}
	return nil
}

// hostsOf works out an expression.
func (w *world) hostsOf(n *node, from origin) (set, *sluice.Error) {
	switch n.kind {
	case allHosts:
		if w.noFile {
			return nil, from.fail(n.at, "there is no fleet file, so nothing says what all hosts are", "name the hosts, or give a fleet file")
		}
		return everything(len(w.hosts)), nil
	case theNames:
		return w.named(n, from)
	case wildcards:
		return w.matching(n, from)
	case oneTag:
		return w.tagged(n, from)
	case oneAnswer:
		return w.ask(n, from)
	case anyOf:
		sets := make([]set, len(n.kids))
		for i, k := range n.kids {
			var err *sluice.Error
			if sets[i], err = w.hostsOf(k, from); err != nil {
				return nil, err
			}
		}
		return union(sets...), nil
	}
	left, err := w.hostsOf(n.kids[0], from)
	if err != nil {
		return nil, err
	}
	right, err := w.hostsOf(n.kids[1], from)
	if err != nil {
		return nil, err
	}
	if n.kind == butNot {
		return without(left, right), nil
	}
	return both(left, right), nil
}

func (w *world) named(n *node, from origin) (set, *sluice.Error) {
	places := make([]int32, 0, len(n.hosts))
	var unknown []sluice.Host
	for _, h := range n.hosts {
		if p, ok := w.place[h]; ok {
			places = append(places, p)
		} else {
			unknown = append(unknown, h)
		}
	}
	switch {
	case len(unknown) == 0:
		return setOf(places), nil
	case len(n.hosts) > 1:
		return nil, from.fail(n.at, fmt.Sprintf("the fleet does not know %d of these %d hosts: %s",
			len(unknown), len(n.hosts), some(unknown)), "")
	}
	hint := ""
	if _, ok := w.tags[sluice.Tag(unknown[0])]; ok {
		hint = fmt.Sprintf("did you mean the tag $%s?", unknown[0])
	} else {
		hint = document.DidYouMean("", string(unknown[0]), w.hosts)
	}
	return nil, from.fail(n.at, fmt.Sprintf("the fleet does not know the host %s", unknown[0]), hint)
}

// some lists the first few hosts.
func some(hosts []sluice.Host) string {
	const few = 3
	var b strings.Builder
	for i, h := range hosts[:min(few, len(hosts))] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(h))
	}
	if len(hosts) > few {
		b.WriteString(" ...")
	}
	return b.String()
}

func (w *world) matching(n *node, from origin) (set, *sluice.Error) {
	if w.noFile {
		return nil, from.fail(n.at, fmt.Sprintf("there is no fleet file to choose hosts like %s from", n.name), "name the hosts, such as web[01-20]")
	}
	var places []int32
	for i, h := range w.hosts {
		for _, p := range n.patterns {
			if matches(p, string(h)) {
				places = append(places, int32(i))
				break
			}
		}
	}
	if len(places) == 0 {
		return nil, from.fail(n.at, fmt.Sprintf("no host is like %s", n.name), "")
	}
	return places, nil
}

// tag is a mark on hosts as the files define it.
type tag struct {
	name     sluice.Tag
	at       sluice.Position
	defs     []definition
	groups   []*tag // whose hosts it carries, too: the children of an inventory's group
	values   []*tag // "colo.north" for "colo"
	hosts    set    // all of them
	direct   set    // those that carry it without a value
	err      *sluice.Error
	progress progress
}

// definition is what a file says of a tag: hosts, or an expression that is worked out later.
type definition struct {
	hosts set
	expr  *node
	from  origin
}

type progress int

const (
	untouched progress = iota
	underway
	done
)

// declare makes a tag and those above it known.
func (w *world) declare(name sluice.Tag, at sluice.Position) *tag {
	if t := w.tags[name]; t != nil {
		return t
	}
	t := &tag{name: name, at: at}
	var above *tag
	if dot := strings.LastIndexByte(string(name), '.'); dot >= 0 {
		above = w.declare(name[:dot], at)
	}
	w.tags[name] = t
	w.tagOrder = append(w.tagOrder, t)
	if above != nil {
		above.values = append(above.values, t)
	}
	return t
}

func (w *world) tagged(n *node, from origin) (set, *sluice.Error) {
	t := w.tags[sluice.Tag(n.name)]
	if t == nil {
		return nil, w.unknownTag(n, from)
	}
	if t.progress == underway {
		return nil, w.cycle(t, n, from)
	}
	return t.hosts, w.settle(t)
}

func (w *world) unknownTag(n *node, from origin) *sluice.Error {
	if w.noFile {
		return from.fail(n.at, fmt.Sprintf("there is no fleet file, so there is no tag $%s", n.name), "name the hosts, or give a fleet file")
	}
	names := make([]sluice.Tag, len(w.tagOrder))
	for i, t := range w.tagOrder {
		names[i] = t.name
	}
	return from.fail(n.at, fmt.Sprintf("there is no tag $%s", n.name), document.DidYouMean("$", n.name, names))
}

// settle works out the hosts of a tag.
func (w *world) settle(t *tag) *sluice.Error {
	if t.progress != untouched {
		return t.err
	}
	t.progress = underway
	w.settling = append(w.settling, t)
	sets := []set{w.defined(t)}
	for _, below := range [][]*tag{t.groups, t.values} {
		for _, v := range below {
			if v.progress == underway {
				t.fail(w, w.cycle(v, nil, origin{}))
			} else {
				t.fail(w, w.settle(v))
			}
			sets = append(sets, v.hosts)
		}
	}
	t.hosts = union(sets...)
	t.direct = sets[0]
	for _, v := range t.values {
		t.direct = without(t.direct, v.hosts)
	}
	w.settling = w.settling[:len(w.settling)-1]
	t.progress = done
	return t.err
}

// defined works out what stands at the tag itself.
func (w *world) defined(t *tag) set {
	sets := make([]set, 0, len(t.defs))
	for _, d := range t.defs {
		s := d.hosts
		if d.expr != nil {
			var err *sluice.Error
			s, err = w.hostsOf(d.expr, d.from)
			t.fail(w, err)
		}
		sets = append(sets, s)
	}
	return union(sets...)
}

func (t *tag) fail(w *world, err *sluice.Error) {
	if err == nil {
		return
	}
	w.report(err)
	if t.err == nil {
		t.err = err
	}
}

// cycle says which tags are defined by each other: t is met again while it is worked out.
func (w *world) cycle(t *tag, n *node, from origin) *sluice.Error {
	var names []string
	for _, o := range w.settling[slices.Index(w.settling, t):] {
		names = append(names, "$"+string(o.name))
	}
	text := fmt.Sprintf("the tag $%s is defined by itself: %s -> $%s", t.name, strings.Join(names, " -> "), t.name)
	if n == nil {
		return document.ErrorAt(t.at, "%s", text)
	}
	return from.fail(n.at, text, "")
}

// origin is where an expression stands, so that an offset in it becomes a place that people find.
type origin struct {
	start sluice.Position
	text  string
	exact bool // the text stands in the file as it is
	shown bool // messages show the text with a mark under the place
	code  sluice.Code
}

func (o origin) at(offset int) sluice.Position {
	pos := o.start
	if !o.exact {
		return pos
	}
	before := o.text[:min(offset, len(o.text))]
	if newline := strings.LastIndexByte(before, '\n'); newline >= 0 {
		pos.Line += strings.Count(before, "\n")
		pos.Column = 1
		before = before[newline+1:]
	}
	pos.Column += len([]rune(before))
	return pos
}

func (o origin) fail(offset int, text, hint string) *sluice.Error {
	if o.shown && strings.TrimSpace(o.text) != "" {
		text += "\n" + caret(o.text, offset)
	}
	return &sluice.Error{Code: o.code, At: o.at(offset), Text: text, Hint: hint}
}

// parse reads an expression that stands at the origin.
func (o origin) parse() (*node, *sluice.Error) {
	n, err := parse(o.text)
	if err != nil {
		return nil, o.fail(err.Offset, err.Text, err.Hint)
	}
	return n, nil
}
