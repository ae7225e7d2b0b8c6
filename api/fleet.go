package api

import "sluice"

// Some is a list of hosts of any length, told in few words: the number is whole, the text may leave some out.
type Some struct {
	Count int    `json:"count" doc:"how many there are"`
	Text  string `json:"text,omitempty" doc:"the first of them, folded, such as web[01-20]"`
	More  int    `json:"more,omitempty" doc:"how many the text leaves out"`
}

// Meaning is what the rules of a fleet work out to. Names of tags, groups and entries are expressions: the hosts of each can
// be asked for by it.
type Meaning struct {
	Fleet
	ConfirmAbove int               `json:"confirm_above,omitempty" doc:"above so many hosts, people are asked before a job starts"`
	Approval     sluice.Approval   `json:"approval,omitzero"`
	Tags         []TagMeaning      `json:"tags"`
	Groups       []GroupMeaning    `json:"groups" doc:"of all constraints, in the order of the fleet"`
	Sequences    []SequenceMeaning `json:"sequences"`
	// MoreTags and MoreGroups are how many are left out.
	MoreTags   int `json:"more_tags,omitempty" doc:"how many tags are left out"`
	MoreGroups int `json:"more_groups,omitempty" doc:"how many groups are left out"`
}

// TagMeaning is a tag with its hosts.
type TagMeaning struct {
	Name  string `json:"name" doc:"as it is written in an expression"`
	Hosts Some   `json:"hosts"`
}

// GroupMeaning is a group that a constraint counts by itself.
type GroupMeaning struct {
	Constraint string `json:"constraint"`
	Group      string `json:"group"`
	Limit      string `json:"limit" doc:"as it is written: a number or a share"`
	Capacity   int    `json:"capacity" doc:"how many of its hosts may be out of service at once"`
	Members    Some   `json:"members" doc:"without hosts that are retired"`
	Out        Some   `json:"out" doc:"those of them that are out of service now; of the current version only"`
}

// SequenceMeaning is an order in which hosts go.
type SequenceMeaning struct {
	Name    string         `json:"name"`
	Entries []EntryMeaning `json:"entries"`
}

// EntryMeaning is a step of a sequence.
type EntryMeaning struct {
	Name        string   `json:"name"`
	Hosts       Some     `json:"hosts"`
	MaxFailures string   `json:"max_failures,omitempty" doc:"so many of its hosts may fail, and the next entry still opens"`
	Pause       string   `json:"pause,omitempty"`
	Approve     bool     `json:"approve,omitempty"`
	Ramp        []string `json:"ramp,omitempty" doc:"it goes in stages: up to so many hosts each"`
}

// HostStanding is where a host stands in a fleet.
type HostStanding struct {
	Host      sluice.Host  `json:"host"`
	Tags      []sluice.Tag `json:"tags,omitempty"`
	Groups    []string     `json:"groups,omitempty" doc:"of constraints, that it counts in"`
	Sequences []string     `json:"sequences,omitempty" doc:"sequence: entry"`
	SSH       sluice.SSH   `json:"ssh,omitzero" doc:"how it is reached"`
}

// Word is what an expression could go on with.
type Word struct {
	Text  string `json:"text"`
	Kind  string `json:"kind" enum:"tag,host"`
	Hosts int    `json:"hosts" doc:"how many carry the tag"`
}

// FleetDiff is what is different between two versions of a fleet.
type FleetDiff struct {
	From        Fleet        `json:"from"`
	To          Fleet        `json:"to"`
	Settings    []string     `json:"settings,omitempty" doc:"in words"`
	Added       Some         `json:"added" doc:"hosts"`
	Removed     Some         `json:"removed" doc:"hosts"`
	Reordered   bool         `json:"reordered,omitempty" doc:"the hosts that both have are in another order"`
	SSH         []SSHChange  `json:"ssh,omitempty" doc:"of hosts that both have"`
	Tags        []Change     `json:"tags,omitempty"`
	Constraints []ListChange `json:"constraints,omitempty"`
	Sequences   []ListChange `json:"sequences,omitempty"`
	More        int          `json:"more,omitempty" doc:"how many changes are left out"`
	Files       []FileChange `json:"files,omitempty" doc:"those whose text is another"`
}

// SSHChange is how hosts are reached now, and were before, in words.
type SSHChange struct {
	Hosts Some   `json:"hosts"`
	Now   string `json:"now,omitempty"`
	Was   string `json:"was,omitempty"`
}

// Change is what became of a tag, of a group of a constraint, or of an entry of a sequence.
type Change struct {
	Name        string `json:"name"`
	Kind        string `json:"kind" enum:"added,removed,changed"`
	Now         string `json:"now,omitempty" doc:"limit or gate, where it is another or all is new"`
	Was         string `json:"was,omitempty"`
	Capacity    *int   `json:"capacity,omitempty" doc:"of a group, where it is another than it was"`
	CapacityWas *int   `json:"capacity_was,omitempty"`
	Added       Some   `json:"added,omitzero" doc:"hosts"`
	Removed     Some   `json:"removed,omitzero" doc:"hosts"`
}

// ListChange is what became of a constraint or a sequence.
type ListChange struct {
	Name  string   `json:"name"`
	Kind  string   `json:"kind" enum:"added,removed,changed"`
	Parts []Change `json:"parts,omitempty"`
	Now   []string `json:"now,omitempty" doc:"the entries of a sequence in their order, where that is another"`
	Was   []string `json:"was,omitempty"`
}

// FileChange is a file of a fleet whose text is another.
type FileChange struct {
	Path string       `json:"path"`
	Kind string       `json:"kind" enum:"added,removed,changed"`
	Runs [][]LineDiff `json:"runs" doc:"lines that differ, with a few around them"`
	More int          `json:"more,omitempty" doc:"how many lines are left out"`
}

// LineDiff is a line of either text.
type LineDiff struct {
	Kind string `json:"kind" enum:"same,gone,new"`
	Text string `json:"text"`
	Was  int    `json:"was,omitempty" doc:"its number before"`
	Now  int    `json:"now,omitempty" doc:"its number now"`
}
