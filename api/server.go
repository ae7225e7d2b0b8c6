package api

import "time"

// Server is the one that answers.
type Server struct {
	Version string    `json:"version"`
	Since   time.Time `json:"since" doc:"since when it runs"`
	Ready   bool      `json:"ready" doc:"it takes jobs"`
	Cluster bool      `json:"cluster,omitempty" doc:"it is one of a cluster; see the route servers"`
	Why     string    `json:"why,omitempty" doc:"why it takes none: its log cannot be written, or cannot be trusted any more"`
}
