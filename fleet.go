package sluice

import (
	"slices"
	"time"
)

// Namespace is the unit in which names, constraints, locks and holders hold together: 1 to 64 bytes of
// letters, digits, '-', '_' and '.', beginning with a letter or digit.
type Namespace string

// Reserved reports whether the program keeps something of its own there: no fleet can be named so.
func (n Namespace) Reserved() bool { return n == AccessNamespace || n == WebhookNamespace }

// Valid reports whether n has the form of a namespace's name. Names reach file names.
func (n Namespace) Valid() bool {
	if len(n) == 0 || len(n) > 64 {
		return false
	}
	for i := range len(n) {
		c := n[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			return false
		}
	}
	return true
}

// DefaultNamespace is meant where a fleet names none.
const DefaultNamespace Namespace = "default"

// Tag is a mark on hosts: "name", or "name.value" with as many dots as the fleet file nests.
type Tag string

// Fleet is what a namespace consists of, resolved: every tag, sequence and constraint lists the hosts that it
// means. It is a value; nobody changes it once it is loaded.
type Fleet struct {
	Namespace Namespace
	// Hosts are all known hosts, each once, in the order in which the files name them first. "Fleet order".
	Hosts []Host
	// Tags are all tags and the hosts that carry them, in fleet order. A tag "colo" with values carries the
	// hosts of all its values.
	Tags map[Tag][]Host
	// TagOrder lists the tags as the files define them.
	TagOrder    []Tag
	Sequences   []Sequence
	Constraints []Constraint
	// Balancers are those that the fleet has a name for, as the files define them.
	Balancers []NamedBalancer
	// SSH are the settings for all hosts; HostSSH those of hosts that differ, complete (defaults merged in).
	SSH     SSH
	HostSSH map[Host]SSH
	// Target are settings of what happens on the targets.
	Target TargetSettings
	// Approval says who may approve.
	Approval Approval
	// Converge says what a server brings to hosts by itself.
	Converge Converge
	// ConfirmAbove asks before a job on more hosts than this; 0: never.
	ConfirmAbove int
	// Source is where the fleet was read from, for messages; "" without a file.
	Source string
}

// SSHFor returns the complete settings of a host.
func (f *Fleet) SSHFor(h Host) SSH {
	if s, ok := f.HostSSH[h]; ok {
		return s
	}
	return f.SSH
}

// Sequence is an order: the hosts of an entry are all settled before those of the next one start.
type Sequence struct {
	Name    string
	Entries []Entry
	At      Position
}

// Entry is one step of a sequence.
type Entry struct {
	Name  string // as it is written, such as "$canary"
	Hosts []Host // in fleet order
	Gate  Gate
	At    Position
}

// Gate says how the hosts of an entry go, and when the next entry opens. The zero Gate lets no failure pass.
type Gate struct {
	// MaxFailures of the entry's hosts may fail and the next entry still opens.
	MaxFailures Amount `json:"max_failures,omitzero"`
	// Pause is waited after the entry has settled.
	Pause time.Duration `json:"pause,omitzero"`
	// Approve waits for an operator after the entry has settled.
	Approve bool `json:"approve,omitzero"`
	// Ramp cuts the entry into stages: cumulative numbers or shares of its hosts.
	Ramp []Amount `json:"ramp,omitzero"`
}

// Constraint limits how many hosts of each of its groups are out of service at once.
type Constraint struct {
	Name   string // as the tag is written, such as "$colo", or "$env.prod & $colo" where they are nested
	Groups []Group
	At     Position
}

// Group is a set of hosts that a constraint counts by itself: all members in the fleet, targets or not.
type Group struct {
	Name    string // such as "$colo.north"
	Limit   Amount
	Members []Host // in fleet order
}

// Rules are what the scheduler must know of a fleet: its constraints, and the hosts that they count.
type Rules struct {
	// Digest names this content: "sha256:" and 64 hexadecimal digits. Equal rules have equal digests.
	Digest      string
	Hosts       []Host
	Constraints []Constraint
}

// SSH are the settings with which a host is reached. Zero fields are left to the user's ssh configuration.
type SSH struct {
	User      string   `json:"user,omitzero"`
	Port      int      `json:"port,omitzero"`    // 1 to 65535
	Address   string   `json:"address,omitzero"` // host name or IP address to connect to; the host's name if empty
	Identity  []string `json:"identity,omitzero"`
	Jump      []string `json:"jump,omitzero"`      // [user@]host[:port], first hop first
	Transport string   `json:"transport,omitzero"` // "ssh" (default) or "local"
	Pool      Pool     `json:"pool,omitzero"`      // whose workers reach it; "" is [DefaultPool]
}

// TargetSettings say where and how attempts live on the targets.
type TargetSettings struct {
	// Dir is the place of attempts; "" is /var/lib/sluice for root and /var/tmp/sluice-UID for others. One
	// place per host and user, never a fallback chosen at run time: a second place is a second run.
	Dir string `json:"dir,omitzero"`
	// PreHooks and PostHooks are the directories of hooks on the target.
	PreHooks  string `json:"pre_hooks,omitzero"`
	PostHooks string `json:"post_hooks,omitzero"`
}

// Approval says whose approval opens a gate.
type Approval struct {
	// By is [AnotherApproves], or "" for everybody who has the right to it.
	By string `json:"by,omitzero"`
	// Start has every job wait for an approval before it starts anything.
	Start bool `json:"start,omitzero"`
}

// Converge says that a server brings hosts to what is current by itself. The zero Converge says that it does not.
type Converge struct {
	// Every is how often it looks whether hosts lack something; 0: never.
	Every time.Duration
	// Apps and Envs are the names of the apps and environments that it does so for; none are all.
	Apps, Envs []string
}

// Means reports whether it does so for an app in an environment.
func (c *Converge) Means(app, env string) bool {
	return c.Every > 0 && (len(c.Apps) == 0 || slices.Contains(c.Apps, app)) && (len(c.Envs) == 0 || slices.Contains(c.Envs, env))
}

// AnotherApproves takes two people: whoever submitted a job cannot approve it.
const AnotherApproves = "another"

// Position is a place in a file. The zero Position is nowhere.
type Position struct {
	File   string
	Line   int // from 1
	Column int // from 1, in characters
}
