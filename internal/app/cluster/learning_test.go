package cluster

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/lab/fake"
)

// pupil is a server that learns keys by a log.
type pupil struct {
	*learned
	t     *testing.T
	data  string
	log   *fake.Log
	tried map[sluice.Host]int // since it started
	says  map[sluice.Host]error
}

func newPupil(t *testing.T) *pupil {
	p := &pupil{t: t, data: t.TempDir(), log: fake.NewLog(), says: map[sluice.Host]error{}}
	p.start()
	return p
}

func (p *pupil) start() {
	p.t.Helper()
	p.tried = map[sluice.Host]int{}
	var err error
	p.learned, err = newLearned(p.data, p.log, func(_ context.Context, k sluice.LearnedKey) error {
		p.tried[k.Host]++
		return p.says[k.Host]
	}, func(string) {})
	if err != nil {
		p.t.Fatal(err)
	}
}

// told has the log say that the servers trust keys of hosts.
func (p *pupil) told(hosts ...sluice.Host) {
	p.t.Helper()
	for _, h := range hosts {
		heads, err := p.log.Read(p.t.Context(), sluice.AccessNamespace, 0, 1000)
		if err != nil {
			p.t.Fatal(err)
		}
		if _, err := p.log.Update(p.t.Context(), sluice.AccessNamespace, uint64(len(heads)), func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{{Body: sluice.AccessNoted{What: "trusts " + string(h), Key: &sluice.LearnedKey{Host: h}}}}, nil
		}); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *pupil) tries(what string, want map[sluice.Host]int) {
	p.t.Helper()
	if err := p.catchUp(p.t.Context()); err != nil || !maps.Equal(p.tried, want) {
		p.t.Errorf("%s: tried %v, want %v; %v", what, p.tried, want, err)
	}
}

func (p *pupil) kept(want string) {
	p.t.Helper()
	if text, err := os.ReadFile(p.file); err != nil || string(text) != want+"\n" {
		p.t.Errorf("the file has %q, %v, want %s", text, err, want)
	}
}

// TestLearnedOnce: a key that is refused for good has none that came after it be learned again.
func TestLearnedOnce(t *testing.T) {
	p := newPupil(t)
	p.told("web1", "web2", "web3")
	p.says["web2"] = errors.New("another one is known")
	p.tries("all", map[sluice.Host]int{"web1": 1, "web2": 1, "web3": 1})
	p.kept(`{"seq":3,"open":[2]}`)
	p.start()
	p.tries("the one that is open", map[sluice.Host]int{"web2": 1})
	p.told("web4")
	p.start()
	delete(p.says, "web2")
	p.tries("what is open and what is new", map[sluice.Host]int{"web2": 1, "web4": 1})
	p.kept(`{"seq":4}`)
	p.start()
	p.tries("none", map[sluice.Host]int{})

	if err := os.WriteFile(p.file, []byte("{\"seq\":2}\n"), 0o600); err != nil { // by a server of before
		t.Fatal(err)
	}
	p.start()
	p.tries("what was not done then", map[sluice.Host]int{"web3": 1, "web4": 1})
}

// TestLearnedIsKept: what could not be written down is later, though there is nothing to be learned.
func TestLearnedIsKept(t *testing.T) {
	p := newPupil(t)
	p.told("web1")
	if err := os.MkdirAll(filepath.Join(p.file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.catchUp(t.Context()); err == nil || p.tried["web1"] != 1 {
		t.Errorf("tried %v, %v", p.tried, err)
	}
	if err := os.RemoveAll(p.file); err != nil {
		t.Fatal(err)
	}
	p.tries("nothing more", map[sluice.Host]int{"web1": 1})
	p.kept(`{"seq":1}`)
	if left, err := filepath.Glob(filepath.Join(p.data, "*")); err != nil || !slices.Equal(left, []string{p.file}) {
		t.Errorf("%v, %v", left, err)
	}
}

// TestWhatWasLearnedAndLost: where the log ends before what was read of it, as after a recovery, what is appended from there on is learned, and
// what was read before is not learned again.
func TestWhatWasLearnedAndLost(t *testing.T) {
	p := newPupil(t)
	p.told("web1", "web2", "web3", "web4")
	p.says["web2"], p.says["web4"] = errors.New("another one is known"), errors.New("another one is known")
	p.tries("all", map[sluice.Host]int{"web1": 1, "web2": 1, "web3": 1, "web4": 1})
	p.kept(`{"seq":4,"open":[2,4]}`)
	delete(p.says, "web4")
	p.log = fake.NewLog()
	p.told("web1", "web2")
	p.start()
	p.upTo([]sluice.Head{{Namespace: "prod", Seq: 9}, {Namespace: sluice.AccessNamespace, Seq: 2}})
	p.told("web5", "web6")
	p.tries("what was open, and what came since", map[sluice.Host]int{"web2": 1, "web5": 1, "web6": 1})
	p.kept(`{"seq":4,"open":[2]}`)
	p.log = fake.NewLog()
	p.start()
	p.upTo(nil)
	p.told("web7")
	p.tries("of a log that begins anew", map[sluice.Host]int{"web7": 1})
	p.kept(`{"seq":1}`)
}

// TestLearningHoldsUpNobody: while known_hosts is held by another program, a server that is about to own the log waits for a second, and not
// at all when its life ends; what it left is learned when that is possible.
func TestLearningHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPupil(t)
		free := make(chan struct{})
		known := map[sluice.Host]bool{}
		p.learn = func(ctx context.Context, k sluice.LearnedKey) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-free:
				known[k.Host] = true
				return nil
			}
		}
		p.told("web1", "web2", "web3", "web4", "web5")
		ctx, end := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.run(ctx) })
		synctest.Wait() // it is at the first key
		began := time.Now()
		if err := p.soon(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("it waits for %s: %v", time.Since(began), err)
		}
		life, over := context.WithCancel(ctx)
		over()
		began = time.Now()
		if err := p.soon(life); !errors.Is(err, context.Canceled) || time.Since(began) != 0 {
			t.Errorf("when its life has ended it waits for %s: %v", time.Since(began), err)
		}
		if len(known) > 0 {
			t.Errorf("known are %v", known)
		}
		close(free)
		<-time.After(2 * refusedAgain)
		synctest.Wait()
		if len(known) != 5 {
			t.Errorf("known are %v", known)
		}
		p.kept(`{"seq":5}`)
		end()
		running.Wait()
	})
}
