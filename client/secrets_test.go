package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/sealed"
)

// liar is a server that says what it likes about a job, and keeps what it is sent.
type liar struct {
	says api.Sealing
	sent []api.Submit
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/v1/sealing":
		_ = json.NewEncoder(w).Encode(l.says)
	case "/api/v1/jobs":
		var s api.Submit
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.sent = append(l.sent, s)
		_ = json.NewEncoder(w).Encode(api.Job{ID: s.ID})
	default:
		http.NotFound(w, r)
	}
}

// TestALyingServerGetsNothing: nothing is sealed, and so nothing sent, for a job that is another than was asked for, or to a
// worker that is not trusted.
func TestALyingServerGetsNothing(t *testing.T) {
	worker, err := sealed.NewWorkerKey()
	signer, err2 := sealed.NewSigner()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	asked := api.Submit{ID: "0123456789ab", Targets: "$web", Command: "uptime", User: "ops", Options: api.Options{Sudo: "root", AskPassword: true, Env: map[string]string{"A": "b"}}}
	honest := func() sluice.Job {
		return sluice.Job{ID: asked.ID, Namespace: "default", By: "ann", Expression: "$web", Command: "uptime",
			Action:  sluice.Action{Kind: sluice.RunCommand, Shell: "uptime"},
			Options: sluice.Options{Sudo: "root", AskPassword: true, Env: map[string]string{"A": "b"}},
			Targets: []sluice.Host{"web1"}, SSH: sluice.SSH{User: "ops"}}
	}
	planned := honest()
	planned.By = "somebody"
	notTrusted := sluice.Errorf(sluice.Denied, "not this one")
	for _, c := range []struct {
		name, says string
		lie        func(*sluice.Job)
		workers    []api.WorkerKey
		trust      error
	}{
		{name: "the truth"},
		{name: "another command", says: "command", lie: func(j *sluice.Job) { j.Action.Shell = "rm -rf /" }},
		{name: "another command, of which people see the right one", says: "command", lie: func(j *sluice.Job) { j.Action.Shell = "rm"; j.Command = "uptime" }},
		{name: "a script", says: "command", lie: func(j *sluice.Job) { j.Action.Kind = sluice.RunScript }},
		{name: "another id", says: "id", lie: func(j *sluice.Job) { j.ID = "zzzzzzzzzzzz" }},
		{name: "another user", says: "user", lie: func(j *sluice.Job) { j.SSH.User = "eve" }},
		{name: "another user on one host", says: "user", lie: func(j *sluice.Job) { j.HostSSH = map[sluice.Host]sluice.SSH{"web1": {User: "eve"}} }},
		{name: "another sudo", says: "way to run", lie: func(j *sluice.Job) { j.Options.Sudo = "eve" }},
		{name: "prompts to be answered", says: "way to run", lie: func(j *sluice.Job) { j.Options.Prompts = []string{".*"} }},
		{name: "another environment", says: "environment", lie: func(j *sluice.Job) { j.Options.Env["LD_PRELOAD"] = "x" }},
		{name: "other secrets", says: "list of secrets", lie: func(j *sluice.Job) { j.Options.AskPassphrase = true }},
		{name: "no hosts", says: "hosts", lie: func(j *sluice.Job) { j.Targets = nil }},
		{name: "other hosts by another expression", says: "expression", lie: func(j *sluice.Job) { j.Expression = "all" }},
		{name: "a worker that is not trusted", says: "not this one", trust: notTrusted},
		{name: "a key that is none", says: "is none", workers: []api.WorkerKey{{Name: "w", Key: "AAAA"}}},
		{name: "no workers", says: "no worker", workers: []api.WorkerKey{}},
	} {
		j := honest()
		if c.lie != nil {
			c.lie(&j)
		}
		l := &liar{says: api.Sealing{By: "ann", Workers: c.workers,
			Job: sluice.Event{Seq: 1, Time: time.Now().UTC(), Job: j.ID, Body: sluice.JobSubmitted{Submitted: j}}}}
		if c.workers == nil {
			l.says.Workers = []api.WorkerKey{api.NewWorkerKey("w1", worker.Public())}
		}
		server := httptest.NewServer(l)
		cl, err := client.New(server.URL, "token", server.Client())
		if err != nil {
			t.Fatal(err)
		}
		s := &client.Sealer{Signer: signer, Trust: func(context.Context, sealed.Known) error { return c.trust }}
		_, err = cl.SubmitSealed(t.Context(), asked, sealed.Content{Password: sluice.NewSecret([]byte("hunter2"))}, s)
		server.Close()
		switch {
		case c.says == "" && (err != nil || len(l.sent) != 1):
			t.Errorf("%s: %d sent, error %v", c.name, len(l.sent), err)
		case c.says == "":
			if _, err := sealed.Open(l.sent[0].Secrets, worker, &j, time.Now(), func(string, sealed.Key) error { return nil }); err != nil {
				t.Errorf("%s: what was sent does not open: %v", c.name, err)
			}
		case err == nil || !strings.Contains(err.Error(), c.says) || len(l.sent) > 0:
			t.Errorf("%s: %d sent, error %v", c.name, len(l.sent), err)
		}
		if exact := client.Exactly(&planned)(&j); (c.lie == nil) != (exact == nil) {
			t.Errorf("%s, held against what was planned: %v", c.name, exact)
		}
	}
}
