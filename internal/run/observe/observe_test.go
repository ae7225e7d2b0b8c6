package observe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/internal/core/schedule"
	"sluice/internal/lab/fake"
	"sluice/internal/run/observe"
)

// taken is what an observer handed on.
type taken struct {
	mu    sync.Mutex
	began []string
	seen  map[sluice.Namespace][]uint64
	told  []string
}

func (k *taken) config(l sluice.Log) observe.Config {
	k.seen = map[sluice.Namespace][]uint64{}
	return observe.Config{Log: l,
		Begin: func(_ context.Context, ns sluice.Namespace, s *schedule.State, _ time.Duration) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.began = append(k.began, fmt.Sprintf("%s %d", ns, s.Seq()))
		},
		Take: func(ns sluice.Namespace, events []sluice.Event) {
			k.mu.Lock()
			defer k.mu.Unlock()
			for _, e := range events {
				k.seen[ns] = append(k.seen[ns], e.Seq)
			}
		},
		Trouble: func(text string) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.told = append(k.told, text)
		}}
}

func hold(t *testing.T, l sluice.Log, ns sluice.Namespace, hosts ...sluice.Host) {
	t.Helper()
	_, err := l.Update(t.Context(), ns, 0, func([]sluice.Event) (out []sluice.Event, err error) {
		for _, h := range hosts {
			out = append(out, sluice.Event{Time: time.Now(), Body: sluice.HostHeld{Host: h, Reason: "r", By: "ann"}})
		}
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func run(t *testing.T, cfg observe.Config) (o *observe.Observer, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o = observe.New(cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Run(ctx)
	}()
	synctest.Wait()
	return o, func() {
		cancel()
		<-done
	}
}

// TestEachEventOnce: what was there is folded, what comes is handed on in order, also of namespaces that are new; the
// program's own are left alone.
func TestEachEventOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := fake.NewLog(), &taken{}
		hold(t, l, "prod", "a", "b")
		if _, err := l.Update(t.Context(), sluice.AccessNamespace, 0, func([]sluice.Event) ([]sluice.Event, error) {
			return []sluice.Event{{Time: time.Now(), Body: sluice.PrincipalAdded{Principal: "ann"}}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		o, end := run(t, k.config(l))
		hold(t, l, "prod", "c")
		hold(t, l, "prod", "d", "e")
		hold(t, l, "lab", "x")
		time.Sleep(time.Second)
		synctest.Wait()
		hold(t, l, "lab", "y") // all of which is news
		if want := []string{"prod 2", "lab 0"}; !slices.Equal(k.began, want) {
			t.Errorf("began with %q, want %q", k.began, want)
		}
		if !slices.Equal(k.seen["prod"], []uint64{3, 4, 5}) || !slices.Equal(k.seen["lab"], []uint64{1, 2}) || len(k.seen) != 2 {
			t.Errorf("took %v", k.seen)
		}
		held := map[sluice.Namespace]int{}
		o.Each(func(ns sluice.Namespace, s *schedule.State) { held[ns] = s.Census().Held })
		if held["prod"] != 5 || held["lab"] != 2 || len(held) != 2 {
			t.Errorf("held %v", held)
		}
		end()
		if len(k.told) > 0 {
			t.Errorf("told %q", k.told)
		}
	})
}

// TestGoesOnAfterErrors: an error loses no event and hands none on twice.
func TestGoesOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := fake.NewLog(), &taken{}
		hold(t, l, "prod", "a")
		l.Faults.Set(fake.LogRead, fake.Once(errors.New("busy")))
		_, end := run(t, k.config(l))
		defer end()
		time.Sleep(time.Second)
		synctest.Wait()
		l.Faults.Set(fake.LogRead, fake.Once(errors.New("busy again")))
		hold(t, l, "prod", "b", "c")
		time.Sleep(time.Second)
		synctest.Wait()
		hold(t, l, "prod", "d")
		if !slices.Equal(k.seen["prod"], []uint64{2, 3, 4}) {
			t.Errorf("took %v", k.seen)
		}
		if said := strings.Join(k.told, "\n"); len(k.told) != 2 || !strings.Contains(said, "namespace prod: busy again") {
			t.Errorf("told %q", said)
		}
	})
}
