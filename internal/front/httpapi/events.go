package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
)

const (
	plainLines  = "application/x-ndjson"
	eventStream = "text/event-stream"
)

type eventsQuery struct {
	ByID
	After  uint64 `query:"after" doc:"only events with a greater number"`
	Last   string `header:"Last-Event-ID" doc:"the same, as browsers send it when they connect again"`
	Output bool   `query:"output" doc:"with what the hosts print, as events of the type task.output. Needs the right job.output, too; goes with text/event-stream"`
	Short  bool   `query:"short" doc:"what most events say, in an array: [\"task.started\",HOST,TRY,AT], [\"task.step\",HOST,TRY,AT,STEP,EXIT] and, of a success, [\"task.finished\",HOST,TRY,AT,MILLISECONDS]. HOST is the number of the target, AT a time in milliseconds. All others come whole. Goes with text/event-stream"`
	Accept string `header:"Accept" doc:"text/event-stream goes on until the job is finished or halted; anything else gets what there is, one object a line"`
}

func (a *API) addEvents() {
	content := map[string]*huma.MediaType{
		plainLines:  {Schema: &huma.Schema{Type: huma.TypeString, Description: "one event a line"}},
		eventStream: {Schema: &huma.Schema{Type: huma.TypeString, Description: "server-sent events: id is the event's number, data the event"}},
	}
	route(a, sluice.SeeJobs, huma.Operation{OperationID: "get-job-events", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/events", Tags: []string{jobTag},
		Summary: "The events of a job, past and to come", Errors: []int{http.StatusNotFound},
		Responses: map[string]*huma.Response{"200": {Description: "The events", Content: content}}}, getEvents)
}

func getEvents(ctx context.Context, c caller, in *eventsQuery) (*huma.StreamResponse, error) {
	after := in.After
	if in.Last != "" {
		n, err := strconv.ParseUint(in.Last, 10, 64)
		if err != nil {
			return nil, sluice.Errorf(sluice.Usage, "Last-Event-ID: %q is no number of an event", in.Last)
		}
		after = n
	}
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Output {
		if err := c.output(ctx, in); err != nil {
			return nil, err
		}
	}
	if strings.Contains(in.Accept, eventStream) {
		select {
		case <-c.api.cfg.Stopping:
			return nil, sluice.Errorf(sluice.Contact, "the server is stopping").WithHint("come again in a moment")
		default:
		}
		return &huma.StreamResponse{Body: func(w huma.Context) {
			w.SetHeader("Content-Type", eventStream)
			w.SetHeader("X-Accel-Buffering", "no") // a proxy must not wait for more
			noteSeen(ctx, func(s *seen) { s.stream = true })
			c.api.cfg.Watch.Streaming(1)
			defer c.api.cfg.Watch.Streaming(-1)
			during, done := c.api.untilFresh(w.Context())
			defer done()
			out := newStream(during, w.BodyWriter(), &c.api.told, c.api.cfg.Stopping, `the events of a job, then "event: end"`)
			defer out.close()
			send := out.send
			if in.Short {
				send = out.sendShort
			}
			if in.Output {
				printed, err := c.api.print(during, desk, id, after, send, out.lacks)
				if err != nil {
					return
				}
				defer printed.close()
				send = printed.event
			}
			// Without "end" whoever reads knows that there may be more, and comes again.
			if _, err := desk.Follow(out.ctx, string(id), after, send); err == nil {
				out.end()
			}
		}}, nil
	}
	events, err := desk.Events(ctx, id)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		w.SetHeader("Content-Type", plainLines)
		enc := json.NewEncoder(w.BodyWriter())
		for _, e := range events {
			if e.Seq > after && enc.Encode(e) != nil {
				return // who is gone wants no more
			}
		}
	}}, nil
}

// output sees to it that the caller may read what hosts print, and that this is noted.
func (c caller) output(ctx context.Context, in *eventsQuery) error {
	if !strings.Contains(in.Accept, eventStream) {
		return sluice.Errorf(sluice.Usage, "output: it comes with the header Accept: %s alone", eventStream)
	}
	c.right = sluice.SeeOutput
	if _, _, err := c.job(ctx, in.ID); err != nil {
		return err
	}
	return c.api.cfg.Rights.Note(ctx, c.note(""))
}
