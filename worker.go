package sluice

import (
	"fmt"
	"regexp"
	"time"
)

// WorkerName names a worker: 1 to 63 bytes of small letters, digits and '-', of which the first is a letter or digit.
// It stands in certificates, tokens and file names.
type WorkerName string

// Pool is a set of workers that reach the same hosts. Its name has the form of a worker's.
type Pool string

const (
	// DefaultPool is meant where none is named.
	DefaultPool Pool = "default"
	// EmbeddedWorker is the worker inside the server. No other can be named so.
	EmbeddedWorker WorkerName = "embedded"
)

var workerForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ParseWorkerName checks the name of a worker.
func ParseWorkerName(s string) (WorkerName, error) {
	if !workerForm.MatchString(s) || WorkerName(s) == EmbeddedWorker {
		return "", Errorf(Usage, "%q is no name of a worker: 1 to 63 small letters, digits and '-' are, but for %q", s, EmbeddedWorker)
	}
	return WorkerName(s), nil
}

// ValidPool reports whether a name may name a pool.
func ValidPool(s string) bool { return workerForm.MatchString(s) }

// OrDefault is the pool, or the default one where none is named.
func (p Pool) OrDefault() Pool {
	if p == "" {
		return DefaultPool
	}
	return p
}

// WorkerInvited lets a worker enrol under a name, once. Its pools are set with it.
type WorkerInvited struct {
	Worker WorkerName `json:"worker"`
	Pools  []Pool     `json:"pools"`
	// Digest is the SHA-256 of the token's secret, in small hexadecimal digits.
	Digest  string    `json:"digest"`
	Expires time.Time `json:"expires"`
	By      Principal `json:"by"`
}

// WorkerEnrolled uses an invitation up. Certificates that were made under the name before are not valid any more.
type WorkerEnrolled struct {
	Worker WorkerName `json:"worker"`
	// Serial is the number of the certificate, in hexadecimal digits.
	Serial  string    `json:"serial"`
	Expires time.Time `json:"expires"`
	// SealKey is the public key, X25519, that secrets for the worker are sealed to.
	SealKey []byte `json:"seal_key"`
	From    string `json:"from,omitzero"`
}

// WorkerRenewed makes a further certificate of a worker valid.
type WorkerRenewed struct {
	Worker  WorkerName `json:"worker"`
	Serial  string     `json:"serial"`
	Expires time.Time  `json:"expires"`
}

// WorkerDrained keeps new attempts from a worker. Off gives them to it again.
type WorkerDrained struct {
	Worker WorkerName `json:"worker"`
	Off    bool       `json:"off,omitzero"`
	By     Principal  `json:"by"`
}

// WorkerRemoved refuses a worker from now on.
type WorkerRemoved struct {
	Worker WorkerName `json:"worker"`
	By     Principal  `json:"by"`
}

func (WorkerInvited) Type() string  { return "worker.invited" }
func (WorkerEnrolled) Type() string { return "worker.enrolled" }
func (WorkerRenewed) Type() string  { return "worker.renewed" }
func (WorkerDrained) Type() string  { return "worker.drained" }
func (WorkerRemoved) Type() string  { return "worker.removed" }

// Line carries messages in order between a server and a worker, until it is cut. Send and Receive may be called side by
// side, Send by several. After Close, or when the line is cut, both return errors.
type Line[Out, In any] interface {
	Send(Out) error
	Receive() (In, error)
	Close()
}

// ToServer is one message of a worker; one field is set.
type ToServer struct {
	Hello    *WorkerHello
	Beat     *WorkerBeat
	Output   *WorkerOutput
	Step     *TaskStep
	Balanced *BalancerChanged
	Outcome  *TaskFinished
	Withdraw *TaskWithdrawn
	Gone     *WorkerGone
	Opened   *WorkerOpened
}

// ToWorker is one message to a worker; one field is set.
type ToWorker struct {
	Lease     *WorkerLease
	Assign    *WorkerAssign
	Drop      AttemptID // let go of it, and start nothing; "": not set
	Kill      *WorkerKill
	Stop      AttemptID // its job was halted: start it no more, if it has not started; "": not set
	Committed AttemptID // its outcome is durable; "": not set
	Drain     *bool
	Secrets   *WorkerSecrets
	Wipe      JobID      // let go of its secrets as soon as nothing of it runs; "": not set
	Heads     []SeenHead // ends of logs, to be kept, and handed back with the next hello
	Owner     *WorkerOwner
}

// SeenTerm says in which term, of which epoch of the log, somebody serves workers. The term is 0 for a single server.
type SeenTerm struct {
	Epoch int    `json:"epoch"`
	Term  uint64 `json:"term"`
}

// Before reports whether it is older than another: an epoch begins the terms anew.
func (t SeenTerm) Before(o SeenTerm) bool {
	return t.Epoch < o.Epoch || t.Epoch == o.Epoch && t.Term < o.Term
}

func (t SeenTerm) String() string { return fmt.Sprintf("term %d of epoch %d", t.Term, t.Epoch) }

// WorkerOwner says who serves a worker, before anything else is said on a line, and again when other servers are there.
type WorkerOwner struct {
	Term SeenTerm
	// Servers are the addresses for workers, HOST:PORT, of all servers of the cluster; none where there is no cluster.
	Servers []string
}

// WorkerHello is the first message on a line.
type WorkerHello struct {
	Version string // of the program
	Limit   int    // attempts at once
	Held    []WorkerHeld
	Opened  []WorkerOpened // secrets that it has from before
	Heads   []SeenHead     // that the server has shown to this worker
	// SignedOnly says that it starts nothing but attempts of jobs that were signed.
	SignedOnly bool
	// Seen is the highest term that it has seen.
	Seen SeenTerm
}

// WorkerHeld is an attempt that a worker has.
type WorkerHeld struct {
	Attempt AttemptID
	Ended   bool // it has the outcome
}

// WorkerBeat says that a worker is alive. The lease that answers it begins when the beat was sent.
type WorkerBeat struct {
	Number uint64
	Held   int
}

// WorkerOutput is a piece of a stream.
type WorkerOutput struct {
	Attempt AttemptID
	Stream  string
	Offset  int64
	Data    []byte
}

// WorkerGone says that a worker has done with an attempt: nothing of it is left with it.
type WorkerGone struct {
	Attempt AttemptID
	Error   string // why there is no outcome; "": there was one
}

// WorkerLease lets a worker start attempts for a time that begins when it sent the beat with this number.
type WorkerLease struct {
	Number uint64
	For    time.Duration
	Term   SeenTerm // of who gives it
}

// WorkerAssign gives an attempt to a worker, or says that one that it holds is its own still.
type WorkerAssign struct {
	// Job has no targets and no plan, and the settings of this host alone.
	Job     *Job
	Host    Host
	Attempt AttemptID
	Settle  bool
	// Resumed says that somebody else may have had it, too. A worker that holds "not started" only because it sent no start
	// itself must then forget that: another one may have.
	Resumed bool
	// Stdout and Stderr are how many bytes of its output the server has.
	Stdout, Stderr int64
	// Approvals are those of its job that were signed, for a worker that believes nobody else; see package sealed.
	Approvals [][]byte
}

// WorkerSecrets gives a worker the sealed secrets of a job, with the whole job to hold them against.
type WorkerSecrets struct {
	Job    *Job
	Sealed []byte
}

// WorkerOpened says what became of sealed secrets.
type WorkerOpened struct {
	Job JobID
	// Digest is the SHA-256 of what was sealed.
	Digest [32]byte
	// Error is why the worker does not have them; "": it does.
	Error string
	// Refused says that hosts refused them so often that they are not tried any more.
	Refused bool
}

// WorkerKill ends an attempt.
type WorkerKill struct {
	Attempt   AttemptID
	TimeLimit bool // else an operator wants it
}
