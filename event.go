package sluice

import (
	"encoding/base64"
	"time"
	"unicode/utf8"
)

// EventVersion is the version of the events' form. A reader keeps events and fields that it does not know.
const EventVersion = 1

// Event is something that happened. Its body says what; bodies are values and never changed.
type Event struct {
	Seq  uint64    // place in the log of the namespace, from 1; 0 before it is appended
	Time time.Time // for people; no rule relies on it, but for pauses, time limits and, within one term, halts that come late
	Job  JobID     // "" for events of the namespace
	Body Body
}

// Body is what an event says. The types below are all there are.
type Body interface {
	// Type is the name of the event, such as "task.started".
	Type() string
}

// Rule names the rule that keeps a job or host from going on.
type Rule string

const (
	RuleConstraint  Rule = "constraint"  // no capacity is left
	RuleSequence    Rule = "sequence"    // an earlier stage is not done
	RuleGate        Rule = "gate"        // a pause or an approval
	RuleBudget      Rule = "budget"      // more failures than the job may have
	RuleOperator    Rule = "operator"    // somebody halted the job
	RuleHost        Rule = "host"        // another task runs on the host, or its outcome is not known
	RuleHeld        Rule = "held"        // an operator holds the host, or it is retired
	RuleConcurrency Rule = "concurrency" // the job's own limit of attempts at once
	RuleOrder       Rule = "order"       // an earlier job goes first
	RuleAuth        Rule = "auth"        // logins were refused
	RuleJobTimeout  Rule = "job_timeout" // the job took too long
	RuleHalted      Rule = "halted"      // the job is halted
	RuleRights      Rule = "rights"      // who submitted the job has no right to it any more
	RuleWorker      Rule = "worker"      // no worker has room for the attempt, or none is connected
	RuleSecrets     Rule = "secrets"     // its secrets are gone, or are not for the job as it is
	RuleLock        Rule = "lock"        // an earlier job has the lock that this one wants
)

// RulesApplied says that from here on these rules are in force in the namespace.
type RulesApplied struct {
	Rules Rules
	By    string
}

// FleetApplied says that from here on this is the fleet of the namespace. Who asks for the fleet of a server gets it.
type FleetApplied struct {
	Version int    `json:"version"` // 1, 2, ... in the namespace
	Bundle  string `json:"bundle"`  // digest of the blob that holds all that the fleet was loaded from
	Rules   string `json:"rules"`   // digest of its rules
	Hosts   int    `json:"hosts"`   // how many it has
	By      string `json:"by"`
	Note    string `json:"note,omitzero"` // what has changed, in the words of who applied it
}

// JobSubmitted begins a job.
type JobSubmitted struct{ Submitted Job }

// JobStarted says that a process took the job up.
type JobStarted struct {
	Driver string `json:"driver,omitzero"` // who carries it out, such as "ann@laptop pid 4711"
}

// StageOpened says that the hosts of a stage may start.
type StageOpened struct {
	Track string `json:"track"`
	Stage string `json:"stage"`
	Index int    `json:"index"` // of the stage in its track, from 0
}

// GateKind is what a gate waits for.
type GateKind string

const (
	GatePause    GateKind = "pause"
	GateApproval GateKind = "approval"
)

// GateWaiting says that a stage is done and what the next one waits for.
type GateWaiting struct {
	Track string    `json:"track"`
	Stage string    `json:"stage"`
	Index int       `json:"index"`
	Kind  GateKind  `json:"kind"`
	Until time.Time `json:"until,omitzero"` // end of a pause
}

// GatePassed says that a gate lets the track go on.
type GatePassed struct {
	Track string   `json:"track"`
	Stage string   `json:"stage"`
	Index int      `json:"index"`
	Kind  GateKind `json:"kind"`
	By    string   `json:"by,omitzero"` // who approved
	// Plan is the digest of the job that was approved.
	Plan string `json:"plan,omitzero"`
	// Signed is the approval as its maker signed it, for workers that believe nobody else; see package sealed.
	Signed []byte `json:"signed,omitzero"`
}

// TaskStarted allows one attempt on a host. It is in the log before anything happens on the host.
type TaskStarted struct {
	Host    Host      `json:"host"`
	Attempt AttemptID `json:"attempt"`
	Track   string    `json:"track"`
	Stage   string    `json:"stage"`
}

// TaskStep says that one step of an attempt ended.
type TaskStep struct {
	Host       Host      `json:"host"`
	Attempt    AttemptID `json:"attempt"`
	Step       string    `json:"step"` // "pre/NAME", "command", "post/NAME"; of a deploy its own, such as "unpack"
	ExitCode   int       `json:"exit_code"`
	DurationMS int64     `json:"duration_ms"`
}

// BalancerChanged says how a server stands in a pool of a balancer after it was to be taken out or put back, as the balancer
// showed it. In a deploy it is an event of the job, about a host; what somebody did by hand is one of the namespace.
type BalancerChanged struct {
	Host     Host      `json:"host,omitzero"`
	Attempt  AttemptID `json:"attempt,omitzero"`
	Balancer string    `json:"balancer"`
	Pool     string    `json:"pool"`
	Server   string    `json:"server"`
	// Wanted is [ServerUp], [ServerDraining] or [ServerMaintenance].
	Wanted ServerState `json:"wanted"`
	// Before is how it was; "" where nobody saw that.
	Before ServerState `json:"before,omitzero"`
	// State is how it is, read back; "" where nothing was done, [ServerUnknown] where it cannot be read.
	State ServerState `json:"state,omitzero"`
	// Cut is how many requests were in flight when their time was over; -1 where nobody knows.
	Cut      int   `json:"cut,omitzero"`
	WaitedMS int64 `json:"waited_ms"`
	// Error is why it is not as it was wanted; "" if it is.
	Error string `json:"error,omitzero"`
	By    string `json:"by,omitzero"` // whose hand it was
}

// BalancerAsked says that somebody has servers taken out of balancers or put back by hand. It is in the log before anything is
// done; what came of it are events of the type [BalancerChanged].
type BalancerAsked struct {
	Wanted ServerState    `json:"wanted"`
	Seats  []BalancerSeat `json:"seats"`
	Reason string         `json:"reason"`
	By     string         `json:"by"`
}

// BalancerSeat is a server in a pool of a balancer.
type BalancerSeat struct {
	Balancer string `json:"balancer"`
	Pool     string `json:"pool"`
	Server   string `json:"server"`
}

// TaskFinished says how an attempt ended. After the outcome unknown it may come once more for the same
// attempt, with the true one.
type TaskFinished struct {
	Host       Host      `json:"host"`
	Attempt    AttemptID `json:"attempt,omitzero"` // "" where no attempt was made
	Outcome    Outcome   `json:"outcome"`
	ExitCode   *int      `json:"exit_code,omitzero"` // nil where no exit status is known
	DurationMS int64     `json:"duration_ms"`
	Reason     string    `json:"reason,omitzero"`
	// NotStarted says that it is proved that nothing ran on the host.
	NotStarted bool `json:"not_started,omitzero"`
	// Refused says that a login or sudo refused the password.
	Refused bool `json:"refused,omitzero"`
	// Truncated names the streams of which only the first part was kept.
	Truncated []string `json:"truncated,omitzero"`
	// Leftovers are the ids of processes that outlived a kill.
	Leftovers []int  `json:"leftovers,omitzero"`
	By        string `json:"by,omitzero"` // who skipped it
	// Release is which version the host has live now, as it said itself; nil for other jobs, and where that is not known.
	Release *Activation `json:"release,omitzero"`
}

// TaskWithdrawn says that an attempt ended and that it is proved that nothing was started on the host: the password
// had been refused by other hosts and was not tried on this one. The task waits again, and its job halts.
type TaskWithdrawn struct {
	Host    Host      `json:"host"`
	Attempt AttemptID `json:"attempt"`
	Reason  string    `json:"reason"`
}

// TaskRetried says that tasks which have an outcome are to be tried again.
type TaskRetried struct {
	Hosts []Host `json:"hosts"`
	By    string `json:"by"`
}

// JobHalting says that nothing new may start; running attempts end by themselves.
type JobHalting struct {
	Rule   Rule   `json:"rule"`
	Reason string `json:"reason"`
	By     string `json:"by,omitzero"`
	// Kill ends running attempts, too (job time limit).
	Kill bool `json:"kill,omitzero"`
	// Request is the [KeptHalt] that it comes of; "": of none.
	Request string `json:"request,omitzero"`
}

// JobHalted says that nothing of the job runs and nothing may start until somebody resumes it.
type JobHalted struct {
	Reason     string `json:"reason"`
	Rule       Rule   `json:"rule"`
	Constraint string `json:"constraint,omitzero"` // as the tag is written, such as "$app"
	Group      string `json:"group,omitzero"`      // such as "$app.web"
	Holders    []Host `json:"holders,omitzero"`
	Generation int    `json:"generation"` // grows with every halt and resume
}

// JobResumed opens a halted or finished job again.
type JobResumed struct {
	By         string `json:"by"`
	Generation int    `json:"generation"`
	// MaxFailures is the new budget; nil leaves it as it is.
	MaxFailures *Amount `json:"max_failures,omitzero"`
}

// JobCancelling says that nothing new may start and that running attempts are to be killed.
type JobCancelling struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitzero"`
}

// JobFinished ends a job. Outcome is succeeded, failed or cancelled; Counts are the targets by outcome.
type JobFinished struct {
	Outcome Outcome         `json:"outcome"`
	Counts  map[Outcome]int `json:"counts"`
	// Undo is the job that brings its hosts back, or those of the deploy that it validated, submitted in the same step; "" for none.
	Undo JobID `json:"undo,omitzero"`
	// Validation is the job that validates what it deployed, submitted in the same step; "" for none.
	Validation JobID `json:"validation,omitzero"`
	// Reason says why it ended before it started anything, without anybody's doing; "" where it did not.
	Reason string `json:"reason,omitzero"`
}

// HostHeld says that an operator takes a host out of service.
type HostHeld struct {
	Host   Host   `json:"host"`
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// HostReleased says that an operator puts a host back into service, whatever its last outcome was.
type HostReleased struct {
	Host   Host   `json:"host"`
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// HostRetired says that a host is no target, no member and no holder any more.
type HostRetired struct {
	Host   Host   `json:"host"`
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// HostReturned undoes HostRetired.
type HostReturned struct {
	Host   Host   `json:"host"`
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// TaskOutput is a piece of what an attempt printed. It is not in the log: its event carries the last seq.
type TaskOutput struct {
	Host    Host      `json:"host"`
	Attempt AttemptID `json:"attempt"`
	Stream  string    `json:"stream"` // "stdout" or "stderr"
	Offset  int64     `json:"offset"` // of the first byte in the stream
	Data    string    `json:"data"`
	// Encoding is "base64" where the bytes are not UTF-8.
	Encoding string `json:"encoding,omitzero"`
}

// NewTaskOutput wraps bytes for the stream of events.
func NewTaskOutput(h Host, a AttemptID, stream string, offset int64, data []byte) TaskOutput {
	o := TaskOutput{Host: h, Attempt: a, Stream: stream, Offset: offset}
	if utf8.Valid(data) {
		o.Data = string(data)
	} else {
		o.Data, o.Encoding = base64.StdEncoding.EncodeToString(data), "base64"
	}
	return o
}

// Content is the bytes that were printed.
func (o TaskOutput) Content() []byte {
	if o.Encoding == "base64" {
		if data, err := base64.StdEncoding.DecodeString(o.Data); err == nil {
			return data
		}
	}
	return []byte(o.Data)
}

// UnknownBody is an event of a type that this version does not know, kept as it is.
type UnknownBody struct {
	TypeName string
	Raw      []byte // the whole event as JSON
}

func (RulesApplied) Type() string    { return "rules.applied" }
func (FleetApplied) Type() string    { return "fleet.applied" }
func (JobSubmitted) Type() string    { return "job.submitted" }
func (JobStarted) Type() string      { return "job.started" }
func (StageOpened) Type() string     { return "stage.opened" }
func (GateWaiting) Type() string     { return "gate.waiting" }
func (GatePassed) Type() string      { return "gate.passed" }
func (TaskStarted) Type() string     { return "task.started" }
func (TaskStep) Type() string        { return "task.step" }
func (BalancerChanged) Type() string { return "balancer.changed" }
func (BalancerAsked) Type() string   { return "balancer.asked" }
func (TaskFinished) Type() string    { return "task.finished" }
func (TaskRetried) Type() string     { return "task.retried" }
func (TaskWithdrawn) Type() string   { return "task.withdrawn" }
func (TaskOutput) Type() string      { return "task.output" }
func (JobHalting) Type() string      { return "job.halting" }
func (JobHalted) Type() string       { return "job.halted" }
func (JobResumed) Type() string      { return "job.resumed" }
func (JobCancelling) Type() string   { return "job.cancelling" }
func (JobFinished) Type() string     { return "job.finished" }
func (HostHeld) Type() string        { return "host.held" }
func (HostReleased) Type() string    { return "host.released" }
func (HostRetired) Type() string     { return "host.retired" }
func (HostReturned) Type() string    { return "host.returned" }
func (b UnknownBody) Type() string   { return b.TypeName }
