package api

import (
	"sluice"
	"sluice/sealed"
)

// Sealing is what whoever seals the secrets of a job has to know.
type Sealing struct {
	// Job is the event job.submitted of the job as it is, or would be: what is sealed is bound to it.
	Job sluice.Event `json:"job" doc:"the event job.submitted of the job as it is, or would be"`
	// By is who asks, as workers are told who gives the secrets.
	By string `json:"by"`
	// Workers are those that are to carry the job out: one, so that no two try passwords at once.
	Workers []WorkerKey `json:"workers" doc:"those that are to carry it out: one, so that no two try passwords at once"`
}

// WorkerKey is a worker and its public key.
type WorkerKey struct {
	Name        string `json:"name"`
	Key         string `json:"key" doc:"X25519, in base64"`
	Fingerprint string `json:"fingerprint" doc:"SHA256:..., to compare with what the worker prints when it starts"`
}

// NewWorkerKey is the form of a worker's key.
func NewWorkerKey(name string, k sealed.Key) WorkerKey {
	return WorkerKey{Name: name, Key: k.String(), Fingerprint: k.Fingerprint()}
}

// Approving is what whoever signs an approval has to know.
type Approving struct {
	Job sluice.Event `json:"job" doc:"the event job.submitted of the job: what is signed is bound to it"`
	// By is who asks, as workers are told who approves.
	By     string `json:"by"`
	Passes []Pass `json:"passes" doc:"the gates that wait for approval"`
}

// Pass is a gate that an approval opens.
type Pass struct {
	Track string `json:"track"`
	Stage string `json:"stage"`
	Index int    `json:"index"`
}
