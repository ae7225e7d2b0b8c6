package api

import "sluice"

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
