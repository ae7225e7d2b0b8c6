package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/internal/run/courier"
	"sluice/internal/run/live"
	"sluice/internal/run/rights"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server whose jobs are driven by nobody.
type world struct {
	t       *testing.T
	log     *fake.Log
	service *control.Service
	keeper  *rights.Keeper
	api     *httpapi.API
	server  *httptest.Server
	admin   access.Bearer
	fleet   *sluice.Fleet
	hub     live.Hub
	stopped atomic.Bool // the clock
	minutes int         // of events that are appended by hand
}

func clock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// hours is a clock on which an hour goes by between any two looks.
func hours() sluice.Clock {
	var n atomic.Int64
	return func() time.Time { return clock().Add(time.Duration(n.Add(1)) * time.Hour) }
}

// still stops the clock of the API.
func (w *world) still() { w.stopped.Store(true) }

func newWorld(t *testing.T) *world {
	return newWorldWith(t, func(*httpapi.Config) {})
}

// newWorldWith is a world whose API is set up otherwise.
func newWorldWith(t *testing.T, set func(*httpapi.Config)) *world {
	log := fake.NewLog()
	w := &world{t: t, log: log, service: &control.Service{Log: log, Drivers: fake.NewDrivers(), Outputs: fake.NewOutputs(),
		Blobs: fake.NewBlobs(), Clock: clock, By: "ann"}}
	w.service.Drive = func(context.Context, sluice.Namespace, sluice.JobID, control.DriveOptions) (sluice.Event, error) {
		return sluice.Event{}, nil
	}
	w.fleet = &sluice.Fleet{Namespace: "prod", Hosts: []sluice.Host{"web1", "web2", "db1"}, Source: "fleet.yaml",
		Tags:        map[sluice.Tag][]sluice.Host{"web": {"web1", "web2"}, "db": {"db1"}},
		Constraints: []sluice.Constraint{{Name: "$web", Groups: []sluice.Group{{Name: "$web", Limit: sluice.Count(1), Members: []sluice.Host{"web1", "web2"}}}}}}
	var err error
	if w.keeper, err = rights.New(t.Context(), log, clock); err != nil {
		t.Fatal(err)
	}
	secret, err := w.keeper.First(t.Context(), "root", "")
	if err != nil {
		t.Fatal(err)
	}
	if w.admin, err = w.keeper.Login(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	running := hours()
	config := httpapi.Config{
		Desk:  func(p sluice.Principal) *control.Service { return w.service.As(string(p)) },
		Lists: w.service, Since: clock(),
		Boards:    w.service,
		Submitted: func() {},
		Printed:   func(job sluice.JobID) httpapi.Printed { return w.hub.Watch(job) },
		Fetched: func(_ context.Context, w io.Writer, job *sluice.Job, h sluice.Host) error {
			_, err := io.WriteString(w, "fetched from "+string(h))
			return err
		},
		Rights: w.keeper, Keeping: w.keeper, Clock: func() time.Time {
			if w.stopped.Load() {
				return clock()
			}
			return running()
		}, Trouble: func(text string) { t.Errorf("trouble: %s", text) }, Hosts: []string{"sluice.example.com"}, Ready: func(context.Context) error { return nil }, Version: "test",
		Chains: noRecords{}, Trail: log, Heads: &headsOf{}, Workers: noWorkers{}, Servers: &cluster{}, HostKeys: &keyring{},
		Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
			return func(tag sluice.Tag) []sluice.Host { return w.fleet.Tags[tag] }, nil
		},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
	}
	config.Webhooks = hooks{courier.New(courier.Config{Log: log, Files: webhookFiles(t), Clock: clock,
		Post: func(context.Context, string, map[string]string, []byte) error { return nil }})}
	set(&config)
	w.api = httpapi.New(config)
	w.server = httptest.NewServer(w.api)
	t.Cleanup(w.server.Close)
	return w
}

// token makes somebody with grants, and a token.
func (w *world) token(p sluice.Principal, grants ...sluice.Grant) string {
	w.t.Helper()
	changes := []sluice.Body{sluice.PrincipalAdded{Principal: p, By: "root"}}
	for _, g := range grants {
		g.Principal = p
		changes = append(changes, sluice.GrantGiven{Grant: g, By: "root"})
	}
	for _, c := range changes {
		if err := w.keeper.Change(w.t.Context(), w.admin, c); err != nil {
			w.t.Fatal(err)
		}
	}
	secret, _, err := w.keeper.MakeToken(w.t.Context(), w.admin, sluice.Token{Principal: p})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

func (w *world) client(token string) *client.Client {
	w.t.Helper()
	c, err := client.New(w.server.URL, token, w.server.Client())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) submit(targets ...sluice.Host) sluice.JobID {
	w.t.Helper()
	d, err := w.service.Prepare(w.t.Context(), control.Request{Fleet: w.fleet, Targets: targets, Command: "true"})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.service.Submit(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	return d.Job.ID
}

// refusals are the refused requests of the audit.
func (w *world) refusals() (out []sluice.AccessNoted) {
	w.t.Helper()
	events, err := w.log.Read(w.t.Context(), sluice.AccessNamespace, 0, 10000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if n, ok := e.Body.(sluice.AccessNoted); ok && n.Refused != "" {
			out = append(out, n)
		}
	}
	return out
}

// path fills a route's path in.
func path(route string, job sluice.JobID) string {
	return strings.NewReplacer("{id}", string(job), "{host}", "web1", "{stream}", "stdout", "{namespace}", "prod", "{act}", "hold", "{webhook}", "chat", "{name}", "w1",
		"{principal}", "nobody", "{role}", "new", "{token}", "none", "{digest}", strings.Repeat("0", 32), "{blob}", "sha256:"+strings.Repeat("0", 64)).Replace(route)
}

// bodies are good requests of the routes that need more than {}.
var bodies = map[string]string{
	"/api/v1/hosts/keys":                         `{"hosts":["web1"]}`,
	"/api/v1/hosts/keys/add":                     `{"keys":[{"host":"web1","type":"ssh-ed25519","key":"AAAA"}]}`,
	"/api/v1/plan":                               `{"namespace":"prod","targets":"web1"}`,
	"/api/v1/plan/files":                         `{"namespace":"prod","targets":"web1"}`,
	"/api/v1/rehearse":                           `{"namespace":"prod","targets":"web1"}`,
	"/api/v1/jobs":                               `{"namespace":"prod","targets":"web1","command":"true"}`,
	"/api/v1/converge":                           `{"namespace":"prod","env":"production"}`,
	"/api/v1/audit/repair":                       `{"reason":"r"}`,
	"/api/v1/heads":                              `{"heads":[]}`,
	"/api/v1/sealing":                            `{"namespace":"prod","targets":"web1","command":"true"}`,
	"/api/v1/namespaces/{namespace}/fleet":       `{"fleet":{}}`,
	"/api/v1/webhooks/{webhook}":                 `{"url":"https://chat.example.com/","events":["job.*"]}`,
	"/api/v1/jobs/{id}/skip":                     `{"hosts":["web1"],"reason":"r"}`,
	"/api/v1/namespaces/{namespace}/hosts/{act}": `{"hosts":["web1"],"reason":"r"}`,
	"/api/v1/access/people":                      `{"principal":"new"}`,
	"/api/v1/access/grants":                      `{"principal":"nobody","role":"none"}`,
	"/api/v1/access/grants/take":                 `{"principal":"nobody","role":"viewer"}`,
	"/api/v1/access/roles/{role}":                `{"may":["access.give"]}`,
}

// queries are what routes cannot do without.
var queries = map[string]string{
	"/api/v1/jobs/{id}/effect":                    "?act=halt",
	"/api/v1/namespaces/{namespace}/hosts/effect": "?act=hold&host=web1",
}

// forServer reports whether a route concerns the server as a whole: only a right that is given everywhere opens it.
func forServer(r httpapi.Route) bool {
	return strings.HasPrefix(r.Path, "/api/v1/audit/") || strings.HasPrefix(r.Path, "/api/v1/access/") || r.Path == "/api/v1/halt" ||
		r.Right == sluice.SeeServer || r.Right == sluice.RunServer
}

// forAnybody reports whether a right anywhere opens a route: what it gives is bounded by itself, or is for no namespace yet.
func forAnybody(r httpapi.Route) bool {
	return r.Path == "/api/v1/heads" || strings.HasPrefix(r.Path, "/api/v1/blobs") || r.Path == "/api/v1/feed" || r.Path == "/api/v1/search" || r.Path == "/api/v1/hosts/out" || r.Path == "/api/v1/live" || r.Path == "/api/v1/releases" || r.Path == "/api/v1/latencies" || r.Path == "/api/v1/namespaces" || r.Path == "/api/v1/jobs" && r.Method == http.MethodGet
}

// where a right must be given for a route of the job's namespace: everywhere, for what concerns the server.
func where(r httpapi.Route) sluice.Namespace {
	if forServer(r) {
		return ""
	}
	return "prod"
}

// TestNobodyEntersUnnamed is made from the table of routes: none of them answers without a valid token, nor with one that
// has every right but the one that it takes; each refusal is in the audit. With that one right, nobody is refused.
func TestNobodyEntersUnnamed(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2")
	if len(w.api.Routes()) < 10 {
		t.Fatalf("only %d routes", len(w.api.Routes()))
	}
	for i, r := range w.api.Routes() {
		if r.Right == "" { // one's own things
			w.ownThings(r, job, i)
			continue
		}
		if _, err := sluice.ParseRight(string(r.Right)); err != nil {
			t.Fatalf("%s %s: %v", r.Method, r.Path, err)
		}
		others := slices.DeleteFunc(slices.Clone(sluice.Rights()), func(o sluice.Right) bool { return o == r.Right })
		mine, rest := sluice.Role(fmt.Sprintf("mine%d", i)), sluice.Role(fmt.Sprintf("rest%d", i))
		for role, may := range map[sluice.Role][]sluice.Right{mine: {r.Right}, rest: others} {
			if err := w.keeper.Change(t.Context(), w.admin, sluice.RoleDefined{Role: role, May: may, By: "root"}); err != nil {
				t.Fatal(err)
			}
		}
		tries := []struct {
			name, token string
			status      int
		}{
			{"no token", "", http.StatusUnauthorized},
			{"garbage", "sluice_garbage", http.StatusUnauthorized},
			{"all other rights", w.token(sluice.Principal(fmt.Sprintf("other%d", i)), sluice.Grant{Role: rest}), http.StatusForbidden},
			{"the right elsewhere", w.token(sluice.Principal(fmt.Sprintf("away%d", i)), sluice.Grant{Role: mine, Namespace: "prod2"}), http.StatusForbidden},
			{"the right", w.token(sluice.Principal(fmt.Sprintf("one%d", i)), sluice.Grant{Role: mine, Namespace: where(r)}), 0},
		}
		for _, try := range tries {
			if forAnybody(r) && try.name == "the right elsewhere" {
				continue // an empty list, see TestListsShowOnlyWhatOneMaySee
			}
			t.Run(r.Method+" "+r.Path+" "+try.name, func(t *testing.T) {
				before := len(w.refusals())
				status := w.send(r, job, try.token)
				refused := status == http.StatusUnauthorized || status == http.StatusForbidden
				switch {
				case try.status != 0 && status != try.status:
					t.Errorf("status %d, want %d", status, try.status)
				case try.status == 0 && (refused || status >= 500):
					t.Errorf("status %d for somebody who has the right %s", status, r.Right)
				}
				if noted := len(w.refusals()) > before; noted != (refused && try.token != "") {
					t.Errorf("status %d, in the audit: %v", status, noted)
				}
			})
		}
	}
}

// ownThings tries a route that everybody may use who is somebody, without any right.
func (w *world) ownThings(r httpapi.Route, job sluice.JobID, i int) {
	w.t.Helper()
	for token, want := range map[string]bool{"": false, "sluice_garbage": false, w.token(sluice.Principal(fmt.Sprintf("self%d", i))): true} {
		status := w.send(r, job, token)
		if status == http.StatusForbidden && strings.Contains(r.Path, "{token}") {
			continue // it is not one's own, and nobody is told whether it is there
		}
		if (status != http.StatusUnauthorized) != want || want && status == http.StatusForbidden {
			w.t.Errorf("%s %s: status %d for the token %.10q", r.Method, r.Path, status, token)
		}
	}
}

func (w *world) send(r httpapi.Route, job sluice.JobID, token string) int {
	w.t.Helper()
	var body io.Reader
	if r.Method != http.MethodGet {
		text := bodies[r.Path]
		if text == "" {
			text = "{}"
		}
		body = strings.NewReader(text)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), r.Method, w.server.URL+path(r.Path, job)+queries[r.Path], body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 400 {
		var p api.Problem
		if err := json.Unmarshal(b, &p); err != nil || p.Status != resp.StatusCode || p.Title == "" || p.Detail == "" ||
			resp.Header.Get("Content-Type") != "application/problem+json" {
			w.t.Errorf("%s: %s is no problem as it should be: %s", r.Path, resp.Header.Get("Content-Type"), b)
		}
	}
	return resp.StatusCode
}

// TestListsShowOnlyWhatOneMaySee: a right in another namespace opens nothing here.
func TestListsShowOnlyWhatOneMaySee(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1")
	for _, c := range []struct {
		grant sluice.Grant
		sees  bool
	}{
		{sluice.Grant{Role: access.Viewer}, true},
		{sluice.Grant{Role: access.Viewer, Namespace: "prod"}, true},
		{sluice.Grant{Role: access.Viewer, Namespace: "prod2"}, false},
		{sluice.Grant{Role: access.Viewer, Namespace: "pro"}, false},
	} {
		name := sluice.Principal(fmt.Sprintf("p%d", time.Now().UnixNano()))
		jobs, err := w.client(w.token(name, c.grant)).Jobs(t.Context(), client.JobsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if sees := len(jobs) == 1 && jobs[0].ID == job; sees != c.sees || len(jobs) > 1 {
			t.Errorf("%s sees %v", c.grant, jobs)
		}
	}
}

// TestTagsBound: a grant on some hosts is for jobs on no others.
func TestTagsBound(t *testing.T) {
	w := newWorld(t)
	web, both := w.submit("web1", "web2"), w.submit("web1", "db1")
	c := w.client(w.token("webber", sluice.Grant{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	if _, err := c.Halt(t.Context(), both, ""); sluice.CodeOf(err) != sluice.Denied || !strings.Contains(err.Error(), "db1") {
		t.Errorf("halt of a job on db1: %v", err)
	}
	events, err := c.Halt(t.Context(), web, "enough")
	if err != nil || len(events) != 2 {
		t.Fatalf("%v, error %v", events, err)
	}
	if b, ok := events[0].Body.(sluice.JobHalting); !ok || b.By != "webber" || b.Reason != "enough" {
		t.Errorf("%#v", events[0].Body)
	}
}

// TestListsKeepToTags: whoever may see some hosts sees no jobs on others.
func TestListsKeepToTags(t *testing.T) {
	w := newWorld(t)
	web, _ := w.submit("web1", "web2"), w.submit("web1", "db1")
	c := w.client(w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"web"}}))
	if jobs, err := c.Jobs(t.Context(), client.JobsQuery{}); err != nil || len(jobs) != 1 || jobs[0].ID != web {
		t.Errorf("%v, error %v", jobs, err)
	}
}

// TestFollow: whoever follows gets every event once, however often the connection is lost, and the end.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2")
	c := w.client(w.token("eve", sluice.Grant{Role: access.Operator}))
	type result struct {
		last sluice.Event
		err  error
	}
	seen := make(chan sluice.Event, 100)
	lost := make(chan error, 100)
	done := make(chan result)
	go func() {
		last, err := c.Follow(t.Context(), string(job), 0, func(e sluice.Event) { seen <- e }, func(err error) { lost <- err })
		done <- result{last, err}
	}()
	first := <-seen
	if _, ok := first.Body.(sluice.JobSubmitted); !ok {
		t.Fatalf("begins with %s", first.Body.Type())
	}
	w.server.CloseClientConnections()
	if err := <-lost; sluice.CodeOf(err) != sluice.Contact {
		t.Errorf("lost by %v", err)
	}
	if _, err := c.Halt(t.Context(), job, "enough"); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if b, ok := r.last.Body.(sluice.JobHalted); r.err != nil || !ok || b.Reason != "enough" {
		t.Errorf("ends with %#v, error %v", r.last.Body, r.err)
	}
	close(seen)
	seq := first.Seq
	for e := range seen {
		if e.Seq <= seq {
			t.Errorf("event %d after %d", e.Seq, seq)
		}
		seq = e.Seq
	}
	if seq != r.last.Seq {
		t.Errorf("saw up to %d, the last is %d", seq, r.last.Seq)
	}
	// Who has seen all of it already gets the end at once.
	last, err := c.Follow(t.Context(), string(job), r.last.Seq, func(e sluice.Event) { t.Errorf("again: %d", e.Seq) }, nil)
	if err != nil || last.Seq != r.last.Seq {
		t.Errorf("event %d, error %v", last.Seq, err)
	}
}

// TestPages: the pages of a list together are the list.
func TestPages(t *testing.T) {
	w := newWorld(t)
	want := map[sluice.JobID]bool{}
	for range 7 {
		want[w.submit("web1")] = true
	}
	token := w.token("ann", sluice.Grant{Role: access.Viewer})
	cursor := ""
	for n := 0; ; n++ {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/api/v1/jobs?limit=3&cursor="+cursor, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := w.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Jobs []api.Job
			Next string
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		if resp.Body.Close(); err != nil || len(page.Jobs) > 3 || n > 3 {
			t.Fatalf("page %d: %d jobs, error %v", n, len(page.Jobs), err)
		}
		for _, j := range page.Jobs {
			if !want[j.ID] {
				t.Errorf("job %s comes twice, or is none", j.ID)
			}
			delete(want, j.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(want) > 0 {
		t.Errorf("never listed: %v", want)
	}
}

// TestOnlyOurOwnPages: a page of somebody else can neither send changes with a browser's help, nor read by a name of its
// own that means our address.
func TestOnlyOurOwnPages(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1")
	token := w.token("ann", sluice.Grant{Role: access.Admin})
	for _, c := range []struct {
		name, host, site string
		method           string
		status           int
	}{
		{"as we are called", "sluice.example.com", "", http.MethodPost, http.StatusOK},
		{"with a port", "sluice.example.com:7657", "", http.MethodGet, http.StatusOK},
		{"loopback", "127.0.0.1:1", "", http.MethodGet, http.StatusOK},
		{"loopback 6", "[::1]:1", "", http.MethodGet, http.StatusOK},
		{"another name", "evil.example.com", "", http.MethodGet, http.StatusMisdirectedRequest},
		{"a name that ends so", "evil-sluice.example.com", "", http.MethodGet, http.StatusMisdirectedRequest},
		{"no name", " ", "", http.MethodGet, http.StatusMisdirectedRequest},
		{"from another site", "sluice.example.com", "cross-site", http.MethodPost, http.StatusForbidden},
		{"from our own page", "sluice.example.com", "same-origin", http.MethodPost, http.StatusConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := w.server.URL + "/api/v1/jobs/" + string(job)
			if c.method == http.MethodPost {
				url += "/halt"
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, url, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = c.host
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/json")
			if c.site != "" {
				req.Header.Set("Sec-Fetch-Site", c.site)
			}
			resp, err := w.server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
		})
	}
}

// TestLimits: what is too much, too long or unknown is refused with its place.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1")
	token := w.token("ann", sluice.Grant{Role: access.Admin})
	for _, c := range []struct {
		name, path, body, kind string
		status                 int
		says                   string
	}{
		{"a long reason", "halt", `{"reason":"` + strings.Repeat("x", 1001) + `"}`, "", http.StatusUnprocessableEntity, "body.reason"},
		{"the longest reason", "halt", `{"reason":"` + strings.Repeat("x", 1000) + `"}`, "", http.StatusOK, ""},
		{"an unknown field", "cancel", `{"raeson":"x"}`, "", http.StatusUnprocessableEntity, "raeson"},
		{"no JSON", "cancel", `reason=x`, "", http.StatusBadRequest, ""},
		{"a form", "cancel", `reason=x`, "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType, ""},
		{"a huge body", "cancel", `{"reason":"` + strings.Repeat("x", 1<<20) + `"}`, "", http.StatusRequestEntityTooLarge, ""},
		{"no hosts", "skip", `{"hosts":[],"reason":"x"}`, "", http.StatusUnprocessableEntity, "body.hosts"},
		{"no reason", "skip", `{"hosts":["web1"],"reason":""}`, "", http.StatusUnprocessableEntity, "body.reason"},
		{"an unknown query", "cancel?force=1", `{}`, "", http.StatusUnprocessableEntity, "force"},
		{"a budget that is none", "resume", `{"max_failures":"many"}`, "", http.StatusUnprocessableEntity, "max_failures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/api/v1/jobs/"+string(job)+"/"+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			if req.Header.Set("Content-Type", "application/json"); c.kind != "" {
				req.Header.Set("Content-Type", c.kind)
			}
			resp, err := w.server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(b), c.says) {
				t.Errorf("status %d, want %d; it says %s", resp.StatusCode, c.status, b)
			}
		})
	}
}

// TestOpenAPI: the description has every route, and says what it takes.
func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	resp, err := w.server.Client().Get(w.server.URL + "/api/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Description string
			Security    []map[string][]string
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("OpenAPI %q, error %v", doc.OpenAPI, err)
	}
	for _, r := range w.api.Routes() {
		op := doc.Paths[r.Path][strings.ToLower(r.Method)]
		if op.OperationID == "" || len(op.Security) != 1 || !strings.Contains(op.Description, string(r.Right)) {
			t.Errorf("%s %s is described as %+v", r.Method, r.Path, op)
		}
	}
}
