package api

import "sluice"

// Frozen is what a job deploys, or brings hosts back to, as it was frozen when the job was submitted.
type Frozen struct {
	Job       sluice.JobID     `json:"job"`
	Namespace sluice.Namespace `json:"namespace"`
	Kind      string           `json:"kind" enum:"deploy,rollback"`
	// Release says nothing of how hosts of balancers are reached.
	Release sluice.Release `json:"release"`
	Back    []GoesBack     `json:"back,omitempty" doc:"of a rollback: what hosts go back to, those with the same together; the most hosts first"`
	Pieces  []Piece        `json:"pieces,omitempty" doc:"of a deploy: what it is made of, and whether the server keeps it"`
	// CommandLine is for who cannot do it from here.
	CommandLine string `json:"command_line,omitempty" doc:"of a deploy: the command that deploys the same version, with the configuration that the layers say then"`
}

// GoesBack is what hosts go back to.
type GoesBack struct {
	sluice.Installed
	Hosts []sluice.Host `json:"hosts"`
}

// Piece is something that a deploy takes from the store.
type Piece struct {
	What   string `json:"what" enum:"archive,manifest,configuration"`
	Digest string `json:"digest"`
	Kept   bool   `json:"kept" doc:"the server has it"`
	Size   int64  `json:"size,omitempty" doc:"bytes, where it is kept"`
}
