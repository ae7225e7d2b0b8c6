package api

import "sluice"

// JobPage is a page of a list of jobs.
type JobPage struct {
	Jobs []Job  `json:"jobs" doc:"newest first"`
	Next string `json:"next,omitempty" doc:"the cursor of the next page; there is none after the last"`
	// Unreadable are namespaces whose jobs are not in the list, since they cannot be read now.
	Unreadable []sluice.Namespace `json:"unreadable,omitempty" doc:"namespaces that cannot be read now: their jobs are missing"`
}

// JobChanges are jobs of a list that changed.
type JobChanges struct {
	Jobs []Job          `json:"jobs" doc:"jobs that are new or changed, as they are now"`
	Gone []sluice.JobID `json:"gone,omitempty" doc:"jobs that do not fit any more"`
}

// Found is what a search has found.
type Found struct {
	Jobs  []Job       `json:"jobs" doc:"newest first"`
	Hosts []FoundHost `json:"hosts"`
	Users []string    `json:"users" doc:"who submitted jobs"`
}

// FoundHost is a host of a namespace.
type FoundHost struct {
	Namespace sluice.Namespace `json:"namespace"`
	Host      sluice.Host      `json:"host"`
}
