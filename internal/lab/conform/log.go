package conform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice"
)

const (
	prod sluice.Namespace = "prod"
	lab  sluice.Namespace = "lab"

	jobA sluice.JobID = "aaaa00000000"
	jobB sluice.JobID = "aaab00000000"
	jobC sluice.JobID = "c00000000000"
)

// Log is the suite of [sluice.Log].
func Log(t *testing.T, open func(t *testing.T) sluice.Log) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, l sluice.Log)
	}{
		{"Empty", logEmpty},
		{"AppendAndRead", logAppendAndRead},
		{"Limit", logLimit},
		{"Tail", logTail},
		{"NothingDecided", logNothingDecided},
		{"Refused", logRefused},
		{"Panic", logPanic},
		{"BeyondHead", logBeyondHead},
		{"BadEvents", logBadEvents},
		{"BadNamespace", logBadNamespace},
		{"ReservedNamespace", logReservedNamespace},
		{"Cancelled", logCancelled},
		{"Bodies", logBodies},
		{"UnknownBodies", logUnknownBodies},
		{"NoSharedMemory", logNoSharedMemory},
		{"LargeRecord", logLargeRecord},
		{"ReadJob", logReadJob},
		{"FindJob", logFindJob},
		{"Namespaces", logNamespaces},
		{"WaitForWhatIs", logWaitForWhatIs},
		{"WaitForWhatComes", logWaitForWhatComes},
		{"WaitOnlyForIts", logWaitOnlyForIts},
		{"Writers", func(t *testing.T, l sluice.Log) { logWriters(t, l, l) }},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	t.Run("Model", func(t *testing.T) { logModel(t, open) })
}

// SharedLog is the suite of two handles on one log, as two processes have them.
func SharedLog(t *testing.T, open func(t *testing.T) (a, b sluice.Log)) {
	t.Run("Writers", func(t *testing.T) {
		a, b := open(t)
		logWriters(t, a, b)
	})
	t.Run("SeesTheOther", func(t *testing.T) {
		a, b := open(t)
		appendTo(t, a, prod, held("h1"))
		sameEvents(t, read(t, b, prod, 0), read(t, a, prod, 0))
		update(t, b, prod, 0, func(tail []sluice.Event) ([]sluice.Event, error) {
			if len(tail) != 1 {
				t.Errorf("the other handle's event is not in the tail: %d events", len(tail))
			}
			return []sluice.Event{held("h2")}, nil
		})
		if got := read(t, a, prod, 0); len(got) != 2 {
			t.Errorf("the first handle reads %d events, not 2", len(got))
		}
	})
	t.Run("WaitsForTheOther", func(t *testing.T) {
		a, b := open(t)
		appendTo(t, a, prod, held("h1"))
		ended := make(chan error, 1)
		go func() { ended <- b.Wait(t.Context(), prod, 1) }()
		appendTo(t, a, prod, held("h2"))
		within(t, ended, nil)
	})
}

func logEmpty(t *testing.T, l sluice.Log) {
	called := 0
	head := update(t, l, prod, 0, func(tail []sluice.Event) ([]sluice.Event, error) {
		called++
		if len(tail) != 0 {
			t.Errorf("an empty log has a tail of %d events", len(tail))
		}
		return nil, nil
	})
	if head != 0 || called != 1 {
		t.Errorf("head %d, decide called %d times; want 0 and once", head, called)
	}
	if got := read(t, l, prod, 0); len(got) != 0 {
		t.Errorf("an empty log has %d events", len(got))
	}
	if got := readJob(t, l, prod, jobA); len(got) != 0 {
		t.Errorf("an empty log has %d events of a job", len(got))
	}
	if got, err := l.Namespaces(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("an empty log has the namespaces %v, error %v", got, err)
	}
}

func logAppendAndRead(t *testing.T, l sluice.Log) {
	events := []sluice.Event{held("h1"), held("h2")}
	head := update(t, l, prod, 0, func([]sluice.Event) ([]sluice.Event, error) { return events, nil })
	if head != 2 || events[0].Seq != 1 || events[1].Seq != 2 {
		t.Errorf("head %d, numbers %d and %d; want 2, 1 and 2", head, events[0].Seq, events[1].Seq)
	}
	if head := appendTo(t, l, prod, held("h3")); head != 3 {
		t.Errorf("head %d, want 3", head)
	}
	if head := appendTo(t, l, lab, held("h4")); head != 1 {
		t.Errorf("another namespace begins with %d", head)
	}
	sameEvents(t, read(t, l, prod, 0), []sluice.Event{at(1, held("h1")), at(2, held("h2")), at(3, held("h3"))})
	sameEvents(t, read(t, l, prod, 1), []sluice.Event{at(2, held("h2")), at(3, held("h3"))})
	sameEvents(t, read(t, l, lab, 0), []sluice.Event{at(1, held("h4"))})
	if got := read(t, l, prod, 3); len(got) != 0 {
		t.Errorf("%d events after the last", len(got))
	}
	if got := read(t, l, prod, 99); len(got) != 0 {
		t.Errorf("%d events far after the last", len(got))
	}
}

func logLimit(t *testing.T, l sluice.Log) {
	for i := range 4 {
		appendTo(t, l, prod, held(i), held(10+i), held(20+i))
	}
	all := read(t, l, prod, 0)
	for limit := range 14 {
		for after := range uint64(13) {
			got, err := l.Read(t.Context(), prod, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			want := all[after:]
			sameEvents(t, got, want[:min(limit, len(want))])
		}
	}
}

func logTail(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, held("h1"), held("h2"))
	appendTo(t, l, prod, held("h3"))
	all := read(t, l, prod, 0)
	for after := range uint64(4) {
		head := update(t, l, prod, after, func(tail []sluice.Event) ([]sluice.Event, error) {
			sameEvents(t, tail, all[after:])
			return nil, nil
		})
		if head != 3 {
			t.Errorf("head %d, want 3", head)
		}
	}
}

func logNothingDecided(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, held("h1"))
	head := update(t, l, prod, 1, func([]sluice.Event) ([]sluice.Event, error) { return []sluice.Event{}, nil })
	if head != 1 || len(read(t, l, prod, 0)) != 1 {
		t.Errorf("deciding nothing moved the head to %d", head)
	}
}

func logRefused(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, held("h1"))
	mine := errors.New("mine")
	_, err := l.Update(t.Context(), prod, 1, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{held("h2")}, mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("decide's error came back as %v", err)
	}
	if got := read(t, l, prod, 0); len(got) != 1 {
		t.Errorf("what decide refused is in the log: %d events", len(got))
	}
	if head := appendTo(t, l, prod, held("h3")); head != 2 {
		t.Errorf("the next append ends at %d, not 2", head)
	}
}

func logPanic(t *testing.T, l sluice.Log) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("decide's panic was swallowed")
			}
		}()
		_, _ = l.Update(t.Context(), prod, 0, func([]sluice.Event) ([]sluice.Event, error) { panic("decide") })
	}()
	if head := appendTo(t, l, prod, held("h1")); head != 1 {
		t.Errorf("after a panic an append ends at %d, not 1", head)
	}
}

func logBeyondHead(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, held("h1"))
	for _, ns := range []sluice.Namespace{prod, lab} {
		_, err := l.Update(t.Context(), ns, 2, func([]sluice.Event) ([]sluice.Event, error) {
			t.Error("decide was asked although the caller has seen more than there is")
			return nil, nil
		})
		if sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: a log that ends before what the caller has seen: error %v, want code %s", ns, err, sluice.Contact)
		}
	}
}

func logBadEvents(t *testing.T, l sluice.Log) {
	for name, e := range map[string]sluice.Event{
		"no body":             {Time: when},
		"a job id that is no": {Time: when, Job: `x","seq":7`, Body: sluice.JobStarted{}},
		"a body that cannot be written": {Time: when, Body: sluice.RulesApplied{Rules: sluice.Rules{Constraints: []sluice.Constraint{
			{Name: "c", Groups: []sluice.Group{{Name: "g", Members: []sluice.Host{"not-in-hosts"}}}}}}}},
		"an unknown type at another place": {Time: when, Body: sluice.UnknownBody{TypeName: "x.y",
			Raw: []byte(`{"v":1,"seq":99,"time":"2026-01-02T03:04:05Z","type":"x.y"}`)}},
	} {
		_, err := l.Update(t.Context(), prod, 0, func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{held("h1"), e}, nil
		})
		if err == nil {
			t.Errorf("%s: appended", name)
		}
	}
	if got := read(t, l, prod, 0); len(got) != 0 {
		t.Errorf("%d events of refused appends are in the log", len(got))
	}
}

func logBadNamespace(t *testing.T, l sluice.Log) {
	for _, ns := range []sluice.Namespace{"", "../x", "-x", "a b", sluice.Namespace(strings.Repeat("n", 65))} {
		_, err := l.Update(t.Context(), ns, 0, func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{held("h1")}, nil
		})
		if sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("the namespace %q: error %v, want code %s", ns, err, sluice.Usage)
		}
	}
}

// logReservedNamespace: what the program keeps for itself is kept beside what people name, and they cannot name it.
func logReservedNamespace(t *testing.T, l sluice.Log) {
	const access = sluice.AccessNamespace
	for _, ns := range []sluice.Namespace{"access", ".acces", ".access2", ".access.", "..access", ".Access", "."} {
		_, err := l.Update(t.Context(), ns, 0, func([]sluice.Event) ([]sluice.Event, error) { return []sluice.Event{held("h1")}, nil })
		if want := ns == "access"; (err == nil) != want {
			t.Errorf("the namespace %q: %v", ns, err)
		}
	}
	e := sluice.Event{Time: when, Body: sluice.PrincipalAdded{Principal: "ann", By: "root"}}
	appendTo(t, l, access, e)
	if head := appendTo(t, l, access, e); head != 2 {
		t.Errorf("head %d, want 2", head)
	}
	if err := l.Wait(t.Context(), access, 1); err != nil {
		t.Error(err)
	}
	sameEvents(t, read(t, l, access, 0), []sluice.Event{at(1, e), at(2, e)})
	sameEvents(t, read(t, l, "access", 0), []sluice.Event{at(1, held("h1"))})
	if got := readJob(t, l, access, jobA); len(got) != 0 {
		t.Errorf("a job has %d events there", len(got))
	}
	if got, err := l.Namespaces(t.Context()); err != nil || !slices.Equal(got, []sluice.Namespace{access, "access"}) {
		t.Errorf("namespaces %v, error %v", got, err)
	}
}

func logCancelled(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, held("h1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Update(ctx, prod, 1, func([]sluice.Event) ([]sluice.Event, error) {
		t.Error("decide was asked after the context had ended")
		return nil, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	if _, err := l.Read(ctx, prod, 0, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
	if err := l.Wait(ctx, prod, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}

	// While another append is going on, waiting for the turn ends with the context.
	inside, outside := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := l.Update(t.Context(), prod, 1, func([]sluice.Event) ([]sluice.Event, error) {
			close(inside)
			<-outside
			return nil, nil
		})
		first <- err
	}()
	<-inside
	ctx, cancel = context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := l.Update(ctx, prod, 1, func([]sluice.Event) ([]sluice.Event, error) { return nil, nil })
		second <- err
	}()
	cancel()
	within(t, second, context.Canceled)
	close(outside)
	within(t, first, nil)
}

func logLargeRecord(t *testing.T, l sluice.Log) {
	var want []sluice.Event
	for i := range 300 {
		want = append(want, sluice.Event{Time: when, Job: jobA, Body: sluice.TaskFinished{Host: sluice.Host(fmt.Sprintf("h%d", i)),
			Attempt: sluice.NewAttemptID(jobA, i, 1), Outcome: sluice.Failed, Reason: strings.Repeat("very long ", i)}})
	}
	appendTo(t, l, prod, want...)
	for i := range want {
		want[i].Seq = uint64(i) + 1
	}
	sameEvents(t, read(t, l, prod, 0), want)
	sameEvents(t, read(t, l, prod, 250), want[250:])
}

func logReadJob(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, started(jobA), started(jobB))
	appendTo(t, l, prod, started(jobB))
	appendTo(t, l, lab, started(jobA))
	appendTo(t, l, prod, held("h1"), started(jobA), started(jobA))
	sameEvents(t, readJob(t, l, prod, jobA), []sluice.Event{at(1, started(jobA)), at(5, started(jobA)), at(6, started(jobA))})
	sameEvents(t, readJob(t, l, prod, jobB), []sluice.Event{at(2, started(jobB)), at(3, started(jobB))})
	sameEvents(t, readJob(t, l, lab, jobA), []sluice.Event{at(1, started(jobA))})
	for _, job := range []sluice.JobID{jobC, "", "aaaa", "%"} {
		if got := readJob(t, l, prod, job); len(got) != 0 {
			t.Errorf("the job %q has %d events", job, len(got))
		}
	}
}

func logFindJob(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, started(jobA), held("h1"))
	if ns, id, err := l.FindJob(t.Context(), ""); err != nil || ns != prod || id != jobA {
		t.Errorf("the only job is %s in %s, error %v", id, ns, err)
	}
	appendTo(t, l, lab, started(jobB))
	appendTo(t, l, lab, started(jobC), started(jobB))
	for _, c := range []struct {
		prefix string
		ns     sluice.Namespace
		id     sluice.JobID
		code   sluice.Code
	}{
		{string(jobA), prod, jobA, ""},
		{"aaaa", prod, jobA, ""},
		{"aaab", lab, jobB, ""},
		{"c", lab, jobC, ""},
		{"aaa", "", "", sluice.Conflict},
		{"", "", "", sluice.Conflict},
		{"b", "", "", sluice.NotFound},
		{"aaaa%", "", "", sluice.NotFound},
		{"____", "", "", sluice.NotFound},
		{"A", "", "", sluice.NotFound},
		{"aaaa000000000", "", "", sluice.NotFound},
		{"\xff", "", "", sluice.NotFound},
	} {
		ns, id, err := l.FindJob(t.Context(), c.prefix)
		if ns != c.ns || id != c.id || sluice.CodeOf(err) != c.code || (err == nil) != (c.code == "") {
			t.Errorf("%q: %s in %s, error %v; want %s in %s, code %q", c.prefix, id, ns, err, c.id, c.ns, c.code)
		}
	}
}

func logNamespaces(t *testing.T, l sluice.Log) {
	for _, ns := range []sluice.Namespace{"prod", "a.b", "Lab", "prod-2", "prod"} {
		appendTo(t, l, ns, held("h1"))
	}
	update(t, l, "nothing", 0, func([]sluice.Event) ([]sluice.Event, error) { return nil, nil })
	got, err := l.Namespaces(t.Context())
	if want := []sluice.Namespace{"Lab", "a.b", "prod", "prod-2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("namespaces %v, error %v; want %v", got, err, want)
	}
}

func logWaitForWhatIs(t *testing.T, l sluice.Log) {
	appendTo(t, l, prod, held("h1"), held("h2"))
	for after := range uint64(2) {
		if err := l.Wait(t.Context(), prod, after); err != nil {
			t.Errorf("waiting for what is there already: %v", err)
		}
	}
}

func logWaitForWhatComes(t *testing.T, l sluice.Log) {
	const waiters = 8
	ended := make(chan error, waiters)
	for after := range uint64(20) {
		for range waiters {
			go func() { ended <- l.Wait(t.Context(), prod, after) }()
		}
		appendTo(t, l, prod, held("h"))
		for range waiters {
			within(t, ended, nil)
		}
	}
}

func logWaitOnlyForIts(t *testing.T, l sluice.Log) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Wait(ctx, prod, 0) }()
	for range 10 {
		appendTo(t, l, lab, held("h"))
	}
	cancel()
	within(t, ended, context.Canceled)
}

// logWriters has many writers count: each adds to the sum of what it was shown. That comes out right only if
// nobody ever came between.
func logWriters(t *testing.T, handles ...sluice.Log) {
	const each = 25
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			l := handles[w%len(handles)]
			var seen uint64
			for range each {
				head, err := l.Update(t.Context(), prod, seen, func(tail []sluice.Event) ([]sluice.Event, error) {
					n := seen + uint64(len(tail))
					return []sluice.Event{held(n)}, nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				seen = head
			}
		})
	}
	wg.Wait()
	var want []sluice.Event
	for n := range uint64(4 * each) {
		want = append(want, at(n+1, held(n)))
	}
	sameEvents(t, read(t, handles[0], prod, 0), want)
}
