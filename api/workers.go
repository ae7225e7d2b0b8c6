package api

import (
	"time"

	"sluice"
)

// Worker is one that carries attempts out.
type Worker struct {
	Name  sluice.WorkerName `json:"worker"`
	Pools []sluice.Pool     `json:"pools"`
	// Health is connected, draining, lost, or invited where it has not enrolled yet.
	Health  string `json:"health" enum:"connected,draining,lost,invited"`
	Running int    `json:"running" doc:"attempts that it has"`
	Limit   int    `json:"limit" doc:"attempts that it takes at once"`
	Version string `json:"version,omitempty"`
	// Since is when it last came, Heard when it was last heard of.
	Since *time.Time `json:"since,omitempty"`
	Heard *time.Time `json:"heard,omitempty"`
	// Certificate is the end of its certificate.
	Certificate *time.Time `json:"certificate_expires,omitempty"`
	// SealKey is the public key, X25519, to which secrets for it are sealed.
	SealKey         []byte `json:"seal_key,omitempty"`
	SealFingerprint string `json:"seal_fingerprint,omitempty"`
}

// Invitation lets a worker enrol, once and soon.
type Invitation struct {
	Worker  sluice.WorkerName `json:"worker"`
	Token   string            `json:"token" doc:"a secret; it is shown this once"`
	Expires time.Time         `json:"expires"`
}
