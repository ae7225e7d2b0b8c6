package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
)

// ask gets an answer of the API as JSON.
func (w *world) ask(token, path string, into any) int {
	w.t.Helper()
	status, body, _ := w.text(token, path)
	if into != nil && status == http.StatusOK {
		if err := json.Unmarshal([]byte(body), into); err != nil {
			w.t.Fatalf("%s: %v: %s", path, err, body)
		}
	}
	return status
}

func (w *world) text(token, path string) (int, string, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.server.URL+"/api/v1/"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	r, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Header
}

// ran has a job run on hosts, each of which prints something and ends with a status.
func (w *world) ran(job sluice.JobID, said map[sluice.Host][2]string, codes map[sluice.Host]int) {
	w.t.Helper()
	hosts := []sluice.Host{"web1", "web2", "db1"}
	for i, h := range hosts {
		a := sluice.NewAttemptID(job, i, 1)
		w.append(job, sluice.TaskStarted{Host: h, Attempt: a})
		for n, stream := range []string{"stdout", "stderr"} {
			if err := w.service.Outputs.Write(job, a, stream, 0, []byte(said[h][n])); err != nil {
				w.t.Fatal(err)
			}
		}
		code := codes[h]
		f := sluice.TaskFinished{Host: h, Attempt: a, ExitCode: &code, Outcome: sluice.Succeeded}
		if code != 0 {
			f.Outcome, f.Reason = sluice.Failed, fmt.Sprintf("the command ended with %d", code)
		}
		w.append(job, sluice.TaskStep{Host: h, Attempt: a, Step: "command", ExitCode: code}, f)
	}
}

type failures struct {
	Hosts    int
	Failures []api.Failure
	NoOutput string `json:"no_output"`
	Next     string
}

// TestFailures: what failed alike stands together with its last lines, safe to show; without the right to output there are no
// lines, and it is said why.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2", "db1")
	eve := w.token("eve", sluice.Grant{Role: access.Operator})
	w.ran(job, map[sluice.Host][2]string{"web1": {"", "\x1b[31mbad\x1b[0m on web1 \x1b]52;c;aGk=\a\n"}, "web2": {"", "\x1b[31mbad\x1b[0m on web2 \x1b]52;c;aGk=\a\n"}, "db1": {"fine\n", ""}},
		map[sluice.Host]int{"web1": 3, "web2": 3})
	var got failures
	if status := w.ask(eve, "jobs/"+string(job)+"/failures", &got); status != 200 {
		t.Fatalf("status %d", status)
	}
	if got.Hosts != 2 || len(got.Failures) != 1 {
		t.Fatalf("%+v", got)
	}
	f := got.Failures[0]
	if f.Step != "command" || f.Exit == nil || *f.Exit != 3 || f.Hosts != 2 || len(f.Named) != 2 || f.Attempt != 1 ||
		len(f.Stderr) != 1 || f.Stderr[0] != `bad on web2 \e]52;c;aGk=\x07` && f.Stderr[0] != `bad on web1 \e]52;c;aGk=\x07` {
		t.Errorf("%+v", f)
	}
	if err := w.keeper.Change(t.Context(), w.admin, sluice.RoleDefined{Role: "looker", May: []sluice.Right{sluice.SeeJobs}, By: "root"}); err != nil {
		t.Fatal(err)
	}
	lou, before := w.token("lou", sluice.Grant{Role: "looker"}), len(w.refusals())
	got = failures{}
	if status := w.ask(lou, "jobs/"+string(job)+"/failures", &got); status != 200 || got.NoOutput == "" || len(got.Failures) != 1 || len(got.Failures[0].Stderr) > 0 {
		t.Errorf("status %d, %+v", status, got)
	}
	if len(w.refusals()) != before {
		t.Error("that the lines are not there counts as an attempt to see them")
	}
	if status := w.ask(lou, "jobs/"+string(job)+"/groups", nil); status != http.StatusForbidden {
		t.Errorf("groups: status %d without the right to output", status)
	}
}

// TestGroups: hosts that printed the same stand together, and two texts are compared. What changes after a retry is seen.
func TestGroups(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2", "db1")
	eve := w.token("eve", sluice.Grant{Role: access.Operator})
	w.ran(job, map[sluice.Host][2]string{"web1": {"one\ntwo\nthree\n", ""}, "web2": {"one\ntwo\nthree\n", ""}, "db1": {"one\n2\nthree\n", ""}}, map[sluice.Host]int{"db1": 1})
	type page struct {
		Count  int
		Groups []api.Alike
		Next   string
	}
	var got page
	w.ask(eve, "jobs/"+string(job)+"/groups", &got)
	if got.Count != 2 || len(got.Groups) != 2 || got.Groups[0].Hosts != 2 || !slices.Equal(got.Groups[1].Named, []sluice.Host{"db1"}) || got.Groups[0].Outcomes[sluice.Succeeded] != 2 {
		t.Fatalf("%+v", got)
	}
	var diff struct {
		Runs      []api.Run
		Gone, New int
		Whole     bool
	}
	w.ask(eve, fmt.Sprintf("jobs/%s/groups/%s/diff?with=%s", job, got.Groups[0].Digest, got.Groups[1].Digest), &diff)
	var text []string
	for _, r := range diff.Runs {
		for _, l := range r.Lines {
			text = append(text, l.Kind+" "+l.Text)
		}
	}
	if want := "same one|gone two|new 2|same three"; strings.Join(text, "|") != want || !diff.Whole || diff.Gone != 1 || diff.New != 1 {
		t.Errorf("%+v", diff)
	}
	var one struct {
		api.Alike
		Text []string
		Host string
	}
	w.ask(eve, fmt.Sprintf("jobs/%s/groups/%s", job, got.Groups[1].Digest), &one)
	if one.Host != "db1" || strings.Join(one.Text, "|") != "one|2|three" {
		t.Errorf("%+v", one)
	}
	var first, second page
	w.ask(eve, "jobs/"+string(job)+"/groups?limit=1", &first)
	w.ask(eve, "jobs/"+string(job)+"/groups?limit=1&cursor="+first.Next, &second)
	if len(first.Groups) != 1 || len(second.Groups) != 1 || first.Groups[0].Digest == second.Groups[0].Digest || second.Next != "" {
		t.Errorf("%+v, then %+v", first, second)
	}
	again := sluice.NewAttemptID(job, 2, 2)
	w.append(job, sluice.TaskRetried{Hosts: []sluice.Host{"db1"}}, sluice.TaskStarted{Host: "db1", Attempt: again})
	got = page{}
	if w.ask(eve, "jobs/"+string(job)+"/groups", &got); got.Count != 1 {
		t.Errorf("while one is tried again: %+v", got)
	}
	if status := w.ask(eve, fmt.Sprintf("jobs/%s/groups/%s", job, strings.Repeat("0", 32)), nil); status != 404 {
		t.Errorf("status %d of a digest that is none", status)
	}
}

// TestOutputInPieces: an attempt is named by its number, read from any place, searched, and its lines are counted.
func TestOutputInPieces(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2")
	eve := w.token("eve", sluice.Grant{Role: access.Operator})
	for n, text := range []string{"first\n", strings.Repeat("a line\n", 5000) + "Needle here\n" + strings.Repeat("a line\n", 10)} {
		a := sluice.NewAttemptID(job, 0, n+1)
		w.append(job, sluice.TaskStarted{Host: "web1", Attempt: a})
		w.prints(job, a, 0, text, false)
		w.append(job, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Failed})
		if n == 0 {
			w.append(job, sluice.TaskRetried{Hosts: []sluice.Host{"web1"}})
		}
	}
	base := "jobs/" + string(job) + "/hosts/web1"
	if status, text, h := w.text(eve, base+"/stdout?attempt=1"); status != 200 || text != "first\n" || h.Get("Sluice-Size") != "6" {
		t.Errorf("status %d, %q, %v", status, text, h)
	}
	if _, text, h := w.text(eve, base+"/stdout?offset=35000&limit=6"); text != "Needle" || h.Get("Sluice-Outcome") != "failed" {
		t.Errorf("%q, %v", text, h)
	}
	for _, bad := range []string{"0", "3", "x", string(sluice.NewAttemptID(job, 1, 1))} {
		if status := w.ask(eve, base+"/stdout?attempt="+bad, nil); status != 404 {
			t.Errorf("attempt %s: status %d", bad, status)
		}
	}
	var lines api.Lines
	if w.ask(eve, base+"/stdout/lines", &lines); lines.Lines != 5011 || lines.Before[1] != lines.Every/7 {
		t.Errorf("%d lines, %d before %d", lines.Lines, lines.Before[1], lines.Every)
	}
	var found api.FoundText
	if w.ask(eve, base+"/stdout/find?text=needle&fold=true&offset=20000", &found); len(found.Places) != 1 || found.Places[0].Line != 5001 || found.Places[0].Offset != 35000 ||
		found.Places[0].Text != "Needle" || found.Places[0].After != " here" || found.Next != 0 {
		t.Errorf("%+v", found)
	}
	found = api.FoundText{}
	if w.ask(eve, base+"/stdout/find?text=line&limit=3", &found); len(found.Places) != 3 || found.Next != 20 {
		t.Errorf("%+v", found)
	}
	var task api.HostTask
	if w.ask(eve, base, &task); len(task.Attempts) != 2 || task.Attempts[0].Stdout != 6 || task.Attempts[1].Number != 2 || task.State != "failed" {
		t.Errorf("%+v", task)
	}
}

// TestFollowedOutput: what an attempt prints comes while it is printed, and ends with it.
func TestFollowedOutput(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1")
	eve := w.token("eve", sluice.Grant{Role: access.Operator})
	a := sluice.NewAttemptID(job, 0, 1)
	w.append(job, sluice.TaskStarted{Host: "web1", Attempt: a})
	w.prints(job, a, 0, "one ", false)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/api/v1/jobs/"+string(job)+"/hosts/web1/stdout?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+eve)
	r, err := w.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	got := make([]byte, 4)
	if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != "one " {
		t.Fatalf("%q, error %v", got, err)
	}
	w.prints(job, a, 4, "two ", true)
	if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != "two " {
		t.Fatalf("%q, error %v", got, err)
	}
	w.prints(job, a, 8, "end", false)
	w.append(job, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Succeeded})
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != "end" {
		t.Errorf("%q, error %v", rest, err)
	}
}

// TestHostPage: a host with what it is bound by, why it is out, and its jobs, newest first, page by page.
func TestHostPage(t *testing.T) {
	w := newWorld(t)
	eve := w.token("eve", sluice.Grant{Role: access.Operator})
	var jobs []sluice.JobID
	for range 3 {
		jobs = append(jobs, w.submit("web1", "web2"))
	}
	other := w.submit("db1")
	code := 1
	a := sluice.NewAttemptID(jobs[0], 0, 1)
	w.append(jobs[0], sluice.TaskStarted{Host: "web1", Attempt: a}, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Failed, ExitCode: &code, Reason: "the command ended with 1"})
	var h api.Host
	if status := w.ask(eve, "namespaces/prod/hosts/web1/now?limit=2", &h); status != 200 {
		t.Fatalf("status %d", status)
	}
	if h.Out == nil || h.Out.Job != jobs[0] || h.Out.Why != "failed" || len(h.Limits) != 1 || h.Limits[0].Capacity != 1 || len(h.Limits[0].Holders) != 1 {
		t.Errorf("%+v", h)
	}
	if len(h.Jobs) != 2 || h.Jobs[0].Job != jobs[2] || h.Jobs[1].State != "waiting" || h.Next != jobs[1] {
		t.Errorf("%+v", h.Jobs)
	}
	var rest api.Host
	if w.ask(eve, "namespaces/prod/hosts/web1/now?limit=2&cursor="+string(h.Next), &rest); len(rest.Jobs) != 1 || rest.Jobs[0].Job != jobs[0] || rest.Jobs[0].State != "failed" || rest.Next != "" {
		t.Errorf("%+v", rest.Jobs)
	}
	if w.ask(eve, "namespaces/prod/hosts/db1/now", &rest); len(rest.Jobs) == 0 || rest.Jobs[0].Job != other {
		t.Errorf("%+v", rest.Jobs)
	}
	if status := w.ask(eve, "namespaces/prod/hosts/nobody/now", nil); status != 404 {
		t.Errorf("status %d of a host that is none", status)
	}
}

// TestReadsAreNotedOnce: whoever reads an output in many pieces is noted once for a while, and again after it.
func TestReadsAreNotedOnce(t *testing.T) {
	w := newWorld(t)
	w.still()
	job := w.submit("web1")
	a := sluice.NewAttemptID(job, 0, 1)
	w.append(job, sluice.TaskStarted{Host: "web1", Attempt: a}, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Succeeded})
	w.prints(job, a, 0, "text", false)
	eve := w.token("eve", sluice.Grant{Role: access.Operator})
	noted := func() (n int) {
		events, err := w.log.Read(t.Context(), sluice.AccessNamespace, 0, 10000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if b, ok := e.Body.(sluice.AccessNoted); ok && b.Right == sluice.SeeOutput && b.Principal == "eve" {
				n++
			}
		}
		return n
	}
	for offset := range 4 {
		w.text(eve, fmt.Sprintf("jobs/%s/hosts/web1/stdout?offset=%d", job, offset))
	}
	if n := noted(); n != 1 {
		t.Errorf("noted %d times", n)
	}
	w.text(eve, "jobs/"+string(job)+"/hosts/web1/stderr")
	if n := noted(); n != 2 {
		t.Errorf("another stream: noted %d times", n)
	}
	w.stopped.Store(false) // hours go by
	w.text(eve, "jobs/"+string(job)+"/hosts/web1/stdout")
	if n := noted(); n != 3 {
		t.Errorf("hours later: noted %d times", n)
	}
}

// TestClientReadsAPart: the client's methods ask for what there is.
func TestClientReadsAPart(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2", "db1")
	w.ran(job, map[sluice.Host][2]string{"web1": {"a\n", ""}, "web2": {"a\n", ""}, "db1": {"b\n", ""}}, map[sluice.Host]int{"db1": 1})
	c := w.client(w.token("eve", sluice.Grant{Role: access.Operator}))
	failures, next, err := c.Failures(t.Context(), string(job), "")
	if err != nil || next != "" || len(failures) != 1 || failures[0].Named[0] != "db1" {
		t.Errorf("%+v, next %q, error %v", failures, next, err)
	}
	groups, next, err := c.Groups(t.Context(), string(job), "stdout", "")
	if err != nil || next != "" || len(groups) != 2 || groups[0].Hosts != 2 {
		t.Errorf("%+v, next %q, error %v", groups, next, err)
	}
	task, err := c.HostTask(t.Context(), string(job), "db1")
	if err != nil || len(task.Attempts) != 1 || task.State != "failed" {
		t.Errorf("%+v, error %v", task, err)
	}
	h, err := c.Host(t.Context(), "prod", "db1", "")
	if err != nil || h.Out == nil || len(h.Jobs) != 1 {
		t.Errorf("%+v, error %v", h, err)
	}
}
