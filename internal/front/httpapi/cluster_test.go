package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
)

// cluster is one of two servers; it remembers what it was told.
type cluster struct{ told []string }

func (*cluster) List(context.Context) (api.Cluster, error) {
	behind := uint64(3)
	return api.Cluster{Self: "s1", Owner: "s2", Term: 7, Majority: true, Members: []api.Member{
		{Name: "s1", Address: "s1:7659", Role: api.CopyRole, InEngine: "voter", Behind: &behind}, {Name: "s2", Address: "s2:7659", Role: api.OwnerRole, InEngine: "voter"}}}, nil
}

func (c *cluster) Invite(_ context.Context, by sluice.Principal, name, replaces sluice.ServerName) (api.ServerInvitation, error) {
	c.told = append(c.told, "invite "+string(name)+" for "+string(replaces)+" by "+string(by))
	return api.ServerInvitation{Server: name, Token: "once", Expires: clock()}, nil
}

func (c *cluster) Remove(_ context.Context, by sluice.Principal, name sluice.ServerName) error {
	if name != "s2" {
		return sluice.Errorf(sluice.NotFound, "there is no server %s in the cluster", name)
	}
	c.told = append(c.told, "remove "+string(name)+" by "+string(by))
	return nil
}

func TestServersOfACluster(t *testing.T) {
	var servers cluster
	w := newWorldWith(t, func(c *httpapi.Config) { c.Servers = &servers })
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	ctx := t.Context()
	list, err := ann.Cluster(ctx)
	if err != nil || list.Self != "s1" || list.Owner != "s2" || list.Term != 7 || len(list.Members) != 2 || *list.Members[0].Behind != 3 || list.Members[1].Behind != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if i, err := ann.InviteServer(ctx, "s3", ""); err != nil || i.Server != "s3" || i.Token != "once" {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := ann.InviteServer(ctx, "s3.example.com", "s1"); err != nil {
		t.Error(err)
	}
	for _, bad := range [][2]sluice.ServerName{{"S3", ""}, {"s_3", ""}, {"s3", "S1"}} {
		if _, err := ann.InviteServer(ctx, bad[0], bad[1]); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := ann.RemoveServer(ctx, "s2"); err != nil {
		t.Error(err)
	}
	if err := ann.RemoveServer(ctx, "s9"); sluice.CodeOf(err) != sluice.NotFound {
		t.Error(err)
	}
	want := []string{"invite s3 for  by ann", "invite s3.example.com for s1 by ann", "remove s2 by ann"}
	if !slices.Equal(servers.told, want) {
		t.Errorf("%q, want %q", servers.told, want)
	}
}

// TestAlone: a server that is in no cluster says so, and what to do about it.
func TestAlone(t *testing.T) {
	w := newWorldWith(t, func(c *httpapi.Config) { c.Servers = nil })
	ann := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	if got := get[api.Server](t, w, w.token("bob", sluice.Grant{Role: access.Viewer}), "/api/v1/server"); got.Cluster {
		t.Errorf("%+v", got)
	}
	_, list := ann.Cluster(t.Context())
	_, invite := ann.InviteServer(t.Context(), "s2", "")
	for _, err := range []error{list, invite, ann.RemoveServer(t.Context(), "s2")} {
		e, ok := err.(*sluice.Error)
		if !ok || e.Code != sluice.Config || !strings.Contains(e.Text, "is alone") || !strings.Contains(e.Hint, "--cluster") {
			t.Errorf("%v", err)
		}
	}
}

// keeps are halts that are kept.
type keeps []sluice.KeptHalt

func (k *keeps) All() []sluice.KeptHalt { return *k }

func (k *keeps) Keep(_ context.Context, h sluice.KeptHalt) (sluice.KeptHalt, error) {
	h.ID, h.Server = "h1", "s1"
	*k = append(*k, h)
	return h, nil
}

// TestStale: without a majority a question is answered with how old the answer is; what would change something is refused before anything
// of it is looked at, but for what is let through.
func TestStale(t *testing.T) {
	var since time.Time
	var keeps keeps
	w := newWorldWith(t, func(c *httpapi.Config) {
		c.Stale = func(context.Context) time.Time { return since }
		c.Halts = &keeps
	})
	token := w.token("ann", sluice.Grant{Role: access.Admin})
	ask := func(method, path, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := w.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	var told []time.Time
	c := w.client(token)
	c.Stale = func(at time.Time) { told = append(told, at) }
	const plan = `{"namespace":"prod","targets":"web1"}`
	if resp := ask(http.MethodGet, "/api/v1/jobs", ""); resp.StatusCode != http.StatusOK || resp.Header.Get(api.StaleHeader) != "" {
		t.Errorf("status %d, %q, with a majority", resp.StatusCode, resp.Header.Get(api.StaleHeader))
	}
	if _, err := c.Cluster(t.Context()); err != nil || len(told) != 0 {
		t.Errorf("%v, told %v", err, told)
	}
	id := w.submit("web1")
	since = time.Date(2026, 1, 2, 4, 4, 5, 700, time.FixedZone("", 3600))
	const at = "2026-01-02T03:04:05Z"
	for _, q := range [][3]string{{http.MethodGet, "/api/v1/jobs", ""}, {http.MethodGet, "/api/v1/servers", ""}, {http.MethodPost, "/api/v1/plan", plan}} {
		if resp := ask(q[0], q[1], q[2]); resp.StatusCode == http.StatusServiceUnavailable || resp.Header.Get(api.StaleHeader) != at {
			t.Errorf("%s %s: status %d, %q", q[0], q[1], resp.StatusCode, resp.Header.Get(api.StaleHeader))
		}
	}
	w.log.Faults.Set("log.update", func(context.Context) error { t.Error("something is appended"); return nil })
	for _, r := range w.api.Routes() {
		if r.Method == http.MethodGet || strings.HasPrefix(r.Path, "/api/v1/plan") || r.Path == "/api/v1/rehearse" || r.Path == "/api/v1/halt" || r.Path == "/api/v1/jobs/{id}/halt" {
			continue
		}
		if resp := ask(r.Method, path(r.Path, "0123456789ab"), bodies[r.Path]); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" ||
			resp.Header.Get(api.StaleHeader) != at || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: status %d, %v", r.Method, r.Path, resp.StatusCode, resp.Header)
		}
	}
	if resp := ask(http.MethodPost, "/api/v1/halt", `{"reason":"enough"}`); resp.StatusCode != http.StatusAccepted {
		t.Errorf("a halt: status %d", resp.StatusCode)
	}
	if len(keeps) != 1 || keeps[0].Principal != "ann" || keeps[0].Reason != "enough" || keeps[0].Token == "" {
		t.Errorf("kept: %+v", keeps)
	}
	var said []api.KeptHalt
	c.HaltKept = func(h api.KeptHalt) { said = append(said, h) }
	if made, err := c.Halt(t.Context(), id, "it smokes"); err != nil || len(made) != 0 {
		t.Errorf("a halt of a job: %v, %v", made, err)
	}
	if len(keeps) != 2 || keeps[1].Job != id || keeps[1].Namespace != "prod" || keeps[1].From == "" || len(said) != 1 || said[0].Job != id || said[0].By != "ann" || said[0].Server != "s1" {
		t.Errorf("kept: %+v, said %+v", keeps, said)
	}
	if j, err := c.Job(t.Context(), string(id)); err != nil || len(j.Kept) != 2 || len(said) != 3 {
		t.Errorf("the job has %+v, error %v, said %+v", j.Kept, err, said)
	}
	if _, err := c.Halt(t.Context(), "0123456789ab", ""); sluice.CodeOf(err) != sluice.NotFound || len(keeps) != 2 {
		t.Errorf("a job that is not there: %v", err)
	}
	if list, err := c.Cluster(t.Context()); err != nil || len(list.Kept) != 2 {
		t.Errorf("the servers' list has %+v, error %v", list.Kept, err)
	}
	told = nil
	w.log.Faults.Set("log.update", nil)
	if _, err := w.client(w.token("bob")).HaltAll(t.Context(), "", ""); sluice.CodeOf(err) != sluice.Denied || len(keeps) != 2 {
		t.Errorf("who may not halt: %v", err)
	}
	if _, err := c.Cluster(t.Context()); err != nil || len(told) != 1 || !told[0].Equal(since.Truncate(time.Second)) {
		t.Errorf("%v, told %v", err, told)
	}
	_, err := c.InviteServer(t.Context(), "s3", "")
	e, ok := err.(*sluice.Error)
	if !ok || e.Code != sluice.Contact || !strings.Contains(e.Text, "since "+at) || !strings.Contains(e.Hint, "again in 5 s") || len(told) != 1 {
		t.Errorf("%v, told %v", err, told)
	}
}

// TestStreamsEndWhenTheyNeedNotBeOld: what began without a majority ends when there is one, and nothing else does.
func TestStreamsEndWhenTheyNeedNotBeOld(t *testing.T) {
	var mu sync.Mutex
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	turns := make(chan struct{})
	turn := func(at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		since = at
		close(turns)
		turns = make(chan struct{})
	}
	w := newWorldWith(t, func(c *httpapi.Config) {
		c.Stale = func(context.Context) time.Time { mu.Lock(); defer mu.Unlock(); return since }
		c.Turns = func() <-chan struct{} { mu.Lock(); defer mu.Unlock(); return turns }
	})
	token, job := w.token("ann", sluice.Grant{Role: access.Admin}), string(w.submit("web1"))
	begin := func(path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Accept", "text/event-stream")
		resp, err := w.server.Client().Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for _, path := range []string{"/api/v1/jobs/" + job + "/events", "/api/v1/jobs/" + job + "/events?output=true", "/api/v1/feed"} {
		turn(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		old := begin(path)
		turn(time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)) // it is cut off as before
		turn(time.Time{})
		text, err := io.ReadAll(old.Body)
		if err != nil || strings.Contains(string(text), "event: end\ndata") || old.Header.Get(api.StaleHeader) == "" {
			t.Errorf("%s: %v, %q", path, err, text)
		}
		fresh := begin(path)
		turn(time.Time{})
		if n, err := io.ReadFull(fresh.Body, make([]byte, 20)); err != nil || fresh.Header.Get(api.StaleHeader) != "" {
			t.Errorf("%s: %d bytes, %v", path, n, err)
		}
	}
}
