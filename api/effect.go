package api

import "sluice"

// Effect is what would follow at once from an act, if it were done now.
type Effect struct {
	Act string `json:"act" enum:"halt,cancel,resume,retry,skip,approve,settle,hold,release,retire,return"`
	// Says is for people; the rest says the same for programs.
	Says []string `json:"says" doc:"the effect in sentences, what matters most first"`
	// Refused is what the act would answer.
	Refused *Problem `json:"refused,omitempty" doc:"why it cannot be done; there is no effect then"`
	Seq     uint64   `json:"seq" doc:"number of the last event of the namespace that this goes by"`
	Seen    string   `json:"seen,omitempty" doc:"what the act rests on: given back with it, it is done only if that still is so"`
	Nothing bool     `json:"nothing,omitempty" doc:"what is wanted is so already"`

	Touches      int  `json:"touches" doc:"how many hosts the act is about or sets going"`
	ConfirmAbove int  `json:"confirm_above,omitempty" doc:"the number of hosts above which the fleet has people asked twice"`
	Confirm      bool `json:"confirm,omitempty" doc:"it touches more than that"`

	Starts Some   `json:"starts" doc:"start the job's command at once"`
	Waits  []Wait `json:"waits,omitempty" doc:"what its other hosts wait for then; of holders at most 20"`
	Kills  Some   `json:"kills" doc:"run, and are killed"`
	GoOn   Some   `json:"go_on" doc:"run, and go on to their own end, though nothing more starts"`
	Never  Some   `json:"never" doc:"will not start any more"`
	Asks   Some   `json:"asks" doc:"are asked for an outcome that is not known"`
	Again  Some   `json:"again" doc:"are to be tried again"`
	// Opens are names of stages.
	Opens []string `json:"opens,omitempty" doc:"stages that open"`

	State     string  `json:"state,omitempty" doc:"where the job stands then"`
	Running   int     `json:"running,omitempty" doc:"attempts that run then"`
	Unsettled int     `json:"unsettled,omitempty" doc:"hosts without an outcome then, or to be tried again"`
	Halted    *Halted `json:"halted,omitempty" doc:"the job is halted at once, and why"`

	Others []EffectOnJob `json:"others,omitempty" doc:"other jobs of which something starts, or that are halted or over at once"`
}

// EffectOnJob is what another job does at once.
type EffectOnJob struct {
	Job    sluice.JobID `json:"job,omitempty" doc:"none: you may not see it"`
	State  string       `json:"state,omitempty" doc:"where it stands then"`
	Starts Some         `json:"starts"`
}
