package app

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/adapter/dirfetched"
	"sluice/internal/lab/fake"
	"sluice/internal/run/copies"
)

// TestFetchedElsewhere: what one server fetched is brought by another one to where it would have put it, and is in the archive.
func TestFetchedElsewhere(t *testing.T) {
	const job sluice.JobID = "0123456789ab"
	a := sluice.NewAttemptID(job, 0, 1)
	log, peer := fake.NewLog(), fake.NewPeer("other")
	spec := sluice.Job{ID: job, Namespace: "prod", Action: sluice.Action{Kind: sluice.FetchFrom, Source: "/etc/app/"}}
	if _, err := log.Update(t.Context(), "prod", 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Job: job, Body: sluice.JobSubmitted{Submitted: spec}}, {Job: job, Body: sluice.TaskStarted{Host: "h1", Attempt: a}},
			{Job: job, Body: sluice.TaskFinished{Host: "h1", Attempt: a, Outcome: sluice.Succeeded}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	outputs := func() sluice.Outputs {
		c := copies.New(copies.Config{Members: func() []sluice.Peer { return []sluice.Peer{peer} }, Size: func() int { return 2 },
			Blobs: fake.NewBlobs(), Outputs: fake.NewOutputs(), Log: log})
		t.Cleanup(c.Close)
		return c.Outputs()
	}
	first, second := &Server{Data: t.TempDir()}, &Server{Data: t.TempDir()}
	at := filepath.Join(first.fetchDir(job), "h1", "etc", "app")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "conf"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keepFetched(outputs())(job, a, filepath.Join(first.fetchDir(job), "h1")); err != nil {
		t.Fatal(err)
	}
	o := outputs()
	f := fetchedOf{dirfetched.New(filepath.Join(second.Data, fetchedDir)), func(ctx context.Context, job sluice.JobID) error { return second.bringFetched(ctx, o, job) }}
	n := 0
	for p, err := range f.Parts(t.Context(), job) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p.From)
		if n++; p.Name != "h1/fetched/etc/app/conf" || string(text) != "text" || err != nil {
			t.Errorf("%s: %q, %v", p.Name, text, err)
		}
	}
	if n != 1 {
		t.Errorf("%d files", n)
	}
	if err := second.bringFetched(t.Context(), o, job); err != nil {
		t.Errorf("it is there: %v", err)
	}
	var packed strings.Builder
	if err := second.fetched(t.Context(), o, &packed, &spec, "h1"); err != nil || !strings.Contains(packed.String(), "text") {
		t.Errorf("%v", err)
	}
	if keepFetched(fake.NewOutputs()) != nil || atWork(o) == o {
		t.Error("one server alone does without, several do not")
	}
}
