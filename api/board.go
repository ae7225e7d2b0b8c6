package api

import (
	"time"

	"sluice"
)

// JobStanding is where a job stands at one number of the log.
type JobStanding struct {
	Seq  uint64    `json:"seq" doc:"the last event of the log that is in it"`
	Time time.Time `json:"time" doc:"by the server's clock"`
	Job  Job       `json:"job"`
	// Constraints are those that the job must find room in.
	Constraints []Room `json:"constraints" doc:"what the job must find room in: a group of hosts each. None of a job that is over or takes no room"`
	Waits       []Wait `json:"waits" doc:"what hosts of the job wait for, in the order of the first of them"`
}

// Room is a group of hosts of which only so many may be out of service at once.
type Room struct {
	Constraint string `json:"constraint" doc:"as its tag is written, such as $colo; max-parallel is the job's own limit"`
	Group      string `json:"group" doc:"such as $colo.north"`
	Limit      string `json:"limit" doc:"as it is written, such as 2 or 10%"`
	Frozen     bool   `json:"frozen,omitempty" doc:"of the rules that the job was submitted under, which are not in force any more and bind it all the same"`
	Capacity   int    `json:"capacity" doc:"how many of its hosts may be out of service at once"`
	Members    int    `json:"members" doc:"its hosts, targets of the job or not"`
	Running    int    `json:"running" doc:"on which an attempt runs, or its outcome is not known"`
	Out        int    `json:"out" doc:"on which an attempt runs, or that are out of service"`
	Targets    []int  `json:"targets,omitempty" doc:"targets of the job that are in it, as runs: first number, how many; first number, how many. On the board alone"`
	// Holders are not all where there are many.
	Holders []Holder `json:"holders" doc:"hosts that are out: first those that stay so, then those on which something runs; 20 at most"`
}

// Board is a job as a page shows it. What is said of its hosts is in columns, in the order of its targets.
type Board struct {
	JobStanding
	Expression string       `json:"expression,omitempty" doc:"what the user wrote to say which hosts"`
	Action     string       `json:"action" doc:"command, script, copy, fetch, deploy or rollback"`
	ReadOnly   bool         `json:"read_only,omitempty" doc:"takes no room, and leaves no host out of service"`
	Started    *time.Time   `json:"started,omitempty" doc:"when somebody took it up"`
	Ended      *time.Time   `json:"ended,omitempty" doc:"when it was finished or halted"`
	Stages     []BoardStage `json:"stages" doc:"in the order of the plan"`
	States     []string     `json:"states" doc:"what the numbers in the column state mean"`
	Hosts      BoardHosts   `json:"hosts"`
	Tags       []BoardTag   `json:"tags" doc:"tags of the fleet with a target that carries them, for those who may see the fleet"`
	TagsLeft   int          `json:"tags_left,omitempty" doc:"how many tags were left out, since there are too many"`
	Timeline   Timeline     `json:"timeline" doc:"of all its hosts"`
}

// BoardStage is one stage of a track.
type BoardStage struct {
	Track       string     `json:"track"`
	Stage       string     `json:"stage"`
	Index       int        `json:"index" doc:"in its track, from 0"`
	Hosts       int        `json:"hosts"`
	Opened      *time.Time `json:"opened,omitempty"`
	MaxFailures int        `json:"max_failures,omitempty" doc:"how many of its hosts may have failed when the next one opens"`
	Pause       string     `json:"pause,omitempty" doc:"what is waited after it, such as 10m0s"`
	Approve     bool       `json:"approve,omitempty" doc:"somebody has to approve what follows"`
}

// BoardHosts are columns with one entry for each target of a job; but those of odd, which are for some.
type BoardHosts struct {
	Names   []sluice.Host `json:"names"`
	Stage   []int         `json:"stage" doc:"number in stages: the first that it stands in"`
	State   []int         `json:"state" doc:"number in states"`
	Attempt []int         `json:"attempt" doc:"how many attempts there were"`
	Since   []int64       `json:"since" doc:"milliseconds after the submission: when the attempt began that runs, or when the outcome came; -1: neither"`
	Took    []int64       `json:"took" doc:"milliseconds that the last attempt took; 0 while it runs"`
	Odd     OddHosts      `json:"odd"`
}

// OddHosts are columns about hosts on which something runs, or whose outcome is not a good one.
type OddHosts struct {
	Host []int    `json:"host" doc:"number of the target"`
	Exit []int    `json:"exit" doc:"exit status; -1: none is known"`
	Step []string `json:"step" doc:"the last step that ended: pre/NAME, command or post/NAME; empty: none did"`
}

// BoardTag is a tag and the targets that carry it.
type BoardTag struct {
	Tag   sluice.Tag `json:"tag"`
	Hosts []int      `json:"hosts" doc:"targets, as runs: first number, how many; first number, how many"`
}

// Timeline is how many hosts were in flight, out of service and done, in steps from the submission on.
type Timeline struct {
	Step     int64 `json:"step" doc:"milliseconds of a step"`
	InFlight []int `json:"in_flight" doc:"hosts on which an attempt ran: the most at once in each step"`
	Out      []int `json:"out" doc:"hosts on which an attempt ran, or that one left out of service: the most at once in each step"`
	Done     []int `json:"done" doc:"hosts with an outcome, at the end of each step"`
}
