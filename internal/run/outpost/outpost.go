// Package outpost is a worker on a machine of its own: it takes attempts from a server over a line, carries them out, and
// keeps what came of them on its disk until the server says that it is durable. The line may break at any time; what
// runs goes on meanwhile, and nothing starts without a lease.
//
// It knows lines and ports, and neither certificates nor the wire.
package outpost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/run/envelopes"
	"sluice/internal/run/work"
)

// Line is the worker's end of the line to its server.
type Line = sluice.Line[sluice.ToServer, sluice.ToWorker]

// Outputs are a worker's own.
type Outputs interface {
	sluice.Outputs
	Remove(job sluice.JobID) error
}

// Worker carries attempts out.
type Worker interface {
	Do(ctx context.Context, a work.Assignment) error
}

// Config is what an Outpost needs.
type Config struct {
	// Open opens the line. Errors with the codes Denied and Usage end the outpost; others are tried again.
	Open func(ctx context.Context, hello sluice.WorkerHello) (Line, error)
	// Worker makes what carries out the attempts of a job, with its secrets, or nil where it has none here; release is
	// called when none of them is left.
	Worker func(j *sluice.Job, c sluice.Credentials) (w Worker, release func(), err error)
	// Opener opens secrets; its MayTry is set here. Nil: none are taken.
	Opener *envelopes.Opener
	// SignedOnly has nothing start but attempts of jobs that came in an envelope that Opener opens.
	SignedOnly bool
	Outputs    Outputs
	// Dir is for the records of outcomes.
	Dir     string
	Limit   int
	Version string
	// Notice is told what a person should know. It must not block.
	Notice func(string)
	// FetchDir is where fetch jobs put things on their way, and nobody else does. Fetched hands what is below dir, of
	// one host, to the server; it is tried again after errors with the code Contact.
	FetchDir string
	Fetched  func(ctx context.Context, a sluice.AttemptID, dir string) error
	// Witness keeps where the server's log ended, as it has shown; nil: only this process remembers.
	Witness Witness
	// Terms keeps the highest term of an owner that was seen; nil: only this process remembers.
	Terms Terms
	// Servers is told the addresses of all servers of the cluster, by the one that owns its log. It must not block. May be nil.
	Servers func([]string)
	// Leased is called when the first lease has come on a line. It must not block. May be nil.
	Leased func()
	// Ready is called when the first lease has come: from then on this worker carries attempts out. It must not block. May
	// be nil.
	Ready func()
}

// Witness keeps heads from one start to the next.
type Witness interface {
	Seen() ([]sluice.SeenHead, error)
	SetSeen([]sluice.SeenHead) error
}

// Terms keeps the highest term from one start to the next. When SetTerm returns it is durable.
type Terms interface {
	Term() (sluice.SeenTerm, error)
	SetTerm(sluice.SeenTerm) error
}

const (
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
	// For quickFor after a line that was good, at most quickWait is waited: as long as it takes that another server owns the log.
	quickFor, quickWait = 15 * time.Second, 500 * time.Millisecond
	// firstBeat is how often a worker shows signs of life before it knows how long its lease is.
	firstBeat = time.Second
	// leastPatience is how long a server may leave a beat unanswered, at least, before another one is tried.
	leastPatience = 2 * time.Second
	// marginShare of a lease is left unused, for clocks that do not run alike.
	marginShare = 5
)

// Outpost is one worker.
type Outpost struct {
	cfg  Config
	doer sync.WaitGroup

	mu       sync.Mutex
	line     *link // nil: there is none
	attempts map[sluice.AttemptID]*attempt
	jobs     map[sluice.JobID]*job
	opener   envelopes.Opener
	vaults   map[sluice.JobID]*vault
	draining bool
	lease    lease
	leased   chan struct{} // closed and replaced when there is a new one, or an attempt is assigned anew
	seen     []sluice.SeenHead
	highest  sluice.SeenTerm // that was seen, and is on the disk
	servers  int             // that there are, as the last one said

	kept []sluice.SeenHead // those of seen that are on the disk; of who writes them, one after the other
}

// lease lets attempts start.
type lease struct {
	begin time.Time // when the beat was sent
	life  time.Duration
}

// valid is told the time with both its clocks. The one that only goes forward counts; where the other one has run
// differently, this machine may have been asleep, and nobody knows for how long.
func (l lease) valid(now time.Time) bool {
	if l.life <= 0 {
		return false
	}
	went := now.Sub(l.begin)
	apart := now.Round(0).Sub(l.begin.Round(0)) - went
	return went < l.life-l.life/marginShare && max(apart, -apart) < l.life/marginShare
}

// job is what the attempts of one job share.
type job struct {
	worker  Worker
	release func()
	uses    int
}

// link is an open line. What fails on it closes it.
type link struct{ line Line }

func (l *link) send(m sluice.ToServer) bool {
	if l.line.Send(m) == nil {
		return true
	}
	l.line.Close()
	return false
}

// New reads what an earlier process left.
func New(cfg Config) (_ *Outpost, err error) {
	o := &Outpost{cfg: cfg, attempts: map[sluice.AttemptID]*attempt{}, jobs: map[sluice.JobID]*job{}, vaults: map[sluice.JobID]*vault{},
		leased: make(chan struct{})}
	if cfg.Opener != nil {
		o.opener = *cfg.Opener
	}
	if cfg.Terms != nil {
		if o.highest, err = cfg.Terms.Term(); err != nil {
			return nil, err // without it an owner of the past could be followed
		}
	}
	o.remember()
	o.sweep(cfg.FetchDir) // what has a record has been handed over, and the rest is fetched again
	return o, o.readRecords()
}

// Run works until ctx ends, or the server refuses this worker. Then it lets go: what runs on targets runs on.
func (o *Outpost) Run(ctx context.Context) error {
	doing, stop := context.WithCancel(ctx)
	defer o.wipeAll()
	defer o.doer.Wait()
	defer stop()
	o.doer.Go(func() { o.keepSecrets(doing) })
	wait := firstWait
	said := ""
	var good time.Time // the end of the last line that held
	for {
		began := time.Now()
		err := o.session(ctx, doing)
		if ctx.Err() != nil {
			return nil
		}
		if code := sluice.CodeOf(err); code == sluice.Denied || code == sluice.Usage {
			return err
		}
		if time.Since(began) > lastWait {
			wait, said, good = firstWait, "", time.Now()
		}
		if text := err.Error(); text != said {
			said = text
			o.cfg.Notice("no line to the server: " + text)
		}
		t := time.NewTimer(wait - time.Duration(rand.Int64N(int64(wait)/3)))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		wait = min(2*wait, lastWait)
		if time.Since(good) < quickFor {
			wait = min(wait, quickWait)
		}
	}
}

// session is one line, from hello to its end.
func (o *Outpost) session(ctx, doing context.Context) error {
	line, err := o.cfg.Open(ctx, o.hello())
	if err != nil {
		return err
	}
	l := &link{line}
	o.mu.Lock()
	o.line = l
	o.mu.Unlock()
	beats, stop := context.WithCancel(ctx)
	var beater sync.WaitGroup
	sent := &beatTimes{at: map[uint64]time.Time{}}
	every := make(chan time.Duration, 1)
	beater.Go(func() { o.beat(beats, l, sent, every) })
	changed := make(chan struct{}, 1)
	beater.Go(func() { o.keepHeads(beats, changed) }) // a slow disk delays nothing else
	defer beater.Wait()
	defer stop()
	defer line.Close()
	defer o.unbind(l)
	var by served
	leased := false
	for {
		m, err := line.Receive()
		if errors.Is(err, io.EOF) {
			return sluice.Errorf(sluice.Contact, "the server ended the line")
		}
		if err != nil {
			return err
		}
		if err := o.serves(&by, m); err != nil {
			hearOut(line)
			return err
		}
		if m.Owner != nil {
			o.mu.Lock()
			o.servers = len(m.Owner.Servers)
			o.mu.Unlock()
			if o.cfg.Servers != nil && len(m.Owner.Servers) > 0 {
				o.cfg.Servers(m.Owner.Servers)
			}
			continue
		}
		if m.Lease != nil {
			if o.extend(m.Lease, sent) && !leased && o.cfg.Leased != nil {
				o.cfg.Leased()
				leased = true
			}
			select {
			case every <- m.Lease.For / 3:
			default:
			}
			continue
		}
		if m.Heads != nil {
			o.see(m.Heads)
			select {
			case changed <- struct{}{}:
			default:
			}
			continue
		}
		o.obey(doing, l, m)
	}
}

func (o *Outpost) hello() sluice.WorkerHello {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := sluice.WorkerHello{Version: o.cfg.Version, Limit: o.cfg.Limit, Heads: slices.Clone(o.seen),
		SignedOnly: o.cfg.SignedOnly, Seen: o.highest}
	for id, a := range o.attempts {
		h.Held = append(h.Held, sluice.WorkerHeld{Attempt: id, Ended: a.ended()})
	}
	for _, v := range o.vaults {
		if !v.closing {
			h.Opened = append(h.Opened, v.said())
		}
	}
	return h
}

// unbind forgets a line: output and outcomes are kept from now on.
func (o *Outpost) unbind(l *link) {
	o.mu.Lock()
	o.line = nil
	all := make([]*attempt, 0, len(o.attempts))
	for _, a := range o.attempts {
		all = append(all, a)
	}
	o.mu.Unlock()
	for _, a := range all {
		a.unbind()
	}
}

// wake has those look again that wait for something to start under. The caller holds the lock.
func (o *Outpost) wake() {
	close(o.leased)
	o.leased = make(chan struct{})
}

// Held is how many attempts this worker has. It takes the lock that all of it takes.
func (o *Outpost) Held() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.attempts)
}

// obey does what the server says.
func (o *Outpost) obey(doing context.Context, l *link, m sluice.ToWorker) {
	switch {
	case m.Assign != nil:
		o.assign(doing, l, m.Assign)
	case m.Drop != "":
		if a := o.find(m.Drop); a != nil {
			a.drop()
		}
	case m.Kill != nil:
		if a := o.find(m.Kill.Attempt); a != nil {
			reason := errCancelled
			if m.Kill.TimeLimit {
				reason = work.ErrTimeLimit
			}
			a.kill(reason)
		}
	case m.Stop != "":
		if a := o.find(m.Stop); a != nil {
			a.halt()
		}
	case m.Committed != "":
		if a := o.find(m.Committed); a != nil {
			o.committed(doing, a)
		} else {
			l.send(sluice.ToServer{Gone: &sluice.WorkerGone{Attempt: m.Committed}})
		}
	case m.Secrets != nil:
		o.entrust(l, m.Secrets)
	case m.Wipe != "":
		o.wipe(m.Wipe)
	case m.Drain != nil:
		o.mu.Lock()
		o.draining = *m.Drain
		o.mu.Unlock()
		if *m.Drain {
			o.cfg.Notice("the server gives this worker nothing new: it is draining")
		}
	}
}

// errCancelled is the cause of a kill that an operator asked for.
var errCancelled = errors.New("cancelled")

func (o *Outpost) find(id sluice.AttemptID) *attempt {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.attempts[id]
}

// use takes what carries out a job's attempts; the caller holds the lock.
func (o *Outpost) use(j *sluice.Job) (*job, error) {
	one := o.jobs[j.ID]
	if one == nil {
		w, release, err := o.cfg.Worker(j, nil)
		if err != nil {
			return nil, err
		}
		one = &job{worker: w, release: release}
		o.jobs[j.ID] = one
	}
	one.uses++
	return one, nil
}

// forget ends an attempt of which nothing is left to do. With the last one of a job goes what the job has here.
func (o *Outpost) forget(a *attempt) {
	if end := o.leaveJob(a); end != nil {
		end()
	}
}

// leaveJob returns what ends what carried the attempt out, if it was the last one there. The output of the job goes before
// others can begin.
func (o *Outpost) leaveJob(a *attempt) (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.attempts[a.id] != a {
		return nil
	}
	delete(o.attempts, a.id)
	if a.use.uses--; a.use.uses > 0 {
		return nil
	}
	id := a.job.ID
	v := o.vaults[id]
	switch {
	case o.jobs[id] == a.use:
		delete(o.jobs, id)
		end = a.use.release
	case v != nil && v.closing && &v.job == a.use:
		delete(o.vaults, id)
		end = v.close
	}
	if o.jobs[id] != nil || v != nil && v.uses > 0 {
		return end
	}
	if err := o.cfg.Outputs.Remove(id); err != nil {
		o.cfg.Notice(fmt.Sprintf("the output of job %s cannot be removed: %v", id, err))
	}
	return end
}
