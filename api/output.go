package api

import (
	"time"

	"sluice"
)

// Failure is hosts on which a job failed in the same way.
type Failure struct {
	ID      string         `json:"id" doc:"the same as long as it is the same failure"`
	Outcome sluice.Outcome `json:"outcome"`
	Step    string         `json:"step,omitempty" doc:"what of the attempt failed: contact, start, command, pre/NAME or post/NAME; none where nobody knows"`
	Exit    *int           `json:"exit_code,omitempty"`
	Signal  string         `json:"signal,omitempty" doc:"such as KILL"`
	Reason  string         `json:"reason,omitempty" doc:"HOST and ADDRESS stand in it for what is each host's own"`
	Stderr  []string       `json:"stderr,omitempty" doc:"the last lines, of the host that ended last, made safe to show"`
	Stdout  []string       `json:"stdout,omitempty" doc:"the same, where there is nothing on stderr"`
	Hosts   int            `json:"hosts" doc:"how many"`
	Named   []sluice.Host  `json:"named" doc:"the first of them, those that ended last first"`
	First   time.Time      `json:"first" doc:"when the first of them ended"`
	Last    time.Time      `json:"last"`
	Attempt int            `json:"attempt,omitempty" doc:"of the host that ended last: number of its attempt"`
}

// Alike is hosts whose last attempt printed the same.
type Alike struct {
	Digest   string                 `json:"digest" doc:"name of the text, in this job"`
	Hosts    int                    `json:"hosts" doc:"how many"`
	Named    []sluice.Host          `json:"named" doc:"the first of them, in the order of the job"`
	Outcomes map[sluice.Outcome]int `json:"outcomes" doc:"how the attempts ended"`
	Size     int64                  `json:"size" doc:"bytes of the text"`
	Begins   []string               `json:"begins" doc:"its first lines, made safe to show"`
	More     bool                   `json:"more,omitempty" doc:"there are more lines"`
	Cut      bool                   `json:"cut,omitempty" doc:"only the first part of what was printed was kept"`
	Part     bool                   `json:"part,omitempty" doc:"the text is long: its first part and its length were compared"`
}

// Run is lines of two texts that differ, with some around them.
type Run struct {
	Lines []RunLine `json:"lines"`
}

// RunLine is a line of either text.
type RunLine struct {
	Kind string `json:"kind" enum:"same,gone,new"`
	Text string `json:"text" doc:"made safe to show"`
	Was  int    `json:"was,omitempty" doc:"its number in the first text"`
	Now  int    `json:"now,omitempty" doc:"its number in the second text"`
}

// HostTask is one job on one host.
type HostTask struct {
	Job       sluice.JobID     `json:"job"`
	Namespace sluice.Namespace `json:"namespace"`
	Command   string           `json:"command"`
	Host      sluice.Host      `json:"host"`
	State     string           `json:"state" doc:"waiting, running, or the outcome"`
	Track     string           `json:"track,omitempty"`
	Stage     string           `json:"stage,omitempty"`
	Attempts  []Attempt        `json:"attempts" doc:"oldest first"`
	Removed   string           `json:"removed,omitempty" doc:"why what it printed is not kept any more"`
}

// Attempt is one try on a host.
type Attempt struct {
	ID         sluice.AttemptID `json:"id"`
	Number     int              `json:"number" doc:"from 1"`
	Began      time.Time        `json:"began"`
	Ended      *time.Time       `json:"ended,omitempty"`
	Running    bool             `json:"running,omitempty"`
	Outcome    sluice.Outcome   `json:"outcome,omitempty" doc:"none while it runs, and where it was withdrawn"`
	Exit       *int             `json:"exit_code,omitempty"`
	DurationMS int64            `json:"duration_ms"`
	Reason     string           `json:"reason,omitempty"`
	Steps      []Step           `json:"steps,omitempty"`
	Balancers  []Balanced       `json:"balancers,omitempty" doc:"what was done for the host at its balancers"`
	NotStarted bool             `json:"not_started,omitempty"`
	Truncated  []string         `json:"truncated,omitempty" doc:"streams of which only the first part was kept"`
	Leftovers  []int            `json:"leftovers,omitempty" doc:"processes that outlived a kill"`
	Stdout     int64            `json:"stdout" doc:"bytes kept"`
	Stderr     int64            `json:"stderr" doc:"bytes kept"`
}

// Step is a step of an attempt.
type Step struct {
	Name       string `json:"name"`
	Exit       int    `json:"exit_code"`
	DurationMS int64  `json:"duration_ms"`
}

// Balanced is what was done for a host at one of its balancers.
type Balanced struct {
	Balancer string             `json:"balancer"`
	Pool     string             `json:"pool"`
	Server   string             `json:"server"`
	Wanted   sluice.ServerState `json:"wanted" doc:"up, draining or maintenance"`
	State    sluice.ServerState `json:"state,omitempty" doc:"how it was read back"`
	Cut      int                `json:"cut,omitempty" doc:"requests that were cut; -1: not known"`
	WaitedMS int64              `json:"waited_ms"`
	Error    string             `json:"error,omitempty" doc:"why it is not as it was wanted"`
	Text     string             `json:"text" doc:"all of it, for people"`
}

// Lines says where the lines of an output are.
type Lines struct {
	Size   int64   `json:"size" doc:"bytes"`
	Lines  int64   `json:"lines" doc:"that have ended"`
	Every  int64   `json:"every" doc:"bytes between two places"`
	Before []int64 `json:"before" doc:"how many lines end before byte every*i"`
}

// FoundText is what was found in an output.
type FoundText struct {
	Places []FoundPlace `json:"places"`
	Size   int64        `json:"size" doc:"bytes of the output"`
	Next   int64        `json:"next,omitempty" doc:"where to go on; none at the end"`
}

// FoundPlace is where something was found.
type FoundPlace struct {
	Offset int64  `json:"offset" doc:"of its first byte"`
	Line   int64  `json:"line" doc:"from 1"`
	Before string `json:"before" doc:"what is before it on its line, made safe to show, as far as it is short"`
	Text   string `json:"text"`
	After  string `json:"after"`
}

// Host is one host of a namespace.
type Host struct {
	Namespace sluice.Namespace `json:"namespace"`
	Host      sluice.Host      `json:"host"`
	InFleet   bool             `json:"in_fleet" doc:"the fleet of the namespace has it now"`
	Tags      []sluice.Tag     `json:"tags,omitempty" doc:"for those who may see the fleet"`
	Address   string           `json:"address,omitempty" doc:"as the fleet says, for those who may see it"`
	Port      int              `json:"port,omitempty"`
	User      string           `json:"user,omitempty"`
	Pool      string           `json:"pool,omitempty"`
	NoFleet   string           `json:"no_fleet,omitempty" doc:"why what the fleet says is not shown"`
	Out       *HostOut         `json:"out,omitempty" doc:"why it is out of service or retired, or what runs on it; none: neither"`
	Limits    []HostLimit      `json:"limits" doc:"the constraints in force that bind it"`
	Jobs      []HostJob        `json:"jobs" doc:"newest first"`
	Next      sluice.JobID     `json:"next,omitempty" doc:"the cursor of the next page of jobs; there is none after the last"`
}

// HostLimit is a constraint that binds a host.
type HostLimit struct {
	Constraint string   `json:"constraint"`
	Group      string   `json:"group"`
	Limit      string   `json:"limit"`
	Capacity   int      `json:"capacity" doc:"how many of its hosts may be out"`
	Members    int      `json:"members"`
	Running    int      `json:"running"`
	Out        int      `json:"out"`
	Holders    []Holder `json:"holders" doc:"some of those that are out"`
}

// HostJob is a job that a host was a target of.
type HostJob struct {
	Job       sluice.JobID `json:"job"`
	Command   string       `json:"command"`
	By        string       `json:"by"`
	Submitted time.Time    `json:"submitted"`
	ReadOnly  bool         `json:"read_only,omitempty"`
	JobState  string       `json:"job_state"`
	State     string       `json:"state" doc:"on this host: waiting, running, or the outcome"`
	Attempts  int          `json:"attempts" doc:"how many there were"`
}
