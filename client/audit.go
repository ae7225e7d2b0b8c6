package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"sluice"
	"sluice/api"
)

// Records hands on the records of the whole log, by namespace, in order. Nothing about them is proved: whoever gets them
// has to. visit's error ends it and is returned.
func (c *Client) Records(ctx context.Context, visit func(sluice.Record) error) error {
	resp, err := c.do(ctx, request{method: http.MethodGet, path: []string{"audit", "records"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var line api.AuditLine
		err := dec.Decode(&line)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return c.noContact(fmt.Errorf("the records end before their end: %w", io.ErrUnexpectedEOF))
		case err != nil:
			return c.noContact(fmt.Errorf("the records end early or are not what they should be: %w", err))
		case line.Record == nil:
			return nil
		}
		if err := visit(*line.Record); err != nil {
			return err
		}
	}
}

// atOnce is how many heads a server takes in one request.
const atOnce = 1000

// HandBack hands heads back that the server has shown, and returns those of now, to be kept.
func (c *Client) HandBack(ctx context.Context, kept []sluice.SeenHead) ([]sluice.SeenHead, error) {
	for {
		part := append([]sluice.SeenHead{}, kept[:min(len(kept), atOnce)]...)
		got, err := once[api.Heads](ctx, c, request{method: http.MethodPost, path: []string{"heads"}, body: api.Heads{Heads: part}})
		if kept = kept[len(part):]; err != nil || len(kept) == 0 {
			return got.Heads, err
		}
	}
}

// Standing says what others remember of the log that it does not have.
func (c *Client) Standing(ctx context.Context) (api.Standing, error) {
	return ask[api.Standing](ctx, c, request{path: []string{"audit", "standing"}})
}

// Repair declares the log the truth, though others have seen more or something else.
func (c *Client) Repair(ctx context.Context, reason string) (sluice.LogRepaired, error) {
	return once[sluice.LogRepaired](ctx, c, request{method: http.MethodPost, path: []string{"audit", "repair"}, body: reasonBody{Reason: reason}})
}

// HaltAll starts nothing more of any job, of a namespace or of all for "", and lets what runs end.
func (c *Client) HaltAll(ctx context.Context, ns sluice.Namespace, reason string) ([]sluice.JobID, error) {
	got, err := once[struct {
		Jobs []sluice.JobID `json:"jobs"`
		Kept *api.KeptHalt  `json:"kept"`
	}](ctx, c, request{method: http.MethodPost, path: []string{"halt"}, body: struct {
		Namespace sluice.Namespace `json:"namespace,omitempty"`
		Reason    string           `json:"reason,omitempty"`
	}{ns, reason}, again: true})
	c.keptIs(got.Kept)
	return got.Jobs, err
}
