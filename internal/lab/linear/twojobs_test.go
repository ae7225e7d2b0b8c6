package linear

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/front/httpapi"
	"sluice/internal/lab/check"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/internal/run/dispatch"
	"sluice/internal/run/recent"
	"sluice/internal/run/rights"
	"sluice/internal/run/steward"
	"sluice/internal/run/work"
)

// crowd is a worker whose hosts take a moment, and that counts how many of them are at work.
type crowd struct {
	mu   sync.Mutex
	at   map[sluice.Namespace]map[sluice.Host]int
	most map[sluice.Namespace]int
	twin int // hosts that two attempts were on at once
}

func (c *crowd) Do(ctx context.Context, a work.Assignment) error {
	c.begin(a.Job.Namespace, a.Host)
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond):
	}
	c.end(a.Job.Namespace, a.Host)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return a.Commit(ctx, sluice.TaskFinished{Host: a.Host, Attempt: a.Attempt, Outcome: sluice.Succeeded})
}

func (c *crowd) begin(ns sluice.Namespace, h sluice.Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[ns] == nil {
		c.at[ns] = map[sluice.Host]int{}
	}
	if c.at[ns][h]++; c.at[ns][h] > 1 {
		c.twin++
	}
	c.most[ns] = max(c.most[ns], len(c.at[ns]))
}

func (c *crowd) end(ns sluice.Namespace, h sluice.Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[ns][h]--; c.at[ns][h] == 0 {
		delete(c.at[ns], h)
	}
}

// serve has a server in this process: the API, the log, and who has jobs driven. Only the hosts are played.
func serve(t *testing.T, worker dispatch.Worker) (one, two *client.Client, _ sluice.Log) {
	db, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	kept := recent.Log(db) // as the server has it; whoever checks reads what is on the disk
	desk := &control.Service{Log: kept, Drivers: fake.NewDrivers(), Outputs: fake.NewOutputs(), Blobs: fake.NewBlobs(), Clock: time.Now, By: "server"}
	desk.Drive = func(ctx context.Context, ns sluice.Namespace, id sluice.JobID, _ control.DriveOptions) (sluice.Event, error) {
		return dispatch.Drive(ctx, dispatch.Config{Log: kept, Namespace: ns, Drivers: desk.Drivers, Outputs: desk.Outputs, Worker: worker,
			Clock: time.Now, Driver: "server"}, id)
	}
	keeper, err := rights.New(t.Context(), kept, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keeper.First(t.Context(), "root", "")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(httpapi.New(httpapi.Config{Desk: func(p sluice.Principal) *control.Service { return desk.As(string(p)) }, Lists: desk, Boards: desk,
		Rights: keeper, Clock: time.Now, Trouble: func(text string) { t.Log(text) }, Hosts: []string{"127.0.0.1"},
		Ready: func(context.Context) error { return nil }, Version: "test",
		Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
			return func(sluice.Tag) []sluice.Host { return nil }, nil
		}}))
	t.Cleanup(server.Close)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	look := make(chan struct{})
	running.Go(func() {
		_ = steward.Run(ctx, steward.Config{Log: kept, Look: look, Retry: 200 * time.Millisecond, Trouble: func(text string) { t.Log(text) },
			Carry: func(ctx context.Context, _ sluice.Namespace, id sluice.JobID) error {
				_, err := desk.Carry(ctx, id, control.DriveOptions{})
				return err
			}})
	})
	t.Cleanup(func() { stop(); running.Wait() })
	for _, c := range []**client.Client{&one, &two} {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		if *c, err = client.New(server.URL, secret, &http.Client{Transport: transport}); err != nil {
			t.Fatal(err)
		}
	}
	return one, two, db
}

// TestTwoJobsInTheSameSecond: two clients submit a job each for the same hosts at the same time, many times over (SLUICE_PAIRS=1000
// for as many). The limit that they share holds in the log and on the hosts, and no host has two attempts at once.
func TestTwoJobsInTheSameSecond(t *testing.T) {
	const hosts, limit = 4, 2
	hall := &crowd{at: map[sluice.Namespace]map[sluice.Host]int{}, most: map[sluice.Namespace]int{}}
	one, two, log := serve(t, hall)
	all, spaces := 100, 5
	if testing.Short() {
		all, spaces = 40, 2
	}
	if n, err := strconv.Atoi(os.Getenv("SLUICE_PAIRS")); err == nil && n > 0 {
		all = n
	}
	begin := time.Now()
	var everybody sync.WaitGroup
	for k := range spaces {
		ns := sluice.Namespace(fmt.Sprintf("n%02d", k))
		fleet(t, log, ns, hosts, limit)
		everybody.Go(func() {
			for range all / spaces {
				both(t, ns, one, two)
			}
		})
	}
	everybody.Wait()
	for ns, n := range hall.most {
		if n > limit {
			t.Errorf("%d hosts of %s were at work at once, of %d that may", n, ns, limit)
		}
	}
	if hall.twin > 0 {
		t.Errorf("%d times two attempts were on one host", hall.twin)
	}
	launches := 0
	for k := range spaces {
		events, err := log.Read(t.Context(), sluice.Namespace(fmt.Sprintf("n%02d", k)), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range check.Log(events) {
			t.Error(v)
		}
		for _, e := range events {
			if e.Body.Type() == "task.started" {
				launches++
			}
		}
	}
	if want := 2 * hosts * (all / spaces) * spaces; launches != want {
		t.Errorf("%d launches, want %d", launches, want)
	}
	t.Logf("%d pairs of jobs in %d namespaces, %d launches in %v: 0 violations", all, spaces, launches, time.Since(begin).Round(time.Second))
}

// fleet puts a limit in force.
func fleet(t *testing.T, log sluice.Log, ns sluice.Namespace, hosts, limit int) {
	var names []sluice.Host
	for i := range hosts {
		names = append(names, sluice.Host(fmt.Sprintf("h%d", i)))
	}
	rules, err := sluice.NewRules(names, []sluice.Constraint{{Name: "$all", Groups: []sluice.Group{{Name: "$all", Limit: sluice.Count(limit), Members: names}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Update(t.Context(), ns, 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: time.Now(), Body: sluice.RulesApplied{Rules: rules}}}, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// both has two clients submit at the same moment, and waits for both jobs.
func both(t *testing.T, ns sluice.Namespace, clients ...*client.Client) {
	start := make(chan struct{})
	var done sync.WaitGroup
	for _, c := range clients {
		done.Go(func() {
			<-start
			j, err := c.Submit(t.Context(), api.Submit{ID: control.NewJobID(), Namespace: ns, Targets: "h[0-3]", Command: "true"})
			if err != nil {
				t.Error(err)
				return
			}
			last, err := c.Follow(t.Context(), string(j.ID), 0, func(sluice.Event) {}, nil)
			if b, ok := last.Body.(sluice.JobFinished); err != nil || !ok || b.Outcome != sluice.Succeeded {
				t.Errorf("job %s ended with %+v, error %v", j.ID, last.Body, err)
			}
		})
	}
	close(start)
	done.Wait()
}
