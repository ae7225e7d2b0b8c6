package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
)

// keys are hosts that show their keys after a while, the first ones last.
type keys struct {
	mu         sync.Mutex
	live, most int
	kept       []sluice.Host
	keep       error
}

func (k *keys) enrol(ctx context.Context, h sluice.Host, _ sluice.SSH) (HostKey, error) {
	k.mu.Lock()
	k.live++
	k.most = max(k.most, k.live)
	wait := time.Duration(1000-k.live) * time.Millisecond
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.live--
		k.mu.Unlock()
	}()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return HostKey{}, ctx.Err()
	}
	if strings.HasSuffix(string(h), "3") {
		return HostKey{}, fmt.Errorf("%s does not answer", h)
	}
	return HostKey{Fingerprint: "of " + string(h), Keep: func() error {
		if k.keep != nil {
			return k.keep
		}
		k.kept = append(k.kept, h)
		return ctx.Err() // who cancels it too early gets to know
	}}, nil
}

func (k *keys) run(w World, args ...string) (status int, out, errs string) {
	var stdout, stderr bytes.Buffer
	w.Args, w.Stdout, w.Stderr, w.Enrol = append([]string{"host", "enrol"}, args...), &stdout, &stderr, k.enrol
	w.Env = func(string) string { return "" }
	status = Main(context.Background(), w)
	return status, stdout.String(), stderr.String()
}

func TestEnrolAsksSomeAtOnceAndTellsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keys
		status, out, errs := k.run(World{}, "h[01-40]", "--yes")
		if status != exitFailures || errs != "sluice: h[03,13,23,33]: HOST does not answer\n" {
			t.Errorf("status %d, %s", status, errs)
		}
		if k.most != enrolAtOnce {
			t.Errorf("%d at once, expected %d", k.most, enrolAtOnce)
		}
		var order []string
		for line := range strings.Lines(out) {
			order = append(order, strings.Fields(line)[0])
		}
		if len(order) != 36 || !strings.HasPrefix(strings.Join(order, " "), "h01 h02 h04 h05 ") || order[35] != "h40" {
			t.Errorf("%v", order)
		}
		if len(k.kept) != 36 {
			t.Errorf("%d were added", len(k.kept))
		}
	})
}

func TestEnrolAddsNothingUnconfirmed(t *testing.T) {
	confirm := func(answer string) func(string) (string, error) {
		return func(string) (string, error) { return answer, nil }
	}
	interrupts := make(chan struct{}, 1)
	for _, tc := range []struct {
		name   string
		w      World
		keep   error
		status int
		said   string
		kept   int
	}{
		{name: "nobody to ask", status: exitUsage, said: "4 new keys not added"},
		{name: "no", w: World{Confirm: confirm("no")}, status: exitUsage, said: "nothing was added"},
		{name: "yes", w: World{Confirm: confirm(" Yes\r")}, status: exitFailures, said: "h3: h3 does not answer", kept: 4},
		{name: "gone", w: World{Confirm: func(string) (string, error) { return "", errors.New("the terminal is gone") }}, status: exitUsage, said: "gone"},
		{name: "interrupted", w: World{Interrupts: interrupts, Confirm: func(string) (string, error) {
			interrupts <- struct{}{}
			synctest.Wait()
			return "y", nil
		}}, status: exitContact, said: "interrupted; nothing was added"},
		{name: "full", w: World{Confirm: confirm("y")}, keep: errors.New("no room"), status: exitFailures, said: "h[1-2,4-5]: no room"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tc.w.Interrupts != nil {
					interrupts = make(chan struct{}, 1) // of this bubble
					tc.w.Interrupts = interrupts
				}
				k := keys{keep: tc.keep}
				status, _, errs := k.run(tc.w, "h[1-5]")
				if status != tc.status || !strings.Contains(errs, tc.said) || len(k.kept) != tc.kept {
					t.Errorf("status %d, %d added, %s", status, len(k.kept), errs)
				}
			})
		})
	}
}

func TestEnrolCanBeInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keys
		interrupts := make(chan struct{})
		time.AfterFunc(1500*time.Millisecond, func() { interrupts <- struct{}{} })
		status, out, errs := k.run(World{Interrupts: interrupts}, "h[01-40]", "--yes")
		if status != exitContact || !strings.Contains(errs, "interrupted; nothing was added") || len(k.kept) > 0 {
			t.Errorf("status %d, %d added, %s", status, len(k.kept), errs)
		}
		if !strings.HasPrefix(out, "h01 ") {
			t.Errorf("what was learnt was not shown: %s", out)
		}
	})
}
