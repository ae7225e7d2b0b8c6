package release

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"sluice"
	"sluice/internal/core/linediff"
	"sluice/internal/core/manifest"
)

// Changes are what a deploy changes in the files that are made for hosts, against those of what is live there. Hosts with the same
// change are told once.
type Changes struct {
	Files   []FileChange  `json:"files"`          // by path; of each first what concerns most hosts
	More    []MoreChanges `json:"more,omitempty"` // what is left out of Files
	Same    []sluice.Host `json:"same,omitempty"` // hosts whose files stay as they are
	Unknown []NotCompared `json:"unknown,omitempty"`
}

// What becomes of files.
const (
	FileChanged = "changed"
	FileNew     = "new"
	FileGone    = "gone"
)

// FileChange is what becomes of one file on some hosts. Of mode, owner and outside there is what changes; Was is before.
type FileChange struct {
	Path       string        `json:"path"`
	Kind       string        `json:"kind"`
	Hosts      []sluice.Host `json:"hosts"`
	Mode       string        `json:"mode,omitempty"`
	ModeWas    string        `json:"mode_was,omitempty"`
	Owner      string        `json:"owner,omitempty"`
	OwnerWas   string        `json:"owner_was,omitempty"`
	Outside    string        `json:"outside,omitempty"`
	OutsideWas string        `json:"outside_was,omitempty"`
	// Sealed are the keys of sealed values in it that change, by their ciphertexts: whether what is inside is another, nobody knows here.
	Sealed  []string `json:"sealed,omitempty"`
	Added   int      `json:"added"` // lines
	Removed int      `json:"removed"`
	Diff    string   `json:"diff,omitempty"` // unified, without the lines that name the files
	Left    int      `json:"left,omitempty"` // lines of Diff that are left out, at its end
	Note    string   `json:"note,omitempty"` // what of it was not compared, and why
}

// MoreChanges are changes of a file that are counted alone.
type MoreChanges struct {
	Path    string `json:"path"`
	Changes int    `json:"changes"`
	Hosts   int    `json:"hosts"`
}

// NotCompared are hosts of which it is not known what changes.
type NotCompared struct {
	Hosts  []sluice.Host `json:"hosts"`
	Reason string        `json:"reason"`
}

// Bounds of what is told.
const (
	mostOfFile   = 100     // lines of a diff
	mostOfAll    = 500     // lines of all diffs together
	mostOfPath   = 20      // changes of one file
	mostOfLine   = 400     // bytes
	mostCompared = 1 << 20 // bytes of a file that is compared line by line
	mostLines    = 20_000  // lines of such a file
	aroundLines  = 3
)

// Comparison gathers changes. What is to be told first had better come first.
type Comparison struct {
	order   map[sluice.Host]int
	changes map[string][]*change // by path
	known   map[[sha256.Size]byte]*change
	same    []sluice.Host
	unknown []NotCompared
}

// change is one that is gathered. Of those that are only counted there is no diff.
type change struct {
	FileChange
	lines []string
}

// NewComparison begins one for hosts, in their order.
func NewComparison(hosts []sluice.Host) *Comparison {
	c := &Comparison{order: make(map[sluice.Host]int, len(hosts)), changes: map[string][]*change{}, known: map[[sha256.Size]byte]*change{}}
	for i, h := range hosts {
		c.order[h] = i
	}
	return c
}

// Unknown takes hosts of which it cannot be said what changes.
func (c *Comparison) Unknown(hosts []sluice.Host, reason string) {
	if len(hosts) == 0 {
		return
	}
	for i := range c.unknown {
		if u := &c.unknown[i]; u.Reason == reason {
			u.Hosts = append(u.Hosts, hosts...)
			return
		}
	}
	c.unknown = append(c.unknown, NotCompared{slices.Clone(hosts), reason})
}

// Compared takes hosts that all have the one, and shall have the other.
func (c *Comparison) Compared(hosts []sluice.Host, was, now Closed) {
	before, after := byPath(was), byPath(now)
	paths := maps.Clone(before)
	maps.Copy(paths, after)
	same := len(hosts) > 0
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		one, differs := compare(p, before[p], after[p], was, now)
		if differs && len(hosts) > 0 {
			same = false
			c.take(one, hosts)
		}
	}
	if same {
		c.same = append(c.same, hosts...)
	}
}

func byPath(of Closed) map[string]*ClosedFile {
	out := map[string]*ClosedFile{}
	for i := range of.Files {
		out[of.Files[i].Path] = &of.Files[i]
	}
	return out
}

// take adds hosts to a change. Of a path, those beyond the first few keep nothing but hosts.
func (c *Comparison) take(one *change, hosts []sluice.Host) {
	text, _ := json.Marshal(one.FileChange) // texts and numbers
	key := sha256.Sum256([]byte(string(text) + "\n" + strings.Join(one.lines, "\n")))
	there := c.known[key]
	if there == nil {
		there = one
		c.known[key] = one
		c.changes[one.Path] = append(c.changes[one.Path], one)
		if len(c.changes[one.Path]) > mostOfPath {
			one.lines = nil
		}
		if len(one.lines) > mostOfFile {
			one.lines, one.Left = slices.Clone(one.lines[:mostOfFile]), len(one.lines)-mostOfFile
		}
	}
	there.Hosts = append(there.Hosts, hosts...)
}

// compare is what becomes of a file that is made on either side or on both; false if nothing.
func compare(p string, was, now *ClosedFile, before, after Closed) (*change, bool) {
	one := &change{FileChange: FileChange{Path: p, Kind: FileChanged}}
	var from, to string
	switch {
	case was == nil:
		one.Kind, to = FileNew, now.Text
		one.Mode, one.Outside = modeText(now.Mode), now.Outside
		if before.has(p) {
			one.Note = "what is live has a file of its artifact there, which is not compared"
		}
	case now == nil:
		one.Kind, from = FileGone, was.Text
		one.OutsideWas = was.Outside
		if after.has(p) {
			one.Note = "the artifact has a file there now, which is not compared"
		}
	default:
		from, to = was.Text, now.Text
		one.Sealed = sealedChanges(was.Sealed, now.Sealed)
		if was.Mode != now.Mode {
			one.ModeWas, one.Mode = modeText(was.Mode), modeText(now.Mode)
		}
		if was.Owner != now.Owner {
			one.OwnerWas, one.Owner = was.Owner, now.Owner
		}
		if was.Outside != now.Outside {
			one.OutsideWas, one.Outside = was.Outside, now.Outside
		}
		if from == to && len(one.Sealed) == 0 && one.Mode == "" && one.Owner == "" && was.Outside == now.Outside {
			return nil, false
		}
	}
	if large(from) || large(to) {
		one.Note = fmt.Sprintf("it has more than %d bytes or %d lines, and is not compared line by line", mostCompared, mostLines)
		return one, true
	}
	one.lines, one.Added, one.Removed = unified(from, to)
	return one, true
}

func modeText(mode uint32) string { return fmt.Sprintf("%04o", mode) }

func large(text string) bool {
	return len(text) > mostCompared || strings.Count(text, "\n") > mostLines
}

// has reports whether the artifact itself has something at a path.
func (c Closed) has(p string) bool {
	_, there := slices.BinarySearchFunc(c.Tree, p, func(e manifest.Entry, p string) int { return strings.Compare(e.Path, p) })
	return there
}

// sealedChanges are the keys of ciphertexts that are on one side alone. One that has another key now is the same.
func sealedChanges(was, now map[string][]string) []string {
	keys := map[string]bool{}
	for _, side := range [2][2]map[string][]string{{was, now}, {now, was}} {
		there := map[string]bool{}
		for _, list := range side[1] {
			for _, digest := range list {
				there[digest] = true
			}
		}
		for key, list := range side[0] {
			for _, digest := range list {
				if !there[digest] {
					keys[key] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// endless is behind a last line that does not end. No line has it: a line ends there.
const endless = "\n"

// unified is a unified diff of two texts, in lines.
func unified(was, now string) (out []string, added, removed int) {
	for _, run := range linediff.Runs(linediff.Diff(linesOf(was), linesOf(now)), aroundLines) {
		out = append(out, header(run))
		for _, l := range run {
			sign := " "
			switch l.Kind {
			case linediff.Gone:
				sign = "-"
				removed++
			case linediff.New:
				sign = "+"
				added++
			}
			text, ends := strings.CutSuffix(l.Text, endless)
			out = append(out, sign+cut(text))
			if ends {
				out = append(out, `\ No newline at end of file`)
			}
		}
	}
	return out, added, removed
}

func linesOf(text string) []string {
	lines := linediff.Lines(text)
	if text != "" && !strings.HasSuffix(text, "\n") {
		lines[len(lines)-1] += endless
	}
	return lines
}

// header says which lines of either text a run has. A text without any has its place before the first.
func header(run []linediff.Line) string {
	side := func(number func(linediff.Line) int) string {
		first, n := 0, 0
		for _, l := range run {
			if i := number(l); i > 0 {
				if n++; first == 0 {
					first = i
				}
			}
		}
		if n == 1 {
			return fmt.Sprint(first)
		}
		return fmt.Sprintf("%d,%d", first, n)
	}
	return fmt.Sprintf("@@ -%s +%s @@", side(func(l linediff.Line) int { return l.Was }), side(func(l linediff.Line) int { return l.Now }))
}

func cut(line string) string {
	if len(line) <= mostOfLine {
		return line
	}
	at := mostOfLine
	for !utf8.RuneStart(line[at]) {
		at--
	}
	return fmt.Sprintf("%s… %d bytes more", line[:at], len(line)-at)
}

// Changes is what was gathered.
func (c *Comparison) Changes() Changes {
	out := Changes{Files: []FileChange{}, Same: c.sorted(c.same), Unknown: c.unknown}
	room := mostOfAll
	for _, p := range slices.Sorted(maps.Keys(c.changes)) {
		list := c.changes[p]
		told := list[:min(len(list), mostOfPath)]
		for _, one := range told {
			one.Hosts = c.sorted(one.Hosts)
		}
		slices.SortStableFunc(told, func(a, b *change) int {
			return cmp.Or(cmp.Compare(len(b.Hosts), len(a.Hosts)), cmp.Compare(c.order[a.Hosts[0]], c.order[b.Hosts[0]]))
		})
		for _, one := range told {
			n := min(room, len(one.lines))
			f := one.FileChange
			f.Diff, f.Left = strings.Join(one.lines[:n], "\n"), one.Left+len(one.lines)-n
			room -= n
			out.Files = append(out.Files, f)
		}
		if rest := list[len(told):]; len(rest) > 0 {
			more := MoreChanges{Path: p, Changes: len(rest)}
			for _, one := range rest {
				more.Hosts += len(one.Hosts)
			}
			out.More = append(out.More, more)
		}
	}
	for i := range out.Unknown {
		out.Unknown[i].Hosts = c.sorted(out.Unknown[i].Hosts)
	}
	slices.SortStableFunc(out.Unknown, func(a, b NotCompared) int { return cmp.Compare(c.order[a.Hosts[0]], c.order[b.Hosts[0]]) })
	return out
}

func (c *Comparison) sorted(hosts []sluice.Host) []sluice.Host {
	slices.SortFunc(hosts, func(a, b sluice.Host) int { return cmp.Compare(c.order[a], c.order[b]) })
	return hosts
}
