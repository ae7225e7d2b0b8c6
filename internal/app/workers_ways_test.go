package app_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/internal/app"
	"sluice/internal/lab/testfleet"
)

// came tells of each line of a worker: to where.
type came struct {
	slog.Handler
	at chan string
}

func (came) Enabled(context.Context, slog.Level) bool { return true }

func (c came) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "connected" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "server" {
				c.at <- a.Value.String()
			}
			return true
		})
	}
	return nil
}

// TestAWorkerGoesToAnotherServer: when the way to one server is gone, or answers no more, the worker is at the next one in well under a
// second; what runs meanwhile ends as ever, and the next start prefers the server that served it last.
func TestAWorkerGoesToAnotherServer(t *testing.T) {
	s := newServed(t)
	way := func() (*testfleet.Proxy, string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := testfleet.NewProxy(l, func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.workers)
		}, testfleet.Faults{})
		t.Cleanup(func() { _ = p.Close() })
		return p, l.Addr().String()
	}
	a, atA := way()
	b, atB := way()
	lines := came{slog.DiscardHandler, make(chan string, 100)}
	w := &elsewhere{s: s, name: "w1", data: t.TempDir(), log: lines, set: func(p *app.Worker) { p.Servers = []string{atA, atB} }}
	i, err := s.client.InviteWorker(t.Context(), "w1", nil)
	s.must(err)
	w.start(i.Token)
	if at := <-lines.at; at != atA {
		t.Fatalf("it began at %s", at)
	}
	marks := t.TempDir()
	id := s.submit("web1", held(marks))
	await(t, marks+"/web1", 1)

	going := func() string {
		select {
		case at := <-lines.at:
			return at
		case <-time.After(20 * time.Second):
			t.Fatal("the worker comes nowhere")
			return ""
		}
	}
	next := func(what, want string, change func()) {
		t.Helper()
		began := time.Now()
		change()
		at := going()
		took := time.Since(began)
		t.Logf("%s: %v", what, took)
		if at != want || took > time.Second {
			t.Errorf("%s: the worker is at %s after %v, want %s within a second", what, at, took, want)
		}
		s.health("w1", "connected")
	}
	swallow := testfleet.Faults{ToServer: testfleet.Flow{Swallow: true}, ToClient: testfleet.Flow{Swallow: true}}
	next("the first one breaks off and is silent", atB, func() { a.Set(swallow); a.Cut() })
	next("the second one as well, and the first is there again", atA, func() { a.Set(testfleet.Faults{}); b.Set(swallow); b.Cut() })
	b.Set(testfleet.Faults{})
	next("the first one is gone", atB, func() { s.must(a.Close()) })
	letGo(t, marks)
	s.succeeded(id, 1)
	ranOnce(t, marks, 1)

	s.must(w.stop())
	text, err := os.ReadFile(w.data + "/server")
	s.must(err)
	if got := strings.Fields(string(text)); len(got) != 2 || got[0] != atB {
		t.Errorf("it keeps %q", got)
	}
	w.set = func(p *app.Worker) { p.Servers = nil }
	w.start("")
	if at := going(); at != atB {
		t.Errorf("the next process began at %s", at)
	}
}
