package httpapi_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
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

// submitMany submits a job on hosts that no fleet names.
func (w *world) submitMany(n int) (sluice.JobID, []sluice.Host) {
	w.t.Helper()
	var hosts []sluice.Host
	for i := range n {
		hosts = append(hosts, sluice.Host(fmt.Sprintf("h%d", i)))
	}
	w.fleet.Hosts = append(w.fleet.Hosts, hosts...)
	return w.submit(hosts...), hosts
}

// short reads the events after a number, as a page does, and applies them to the columns of a board.
func (w *world) short(b *api.Board, token string) (lines int) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, fmt.Sprintf("%s/api/v1/jobs/%s/events?short=true&after=%d", w.server.URL, b.Job.ID, b.Seq), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := w.server.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		data, ok := strings.CutPrefix(s.Text(), "data: [")
		if !ok {
			w.whole(b, strings.TrimPrefix(s.Text(), "data: "))
			continue
		}
		lines++
		var of []any
		if err := json.Unmarshal([]byte("["+data), &of); err != nil {
			w.t.Fatalf("%s: %v", s.Text(), err)
		}
		host := int(of[1].(float64))
		b.Hosts.Attempt[host] = int(of[2].(float64))
		at := int64(of[3].(float64)) - b.Job.Submitted.UnixMilli()
		switch of[0] {
		case "task.started":
			b.Hosts.State[host], b.Hosts.Since[host], b.Hosts.Took[host] = 1, at, 0
		case "task.finished":
			b.Hosts.State[host], b.Hosts.Since[host], b.Hosts.Took[host] = slices.Index(b.States, "succeeded"), at, int64(of[4].(float64))
		}
	}
	return lines
}

// whole applies an event that came as it is in the log.
func (w *world) whole(b *api.Board, data string) {
	var e sluice.Event
	if json.Unmarshal([]byte(data), &e) != nil || e.Body == nil {
		return
	}
	if f, ok := e.Body.(sluice.TaskFinished); ok {
		host := slices.Index(b.Hosts.Names, f.Host)
		b.Hosts.State[host], b.Hosts.Took[host] = slices.Index(b.States, string(f.Outcome)), f.DurationMS
		b.Hosts.Since[host] = e.Time.UnixMilli() - b.Job.Submitted.UnixMilli()
	}
}

// TestBoardGoesOnWithoutAGap: a board in the middle of a job and the events after its number are what a later board is.
func TestBoardGoesOnWithoutAGap(t *testing.T) {
	w := newWorld(t)
	id, hosts := w.submitMany(40)
	token := w.token("vera", sluice.Grant{Role: access.Viewer})
	c := w.client(token)
	try := func(i, n int) sluice.AttemptID { return sluice.NewAttemptID(id, i, n) }
	code := 3
	w.append(id, sluice.JobStarted{}, sluice.StageOpened{Track: sluice.Unconstrained, Stage: sluice.Unconstrained})
	for i, h := range hosts[:20] {
		w.append(id, sluice.TaskStarted{Host: h, Attempt: try(i, 1)})
	}
	for i, h := range hosts[:10] {
		w.append(id, sluice.TaskStep{Host: h, Attempt: try(i, 1), Step: "pre/10 \"odd\"", ExitCode: 0})
	}
	w.append(id, sluice.TaskFinished{Host: "h0", Attempt: try(0, 1), Outcome: sluice.Failed, ExitCode: &code, DurationMS: 1500},
		sluice.TaskFinished{Host: "h1", Attempt: try(1, 1), Outcome: sluice.Succeeded, DurationMS: 700})
	middle, err := c.Board(t.Context(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	state := func(b api.Board, i int) string { return b.States[b.Hosts.State[i]] }
	if state(middle, 0) != "failed" || state(middle, 1) != "succeeded" || state(middle, 2) != "running" || state(middle, 20) != "waiting" || middle.Hosts.Since[20] != -1 {
		t.Errorf("%+v", middle.Hosts)
	}
	if odd := middle.Hosts.Odd; odd.Host[0] != 0 || odd.Exit[0] != 3 || odd.Step[0] != "pre/10 \"odd\"" || len(odd.Host) != 9 || odd.Exit[1] != -1 {
		t.Errorf("%+v", odd) // h0 and the eight of those that run of which a step has ended
	}
	if s := middle.Stages[0]; s.Opened == nil || s.Hosts != 40 || middle.Started == nil || middle.Job.Running != 18 || middle.Job.PlanDigest == "" {
		t.Errorf("%+v, %+v", s, middle.Job)
	}
	if line := middle.Timeline; line.Done[len(line.Done)-1] != 2 || slices.Max(line.InFlight) != 20 || line.Out[len(line.Out)-1] != 19 {
		t.Errorf("%+v", line)
	}
	for i, h := range hosts[2:20] {
		w.append(id, sluice.TaskStep{Host: h, Attempt: try(i+2, 1), Step: "command"}, sluice.TaskFinished{Host: h, Attempt: try(i+2, 1), Outcome: sluice.Succeeded, DurationMS: 9})
	}
	w.append(id, sluice.TaskStarted{Host: "h20", Attempt: try(20, 1)}, sluice.TaskFinished{Host: "h20", Attempt: try(20, 1), Outcome: sluice.TimedOut},
		sluice.JobHalted{Rule: sluice.RuleOperator, Reason: "enough", Generation: 1})
	if lines := w.short(&middle, token); lines != 18*2+1 {
		t.Errorf("%d came in short", lines)
	}
	later, err := c.Board(t.Context(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	middle.Hosts.Odd = later.Hosts.Odd // is not kept up here
	if got, want := fmt.Sprintf("%+v", middle.Hosts), fmt.Sprintf("%+v", later.Hosts); got != want {
		t.Errorf("the board with the events is\n%s\nthe later one\n%s", got, want)
	}
	if later.Ended == nil || later.Job.State != "halted" || later.Seq <= middle.Seq {
		t.Errorf("%+v", later.Job)
	}
}

// TestBoardHasRoom: the constraints are those of the schedule, with who holds them, and so is the line of a group.
func TestBoardHasRoom(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.token("vera", sluice.Grant{Role: access.Viewer}))
	id := w.submit("web1", "web2", "db1")
	a := sluice.NewAttemptID(id, 1, 1)
	w.append(id, sluice.JobStarted{}, sluice.StageOpened{Track: sluice.Unconstrained, Stage: sluice.Unconstrained}, sluice.TaskStarted{Host: "web2", Attempt: a})
	st, err := c.JobStanding(t.Context(), string(id))
	if err != nil || len(st.Constraints) != 1 {
		t.Fatalf("%+v, error %v", st, err)
	}
	if r := st.Constraints[0]; r.Group != "$web" || r.Capacity != 1 || r.Members != 2 || r.Out != 1 || r.Running != 1 || len(r.Holders) != 1 || r.Holders[0].Host != "web2" || r.Holders[0].Why != "running" {
		t.Errorf("%+v", r)
	}
	if len(st.Waits) != 2 || st.Waits[0].Rule != sluice.RuleConstraint || st.Waits[0].Holders[0].Host != "web2" {
		t.Errorf("%+v", st.Waits)
	}
	b, err := c.Board(t.Context(), string(id))
	if err != nil || !slices.Equal(b.Constraints[0].Targets, []int{0, 2}) || len(b.Tags) != 0 {
		t.Errorf("%+v, tags %v, error %v", b.Constraints, b.Tags, err)
	}
	for group, want := range map[string]int{"": 1, "$web": 1} {
		if line, err := c.Timeline(t.Context(), string(id), group); err != nil || slices.Max(line.InFlight) != want {
			t.Errorf("%q: %+v, error %v", group, line, err)
		}
	}
	if _, err := c.Timeline(t.Context(), string(id), "$colo"); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("a group that there is not: %v", err)
	}
}

// TestBoardTags: whoever may see the fleet can group by its tags; who may not is told none of them, by whatever way.
func TestBoardTags(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("ann", sluice.Grant{Role: access.Admin}))
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "1")), "", -1); err != nil {
		t.Fatal(err)
	}
	id := w.submit("web1", "web2")
	b, err := admin.Board(t.Context(), string(id))
	if err != nil || len(b.Tags) != 1 || b.Tags[0].Tag != "web" || !slices.Equal(b.Tags[0].Hosts, []int{0, 2}) {
		t.Errorf("%+v, error %v", b.Tags, err)
	}
	if _, err := admin.Timeline(t.Context(), string(id), "web"); err != nil {
		t.Error(err)
	}
	if err := w.keeper.Change(t.Context(), w.admin, sluice.RoleDefined{Role: "looks", May: []sluice.Right{sluice.SeeJobs}, By: "root"}); err != nil {
		t.Fatal(err)
	}
	c := w.client(w.token("jo", sluice.Grant{Role: "looks"}))
	before := len(w.refusals())
	if b, err = c.Board(t.Context(), string(id)); err != nil || len(b.Tags) != 0 {
		t.Errorf("%+v, error %v", b.Tags, err)
	}
	if len(w.refusals()) != before {
		t.Error("what was not asked for was refused")
	}
	if _, err := c.Timeline(t.Context(), string(id), "web"); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("the line of a tag: %v", err)
	}
}

// TestCompressed: what is large goes out compressed to those who take it, and means the same; nothing else does.
func TestCompressed(t *testing.T) {
	w := newWorld(t)
	id, _ := w.submitMany(300)
	token := w.token("root2", sluice.Grant{Role: access.Admin})
	get := func(method, path, accept string) (http.Header, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.server.URL+path, strings.NewReader(`{"principal":"root2"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept-Encoding", accept)
		resp, err := w.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header, body
	}
	board, events := "/api/v1/jobs/"+string(id)+"/board", "/api/v1/jobs/"+string(id)+"/events"
	w.still()
	header, packed := get("GET", board, "br, gzip;q=0.5")
	if header.Get("Content-Encoding") != "gzip" || header.Get("Vary") != "Accept-Encoding" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", header)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(z)
	plain, text := get("GET", board, "identity")
	if err != nil || !bytes.Equal(whole, text) || plain.Get("Content-Encoding") != "" || plain.Get("Vary") != "" {
		t.Errorf("%d and %d bytes, %v, error %v", len(whole), len(text), plain, err)
	}
	for _, c := range []struct{ method, path, accept string }{
		{"GET", board, "gzip;q=0"}, {"GET", board, "gzip; q=0.0, br"}, {"GET", board, ""},
		{"GET", "/api/v1/jobs/" + string(id), "gzip"}, // it is small
		{"GET", events, "gzip"},                       // it is a stream
		{"GET", "/api/v1/page.js", "gzip"},            // it is no JSON
		{"GET", "/api/v1/jobs/none/board", "gzip"},    // a problem
		{"POST", "/api/v1/access/tokens", "gzip"},     // it has a secret in it
		{"POST", "/api/v1/plan", "gzip"},
	} {
		if h, _ := get(c.method, c.path, c.accept); h.Get("Content-Encoding") != "" {
			t.Errorf("%s %s with %q came as %s", c.method, c.path, c.accept, h.Get("Content-Encoding"))
		}
	}
}
