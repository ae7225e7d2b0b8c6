package remote_test

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/client"
	"sluice/internal/core/access"
	"sluice/internal/front/httpapi"
	"sluice/internal/front/remote"
	"sluice/internal/lab/fake"
	"sluice/internal/run/control"
	"sluice/internal/run/live"
	"sluice/internal/run/rights"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// pair is a journal, and the way to it through a server.
type pair struct {
	t      *testing.T
	here   *control.Service
	keeper *rights.Keeper
	admin  access.Bearer
	server *httptest.Server
}

func newPair(t *testing.T) *pair {
	log := fake.NewLog()
	p := &pair{t: t, here: &control.Service{Log: log, Drivers: fake.NewDrivers(), Outputs: fake.NewOutputs(), Blobs: fake.NewBlobs(), Clock: clock, By: "ann"}}
	var err error
	if p.keeper, err = rights.New(t.Context(), log, clock); err != nil {
		t.Fatal(err)
	}
	secret, err := p.keeper.First(t.Context(), "root", "")
	if err != nil {
		t.Fatal(err)
	}
	if p.admin, err = p.keeper.Login(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	var hub live.Hub
	p.server = httptest.NewServer(httpapi.New(httpapi.Config{
		Desk: func(who sluice.Principal) *control.Service { return p.here.As(string(who)) }, Lists: p.here, Boards: p.here, Rights: p.keeper, Clock: clock, Submitted: func() {},
		Printed: func(id sluice.JobID) httpapi.Printed { return hub.Watch(id) },
		Fetched: func(_ context.Context, w io.Writer, _ *sluice.Job, h sluice.Host) error {
			_, err := io.WriteString(w, "of "+string(h))
			return err
		},
		Trouble: func(text string) { t.Errorf("trouble: %s", text) }, Ready: func(context.Context) error { return nil },
		Members: func(context.Context, sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
			return func(sluice.Tag) []sluice.Host { return nil }, nil
		}}))
	t.Cleanup(p.server.Close)
	return p
}

// desk is the way of somebody who has some rights.
func (p *pair) desk(name sluice.Principal, unpack func(io.Reader, string, sluice.Host, string) error, may ...sluice.Right) *remote.Desk {
	p.t.Helper()
	for _, b := range []sluice.Body{sluice.PrincipalAdded{Principal: name, By: "root"}, sluice.RoleDefined{Role: sluice.Role(name), May: may, By: "root"},
		sluice.GrantGiven{Grant: sluice.Grant{Principal: name, Role: sluice.Role(name)}, By: "root"}} {
		if err := p.keeper.Change(p.t.Context(), p.admin, b); err != nil {
			p.t.Fatal(err)
		}
	}
	secret, _, err := p.keeper.MakeToken(p.t.Context(), p.admin, sluice.Token{Principal: name})
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := client.New(p.server.URL, secret, p.server.Client())
	if err != nil {
		p.t.Fatal(err)
	}
	return remote.New(remote.Config{Client: c, Who: "ann@laptop", Unpack: unpack})
}

func (p *pair) append(job sluice.JobID, bodies ...sluice.Body) {
	p.t.Helper()
	_, err := p.here.Log.Update(p.t.Context(), "prod", 0, func([]sluice.Event) (out []sluice.Event, err error) {
		for _, b := range bodies {
			out = append(out, sluice.Event{Time: clock(), Job: job, Body: b})
		}
		return out, nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

var hosts = []sluice.Host{"web1", "web2", "web3", "web4"}

func request() control.Request {
	f := &sluice.Fleet{Namespace: "prod", Hosts: hosts, Tags: map[sluice.Tag][]sluice.Host{}}
	return control.Request{Fleet: f, Targets: hosts, Expression: "web[1-4]", Command: "true", Action: sluice.Action{Kind: sluice.RunCommand, Shell: "true"},
		Options: sluice.Options{Concurrency: 7, Reconnect: time.Minute, Timeout: time.Hour, OutputLimit: 1 << 20, TTY: true, Prompts: []string{"Sure"},
			Sudo: "root", Env: map[string]string{"A": "b"}, NoHooks: true}}
}

// TestSameAnswers: what is asked at the desk of a server is answered as by the journal itself.
func TestSameAnswers(t *testing.T) {
	p := newPair(t)
	there := p.desk("ann", nil, sluice.Rights()...)
	if _, err := p.here.ChangeHosts(t.Context(), "prod", control.Hold, []sluice.Host{"web3"}, "repair"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.here.ChangeHosts(t.Context(), "prod", control.Retire, []sluice.Host{"web4"}, "gone"); err != nil {
		t.Fatal(err)
	}
	// What is planned there is what is planned here, and what is submitted is what was planned.
	mine, err := p.here.Prepare(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	draft, err := there.Prepare(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(draft.Plan, mine.Plan) || !slices.Equal(draft.Retired, mine.Retired) || !slices.Equal(draft.Clears, mine.Clears) || len(draft.Retired) != 1 {
		t.Errorf("planned there: %+v, and here: %+v", draft, mine)
	}
	if _, err := there.Submit(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	id := draft.Job.ID
	job, _, err := p.here.Job(t.Context(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	if spec, want := *job.Spec, mine.Job; !reflect.DeepEqual(spec.Options, want.Options) || spec.By != "ann" || spec.Command != want.Command ||
		!reflect.DeepEqual(spec.Action, want.Action) || !slices.Equal(spec.Targets, want.Targets) || spec.Expression != want.Expression {
		t.Errorf("submitted %+v, want %+v", spec, want)
	}
	a := sluice.NewAttemptID(id, 0, 1)
	p.append(id, sluice.JobStarted{}, sluice.StageOpened{Track: sluice.Unconstrained, Stage: sluice.Unconstrained}, sluice.TaskStarted{Host: "web1", Attempt: a, Track: sluice.Unconstrained, Stage: sluice.Unconstrained},
		sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Failed})
	if err := p.here.Outputs.Write(id, a, "stderr", 0, []byte("no")); err != nil {
		t.Fatal(err)
	}
	if _, err := there.Halt(t.Context(), id, "enough"); err != nil {
		t.Fatal(err)
	}
	for what, ask := range map[string]func(control.Desk) (any, error){
		"jobs": func(d control.Desk) (any, error) {
			jobs, err := d.Jobs(t.Context())
			for i := range jobs {
				s := jobs[i].Spec
				jobs[i].Spec = &sluice.Job{ID: s.ID, Namespace: s.Namespace, By: s.By, Command: s.Command, Targets: make([]sluice.Host, len(s.Targets))}
				jobs[i].Started, jobs[i].Kill = false, false // which no list shows
			}
			return jobs, err
		},
		"job":    func(d control.Desk) (any, error) { j, _, err := d.Job(t.Context(), string(id[:4])); return j, err },
		"newest": func(d control.Desk) (any, error) { _, id, err := d.Find(t.Context(), ""); return id, err },
		"why":    func(d control.Desk) (any, error) { return d.Why(t.Context(), string(id), "") },
		"events": func(d control.Desk) (any, error) { return d.Events(t.Context(), id) },
		"out":    func(d control.Desk) (any, error) { return d.Out(t.Context(), "prod") },
		"fleets": func(d control.Desk) (any, error) { l, err := d.Fleets(t.Context(), "prod"); return len(l), err },
		"output": func(d control.Desk) (any, error) {
			r, err := d.OpenOutput(t.Context(), id, a, "stderr")
			if err != nil {
				return nil, err
			}
			defer r.Close()
			b, err := io.ReadAll(r)
			return string(b), err
		},
		"no job": func(d control.Desk) (any, error) {
			_, _, err := d.Find(t.Context(), "zzzz")
			return sluice.CodeOf(err), nil
		},
		"again": func(d control.Desk) (any, error) {
			_, err := d.Halt(t.Context(), id, "")
			return sluice.CodeOf(err), nil
		},
	} {
		want, err := ask(p.here)
		if err != nil {
			t.Fatalf("%s here: %v", what, err)
		}
		if got, err := ask(there); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n there %+v, error %v\n here  %+v", what, got, err, want)
		}
	}
}

// TestWithoutTheRightToOutput: whoever may not read what hosts print follows the job all the same, and is told.
func TestWithoutTheRightToOutput(t *testing.T) {
	p := newPair(t)
	there := p.desk("lou", nil, sluice.SeeJobs, sluice.SubmitJob)
	draft, err := there.Prepare(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Submit(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	if _, err := p.here.Halt(t.Context(), draft.Job.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	var seen, notices []string
	last, err := there.Carry(t.Context(), draft.Job.ID, control.DriveOptions{Observe: func(e sluice.Event) { seen = append(seen, e.Body.Type()) },
		Notice: func(text string) { notices = append(notices, text) }})
	if _, halted := last.Body.(sluice.JobHalted); err != nil || !halted || strings.Join(seen, " ") != "job.submitted job.halting job.halted" {
		t.Errorf("saw %v, error %v", seen, err)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], "not shown") {
		t.Errorf("told %q", notices)
	}
}

// TestFetched: what was fetched is brought here, before the end of the job is told; what cannot be brought is an error.
func TestFetched(t *testing.T) {
	p := newPair(t)
	got := make(chan string, 10)
	refused := false
	there := p.desk("ann", func(r io.Reader, dir string, h sluice.Host, source string) error {
		b, err := io.ReadAll(r)
		got <- strings.Join([]string{dir, string(h), source, string(b)}, " ")
		if refused {
			return io.ErrShortWrite
		}
		return err
	}, sluice.Rights()...)
	r := request()
	r.Options = sluice.Options{ReadOnly: true}
	r.Action = sluice.Action{Kind: sluice.FetchFrom, Source: "/etc/motd"}
	draft, err := there.Prepare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Submit(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	id := draft.Job.ID
	for i, o := range []sluice.Outcome{sluice.Succeeded, sluice.Failed} {
		a := sluice.NewAttemptID(id, i, 1)
		p.append(id, sluice.TaskStarted{Host: hosts[i], Attempt: a}, sluice.TaskFinished{Host: hosts[i], Attempt: a, Outcome: o})
	}
	p.append(id, sluice.JobFinished{Outcome: sluice.Failed})
	o := control.DriveOptions{FetchDir: "dir", NoOutput: true, Observe: func(e sluice.Event) {
		if _, end := e.Body.(sluice.JobFinished); end && len(got) != 1 {
			t.Errorf("at the end %d hosts are here", len(got))
		}
	}}
	if _, err := there.Carry(t.Context(), id, o); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != "dir web1 /etc/motd of web1" {
		t.Errorf("brought %q", text)
	}
	refused, o.Observe = true, nil
	if _, err := there.Carry(t.Context(), id, o); sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "1 host") {
		t.Errorf("error %v", err)
	}
}

// TestWhatCameIsNotAskedFor: whoever wants all output at the end of a job has it sent along, and asks for nothing then but
// for what did not come whole.
func TestWhatCameIsNotAskedFor(t *testing.T) {
	p := newPair(t)
	there := p.desk("ann", nil, sluice.Rights()...)
	draft, err := there.Prepare(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Submit(t.Context(), draft); err != nil {
		t.Fatal(err)
	}
	id := draft.Job.ID
	a := func(i int) sluice.AttemptID { return sluice.NewAttemptID(id, i, 1) }
	for i, o := range []sluice.TaskFinished{{Outcome: sluice.Succeeded}, {Outcome: sluice.Succeeded, Truncated: []string{"stdout"}}, {Outcome: sluice.Unknown}} {
		o.Host, o.Attempt = hosts[i], a(i)
		if err := p.here.Outputs.Write(id, o.Attempt, "stdout", 0, []byte("by "+string(o.Host))); err != nil {
			t.Fatal(err)
		}
		p.append(id, sluice.TaskStarted{Host: hosts[i], Attempt: o.Attempt}, o)
	}
	p.append(id, sluice.JobHalted{Reason: "enough", Rule: sluice.RuleOperator})
	carry := func(d *remote.Desk) {
		t.Helper()
		_, err := d.Carry(t.Context(), id, control.DriveOptions{NoOutput: true, KeepOutput: true, Observe: func(e sluice.Event) {
			if _, is := e.Body.(sluice.TaskOutput); is {
				t.Error("output is shown to somebody who can do without")
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	carry(there)
	late := p.desk("bob", nil, sluice.Rights()...)
	outputs := p.here.Outputs.(*fake.Outputs)
	outputs.Faults.Set(fake.OutputRead, func(context.Context) error { return errors.New("broken") })
	carry(late) // nothing could be sent to its end
	outputs.Faults.Set(fake.OutputRead, nil)
	p.server.CloseClientConnections()
	read := func(d *remote.Desk, i int, stream string) (string, error) {
		r, err := d.OpenOutput(t.Context(), id, a(i), stream)
		if err != nil {
			return "", err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		return string(text), err
	}
	if text, err := read(late, 0, "stdout"); err != nil || text != "by web1" {
		t.Errorf("what did not come is %q, error %v", text, err)
	}
	p.server.Close()
	for stream, want := range map[string]string{"stdout": "by web1", "stderr": ""} {
		if text, err := read(there, 0, stream); err != nil || text != want {
			t.Errorf("%s: %q, error %v", stream, text, err)
		}
	}
	for i := 1; i < 3; i++ { // cut off, or more may come
		if text, err := read(there, i, "stdout"); err == nil {
			t.Errorf("%s: %q, and nobody was asked", hosts[i], text)
		}
	}
}
