// Package work carries out one attempt on one target: it starts the steps there at most once, reads their
// output, survives the loss of the link, kills the whole tree when it is told to, and says how it ended.
//
// It knows transports, outputs, blobs and credentials as ports only, and nothing of logs and schedules: who
// calls it makes the outcome durable. What must hold on the target stands in internal/core/target.
package work

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/run/tree"
)

// Mode says what an attempt may do on the target.
type Mode int

const (
	// Run starts the attempt, or joins it if it was started before under this id.
	Run Mode = iota
	// Settle never starts anything: it fetches the true result, or proves that the attempt did not start and
	// never will.
	Settle
)

// ErrTimeLimit is the cause of a kill at the job's time limit; the outcome is timed_out. Any other cause is an
// operator's wish, and the outcome is cancelled.
var ErrTimeLimit = errors.New("the job's time limit")

// What a worker's Do may say, or wrap, of an attempt that it was given and that goes on without it. Whoever drives the job
// has it taken up again, for as long as the job's lost links are tried again.
var (
	// ErrHandOver says that the worker is gone that had the attempt, and that nobody knows yet how it ends.
	ErrHandOver = errors.New("the worker is gone")
	// ErrNoWorker is that where there was none to take it.
	ErrNoWorker = fmt.Errorf("there is no worker for it: %w", ErrHandOver)
)

// Assignment is one attempt to carry out.
type Assignment struct {
	Job     *sluice.Job
	Host    sluice.Host
	Attempt sluice.AttemptID
	Mode    Mode
	// Resumed says that the attempt may have been sent to the host before, by another process: a host that
	// cannot be reached is then no proof that nothing started. Settle implies it.
	Resumed bool
	// Kill asks for the end of the whole tree when it ends. May be nil.
	Kill context.Context
	// Step is called as steps end, once for each; nil: nobody wants to know. Joining an attempt calls it
	// again for the steps that ended before.
	Step func(sluice.TaskStep)
	// Balanced is called when something was done for the host at a balancer; nil: nobody wants to know.
	Balanced func(sluice.BalancerChanged)
	// Output is called with redacted output after it was written to Outputs; may be nil.
	Output func(stream string, offset int64, data []byte)
	// Commit is called exactly once when the attempt has an outcome. It returns when the outcome is durable;
	// only then the record on the target goes. For the outcome unknown the record stays.
	Commit func(ctx context.Context, r sluice.TaskFinished) error
	// Withdraw is called instead of Commit where it is proved that nothing started, because the password had been
	// refused by other hosts: the task waits again. Nil: such an attempt has failed.
	Withdraw func(ctx context.Context, b sluice.TaskWithdrawn) error
	// MayStart is called right before something is started on the target, and may wait until that is allowed; an error
	// keeps it from starting now. It must end with ctx. Nil: it is allowed.
	MayStart func(ctx context.Context) error
	// Stopped reports whether nothing more may start for the job, so that an attempt that waits elsewhere does not
	// start after a halt. Nil: never.
	Stopped func() bool
	// Stop ends when nothing of the job may start any more that has not: what starts afterwards is none of this attempt.
	// What has started is not changed by it. Where it is proved that nothing started, the attempt is withdrawn. Nil: never.
	Stop context.Context
	// FetchDir is where a fetch job puts what it gets, below a directory named for the host.
	FetchDir string
}

// Config is what a Worker needs of the world.
type Config struct {
	// Transport returns the transport for these settings.
	Transport func(sluice.SSH) sluice.Transport
	Outputs   sluice.Outputs
	// Fetched is told when all that an attempt fetched is in a directory, before that is said to anybody; nil: nobody is.
	Fetched     func(job sluice.JobID, a sluice.AttemptID, dir string) error
	Blobs       sluice.Blobs
	Credentials sluice.Credentials // nil: there are no secrets
	Clock       sluice.Clock       // nil: the machine's
	// Releases is where the files of releases come from; nil: there are none.
	Releases Releases
	// Service is how a host is taken out of service and brought back while a release is made live there. Its Service may be
	// nil, and is made anew for each step. Nil: that is no business of deploys.
	Service func(ctx context.Context, job *sluice.Job, host sluice.Host, link sluice.Link) (Service, error)
	// Serves reports whether a job's hosts have to be taken out of service or looked at; nil: all have, where there is Service.
	Serves func(job *sluice.Job) bool
	// HelloTimeout bounds the time in which a login shell must get to its first command; 0: 30 s.
	HelloTimeout time.Duration
}

// Worker carries out attempts. It is safe for concurrent use.
type Worker struct {
	cfg     Config
	running sync.WaitGroup

	points string // shell text for tests, see [release.Plan.Steps]

	mu        sync.Mutex
	looks     map[string]tree.Look         // by digest
	manifests map[string]manifest.Manifest // by digest
}

// New makes a Worker.
func New(cfg Config) *Worker {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Worker{cfg: cfg, looks: map[string]tree.Look{}, manifests: map[string]manifest.Manifest{}}
}

// Do carries the assignment out and returns when its outcome is committed and the target is clean, or with an
// error when the outcome could not be committed. When ctx is cancelled the controller goes away: everything
// on the target keeps running, nothing is committed, and the context's error is returned.
func (w *Worker) Do(ctx context.Context, a Assignment) error {
	w.running.Add(1)
	defer w.running.Done()
	t, err := w.newAttempt(ctx, a)
	if err != nil {
		return err
	}
	defer t.end()
	return t.do(ctx)
}

// Close waits for every Do to return. It ends none of them; their contexts do.
func (w *Worker) Close() error {
	w.running.Wait()
	return nil
}

func (w *Worker) helloTimeout() time.Duration {
	if w.cfg.HelloTimeout > 0 {
		return w.cfg.HelloTimeout
	}
	return 30 * time.Second
}

// nonce is 128 bits that nobody can guess.
func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
