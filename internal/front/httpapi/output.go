package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
)

type outputQuery struct {
	ByID
	Host   string `path:"host" maxLength:"255"`
	Stream string `path:"stream" enum:"stdout,stderr"`
	Offset int64  `query:"offset" minimum:"0" doc:"first byte that is wanted"`
	Limit  int64  `query:"limit" minimum:"0" doc:"at most so many bytes; 0: all"`
}

func (a *API) addOutput() {
	content := map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	route(a, sluice.SeeOutput, huma.Operation{OperationID: "get-output", Method: http.MethodGet, Path: "/api/v1/jobs/{id}/hosts/{host}/{stream}",
		Tags: []string{jobTag}, Summary: "What the last attempt of a job on a host printed", Errors: []int{http.StatusNotFound},
		Responses: map[string]*huma.Response{"200": {Description: "The bytes, as far as they are kept", Content: content}}}, getOutput)
}

// getOutput sends output as it is: whoever shows it must clean it. The read is noted, since output may hold secrets.
func getOutput(ctx context.Context, c caller, in *outputQuery) (*huma.StreamResponse, error) {
	desk, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	r, t, err := desk.Output(ctx, string(id), sluice.Host(in.Host), in.Stream)
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
		w.SetHeader("Sluice-Outcome", string(t.Outcome))
		var from io.Reader = r
		if in.Limit > 0 {
			from = io.LimitReader(r, in.Limit)
		}
		_, _ = io.Copy(w.BodyWriter(), from)
	}}, nil
}
