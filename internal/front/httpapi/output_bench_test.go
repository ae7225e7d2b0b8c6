package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"sluice"
	"sluice/internal/adapter/diroutputs"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/front/httpapi"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/internal/run/recent"
	"sluice/internal/run/rights"
)

// BenchmarkOutput asks for what one host printed of a job on some hosts: what it costs must not grow with the job.
func BenchmarkOutput(b *testing.B) {
	for _, hosts := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			ask := longJobServer(b, hosts)
			ask("hosts/h00003/stdout")
			b.ReportAllocs()
			for b.Loop() {
				if text := ask("hosts/h00003/stdout"); text != "it works\n" {
					b.Fatal(text)
				}
			}
		})
	}
}

// longJobServer is the API on a real log with one long job, and how to ask for something of it.
func longJobServer(b *testing.B, hosts int) (ask func(string) string) {
	b.Helper()
	file, err := sqlitelog.Open(b.Context(), sqlitelog.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	outputs, err := diroutputs.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	log := recent.Log(file)
	service := &control.Service{Log: log, Drivers: fake.NewDrivers(), Outputs: outputs, Blobs: fake.NewBlobs(), Clock: clock, By: "ann"}
	keeper, err := rights.New(b.Context(), log, clock)
	if err != nil {
		b.Fatal(err)
	}
	secret, err := keeper.First(b.Context(), "root", "")
	if err != nil {
		b.Fatal(err)
	}
	api := httpapi.New(httpapi.Config{Desk: func(p sluice.Principal) *control.Service { return service.As(string(p)) }, Lists: service, Rights: keeper, Keeping: keeper, Clock: hours(),
		Trouble: func(text string) { b.Error(text) }, NamespaceRate: 1e9, Version: "test", Webhooks: nil,
		Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
			return func(sluice.Tag) []sluice.Host { return nil }, nil
		}})
	const job = "0123456789ab"
	longJob(b, log, outputs, job, hosts)
	return func(what string) string {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/jobs/"+job+"/"+what, nil)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+secret)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		text, _ := io.ReadAll(w.Body)
		if w.Code != 200 {
			b.Fatalf("status %d: %s", w.Code, text)
		}
		return string(text)
	}
}

// BenchmarkGroups asks for the groups and the failures of a job on ten thousand hosts, as a page does whenever something ends.
func BenchmarkGroups(b *testing.B) {
	ask := longJobServer(b, 10_000)
	for _, what := range []string{"groups", "failures"} {
		b.Run(what, func(b *testing.B) {
			ask(what)
			for b.Loop() {
				ask(what)
			}
		})
	}
}

// longJob is one that ran on many hosts.
func longJob(b *testing.B, log sluice.Log, outputs sluice.Outputs, id sluice.JobID, hosts int) {
	b.Helper()
	j := sluice.Job{ID: id, Namespace: "prod", Command: "true", By: "root"}
	for i := range hosts {
		j.Targets = append(j.Targets, sluice.Host(fmt.Sprintf("h%05d", i)))
	}
	j.Tracks = []sluice.Track{{Name: "all", Stages: []sluice.Stage{{Name: "all", Hosts: j.Targets}}}}
	events := []sluice.Event{{Body: sluice.JobSubmitted{Submitted: j}}, {Body: sluice.StageOpened{Track: "all", Stage: "all"}}}
	for i, h := range j.Targets {
		a, code := sluice.NewAttemptID(id, i, 1), 0
		events = append(events, sluice.Event{Body: sluice.TaskStarted{Host: h, Attempt: a}}, sluice.Event{Body: sluice.TaskStep{Host: h, Attempt: a, Step: "command"}},
			sluice.Event{Body: sluice.TaskFinished{Host: h, Attempt: a, Outcome: sluice.Succeeded, ExitCode: &code}})
		if err := outputs.Write(id, a, "stdout", 0, []byte("it works\n")); err != nil {
			b.Fatal(err)
		}
	}
	head := uint64(0)
	for from := 0; from < len(events); from += 100 {
		var err error
		head, err = log.Update(b.Context(), "prod", head, func([]sluice.Event) ([]sluice.Event, error) {
			part := events[from:min(from+100, len(events))]
			for i := range part {
				part[i].Time, part[i].Job = clock(), id
			}
			return part, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
