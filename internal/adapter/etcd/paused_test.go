package etcd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/internal/adapter/etcd"
)

// ownerAt is what a process is told that owns a log: where, and that it is the child of a test.
const ownerAt = "SLUICE_TEST_OWNER_AT"

func TestMain(m *testing.M) {
	for key, do := range map[string]func(string) error{ownerAt: ownAndAppend, nodeIs: runNode} {
		if text := os.Getenv(key); text != "" {
			if err := do(text); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// patience is how long the child appends.
const patience = 20 * time.Second

// said is what the child says on each line: of one that appends, how it ended, and whether its term was over by then.
type said struct {
	Term    uint64
	Acks    uint64
	Code    sluice.Code
	Lasts   bool // by the time, when the first append had failed
	Over    bool
	Refused string
}

// ownAndAppend owns the log and appends, as fast as it can. When an append has failed it tries 20 more, says how that was, and begins anew when
// it is told to.
func ownAndAppend(at string) error {
	ctx, in, out := context.Background(), bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	c, err := etcd.Connect(ctx, etcd.ConnectConfig{Endpoints: []string{at}})
	if err != nil {
		return err
	}
	defer c.Close()
	for in.Scan() {
		e, err := etcd.New(c, etcd.Config{})
		if err != nil {
			return err
		}
		term, err := e.Own(ctx, sluice.Owner{Name: "child"})
		if err != nil {
			return err
		}
		heads, err := e.Heads(ctx)
		if err != nil {
			return err
		}
		var end sluice.Head
		if len(heads) > 0 {
			end = heads[0]
		}
		s := said{Term: term.Number()}
		if err := out.Encode(s); err != nil {
			return err
		}
		for began := time.Now(); time.Since(began) < patience; { // one that nothing stops is found, too
			r := event("prod", end, 1, "of the child")
			if err := term.Append(ctx, r); err != nil {
				s.Lasts, s.Code, s.Refused = term.Lasts(), sluice.CodeOf(err), err.Error()
				break
			}
			end = r.Head()
			s.Acks = end.Seq
		}
		for range 20 {
			if err := term.Append(ctx, event("prod", end, 1, "again")); err == nil {
				s.Acks++ // never
			}
		}
		select {
		case <-term.Over():
			s.Over = true
		case <-time.After(10 * time.Second):
		}
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return in.Err()
}

// comes waits for n records more.
func comes(t *testing.T, e sluice.Engine, n int) {
	t.Helper()
	heads, err := e.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := map[sluice.Namespace]uint64{}
	for _, h := range heads {
		after[h.Namespace] = h.Seq
	}
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	enough := errors.New("enough")
	if err := e.Follow(ctx, after, func(all []sluice.Record) error {
		if n -= len(all); n <= 0 {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

// TestAPausedOwner stands still for longer than its lease, in the middle of appending. Another owns the log meanwhile; the one that was paused
// appends nothing any more, and knows that its term is over.
func TestAPausedOwner(t *testing.T) {
	e := newElsewhere(t, nil, nil)
	engine, err := etcd.New(connects(t, etcd.ConnectConfig{Endpoints: []string{e.url}}), etcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self)
	child.Env, child.Stderr = append(os.Environ(), ownerAt+"="+e.url), os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		if err := child.Wait(); err != nil {
			t.Error(err)
		}
	}()
	out := json.NewDecoder(from)
	says := func() (s said) {
		t.Helper()
		if err := out.Decode(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	rounds := 20
	if testing.Short() {
		rounds = 2
	}
	var took []time.Duration
	for round := range rounds {
		if _, err := io.WriteString(in, "go\n"); err != nil {
			t.Fatal(err)
		}
		began := says()
		comes(t, engine, 1+round) // it appends; each time it is stopped elsewhere
		if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		stopped := time.Now()
		term := own(t, engine, "parent")
		took = append(took, time.Since(stopped))
		heads, err := engine.Heads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var end sluice.Head
		if len(heads) > 0 {
			end = heads[0]
		}
		if round%2 == 0 { // the other times only the owner is another
			end = put(t, term, event("prod", end, 1, "of the parent"))
		}
		if err := child.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		s := says()
		if s.Acks > end.Seq || round%2 == 0 && s.Acks == end.Seq || !s.Over || s.Lasts || s.Code == "" || term.Number() <= began.Term {
			t.Errorf("round %d: %+v, and term %d with event %d came after it", round, s, term.Number(), end.Seq)
		}
		if heads, err = engine.Heads(t.Context()); err != nil || heads[0] != end {
			t.Errorf("round %d: it ends with %v, want %v: %v", round, heads, end, err)
		}
		if err := term.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("another owned the log after %v", took)
}
