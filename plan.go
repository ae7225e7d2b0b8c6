package sluice

// Plan is what a job will do: tracks of stages of hosts, and the constraints that they are under.
type Plan struct {
	Tracks      []Track
	Constraints []Constraint // those with a target in them; groups without a target are left out
}

// Unconstrained is the track of the hosts that no sequence names.
const Unconstrained = "unconstrained"

// BeforeStart is the name of the stage that a track begins with where a job waits for an approval before it starts
// anything: it has no hosts, only a gate.
const BeforeStart = "start"

// OnceStage is the name of the stage that a deploy begins with that has steps which run once: the host that runs them, in every track.
const OnceStage = "once"

// AfterStage is the name of the stage that a deploy ends with that has steps which run once after all other hosts: the host that runs
// them, in every track. A deploy to one host that runs both has it in [OnceStage] alone.
const AfterStage = "after"

// Track is an ordered list of stages. Tracks run independently side by side.
type Track struct {
	Name   string  `json:"name"`
	Stages []Stage `json:"stages"`
}

// Stage is a set of hosts that may go at the same time. The next one opens when all of them have succeeded or
// were skipped, but for as many as the gate lets fail.
type Stage struct {
	Name string `json:"name"`
	// Entry is the number of the sequence entry in the track, from 0; the steps of a ramp share it.
	Entry int    `json:"entry"`
	Hosts []Host `json:"hosts"`
	// MaxFailures of the hosts of this entry, up to and including this stage, may have failed when the next
	// stage opens.
	MaxFailures int `json:"max_failures,omitzero"`
	// Gate holds pause and approval that apply after the stage; it is set on the last stage of an entry.
	Gate Gate `json:"gate,omitzero"`
}
