package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
)

// TestFetchedIsGone: whoever asks for what a job fetched, and is not kept any more, is told why and where it went.
func TestFetchedIsGone(t *testing.T) {
	gone := false
	w := newWorldWith(t, func(c *httpapi.Config) {
		c.Fetched = func(_ context.Context, to io.Writer, _ *sluice.Job, h sluice.Host) error {
			if gone {
				return fmt.Errorf("pack: %w", fs.ErrNotExist)
			}
			_, err := io.WriteString(to, "content of "+string(h))
			return err
		}
	})
	r := control.Request{Fleet: w.fleet, Targets: []sluice.Host{"web1"}, Command: "fetch", Action: sluice.Action{Kind: sluice.FetchFrom, Source: "/etc/hosts"}}
	d, err := w.service.Prepare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.Submit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	id := d.Job.ID
	a := sluice.NewAttemptID(id, 0, 1)
	w.append(id, sluice.JobStarted{}, sluice.TaskStarted{Host: "web1", Attempt: a}, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Succeeded})
	c := w.client(w.token("ann", sluice.Grant{Role: "operator", Namespace: "prod"}))
	get := func() (string, error) {
		in, err := c.Fetched(t.Context(), string(id), "web1")
		if err != nil {
			return "", err
		}
		defer in.Close()
		b, err := io.ReadAll(in)
		return string(b), err
	}
	if text, err := get(); err != nil || text != "content of web1" {
		t.Errorf("while it is there: %q, %v", text, err)
	}
	w.append(id, sluice.JobFinished{Outcome: sluice.Succeeded}, sluice.OutputRemoved{Bytes: 7, Reason: "older than 720h0m0s", Archive: "00000001-x.tar.gz", By: "server"})
	gone = true
	_, err = get()
	if sluice.CodeOf(err) != sluice.NotFound || !strings.Contains(err.Error(), "older than 720h0m0s") {
		t.Errorf("when it is gone: %v", err)
	}
}
