package webui_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/lab/browser"
)

// inCluster stands before a door, and answers as the server would if it were in a cluster: what is about its servers, and how old answers
// are.
type inCluster struct {
	mu    sync.Mutex
	of    api.Cluster
	stale string
	asked []string
}

func (c *inCluster) serve(t *testing.T, d *door) (address string) {
	t.Helper()
	to, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: to.Scheme, Host: to.Host})
		r.Out.Host = r.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		stale := c.stale
		c.mu.Unlock()
		if stale != "" && r.Method == http.MethodGet {
			w.Header().Set(api.StaleHeader, stale)
		}
		if path, ours := strings.CutPrefix(r.URL.Path, "/api/v1/server"); ours {
			c.answer(w, r, strings.TrimPrefix(path, "s"))
			return
		}
		if job, halts := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/jobs/"), "/halt"); halts && stale != "" {
			c.keep(w, sluice.JobID(job))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func (c *inCluster) keep(w http.ResponseWriter, job sluice.JobID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := api.KeptHalt{ID: "h1", Server: "s1", At: time.Now(), By: "ann", Namespace: "default", Job: job}
	c.of.Kept = append(c.of.Kept, h)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]any{"events": []sluice.Event{}, "kept": h})
}

func (c *inCluster) answer(w http.ResponseWriter, r *http.Request, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var answer any = c.of
	switch {
	case r.URL.Path == "/api/v1/server":
		answer = api.Server{Version: "1.2", Since: time.Now().Add(-time.Hour), Ready: true, Cluster: true}
	case r.Method == http.MethodPost:
		var body struct{ Replaces sluice.ServerName }
		_ = json.NewDecoder(r.Body).Decode(&body)
		c.asked = append(c.asked, "invite "+path+" for "+string(body.Replaces))
		c.of.Members = append(c.of.Members, api.Member{Name: "s4", Role: api.InvitedRole, Replaces: body.Replaces})
		answer = api.ServerInvitation{Server: "s4", Token: "sluices.s4.once", Expires: time.Now().Add(time.Minute)}
	case r.Method == http.MethodDelete:
		c.asked = append(c.asked, "remove "+path)
		c.of.Members = c.of.Members[:2]
		answer = struct{}{}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// TestServersPage: who owns the log is to be seen, servers are invited and removed with the effect said before; and where the server has
// no contact with the others, every page says from when it is.
func TestServersPage(t *testing.T) {
	s := newStage(t, "tag: {web: [web1]}\n")
	id := s.run("web1", "sim 1ms 0")
	goes := s.long("web1")
	began, behind, none := time.Now().Add(-3*time.Minute).UTC(), uint64(12), uint64(0)
	c := &inCluster{of: api.Cluster{Self: "s1", Owner: "s2", Term: 7, Majority: true, Since: &began, Members: []api.Member{
		{Name: "s1", Address: "s1.example.com:7659", Role: api.CopyRole, InEngine: "voter", Leads: true, Behind: &behind, Version: "1.2", Seen: &began},
		{Name: "s2", Address: "s2.example.com:7659", Role: api.OwnerRole, InEngine: "voter", Behind: &none, Version: "1.2"},
		{Name: "s3", Address: "s3.example.com:7659", Role: api.LostRole, InEngine: "learner"}}}}
	at := c.serve(t, s.door("", s.token))
	b := browser.New(t)
	b.Open(at + "/ui/")
	b.Sees("s2 owns the log, for 3m")
	b.Sees("lacks 12 records")
	b.Open(at + "/ui/servers")
	b.Sees("(term 7).")
	b.Sees("does not count for the majority yet")
	b.Sees("counts for the majority, leads etcd, lacks 12 records")
	b.SeesNot("no contact")
	everywhere(b, "servers")

	b.Click("button", "Invite a server")
	b.Type("textbox", "Name", "s4")
	b.Keys("Tab", "s3")
	b.Accessible()
	b.Click("button", "Invite")
	b.Sees("sluices.s4.once")
	b.Sees("When it comes, s3 is removed.")
	b.Accessible()
	b.Keep("servers-invited")
	b.Click("button", "Done")
	b.Sees("in place of s3")
	b.Click("button", "Remove s3")
	b.Sees("Two servers are left, and both must run")
	b.Type("textbox", "Type s3 to confirm", "s3")
	b.Keys("Enter")
	b.Until(`!document.querySelector("section[aria-label=Servers]").innerText.includes("s3")`)
	c.mu.Lock()
	if got := strings.Join(c.asked, "; "); got != "invite /s4/invite for s3; remove /s3" {
		t.Errorf("asked: %s", got)
	}
	c.stale, c.of.Majority, c.of.Owner = began.Format(time.RFC3339), false, ""
	c.mu.Unlock()

	const old = "The server has had no contact with the others for 3m"
	b.Sees(old) // the page looks again by itself
	b.Sees("No contact with a majority for 3m")
	everywhere(b, "stale")
	for _, path := range []string{"", "jobs", "jobs/" + string(id), "fleet/default", "audit", "users"} {
		b.Open(at + "/ui/" + path)
		b.Sees(old)
	}
	b.Open(at + "/ui/workers")
	b.Sees(old)
	b.Open(at + "/ui/jobs/" + string(goes))
	b.Click("button", "Halt")
	b.Sees("The server s1 keeps the halt until it has contact with a majority of the others.")
	b.Accessible()
	b.Open(at + "/ui/servers")
	b.Sees("s1 keeps a halt of the job " + string(goes) + ", for which ann asked")
	everywhere(b, "kept")
	c.mu.Lock()
	c.stale = ""
	c.mu.Unlock()
	b.Until(`!document.querySelector(".stale")`)
}

// TestAloneHasNoServers: a server of its own shows none, and says why where somebody looks for them.
func TestAloneHasNoServers(t *testing.T) {
	s := newStage(t, "tag: {web: [web1]}\n")
	b, d := s.visit("")
	b.Sees("Takes jobs.")
	b.Until(`!document.querySelector("section[aria-label=Servers]")`)
	if n := d.count("GET /api/v1/servers"); n != 0 {
		t.Errorf("asked %d times for servers that are not there", n)
	}
}
