package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sluice"
)

// Difference is what is new in a fleet against another one, in the order of the newer one; what is gone comes last.
type Difference struct {
	Settings    []string     `json:"settings,omitempty"` // in words
	Hosts       HostChange   `json:"hosts,omitzero"`
	Reordered   bool         `json:"reordered,omitzero"` // the hosts that both have are in another order
	SSH         []SSHChange  `json:"ssh,omitempty"`      // of hosts that both have
	Tags        []Change     `json:"tags,omitempty"`
	Constraints []ListChange `json:"constraints,omitempty"`
	Sequences   []ListChange `json:"sequences,omitempty"`
}

// HostChange is which hosts a set gained and lost.
type HostChange struct {
	Added   []sluice.Host `json:"added,omitempty"`
	Removed []sluice.Host `json:"removed,omitempty"`
}

// SSHChange is how hosts are reached now, and were before.
type SSHChange struct {
	Hosts []sluice.Host `json:"hosts"`
	Now   sluice.SSH    `json:"now"`
	Was   sluice.SSH    `json:"was"`
}

// Kind says what became of something.
type Kind string

const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
)

func (k Kind) mark() string { return map[Kind]string{Added: "+", Removed: "-", Changed: "~"}[k] }

// Change is what became of a tag, of a group of a constraint, or of an entry of a sequence.
type Change struct {
	Name  string     `json:"name"`
	Kind  Kind       `json:"kind"`
	Now   string     `json:"now,omitzero"` // limit or gate, where it is another or all is new
	Was   string     `json:"was,omitzero"`
	Hosts HostChange `json:"hosts,omitzero"`
	// Capacity is that of a group, where it is another: a share of more hosts is more, though the limit reads as before.
	Capacity *Capacity `json:"capacity,omitempty"`
}

// Capacity is what a group allows now, and allowed before; nil is for a group that is not there.
type Capacity struct {
	Now *int `json:"now,omitempty"`
	Was *int `json:"was,omitempty"`
}

// ListChange is what became of a constraint or a sequence.
type ListChange struct {
	Name  string   `json:"name"`
	Kind  Kind     `json:"kind"`
	Parts []Change `json:"parts,omitempty"`
	// Now and Was are the entries of a sequence in their order, where that is another.
	Now []string `json:"now,omitempty"`
	Was []string `json:"was,omitempty"`
}

// Diff compares two fleets: a is the older one.
func Diff(a, b *sluice.Fleet) Difference {
	d := Difference{Settings: settingsChanged(a, b), Hosts: hostsChanged(a.Hosts, b.Hosts), SSH: sshChanged(a, b)}
	had, has := setOfNames(a.Hosts), setOfNames(b.Hosts)
	kept := func(hosts []sluice.Host, in map[sluice.Host]bool) []sluice.Host {
		return slices.DeleteFunc(slices.Clone(hosts), func(h sluice.Host) bool { return !in[h] })
	}
	d.Reordered = !slices.Equal(kept(a.Hosts, has), kept(b.Hosts, had))
	d.Tags = parts(tagParts(a), tagParts(b))
	d.Constraints = lists(a.Constraints, b.Constraints, false, func(c sluice.Constraint) (string, []piece) {
		var out []piece
		for _, g := range c.Groups {
			capacity := g.Limit.Capacity(len(g.Members))
			out = append(out, piece{g.Name, g.Limit.String(), g.Members, &capacity})
		}
		return c.Name, out
	})
	d.Sequences = lists(a.Sequences, b.Sequences, true, func(s sluice.Sequence) (string, []piece) {
		var out []piece
		for _, e := range s.Entries {
			out = append(out, piece{e.Name, gateWords(e.Gate), e.Hosts, nil})
		}
		return s.Name, numbered(out)
	})
	return d
}

// Empty reports that nothing is different.
func (d Difference) Empty() bool { return d.String() == "" }

func setOfNames(hosts []sluice.Host) map[sluice.Host]bool {
	m := make(map[sluice.Host]bool, len(hosts))
	for _, h := range hosts {
		m[h] = true
	}
	return m
}

func hostsChanged(a, b []sluice.Host) (c HostChange) {
	if slices.Equal(a, b) {
		return c
	}
	had, has := setOfNames(a), setOfNames(b)
	for _, h := range b {
		if !had[h] {
			c.Added = append(c.Added, h)
		}
	}
	for _, h := range a {
		if !has[h] {
			c.Removed = append(c.Removed, h)
		}
	}
	return c
}

func (c HostChange) none() bool { return len(c.Added) == 0 && len(c.Removed) == 0 }

// yes is the word for a setting that is made, "" for one that is not.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func settingsChanged(a, b *sluice.Fleet) (out []string) {
	say := func(name, was, now string) {
		if was != now {
			out = append(out, fmt.Sprintf("%s: %s, was %s", name, cmp.Or(now, "not set"), cmp.Or(was, "not set")))
		}
	}
	say("namespace", string(a.Namespace), string(b.Namespace))
	say("approval by", a.Approval.By, b.Approval.By)
	say("approval before the start", yes(a.Approval.Start), yes(b.Approval.Start))
	say("confirm_above", fmt.Sprint(a.ConfirmAbove), fmt.Sprint(b.ConfirmAbove))
	say("converge", convergeWords(a.Converge), convergeWords(b.Converge))
	say("target dir", a.Target.Dir, b.Target.Dir)
	say("target pre_hooks", a.Target.PreHooks, b.Target.PreHooks)
	say("target post_hooks", a.Target.PostHooks, b.Target.PostHooks)
	say("ssh", SSHWords(a.SSH), SSHWords(b.SSH))
	for _, now := range b.Balancers {
		was, _ := a.Balancer(now.Name)
		say("balancer "+now.Name, balancerWords(was), balancerWords(now))
	}
	for _, was := range a.Balancers {
		if _, there := b.Balancer(was.Name); !there {
			say("balancer "+was.Name, balancerWords(was), "")
		}
	}
	return out
}

// convergeWords tells in words what a server brings to hosts by itself; "" for nothing.
func convergeWords(c sluice.Converge) string {
	if c.Every == 0 {
		return ""
	}
	words := "every " + c.Every.String()
	for _, of := range []struct {
		what  string
		names []string
	}{{"app", c.Apps}, {"env", c.Envs}} {
		if len(of.names) > 0 {
			words += ", " + of.what + " " + strings.Join(of.names, " ")
		}
	}
	return words
}

// balancerWords tells of a balancer in words; "" for none.
func balancerWords(b sluice.NamedBalancer) string {
	if b.Name == "" {
		return ""
	}
	words := b.Driver + " " + b.Address
	if b.On != "" {
		words += " on " + string(b.On)
	}
	if b.Sudo != "" {
		words += " as " + b.Sudo
	}
	for i, p := range b.Pools {
		words += map[bool]string{true: ", pool ", false: ", "}[i == 0] + p.Name + " " + p.Least.String()
	}
	return words
}

func sshChanged(a, b *sluice.Fleet) (out []SSHChange) {
	index := map[[2]string]int{}
	had := setOfNames(a.Hosts)
	for _, h := range b.Hosts {
		was, now := a.SSHFor(h), b.SSHFor(h)
		if !had[h] || sameSSH(was, now) {
			continue
		}
		key := [2]string{SSHWords(was), SSHWords(now)}
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, SSHChange{Now: now, Was: was})
		}
		out[i].Hosts = append(out[i].Hosts, h)
	}
	return out
}

// SSHWords tells of settings in words; "" where there are none.
func SSHWords(s sluice.SSH) string {
	var words []string
	say := func(name, value string) {
		if value != "" {
			words = append(words, name+" "+value)
		}
	}
	say("user", s.User)
	if s.Port != 0 {
		say("port", fmt.Sprint(s.Port))
	}
	say("address", s.Address)
	say("identity", strings.Join(s.Identity, ","))
	say("jump", strings.Join(s.Jump, ","))
	say("transport", s.Transport)
	say("pool", string(s.Pool))
	return strings.Join(words, " ")
}

func gateWords(g sluice.Gate) string {
	var words []string
	if g.MaxFailures != (sluice.Amount{}) {
		words = append(words, "max_failures "+g.MaxFailures.String())
	}
	if g.Pause > 0 {
		words = append(words, "pause "+g.Pause.String())
	}
	if g.Approve {
		words = append(words, "approve")
	}
	if g.Ramp != nil {
		steps := make([]string, len(g.Ramp))
		for i, a := range g.Ramp {
			steps[i] = a.String()
		}
		words = append(words, "ramp "+strings.Join(steps, " "))
	}
	return strings.Join(words, ", ")
}

// piece is a tag, a group or an entry.
type piece struct {
	name  string
	words string // its limit or gate
	hosts []sluice.Host
	room  *int // capacity, of a group
}

func tagParts(f *sluice.Fleet) []piece {
	out := make([]piece, len(f.TagOrder))
	for i, t := range f.TagOrder {
		out[i] = piece{"$" + string(t), "", f.Tags[t], nil}
	}
	return out
}

// numbered tells entries apart that are written the same way.
func numbered(parts []piece) []piece {
	times := map[string]int{}
	for i, p := range parts {
		if times[p.name]++; times[p.name] > 1 {
			parts[i].name = fmt.Sprintf("%s (%d)", p.name, times[p.name])
		}
	}
	return parts
}

// lists compares constraints or sequences by their names. ordered says that the order of their parts means something.
func lists[T any](a, b []T, ordered bool, open func(T) (string, []piece)) (out []ListChange) {
	had := map[string][]piece{}
	for _, x := range a {
		name, p := open(x)
		had[name] = p
	}
	has := map[string]bool{}
	for _, x := range b {
		name, now := open(x)
		has[name] = true
		was, before := had[name]
		c := ListChange{Name: name, Kind: Changed, Parts: parts(was, now)}
		if !before {
			c.Kind = Added
		} else if n, w := partNames(now), partNames(was); ordered && !slices.Equal(n, w) {
			c.Now, c.Was = n, w
		}
		if !before || len(c.Parts) > 0 || c.Now != nil {
			out = append(out, c)
		}
	}
	for _, x := range a {
		if name, was := open(x); !has[name] {
			out = append(out, ListChange{Name: name, Kind: Removed, Parts: parts(was, nil)})
		}
	}
	return out
}

func partNames(parts []piece) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p.name
	}
	return out
}

// parts compares by name.
func parts(a, b []piece) (out []Change) {
	had := map[string]piece{}
	for _, p := range a {
		had[p.name] = p
	}
	has := map[string]bool{}
	for _, p := range b {
		has[p.name] = true
		was, before := had[p.name]
		c := Change{Name: p.name, Kind: Changed, Hosts: hostsChanged(was.hosts, p.hosts), Capacity: capacityChanged(was.room, p.room)}
		switch {
		case !before:
			c.Kind, c.Now = Added, p.words
		case was.words != p.words:
			c.Now, c.Was = cmp.Or(p.words, "no gate"), cmp.Or(was.words, "no gate")
		case c.Hosts.none():
			continue
		}
		out = append(out, c)
	}
	for _, p := range a {
		if !has[p.name] {
			out = append(out, Change{Name: p.name, Kind: Removed, Was: p.words, Hosts: HostChange{Removed: p.hosts}, Capacity: capacityChanged(p.room, nil)})
		}
	}
	return out
}

func capacityChanged(was, now *int) *Capacity {
	if was == nil && now == nil || was != nil && now != nil && *was == *now {
		return nil
	}
	return &Capacity{Now: now, Was: was}
}

// String tells the difference to people, a line for each thing that is new (+), gone (-) or changed (~); "" is none.
func (d Difference) String() string {
	var b strings.Builder
	for _, s := range d.Settings {
		fmt.Fprintf(&b, "~ %s\n", s)
	}
	if len(d.Hosts.Added) > 0 {
		fmt.Fprintf(&b, "+ %s: %s\n", count(len(d.Hosts.Added), "host"), Fold(d.Hosts.Added))
	}
	if len(d.Hosts.Removed) > 0 {
		fmt.Fprintf(&b, "- %s: %s\n", count(len(d.Hosts.Removed), "host"), Fold(d.Hosts.Removed))
	}
	if d.Reordered {
		b.WriteString("~ the order of the hosts\n")
	}
	for _, s := range d.SSH {
		fmt.Fprintf(&b, "~ ssh of %s: %s, was %s\n", Fold(s.Hosts), cmp.Or(SSHWords(s.Now), "not set"), cmp.Or(SSHWords(s.Was), "not set"))
	}
	for _, t := range d.Tags {
		t.write(&b, "", "tag ")
	}
	writeLists(&b, "constraint", d.Constraints)
	writeLists(&b, "sequence", d.Sequences)
	return b.String()
}

func writeLists(b *strings.Builder, what string, list []ListChange) {
	for _, l := range list {
		fmt.Fprintf(b, "%s %s %s\n", l.Kind.mark(), what, l.Name)
		if l.Now != nil {
			fmt.Fprintf(b, "    order: %s; was %s\n", strings.Join(l.Now, " -> "), strings.Join(l.Was, " -> "))
		}
		for _, p := range l.Parts {
			p.write(b, "    ", "")
		}
	}
}

func (c Change) write(b *strings.Builder, indent, what string) {
	fmt.Fprintf(b, "%s%s %s%s", indent, c.Kind.mark(), what, c.Name)
	sep := ": "
	say := func(format string, args ...any) {
		fmt.Fprintf(b, sep+format, args...)
		sep = "; "
	}
	switch {
	case c.Kind == Changed && c.Now != "":
		say("%s, was %s", c.Now, c.Was)
	case cmp.Or(c.Now, c.Was) != "":
		say("%s", cmp.Or(c.Now, c.Was))
	}
	if c.Kind == Changed && c.Capacity != nil {
		say("capacity %d, was %d", *c.Capacity.Now, *c.Capacity.Was)
	}
	sign := func(s string) string {
		if c.Kind == Changed {
			return s
		}
		return ""
	}
	if len(c.Hosts.Added) > 0 {
		say("%s%s", sign("+ "), Fold(c.Hosts.Added))
	}
	if len(c.Hosts.Removed) > 0 {
		say("%s%s", sign("- "), Fold(c.Hosts.Removed))
	}
	b.WriteByte('\n')
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
