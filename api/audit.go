package api

import (
	"time"

	"sluice"
)

// AuditLine is a line of the export of the log: a record, and at the end where everything ends.
type AuditLine struct {
	Record *sluice.Record `json:"record,omitempty"`
	// Heads are on the last line alone: whoever does not get it has not got everything.
	Heads []sluice.Head `json:"heads,omitempty"`
}

// Standing is what is known about the log from others.
type Standing struct {
	Epoch int               `json:"epoch" doc:"grows with every restore and repair"`
	Unfit []sluice.SeenHead `json:"unfit" doc:"heads that others have seen and that the log does not have: nothing starts until they are explained"`
	Lost  []sluice.SeenHead `json:"lost" doc:"heads that others have seen and that a restore or repair explains"`
}

// Heads are heads of the log, as a server showed them.
type Heads struct {
	Heads []sluice.SeenHead `json:"heads" maxItems:"1000"`
}

// AuditEntry is one thing that somebody did.
type AuditEntry struct {
	Time      time.Time        `json:"time"`
	Namespace sluice.Namespace `json:"namespace"`
	Seq       uint64           `json:"seq" doc:"the number of the event, in the log of the namespace or, for who may do what, in its own"`
	Who       string           `json:"who" doc:"nobody known, where no name could be proved"`
	Did       string           `json:"did" doc:"the type of the event"`
	What      string           `json:"what" doc:"in words"`
	Job       sluice.JobID     `json:"job,omitempty"`
	From      string           `json:"from,omitempty" doc:"address"`
	Refused   string           `json:"refused,omitempty" doc:"why it was refused"`
	Times     int              `json:"times,omitempty" doc:"how often the same within a while; once, if it is not there"`
}

// AuditPage is a part of who did what, newest first.
type AuditPage struct {
	Entries []AuditEntry `json:"entries" doc:"newest first"`
	Next    string       `json:"next,omitempty" doc:"the cursor of the next page; there is none where the log begins. A page may have few entries, or none, and a next one all the same: each looks at a bounded part of the log"`
	Reached *time.Time   `json:"reached,omitempty" doc:"how far back this page looked"`
}
