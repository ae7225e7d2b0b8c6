package api

import (
	"time"

	"sluice"
)

// Cluster is the servers that share one log, as one of them knows it.
type Cluster struct {
	Self sluice.ServerName `json:"self" doc:"the server that answers"`
	// Owner owns the log; "" where this server does not know who does.
	Owner    sluice.ServerName `json:"owner,omitempty" doc:"the server that owns the log; not there where nobody does, or this server cannot tell"`
	Term     uint64            `json:"term,omitempty" doc:"number of the owner's term; each one is higher than those before"`
	Majority bool              `json:"majority" doc:"the server that answers has contact with a majority of the members; without one nothing can be changed"`
	// Since is when this began: the owner's term, or without a majority the time from which on there is no contact.
	Since *time.Time `json:"since,omitempty" doc:"since when the owner owns the log; without a majority, since when there is no contact with one"`
	// Waits is what the server that answers waits for, before it can own the log; "" where that is nothing but the end of another's term.
	Waits    string           `json:"waits,omitempty" doc:"what the server that answers waits for, before it can own the log; not there where it could"`
	Restored *ClusterRestored `json:"restored,omitempty" doc:"that the log was restored from a backup or recovered from one server, if it ever was"`
	Members  []Member         `json:"members"`
	Kept     []KeptHalt       `json:"kept_halts,omitempty" doc:"halts that the server that answers was asked for without a majority, and that are not appended yet"`
}

// ClusterRestored says that the log went on with what was kept of it, in a new epoch: all jobs that were not over were halted.
type ClusterRestored struct {
	At    time.Time `json:"at" doc:"when"`
	Of    time.Time `json:"of" doc:"as of when it is: when the backup was made, or the last server was recovered"`
	Epoch int       `json:"epoch" doc:"the epoch that began"`
	By    string    `json:"by" doc:"by whom"`
}

// KeptHalt is a halt that a server without a majority was asked for: it keeps it until it can be appended.
type KeptHalt struct {
	ID     string            `json:"id"`
	Server sluice.ServerName `json:"server" doc:"the server that keeps it"`
	At     time.Time         `json:"at" doc:"when it was asked for"`
	By     sluice.Principal  `json:"by"`
	// Namespace and Job say what is halted: that job; without one all jobs, of the namespace if there is one.
	Namespace sluice.Namespace `json:"namespace,omitempty" doc:"of the job; without a job, all of this namespace are halted, and without either all that there are"`
	Job       sluice.JobID     `json:"job,omitempty"`
	Reason    string           `json:"reason,omitempty"`
}

// Roles of a member.
const (
	OwnerRole   = "owner"   // it owns the log
	CopyRole    = "copy"    // it has a whole copy of the log
	JoiningRole = "joining" // it is a member, and gets its copy
	LostRole    = "lost"    // it is not heard
	InvitedRole = "invited" // it may join
)

// Member is a server of the cluster, or one that was invited.
type Member struct {
	Name    sluice.ServerName `json:"server"`
	Address string            `json:"address,omitempty" doc:"HOST:PORT, where the other servers reach it"`
	// Role is owner, copy, joining, lost, or invited where it has not joined yet.
	Role string `json:"role" enum:"owner,copy,joining,lost,invited"`
	// InEngine is what it is for etcd; "" where it is nothing there, or the engine is one that the servers do not make up.
	InEngine string `json:"in_engine,omitempty" enum:"voter,learner" doc:"what it is among the nodes of etcd: one that counts for the majority, or one that does not yet"`
	// Leads says that the nodes of etcd go by this one's, as the server knows that answers.
	Leads bool `json:"leads,omitempty" doc:"the nodes of etcd go by this one's; as a rule that is not the owner's, so that one machine that is lost is one thing to wait for"`
	// Behind is how many records of the log it does not have; nil where nobody knows.
	Behind  *uint64    `json:"behind,omitempty" doc:"records of the log that its copy lacks"`
	Seen    *time.Time `json:"seen,omitempty" doc:"when it was heard last"`
	Version string     `json:"version,omitempty"`
	// Trouble is why it does not do all that a server of a cluster does; "" where nobody knows of any.
	Trouble string `json:"trouble,omitempty" doc:"what is wrong with it, such as a full disk, a damaged copy, or a version too far from that of the server that answers; with its disk or its copy it does not own the log then"`
	// Replaces is the member that is removed when this one, which is invited, joins.
	Replaces sluice.ServerName `json:"replaces,omitempty" doc:"of an invited one: the member that is removed when it joins"`
	Expires  *time.Time        `json:"expires,omitempty" doc:"of an invited one: until when it may join"`
}

// ServerInvitation lets a server join, soon.
type ServerInvitation struct {
	Server  sluice.ServerName `json:"server"`
	Token   string            `json:"token" doc:"a secret; it is shown this once"`
	Expires time.Time         `json:"expires"`
}

// StaleHeader says since when the server that answers has no contact with a majority of the cluster: what it says is what it had then.
// Its value is a time as RFC 3339 has it. It is not there where the answer is what holds.
const StaleHeader = "Sluice-Stale"
