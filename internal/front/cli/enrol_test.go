package cli

import (
	"bytes"
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
	"sluice/api"
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

// TestKeysAreAskedInChunks: what comes of them is in the order of the hosts, and after an error nobody else is asked.
func TestKeysAreAskedInChunks(t *testing.T) {
	var hosts []sluice.Host
	for i := range 40 {
		hosts = append(hosts, sluice.Host(fmt.Sprintf("h%02d", i)))
	}
	denied := sluice.Errorf(sluice.Denied, "no")
	for _, failing := range []sluice.Host{"", "h08"} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			asked := 0
			ring := keyring{chunk: 4, atOnce: 2, ask: func(ctx context.Context, chunk []sluice.Host) (out []enrolled, err error) {
				mu.Lock()
				asked++
				mu.Unlock()
				wait := time.Second
				if chunk[0] == "h00" && failing == "" {
					wait = time.Minute
				}
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				for _, h := range chunk {
					if h == failing {
						return nil, denied
					}
					out = append(out, enrolled{host: h})
				}
				return out, nil
			}}
			var got []sluice.Host
			err := askKeys(t.Context(), ring, hosts, func(e enrolled) error { got = append(got, e.host); return nil })
			want, most := hosts, 10
			if failing != "" {
				want, most = hosts[:8], 6
			}
			if !slices.Equal(got, want) || asked > most || (failing != "") != errors.Is(err, denied) {
				t.Errorf("%q fails: %v in %d chunks, error %v", failing, got, asked, err)
			}
		})
	}
}

// TestWhatAServerSaysOfAKey: what is shown is the fingerprint of what would be added.
func TestWhatAServerSaysOfAKey(t *testing.T) {
	e := enrolledAt("web1", sluice.SSH{}, api.HostKey{Host: "web1", Type: "ssh-ed25519\x1b[2J", Key: []byte("key"), Fingerprint: "SHA256:ofAnother", State: "new"})
	if e.err != nil || e.key.Fingerprint != "SHA256:LHDhK3oGRvkiefQnx7OOczTY5Tic/xZ6HcMOc/gmtoM" || strings.Contains(e.key.Type, "\x1b") {
		t.Errorf("%+v", e)
	}
	for _, k := range []api.HostKey{{Host: "web1", Error: "no"}, {Host: "web2", Key: []byte("key")}, {Host: "web1"}} {
		if e := enrolledAt("web1", sluice.SSH{}, k); e.err == nil {
			t.Errorf("%+v is taken for a key", k)
		}
	}
}
