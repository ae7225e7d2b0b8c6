package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
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

// WatchOptions say what is wanted of the events of a job.
type WatchOptions struct {
	// After is the number of the last event that was seen.
	After uint64
	// Output asks for what the hosts print, too, as bodies of the type [sluice.TaskOutput]; it takes the right job.output.
	Output bool
	// Observe gets the events, never two at once.
	Observe func(sluice.Event)
	// Lacks is told, before the end of an attempt, which of its streams did not come to its end. It may be nil.
	Lacks func(a sluice.AttemptID, stream string)
	// Lost is told about each lost connection, Found that there is one again. They may be nil.
	Lost  func(error)
	Found func()
}

// Follow hands on the events of a job with a greater number than after, in order and each once, past and to come, until
// the job is finished or halted; it returns that event. A lost connection is made again for as long as ctx lasts; lost is
// told about each, and may be nil.
func (c *Client) Follow(ctx context.Context, id string, after uint64, observe func(sluice.Event), lost func(error)) (sluice.Event, error) {
	return c.Watch(ctx, id, WatchOptions{After: after, Observe: observe, Lost: lost})
}

// Watch is [Client.Follow], with output where that is wanted. Of a stream of an attempt, too, every byte comes once and in
// order, however often the connection is lost.
func (c *Client) Watch(ctx context.Context, id string, o WatchOptions) (sluice.Event, error) {
	var last sluice.Event
	var away bool
	got := received{}
	wait := c.retry
	for {
		before := o.After
		ended, old, err := c.stream(ctx, id, o, func(e sluice.Event) {
			if away && o.Found != nil {
				o.Found()
			}
			away = false
			if b, ok := e.Body.(sluice.TaskOutput); ok {
				if b, fresh := got.cut(b); fresh {
					e.Body = b
					o.Observe(e)
				}
				return
			}
			if e.Seq <= o.After {
				return // the server sent it again
			}
			o.After = e.Seq
			switch e.Body.(type) {
			case sluice.JobFinished, sluice.JobHalted:
				last = e // what comes behind, as a line that is lost, is of those who carried it out
			case sluice.JobResumed, sluice.JobCancelling: // it goes on, if only to its end
				last = sluice.Event{}
			}
			got.end(e)
			o.Observe(e)
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
		if o.After > before || errors.Is(err, errMoves) {
			wait = c.retry
		}
		switch {
		case errors.Is(err, errMoves):
		case old: // whoever has contact with a majority again ends what it began without
		default:
			if o.Lost != nil {
				o.Lost(err)
			}
			away = true
			c.moveOn()
		}
		if err := pause(ctx, wait); err != nil {
			return sluice.Event{}, err
		}
		wait = min(2*wait, maxRetry)
	}
}

// received is how much came of each stream of the attempts that run.
type received map[sluice.TaskOutput]int64

func stream(a sluice.AttemptID, name string) sluice.TaskOutput {
	return sluice.TaskOutput{Attempt: a, Stream: name}
}

// cut leaves out what came before.
func (r received) cut(b sluice.TaskOutput) (sluice.TaskOutput, bool) {
	key := stream(b.Attempt, b.Stream)
	data := b.Content()
	if had := r[key] - b.Offset; had > 0 {
		if had >= int64(len(data)) {
			return b, false
		}
		data = data[had:]
		b = sluice.NewTaskOutput(b.Host, b.Attempt, b.Stream, r[key], data)
	}
	r[key] = b.Offset + int64(len(data))
	return b, true
}

func (r received) end(e sluice.Event) {
	if b, ok := e.Body.(sluice.TaskFinished); ok && b.Outcome != sluice.Unknown {
		delete(r, stream(b.Attempt, "stdout"))
		delete(r, stream(b.Attempt, "stderr"))
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

// errMoves says that another server has contact with a majority, and this one has none: the stream goes on there.
var errMoves error = sluice.Errorf(sluice.Contact, "another server knows what is newer")

// stream reads one connection to its end. ended says that the server has said so; without that it was lost. old says that the server had no
// contact with a majority.
func (c *Client) stream(ctx context.Context, id string, o WatchOptions, observe func(sluice.Event)) (ended, old bool, err error) {
	whole := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	var seeks sync.WaitGroup
	defer seeks.Wait()
	defer cancel(nil)
	alive := time.AfterFunc(silence, func() { cancel(nil) })
	defer alive.Stop()
	defer func() {
		switch {
		case err == nil || whole.Err() != nil || ctx.Err() == nil:
		case errors.Is(context.Cause(ctx), errMoves):
			err = errMoves
		default:
			err = c.noContact(fmt.Errorf("nothing came for %v", silence))
		}
	}()
	query := url.Values{}
	if o.Output {
		query.Set("output", "true")
	}
	resp, err := c.do(ctx, request{method: http.MethodGet, path: []string{"jobs", id, "events"}, accept: "text/event-stream", query: query,
		header: http.Header{"Last-Event-Id": {strconv.FormatUint(o.After, 10)}}})
	if err != nil {
		return false, false, err
	}
	if _, old = staleSince(resp); old && len(c.places) > 1 {
		seeks.Go(func() {
			if c.seek(ctx) {
				cancel(errMoves)
			}
		})
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 16<<10), maxEvent)
	for lines.Scan() {
		alive.Reset(silence)
		line := lines.Text()
		if line == "event: end" {
			return true, old, nil
		}
		if what, ok := strings.CutPrefix(line, ": lacks "); ok && o.Lacks != nil {
			a, stream, _ := strings.Cut(what, " ")
			o.Lacks(sluice.AttemptID(a), stream)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e sluice.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return false, old, sluice.Errorf(sluice.Contact, "%s sent an event that cannot be read: %v", c.name(), err)
		}
		observe(e)
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return false, old, c.noContact(fmt.Errorf("the stream of events broke off: %w", err))
}
