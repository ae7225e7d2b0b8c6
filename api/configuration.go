package api

import "sluice"

// Configuration is what a release configures a host with, key by key. Sealed values are not opened.
type Configuration struct {
	Job       sluice.JobID     `json:"job"`
	Namespace sluice.Namespace `json:"namespace"`
	App       string           `json:"app"`
	Env       string           `json:"env"`
	Version   string           `json:"version" doc:"that it goes with"`
	Digest    string           `json:"digest" doc:"of the configurations of all hosts of the release"`
	Host      sluice.Host      `json:"host" doc:"whose it is"`
	Own       []sluice.Host    `json:"own,omitempty" doc:"hosts with a configuration of their own; all others have the same one"`
	Keys      []ConfiguredKey  `json:"keys" doc:"sorted"`
	// Provenance says whether it is known what layers said.
	Provenance bool `json:"provenance" doc:"whether it was kept what each layer said"`
}

// ConfiguredKey is a key that has a value, in the words of 'sluice config'.
type ConfiguredKey struct {
	Key    string      `json:"key" doc:"keys with dots between them, and quotes where one has a dot in it"`
	Value  string      `json:"value" doc:"JSON, with marks in the words of YAML layers; of a sealed value how it is sealed"`
	Sealed bool        `json:"sealed,omitempty" doc:"only who carries the job out can open it"`
	Said   []LayerSaid `json:"said,omitempty" doc:"what layers said about it, in their order"`
}

// LayerSaid is what a layer said about a key.
type LayerSaid struct {
	At     string `json:"at" doc:"file, line and column"`
	Value  string `json:"value"`
	Counts bool   `json:"counts,omitempty" doc:"it is the value, or in it"`
}
