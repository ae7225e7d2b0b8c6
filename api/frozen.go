package api

import "sluice"

// Frozen is what a job deploys, or brings hosts back to, as it was frozen when the job was submitted.
type Frozen struct {
	Job       sluice.JobID     `json:"job"`
	Namespace sluice.Namespace `json:"namespace"`
	Kind      string           `json:"kind" enum:"deploy,rollback"`
	// Release says nothing of how hosts of balancers are reached.
	Release    sluice.Release `json:"release"`
	Back       []GoesBack     `json:"back,omitempty" doc:"of a rollback: what hosts go back to, those with the same together; the most hosts first"`
	Pieces     []Piece        `json:"pieces,omitempty" doc:"of a deploy: what it is made of, and whether the server keeps it"`
	Validation *Validation    `json:"validation,omitempty" doc:"of a deploy: what its validation came to; there is none where app.yaml asks for none"`
	Rendered   []sluice.Host  `json:"rendered,omitempty" doc:"of a deploy with a configuration: hosts whose configuration was rendered. For others there is none of their own in it"`
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

// WayBack is what a rollback of a deploy would do.
type WayBack struct {
	Job       sluice.JobID     `json:"job"`
	Namespace sluice.Namespace `json:"namespace"`
	// Refused is why nothing can be brought back.
	Refused *Problem      `json:"refused,omitempty" doc:"why there is no way back"`
	Moves   []Move        `json:"moves,omitempty" doc:"what hosts go from and back to, those alike together; the most hosts first"`
	None    []sluice.Host `json:"none,omitempty" doc:"left out: they had nothing before"`
	Unknown []sluice.Host `json:"unknown,omitempty" doc:"left out: nobody knows what they have now"`
	Later   []LaterJob    `json:"later,omitempty" doc:"left out: something has changed them since"`
	// Supersedes are cancelled.
	Supersedes []sluice.JobID `json:"supersedes,omitempty" doc:"the deploy, which is not over, and jobs that wait for its lock: they are cancelled"`
	WaitsFor   []sluice.JobID `json:"waits_for,omitempty" doc:"jobs that have the lock, or want it, too: it waits until they end"`
	Submit     *Submit        `json:"submit,omitempty" doc:"what to submit, so that it is done"`
	// CommandLine does the same.
	CommandLine string `json:"command_line,omitempty" doc:"the command that does the same"`
}

// Move is hosts that go from one version back to another.
type Move struct {
	From  sluice.Installed `json:"from"`
	To    sluice.Installed `json:"to"`
	Hosts []sluice.Host    `json:"hosts"`
}

// LaterJob is what has changed hosts after a deploy.
type LaterJob struct {
	Job   sluice.JobID  `json:"job" doc:"that changed them, or came across it"`
	Why   string        `json:"why" doc:"what has changed them"`
	Hosts []sluice.Host `json:"hosts"`
}
