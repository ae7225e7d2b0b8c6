package sluice

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// JobID names a job: 12 characters of the alphabet in [JobIDAlphabet], made at random by whoever submits it.
type JobID string

// JobIDAlphabet has no letters that are easily mistaken for others.
const JobIDAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// JobIDLength is the number of characters of a job id.
const JobIDLength = 12

// Valid reports whether the id has the form of a job id.
func (id JobID) Valid() bool {
	if len(id) != JobIDLength {
		return false
	}
	for i := range len(id) {
		if strings.IndexByte(JobIDAlphabet, id[i]) < 0 {
			return false
		}
	}
	return true
}

// AttemptID names one try of a task: JOB-HOST-TRY, where HOST is the index of the host in the job's targets
// and TRY counts from 1. Its charset is that of file names everywhere.
type AttemptID string

// NewAttemptID makes the id of try n (from 1) on the target with index host.
func NewAttemptID(job JobID, host, n int) AttemptID {
	return AttemptID(fmt.Sprintf("%s-%d-%d", job, host, n))
}

// Parse takes the id apart; ok is false if it is none.
func (id AttemptID) Parse() (job JobID, host, n int, ok bool) {
	parts := strings.Split(string(id), "-")
	if len(parts) != 3 || !JobID(parts[0]).Valid() {
		return "", 0, 0, false
	}
	host, err1 := strconv.Atoi(parts[1])
	n, err2 := strconv.Atoi(parts[2])
	job = JobID(parts[0])
	ok = err1 == nil && err2 == nil && host >= 0 && n >= 1 && NewAttemptID(job, host, n) == id
	return job, host, n, ok
}

// Job is one request to act on targets. It is frozen when it is submitted and carries all that is needed to
// carry it out, but for secrets.
type Job struct {
	ID        JobID     `json:"-"` // stands in the event's header
	Namespace Namespace `json:"namespace"`
	By        string    `json:"by"` // who submitted it, such as "ann@laptop"
	// Token is the one with which it was submitted to a server, "" where there was none. When it is revoked, nothing of the
	// job starts any more.
	Token TokenID `json:"token,omitzero"`
	// Fleet is the file that the job was made from, "" without one.
	Fleet string `json:"fleet,omitzero"`
	// Expression is what the user wrote to say which hosts.
	Expression string `json:"expression,omitzero"`
	// Command is what the job does, in one line for people: for commands the shell text itself.
	Command string  `json:"command"`
	Action  Action  `json:"action"`
	Options Options `json:"options"`
	// Targets are the hosts, each once, in fleet order.
	Targets []Host `json:"targets"`
	// Tracks are the plan: which of the targets go in which stage.
	Tracks []Track `json:"-"` // written by the event codec
	// Trace is the trace that it belongs to, as the header traceparent of W3C Trace Context says it; "" for none.
	Trace string `json:"trace,omitzero"`
	// Rules is the digest of the [Rules] that the plan was made under; they stand in the log before the job.
	Rules string `json:"rules"`
	// SSH settings of the targets; HostSSH those that differ.
	SSH     SSH            `json:"ssh,omitzero"`
	HostSSH map[Host]SSH   `json:"host_ssh,omitzero"`
	Target  TargetSettings `json:"target,omitzero"`
	// Approval says whose approval opens its gates.
	Approval Approval `json:"approval,omitzero"`
	// Reason is why it exists, where nobody asked for it; "": somebody did, or another job was the cause, which its action names.
	Reason string `json:"reason,omitzero"`
	// Look is what it was made from, where that was a look at what is live; nil: it holds whatever is live.
	Look *Look `json:"look,omitzero"`
}

// Look is a look at what is live in an environment, from which a job was made. Where something has changed there since, the job is not
// what was meant any more: it ends instead of starting.
type Look struct {
	// Until is the number of the last event that was looked at.
	Until uint64 `json:"until"`
	// Own are jobs that may do what they like, as whoever looked knows of them: the deploy that is taken back, and jobs that were made
	// from the same look.
	Own []JobID `json:"own,omitzero"`
	// Again is what to type to look again.
	Again string `json:"again,omitzero"`
}

// MaxAgain is the longest text that says what to type, in bytes.
const MaxAgain = 1000

// Lock is the name of what one job has at a time, such as "hello/production".
type Lock string

// MaxLock is the longest name of a lock, in bytes.
const MaxLock = 200

// Valid reports whether the name has the form of a lock's: letters, digits and . _ - / : @, and it begins with a letter or a digit.
func (l Lock) Valid() bool {
	if l == "" || len(l) > MaxLock {
		return false
	}
	for i := range len(l) {
		c := l[i]
		alone := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alone && (i == 0 || strings.IndexByte("._-/:@", c) < 0) {
			return false
		}
	}
	return true
}

// SSHFor returns the complete settings of a target.
func (j *Job) SSHFor(h Host) SSH {
	if s, ok := j.HostSSH[h]; ok {
		return s
	}
	return j.SSH
}

// For returns the job with what one host needs of it: no targets, no plan, and the settings of this host alone.
func (j *Job) For(h Host) *Job {
	one := *j
	one.SSH, one.HostSSH, one.Targets, one.Tracks, one.Action.Back = j.SSHFor(h), nil, nil, nil, nil
	if k, ok := j.Action.Back[h]; ok {
		one.Action.Back = map[Host]Installed{h: k}
	}
	return &one
}

// ActionKind says what a job does on a host.
type ActionKind string

const (
	RunCommand ActionKind = "command"
	RunScript  ActionKind = "script"
	CopyTo     ActionKind = "copy"
	FetchFrom  ActionKind = "fetch"
	DeployTo   ActionKind = "deploy"
	RollBack   ActionKind = "rollback"
)

// Action is what a job does on a host.
type Action struct {
	Kind ActionKind `json:"kind"`
	// Shell is the text that the target's sh runs (command).
	Shell string `json:"shell,omitzero"`
	// Script is the digest of the script in the blob store; Args are its arguments (script).
	Script string   `json:"script,omitzero"`
	Args   []string `json:"args,omitzero"`
	// Source and Dest are paths: local and remote for copy, remote and local for fetch. For copy, Source is a
	// digest in the blob store of the packed tree, and Size its bytes.
	Source string `json:"source,omitzero"`
	Dest   string `json:"dest,omitzero"`
	Size   int64  `json:"size,omitzero"`
	// Release is what a deploy makes live. For a rollback it says of which app, and how.
	Release *Release `json:"release,omitzero"`
	// Back is what each host goes back to (rollback), or must be able to go back to, so that it is there and stays (deploy).
	Back map[Host]Installed `json:"back,omitzero"`
	// Undoes is the deploy that ended badly, and that this rollback was made for without anybody asking. It has the place of that
	// job among those that want its lock.
	Undoes JobID `json:"undoes,omitzero"`
	// Validates is the release that a command validates, which was submitted without anybody asking when its deploy had succeeded; nil
	// for other jobs. It has the place of that deploy among those that want its lock.
	Validates *Validated `json:"validates,omitzero"`
}

// Validated is a release that a job validates.
type Validated struct {
	Job     JobID  `json:"job"` // that deployed it
	App     string `json:"app"`
	Env     string `json:"env"`
	Cluster string `json:"cluster,omitzero"`
	Version string `json:"version"`
	// OnFailure says what follows when it fails; "" only records it.
	OnFailure OnFailure `json:"on_failure,omitzero"`
}

// Follows is the deploy that a job was made for without anybody asking, and whose place it has among those that want the lock; "" for none.
func (a *Action) Follows() JobID {
	if a.Validates != nil {
		return a.Validates.Job
	}
	return a.Undoes
}

// Validation is what follows on a deploy by itself when it succeeds; nil for nothing.
func (a *Action) Validation() *Validate {
	if a.Kind != DeployTo || a.Release == nil || a.Release.Validating == nil {
		return nil
	}
	return a.Release.Deploy.Validate
}

// Once is the host that runs what a deploy runs once, before the others; "" where there is nothing of the kind.
func (a *Action) Once() Host {
	if a.Kind != DeployTo || a.Release == nil {
		return ""
	}
	return a.Release.Once
}

// After is the host that runs what a deploy runs once after all others; "" where there is nothing of the kind.
func (a *Action) After() Host {
	if a.Kind != DeployTo || a.Release == nil {
		return ""
	}
	return a.Release.After
}

// UndoneOnFailure reports whether it is a deploy after whose failure the hosts are to be brought back.
func (a *Action) UndoneOnFailure() bool {
	return a.Kind == DeployTo && a.Release != nil && a.Release.Deploy.OnFailure == FailureRollsBack
}

// Options say how a job is carried out.
type Options struct {
	// MaxFailures is the job's budget; nil: none.
	MaxFailures *Amount `json:"max_failures,omitzero"`
	// MaxParallel is one more constraint, over this job's targets; nil: none.
	MaxParallel *Amount `json:"max_parallel,omitzero"`
	// Concurrency is the highest number of attempts of this job at once; 0: no limit of its own.
	Concurrency int `json:"concurrency,omitzero"`
	// ReadOnly takes no lock and no capacity, makes no holder and clears none.
	ReadOnly bool `json:"read_only,omitzero"`
	// Timeout ends an attempt, JobTimeout all of them; 0: never.
	Timeout    time.Duration `json:"timeout,omitzero"`
	JobTimeout time.Duration `json:"job_timeout,omitzero"`
	// Reconnect is how long a lost link is tried again.
	Reconnect time.Duration `json:"reconnect,omitzero"`
	// TTY runs the command on a terminal.
	TTY bool `json:"tty,omitzero"`
	// Prompts are patterns of the command's own prompts that the password answers, once each.
	Prompts []string `json:"prompts,omitzero"`
	// Sudo is the user to become; "" stays who logs in.
	Sudo string `json:"sudo,omitzero"`
	// Env are variables for hooks and command.
	Env map[string]string `json:"env,omitzero"`
	// NoHooks runs none of the target's hooks.
	NoHooks bool `json:"no_hooks,omitzero"`
	// OutputLimit is the number of bytes kept of each stream of an attempt.
	OutputLimit int64 `json:"output_limit,omitzero"`
	// Asks says which secrets the job needs, so that who drives it on can ask for them.
	AskPassword     bool `json:"ask_password,omitzero"`
	AskSudoPassword bool `json:"ask_sudo_password,omitzero"`
	AskPassphrase   bool `json:"ask_passphrase,omitzero"`
	AskPrivateKey   bool `json:"ask_private_key,omitzero"`
	// Lock is a name that only one job of the namespace has at a time, from its submission to its end; "" for none. Jobs that
	// want it wait for those that were submitted before them.
	Lock Lock `json:"lock,omitzero"`
	// Supersede cancels the jobs that had the lock, or waited for it, when this one was submitted.
	Supersede bool `json:"supersede,omitzero"`
	// Signed says that the worker is to hold the job against what somebody sealed and signed, though it may have no secret.
	Signed bool `json:"signed,omitzero"`
}

// NeedsSecrets reports whether the job cannot be driven without what somebody sealed for it, be it a mere signature.
func (o *Options) NeedsSecrets() bool {
	return o.Signed || o.AskPassword || o.AskSudoPassword || o.AskPassphrase || o.AskPrivateKey
}

// CheckLock says what is wrong with lock and supersede, beginning with the name of the option.
func (o *Options) CheckLock() error {
	switch {
	case o.Lock != "" && !o.Lock.Valid():
		return fmt.Errorf("lock: %q is no name of letters, digits and . _ - / : @, of at most %d bytes", o.Lock, MaxLock)
	case o.Lock == "" && o.Supersede:
		return errors.New("supersede: it is of the job that has a lock, and there is no lock")
	}
	return nil
}

// Defaults of options.
const (
	DefaultReconnect   = 2 * time.Minute
	DefaultOutputLimit = 16 << 20
	DefaultConcurrency = 256
)
