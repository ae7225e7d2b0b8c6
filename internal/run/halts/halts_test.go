package halts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/haltsdir"
	"sluice/internal/core/access"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/internal/run/halts"
	"sluice/internal/run/rights"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const prod sluice.Namespace = "prod"

// town is a log with jobs and people, which servers keep halts for.
type town struct {
	t       *testing.T
	log     *fake.Log
	desk    *control.Service
	rights  *rights.Keeper
	root    access.Bearer
	now     time.Time
	began   []sluice.Head // of the log, when the term of who owns it now began
	settled []string      // what was told
	tagged  func() ([]sluice.Host, error)
}

func newTown(t *testing.T) *town {
	w := &town{t: t, log: fake.NewLog(), now: time.Unix(1e9, 0).UTC(), tagged: func() ([]sluice.Host, error) { return nil, errors.New("nobody needs to know") }}
	clock := func() time.Time { return w.now }
	w.desk = &control.Service{Log: w.log, Drivers: fake.NewDrivers(), Outputs: fake.NewOutputs(), Blobs: fake.NewBlobs(), Clock: clock, By: "server"}
	var err error
	if w.rights, err = rights.New(t.Context(), w.log, clock); err != nil {
		t.Fatal(err)
	}
	secret, err := w.rights.First(t.Context(), "root", "first")
	if err == nil {
		w.root, err = w.rights.Login(t.Context(), secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// taker is what a new owner of the log has.
func (w *town) taker() *halts.Taker {
	return halts.NewTaker(halts.TakerConfig{Log: w.log, Began: w.began, Rights: w.rights, Service: w.desk, Told: func(_ sluice.KeptHalt, what string) { w.settled = append(w.settled, what) },
		Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
			hosts, err := w.tagged()
			return func(sluice.Tag) []sluice.Host { return hosts }, err
		}})
}

// heads are those of a copy that has all that there is now.
func (w *town) heads(context.Context) (out []sluice.Head, err error) {
	spaces, err := w.log.Namespaces(w.t.Context())
	for _, ns := range spaces {
		events, failed := w.log.Read(w.t.Context(), ns, 0, 1<<20)
		out, err = append(out, sluice.Head{Namespace: ns, Seq: uint64(len(events))}), errors.Join(err, failed)
	}
	return out, err
}

// keeper is a server that was cut off when the log ended as it does now.
func (w *town) keeper(name sluice.ServerName, shelf halts.Shelf) *halts.Keeper {
	w.t.Helper()
	had, err := w.heads(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	k, err := halts.New(shelf, name, func(context.Context) ([]sluice.Head, error) { return had, nil }, func() time.Time { return w.now })
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

func (w *town) submit(ns sluice.Namespace) sluice.JobID {
	w.t.Helper()
	f := &sluice.Fleet{Namespace: ns, Tags: map[sluice.Tag][]sluice.Host{}, Source: "fleet.yaml", Hosts: []sluice.Host{"h1"}}
	f.Constraints = []sluice.Constraint{{Name: "$all", Groups: []sluice.Group{{Name: "$all", Limit: sluice.Count(1), Members: f.Hosts}}}}
	draft, err := w.desk.Prepare(w.t.Context(), control.Request{Fleet: f, Targets: f.Hosts, Command: "true"})
	if err == nil {
		_, err = w.desk.Submit(w.t.Context(), draft)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return draft.Job.ID
}

func (w *town) info(id sluice.JobID) schedule.Info {
	w.t.Helper()
	i, _, err := w.desk.Info(w.t.Context(), string(id))
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

func (w *town) resume(id sluice.JobID) {
	w.t.Helper()
	if _, err := w.desk.Resume(w.t.Context(), id, nil); err != nil {
		w.t.Fatal(err)
	}
}

// halts are the kept halts that halted a job.
func (w *town) halts(id sluice.JobID) (out []string) {
	w.t.Helper()
	events, err := w.log.ReadJob(w.t.Context(), prod, id)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if b, is := e.Body.(sluice.JobHalting); is {
			out = append(out, b.Request)
		}
	}
	return out
}

// notes are what the audit says of kept halts.
func (w *town) notes() (out []sluice.AccessNoted) {
	w.t.Helper()
	events, err := w.log.Read(w.t.Context(), sluice.AccessNamespace, 0, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if b, is := e.Body.(sluice.AccessNoted); is {
			out = append(out, b)
		}
	}
	return out
}

func (w *town) keep(k *halts.Keeper, h sluice.KeptHalt) sluice.KeptHalt {
	w.t.Helper()
	if h.Principal == "" {
		h.Principal, h.Token = w.root.Principal, w.root.Token
	}
	h, err := k.Keep(w.t.Context(), h)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// settle has a taker settle all that a keeper keeps.
func (w *town) settle(taker *halts.Taker, k *halts.Keeper) {
	w.t.Helper()
	ids, err := taker.Take(w.t.Context(), k.All())
	if err == nil {
		err = k.Forget(ids)
	}
	if left := k.All(); err != nil || len(left) > 0 {
		w.t.Fatalf("left %v, error %v", left, err)
	}
}

func (w *town) shelf() haltsdir.Dir { return haltsdir.Dir(filepath.Join(w.t.TempDir(), "halts")) }

// TestKept: a halt that is kept is there after a restart, is appended in the name of who asked for it, and is in the audit.
func TestKept(t *testing.T) {
	w := newTown(t)
	id := w.submit(prod)
	shelf := w.shelf()
	k := w.keeper("s3", shelf)
	h := w.keep(k, sluice.KeptHalt{Namespace: prod, Job: id, Reason: "it smokes", From: "192.0.2.7"})
	if h.ID == "" || h.Server != "s3" || !h.At.Equal(w.now) || h.Known[prod] != 2 || len(h.Known) != 1 {
		t.Errorf("kept %+v", h)
	}
	w.now = w.now.Add(time.Hour)
	k = w.keeper("s3", shelf)
	all := k.All()
	if len(all) != 1 || all[0].ID != h.ID || all[0].Age < time.Hour || all[0].Age > time.Hour+time.Minute {
		t.Fatalf("after a restart %+v", all)
	}
	w.settle(w.taker(), k)
	if i := w.info(id); i.State != schedule.Halted || i.Halted.Reason != "it smokes" || i.Halted.Rule != sluice.RuleOperator {
		t.Errorf("the job is %+v", i)
	}
	if got := w.halts(id); !slices.Equal(got, []string{h.ID}) {
		t.Errorf("halted by %q", got)
	}
	n := w.notes()
	if len(n) != 1 || n[0].Principal != "root" || n[0].Token != w.root.Token || n[0].From != "192.0.2.7" || n[0].Request != h.ID || n[0].Refused != "" || n[0].Namespace != prod ||
		!strings.Contains(n[0].What, "the server s3 was asked for at 2001-09-09T01:46:40Z") || !strings.HasSuffix(n[0].What, "it halts the job "+string(id)) {
		t.Errorf("noted %+v", n)
	}
	if all, err := shelf.All(); err != nil || len(all) > 0 {
		t.Errorf("kept yet %v, error %v", all, err)
	}
}

// TestAskedAgain: who asks again asks for a newer halt, and it takes the place of the older one.
func TestAskedAgain(t *testing.T) {
	w := newTown(t)
	id := w.submit(prod)
	shelf := w.shelf()
	k := w.keeper("s3", shelf)
	first := w.keep(k, sluice.KeptHalt{Namespace: prod, Job: id, Reason: "one"})
	w.now = w.now.Add(time.Minute)
	second := w.keep(k, sluice.KeptHalt{Namespace: prod, Job: id, Reason: "two"})
	w.keep(k, sluice.KeptHalt{Namespace: prod, Reason: "three"})
	if all, err := shelf.All(); err != nil || len(all) != 2 || first.ID == second.ID || slices.ContainsFunc(all, func(h sluice.KeptHalt) bool { return h.ID == first.ID }) {
		t.Errorf("kept %+v, error %v", all, err)
	}
	if err := k.Forget([]string{first.ID}); err != nil || len(k.All()) != 2 {
		t.Errorf("%v, error %v", k.All(), err)
	}
}

// TestMost: a server takes no halts without end, but one for all jobs is one.
func TestMost(t *testing.T) {
	w := newTown(t)
	k := w.keeper("s3", &plain{})
	var err error
	for n := 0; err == nil && n < 2000; n++ {
		_, err = k.Keep(t.Context(), sluice.KeptHalt{Principal: "root", Namespace: prod, Job: sluice.JobID(fmt.Sprint(n))})
	}
	if sluice.CodeOf(err) != sluice.Conflict || len(k.All()) != 1000 {
		t.Errorf("%d, error %v", len(k.All()), err)
	}
	if _, err := k.Keep(t.Context(), sluice.KeptHalt{Principal: "root", Namespace: prod, Job: "7"}); err != nil {
		t.Errorf("one that is there already: %v", err)
	}
}

// TestOldest: however many and long they are, and however many namespaces there are, all are offered in the end, and no offer is too large to be
// handed over.
func TestOldest(t *testing.T) {
	var heads []sluice.Head
	for n := range 20_000 {
		heads = append(heads, sluice.Head{Namespace: sluice.Namespace(fmt.Sprintf("%064d", n)), Seq: 1 << 63})
	}
	heads = append(heads, sluice.Head{Namespace: prod, Seq: 7}, sluice.Head{Namespace: sluice.AccessNamespace, Seq: 9})
	k, err := halts.New(&plain{}, "s3", func(context.Context) ([]sluice.Head, error) { return heads, nil }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	all := sluice.KeptHalt{Principal: "root", Reason: strings.Repeat("\x01", 1<<20)}
	for n := range 1000 {
		h := sluice.KeptHalt{Principal: "root", Namespace: prod, Job: sluice.JobID(fmt.Sprint(n)), Reason: strings.Repeat("\x01", 1000)}
		if n%100 == 50 {
			h = all
			h.Token = sluice.TokenID(fmt.Sprint(n))
		}
		h, err := k.Keep(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if h.Reason != strings.Repeat("\x01", 1000) {
			t.Fatalf("a reason of %d characters", len(h.Reason))
		}
		if h.Job != "" && (len(h.Known) != 1 || h.Known[prod] != 7) || h.Job == "" && len(h.Known) < 1000 {
			t.Fatalf("of %s %d ends are known", h.Of(), len(h.Known))
		}
	}
	want := k.All()
	for rounds := 0; len(want) > 0; rounds++ {
		got := k.Next()
		text, err := json.Marshal(got)
		if err != nil || len(text) > 256<<10+100 || rounds > 100 {
			t.Fatalf("offer %d has %d bytes, error %v", rounds, len(text), err)
		}
		var ids []string
		for i, h := range got {
			if h.ID != want[i].ID {
				t.Fatalf("offer %d is not of the oldest", rounds)
			}
			ids = append(ids, h.ID)
		}
		if len(got) == 0 {
			t.Fatalf("%d are never offered", len(want))
		}
		want = want[len(got):]
		if err := k.Forget(ids); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatNobodySettles: halts that nobody can settle are offered again and again, and so are those behind them.
func TestWhatNobodySettles(t *testing.T) {
	k, err := halts.New(&plain{}, "s3", func(context.Context) ([]sluice.Head, error) { return nil, nil }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 900 {
		if _, err := k.Keep(t.Context(), sluice.KeptHalt{Principal: "root", Namespace: prod, Job: sluice.JobID(fmt.Sprint(n)), Reason: strings.Repeat("x", 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	var order []sluice.JobID
	for range 12 {
		for _, h := range k.Next() {
			order = append(order, h.Job)
		}
	}
	if len(order) < 2*900 {
		t.Fatalf("only %d are offered in 12 rounds", len(order))
	}
	for n, id := range order {
		if id != sluice.JobID(fmt.Sprint(n%900)) {
			t.Fatalf("the offer %d is %s", n, id)
		}
	}
}

// TestAllThatFits: where all that are kept fit into one offer, each has all, also those that were offered before: who is asked once may be asked by the
// next owner.
func TestAllThatFits(t *testing.T) {
	k, err := halts.New(&plain{}, "s3", func(context.Context) ([]sluice.Head, error) { return nil, nil }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if _, err := k.Keep(t.Context(), sluice.KeptHalt{Principal: "root", Namespace: prod, Job: sluice.JobID(fmt.Sprint(n)), Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := k.Next(); len(got) != n+1 {
				t.Fatalf("of %d it offers %d", n+1, len(got))
			}
		}
	}
}

// TestNoNamespace: what nobody could ever append is not kept.
func TestNoNamespace(t *testing.T) {
	w := newTown(t)
	shelf := w.shelf()
	k := w.keeper("s3", shelf)
	for _, ns := range []sluice.Namespace{sluice.AccessNamespace, sluice.WebhookNamespace, "-x", "a b", "..", "ä", sluice.Namespace(strings.Repeat("n", 65))} {
		if _, err := k.Keep(t.Context(), sluice.KeptHalt{Principal: "root", Namespace: ns}); sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("%q: %v", ns, err)
		}
	}
	if all, err := shelf.All(); err != nil || len(all) > 0 || len(k.All()) > 0 {
		t.Errorf("kept %v, error %v", all, err)
	}
}

// plain is a shelf in memory.
type plain struct {
	mu   sync.Mutex
	kept []sluice.KeptHalt
	fail error
}

func (p *plain) All() ([]sluice.KeptHalt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.kept), p.fail
}

func (p *plain) Put(h sluice.KeptHalt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail == nil {
		p.kept = append(p.kept, h)
	}
	return p.fail
}

func (p *plain) Remove(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail == nil {
		p.kept = slices.DeleteFunc(p.kept, func(h sluice.KeptHalt) bool { return h.ID == id })
	}
	return p.fail
}

// TestDiskFails: what is not on the disk is not said to be kept, and what is on it is not passed over.
func TestDiskFails(t *testing.T) {
	w := newTown(t)
	shelf := &plain{}
	k := w.keeper("s3", shelf)
	w.keep(k, sluice.KeptHalt{Namespace: prod, Job: "a"})
	shelf.fail = errors.New("no room")
	if _, err := k.Keep(t.Context(), sluice.KeptHalt{Principal: "root", Namespace: prod, Job: "b"}); sluice.CodeOf(err) != sluice.Contact || !errors.Is(err, shelf.fail) {
		t.Errorf("kept with %v", err)
	}
	all := k.All()
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	if err := k.Forget([]string{all[0].ID}); err == nil || len(k.All()) != 1 {
		t.Errorf("forgotten with %v", err)
	}
	if _, err := halts.New(shelf, "s3", w.heads, time.Now); !errors.Is(err, shelf.fail) {
		t.Errorf("a start with %v", err)
	}
	unread := errors.New("the copy cannot be read")
	k, err := halts.New(&plain{}, "s3", func(context.Context) ([]sluice.Head, error) { return nil, unread }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Keep(t.Context(), sluice.KeptHalt{Principal: "root"}); !errors.Is(err, unread) || len(k.All()) != 0 {
		t.Errorf("kept with %v", err)
	}
}

// TestOnce: a halt is appended once, whoever offers it how often, before and after the owner of the log changes.
func TestOnce(t *testing.T) {
	w := newTown(t)
	id := w.submit(prod)
	k := w.keeper("s3", w.shelf())
	h := w.keep(k, sluice.KeptHalt{Namespace: prod, Job: id})
	taker := w.taker()
	var all sync.WaitGroup
	for range 10 { // two servers, of which one is a copy of the other, and answers that were lost
		all.Go(func() {
			if ids, err := taker.Take(t.Context(), []sluice.KeptHalt{h, h}); err != nil || !slices.Equal(ids, []string{h.ID, h.ID}) {
				t.Errorf("settled %v, error %v", ids, err)
			}
		})
	}
	all.Wait()
	w.resume(id)
	w.settle(taker, k)
	k2 := w.keeper("s4", &plain{kept: []sluice.KeptHalt{h}})
	w.settle(w.taker(), k2)
	if i := w.info(id); i.State == schedule.Halted || i.State == schedule.Halting {
		t.Errorf("a resume was undone: %s", i.State)
	}
	if got := w.halts(id); len(got) != 1 || len(w.notes()) != 1 {
		t.Errorf("halted by %q, noted %+v", got, w.notes())
	}
}

// TestTwoServers: the same person asks two servers, and two people one.
func TestTwoServers(t *testing.T) {
	w := newTown(t)
	id := w.submit(prod)
	one, two := w.keeper("s3", w.shelf()), w.keeper("s4", w.shelf())
	first := w.keep(one, sluice.KeptHalt{Namespace: prod, Job: id})
	w.keep(two, sluice.KeptHalt{Namespace: prod, Job: id})
	taker := w.taker()
	w.settle(taker, one)
	w.settle(taker, two)
	if got := w.halts(id); !slices.Equal(got, []string{first.ID}) {
		t.Errorf("halted by %q", got)
	}
	if n := w.notes(); len(n) != 2 || !strings.HasSuffix(n[1].What, "there was nothing to halt any more") {
		t.Errorf("noted %+v", n)
	}
}

// TestLost: the answer to an append is lost, or the owner, at any point. The halt is appended, once, and a resume after that stays.
func TestLost(t *testing.T) {
	lost := errors.New("lost")
	for point := range 4 {
		w := newTown(t)
		id := w.submit(prod)
		k := w.keeper("s3", w.shelf())
		w.keep(k, sluice.KeptHalt{Namespace: prod, Job: id})
		n := 0
		fail := func(at int) fake.Fault {
			return func(context.Context) error {
				if n++; n == at {
					return lost
				}
				return nil
			}
		}
		switch point { // the halt and then the note: before and after each is durable
		case 0, 1:
			w.log.Faults.Set(fake.LogUpdate, fail(point+1))
		default:
			w.log.Faults.Set(fake.LogResult, fail(point-1))
		}
		ids, err := w.taker().Take(t.Context(), k.All())
		if len(ids) != 0 || !errors.Is(err, lost) {
			t.Errorf("%d: settled %v, error %v", point, ids, err)
		}
		w.log.Faults.Set(fake.LogUpdate, nil)
		w.log.Faults.Set(fake.LogResult, nil)
		if err := k.Forget(ids); err != nil || len(k.All()) != 1 {
			t.Errorf("%d: kept %v, error %v", point, k.All(), err)
		}
		resumed := w.info(id).State == schedule.Halted
		if resumed != (point > 0) {
			t.Errorf("%d: the job is %s", point, w.info(id).State)
		}
		if resumed {
			w.resume(id)
		}
		w.settle(w.taker(), k)
		if s := w.info(id).State; (s == schedule.Halted) == resumed {
			t.Errorf("%d: the job is %s", point, s)
		}
		notes := w.notes()
		if got := w.halts(id); len(got) != 1 || len(notes) != 1 || !strings.HasSuffix(notes[0].What, "it halts the job "+string(id)) {
			t.Errorf("%d: halted by %q, noted %+v", point, got, notes)
		}
	}
}

// TestLate: a halt is as if it had been appended when it was asked for. What was resumed or submitted since goes on; whose resume the server's
// copy held then, or whose moment is not later, does not, whatever its time says. The time of what came in another term is of another clock.
func TestLate(t *testing.T) {
	for name, c := range map[string]struct {
		all                  bool          // the halt is for all jobs
		halted, known, later bool          // the job was halted and resumed: the server's copy held that; it was done after the halt was asked for
		ahead                time.Duration // what the owner's clock was ahead of the others' then
		next                 bool          // another one owns the log since then
		want                 schedule.JobState
	}{
		"nothing came between":                  {want: schedule.Halted},
		"resumed before, and known":             {halted: true, known: true, want: schedule.Halted},
		"resumed before, by a clock ahead":      {halted: true, known: true, ahead: 3 * time.Hour, want: schedule.Halted},
		"resumed before, elsewhere":             {halted: true, want: schedule.Halted},
		"resumed before, by another clock":      {halted: true, ahead: 3 * time.Hour, next: true, want: schedule.Halted},
		"resumed since, in another term":        {halted: true, later: true, next: true, want: schedule.Halted},
		"resumed since":                         {halted: true, later: true, want: schedule.Waiting},
		"all: nothing came between":             {all: true, want: schedule.Halted},
		"all: resumed before, by a clock ahead": {all: true, halted: true, known: true, ahead: 3 * time.Hour, want: schedule.Halted},
		"all: resumed before, by another clock": {all: true, halted: true, ahead: 3 * time.Hour, next: true, want: schedule.Halted},
		"all: resumed since, in another term":   {all: true, halted: true, later: true, next: true, want: schedule.Halted},
		"all: resumed since":                    {all: true, halted: true, later: true, want: schedule.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			id := w.submit(prod)
			resume := func() {
				if !c.halted {
					return
				}
				w.now = w.now.Add(c.ahead)
				if _, err := w.desk.Halt(t.Context(), id, "elsewhere"); err != nil {
					t.Fatal(err)
				}
				w.resume(id)
				w.now = w.now.Add(-c.ahead)
			}
			w.now = w.now.Add(time.Minute)
			if c.known {
				resume()
			}
			shelf := w.shelf()
			k := w.keeper("s3", shelf)
			if !c.known && !c.later {
				resume()
			}
			w.now = w.now.Add(time.Minute)
			h := sluice.KeptHalt{Namespace: prod, Job: id}
			if c.all {
				h.Job = ""
			}
			w.keep(k, h)
			w.now = w.now.Add(time.Minute)
			later := sluice.JobID("")
			if c.later {
				resume()
				later = w.submit(prod)
			}
			if c.next {
				var err error
				if w.began, err = w.heads(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			w.now = w.now.Add(time.Hour)
			k = w.keeper("s3", shelf)
			w.settle(w.taker(), k)
			if i := w.info(id); i.State != c.want {
				t.Errorf("the job is %s", i.State)
			}
			if later != "" && (w.info(later).State == schedule.Halted) != (c.all && c.next) {
				t.Errorf("a later one is %s", w.info(later).State)
			}
			if n := w.notes(); len(n) != 1 || strings.Contains(n[0].What, "later") != (c.later && !c.next) {
				t.Errorf("noted %+v", n)
			}
		})
	}
}

// TestOver: a job that is over stays so, and one that nobody knows any more is no reason to keep its halt.
func TestOver(t *testing.T) {
	w := newTown(t)
	id := w.submit(prod)
	k := w.keeper("s3", w.shelf())
	w.keep(k, sluice.KeptHalt{Namespace: prod, Job: id})
	w.now = w.now.Add(time.Second)
	w.keep(k, sluice.KeptHalt{Namespace: prod, Job: "0123456789ab"})
	if _, err := w.log.Update(t.Context(), prod, 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: w.now, Job: id, Body: sluice.JobFinished{Outcome: sluice.Succeeded}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	w.settle(w.taker(), k)
	if i := w.info(id); i.State != schedule.Succeeded || len(w.halts(id)) != 0 {
		t.Errorf("the job is %+v", i)
	}
	if n := w.notes(); len(n) != 2 || !strings.HasSuffix(n[0].What, "there was nothing to halt any more") || n[1].Refused == "" {
		t.Errorf("noted %+v", n)
	}
}

// TestRightLost: who may not halt any more does not, and that is in the audit. A token that has expired meanwhile is no reason.
func TestRightLost(t *testing.T) {
	for name, c := range map[string]struct {
		lose    func(b access.Bearer, grant sluice.Grant) []sluice.Body
		refused bool
	}{
		"the right": {func(_ access.Bearer, g sluice.Grant) []sluice.Body { return []sluice.Body{sluice.GrantTaken{Grant: g}} }, true},
		"the token": {func(b access.Bearer, _ sluice.Grant) []sluice.Body {
			return []sluice.Body{sluice.TokenRevoked{ID: b.Token}}
		}, true},
		"the account": {func(b access.Bearer, _ sluice.Grant) []sluice.Body {
			return []sluice.Body{sluice.PrincipalRemoved{Principal: b.Principal}}
		}, true},
		"only a while": {func(access.Bearer, sluice.Grant) []sluice.Body { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			w.tagged = func() ([]sluice.Host, error) { return nil, nil }
			id := w.submit(prod)
			grant := sluice.Grant{Principal: "ann", Role: access.Operator, Namespace: prod}
			if err := w.rights.Change(t.Context(), w.root, sluice.PrincipalAdded{Principal: "ann"}, sluice.GrantGiven{Grant: grant}); err != nil {
				t.Fatal(err)
			}
			secret, _, err := w.rights.MakeToken(t.Context(), w.root, sluice.Token{Principal: "ann", Label: "ann's", Expires: w.now.Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			b, err := w.rights.Login(t.Context(), secret)
			if err != nil {
				t.Fatal(err)
			}
			k := w.keeper("s3", w.shelf())
			w.keep(k, sluice.KeptHalt{Principal: b.Principal, Token: b.Token, Namespace: prod, Job: id})
			if lose := c.lose(b, grant); lose != nil {
				if err := w.rights.Change(t.Context(), w.root, lose...); err != nil {
					t.Fatal(err)
				}
			}
			w.now = w.now.Add(2 * time.Hour)
			before := len(w.notes())
			w.settle(w.taker(), k)
			if got := w.info(id).State == schedule.Halted; got == c.refused {
				t.Errorf("halted: %t", got)
			}
			if n := w.notes()[before:]; len(n) != 1 || n[0].Principal != "ann" || (n[0].Refused != "") != c.refused {
				t.Errorf("noted %+v", n)
			}
			if len(w.settled) != 1 || strings.Contains(w.settled[0], "it was refused") != c.refused {
				t.Errorf("told %q", w.settled)
			}
		})
	}
}

// TestTags: who may halt on some hosts may where those have the tag now. Where that cannot be read, what the server found that kept the halt
// holds: to start something instead could not be taken back.
func TestTags(t *testing.T) {
	for _, c := range []struct {
		what    string
		tagged  []sluice.Host
		err     error
		refused bool
	}{
		{"they have it", []sluice.Host{"h1"}, nil, false},
		{"they have it no more", nil, nil, true},
		{"it cannot be read", nil, sluice.Errorf(sluice.NotFound, "the fleet is elsewhere"), false},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newTown(t)
			id := w.submit(prod)
			if err := w.rights.Change(t.Context(), w.root, sluice.PrincipalAdded{Principal: "ann"}, sluice.GrantGiven{Grant: sluice.Grant{Principal: "ann", Role: access.Operator, Namespace: prod, Tags: []sluice.Tag{"web"}}}); err != nil {
				t.Fatal(err)
			}
			k := w.keeper("s3", w.shelf())
			w.keep(k, sluice.KeptHalt{Principal: "ann", Namespace: prod, Job: id})
			w.tagged = func() ([]sluice.Host, error) { return c.tagged, c.err }
			w.settle(w.taker(), k)
			if s := w.info(id).State; (s == schedule.Halted) == c.refused {
				t.Errorf("the job is %s", s)
			}
			if n := w.notes(); len(n) == 0 || (n[len(n)-1].Refused != "") != c.refused {
				t.Errorf("noted %+v", n)
			}
		})
	}
}

// TestAll: a halt of all jobs, of one namespace or of every one.
func TestAll(t *testing.T) {
	w := newTown(t)
	one, two := w.submit(prod), w.submit("lab")
	k := w.keeper("s3", w.shelf())
	w.keep(k, sluice.KeptHalt{Namespace: "lab"})
	w.settle(w.taker(), k)
	if a, b := w.info(one).State, w.info(two).State; a != schedule.Waiting || b != schedule.Halted {
		t.Errorf("%s and %s", a, b)
	}
	h := w.keep(k, sluice.KeptHalt{})
	if len(h.Known) != 2 || h.Known[prod] == 0 || h.Known["lab"] == 0 {
		t.Errorf("known %v", h.Known)
	}
	w.settle(w.taker(), k)
	if s := w.info(one).State; s != schedule.Halted {
		t.Errorf("then %s", s)
	}
	if n := w.notes(); len(n) != 2 || !strings.HasSuffix(n[1].What, "it halts the job "+string(one)) {
		t.Errorf("noted %+v", n)
	}
}
