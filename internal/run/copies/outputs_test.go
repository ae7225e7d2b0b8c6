package copies_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/fake"
	"sluice/internal/run/copies"
)

const job sluice.JobID = "0123456789ab"

func attempt(host int) sluice.AttemptID { return sluice.NewAttemptID(job, host, 1) }

// begins says in the log that attempts began.
func begins(t testing.TB, l sluice.Log, bodies ...sluice.Body) {
	t.Helper()
	_, err := l.Update(t.Context(), "prod", 0, func([]sluice.Event) (out []sluice.Event, _ error) {
		for _, b := range bodies {
			out = append(out, sluice.Event{Job: job, Body: b})
		}
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func started(host int) sluice.Body {
	return sluice.TaskStarted{Host: sluice.Host(fmt.Sprint("h", host)), Attempt: attempt(host)}
}

func ended(host int) sluice.Body {
	return sluice.TaskFinished{Host: sluice.Host(fmt.Sprint("h", host)), Attempt: attempt(host), Outcome: sluice.Succeeded}
}

func (c *three) print(t testing.TB, host int, offset int, text string) {
	t.Helper()
	if err := c.Outputs().Write(job, attempt(host), "stdout", int64(offset), []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// reads is what is kept of stdout.
func reads(t testing.TB, o sluice.Outputs, host int) (string, error) {
	t.Helper()
	size, err := o.Size(job, attempt(host), "stdout")
	if err != nil {
		return "", err
	}
	r, err := o.Open(job, attempt(host), "stdout")
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	err = errors.Join(err, r.Close())
	later, again := o.Size(job, attempt(host), "stdout") // more may be on its way to a server that nobody waits for
	if err = errors.Join(err, again); err == nil && (int64(len(text)) < size || int64(len(text)) > later) {
		t.Errorf("%d bytes, but the size is %d to %d", len(text), size, later)
	}
	return string(text), err
}

func (c *three) copied(t testing.TB, host int, want string) (n int) {
	t.Helper()
	for _, p := range c.peers {
		_, o := p.Has()
		got, err := reads(t, o, host)
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			n++
		}
	}
	return n
}

// TestWhoBeganInThisTerm: nobody is asked for what attempts printed that began in this term, also where the log had them already when it was read.
func TestWhoBeganInThisTerm(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1))
	c.Close()
	c.begin(t, copies.Config{Began: []sluice.Head{{Namespace: "other", Seq: 9}, {Namespace: "prod", Seq: 1}}, Patience: 50 * time.Millisecond})
	if _, err := c.log.Update(t.Context(), "prod", 1, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Job: job, Body: started(2)}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.peers {
		p.Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
	}
	if size, err := c.Outputs().Size(job, attempt(2), "stdout"); size != 0 || err != nil {
		t.Errorf("of one that began in this term: %d, %v", size, err)
	}
	if _, err := c.Outputs().Size(job, attempt(1), "stdout"); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("of one from before, which the others may have: %v", err)
	}
}

func TestOutputsOfAll(t *testing.T) {
	for _, others := range []int{0, 1, 2, 4} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			conform.Outputs(t, func(t *testing.T) sluice.Outputs { return cluster(t, others).Outputs() })
		})
	}
}

// TestKeeper: what a server lets the others do is what a Peer is.
func TestKeeper(t *testing.T) {
	conform.Peer(t, func(t *testing.T) (sluice.Peer, func(sluice.Record)) {
		o, err := diroutputs.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = o.CloseAll() })
		p := fake.NewPeer("s1")
		return kept{p, copies.Keeper{Outputs: o}}, p.Add
	})
}

// kept has its outputs in a directory.
type kept struct {
	*fake.Peer
	copies.Keeper
}

func (k kept) KeepOutput(ctx context.Context, id sluice.JobID, pieces []sluice.OutputPiece) error {
	return k.Keeper.KeepOutput(ctx, id, pieces)
}

func (k kept) OutputSize(ctx context.Context, id sluice.JobID, a sluice.AttemptID, stream string) (int64, error) {
	return k.Keeper.OutputSize(ctx, id, a, stream)
}

func (k kept) OpenOutput(ctx context.Context, id sluice.JobID, a sluice.AttemptID, stream string, from int64) (io.ReadCloser, error) {
	return k.Keeper.OpenOutput(ctx, id, a, stream, from)
}

// TestSync: who is told that output is kept has it on a majority.
func TestSync(t *testing.T) {
	for _, fault := range []fake.Fault{nil, fake.Always(fake.ErrPeerGone), hangs, fake.Always(errors.New("no space left on device"))} {
		c := cluster(t, 2)
		c.peers[0].Faults.Set(fake.PeerKeep, fault)
		c.print(t, 1, 0, "one")
		c.print(t, 2, 0, "two")
		c.print(t, 1, 3, " more")
		if err := c.Outputs().Sync(job); err != nil {
			t.Error(err)
		}
		if c.copied(t, 1, "one more") == 0 || c.copied(t, 2, "two") == 0 {
			t.Error("nobody else has it")
		}
	}
	c := cluster(t, 2)
	for _, p := range c.peers {
		p.Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	}
	c.print(t, 1, 0, "one")
	for range 2 {
		if err := c.Outputs().Sync(job); sluice.CodeOf(err) != sluice.Contact || sluice.IsLasting(err) {
			t.Errorf("%v", err)
		}
	}
	if err := c.Outputs().AtWork().Sync(job); err != nil {
		t.Errorf("an attempt that waits for its disk alone: %v", err)
	}
	c.peers[1].Faults.Set(fake.PeerKeep, nil)
	if err := c.Outputs().Sync(job); err != nil || c.copied(t, 1, "one") != 1 {
		t.Errorf("one is back: %v", err)
	}
	c.peers[0].Faults.Set(fake.PeerKeep, nil)
	err := c.Look(t.Context())
	if c.Settle(); err != nil || c.copied(t, 1, "one") != 2 {
		t.Errorf("both are back: %v", err)
	}
}

// TestCopyIsBehind: a server that lost what it had, or never had it, gets all of it with the next piece.
func TestCopyIsBehind(t *testing.T) {
	c := cluster(t, 1)
	text := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	c.print(t, 1, 0, text)
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	c.peers[0].Wipe()
	c.print(t, 1, len(text), "!")
	if err := c.Outputs().Sync(job); err != nil || c.copied(t, 1, text+"!") != 1 {
		t.Error(err)
	}
	c.peers = append(c.peers, fake.NewPeer("s2"))
	c.size = 3
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	c.print(t, 1, len(text)+1, "?")
	if err := c.Outputs().Sync(job); err != nil || c.copied(t, 1, text+"!?") != 1 {
		t.Error(err)
	}
}

// TestBackAgain: a server that failed once is sent what is printed then, when it was looked at.
func TestBackAgain(t *testing.T) {
	c := cluster(t, 2)
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	c.print(t, 1, 0, "one")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	c.Settle()
	c.peers[0].Faults.Set(fake.PeerKeep, nil)
	if err := c.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Settle()
	c.print(t, 1, 3, " more")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	c.Settle()
	if n := c.copied(t, 1, "one more"); n != 2 {
		t.Errorf("it is on %d others", n)
	}
}

// TestSlowCopy: a server that takes nothing for a while costs no memory, and gets everything in the end.
func TestSlowCopy(t *testing.T) {
	c := cluster(t, 1)
	free := make(chan struct{})
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Hold(free))
	want := map[int]string{}
	for i := range 40 {
		piece := strings.Repeat(string(rune('a'+i%26)), 1<<18)
		c.print(t, i%3, len(want[i%3]), piece)
		want[i%3] += piece
	}
	if n := c.Outputs().Waiting(job); n > 4<<20 {
		t.Errorf("%d bytes wait in memory", n)
	}
	close(free)
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	for host, text := range want {
		if c.copied(t, host, text) != 1 {
			t.Errorf("what host %d printed is not there", host)
		}
	}
}

// next is a server that owns the log after this one was lost; it has what it had, as one of the others.
func (c *three) next(t testing.TB, i int) *three {
	c.Close()
	b, o := c.peers[i].Has()
	n := &three{local: b, outputs: o, log: c.log, size: c.size, named: c.named, open: c.open, over: c.over}
	n.peers = slices.Delete(slices.Clone(c.peers), i, i+1)
	n.begin(t, copies.Config{})
	return n
}

// TestTakenOver: a new owner that has less than another one gets the rest before it says how much there is.
func TestTakenOver(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1), started(2))
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	c.print(t, 1, 0, "one more")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	c.peers[0].Faults.Set(fake.PeerKeep, nil)
	n := c.next(t, 0)
	n.peers = append(n.peers, fake.NewPeer("new")) // in the place of the one that was lost
	if text, err := reads(t, n.Outputs(), 1); text != "one more" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	n.print(t, 1, len("one more"), " and on")
	n.print(t, 3, 0, "begun by this one")
	if err := n.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	n.Settle()
	if n.copied(t, 1, "one more and on") != 2 || n.copied(t, 3, "begun by this one") != 2 {
		t.Error("it is not everywhere")
	}
}

// TestGapIsFilled: a worker that goes on where the earlier owner stopped leaves no gap here.
func TestGapIsFilled(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1))
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	c.print(t, 1, 0, "one")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	n := c.next(t, 0)
	n.print(t, 1, 3, " more")
	if text, err := reads(t, n.Outputs(), 1); text != "one more" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// TestPrintedBefore: what a running attempt printed to an earlier owner is on a majority before its outcome is, though it prints no more.
func TestPrintedBefore(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1))
	c.peers[1].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	c.print(t, 1, 0, "one")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	n := c.next(t, 0)
	n.peers[0].Faults.Set(fake.PeerKeep, nil)
	if size, err := n.Outputs().Size(job, attempt(1), "stdout"); size != 3 || err != nil {
		t.Fatal(size, err)
	}
	if err := n.Outputs().Sync(job); err != nil || n.copied(t, 1, "one") != 1 {
		t.Errorf("%v; on %d others", err, n.copied(t, 1, "one"))
	}
}

// TestNeverShorter: where more may be elsewhere, the reader is told, and not shown the beginning as if it were all.
func TestNeverShorter(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1), ended(1))
	c.print(t, 1, 0, "one")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	c.Settle()
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	c.print(t, 1, 3, " more")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	n := c.next(t, 0)
	n.Close()
	n.begin(t, copies.Config{Patience: 20 * time.Millisecond})
	other := n.peers[0]
	for name, faults := range map[string]map[string]fake.Fault{
		"away":                     {fake.PeerAsk: fake.Always(fake.ErrPeerGone)},
		"gone after it was asked":  {fake.PeerOpen: fake.Always(fake.ErrPeerGone)},
		"its disk fails":           {fake.PeerOpen: fake.Always(errors.New("input/output error"))},
		"it hangs, and is not all": {fake.PeerAsk: hangs},
	} {
		for point, fault := range faults {
			other.Faults.Set(point, fault)
		}
		if text, err := reads(t, n.Outputs(), 1); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if r, err := n.Outputs().Open(job, attempt(1), "stdout"); sluice.CodeOf(err) != sluice.Contact {
			text, _ := io.ReadAll(r)
			t.Errorf("%s: it was opened, with %q", name, text)
		}
		for point := range faults {
			other.Faults.Set(point, nil)
		}
	}
	if text, err := reads(t, n.Outputs(), 1); text != "one more" || err != nil {
		t.Errorf("it is back: %q, %v", text, err)
	}
}

// TestHandedOverLater: a worker comes when this server has just become the owner of the log, and no other one answers yet. What it is told,
// and what it hands over, waits for them; for some time.
func TestHandedOverLater(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1), started(2))
	c.peers[0].Faults.Set(fake.PeerKeep, fake.Always(fake.ErrPeerGone))
	c.print(t, 1, 0, "one")
	c.print(t, 2, 0, "two")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	for what, of := range map[string]func(*copies.Outputs) sluice.Outputs{"workers elsewhere": (*copies.Outputs).Patient, "its own worker": (*copies.Outputs).AtWork} {
		n := c.next(t, 0)
		other := n.peers[0]
		asked := make(chan struct{}, 100)
		other.Faults.Set(fake.PeerAsk, func(context.Context) error {
			asked <- struct{}{}
			return fake.ErrPeerGone
		})
		done := make(chan error, 2)
		go func() {
			size, err := of(n.Outputs()).Size(job, attempt(1), "stdout")
			if err == nil && size != 3 {
				err = fmt.Errorf("there are %d bytes", size)
			}
			done <- err
		}()
		go func() { done <- of(n.Outputs()).Write(job, attempt(2), "stdout", 3, []byte(" more")) }()
		for range 6 { // of the first questions, and of some again
			<-asked
		}
		other.Faults.Set(fake.PeerAsk, nil)
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if text, err := reads(t, n.Outputs(), 2); text != "two more" || err != nil {
			t.Errorf("%s: %q, %v", what, text, err)
		}

		other.Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
		n.Close()
		n.begin(t, copies.Config{Again: time.Millisecond})
		if _, err := of(n.Outputs()).Size(job, attempt(1), "stdout"); sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: nobody comes back: %v", what, err)
		}
		other.Faults.Set(fake.PeerAsk, nil)
		n.Close()
		_, o := c.peers[0].Has()
		if err := o.Discard(t.Context(), string(job)); err != nil { // for the next one to find it as this one did
			t.Fatal(err)
		}
	}
}

// TestAskedOnce: attempts that began in this term cost no question, and the others one.
func TestAskedOnce(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1))
	n := c.next(t, 0)
	n.peers = append(n.peers, fake.NewPeer("new"))
	asked := func() int { return n.peers[0].Faults.Passed(fake.PeerAsk) }
	for range 5 {
		for _, host := range []int{1, 2, 3} { // 2 and 3 begin later
			if _, err := n.Outputs().Size(job, attempt(host), "stdout"); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.Settle()
	if asked() != 1 {
		t.Errorf("%d questions", asked())
	}
}

// TestRemovedStays: output that the log says is removed is not brought back from a server that still has it.
func TestRemovedStays(t *testing.T) {
	c := cluster(t, 2)
	begins(t, c.log, started(1), ended(1))
	c.print(t, 1, 0, "one")
	if err := c.Outputs().Sync(job); err != nil {
		t.Fatal(err)
	}
	c.Settle()
	begins(t, c.log, sluice.OutputRemoved{})
	c.open = []sluice.JobID{job}
	if err := c.Outputs().Discard(t.Context(), string(job)); err != nil {
		t.Fatal(err)
	}
	begins(t, c.log, sluice.TaskStarted{Host: "h1", Attempt: sluice.NewAttemptID(job, 1, 2)})
	if err := c.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := reads(t, c.Outputs(), 1); text != "" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	n := c.next(t, 0)
	_, o := n.peers[0].Has()
	if text, _ := reads(t, o, 1); text != "one" {
		t.Fatal("the test proves nothing")
	}
}

// TestOutputsSurvive: while servers go away, lose answers, come back, and owners are lost, nothing that was acknowledged is lost, and a
// reader sees all that was, or an error.
func TestOutputsSurvive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := cluster(t, rapid.SampledFrom([]int{2, 4}).Draw(rt, "others"))
		defer func() { c.Close() }()
		size := c.size
		c.over = []sluice.JobID{job}
		text := map[int]string{}      // what attempts print; whoever reads it from them again gets the same
		acknowledged := map[int]int{} // how much of it
		calm := func() {
			for _, p := range c.peers {
				p.Faults.Set(fake.PeerAsk, nil)
				p.Faults.Set(fake.PeerAnswer, nil)
			}
		}
		lost := 0
		host := rapid.IntRange(0, 2)
		rt.Repeat(map[string]func(*rapid.T){
			"print": func(rt *rapid.T) {
				h := host.Draw(rt, "host")
				if text[h] == "" {
					begins(t, c.log, started(h))
				}
				at, err := c.Outputs().Size(job, attempt(h), "stdout")
				if err != nil { // the worker keeps it
					if sluice.CodeOf(err) != sluice.Contact {
						rt.Fatal(err)
					}
					return
				}
				if int(at) < acknowledged[h] || int(at) > len(text[h]) {
					rt.Fatalf("%d bytes of %d, of which %d were acknowledged", at, len(text[h]), acknowledged[h])
				}
				text[h] += rapid.StringMatching(`[a-z]{1,5}`).Draw(rt, "text")
				c.print(t, h, int(at), text[h][at:])
			},
			"sync": func(rt *rapid.T) {
				at := map[int]int{}
				for h := range text {
					n, err := c.Outputs().Size(job, attempt(h), "stdout")
					if err != nil {
						return
					}
					at[h] = int(n)
				}
				if err := c.Outputs().Sync(job); err == nil {
					acknowledged = at
				} else if sluice.CodeOf(err) != sluice.Contact {
					rt.Fatal(err)
				}
			},
			"fault": func(rt *rapid.T) {
				p := rapid.SampledFrom(c.peers).Draw(rt, "peer")
				switch rapid.IntRange(0, 3).Draw(rt, "what") {
				case 0:
					p.Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
				case 1:
					p.Faults.Set(fake.PeerAnswer, fake.Once(fake.ErrPeerGone))
				default:
					p.Faults.Set(fake.PeerAsk, nil)
				}
			},
			"look": func(*rapid.T) { _ = c.Look(t.Context()) },
			"ownerLost": func(rt *rapid.T) {
				if lost == size/2 {
					return // no majority is left
				}
				lost++
				calm()
				c = c.next(t, rapid.IntRange(0, len(c.peers)-1).Draw(rt, "owner"))
			},
			"": func(rt *rapid.T) {
				for h, all := range text {
					got, err := reads(t, c.Outputs(), h)
					if err != nil && sluice.CodeOf(err) != sluice.Contact {
						rt.Fatal(err)
					}
					if err == nil && (len(got) < acknowledged[h] || !strings.HasPrefix(all, got)) {
						rt.Fatalf("%q; %q was acknowledged", got, all[:acknowledged[h]])
					}
				}
			},
		})
		calm()
		c.Settle()
		if err := c.Look(t.Context()); err != nil {
			rt.Fatal(err)
		}
		c.Settle()
		for _, h := range slices.Sorted(maps.Keys(text)) {
			got, err := reads(t, c.Outputs(), h)
			if err != nil {
				rt.Fatal(err)
			}
			if n := c.copied(t, h, got); n != len(c.peers) {
				rt.Fatalf("host %d: %q is on %d others of %d", h, got, n, len(c.peers))
			}
		}
	})
}

// BenchmarkSync is 10,000 attempts of 1 KiB, with an outcome each, 100 of them appended together; with no other server, with two that keep it
// in memory, and with two that have directories of their own, on the same disk.
func BenchmarkSync(b *testing.B) {
	const hosts, together = 10_000, 100
	for _, c := range []struct {
		name   string
		others int
		disk   bool
	}{{"alone", 0, false}, {"memory", 2, false}, {"disks", 2, true}} {
		others := c.others
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				open := func(name string) *diroutputs.Outputs {
					o, err := diroutputs.New(filepath.Join(b.TempDir(), name))
					if err != nil {
						b.Fatal(err)
					}
					b.Cleanup(func() { _ = o.CloseAll() })
					return o
				}
				local := open("local")
				var peers []sluice.Peer
				for i := range others {
					if !c.disk {
						peers = append(peers, fake.NewPeer(fmt.Sprint("s", i)))
						continue
					}
					peers = append(peers, kept{fake.NewPeer(fmt.Sprint("s", i)), copies.Keeper{Outputs: open("peer")}})
				}
				c := copies.New(copies.Config{Members: func() []sluice.Peer { return peers }, Size: func() int { return others + 1 }, Blobs: fake.NewBlobs(), Outputs: local, Log: fake.NewLog()})
				var o sluice.Outputs = local
				if others > 0 {
					o = c.Outputs()
				}
				data := []byte(strings.Repeat("x", 1024))
				b.StartTimer()
				for at := 0; at < hosts; at += together {
					var all sync.WaitGroup
					for h := range together {
						all.Go(func() {
							a := attempt(at + h)
							_, err1 := o.Size(job, a, "stdout")
							_, err2 := o.Size(job, a, "stderr")
							if err := errors.Join(err1, err2, o.Write(job, a, "stdout", 0, data)); err != nil {
								b.Error(err)
							}
						})
					}
					all.Wait()
					if err := o.Sync(job); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				c.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/job")
		})
	}
}
