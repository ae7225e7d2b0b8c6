package conform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice"
)

// Engine is the suite of [sluice.Engine]. open returns an empty one as two servers have it.
func Engine(t *testing.T, open func(t *testing.T) (a, b sluice.Engine)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b sluice.Engine)
	}{
		{"Empty", engineEmpty},
		{"Owners", engineOwners},
		{"OwnIsGivenUp", engineOwnIsGivenUp},
		{"Follow", engineFollow},
		{"Refused", engineRefused},
		{"Fenced", engineFenced},
		{"LargeRecords", engineLargeRecords},
		{"Trim", engineTrim},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			c.test(t, a, b)
		})
	}
}

// chain makes records that continue one another.
type chain struct {
	end map[sluice.Namespace]sluice.Head
}

func newChain() *chain { return &chain{map[sluice.Namespace]sluice.Head{}} }

// next is a record of n events with a payload that stands for them.
func (c *chain) next(ns sluice.Namespace, n int, payload []byte) sluice.Record {
	end := c.end[ns]
	r := sluice.Record{Namespace: ns, First: end.Seq + 1, Last: end.Seq + uint64(n), Prev: end.Hash, Payload: payload}
	r.Hash = r.Sum()
	c.end[ns] = r.Head()
	return r
}

func owns(t *testing.T, e sluice.Engine, name string) sluice.Term {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	term, err := e.Own(ctx, sluice.Owner{Name: name, Address: name + ".example.com:7660"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = term.Resign(context.WithoutCancel(t.Context())) }) // so that nothing renews it any more
	return term
}

func appended(t *testing.T, term sluice.Term, r sluice.Record) {
	t.Helper()
	if err := term.Append(t.Context(), r); err != nil {
		t.Fatalf("appending the events %d to %d of %s: %v", r.First, r.Last, r.Namespace, err)
	}
}

var errEnough = errors.New("enough")

// follow reads n records behind some events.
func follow(t *testing.T, e sluice.Engine, after map[sluice.Namespace]uint64, n int) (out []sluice.Record) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	err := e.Follow(ctx, after, func(records []sluice.Record) error {
		if out = append(out, records...); len(out) >= n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("%d records of %d: %v", len(out), n, err)
	}
	return out
}

// sameRecords compares records of each namespace; between namespaces there is no order.
func sameRecords(t *testing.T, got []sluice.Record, want ...sluice.Record) {
	t.Helper()
	sorted := func(all []sluice.Record) map[sluice.Namespace][]sluice.Record {
		out := map[sluice.Namespace][]sluice.Record{}
		for _, r := range all {
			out[r.Namespace] = append(out[r.Namespace], r)
		}
		return out
	}
	g, w := sorted(got), sorted(want)
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	for ns := range w {
		for i := range min(len(g[ns]), len(w[ns])) {
			x, y := g[ns][i], w[ns][i]
			if x.Head() != y.Head() || x.First != y.First || x.Prev != y.Prev || !bytes.Equal(x.Payload, y.Payload) {
				t.Errorf("record %d of %s has the events %d to %d, want %d to %d as they were appended", i, ns, x.First, x.Last, y.First, y.Last)
			}
		}
	}
}

func sameHeads(t *testing.T, e sluice.Engine, want map[sluice.Namespace]sluice.Head) {
	t.Helper()
	heads, err := e.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		if want[h.Namespace] != h {
			t.Errorf("%s ends at %d (%s), want %d", h.Namespace, h.Seq, h.Hash, want[h.Namespace].Seq)
		}
	}
	if len(heads) != len(want) {
		t.Errorf("%d namespaces, want %d", len(heads), len(want))
	}
}

func engineEmpty(t *testing.T, a, _ sluice.Engine) {
	sameHeads(t, a, nil)
	if who, term, err := a.Owner(t.Context()); err != nil || term != 0 {
		t.Errorf("owned by %v in term %d: %v", who, term, err)
	}
}

func engineOwners(t *testing.T, a, b sluice.Engine) {
	first := owns(t, a, "a")
	for _, e := range []sluice.Engine{a, b} {
		who, term, err := e.Owner(t.Context())
		if err != nil || who != (sluice.Owner{Name: "a", Address: "a.example.com:7660"}) || term != first.Number() || term == 0 {
			t.Errorf("owned by %v in term %d, and not %d: %v", who, term, first.Number(), err)
		}
	}
	next := make(chan sluice.Term, 1)
	ended := make(chan error, 1)
	go func() {
		term, err := b.Own(t.Context(), sluice.Owner{Name: "b"})
		next <- term
		ended <- err
	}()
	select {
	case <-next:
		t.Fatal("owned by two")
	case <-first.Over():
		t.Fatal("it is over without a reason")
	case <-time.After(100 * time.Millisecond): // it is not expected to: a wrong one would be at once
	}
	if !first.Lasts() {
		t.Error("the term goes on, and does not say so")
	}
	if err := first.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first.Lasts() {
		t.Error("the term is over, and does not say so")
	}
	within(t, ended, nil)
	second := <-next
	defer func() { _ = second.Resign(context.WithoutCancel(t.Context())) }()
	if second.Number() <= first.Number() {
		t.Errorf("term %d after term %d", second.Number(), first.Number())
	}
	select {
	case <-first.Over():
	default:
		t.Error("the first one goes on")
	}
	if first.Lasts() || !second.Lasts() {
		t.Errorf("the first one lasts: %t, the second: %t", first.Lasts(), second.Lasts())
	}
}

func engineOwnIsGivenUp(t *testing.T, a, b sluice.Engine) {
	owns(t, a, "a")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.Own(ctx, sluice.Owner{Name: "b"})
		ended <- err
	}()
	stop()
	within(t, ended, context.Canceled)
}

func engineFollow(t *testing.T, a, b sluice.Engine) {
	c, term := newChain(), owns(t, a, "a")
	var all []sluice.Record
	for i := range 10 {
		for _, ns := range []sluice.Namespace{prod, lab} {
			r := c.next(ns, 1+i%3, fmt.Appendf(nil, "%s %d <é\x00>\n", ns, i))
			appended(t, term, r)
			all = append(all, r)
		}
	}
	sameHeads(t, b, c.end)
	sameRecords(t, follow(t, b, nil, len(all)), all...)
	behind := slices.DeleteFunc(slices.Clone(all), func(r sluice.Record) bool { return r.Namespace != prod || r.First <= 3 })
	sameRecords(t, follow(t, b, map[sluice.Namespace]uint64{prod: 3, lab: c.end[lab].Seq}, len(behind)), behind...)
	// What comes later is handed on as it comes.
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	after := map[sluice.Namespace]uint64{prod: c.end[prod].Seq, lab: c.end[lab].Seq}
	came := make(chan sluice.Record, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Follow(ctx, after, func(records []sluice.Record) error {
			for _, r := range records {
				came <- r
			}
			return nil
		})
	}()
	for i := range 5 {
		r := c.next(prod, 1, fmt.Appendf(nil, "late %d", i))
		appended(t, term, r)
		select {
		case got := <-came:
			sameRecords(t, []sluice.Record{got}, r)
		case err := <-ended:
			t.Fatal(err)
		}
	}
	done()
	within(t, ended, context.Canceled)
}

func engineRefused(t *testing.T, a, b sluice.Engine) {
	c, term := newChain(), owns(t, a, "a")
	appended(t, term, c.next(prod, 2, []byte("first")))
	end := c.end[prod]
	for name, r := range map[string]sluice.Record{
		"a gap":         {Namespace: prod, First: end.Seq + 2, Last: end.Seq + 2, Prev: end.Hash, Payload: []byte("gap")},
		"an overlap":    {Namespace: prod, First: end.Seq, Last: end.Seq + 1, Prev: end.Hash, Payload: []byte("overlap")},
		"another chain": {Namespace: prod, First: end.Seq + 1, Last: end.Seq + 1, Prev: sluice.ChainHash{1}, Payload: []byte("another")},
		"no beginning":  {Namespace: lab, First: 2, Last: 2, Payload: []byte("no beginning")},
	} {
		r.Hash = r.Sum()
		if err := term.Append(t.Context(), r); sluice.CodeOf(err) != sluice.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	sameHeads(t, b, c.end)
	appended(t, term, c.next(prod, 1, []byte("second")))
	sameHeads(t, b, c.end)
}

// engineFenced: who owned the log appends nothing when somebody else owns it, whatever it believes.
func engineFenced(t *testing.T, a, b sluice.Engine) {
	c, old := newChain(), owns(t, a, "a")
	appended(t, old, c.next(prod, 1, []byte("of the first")))
	before := *c
	before.end = map[sluice.Namespace]sluice.Head{prod: c.end[prod]}
	if err := old.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Append(t.Context(), before.next(prod, 1, []byte("of nobody"))); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("appended in a term that is over: %v", err)
	}
	term := owns(t, b, "b")
	sameHeads(t, b, c.end)
	for _, ns := range []sluice.Namespace{prod, lab} {
		stale := newChain()
		stale.end[prod] = c.end[prod]
		if err := old.Append(t.Context(), stale.next(ns, 1, []byte("stale"))); sluice.CodeOf(err) != sluice.Conflict {
			t.Errorf("appended in a term that is over, while another goes on: %v", err)
		}
	}
	appended(t, term, c.next(prod, 1, []byte("of the second")))
	sameHeads(t, a, c.end)
}

func engineLargeRecords(t *testing.T, a, b sluice.Engine) {
	c, term := newChain(), owns(t, a, "a")
	var all []sluice.Record
	for _, size := range []int{0, 5000, 1 << 20, 5 << 20} {
		payload := make([]byte, size)
		chance := rand.NewChaCha8([32]byte{byte(size)})
		_, _ = chance.Read(payload)
		r := c.next(prod, 1, payload)
		appended(t, term, r)
		all = append(all, r)
	}
	r := c.next(prod, 1, bytes.Repeat([]byte("the same again\n"), 1<<20))
	appended(t, term, r)
	sameRecords(t, follow(t, b, nil, len(all)+1), append(all, r)...)
}

func engineTrim(t *testing.T, a, b sluice.Engine) {
	c, term := newChain(), owns(t, a, "a")
	var at sluice.Head
	for i := range 700 {
		payload := fmt.Appendf(nil, "%d", i)
		if i == 3 {
			payload = make([]byte, 3<<20)
			_, _ = rand.NewChaCha8([32]byte{}).Read(payload)
		}
		appended(t, term, c.next(prod, 1, payload))
		if i == 650 {
			at = c.end[prod]
		}
	}
	if err := a.Trim(t.Context(), []sluice.Head{at, {Namespace: lab, Seq: 7}}); err != nil {
		t.Fatal(err)
	}
	sameHeads(t, b, c.end)
	for _, after := range []uint64{0, 3, at.Seq - 1} {
		ctx, done := context.WithTimeout(t.Context(), time.Minute)
		err := b.Follow(ctx, map[sluice.Namespace]uint64{prod: after}, func([]sluice.Record) error { return nil })
		done()
		if sluice.CodeOf(err) != sluice.NotFound {
			t.Errorf("after event %d: %v", after, err)
		}
	}
	got := follow(t, b, map[sluice.Namespace]uint64{prod: at.Seq}, 49)
	if len(got) != 49 || got[0].Prev != at.Hash {
		t.Errorf("%d records behind what was forgotten, the first continues %s", len(got), got[0].Prev)
	}
	r := c.next(prod, 1, []byte("more"))
	appended(t, term, r)
	sameRecords(t, follow(t, b, map[sluice.Namespace]uint64{prod: r.First - 1}, 1), r)
}
