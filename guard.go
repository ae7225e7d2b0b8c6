package sluice

import "time"

// ServerRestored says that what comes before it is a backup that was put back. It stands in [AccessNamespace].
type ServerRestored struct {
	// Epoch grows with every restore and repair.
	Epoch int `json:"epoch"`
	// Backup is when the backup was made.
	Backup time.Time `json:"backup"`
	// Heads are the ends of all namespaces in it. What was seen behind them, in an earlier epoch, is lost and known to be.
	Heads []Head `json:"heads"`
	By    string `json:"by"`
}

// LogRepaired says that somebody has looked at a log of which others remember more or something else, and declared it the
// truth. It stands in [AccessNamespace].
type LogRepaired struct {
	// Epoch grows with every restore and repair.
	Epoch int `json:"epoch"`
	// Heads are up to where, in each namespace, what was seen in earlier epochs still counts.
	Heads []Head `json:"heads"`
	// Seen are the heads that did not fit.
	Seen   []Head `json:"seen,omitzero"`
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// OutputRemoved says that what the attempts of a job printed and fetched is not kept here any more.
type OutputRemoved struct {
	Bytes  int64  `json:"bytes"`
	Reason string `json:"reason"`
	// Archive is where it was put before, and Digest what is there; "" for nowhere.
	Archive string `json:"archive,omitzero"`
	Digest  string `json:"digest,omitzero"`
	By      string `json:"by"`
}

func (ServerRestored) Type() string { return "server.restored" }
func (LogRepaired) Type() string    { return "log.repaired" }
func (OutputRemoved) Type() string  { return "output.removed" }
