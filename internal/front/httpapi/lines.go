package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sluice"
	"sluice/api"
	"sluice/internal/core/printed"
	"sluice/internal/front/clean"
)

const (
	// mostSearched is how many bytes one search reads; it says where to go on.
	mostSearched = 128 << 20
	searchPiece  = 256 << 10
)

type findQuery struct {
	OneOutput
	Text   string `query:"text" maxLength:"200" doc:"what is looked for; nothing is found without it"`
	Fold   bool   `query:"fold" doc:"take capital and small letters of ASCII for the same"`
	Offset int64  `query:"offset" minimum:"0" doc:"begin here"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"at most so many places"`
}

// unpacked says that an answer is not compressed: it has what hosts printed in it, and the length of compressed text tells
// something about a secret beside text of an attacker's choice.
const unpacked = "identity"

type (
	allLines struct {
		Body api.Lines
	}
	whatWasFound struct {
		Encoding string `header:"Content-Encoding"`
		Body     api.FoundText
	}
)

func (a *API) addLines() {
	op := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/api/v1/jobs/{id}/hosts/{host}/{stream}/" + path, Tags: []string{jobTag},
			Summary: summary, Errors: []int{http.StatusNotFound}}
	}
	route(a, sluice.SeeOutput, op("get-output-lines", "lines", "Where the lines of an output are"), getLines)
	route(a, sluice.SeeOutput, op("find-in-output", "find", "Where something stands in an output"), findInOutput)
}

func getLines(ctx context.Context, c caller, in *struct{ OneOutput }) (*allLines, error) {
	x, _, _, err := c.lines(ctx, &in.OneOutput)
	if err != nil {
		return nil, err
	}
	return &allLines{api.Lines{Size: x.Size, Lines: x.Lines, Every: x.Every, Before: append([]int64{}, x.Before...)}}, nil
}

func (c caller) lines(ctx context.Context, in *OneOutput) (*printed.Index, sluice.JobID, sluice.AttemptID, error) {
	_, id, err := c.job(ctx, in.ID)
	if err != nil {
		return nil, "", "", err
	}
	a, now, err := c.attempt(ctx, id, in)
	if err != nil {
		return nil, "", "", err
	}
	if err := c.reads(ctx, ""); err != nil {
		return nil, "", "", err
	}
	over := a != now.ID || now.Outcome != "" && now.Outcome != sluice.Unknown
	x, err := c.api.cfg.Lists.Lines(ctx, id, a, in.Stream, over)
	return x, id, a, err
}

func findInOutput(ctx context.Context, c caller, in *findQuery) (*whatWasFound, error) {
	x, id, a, err := c.lines(ctx, &in.OneOutput)
	if err != nil {
		return nil, err
	}
	place, before := x.Near(min(in.Offset, x.Size))
	r, size, err := c.api.cfg.Lists.Read(ctx, id, a, in.Stream)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := r.Seek(place, io.SeekStart); err != nil {
		return nil, err
	}
	if in.Text == "" {
		return &whatWasFound{Body: api.FoundText{Places: []api.FoundPlace{}, Size: size}}, nil
	}
	f := printed.NewFinder(in.Text, in.Fold, in.Offset, place, before, in.Limit)
	over, err := readOn(ctx, f, r)
	if err != nil {
		return nil, err
	}
	out := &whatWasFound{Encoding: unpacked, Body: api.FoundText{Places: []api.FoundPlace{}, Size: size}}
	for _, p := range f.Found {
		out.Body.Places = append(out.Body.Places, api.FoundPlace{Offset: p.Offset, Line: p.Line, Before: clean.Colourless(p.Before),
			Text: clean.Colourless(p.Text), After: clean.Colourless(p.After)})
	}
	if !over {
		out.Body.Next = f.Next()
	}
	return out, nil
}

// readOn reads until all is found that is wanted, and reports whether it came to the end.
func readOn(ctx context.Context, f *printed.Finder, r io.Reader) (over bool, err error) {
	piece := make([]byte, searchPiece)
	for read := 0; read < mostSearched && !f.Done(); {
		n, err := io.ReadFull(r, piece)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		f.Add(piece[:n], last)
		if last && !f.Done() {
			return true, nil
		}
		read += n
	}
	return false, nil
}
