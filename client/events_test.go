package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice"
)

// TestReceived: whatever pieces of a stream a server sends again, every byte comes once and in order.
func TestReceived(t *testing.T) {
	const a = sluice.AttemptID("abcdefgh0123-0-1")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zäß\x00-\x02]{0,60}`).Draw(t, "text")
		got, out, sent := received{}, "", 0
		for sent < len(text) {
			from := rapid.IntRange(0, sent).Draw(t, "from") // after a loss from anywhere that was sent
			to := rapid.IntRange(from, len(text)).Draw(t, "to")
			b, fresh := got.cut(sluice.NewTaskOutput("web1", a, "stdout", int64(from), []byte(text[from:to])))
			if fresh {
				if int(b.Offset) != len(out) {
					t.Fatalf("a piece at %d after %d bytes", b.Offset, len(out))
				}
				out += string(b.Content())
			}
			sent = max(sent, to)
		}
		if out != text {
			t.Fatalf("%q became %q", text, out)
		}
	})
}

// part is a body that breaks off after a text.
type part struct {
	io.Reader
	closed *int
}

func (p part) Close() error { *p.closed++; return nil }

// TestOutputGoesOn: a reader goes on where the connection was lost, and does not do so forever.
func TestOutputGoesOn(t *testing.T) {
	const text = "what a host printed"
	lost := errors.New("lost")
	opened, closed := 1, 0
	open := func(at int64) (io.ReadCloser, error) {
		opened++
		end := min(at+4, int64(len(text)))
		if end == int64(len(text)) {
			return part{strings.NewReader(text[at:]), &closed}, nil
		}
		return part{io.MultiReader(strings.NewReader(text[at:end]), failing{lost}), &closed}, nil
	}
	body, _ := open(0)
	o := &output{body: body, left: tries, again: open}
	if b, err := io.ReadAll(o); err != nil || string(b) != text || o.Close() != nil || closed != opened-1 {
		t.Errorf("%q, error %v, closed %d of %d", b, err, closed, opened-1)
	}
	o = &output{body: part{failing{lost}, &closed}, left: tries, again: func(int64) (io.ReadCloser, error) { return part{failing{lost}, &closed}, nil }}
	if _, err := io.ReadAll(o); !errors.Is(err, lost) {
		t.Errorf("what is always lost: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestFollowReturnsTheEnd: what comes behind the end of a job is handed on, and is not the end.
func TestFollowReturnsTheEnd(t *testing.T) {
	bodies := []sluice.Body{sluice.JobHalting{Reason: "stop"}, sluice.JobHalted{Reason: "stop"}, sluice.HostReleased{Host: "h"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i, b := range bodies {
			text, err := json.Marshal(sluice.Event{Seq: uint64(i + 1), Job: "j", Body: b})
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "data: %s\n\n", text)
		}
		fmt.Fprint(w, "event: end\ndata: {}\n\n")
	}))
	defer server.Close()
	c, err := New(server.URL, "token", server.Client())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	last, err := c.Follow(t.Context(), "j", 0, func(sluice.Event) { seen++ }, nil)
	if _, is := last.Body.(sluice.JobHalted); err != nil || !is || seen != len(bodies) {
		t.Errorf("the end is %+v, error %v; %d were seen", last, err, seen)
	}
}
