package api

import "sluice"

// Rehearse asks how a job would go.
type Rehearse struct {
	Submit
	Rehearsal Pretence `json:"rehearsal,omitempty" doc:"how the simulated hosts behave"`
}

// Pretence says how simulated hosts behave: a share of them, drawn by the seed, or those that are named.
type Pretence struct {
	Fail     string `json:"fail,omitempty" maxLength:"10000" doc:"hosts that fail: a share such as 10%, or an expression"`
	Hang     string `json:"hang,omitempty" maxLength:"10000" doc:"hosts that hang"`
	Lose     string `json:"lose,omitempty" maxLength:"10000" doc:"hosts whose link is lost for good"`
	Seed     uint64 `json:"seed,omitempty" doc:"from which all chance is drawn; default: 1"`
	Duration string `json:"duration,omitempty" maxLength:"40" doc:"that a host takes; default: 30s"`
	Jitter   string `json:"jitter,omitempty" maxLength:"20" doc:"each host takes up to this share more or less"`
	Fresh    bool   `json:"fresh,omitempty" doc:"as if nothing were out of service; otherwise what is out now takes up room from the beginning"`
}

// Rehearsal is how a job would go.
type Rehearsal struct {
	End        string                 `json:"end" doc:"how it ends, in words"`
	State      string                 `json:"state" enum:"succeeded,failed,halted,cancelled,unfinished" doc:"how it ends"`
	Seconds    float64                `json:"seconds" doc:"how long it takes"`
	Targets    int                    `json:"targets"`
	Counts     map[sluice.Outcome]int `json:"counts" doc:"hosts by outcome"`
	NotStarted int                    `json:"not_started" doc:"hosts that never start"`
	Halted     *Halted                `json:"halted,omitempty" doc:"why it halts"`
	Holding    Some                   `json:"holding,omitzero" doc:"the hosts that are in the way where it halts"`
	Most       int                    `json:"most" doc:"the most hosts of the fleet that are out of service at once"`
	OutBefore  Some                   `json:"out_before,omitzero" doc:"hosts that are out of service before it starts"`
	Stages     []RehearsedStage       `json:"stages" doc:"in the order in which they open; those that stay closed are not there"`
	Peaks      []Peak                 `json:"peaks" doc:"the most hosts of each tag that are out at once"`
	MorePeaks  int                    `json:"more_peaks,omitempty" doc:"how many tags are left out"`
	Points     []RehearsalPoint       `json:"points" doc:"how it stands over time"`
}

// RehearsedStage is how a stage goes.
type RehearsedStage struct {
	Track    string                 `json:"track"`
	Stage    string                 `json:"stage"`
	Hosts    int                    `json:"hosts" doc:"that start"`
	AtOnce   int                    `json:"at_once" doc:"the most attempts at once"`
	From     float64                `json:"from" doc:"seconds after the start"`
	To       float64                `json:"to" doc:"seconds after the start"`
	Outcomes map[sluice.Outcome]int `json:"outcomes"`
}

// Peak is the largest number of a tag's hosts that are out of service at once.
type Peak struct {
	Tag     sluice.Tag `json:"tag"`
	Members int        `json:"members"`
	Out     int        `json:"out"`
}

// RehearsalPoint is how a rehearsal stands at a time.
type RehearsalPoint struct {
	At      float64 `json:"at" doc:"seconds after the start"`
	Running int     `json:"running" doc:"attempts"`
	Out     int     `json:"out" doc:"hosts of the fleet that are out of service"`
	Ended   int     `json:"ended" doc:"hosts with an outcome"`
	Failed  int     `json:"failed" doc:"those of them that did not succeed"`
}

// Asked is what was asked for when a job was submitted.
type Asked struct {
	Submit
	CommandLine string `json:"command_line,omitempty" doc:"the command that asks for it again"`
	Curl        string `json:"curl,omitempty" doc:"the call by curl that asks for it again"`
}
