package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
	"sluice/internal/run/control"
)

// get asks with a token and decodes the answer.
func get[T any](t *testing.T, w *world, token, target string) (out T) {
	t.Helper()
	got := ask(t, w.api, http.MethodGet, target, "Authorization", "Bearer "+token)
	if got.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, got.Code, got.Body)
	}
	if err := json.Unmarshal(got.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func ids(jobs []api.Job) (out []sluice.JobID) {
	for _, j := range jobs {
		out = append(out, j.ID)
	}
	return out
}

// submitAs is submit for somebody, of a command.
func (w *world) submitAs(by, command string, targets ...sluice.Host) sluice.JobID {
	w.t.Helper()
	s := w.service.As(by)
	d, err := s.Prepare(w.t.Context(), control.Request{Fleet: w.fleet, Targets: targets, Command: command})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := s.Submit(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
	return d.Job.ID
}

// TestFilters: each filter leaves those that fit, and several together those that fit all.
func TestFilters(t *testing.T) {
	w := newWorld(t)
	token := w.token("root2", sluice.Grant{Role: access.Viewer})
	a := w.submitAs("ann", "Deploy web", "web1", "web2")
	b := w.submitAs("bob", "uptime", "db1")
	c := w.submitAs("bob", "uptime", "web1", "db1")
	if _, err := w.service.Halt(t.Context(), b, "the Disk is full"); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string][]sluice.JobID{
		"":                                    {c, b, a},
		"?by=bob":                             {c, b},
		"?by=bo":                              nil,
		"?tag=web":                            {c, a},
		"?tag=$db":                            {c, b},
		"?tag=none":                           nil,
		"?text=deploy":                        {a},
		"?text=DISK":                          {b},
		"?text=" + string(c[:8]):              {c},
		"?state=halted":                       {b},
		"?state=halted,waiting":               {c, b, a},
		"?state=succeeded":                    nil,
		"?state=waiting&by=bob&tag=web":       {c},
		"?since=2026-01-02T03:04:05Z":         {c, b, a},
		"?since=2026-01-02T03:04:06Z":         nil,
		"?until=2026-01-02T03:04:05Z":         nil,
		"?namespace=prod&limit=1":             {c},
		"?limit=1&cursor=" + string(c):        {b},
		"?limit=1&by=bob&cursor=" + string(c): {b},
	} {
		if got := ids(get[api.JobPage](t, w, token, "/api/v1/jobs"+query).Jobs); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	page := get[api.JobPage](t, w, token, "/api/v1/jobs?state=halted")
	if j := page.Jobs[0]; j.Why != "the Disk is full" || j.Needs != "decision" || j.Ended == nil {
		t.Errorf("%+v", j)
	}
	for _, bad := range []string{"?state=running,nonsense", "?since=yesterday", "?cursor=000000000000"} {
		if got := ask(t, w.api, http.MethodGet, "/api/v1/jobs"+bad, "Authorization", "Bearer "+token); got.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", bad, got.Code, got.Body)
		}
	}
}

// TestOutOfAllNamespaces: hosts out of service come together, those that have been the longest first, and only those that
// one may see.
func TestOutOfAllNamespaces(t *testing.T) {
	w := newWorld(t)
	w.submit("web1", "db1")
	for _, h := range []sluice.Host{"db1", "web1"} {
		if _, err := w.service.ChangeHosts(t.Context(), "prod", control.Hold, []sluice.Host{h}, "disk"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.service.ChangeHosts(t.Context(), "prod", control.Retire, []sluice.Host{"web2"}, "sold"); err != nil {
		t.Fatal(err)
	}
	type out struct {
		Hosts []api.HostOut
		Total int
	}
	all, webs := w.token("ann", sluice.Grant{Role: access.Viewer}), w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"web"}})
	for _, c := range []struct {
		token, query string
		hosts        []sluice.Host
		total        int
	}{
		{all, "", []sluice.Host{"web1", "db1"}, 2},
		{all, "?limit=1", []sluice.Host{"web1"}, 2},
		{all, "?retired=true", []sluice.Host{"web1", "web2", "db1"}, 3},
		{all, "?namespace=prod", []sluice.Host{"web1", "db1"}, 2},
		{webs, "", []sluice.Host{"web1"}, 1},
	} {
		got := get[out](t, w, c.token, "/api/v1/hosts/out"+c.query)
		var hosts []sluice.Host
		for _, h := range got.Hosts {
			hosts = append(hosts, h.Host)
			if h.Namespace != "prod" {
				t.Errorf("%+v", h)
			}
		}
		if !slices.Equal(hosts, c.hosts) || got.Total != c.total {
			t.Errorf("%s: %v, %d; want %v, %d", c.query, hosts, got.Total, c.hosts, c.total)
		}
	}
}

// TestNamespaces: one is told of those that one may see, and of those that one's grant names before anything is there.
func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	w.submit("web1")
	type spaces struct{ Namespaces []sluice.Namespace }
	for who, c := range map[sluice.Principal]struct {
		grants []sluice.Grant
		want   []sluice.Namespace
	}{
		"ann":  {[]sluice.Grant{{Role: access.Viewer}}, []sluice.Namespace{"prod"}},
		"vera": {[]sluice.Grant{{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"web"}}}, []sluice.Namespace{"prod"}},
		"bea":  {[]sluice.Grant{{Role: access.Viewer, Namespace: "prod"}, {Role: access.Viewer, Namespace: "new"}}, []sluice.Namespace{"new", "prod"}},
		"carl": {[]sluice.Grant{{Role: access.Viewer, Namespace: "away"}}, []sluice.Namespace{"away"}},
	} {
		if got := get[spaces](t, w, w.token(who, c.grants...), "/api/v1/namespaces"); !slices.Equal(got.Namespaces, c.want) {
			t.Errorf("%s sees %v, want %v", who, got.Namespaces, c.want)
		}
	}
}

// TestSearch finds jobs, hosts and people by a piece of their names, and nothing that one may not see.
func TestSearch(t *testing.T) {
	w := newWorld(t)
	a := w.submitAs("ann", "upgrade webmail", "web1", "web2")
	w.submitAs("webster", "uptime", "db1")
	all, webs := w.token("zoe", sluice.Grant{Role: access.Viewer}), w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"web"}})
	got := get[api.Found](t, w, all, "/api/v1/search?text=WEB")
	if !slices.Equal(ids(got.Jobs), []sluice.JobID{a}) || len(got.Hosts) != 2 || got.Hosts[0] != (api.FoundHost{Namespace: "prod", Host: "web1"}) || !slices.Equal(got.Users, []string{"webster"}) {
		t.Errorf("%+v", got)
	}
	if got = get[api.Found](t, w, webs, "/api/v1/search?text=b"); len(got.Jobs) != 1 || len(got.Hosts) != 2 || len(got.Users) != 0 {
		t.Errorf("of the webs alone: %+v", got)
	}
}

// TestServer says how the server is, and no more than one may know of why it is not well.
func TestServer(t *testing.T) {
	var why error
	w := newWorldWith(t, func(c *httpapi.Config) { c.Ready = func(context.Context) error { return why } })
	token := w.token("ann", sluice.Grant{Role: access.Viewer})
	if got := get[api.Server](t, w, token, "/api/v1/server"); got != (api.Server{Version: "test", Since: clock(), Ready: true, Cluster: true}) {
		t.Errorf("%+v", got)
	}
	for err, want := range map[error]string{errors.New("/var/lib/sluice: no room"): "its log says why", sluice.Errorf(sluice.Contact, "the log was cut"): "the log was cut"} {
		why = err
		if got := get[api.Server](t, w, token, "/api/v1/server"); got.Ready || got.Why != want {
			t.Errorf("%+v", got)
		}
	}
}

// following is a list as one who follows it has it.
type following struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Reader
	last string
}

func (w *world) followList(token, query, last string) *following {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.server.URL+"/api/v1/feed"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := w.server.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("status %d", resp.StatusCode)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return &following{w.t, resp, bufio.NewReader(resp.Body), ""}
}

// next is the next event; "" at the end of the stream.
func (f *following) next() (name string, page api.JobPage, changes api.JobChanges) {
	f.t.Helper()
	for {
		line, err := f.in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return "", page, changes
		}
		if err != nil {
			f.t.Fatal(err)
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "id: "):
			f.last = line[len("id: "):]
		case strings.HasPrefix(line, "data: "):
			to := any(&page)
			if name == "jobs" {
				to = &changes
			}
			if err := json.Unmarshal([]byte(line[len("data: "):]), to); err != nil {
				f.t.Fatal(err)
			}
			return name, page, changes
		}
	}
}

func (f *following) page(want ...sluice.JobID) {
	f.t.Helper()
	name, page, _ := f.next()
	if got := ids(page.Jobs); name != "page" || !slices.Equal(got, want) {
		f.t.Errorf("%s: %v, want %v", name, got, want)
	}
}

func (f *following) changes(jobs []sluice.JobID, gone ...sluice.JobID) api.JobChanges {
	f.t.Helper()
	name, _, c := f.next()
	got := ids(c.Jobs)
	slices.Sort(got)
	slices.Sort(jobs)
	slices.Sort(c.Gone)
	slices.Sort(gone)
	if name != "jobs" || !slices.Equal(got, jobs) || !slices.Equal(c.Gone, gone) {
		f.t.Errorf("%s: %v and %v gone, want %v and %v", name, got, c.Gone, jobs, gone)
	}
	return c
}

// TestFeed: a list as it changes: what there is, what comes, what does not fit any more; after a cut it goes on where it was.
func TestFeed(t *testing.T) {
	w := newWorld(t)
	w.still()
	token := w.token("zoe", sluice.Grant{Role: access.Viewer})
	a := w.submitAs("ann", "true", "web1")
	f := w.followList(token, "", "")
	f.page(a)
	waits := w.followList(token, "?state=waiting", "")
	waits.page(a)
	b := w.submitAs("bob", "true", "web2")
	f.changes([]sluice.JobID{b})
	waits.changes([]sluice.JobID{b})
	if _, err := w.service.Halt(t.Context(), b, "enough"); err != nil {
		t.Fatal(err)
	}
	if c := f.changes([]sluice.JobID{b}); c.Jobs[0].Why != "enough" {
		t.Errorf("%+v", c.Jobs[0])
	}
	waits.changes(nil, b)
	was := f.last
	_ = f.resp.Body.Close()
	c := w.submitAs("bob", "true", "web2")
	if _, err := w.service.Halt(t.Context(), a, "too"); err != nil {
		t.Fatal(err)
	}
	f = w.followList(token, "", was)
	f.changes([]sluice.JobID{a, b, c}) // b goes on: it is sent to be sure
	f = w.followList(token, "?state=waiting", was)
	f.changes([]sluice.JobID{c}, a, b)
	for _, nothing := range []string{"prod=999999", "%zz", "prod=x"} { // from another life of the log, or none
		f = w.followList(token, "", nothing)
		f.page(c, b, a)
	}
}

// TestFeedKeepsToRights: only what one may see comes, as the rights are then; it ends with them.
func TestFeedKeepsToRights(t *testing.T) {
	w := newWorld(t)
	w.still()
	webs := sluice.Grant{Role: access.Viewer, Namespace: "prod", Tags: []sluice.Tag{"web"}}
	f := w.followList(w.token("vera", webs), "", "")
	f.page()
	first := w.submit("web1")
	f.page(first) // the namespace was not there before
	w.submit("web1", "db1")
	mine := w.submit("web1", "web2")
	f.changes([]sluice.JobID{mine})
	if got := ask(t, w.api, http.MethodGet, "/api/v1/feed", "Authorization", "Bearer "+w.token("eve"), "Accept", "text/event-stream"); got.Code != http.StatusForbidden {
		t.Errorf("without a right: %d", got.Code)
	}
	if err := w.keeper.Change(t.Context(), w.admin, sluice.PrincipalRemoved{Principal: "vera", By: "root"}); err != nil {
		t.Fatal(err)
	}
	w.submit("web1")
	if name, _, _ := f.next(); name != "" {
		t.Errorf("after the right: %s", name)
	}
}
