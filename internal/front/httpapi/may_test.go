package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
)

// TestMayIsWhatHappens: for each role, place and control, what one is told is what the route then does; and to ask is no
// attempt.
func TestMayIsWhatHappens(t *testing.T) {
	w, _ := atRest(t, func(c *httpapi.Config) { c.NamespaceRate = 1e6 })
	job := w.submit("web1", "web2")
	controls := []string{"halt", "cancel", "resume", "retry", "settle", "skip", "approve"}
	for i, g := range []sluice.Grant{{Role: access.Viewer}, {Role: access.Operator}, {Role: access.Approver}, {Role: access.Admin}, {Role: access.Operator, Namespace: "prod"},
		{Role: access.Operator, Namespace: "prod", Tags: []sluice.Tag{"web"}}, {Role: access.Approver, Namespace: "prod", Tags: []sluice.Tag{"web", "db"}}} {
		grants := []sluice.Grant{g, {Role: access.Viewer}} // who sees it
		if g.Role == access.Viewer {
			grants = grants[:1]
		}
		token := w.token(sluice.Principal(fmt.Sprintf("p%d", i)), grants...)
		before := len(w.refusals())
		list, err := w.client(token).MayJob(t.Context(), job)
		must(t, err)
		there, err := w.client(token).MayThere(t.Context(), "prod", "web1")
		must(t, err)
		if len(w.refusals()) != before {
			t.Errorf("%s: to ask was noted: %+v", g, w.refusals()[before:])
		}
		if len(list) != len(controls)+1 || len(there) != len(sluice.Rights()) {
			t.Fatalf("%+v, %+v", list, there)
		}
		may := map[string]api.May{}
		for _, m := range append(list, there...) {
			may[m.Do] = m
			if m.May != (m.Why == "") || !m.May && !strings.Contains(m.Why, "It takes the role") {
				t.Errorf("%s: %+v", g, m)
			}
		}
		for _, do := range controls {
			status := w.send(httpapi.Route{Method: http.MethodPost, Path: "/api/v1/jobs/{id}/" + do}, job, token)
			if did := status != http.StatusForbidden; did != may[do].May {
				t.Errorf("%s: %s has status %d, and was said to be %+v", g, do, status, may[do])
			}
		}
		status := w.send(httpapi.Route{Method: http.MethodGet, Path: "/api/v1/jobs/{id}/events?output=true"}, job, token)
		if m := may["output"]; m.May != may[string(sluice.SeeOutput)].May || status == http.StatusForbidden {
			t.Errorf("%s: output: %d %+v", g, status, m)
		}
		held := w.send(httpapi.Route{Method: http.MethodPost, Path: "/api/v1/namespaces/{namespace}/hosts/{act}"}, job, token)
		if got := may[string(sluice.ChangeHosts)].May; got != (held != http.StatusForbidden) {
			t.Errorf("%s: to hold web1 has status %d, and was said to be %v", g, held, got)
		}
	}
}

// TestMaySaysWhy: in a sentence, and what it would take.
func TestMaySaysWhy(t *testing.T) {
	w, _ := atRest(t)
	w.fleet.Approval.By = sluice.AnotherApproves
	w.service = w.service.As("ann")
	job := w.submit("web1")
	why := func(token, do string) string {
		t.Helper()
		list, err := w.client(token).MayJob(t.Context(), job)
		must(t, err)
		for _, m := range list {
			if m.Do == do {
				return m.Why
			}
		}
		t.Fatalf("nothing about %s", do)
		return ""
	}
	ann := w.token("ann", sluice.Grant{Role: access.Admin})
	if got := why(ann, "approve"); got != "ann submitted job "+string(job)+", and here another one approves" {
		t.Error(got)
	}
	if got := why(ann, "halt"); got != "" {
		t.Error(got)
	}
	eve := w.token("eve", sluice.Grant{Role: access.Viewer})
	if got := why(eve, "approve"); got != "eve may not do job.approve in prod: no grant allows it. It takes the role admin or approver in prod." {
		t.Error(got)
	}
	narrow, _, err := w.keeper.MakeToken(t.Context(), w.admin, sluice.Token{Principal: "ann", Only: []sluice.Right{sluice.SeeJobs}})
	must(t, err)
	if got := why(narrow, "halt"); !strings.HasSuffix(got, " is for other rights") {
		t.Error(got)
	}
	list, err := w.client(eve).MayThere(t.Context(), "")
	must(t, err)
	for _, m := range list {
		if m.Do == string(sluice.RunServer) && m.Why != "eve may not do server.run: no grant allows it. It takes the role admin everywhere." {
			t.Error(m.Why)
		}
	}
}

// TestAuditPages: newest first over all namespaces, page by page, filtered; and while others write, nothing comes twice or is
// left out.
func TestAuditPages(t *testing.T) {
	w, _ := onDisk(t)
	var job sluice.JobID
	for range 5 {
		job = w.submit("web1", "web2")
	}
	root := w.client(w.token("eve", sluice.Grant{Role: access.Admin}))
	if _, err := root.HaltAll(t.Context(), "", "the <b>house</b> burns"); err != nil {
		t.Fatal(err)
	}
	poor := w.client(w.token("bob"))
	if _, err := poor.Audit(t.Context(), nil); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("without the right: %v", err)
	}
	if _, err := poor.Halt(t.Context(), job, ""); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("without the right: %v", err)
	}
	all := func(q url.Values) (lines []string) {
		t.Helper()
		for pages := 0; ; pages++ {
			page, err := root.Audit(t.Context(), q)
			must(t, err)
			for _, e := range page.Entries {
				if e.Who == "eve" && e.What == "GET /api/v1/audit/entries" {
					continue // this look
				}
				lines = append(lines, fmt.Sprintf("%s %s %s %d", e.Who, e.What, e.Namespace, e.Seq))
			}
			if page.Next == "" || pages > 100 {
				return lines
			}
			q.Set("cursor", page.Next)
			w.submit("db1") // the log goes on
		}
	}
	whole := all(url.Values{})
	if len(whole) != 21 || whole[0] != "eve halted it: the <b>house</b> burns prod 15" || whole[20] != "root made root known .access 1" {
		t.Errorf("%d: %s", len(whole), strings.Join(whole, "\n"))
	}
	if small := all(url.Values{"limit": {"2"}}); strings.Join(small, "\n") != strings.Join(whole, "\n") {
		t.Errorf("by twos: %d\n%s\nat once: %d\n%s", len(small), strings.Join(small, "\n"), len(whole), strings.Join(whole, "\n"))
	}
	for name, c := range map[string]struct {
		q    url.Values
		want int
		all  string // in each
	}{
		"one person":      {url.Values{"who": {"bob"}}, 2, "bob "},
		"refused there":   {url.Values{"namespace": {"prod"}, "refused": {"true"}}, 1, "bob POST /api/v1/jobs/" + string(job) + "/halt prod"},
		"a namespace":     {url.Values{"namespace": {"prod"}, "text": {"HOUSE"}}, 5, "burns prod"},
		"refused":         {url.Values{"refused": {"true"}}, 2, "bob "},
		"nothing so late": {url.Values{"since": {"2026-02-01T00:00:00Z"}}, 0, ""},
		"nothing so soon": {url.Values{"until": {"2026-01-01T00:00:00Z"}}, 0, ""},
		"no such text":    {url.Values{"text": {"zebra"}}, 0, ""},
	} {
		got := all(c.q)
		if len(got) != c.want {
			t.Errorf("%s: %d: %v", name, len(got), got)
		}
		for _, line := range got {
			if !strings.Contains(line, c.all) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	for _, bad := range []string{"x", "!!", "eyJ4Ijo"} {
		if _, err := root.Audit(t.Context(), url.Values{"cursor": {bad}}); sluice.CodeOf(err) != sluice.Usage {
			t.Errorf("the cursor %q: %v", bad, err)
		}
	}
}

// TestLooksAreNoted: that somebody looks into the audit is noted, and not each of the pages that they see.
func TestLooksAreNoted(t *testing.T) {
	w, hand := atRest(t)
	root := w.client(w.token("eve", sluice.Grant{Role: access.Admin}))
	looks := func() (n int) {
		events, err := w.log.Read(t.Context(), sluice.AccessNamespace, 0, 1000)
		must(t, err)
		for _, e := range events {
			if b, is := e.Body.(sluice.AccessNoted); is && b.What == "GET /api/v1/audit/entries" && b.Principal == "eve" {
				n++
			}
		}
		return n
	}
	for i, want := range []int{1, 1, 1, 2, 2} {
		if i == 3 {
			hand.on(11 * time.Minute)
		}
		_, err := root.Audit(t.Context(), nil)
		must(t, err)
		if got := looks(); got != want {
			t.Errorf("look %d: %d notes, want %d", i, got, want)
		}
	}
}
