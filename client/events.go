package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// silence is how long nothing may come on a stream: the server has a pulse of a third of it.
const silence = 45 * time.Second

// maxEvent is more than any event of the log takes.
const maxEvent = 64 << 20

// Events returns the events of a job with a greater number than after.
func (c *Client) Events(ctx context.Context, id string, after uint64) (out []sluice.Event, err error) {
	err = c.again(ctx, func() error {
		out = nil
		resp, err := c.do(ctx, request{method: http.MethodGet, path: []string{"jobs", id, "events"}, accept: "application/x-ndjson",
			query: url.Values{"after": {strconv.FormatUint(after, 10)}}})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		dec := json.NewDecoder(resp.Body)
		for {
			var e sluice.Event
			switch err := dec.Decode(&e); {
			case err == io.EOF:
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				return c.noContact(err)
			}
			out = append(out, e)
		}
	})
	return out, err
}

// Follow hands on the events of a job with a greater number than after, in order and each once, past and to come, until
// the job is finished or halted; it returns that event. A lost connection is made again for as long as ctx lasts; lost is
// told about each, and may be nil.
func (c *Client) Follow(ctx context.Context, id string, after uint64, observe func(sluice.Event), lost func(error)) (sluice.Event, error) {
	var last sluice.Event
	wait := c.retry
	for {
		before := after
		ended, err := c.stream(ctx, id, after, func(e sluice.Event) {
			if e.Seq <= after {
				return // the server sent it again
			}
			after, last = e.Seq, e
			observe(e)
		})
		switch {
		case ctx.Err() != nil:
			return sluice.Event{}, ctx.Err()
		case err != nil && sluice.CodeOf(err) != sluice.Contact:
			return sluice.Event{}, err
		case ended && last.Body != nil:
			return last, nil
		case ended: // all of it had been seen before
			return c.lastOf(ctx, id)
		}
		if lost != nil {
			lost(err)
		}
		if after > before {
			wait = c.retry
		}
		if err := pause(ctx, wait); err != nil {
			return sluice.Event{}, err
		}
		wait = min(2*wait, maxRetry)
	}
}

func (c *Client) lastOf(ctx context.Context, id string) (sluice.Event, error) {
	events, err := c.Events(ctx, id, 0)
	if err != nil || len(events) == 0 {
		return sluice.Event{}, err
	}
	for i := len(events) - 1; ; i-- {
		switch events[i].Body.(type) {
		case sluice.JobFinished, sluice.JobHalted:
			return events[i], nil
		}
		if i == 0 {
			return events[len(events)-1], nil
		}
	}
}

// stream reads one connection to its end. ended says that the server has said so; without that it was lost.
func (c *Client) stream(ctx context.Context, id string, after uint64, observe func(sluice.Event)) (ended bool, err error) {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	defer func() {
		if err != nil && whole.Err() == nil && ctx.Err() != nil {
			err = c.noContact(fmt.Errorf("nothing came for %v", silence))
		}
	}()
	resp, err := c.do(ctx, request{method: http.MethodGet, path: []string{"jobs", id, "events"}, accept: "text/event-stream",
		header: http.Header{"Last-Event-Id": {strconv.FormatUint(after, 10)}}})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 16<<10), maxEvent)
	for lines.Scan() {
		alive.Reset(silence)
		line := lines.Text()
		if line == "event: end" {
			return true, nil
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e sluice.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return false, sluice.Errorf(sluice.Contact, "%s sent an event that cannot be read: %v", c.base.Host, err)
		}
		observe(e)
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return false, c.noContact(fmt.Errorf("the stream of events broke off: %w", err))
}
