package httpapi

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/run/control"
)

// OneOutput is the path of what an attempt printed to a stream.
type OneOutput struct {
	ByID
	Host   string `path:"host" maxLength:"255"`
	Stream string `path:"stream" enum:"stdout,stderr"`
	Try    string `query:"attempt" maxLength:"64" doc:"of this attempt instead of the last one: its number, from 1, or its id"`
}

type outputQuery struct {
	OneOutput
	Offset int64 `query:"offset" minimum:"0" doc:"first byte that is wanted"`
	Limit  int64 `query:"limit" minimum:"0" doc:"at most so many bytes; 0: all"`
	Follow bool  `query:"follow" doc:"go on as it is printed, until the attempt ends or some seconds have passed: then come again with the next offset"`
}

func (a *API) addOutput() {
	content := map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	route(a, sluice.SeeOutput, huma.Operation{OperationID: "get-output", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/hosts/{host}/{stream}",
		Tags: []string{jobTag}, Summary: "What an attempt of a job on a host printed", Errors: []int{http.StatusNotFound},
		Description: "The header Sluice-Size says how many bytes are kept, Sluice-Attempt which attempt it is, Sluice-Outcome how it ended. The read is noted in the audit, once in five minutes.",
		Responses:   map[string]*huma.Response{"200": {Description: "The bytes, as far as they are kept", Content: content}}}, getOutput)
	content = map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	route(a, sluice.SeeOutput, huma.Operation{OperationID: "get-fetched", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/hosts/{host}/fetched",
		Tags: []string{jobTag}, Summary: "What a job fetched from a host, as a tar stream", Errors: []int{http.StatusNotFound},
		Responses: map[string]*huma.Response{"200": {Description: "The file or the tree", Content: content}}}, getFetched)
	a.addLines()
}

type fetchedQuery struct {
	ByID
	Host string `path:"host" maxLength:"255"`
}

func getFetched(ctx context.Context, c caller, in *fetchedQuery) (*huma.StreamResponse, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	j, _, err := desk.Job(ctx, string(id))
	if err != nil {
		return nil, err
	}
	h := sluice.Host(in.Host)
	switch t := j.Task(h); {
	case j.Spec.Action.Kind != sluice.FetchFrom:
		return nil, sluice.Errorf(sluice.NotFound, "job %s fetches nothing", id)
	case t == nil:
		return nil, sluice.Errorf(sluice.NotFound, "host %q is no target of job %s", h, id)
	case t.Outcome != sluice.Succeeded:
		return nil, sluice.Errorf(sluice.NotFound, "nothing was fetched from %s", h).WithHint("sluice status %s", id)
	}
	if err := c.api.cfg.Rights.Note(ctx, c.note(j.Spec.Namespace)); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		w.SetHeader("Content-Type", "application/x-tar")
		err := c.api.cfg.Fetched(w.Context(), w.BodyWriter(), j.Spec, h)
		if errors.Is(err, fs.ErrNotExist) && j.Removed != nil { // nothing of it was written
			answer(w, problemOf(control.Removed(id, *j.Removed)))
			return
		}
		if err != nil {
			c.api.cfg.Trouble(c.what + ": " + err.Error())
			panic(http.ErrAbortHandler) // so that nobody takes a part for the whole
		}
	}}, nil
}

// attempt finds what is asked for: the last attempt on the host, or one that is named.
func (c caller) attempt(ctx context.Context, id sluice.JobID, in *OneOutput) (sluice.AttemptID, control.Tried, error) {
	now, err := c.api.cfg.Lists.Tried(ctx, id, sluice.Host(in.Host))
	if err != nil {
		return "", now, err
	}
	if in.Try == "" {
		if now.Try == 0 {
			return "", now, sluice.Errorf(sluice.NotFound, "nothing has run on %s yet", in.Host).WithHint("sluice why %s %s", id, in.Host)
		}
		return sluice.NewAttemptID(id, now.Target, now.Try), now, nil
	}
	n, err := strconv.Atoi(in.Try)
	if err != nil {
		job, index, try, ok := sluice.AttemptID(in.Try).Parse()
		if n = try; !ok || job != id || index != now.Target {
			n = 0
		}
	}
	if n < 1 || n > now.Try {
		return "", now, sluice.Errorf(sluice.NotFound, "job %s has no attempt %.80q on %s", id, in.Try, in.Host)
	}
	return sluice.NewAttemptID(id, now.Target, n), now, nil
}

// getOutput sends output as it is: whoever shows it must clean it. The read is noted, since output may hold secrets.
func getOutput(ctx context.Context, c caller, in *outputQuery) (*huma.StreamResponse, error) {
	_, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	a, now, err := c.attempt(ctx, id, &in.OneOutput)
	if err != nil {
		return nil, err
	}
	r, size, err := c.api.cfg.Lists.Read(ctx, id, a, in.Stream)
	if err != nil {
		return nil, err
	}
	if err := c.reads(ctx, ""); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if in.Offset > size {
		return nil, errors.Join(sluice.Errorf(sluice.Usage, "offset: only %d bytes are kept", size), r.Close())
	}
	if _, err := r.Seek(in.Offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		w.SetHeader("Content-Type", "text/plain; charset=utf-8")
		w.SetHeader("Content-Disposition", "attachment; filename="+strconv.Quote(in.Host+"."+in.Stream))
		w.SetHeader("Sluice-Attempt", string(a))
		w.SetHeader("Sluice-Size", strconv.FormatInt(size, 10))
		if a == now.ID && now.Outcome != "" {
			w.SetHeader("Sluice-Outcome", string(now.Outcome))
		}
		most := in.Limit
		if most == 0 {
			most = math.MaxInt64
		}
		n, err := io.Copy(w.BodyWriter(), io.LimitReader(r, most))
		if errors.Join(err, r.Close()) == nil && in.Follow && n < most {
			c.tail(w, id, a, in, in.Offset+n, most-n)
		}
	}}, nil
}

// tail sends what an attempt prints from an offset on, until it ends. Whoever may not look any more is not sent more for
// long: it ends by itself, and to come again takes the right again.
func (c caller) tail(w huma.Context, id sluice.JobID, a sluice.AttemptID, in *outputQuery, at, most int64) {
	ctx, stop := context.WithTimeout(w.Context(), c.api.cfg.LookAgain)
	defer stop()
	printed := c.api.cfg.Printed(id)
	defer printed.Close()
	look := time.NewTicker(time.Second) // the end of an attempt is told by nobody
	defer look.Stop()
	flush := func() error { return nil }
	if rw, ok := w.BodyWriter().(http.ResponseWriter); ok {
		flush = http.NewResponseController(rw).Flush
	}
	for most > 0 {
		now, err := c.api.cfg.Lists.Tried(ctx, id, sluice.Host(in.Host)) // first, so that nothing comes after the last look
		if err != nil {
			return
		}
		r, _, err := c.api.cfg.Lists.Read(ctx, id, a, in.Stream)
		if err != nil {
			return
		}
		_, err = r.Seek(at, io.SeekStart)
		var n int64
		if err == nil {
			n, err = io.Copy(w.BodyWriter(), io.LimitReader(r, most))
		}
		at, most = at+n, most-n
		if errors.Join(err, r.Close(), flush()) != nil || a != now.ID || !now.Running {
			return
		}
		select {
		case <-printed.More():
			printed.Take()
		case <-look.C:
		case <-ctx.Done():
			return
		case <-c.api.cfg.Stopping:
			return
		}
	}
}
