package sluice

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"time"
)

// What the layers above need of the world. Adapters implement these; one suite per port, run on every
// implementation and on the fake, says what callers may rely on.

// Log is the journal: one sequence of events per namespace. Whatever is not in it did not happen.
//
// Events that Update has returned without error are durable: they survive kill -9 and power loss. Their
// order is the one in which everybody reads them.
type Log interface {
	// Update reads what was appended after the event number `after`, hands it to decide, and appends what
	// decide returns, as one step: no other writer comes between. decide is called at most once, with events
	// in order (none if nothing is new); it must be quick and must not call the log. If it returns an error,
	// nothing is appended. Update sets the Seq of the returned events, and returns the number of the last
	// event of the log.
	Update(ctx context.Context, ns Namespace, after uint64, decide func(tail []Event) ([]Event, error)) (head uint64, err error)
	// Read returns up to limit events after the event number `after`, in order; none at the end.
	Read(ctx context.Context, ns Namespace, after uint64, limit int) ([]Event, error)
	// ReadJob returns all events of one job, in order, or none.
	ReadJob(ctx context.Context, ns Namespace, job JobID) ([]Event, error)
	// Wait returns when there are events after the number `after`, or with the context's error.
	Wait(ctx context.Context, ns Namespace, after uint64) error
	// Namespaces lists the namespaces that have events, sorted.
	Namespaces(ctx context.Context) ([]Namespace, error)
	// FindJob returns the namespace and whole id of the one job whose id begins with prefix. Errors have the
	// code NotFound where there is none, Conflict where there are several.
	FindJob(ctx context.Context, prefix string) (Namespace, JobID, error)
}

// Snapshots keep, beside a log, what was folded from it, so that the next fold need not begin at the beginning. A [Log]
// may be one of these, too. They are a cache: what was kept may be gone at any time, and nobody may rely on it.
type Snapshots interface {
	// Snapshot returns what was kept last, and the number of the last event that it was folded from. It is whole, and
	// folded from the events that the log now holds; where there is no such thing, seq is 0.
	Snapshot(ctx context.Context, ns Namespace) (seq uint64, data []byte, err error)
	// SaveSnapshot keeps data in place of what was kept before. seq must be the last event of an append.
	SaveSnapshot(ctx context.Context, ns Namespace, seq uint64, data []byte) error
}

// Drivers say which process drives a job. A claim ends with the process that holds it, however it ends.
type Drivers interface {
	// Claim takes the job for this process until release is called. An error with the code Conflict says
	// that a live process has it.
	Claim(job JobID) (release func(), err error)
	// Driven reports whether a live process has the job.
	Driven(job JobID) bool
}

// Outputs keep what attempts print.
type Outputs interface {
	// Write keeps data at the offset of a stream ("stdout", "stderr"; in a cluster "fetched", too). What is already there is not written
	// again: a piece that overlaps is cut. A gap is an error.
	Write(job JobID, a AttemptID, stream string, offset int64, data []byte) error
	// Sync makes everything written so far for the job durable.
	Sync(job JobID) error
	// Size returns how many bytes of a stream are kept.
	Size(job JobID, a AttemptID, stream string) (int64, error)
	// Open reads a stream from its beginning, as far as it is kept. The reader is an [io.Seeker], too: from a place in the
	// middle it reads nothing of what is before.
	Open(job JobID, a AttemptID, stream string) (io.ReadCloser, error)
	// Close forgets what is held open for a job.
	Close(job JobID) error
}

// Blobs keep content under its digest: scripts and packed trees that a job sends.
type Blobs interface {
	// Put keeps the content and returns its digest, "sha256:" and 64 hexadecimal digits, and its size.
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	// Open reads a blob; fs.ErrNotExist if there is none.
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
	// Renew is for who needs what may be there already: a blob counts as put just now, so that it is not taken away before a
	// job names it. It returns its size; fs.ErrNotExist if there is none.
	Renew(ctx context.Context, digest string) (size int64, err error)
	// Size is for who only looks: nothing is kept for longer because of it. fs.ErrNotExist if there is none.
	Size(ctx context.Context, digest string) (int64, error)
}

// Kept is something that is kept under a name.
type Kept struct {
	Name    string
	Bytes   int64
	Changed time.Time
}

// Shelf is a place of which what is not needed any more can be taken: [Outputs], and what jobs fetched, under the ids of jobs. It does
// not know what is needed.
type Shelf interface {
	Kept(ctx context.Context) ([]Kept, error)
	// Discard removes what is kept under a name. That it is not there is no error.
	Discard(ctx context.Context, name string) error
}

// Artifacts is a repository of artifacts: content under its digest, records of versions under their names, and for each file
// which version is the latest. It knows nothing of what is in them. It is safe for concurrent use, also by several
// processes, each of which may be killed at any time; what a call has done when it returns without error is durable.
// What is not there is fs.ErrNotExist.
type Artifacts interface {
	// Open reads content. If it is not what its digest says, the reader ends with an error instead of the end of file. The
	// reader is an [io.Seeker], too: from a place in the middle it reads nothing of what is before, and proves nothing.
	Open(ctx context.Context, digest string) (io.ReadCloser, error)
	// Send brings content. from is read from any place and perhaps twice, and is the same each time; sent, which may be nil,
	// is told how much of it is there. What an earlier Send that failed or was killed has brought is not sent again. What is
	// there already counts as sent now. Content that is not what c says is refused with the code Conflict, and none of it is
	// kept.
	Send(ctx context.Context, c Content, from io.ReadSeeker, sent func(bytes int64)) error
	// Read returns what was written last under the whole name of a version, or of [LatestVersion].
	Read(ctx context.Context, n ArtifactName) ([]byte, error)
	// Write puts text, of at most 64 KiB, under such a name, if what is there now is was; nil is nothing. Else the error has
	// the code Conflict, and nothing is changed. Of two that write different texts at once, one does.
	Write(ctx context.Context, n ArtifactName, text, was []byte) error
	// Names lists what is one part below a name, sorted: apps, their targets, files, versions. The latest is not one. Below
	// a name that is not there is nothing.
	Names(ctx context.Context, under ArtifactName) ([]string, error)
	// Remove takes away what is under a whole name. That it is not there is no error.
	Remove(ctx context.Context, n ArtifactName) error
	// Kept lists all content, by digest. Changed is when it was sent last.
	Kept(ctx context.Context) ([]Kept, error)
	// Discard takes content away, unless it was sent at or after the time before. That it is not there is no error.
	Discard(ctx context.Context, digest string, before time.Time) error
}

// Archive takes what a server does not keep any more.
type Archive interface {
	// Put writes the parts of a job into a segment, and returns its name and its digest. It is durable then. The parts are
	// read one after the other, each before the next.
	Put(ctx context.Context, job JobID, at time.Time, parts iter.Seq2[Part, error]) (name, digest string, err error)
}

// Part is a piece of what is archived of a job.
type Part struct {
	Name  string
	Bytes int64
	From  io.Reader
}

// Transport reaches hosts. It is safe for concurrent use.
type Transport interface {
	// Connect returns a link to the host, an open one where there is one. It does not return before the host
	// is authenticated and the login accepted. Errors are or wrap a [*ConnectError]. The context bounds the
	// connecting only.
	Connect(ctx context.Context, h Host, s SSH) (Link, error)
	// Close ends all links.
	Close() error
}

// Credentials give out the secrets of a job, in memory only, and see to it that a wrong password locks no
// account fleet-wide: the first host that uses a secret goes alone, and after two refusals none is given out.
// It is safe for concurrent use.
type Credentials interface {
	// Login returns the password for logging in to a host, Sudo the one for becoming another user there.
	// They wait for their turn. The caller calls done exactly once, with whether the secret was accepted; it
	// must not call it before it knows, and must call it with accepted == true where the host did not ask.
	// ErrNoSecret says that nobody gave one, ErrSecretRefused that it was refused too often.
	Login(ctx context.Context, h Host) (s Secret, done func(accepted bool), err error)
	Sudo(ctx context.Context, h Host) (s Secret, done func(accepted bool), err error)
	// Passphrase returns what opens the user's encrypted private keys.
	Passphrase() (Secret, error)
	// PrivateKey returns the text of a private key that came with the job, to log in with. It may be encrypted.
	PrivateKey() (Secret, error)
	// Values are all secrets that a host can get to see, for redaction.
	Values() []Secret
}

// Errors of [Credentials].
var (
	ErrNoSecret      = errors.New("no password or passphrase was given")
	ErrSecretRefused = errors.New("the password was refused twice and is not tried on further hosts")
)

// Link is an open connection to a host. Several sessions may run on it at once.
type Link interface {
	// Start runs command in the login shell of the user (as sshd does). On a tty its output and errors are
	// one stream.
	Start(ctx context.Context, command string, tty bool) (Session, error)
	// Dial opens a connection from the host: to "tcp" HOST:PORT as the host understands it, or to the socket "unix" PATH
	// there. The context bounds the opening only. The connection may end with the link, and may know no
	// deadlines: to end a wait, close it. Where it is cut off, its reader may see no more than the end of what came. The
	// error is or wraps [ErrNoAnswer] where the host tried, and nobody took the connection.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// User is who is logged in.
	User() string
	// Close gives the link back. The connection may stay open for others.
	Close() error
}

// Session is one command on a link.
//
// Stdout and Stderr must both be read to their end; a slow reader slows the peer and costs no memory. End of
// file on them without an exit status means that the link was lost.
type Session interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	// Wait returns the exit status of the command. The error is [ErrLinkLost] where none arrived.
	Wait() (ExitStatus, error)
	// Close ends the session without waiting for the command.
	Close() error
}

// Balancer is what hands requests to servers. It is safe for concurrent use, every call listens to its context, and may
// be repeated: a call that failed, or whose answer was lost, is done again.
type Balancer interface {
	// Pool reads how the servers of a pool are now. What cannot be read as a whole is an error; an answer is never made
	// up of parts. The code of the error is NotFound where there is no such pool.
	Pool(ctx context.Context, pool string) (BalancedPool, error)
	// Set has a server be [ServerUp], [ServerDraining] or [ServerMaintenance]. Where it is so already, nothing changes. That
	// there is no error says that the balancer took it, not that it is so: read it back. A balancer that does not tell
	// draining from maintenance may show the one for the other. One that checks its servers shows [ServerDown] after
	// ServerUp until its own checks pass. The code of the error is NotFound where there is no such server.
	Set(ctx context.Context, pool, server string, state ServerState) error
}

// Run runs a program on a host and waits for its end. Standard output and errors are cut where they are long. An error says
// that it is not known how, or whether, the program ended.
type Run func(ctx context.Context, argv []string, stdin []byte) (Ran, error)

// Ran is what became of a program.
type Ran struct {
	Stdout, Stderr []byte
	Status         ExitStatus
}

// ExitStatus is how a command ended: a code from 0 to 255, or the name of a signal without "SIG".
type ExitStatus struct {
	Code   int
	Signal string
}

// ErrLinkLost says that a connection ended before the command did.
var ErrLinkLost = errors.New("the link to the host was lost")

// ErrNoAnswer says that a host could not connect to where it was asked to.
var ErrNoAnswer = errors.New("nobody answers")

// ConnectFailure says why there is no link.
type ConnectFailure string

const (
	NoRoute     ConnectFailure = "unreachable" // refused, timed out, no such address, broken handshake
	HostKeyBad  ConnectFailure = "host_key"    // unknown, changed or revoked
	AuthRefused ConnectFailure = "auth"        // the login was refused
	NeedSecret  ConnectFailure = "secret"      // a password or passphrase is needed that nobody gave
)

// ConnectError says why a host cannot be reached. Nothing was started on it.
type ConnectError struct {
	Host    Host
	Failure ConnectFailure
	// Password says that a password was offered and refused: trying again may lock an account.
	Password bool
	Err      error
}

func (e *ConnectError) Error() string { return e.Err.Error() }
func (e *ConnectError) Unwrap() error { return e.Err }

// Clock tells the time to shells; rules take it as a value.
type Clock func() time.Time
