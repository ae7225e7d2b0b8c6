package envelopes

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/sealed"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func aJob(n int) *sluice.Job {
	return &sluice.Job{ID: sluice.JobID(fmt.Sprintf("%012d", n)), Namespace: "prod", By: "ann", Command: "true", Targets: []sluice.Host{"h"},
		Options: sluice.Options{AskPassword: true}}
}

// bench is a worker, somebody who gives secrets, and a clock.
type bench struct {
	t      *testing.T
	now    time.Time
	key    *sealed.WorkerKey
	signer *sealed.Signer
	store  Store
	opener Opener
}

func newBench(t *testing.T) *bench {
	t.Helper()
	key, err := sealed.NewWorkerKey()
	signer, err2 := sealed.NewSigner()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, now: start, key: key, signer: signer}
	b.opener = Opener{Key: key, Trust: func(string, sealed.Key) error { return nil }, Clock: func() time.Time { return b.now }}
	return b
}

func (b *bench) seal(j *sluice.Job, by, password string, life time.Duration) sealed.Envelope {
	b.t.Helper()
	bound, err := sealed.Bind(j, by, b.now.Add(life))
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := sealed.Seal(bound, sealed.Content{Password: sluice.NewSecret([]byte(password))}, []sealed.Key{b.key.Public()}, b.signer)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *bench) put(j *sluice.Job, e sealed.Envelope) (undo func()) {
	b.t.Helper()
	undo, err := b.store.Put(j, "ann", e, b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	return undo
}

func (b *bench) open(j *sluice.Job) *Job {
	return b.opener.Job(j, func() sealed.Envelope { return b.store.Get(j.ID, b.now) }, func(e sealed.Envelope) { b.store.Drop(j.ID, e) })
}

// gets is the password that a job gives out now, and what to call with the verdict.
func (b *bench) gets(j *Job) (string, func(bool), error) {
	s, done, err := j.Login(b.t.Context(), "h")
	return string(s.Reveal()), done, err
}

func (b *bench) is(j *Job, want string) func(bool) {
	b.t.Helper()
	got, done, err := b.gets(j)
	if err != nil || got != want {
		b.t.Fatalf("%q, error %v, want %q", got, err, want)
	}
	return done
}

func (b *bench) isNone(j *Job, says string) {
	b.t.Helper()
	if _, _, err := b.gets(j); !errors.Is(err, sluice.ErrNoSecret) || !strings.Contains(err.Error(), says) {
		b.t.Fatalf("error %v, want one with %q", err, says)
	}
}

func TestWhatIsPutIsGivenOut(t *testing.T) {
	b, j := newBench(t), aJob(1)
	secrets := b.open(j)
	b.isNone(secrets, "needs its secrets")
	b.put(j, b.seal(j, "ann", "one", time.Hour))
	b.is(secrets, "one")(true)
	if v := secrets.Values(); len(v) != 1 {
		t.Errorf("%d values to mask", len(v))
	}
	undo := b.put(j, b.seal(j, "ann", "two", time.Hour))
	b.is(secrets, "two")(true)
	if v := secrets.Values(); len(v) != 2 {
		t.Errorf("%d values to mask: also the old one may still be printed", len(v))
	}
	undo()
	b.is(secrets, "one")(true)
	held, _, err := secrets.Login(t.Context(), "h")
	if err != nil {
		t.Fatal(err)
	}
	text := held.Reveal()
	secrets.Close()
	for _, c := range text {
		if c != 0 {
			t.Error("it is not wiped")
		}
	}
	b.isNone(secrets, "needs its secrets")
}

func TestAJobWithoutSecrets(t *testing.T) {
	b, j := newBench(t), aJob(1)
	j.Options = sluice.Options{}
	secrets := b.open(j)
	if err := secrets.Check(); err != nil {
		t.Error(err)
	}
	b.isNone(secrets, "no password")
}

// TestWhatIsOpenStaysOpenUntilItsTimeIsOver: the server may forget an envelope while the job is driven.
func TestWhatIsOpenStaysOpenUntilItsTimeIsOver(t *testing.T) {
	b, j := newBench(t), aJob(1)
	e := b.seal(j, "ann", "one", time.Hour)
	b.put(j, e)
	secrets := b.open(j)
	b.is(secrets, "one")(true)
	b.store.Drop(j.ID, e)
	b.is(secrets, "one")(true)
	b.now = start.Add(time.Hour)
	b.isNone(secrets, "good until")
	if secrets.Check() == nil || b.store.Get(j.ID, b.now) != nil {
		t.Error("the time is over")
	}
	b.put(j, b.seal(j, "ann", "later", time.Hour))
	b.is(secrets, "later")(true)
}

// TestRefusedTwice: what two hosts refused is gone before anybody hears of it.
func TestRefusedTwice(t *testing.T) {
	b, j := newBench(t), aJob(1)
	b.put(j, b.seal(j, "ann", "wrong", time.Hour))
	secrets := b.open(j)
	b.is(secrets, "wrong")(false)
	if b.store.Get(j.ID, b.now) == nil {
		t.Error("once is not enough")
	}
	b.is(secrets, "wrong")(false)
	if b.store.Get(j.ID, b.now) != nil {
		t.Error("it is still there")
	}
	if _, _, err := b.gets(secrets); !errors.Is(err, sluice.ErrSecretRefused) {
		t.Errorf("the third host gets %v", err)
	}
	b.put(j, b.seal(j, "ann", "right", time.Hour))
	b.is(secrets, "right")(true)
}

func TestNotForThisWorker(t *testing.T) {
	b, j := newBench(t), aJob(1)
	b.put(j, b.seal(j, "ann", "one", time.Hour))
	b.opener.Trust = func(by string, _ sealed.Key) error { return sluice.Errorf(sluice.Denied, "%s is not known", by) }
	b.isNone(b.open(j), "ann is not known")
	b.opener.Trust = func(string, sealed.Key) error { return nil }
	other := *j
	other.Command = "false"
	b.isNone(b.open(&other), "for another job than it is now")
	key, err := sealed.NewWorkerKey()
	if err != nil {
		t.Fatal(err)
	}
	b.opener.Key = key
	b.isNone(b.open(j), "other workers")
}

func TestTheStoreRefuses(t *testing.T) {
	b, j := newBench(t), aJob(1)
	e := b.seal(j, "ann", "one", time.Hour)
	other := *j
	other.Command = "false"
	for _, c := range []struct {
		name string
		job  *sluice.Job
		by   string
		e    sealed.Envelope
		code sluice.Code
	}{
		{"nonsense", j, "ann", sealed.Envelope("x"), sluice.Usage},
		{"somebody else's", j, "bob", e, sluice.Denied},
		{"another job's", aJob(2), "ann", e, sluice.Conflict},
		{"the job as it was", &other, "ann", e, sluice.Conflict},
		{"too late", j, "ann", b.seal(j, "ann", "one", 0), sluice.Conflict},
	} {
		if _, err := b.store.Put(c.job, c.by, c.e, b.now); sluice.CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := b.store.PutFirst(c.job, c.by, c.e, b.now); sluice.CodeOf(err) != c.code {
			t.Errorf("%s, first: %v", c.name, err)
		}
	}
	if b.store.Get(j.ID, b.now) != nil || b.store.bytes != 0 {
		t.Error("something is kept")
	}
}

// TestSubmittedTwice: to ask once more, because no answer came, takes nothing away from the job that is there.
func TestSubmittedTwice(t *testing.T) {
	b, j := newBench(t), aJob(1)
	first, again := b.seal(j, "ann", "one", time.Hour), b.seal(j, "ann", "one", time.Hour)
	if _, err := b.store.PutFirst(j, "ann", first, b.now); err != nil {
		t.Fatal(err)
	}
	undo, err := b.store.PutFirst(j, "ann", again, b.now)
	if err != nil {
		t.Fatal(err)
	}
	undo()
	if got := b.store.Get(j.ID, b.now); string(got) != string(first) {
		t.Error("the first one is gone")
	}
}

// TestTheStoreIsBounded: no number of jobs fills the server's memory, and what is over makes room.
func TestTheStoreIsBounded(t *testing.T) {
	b := newBench(t)
	for n := range maxJobs {
		j := aJob(n)
		h, err := sealed.Bind(j, "ann", b.now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		b.store.keep(j.ID, kept{make(sealed.Envelope, 100), h.Expires}) // a thousand real ones take long
	}
	j := aJob(maxJobs)
	e := b.seal(j, "ann", "one", 2*time.Hour)
	if _, err := b.store.Put(j, "ann", e, b.now); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("one more than there is room for: %v", err)
	}
	b.now = start.Add(time.Hour)
	b.put(j, e)
	if len(b.store.of) != 1 || b.store.bytes != len(e) {
		t.Errorf("%d are kept, of %d bytes", len(b.store.of), b.store.bytes)
	}
}
