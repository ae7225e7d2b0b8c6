package control

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/release"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/sealed"
)

// Desk is where people and programs come with what they want: this journal, by a [Service], or a server elsewhere. What
// it answers is the same.
type Desk interface {
	// Who is acting, as the log names them.
	Who() string
	// Elsewhere says that a server carries jobs out, whoever asks for it.
	Elsewhere() bool

	Find(ctx context.Context, prefix string) (sluice.Namespace, sluice.JobID, error)
	Jobs(ctx context.Context) ([]schedule.Info, error)
	Info(ctx context.Context, prefix string) (i schedule.Info, driven bool, err error)
	Job(ctx context.Context, prefix string) (j *view.Job, driven bool, err error)
	Driven(id sluice.JobID) bool
	Why(ctx context.Context, prefix string, h sluice.Host) ([]schedule.Reason, error)
	Events(ctx context.Context, id sluice.JobID) ([]sluice.Event, error)
	Follow(ctx context.Context, prefix string, seen uint64, observe func(sluice.Event)) (sluice.Event, error)
	Output(ctx context.Context, prefix string, h sluice.Host, stream string) (io.ReadCloser, *view.Task, error)
	OpenOutput(ctx context.Context, id sluice.JobID, a sluice.AttemptID, stream string) (io.ReadCloser, error)

	// Keep keeps what a job is to send.
	Keep(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	// Kept is the size of what was kept; the error has the code NotFound where there is nothing of that digest.
	Kept(ctx context.Context, digest string) (int64, error)
	Prepare(ctx context.Context, r Request) (*Draft, error)
	// FileChanges says what a deploy changes in the files that are made for its hosts, against what is live there.
	FileChanges(ctx context.Context, d *Draft) (release.Changes, error)
	Run(ctx context.Context, d *Draft, o DriveOptions) (sluice.Event, error)
	Carry(ctx context.Context, id sluice.JobID, o DriveOptions) (sluice.Event, error)
	Refresh(ctx context.Context, id sluice.JobID, o DriveOptions) error

	Fleet(ctx context.Context, ns sluice.Namespace) (*fleet.Loaded, Applied, error)
	Fleets(ctx context.Context, ns sluice.Namespace) ([]Applied, error)
	FleetAt(ctx context.Context, ns sluice.Namespace, at FleetAt) (fleet.Bundle, Applied, error)
	ApplyFleet(ctx context.Context, b fleet.Bundle, note string, base int) (Applied, error)
	// RulesInForce is the digest of the rules of a namespace; "" if there are none yet.
	RulesInForce(ctx context.Context, ns sluice.Namespace) (string, error)
	Submit(ctx context.Context, d *Draft) ([]sluice.Event, error)
	// Give gives a job elsewhere secrets with the next Resume or Retry, if it is still the one that was shown; here they
	// come when it is carried out.
	Give(ctx context.Context, shown *sluice.Job, s Secrets) error

	Halt(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error)
	// HaltAll is Halt for every job that is not over, of a namespace or of all for "". It returns those that it halted.
	HaltAll(ctx context.Context, ns sluice.Namespace, reason string) ([]sluice.JobID, error)
	Cancel(ctx context.Context, id sluice.JobID, reason string) ([]sluice.Event, error)
	Resume(ctx context.Context, id sluice.JobID, maxFailures *sluice.Amount) ([]sluice.Event, error)
	Retry(ctx context.Context, id sluice.JobID, hosts []sluice.Host, maxFailures *sluice.Amount) ([]sluice.Event, error)
	Skip(ctx context.Context, id sluice.JobID, hosts []sluice.Host, reason string) ([]sluice.Event, error)
	Approve(ctx context.Context, id sluice.JobID, stage, plan string) ([]sluice.Event, error)
	// ApproveSigned is Approve with a signature, for workers that believe nobody else. What is elsewhere is signed with the
	// key of who is acting, where a is nil.
	ApproveSigned(ctx context.Context, id sluice.JobID, stage, plan string, a sealed.Approval) ([]sluice.Event, error)
	ChangeHosts(ctx context.Context, ns sluice.Namespace, act HostAct, hosts []sluice.Host, reason string) ([]sluice.Event, error)
	// Balanced notes what is asked for at balancers by hand, or came of it, in the name of who is acting. A server does no such thing.
	Balanced(ctx context.Context, ns sluice.Namespace, b sluice.Body) ([]sluice.Event, error)
	Out(ctx context.Context, ns sluice.Namespace) ([]schedule.HostInfo, error)

	// Live lists what is live, by app, environment and host, and Releases deploys and rollbacks, newest first.
	Live(ctx context.Context, q LiveQuery) ([]Live, error)
	Releases(ctx context.Context, q LiveQuery) ([]Released, error)
	// Latencies says how long it took from commit to live over time, by app, environment and namespace: of each the newest periods,
	// so many at most, newest first.
	Latencies(ctx context.Context, q LiveQuery, most int) ([]Latencies, error)
}

var _ Desk = (*Service)(nil)

// Who is acting.
func (s *Service) Who() string { return s.By }

// Elsewhere is false: this process carries its jobs out itself.
func (s *Service) Elsewhere() bool { return false }

// Give has nothing to do.
func (s *Service) Give(context.Context, *sluice.Job, Secrets) error { return nil }

// Driven reports whether a live process drives the job.
func (s *Service) Driven(id sluice.JobID) bool { return s.Drivers.Driven(id) }

// Events returns all events of a job.
func (s *Service) Events(ctx context.Context, id sluice.JobID) ([]sluice.Event, error) {
	ns, id, err := s.Find(ctx, string(id))
	if err != nil {
		return nil, err
	}
	return s.Log.ReadJob(ctx, ns, id)
}

// OpenOutput opens what an attempt printed to a stream.
func (s *Service) OpenOutput(_ context.Context, id sluice.JobID, a sluice.AttemptID, stream string) (io.ReadCloser, error) {
	return s.Outputs.Open(id, a, stream)
}

// Keep keeps what a job is to send.
func (s *Service) Keep(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	return s.Blobs.Put(ctx, r)
}

// Kept is the size of what was kept, and keeps it as if that had been now.
func (s *Service) Kept(ctx context.Context, digest string) (int64, error) {
	size, err := s.Blobs.Renew(ctx, digest)
	return size, notKept(digest, err)
}

// KeptSize is what Kept says, for who only looks: nothing is kept for longer because of it.
func (s *Service) KeptSize(ctx context.Context, digest string) (int64, error) {
	size, err := s.Blobs.Size(ctx, digest)
	return size, notKept(digest, err)
}

func notKept(digest string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return sluice.Errorf(sluice.NotFound, "nothing with the digest %q is kept", digest).WithHint("it must be put there first")
	}
	return err
}

// Content is what was kept under a digest, which may have at most so many bytes. To look at it does not keep it any longer.
func (s *Service) Content(ctx context.Context, digest string, most int64) (text []byte, err error) {
	in, err := s.Blobs.Open(ctx, digest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sluice.Errorf(sluice.NotFound, "nothing with the digest %q is kept any more", digest)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if text, err = io.ReadAll(io.LimitReader(in, most+1)); err == nil && int64(len(text)) > most {
		err = sluice.Errorf(sluice.Conflict, "what is kept under %q has more than %d bytes", digest, most)
	}
	return text, err
}

// RulesInForce is the digest of the rules of a namespace; "" if there are none yet.
func (s *Service) RulesInForce(ctx context.Context, ns sluice.Namespace) (digest string, err error) {
	err = s.look(ctx, ns, func(state *schedule.State) error {
		digest = state.InForce()
		return nil
	})
	return digest, err
}
