package copies_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/lab/conform"
	"sluice/internal/lab/fake"
	"sluice/internal/run/copies"
)

// three is a server with two others.
type three struct {
	*copies.Copies
	local      *fake.Blobs
	outputs    *fake.Outputs
	log        *fake.Log
	peers      []*fake.Peer
	named      []string
	size       int
	open, over []sluice.JobID
}

func cluster(t testing.TB, others int) *three {
	c := &three{local: fake.NewBlobs(), outputs: fake.NewOutputs(), log: fake.NewLog(), size: others + 1}
	for i := range others {
		c.peers = append(c.peers, fake.NewPeer(fmt.Sprint("s", i+1)))
	}
	c.begin(t, copies.Config{})
	return c
}

func (c *three) begin(t testing.TB, cfg copies.Config) {
	cfg.Members = func() (out []sluice.Peer) {
		for _, p := range c.peers {
			out = append(out, p)
		}
		return out
	}
	cfg.Size, cfg.Blobs, cfg.Outputs, cfg.Log = func() int { return c.size }, c.local, c.outputs, c.log
	cfg.Needed = func(context.Context) ([]string, []sluice.JobID, []sluice.JobID, error) {
		return c.named, c.open, c.over, nil
	}
	cfg.Trouble = func(text string) { t.Log(text) }
	c.Copies = copies.New(cfg)
	t.Cleanup(c.Close)
}

func digestOf(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

func (c *three) put(t testing.TB, content string) (string, error) {
	t.Helper()
	digest, _, err := c.Blobs().Put(t.Context(), strings.NewReader(content))
	return digest, err
}

// has reports whether a server has a blob, without asking anybody.
func has(t testing.TB, b sluice.Blobs, digest string) bool {
	t.Helper()
	_, err := b.Size(t.Context(), digest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func (c *three) there(t testing.TB, digest string) (n int) {
	t.Helper()
	for _, p := range c.peers {
		if b, _ := p.Has(); has(t, b, digest) {
			n++
		}
	}
	return n
}

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestBlobsOfAll(t *testing.T) {
	for _, others := range []int{0, 1, 2, 4} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			conform.Blobs(t, func(t *testing.T) sluice.Blobs { return cluster(t, others).Blobs() })
		})
	}
}

// TestBlobsWithoutOne: what is put while servers are away is on a majority, or the error says that it is not.
func TestBlobsWithoutOne(t *testing.T) {
	for _, fault := range []fake.Fault{fake.Always(fake.ErrPeerGone), hangs, fake.Always(errors.New("no space left on device"))} {
		c := cluster(t, 2)
		c.peers[0].Faults.Set(fake.PeerAsk, fault)
		d, err := c.put(t, "x")
		if err != nil || !has(t, c.local, d) || c.there(t, d) != 1 {
			t.Errorf("%v, on %d others", err, c.there(t, d))
		}
	}
	c := cluster(t, 2)
	for _, p := range c.peers {
		p.Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
	}
	if d, err := c.put(t, "x"); sluice.CodeOf(err) != sluice.Contact || d != "" {
		t.Errorf("%q, %v", d, err)
	}
	c.size, c.peers = 3, nil
	if _, err := c.put(t, "x"); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("nobody else is known: %v", err)
	}
}

// TestRenewReaches: who takes blobs away on another server must have been told that this one is needed.
func TestRenewReaches(t *testing.T) {
	c := cluster(t, 2)
	d, err := c.put(t, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Blobs().Renew(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	c.Settle()
	for _, p := range c.peers {
		if b, _ := p.Has(); b.Faults.Passed(fake.BlobRenew) != 2 { // the first was for Put
			t.Errorf("%s was told %d times", p.Name(), b.Faults.Passed(fake.BlobRenew))
		}
	}
	c.peers[0].Wipe()
	c.peers[1].Wipe()
	if _, err := c.Blobs().Renew(t.Context(), d); err != nil || c.there(t, d) == 0 {
		t.Errorf("%v, on %d others", err, c.there(t, d))
	}
	for _, p := range c.peers {
		p.Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
	}
	if _, err := c.Blobs().Renew(t.Context(), d); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("nobody was told, but the error is %v", err)
	}
}

// TestBlobsFromOthers: what only another one has is read from there, fetched once, and kept.
func TestBlobsFromOthers(t *testing.T) {
	c := cluster(t, 2)
	content := strings.Repeat("from another one ", 1000)
	b, _ := c.peers[1].Has()
	d, _, err := b.Put(t.Context(), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	c.peers[0].Faults.Set(fake.PeerAsk, hangs)
	if n, err := c.Blobs().Size(t.Context(), d); err != nil || n != int64(len(content)) || has(t, c.local, d) {
		t.Errorf("%d, %v", n, err)
	}
	before := b.Faults.Passed(fake.BlobOpen)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			r, err := c.Blobs().Open(t.Context(), d)
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(iotest.TestReader(r, []byte(content)), r.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// Once for the size, which the fake opens it for, and once for the content: late ones find it here.
	if n := b.Faults.Passed(fake.BlobOpen) - before; n != 2 || !has(t, c.local, d) {
		t.Errorf("it was opened %d times there", n)
	}
}

// liar gives something else than what it was asked for.
type liar struct{ sluice.Peer }

func (l liar) Blobs() sluice.Blobs { return lies{l.Peer.Blobs()} }

type lies struct{ sluice.Blobs }

func (l lies) Open(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("something else")), nil
}

func TestBlobsAreProved(t *testing.T) {
	c := cluster(t, 1)
	b, _ := c.peers[0].Has()
	d, _, err := b.Put(t.Context(), strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	local := fake.NewBlobs()
	l := copies.New(copies.Config{Members: func() []sluice.Peer { return []sluice.Peer{liar{c.peers[0]}} }, Size: func() int { return 2 }, Blobs: local})
	defer l.Close()
	if _, err := l.Blobs().Open(t.Context(), d); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
	if has(t, local, digestOf("something else")) {
		t.Error("it was kept")
	}
}

// TestNobodyHas: that something is nowhere is said by a majority to who would send it, and by all to who needs it.
func TestNobodyHas(t *testing.T) {
	c := cluster(t, 2)
	none := digestOf("none")
	c.peers[0].Faults.Set(fake.PeerAsk, hangs)
	for _, ask := range []func(context.Context, string) (int64, error){c.Blobs().Size, c.Blobs().Renew} {
		if _, err := ask(t.Context(), none); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a majority does not have it: %v", err)
		}
	}
	c.peers[0].Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
	if _, err := c.Blobs().Open(t.Context(), none); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("one may have it: %v", err)
	}
	c.peers[1].Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
	if _, err := c.Blobs().Size(t.Context(), none); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("both may have it: %v", err)
	}
	c.peers[0].Faults.Set(fake.PeerAsk, nil)
	c.peers[1].Faults.Set(fake.PeerAsk, nil)
	if _, err := c.Blobs().Open(t.Context(), none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody has it: %v", err)
	}
}

// TestStandsStill: a server that takes nothing any more holds nobody up for ever.
func TestStandsStill(t *testing.T) {
	c := &three{local: fake.NewBlobs(), outputs: fake.NewOutputs(), log: fake.NewLog(), size: 2, peers: []*fake.Peer{fake.NewPeer("s1")}}
	c.begin(t, copies.Config{Stall: time.Millisecond})
	c.peers[0].Faults.Set(fake.PeerAsk, fake.From(2, hangs)) // it says that it does not have it
	if _, err := c.put(t, "x"); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("the error is %v", err)
	}
}

// TestLook: who was away gets what it missed, and who came back empty gets everything that is needed, and nothing else.
func TestLook(t *testing.T) {
	c := cluster(t, 2)
	c.peers[0].Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
	a, err := c.put(t, "a")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := c.peers[1].Has()
	old, _, err := b.Put(t.Context(), strings.NewReader("what an earlier owner put"))
	if err != nil {
		t.Fatal(err)
	}
	unneeded, _, err := c.local.Put(t.Context(), strings.NewReader("unneeded"))
	if err != nil {
		t.Fatal(err)
	}
	c.named = []string{old, digestOf("nobody has this")}
	if err := c.Look(t.Context()); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("one is away: %v", err)
	}
	if !has(t, c.local, old) {
		t.Error("the owner did not get what is needed")
	}
	for _, wipe := range []bool{false, true} {
		if wipe {
			c.peers[0].Faults.Set(fake.PeerAsk, fake.Always(fake.ErrPeerGone))
			if err := c.Look(t.Context()); err == nil {
				t.Error("it is away")
			}
			c.peers[0].Wipe()
		}
		c.peers[0].Faults.Set(fake.PeerAsk, nil)
		if err := c.Look(t.Context()); err != nil {
			t.Error(err)
		}
		if n := c.there(t, a); n != 2 {
			t.Errorf("wiped %v: what was put is on %d others", wipe, n)
		}
		if n := c.there(t, old); n != 2 {
			t.Errorf("wiped %v: what is needed is on %d others", wipe, n)
		}
		if c.there(t, unneeded) != 0 {
			t.Error("what nobody needs was sent")
		}
	}
	asked := c.peers[0].Faults.Passed(fake.PeerAsk)
	if err := c.Look(t.Context()); err != nil || c.peers[0].Faults.Passed(fake.PeerAsk) != asked+1 {
		t.Errorf("%v; a server that has everything was asked %d times", err, c.peers[0].Faults.Passed(fake.PeerAsk)-asked)
	}
}

// TestNotBroughtBack: what was taken away here because nobody names it does not come back from another one.
func TestNotBroughtBack(t *testing.T) {
	c := cluster(t, 2)
	d, err := c.put(t, "x")
	if err != nil {
		t.Fatal(err)
	}
	gone := fake.NewBlobs()
	c.local.Become(gone)
	if err := c.Look(t.Context()); err != nil || has(t, c.local, d) {
		t.Errorf("%v; it is back: %v", err, has(t, c.local, d))
	}
}

// TestBlobsSurvive: whatever is put while servers go away, lose answers and come back, what was acknowledged can be read by a new owner
// when any one server of a majority is lost.
func TestBlobsSurvive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := cluster(t, rapid.SampledFrom([]int{2, 4}).Draw(rt, "others"))
		var kept []string
		up := func() (n int) {
			for _, p := range c.peers {
				if p.Faults.Fault(fake.PeerAsk) == nil {
					n++
				}
			}
			return n
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				content := rapid.StringMatching(`[ab]{1,3}`).Draw(rt, "content")
				d, err := c.put(t, content)
				switch {
				case err == nil:
					kept = append(kept, d)
					if n := c.there(t, d); n < c.size/2 {
						rt.Fatalf("acknowledged, and on %d others of %d", n, c.size-1)
					}
				case sluice.CodeOf(err) != sluice.Contact:
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
			"look": func(rt *rapid.T) {
				c.named = kept
				c.Settle()
				err := c.Look(t.Context())
				if up() < len(c.peers) {
					return
				}
				for _, d := range kept {
					if n := c.there(t, d); err == nil && n < len(c.peers) {
						rt.Fatalf("all are there, but only %d others have a blob", n)
					}
				}
			},
		})
		// This server is lost. Another one owns the log, and as many are there as a majority takes.
		lost := rapid.IntRange(0, len(c.peers)/2-1).Draw(rt, "lost")
		c.Close()
		next := cluster(t, 0)
		next.size = c.size
		b, _ := c.peers[lost].Has()
		next.local.Become(b)
		next.peers = append(c.peers[:lost:lost], c.peers[lost+1:]...)
		for _, p := range c.peers {
			p.Faults.Set(fake.PeerAsk, nil)
			p.Faults.Set(fake.PeerAnswer, nil)
		}
		for _, d := range kept {
			r, err := next.Blobs().Open(t.Context(), d)
			if err != nil {
				rt.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil || digestOf(string(text)) != d {
				rt.Fatal(string(text), err)
			}
		}
		next.Close()
	})
}

func TestClosed(t *testing.T) {
	c := cluster(t, 2)
	c.Close()
	if _, err := c.put(t, "x"); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("put: %v", err)
	}
	if _, err := c.Blobs().Open(t.Context(), digestOf("none")); sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("open: %v", err)
	}
}
