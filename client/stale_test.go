package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/api"
)

// cut has a server answer as one without contact to a majority: it refuses what would change something.
func cut(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(api.StaleHeader, "2026-01-02T03:04:05Z")
	if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/plan") {
		ill(w, r)
		return
	}
	answers(w, r)
}

// keeps has it take a change all the same.
func keeps(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(api.StaleHeader, "2026-01-02T03:04:05Z")
	answers(w, r)
}

// TestAServerWithoutAMajorityIsLeft for one that has a majority, and for no other; what changes something is done at one at most.
func TestAServerWithoutAMajorityIsLeft(t *testing.T) {
	asks := func(c *Client) error { _, err := c.Job(t.Context(), "0123456789ab"); return err }
	skip := func(c *Client) error { _, err := c.Skip(t.Context(), "0123456789ab", nil, "why"); return err }
	puts := func(c *Client) error { _, err := c.Put(t.Context(), strings.NewReader("some text")); return err }
	plans := func(c *Client) error { _, err := c.Plan(t.Context(), api.Submit{}); return err }
	halts := func(c *Client) error { _, err := c.HaltAll(t.Context(), "", "why"); return err }
	const halt = "POST halt"
	const get, post = "GET jobs/0123456789ab", "POST jobs/0123456789ab/skip"
	for _, v := range []struct {
		what    string
		servers []http.HandlerFunc // nil: nobody is there
		do      func(*Client) error
		asked   [][]string
		at      int
		old     bool
		fails   bool
	}{
		{"a question", []http.HandlerFunc{cut, answers, answers}, asks, [][]string{{get}, {get}, nil}, 1, false, false},
		{"a question, and the next is cut, too", []http.HandlerFunc{cut, cut, answers}, asks, [][]string{{get}, {get}, {get}}, 2, false, false},
		{"a question, and the next is gone", []http.HandlerFunc{cut, nil, answers}, asks, [][]string{{get}, nil, {get}}, 2, false, false},
		{"a question, and the next has no owner", []http.HandlerFunc{cut, ill, answers}, asks, [][]string{{get}, {get}, {get}}, 2, false, false},
		{"a question, and all are cut", []http.HandlerFunc{cut, cut}, asks, [][]string{{get}, {get}}, 0, true, false},
		{"a question, and the others are gone", []http.HandlerFunc{cut, nil, nil}, asks, [][]string{{get}, nil, nil}, 0, true, false},
		{"a question, and the other breaks off", []http.HandlerFunc{cut, dies}, asks, [][]string{{get}, {get}}, 0, true, false},
		{"a question, and the other has no owner", []http.HandlerFunc{cut, ill}, asks, [][]string{{get}, {get}}, 0, true, false},
		{"a question, and the first is gone", []http.HandlerFunc{nil, cut}, asks, [][]string{nil, {get}}, 1, true, false},
		{"a question, and there is one server", []http.HandlerFunc{cut}, asks, [][]string{{get}}, 0, true, false},
		{"a question that is long", []http.HandlerFunc{cut, answers}, plans, [][]string{{"POST plan"}, {"POST plan"}}, 1, false, false},
		{"a change", []http.HandlerFunc{cut, answers, answers}, skip, [][]string{{post}, {post}, nil}, 1, false, false},
		{"a change, and all are cut", []http.HandlerFunc{cut, cut}, skip, [][]string{{post}, {post}}, 0, false, true},
		{"a change whose answer is lost then", []http.HandlerFunc{cut, dies, answers}, skip, [][]string{{post}, {post}, nil}, 0, false, true},
		{"a change that is refused then", []http.HandlerFunc{cut, ill, answers}, skip, [][]string{{post}, {post}, nil}, 1, false, true},
		{"a change that is taken", []http.HandlerFunc{keeps, answers}, skip, [][]string{{post}, nil}, 0, true, false},
		{"a halt that a cut server keeps", []http.HandlerFunc{keeps, answers}, halts, [][]string{{halt}, {halt}}, 1, false, false},
		{"a halt that all keep", []http.HandlerFunc{keeps, keeps}, halts, [][]string{{halt}, {halt}}, 0, false, false},
		{"a halt that is kept, and the others are gone", []http.HandlerFunc{keeps, nil, dies}, halts, [][]string{{halt}, nil, {halt}}, 0, false, false},
		{"a file, of which something may have been read", []http.HandlerFunc{cut, answers}, puts, [][]string{{"POST blobs"}, nil}, 0, false, true},
	} {
		var all []*heard
		var at []string
		for _, does := range v.servers {
			h, url := &heard{}, nobody(t)
			if does != nil {
				h = hears(t, does)
				url = h.URL
			}
			all, at = append(all, h), append(at, url)
		}
		c := of(t, at...)
		old := false
		c.Stale = func(time.Time) { old = true }
		err := v.do(c)
		if v.fails != (err != nil) || err != nil && sluice.CodeOf(err) != sluice.Contact {
			t.Errorf("%s: %v", v.what, err)
		}
		for i, h := range all {
			if got := h.list(); !slices.Equal(got, v.asked[i]) {
				t.Errorf("%s: server %d is asked %q, want %q", v.what, i, got, v.asked[i])
			}
		}
		if old != v.old || c.At() != at[v.at] {
			t.Errorf("%s: told that it is old: %v; the next request goes to %s, want %s", v.what, old, c.At(), at[v.at])
		}
	}
}

// TestWhereAllAreCutOneIsAsked, and the others are only now and then.
func TestWhereAllAreCutOneIsAsked(t *testing.T) {
	first, second := hears(t, cut), hears(t, cut)
	c := of(t, first.URL, second.URL)
	ask := func() {
		t.Helper()
		if _, err := c.Job(t.Context(), "0123456789ab"); err != nil || c.At() != first.URL {
			t.Fatalf("%v, at %s", err, c.At())
		}
	}
	c.look = time.Hour
	c.began = time.Now().Add(-2 * time.Hour)
	for range 5 {
		ask()
	}
	if a, b := len(first.list()), len(second.list()); a != 5 || b != 1 {
		t.Errorf("the first is asked %d times, the other one %d times", a, b)
	}
	c.look = 0
	ask()
	if b := len(second.list()); b != 2 {
		t.Errorf("after a while the other one is asked %d times", b)
	}
}

// TestOneThatIsSilentIsNotWaitedFor where another one has answered.
func TestOneThatIsSilentIsNotWaitedFor(t *testing.T) {
	done := make(chan struct{})
	silent := hears(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	t.Cleanup(func() { close(done) })
	began := time.Now()
	if _, err := of(t, hears(t, cut).URL, silent.URL).Job(t.Context(), "0123456789ab"); err != nil || time.Since(began) > 3*newerWithin {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestWatchLeavesAServerWithoutAMajority as soon as there is another one; that is no loss, and each event comes once.
func TestWatchLeavesAServerWithoutAMajority(t *testing.T) {
	var healed atomic.Bool
	serve := func(old func() bool, from, to int, last bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if old() {
				w.Header().Set(api.StaleHeader, "2026-01-02T03:04:05Z")
			}
			if !strings.HasSuffix(r.URL.Path, "/events") {
				_, _ = io.WriteString(w, `{}`)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for i := from; i <= to; i++ {
				e := sluice.Event{Seq: uint64(i), Job: "0123456789ab", Body: sluice.TaskStep{Host: "h", Attempt: "0123456789ab-0-1", Step: "x"}}
				if last && i == to {
					e.Body = sluice.JobFinished{Outcome: sluice.Succeeded}
				}
				text, err := json.Marshal(e)
				if err != nil {
					t.Error(err)
				}
				fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, text)
			}
			_ = http.NewResponseController(w).Flush()
			if last && !old() {
				fmt.Fprint(w, "event: end\ndata: {}\n\n")
				return
			}
			<-r.Context().Done()
		}
	}
	always := func() bool { return true }
	first, second := hears(t, serve(always, 1, 3, false)), hears(t, serve(func() bool { return !healed.Load() }, 3, 5, true))
	c := of(t, first.URL, second.URL)
	c.look = time.Millisecond
	var seqs []uint64
	last, err := c.Watch(t.Context(), "0123456789ab", WatchOptions{Observe: func(e sluice.Event) {
		seqs = append(seqs, e.Seq)
		healed.Store(true)
	}, Lost: func(err error) { t.Errorf("lost: %v", err) }})
	if err != nil || last.Seq != 5 || !slices.Equal(seqs, []uint64{1, 2, 3, 4, 5}) || c.At() != second.URL {
		t.Errorf("events %v, the last %+v, error %v, at %s", seqs, last, err, c.At())
	}
}

// TestWatchComesAgainToAServerThatHeals: it ends what it began without a majority, and that is no loss.
func TestWatchComesAgainToAServerThatHeals(t *testing.T) {
	var asked atomic.Int32
	h := hears(t, func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		if n == 1 {
			w.Header().Set(api.StaleHeader, "2026-01-02T03:04:05Z")
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if n > 1 {
			text, err := json.Marshal(sluice.Event{Seq: 1, Job: "0123456789ab", Body: sluice.JobFinished{Outcome: sluice.Succeeded}})
			fmt.Fprintf(w, "data: %s\n\nevent: end\ndata: {}\n\n", text)
			if err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := of(t, h.URL).Watch(t.Context(), "0123456789ab", WatchOptions{Observe: func(sluice.Event) {}, Lost: func(err error) { t.Errorf("lost: %v", err) }}); err != nil || asked.Load() != 2 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}
