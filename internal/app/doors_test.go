package app_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"sluice/api"
)

// TestDoorsAreOpenBeforeTheOthersCome: a server that starts where no majority runs is well, says what it waits for, and answers questions with
// what it has, and how old that is, before anybody would think that it hangs. When the others start, all at once, the cluster goes on.
func TestDoorsAreOpenBeforeTheOthersCome(t *testing.T) {
	c := newCrowd(t, "a", "b", "c")
	a := c.servers["a"]
	a.apply(localFleet)
	a.runs("true")
	for _, name := range c.names {
		if err := c.servers[name].stop(); err != nil {
			t.Fatal(err)
		}
	}
	stopped := time.Now()
	a.start()
	if resp, err := http.Get("http://" + a.address + "/healthz"); err != nil || resp.StatusCode != http.StatusOK || resp.Body.Close() != nil {
		t.Errorf("its health: %v, %v", resp, err)
	}
	var since time.Time
	a.client.Stale = func(at time.Time) { since = at }
	got, err := a.client.Cluster(t.Context())
	if took := time.Since(stopped); err != nil || got.Majority || got.Waits != "a majority of the servers" || took > 5*time.Second {
		t.Errorf("%+v, %v, after %v", got, err, took)
	}
	if since.IsZero() || since.After(stopped) {
		t.Errorf("what it has is said to be of %v; the servers ended by %v", since, stopped)
	}
	a.client.Stale = nil
	began := time.Now()
	var all sync.WaitGroup
	for _, name := range c.names[1:] {
		all.Go(c.servers[name].start)
	}
	all.Wait()
	for t.Context().Err() == nil {
		got, err := a.client.Cluster(t.Context())
		if err == nil && got.Owner != "" {
			break
		}
	}
	t.Logf("somebody owns the log after %v", time.Since(began))
	if _, err := a.client.Submit(t.Context(), api.Submit{Targets: "$web", Command: "true"}); err != nil {
		t.Error(err)
	}
	c.servers["b"].runs("true")
}
