package sqlitelog

import (
	"context"
	"errors"
	"slices"
	"testing"

	"sluice"
)

// recordsOf are all records of a journal behind some events.
func recordsOf(t testing.TB, l *Log, after map[sluice.Namespace]uint64) (out []sluice.Record) {
	t.Helper()
	if err := l.Records(t.Context(), after, func(r sluice.Record) error {
		r.Payload = slices.Clone(r.Payload)
		out = append(out, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func adds(t testing.TB, l *Log, records ...sluice.Record) {
	t.Helper()
	if err := l.Append(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

// TestAppendedElsewhere: a copy has the records of another journal as they are, with all that leads to them.
func TestAppendedElsewhere(t *testing.T) {
	dir := t.TempDir()
	from, to := openIn(t, t.TempDir()), openIn(t, dir)
	appendTo(t, from, "prod", "h1", "h2")
	appendTo(t, from, "lab", "h3")
	if _, err := from.Update(t.Context(), "prod", 0, deciding(sluice.Event{Time: when, Job: "aaaa00000000", Body: sluice.JobStarted{Driver: "d"}})); err != nil {
		t.Fatal(err)
	}
	all := recordsOf(t, from, nil)
	adds(t, to, all[:1]...)
	adds(t, to, all...) // the first of them is there
	adds(t, to, all...)
	adds(t, to)
	if got, want := recordsOf(t, to, nil), all; len(got) != len(want) || got[0].Head() != want[0].Head() || got[2].Head() != want[2].Head() {
		t.Errorf("%d records, not those %d", len(got), len(want))
	}
	if ns, job, err := to.FindJob(t.Context(), "aaaa"); err != nil || ns != "prod" || job != "aaaa00000000" {
		t.Errorf("found %s in %s: %v", job, ns, err)
	}
	if _, err := to.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	appendTo(t, to, "prod", "h4") // it goes on from there
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	again := openIn(t, dir)
	if n := len(recordsOf(t, again, nil)); n != len(all)+1 {
		t.Errorf("%d records after it was opened again", n)
	}
}

// TestWhatDoesNotContinue is not added, nor is anything beside it.
func TestWhatDoesNotContinue(t *testing.T) {
	from, other, to := openIn(t, t.TempDir()), openIn(t, t.TempDir()), openIn(t, t.TempDir())
	appendTo(t, from, "prod", "h1")
	appendTo(t, from, "prod", "h2")
	appendTo(t, from, "prod", "h3")
	appendTo(t, from, "lab", "l1")
	appendTo(t, other, "prod", "x1")
	appendTo(t, other, "prod", "x2")
	good, bad := recordsOf(t, from, nil), recordsOf(t, other, nil)
	lab, prod := good[0], good[1:]
	adds(t, to, prod[0])
	forged := prod[1]
	forged.Payload = append(slices.Clone(forged.Payload), ' ')
	mislaid := prod[1]
	mislaid.Namespace = "lab"
	for name, records := range map[string][]sluice.Record{
		"a gap":                    {lab, prod[2]},
		"another one":              {lab, bad[0]},
		"another chain":            {lab, bad[1]},
		"a changed one":            {lab, forged},
		"of another namespace":     {lab, mislaid},
		"of no possible namespace": {lab, {Namespace: "../x", First: 1, Last: 1}},
	} {
		if err := to.Append(t.Context(), records); err == nil {
			t.Errorf("%s was added", name)
		}
		if got := recordsOf(t, to, nil); len(got) != 1 {
			t.Fatalf("%s: %d records", name, len(got))
		}
	}
	adds(t, to, lab, prod[1], prod[2])
}

// TestFirstElsewhere: what cannot be put where it has to be first is not here, and what is here was there before.
func TestFirstElsewhere(t *testing.T) {
	var there []sluice.Record
	var refuse error
	var l *Log
	l, err := Open(t.Context(), Config{Dir: t.TempDir(), First: func(_ context.Context, r sluice.Record) error {
		if _, is, err := l.HashAt(t.Context(), r.Namespace, r.Last); is || err != nil {
			t.Errorf("event %d is here already: %v", r.Last, err)
		}
		if refuse == nil {
			r.Payload = slices.Clone(r.Payload)
			there = append(there, r)
		}
		return refuse
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	appendTo(t, l, "prod", "h1")
	refuse = errors.New("no")
	if _, err := l.Update(t.Context(), "prod", 0, deciding(held("h2"))); !errors.Is(err, refuse) {
		t.Errorf("it ended with %v", err)
	}
	refuse = nil
	appendTo(t, l, "prod", "h3")
	here := recordsOf(t, l, nil)
	if got := hosts(t, l, "prod"); !slices.Equal(got, []string{"h1", "h3"}) || len(there) != 2 || there[1].Head() != here[1].Head() {
		t.Errorf("%v are here, %d records are there", got, len(there))
	}
	// What is there by an append whose answer was lost comes here as others come.
	appendTo(t, l, "lab", "x")
	if n := len(there); n != 3 {
		t.Errorf("%d records are there", n)
	}
	adds(t, l, there...)
}

// TestACopyIsNobodyElses: who opens a copy in the way of a journal can read it, and cannot append: that would be nowhere else.
func TestACopyIsNobodyElses(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(t.Context(), Config{Dir: dir, First: func(context.Context, sluice.Record) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	appendTo(t, l, "prod", "h1")
	other := openIn(t, dir)
	if _, err := other.Update(t.Context(), "prod", 0, deciding(held("h2"))); sluice.CodeOf(err) != sluice.Config {
		t.Errorf("appended: %v", err)
	}
	if got := hosts(t, other, "prod"); !slices.Equal(got, []string{"h1"}) {
		t.Errorf("read %v", got)
	}
	appendTo(t, l, "prod", "h3")
}

// TestAddedWhileOthersRead: readers that take their time hold up nothing.
func TestAddedWhileOthersRead(t *testing.T) {
	from, to := openIn(t, t.TempDir()), openIn(t, t.TempDir())
	appendTo(t, from, "prod", "h1")
	all := recordsOf(t, from, nil)
	adds(t, to, all...)
	ctx, stop := context.WithCancel(t.Context())
	reading, ended := make(chan struct{}, readers), make(chan error, readers)
	for range readers {
		go func() {
			ended <- to.Records(context.Background(), nil, func(sluice.Record) error {
				reading <- struct{}{}
				<-ctx.Done()
				return nil
			})
		}()
	}
	for range readers {
		<-reading
	}
	adds(t, to, append(all, all...)...)
	stop()
	for range readers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
