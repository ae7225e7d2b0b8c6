package httpapi

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/internal/core/view"
	"sluice/internal/run/control"
)

type outputQuery struct {
	ByID
	Host   string `path:"host" maxLength:"255"`
	Stream string `path:"stream" enum:"stdout,stderr"`
	Try    string `query:"attempt" maxLength:"64" doc:"of this attempt instead of the last one"`
	Offset int64  `query:"offset" minimum:"0" doc:"first byte that is wanted"`
	Limit  int64  `query:"limit" minimum:"0" doc:"at most so many bytes; 0: all"`
}

func (a *API) addOutput() {
	content := map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	route(a, sluice.SeeOutput, huma.Operation{OperationID: "get-output", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/hosts/{host}/{stream}",
		Tags: []string{jobTag}, Summary: "What the last attempt of a job on a host printed", Errors: []int{http.StatusNotFound},
		Responses: map[string]*huma.Response{"200": {Description: "The bytes, as far as they are kept", Content: content}}}, getOutput)
	content = map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	route(a, sluice.SeeOutput, huma.Operation{OperationID: "get-fetched", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/hosts/{host}/fetched",
		Tags: []string{jobTag}, Summary: "What a job fetched from a host, as a tar stream", Errors: []int{http.StatusNotFound},
		Responses: map[string]*huma.Response{"200": {Description: "The file or the tree", Content: content}}}, getFetched)
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
		err := c.api.cfg.Fetched(w.BodyWriter(), j.Spec, h)
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

// open opens what is asked for: of the last attempt on the host, or of one that is named.
func open(ctx context.Context, desk control.Desk, id sluice.JobID, in *outputQuery) (io.ReadCloser, *view.Task, error) {
	if in.Try == "" {
		return desk.Output(ctx, string(id), sluice.Host(in.Host), in.Stream)
	}
	j, _, err := desk.Info(ctx, string(id)) // not all its events: many may ask for the output of many
	if err != nil {
		return nil, nil, err
	}
	job, index, _, ok := sluice.AttemptID(in.Try).Parse()
	if !ok || job != id || index >= len(j.Spec.Targets) || j.Spec.Targets[index] != sluice.Host(in.Host) {
		return nil, nil, sluice.Errorf(sluice.NotFound, "job %s has no attempt %q on %s", id, in.Try, in.Host)
	}
	r, err := desk.OpenOutput(ctx, id, sluice.AttemptID(in.Try), in.Stream)
	return r, &view.Task{Attempt: sluice.AttemptID(in.Try)}, err
}

// getOutput sends output as it is: whoever shows it must clean it. The read is noted, since output may hold secrets.
func getOutput(ctx context.Context, c caller, in *outputQuery) (*huma.StreamResponse, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	r, t, err := open(ctx, desk, id, in)
	if err != nil {
		return nil, err
	}
	if err := c.api.cfg.Rights.Note(ctx, c.note("")); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if n, err := io.CopyN(io.Discard, r, in.Offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, r.Close())
	} else if n < in.Offset {
		return nil, errors.Join(sluice.Errorf(sluice.Usage, "offset: only %d bytes are kept", n), r.Close())
	}
	return &huma.StreamResponse{Body: func(w huma.Context) {
		defer r.Close()
		w.SetHeader("Content-Type", "text/plain; charset=utf-8")
		w.SetHeader("Content-Disposition", "attachment; filename="+strconv.Quote(in.Host+"."+in.Stream))
		w.SetHeader("Sluice-Attempt", string(t.Attempt))
		if t.Outcome != "" {
			w.SetHeader("Sluice-Outcome", string(t.Outcome))
		}
		var from io.Reader = r
		if in.Limit > 0 {
			from = io.LimitReader(r, in.Limit)
		}
		_, _ = io.Copy(w.BodyWriter(), from)
	}}, nil
}
