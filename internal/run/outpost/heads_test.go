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
)

// memory keeps heads, and counts how often.
type memory struct {
	mu    sync.Mutex
	heads []sluice.SeenHead
	wrote int
	fail  error
}

func (m *memory) Seen() ([]sluice.SeenHead, error) { return m.heads, nil }

func (m *memory) SetSeen(heads []sluice.SeenHead) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.heads, m.wrote = slices.Clone(heads), m.wrote+1
	}
	return m.fail
}

// TestHeadsAreHandedBack: what the server has shown is kept, once, and handed back on every line, also by the next process.
// What goes back behind it is not taken for news.
func TestHeadsAreHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(seq uint64, epoch int) sluice.SeenHead {
			return sluice.SeenHead{Head: sluice.Head{Namespace: "prod", Seq: seq}, Epoch: epoch}
		}
		disk := &memory{heads: []sluice.SeenHead{at(3, 0)}}
		lines := make(chan *talk, 10)
		var hellos []sluice.WorkerHello
		var told []string
		o, err := New(Config{Outputs: kept{fake.NewOutputs()}, Dir: t.TempDir(), Limit: 1, Notice: func(text string) { told = append(told, text) }, Witness: disk,
			Open: func(ctx context.Context, hello sluice.WorkerHello) (Line, error) {
				hellos = append(hellos, hello)
				select {
				case l := <-lines:
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
		go func() { ended <- o.Run(ctx) }()
		show := func(heads ...sluice.SeenHead) {
			t.Helper()
			l := newTalk()
			lines <- l
			for range 3 {
				l.in <- sluice.ToWorker{Heads: heads}
				synctest.Wait()
			}
			l.Close()
			time.Sleep(10 * time.Second) // until it comes again
			synctest.Wait()
		}
		handsBack := func(want sluice.SeenHead, wrote int) {
			t.Helper()
			if got := hellos[len(hellos)-1].Heads; len(got) != 1 || got[0] != want {
				t.Errorf("it hands back %+v, want %+v", got, want)
			}
			if disk.wrote != wrote {
				t.Errorf("it has written %d times, want %d", disk.wrote, wrote)
			}
		}
		synctest.Wait()
		handsBack(at(3, 0), 0)
		show(at(5, 0))
		handsBack(at(5, 0), 1)
		show(at(4, 0))
		handsBack(at(5, 0), 1)
		other := at(5, 0)
		other.Hash[0] = 1
		show(other) // written anew
		handsBack(at(5, 0), 1)
		if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "has lost part of its log") }) {
			t.Errorf("nobody is told: %q", told)
		}
		show(at(4, 1)) // it was repaired
		handsBack(at(4, 1), 2)
		disk.fail = errors.New("the disk is full")
		show(at(6, 1))
		handsBack(at(6, 1), 2)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
