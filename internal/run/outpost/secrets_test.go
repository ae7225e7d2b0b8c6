package outpost

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
	"sluice/internal/run/envelopes"
	"sluice/internal/run/work"
	"sluice/sealed"
)

const leaseLife = 15 * time.Second

// asked is one thing that an attempt was carried out with.
type asked struct {
	command  string
	host     sluice.Host
	attempt  sluice.AttemptID
	password string
}

// branch is a worker whose server is the test, which may lie.
type branch struct {
	t      *testing.T
	o      *Outpost
	line   *talk
	key    *sealed.WorkerKey
	signer *sealed.Signer
	accept bool          // what hosts say to a password
	hold   chan struct{} // attempts wait for it, after the password
	stop   func()

	mu       sync.Mutex
	did      []asked
	released int
	hello    sluice.WorkerHello
	lines    chan *talk
}

// hands carry out the attempts of one job.
type hands struct {
	b *branch
	c sluice.Credentials
}

func (h hands) Do(ctx context.Context, a work.Assignment) error {
	got := asked{command: a.Job.Command, host: a.Host, attempt: a.Attempt}
	if h.c != nil && a.Job.Options.AskPassword {
		s, done, err := h.c.Login(ctx, a.Host)
		if errors.Is(err, sluice.ErrSecretRefused) {
			return a.Withdraw(ctx, sluice.TaskWithdrawn{})
		}
		if err != nil {
			return err
		}
		got.password = string(s.Reveal())
		done(h.b.accept)
	}
	h.b.mu.Lock()
	h.b.did = append(h.b.did, got)
	h.b.mu.Unlock()
	if h.b.hold != nil {
		select {
		case <-h.b.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return a.Commit(ctx, sluice.TaskFinished{Host: a.Host, Attempt: a.Attempt, Outcome: sluice.Succeeded})
}

// newBranch is a worker with an open line and, if leased, a lease. It must be called in a bubble of synctest.
func newBranch(t *testing.T, leased bool) *branch {
	t.Helper()
	key, err := sealed.NewWorkerKey()
	signer, err2 := sealed.NewSigner()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	b := &branch{t: t, key: key, signer: signer, accept: true, lines: make(chan *talk, 10)}
	b.line = newTalk()
	b.lines <- b.line
	b.o, err = New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 9, Notice: func(string) {},
		Opener: &envelopes.Opener{Key: key, Trust: func(string, sealed.Key) error { return nil }, Clock: time.Now},
		Worker: func(_ *sluice.Job, c sluice.Credentials) (Worker, func(), error) {
			return hands{b, c}, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.released++
			}, nil
		},
		Open: func(ctx context.Context, h sluice.WorkerHello) (Line, error) {
			select {
			case l := <-b.lines:
				b.mu.Lock()
				defer b.mu.Unlock()
				b.hello = h
				return l, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.o.Run(ctx) }()
	b.stop = func() {
		stop()
		b.line.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(b.o.vaults) > 0 {
			t.Error("it ended with secrets in it")
		}
	}
	synctest.Wait()
	if leased {
		b.lease(1)
	}
	return b
}

func (b *branch) say(m sluice.ToWorker) {
	b.line.in <- m
	synctest.Wait()
}

func (b *branch) lease(number uint64) {
	b.say(sluice.ToWorker{Lease: &sluice.WorkerLease{Number: number, For: leaseLife}})
}

func (b *branch) assign(j *sluice.Job, h sluice.Host, index int) {
	b.say(sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: j.For(h), Host: h, Attempt: sluice.NewAttemptID(j.ID, index, 1)}})
}

// said is what the worker said last of secrets, and how often it said that it has done with an attempt.
func (b *branch) said() (opened *sluice.WorkerOpened, gone int) {
	b.line.mu.Lock()
	defer b.line.mu.Unlock()
	for _, m := range b.line.got {
		if m.Opened != nil {
			opened = m.Opened
		}
		if m.Gone != nil {
			gone++
		}
	}
	return opened, gone
}

// has reports whether the worker has secrets of any job.
func (b *branch) has() bool {
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	return len(b.o.vaults) > 0
}

func (b *branch) does(want ...asked) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.did, want) {
		b.t.Errorf("it carried out %+v, want %+v", b.did, want)
	}
}

func secretJob() *sluice.Job {
	return &sluice.Job{ID: "0123456789ab", Namespace: "prod", By: "ann", Command: "good", Action: sluice.Action{Kind: sluice.RunCommand, Shell: "good"},
		Targets: []sluice.Host{"web1", "web2", "web3"}, Options: sluice.Options{AskPassword: true}}
}

func (b *branch) seal(j *sluice.Job, life time.Duration) *sluice.WorkerSecrets {
	b.t.Helper()
	return b.sealing(j, life, sealed.Content{Password: sluice.NewSecret([]byte("sesame"))})
}

func (b *branch) sealing(j *sluice.Job, life time.Duration, c sealed.Content) *sluice.WorkerSecrets {
	b.t.Helper()
	bound, err := sealed.Bind(j, "ann", time.Now().Add(life))
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := sealed.Seal(bound, c, []sealed.Key{b.key.Public()}, b.signer)
	if err != nil {
		b.t.Fatal(err)
	}
	return &sluice.WorkerSecrets{Job: j, Sealed: e}
}

// good is what is carried out of the job.
func good(index int, password string) asked {
	j := secretJob()
	return asked{"good", j.Targets[index], sluice.NewAttemptID(j.ID, index, 1), password}
}

func in(t *testing.T, leased bool, f func(*branch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBranch(t, leased)
		defer b.stop()
		f(b)
	})
}

func TestSecretsAreOpenedAndUsed(t *testing.T) {
	in(t, true, func(b *branch) {
		j := secretJob()
		b.say(sluice.ToWorker{Secrets: b.seal(j, time.Hour)})
		if o, _ := b.said(); o == nil || o.Error != "" || o.Job != j.ID {
			t.Fatalf("it says %+v", o)
		}
		b.assign(j, "web2", 1)
		b.does(good(1, "sesame"))
	})
}

// TestSecretsMoved: an envelope that a server moves to another job is not opened, and nothing is carried out with it.
func TestSecretsMoved(t *testing.T) {
	for name, change := range map[string]func(*sluice.Job){
		"another id":      func(j *sluice.Job) { j.ID = "ba9876543210" },
		"another command": func(j *sluice.Job) { j.Command, j.Action.Shell = "evil", "evil" },
		"only its text":   func(j *sluice.Job) { j.Action.Shell = "evil" },
		"another host":    func(j *sluice.Job) { j.Targets = append(slices.Clone(j.Targets), "evil") },
		"another way": func(j *sluice.Job) {
			j.HostSSH = map[sluice.Host]sluice.SSH{"web1": {Address: "6.6.6.6"}}
		},
		"as another user": func(j *sluice.Job) { j.Options.Sudo = "root" },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, true, func(b *branch) {
				j := secretJob()
				s := b.seal(j, time.Hour)
				other := *j
				change(&other)
				b.say(sluice.ToWorker{Secrets: &sluice.WorkerSecrets{Job: &other, Sealed: s.Sealed}})
				o, _ := b.said()
				if o == nil || o.Error == "" || !strings.Contains(o.Error, "for") {
					t.Errorf("it says %+v", o)
				}
				b.assign(&other, other.Targets[0], 0)
				b.does()
				if _, gone := b.said(); gone != 1 || b.has() {
					t.Errorf("an attempt without secrets is gone %d times, and it has some: %v", gone, b.has())
				}
			})
		})
	}
}

// TestTheServerLiesAboutAttempts: with the secrets here, an attempt is carried out by the job that they were given for,
// whatever the server says along with it.
func TestTheServerLiesAboutAttempts(t *testing.T) {
	evil := func() *sluice.Job {
		j := secretJob()
		j.Command, j.Action.Shell, j.SSH.Address = "evil", "evil", "6.6.6.6"
		return j
	}
	t.Run("another command", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
			b.assign(evil(), "web1", 0)
			b.does(good(0, "sesame"))
		})
	})
	t.Run("without saying that it has secrets", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
			j := evil()
			j.Options = sluice.Options{}
			b.assign(j, "web1", 0)
			b.does(good(0, "sesame"))
		})
	})
	t.Run("another host", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
			b.assign(secretJob(), "evil", 0)
			b.assign(secretJob(), "web1", 1)
			b.assign(secretJob(), "web1", 7)
			b.does()
			if _, gone := b.said(); gone != 3 {
				t.Errorf("%d of 3 are refused", gone)
			}
		})
	})
	t.Run("before the secrets come", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.hold = make(chan struct{})
			j := evil()
			j.Options = sluice.Options{}
			b.assign(j, "web1", 0)
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
			b.assign(secretJob(), "web2", 1)
			close(b.hold)
			synctest.Wait()
			b.does(asked{"evil", "web1", sluice.NewAttemptID(j.ID, 0, 1), ""}, good(1, "sesame"))
		})
	})
	t.Run("other secrets for another job of that id", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
			b.say(sluice.ToWorker{Secrets: b.seal(evil(), time.Hour)}) // as if somebody had given some for it
			if o, _ := b.said(); o.Error == "" {
				t.Error("a second job of the same id has secrets")
			}
			b.assign(evil(), "web1", 0)
			b.does()
		})
	})
}

// TestWithoutALeaseNothingIsTried: who has no lease may have a successor that tries passwords by now. What a host has
// accepted is used all the same.
func TestWithoutALeaseNothingIsTried(t *testing.T) {
	in(t, false, func(b *branch) {
		j := secretJob()
		b.say(sluice.ToWorker{Secrets: b.seal(j, time.Hour)})
		b.assign(j, "web1", 0)
		b.does()
		b.lease(1)
		b.does(good(0, "sesame"))
		time.Sleep(leaseLife)
		b.assign(j, "web2", 1)
		b.does(good(0, "sesame"), good(1, "sesame"))
	})
}

// TestNothingIsTriedAfterAWipe: who is told to let go while an attempt waits for its lease has a successor by then.
func TestNothingIsTriedAfterAWipe(t *testing.T) {
	in(t, false, func(b *branch) {
		j := secretJob()
		b.say(sluice.ToWorker{Secrets: b.seal(j, time.Hour)})
		b.assign(j, "web1", 0)
		b.say(sluice.ToWorker{Wipe: j.ID})
		b.lease(1)
		b.does()
		if _, gone := b.said(); gone != 1 || b.has() {
			t.Errorf("the attempt is gone %d times; it has secrets: %v", gone, b.has())
		}
	})
}

// TestRefusedIsToldFirst: the server hears that a password is used up before it hears of the attempt that used it up.
func TestRefusedIsToldFirst(t *testing.T) {
	in(t, true, func(b *branch) {
		b.accept = false
		j := secretJob()
		b.say(sluice.ToWorker{Secrets: b.seal(j, time.Hour)})
		for i, h := range j.Targets {
			b.assign(j, h, i)
		}
		b.does(good(0, "sesame"), good(1, "sesame"))
		b.line.mu.Lock()
		defer b.line.mu.Unlock()
		refused := slices.IndexFunc(b.line.got, func(m sluice.ToServer) bool { return m.Opened != nil && m.Opened.Refused })
		second := slices.IndexFunc(b.line.got, func(m sluice.ToServer) bool {
			return m.Outcome != nil && m.Outcome.Attempt == sluice.NewAttemptID(j.ID, 1, 1)
		})
		if refused < 0 || second < refused {
			t.Errorf("message %d says that they are refused, and %d how the second attempt ended", refused, second)
		}
	})
}

// TestSecretsAreWiped: when the server says so and nothing of the job runs; when their time is over; and when no server has
// been there for long.
func TestSecretsAreWiped(t *testing.T) {
	t.Run("told", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
			if !b.has() {
				t.Fatal("it has none")
			}
			b.say(sluice.ToWorker{Wipe: secretJob().ID})
			if b.has() || b.released != 1 {
				t.Error("it has them still")
			}
		})
	})
	t.Run("told, and something runs", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.hold = make(chan struct{})
			j := secretJob()
			b.say(sluice.ToWorker{Secrets: b.seal(j, time.Hour)})
			b.assign(j, "web1", 0)
			b.say(sluice.ToWorker{Wipe: j.ID})
			if !b.has() {
				t.Error("what runs has lost them")
			}
			b.assign(j, "web2", 1)
			b.does(good(0, "sesame"))
			close(b.hold)
			synctest.Wait()
			b.say(sluice.ToWorker{Committed: sluice.NewAttemptID(j.ID, 0, 1)})
			if b.has() || b.released != 1 {
				t.Error("it has them still")
			}
		})
	})
	t.Run("their time is over", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), 3*time.Second)})
			time.Sleep(3*time.Second + glance)
			synctest.Wait()
			if o, _ := b.said(); b.has() || o == nil || !strings.Contains(o.Error, "time is over") {
				t.Errorf("it has some: %v; it says %+v", b.has(), o)
			}
		})
	})
	t.Run("nobody says anything", func(t *testing.T) {
		in(t, true, func(b *branch) {
			b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
			b.line.Close()
			time.Sleep(silence)
			synctest.Wait()
			if !b.has() {
				t.Error("it has wiped them too soon")
			}
			time.Sleep(leaseLife + glance)
			synctest.Wait()
			if b.has() {
				t.Error("it has them still")
			}
		})
	})
}

// TestWhatItHasIsSaid: a worker that comes back says whose secrets it has.
func TestWhatItHasIsSaid(t *testing.T) {
	in(t, true, func(b *branch) {
		b.say(sluice.ToWorker{Secrets: b.seal(secretJob(), time.Hour)})
		first := b.line
		b.line = newTalk()
		b.lines <- b.line
		first.Close()
		time.Sleep(lastWait)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.hello.Opened) != 1 || b.hello.Opened[0].Job != secretJob().ID || b.hello.Opened[0].Error != "" {
			t.Errorf("it says %+v", b.hello.Opened)
		}
	})
}

// TestSignedOnly: a worker that carries out signed jobs alone starts nothing that the server made up, or made of something
// that was signed. How an attempt ended it may ask.
func TestSignedOnly(t *testing.T) {
	in(t, true, func(b *branch) {
		b.o.cfg.SignedOnly = true
		j := secretJob()
		j.Options = sluice.Options{}
		b.assign(j, "web1", 0)
		b.say(sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: j.For("web1"), Host: "web1", Attempt: sluice.NewAttemptID(j.ID, 0, 2), Resumed: true}})
		b.does()
		if _, gone := b.said(); gone != 2 {
			t.Errorf("%d of 2 are refused", gone)
		}
		b.say(sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: j.For("web1"), Host: "web1", Attempt: sluice.NewAttemptID(j.ID, 0, 1), Settle: true}})
		b.does(asked{"good", "web1", sluice.NewAttemptID(j.ID, 0, 1), ""})
		j.Options.Signed = true
		b.say(sluice.ToWorker{Secrets: b.sealing(j, time.Hour, sealed.Content{})})
		other := *j
		other.Command, other.Action.Shell = "evil", "evil"
		b.say(sluice.ToWorker{Secrets: &sluice.WorkerSecrets{Job: &other, Sealed: b.sealing(j, time.Hour, sealed.Content{}).Sealed}})
		b.assign(&other, "web2", 1) // which is carried out as it was signed
		b.does(asked{"good", "web1", sluice.NewAttemptID(j.ID, 0, 1), ""}, asked{"good", "web2", sluice.NewAttemptID(j.ID, 1, 1), ""})
	})
	in(t, true, func(b *branch) {
		b.o.cfg.SignedOnly = true
		j := secretJob()
		j.Options = sluice.Options{Signed: true}
		b.say(sluice.ToWorker{Secrets: b.sealing(j, time.Hour, sealed.Content{})})
		b.assign(j, "web2", 1)
		b.does(asked{"good", "web2", sluice.NewAttemptID(j.ID, 1, 1), ""})
		if o, _ := b.said(); o == nil || o.Error != "" {
			t.Errorf("it says %+v", o)
		}
	})
}

// TestSignedOnlyGates: a worker that carries out signed jobs alone starts nothing behind a gate on the word of the server: it
// wants an approval signed by another than who signed the job. Behind no gate it needs none.
func TestSignedOnlyGates(t *testing.T) {
	in(t, true, func(b *branch) {
		b.o.cfg.SignedOnly = true
		j := secretJob()
		j.Options = sluice.Options{Signed: true}
		j.Approval.By = sluice.AnotherApproves
		j.Tracks = []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "first", Hosts: []sluice.Host{"web1"}, Gate: sluice.Gate{Approve: true}},
			{Name: "rest", Hosts: []sluice.Host{"web2"}}}}}
		b.say(sluice.ToWorker{Secrets: b.sealing(j, time.Hour, sealed.Content{})})
		bob, err := sealed.NewSigner()
		if err != nil {
			t.Fatal(err)
		}
		sign := func(j *sluice.Job, by string, s *sealed.Signer) []byte {
			bound, err := sealed.Bind(j, by, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			a, err := sealed.Approve(bound, []sealed.Pass{{Track: "all", Stage: "first"}}, s)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		n := 0
		assign := func(approvals ...[]byte) {
			n++
			b.say(sluice.ToWorker{Assign: &sluice.WorkerAssign{Job: j.For("web2"), Host: "web2", Attempt: sluice.NewAttemptID(j.ID, 1, n), Approvals: approvals}})
		}
		other := *j
		other.Action.Shell = "evil"
		assign()                         // the server says that the gate is open
		assign([]byte("approved"))       // it has made something up
		assign(sign(j, "ann", b.signer)) // it has only who signed the job
		assign(sign(j, "bob", b.signer)) // under another name
		assign(sign(&other, "bob", bob)) // it has an approval of another job
		b.assign(j, "web1", 0)           // which is before the gate
		b.does(asked{"good", "web1", sluice.NewAttemptID(j.ID, 0, 1), ""})
		assign(sign(j, "bob", b.signer), sign(j, "bob", bob))
		b.does(asked{"good", "web1", sluice.NewAttemptID(j.ID, 0, 1), ""}, asked{"good", "web2", sluice.NewAttemptID(j.ID, 1, 6), ""})
		// What counted before is looked at again: the key is not known any more; and who approved is by now who signed the job.
		ran := []asked{{"good", "web1", sluice.NewAttemptID(j.ID, 0, 1), ""}, {"good", "web2", sluice.NewAttemptID(j.ID, 1, 6), ""}}
		trust := b.o.cfg.Opener.Trust
		b.o.cfg.Opener.Trust = func(by string, _ sealed.Key) error {
			return sluice.Errorf(sluice.Denied, "the worker does not know %s", by)
		}
		assign(sign(j, "bob", bob))
		b.does(ran...)
		b.o.cfg.Opener.Trust = trust
		bound, err := sealed.Bind(j, "bob", time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		again, err := sealed.Seal(bound, sealed.Content{}, []sealed.Key{b.key.Public()}, bob)
		if err != nil {
			t.Fatal(err)
		}
		b.say(sluice.ToWorker{Secrets: &sluice.WorkerSecrets{Job: j, Sealed: again}})
		assign(sign(j, "bob", bob))
		b.does(ran...)
	})
}
