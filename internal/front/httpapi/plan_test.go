package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
	"sluice/internal/core/access"
	"sluice/internal/run/control"
)

// TestPlan: it says what the submission would do, and does nothing.
func TestPlan(t *testing.T) {
	w := newWorld(t)
	admin := w.client(w.token("root2", sluice.Grant{Role: access.Admin}))
	applied, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "1")), "", -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.ChangeHosts(t.Context(), "prod", control.Retire, []sluice.Host{"web2"}, "gone"); err != nil {
		t.Fatal(err)
	}
	viewer := w.client(w.token("vera", sluice.Grant{Role: access.Viewer, Namespace: "prod"}))
	s := api.Submit{Namespace: "prod", Targets: "all", FleetDigest: applied.Digest}
	p, err := viewer.Plan(t.Context(), s)
	if err != nil || !slices.Equal(p.Targets, []sluice.Host{"web1", "db1"}) || !slices.Equal(p.Retired, []sluice.Host{"web2"}) ||
		len(p.Tracks) != 1 || len(p.Constraints) != 1 || p.Constraints[0].Members != 1 {
		t.Errorf("%+v, error %v", p, err)
	}
	if jobs, err := w.service.Jobs(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs, error %v", len(jobs), err)
	}
	// What was planned on another fleet is not done, unless it was done before the fleet changed.
	s.ID, s.Command = "abcdefgh0123", "true"
	if _, err := admin.Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ApplyFleet(t.Context(), "prod", bundle(t, fmt.Sprintf(fleetText, "2")), "", -1); err != nil {
		t.Fatal(err)
	}
	if j, err := admin.Submit(t.Context(), s); err != nil || j.ID != s.ID {
		t.Errorf("the same once more: %+v, error %v", j, err)
	}
	s.ID = "abcdefgh0124"
	if _, err := admin.Submit(t.Context(), s); sluice.CodeOf(err) != sluice.Conflict || !strings.Contains(err.Error(), "changed") {
		t.Errorf("planned on the old one: %v", err)
	}
}

// TestWhatAJobSends: scripts and trees must be there, and what people read of a job is what it does.
func TestWhatAJobSends(t *testing.T) {
	w := newWorld(t)
	c := w.client(w.token("olga", sluice.Grant{Role: access.Operator, Namespace: "prod"}))
	content := "#!/bin/sh\n" + strings.Repeat("x", 2<<20) // more than a request may have otherwise
	sum := sha256.Sum256([]byte(content))
	if _, err := c.Kept(t.Context(), "sha256:"+hex.EncodeToString(sum[:])); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("what nobody put is kept: %v", err)
	}
	blob, err := c.Put(t.Context(), strings.NewReader(content))
	if err != nil || blob.Digest != "sha256:"+hex.EncodeToString(sum[:]) || blob.Size != int64(len(content)) {
		t.Fatalf("%+v, error %v", blob, err)
	}
	if again, err := c.Kept(t.Context(), blob.Digest); err != nil || again != blob {
		t.Errorf("what is kept: %+v, error %v", again, err)
	}
	none := "sha256:" + strings.Repeat("0", 64)
	for _, try := range []struct {
		name string
		s    api.Submit
		says string // the command, or the error
	}{
		{"a script", api.Submit{Script: &api.Script{Digest: blob.Digest, Name: "fix it.sh", Args: []string{"--dry"}}}, "'fix it.sh' --dry"},
		{"a copy", api.Submit{Copy: &api.Copy{Digest: blob.Digest, Name: "app.conf", Dest: "/etc/app.conf"}}, "copy app.conf /etc/app.conf"},
		{"a fetch", api.Submit{Fetch: "/etc/app.conf"}, "fetch /etc/app.conf"},
		{"arguments", api.Submit{Argv: []string{"echo", "a b"}}, "echo 'a b'"},
		{"a script that is not there", api.Submit{Script: &api.Script{Digest: none, Name: "x"}}, "is kept"},
		{"a digest that is none", api.Submit{Script: &api.Script{Digest: "../x", Name: "x"}}, "is no digest"},
		{"a copy to nowhere", api.Submit{Copy: &api.Copy{Digest: blob.Digest, Name: "x", Dest: "etc"}}, "copy.dest"},
		{"a relative fetch", api.Submit{Fetch: "etc"}, "fetch:"},
		{"two things", api.Submit{Fetch: "/etc", Command: "true"}, "one of them"},
		{"relative hooks", api.Submit{Command: "true", Options: api.Options{Hooks: "hooks"}}, "options.hooks"},
		{"a bad prompt", api.Submit{Command: "true", Options: api.Options{Prompts: []string{"("}}}, "options.prompts"},
	} {
		t.Run(try.name, func(t *testing.T) {
			try.s.Namespace, try.s.Targets = "prod", "web1"
			j, err := c.Submit(t.Context(), try.s)
			if err == nil && j.Command != try.says || err != nil && !strings.Contains(err.Error(), try.says) {
				t.Errorf("%q, error %v; want %q", j.Command, err, try.says)
			}
		})
	}
	if _, err := w.client(w.token("vera", sluice.Grant{Role: access.Viewer})).Put(t.Context(), strings.NewReader("x")); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a viewer puts something into the store: %v", err)
	}
	if _, err := w.client(w.token("vic", sluice.Grant{Role: access.Viewer})).Kept(t.Context(), blob.Digest); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("a viewer learns what is in the store: %v", err)
	}
	mine := errors.New("cannot read my own file")
	if _, err := c.Put(t.Context(), io.MultiReader(strings.NewReader("some"), broken{mine})); !errors.Is(err, mine) {
		t.Errorf("a source that breaks: %v", err)
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// TestSettle: hosts are asked for outcomes that are not known, and nothing is started.
func TestSettle(t *testing.T) {
	w := newWorld(t)
	job := w.submit("web1", "web2")
	a := sluice.NewAttemptID(job, 0, 1)
	w.append(job, sluice.JobStarted{}, sluice.TaskStarted{Host: "web1", Attempt: a}, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Unknown})
	driven := 0
	w.service.Drive = func(_ context.Context, _ sluice.Namespace, id sluice.JobID, o control.DriveOptions) (sluice.Event, error) {
		driven++
		if id != job || !o.OnlySettle {
			t.Errorf("drives %s, %+v", id, o)
		}
		w.append(job, sluice.TaskFinished{Host: "web1", Attempt: a, Outcome: sluice.Succeeded})
		return sluice.Event{}, nil
	}
	j, err := w.client(w.token("olga", sluice.Grant{Role: access.Operator})).Settle(t.Context(), job)
	if err != nil || driven != 1 || j.Counts[sluice.Succeeded] != 1 || j.Counts[sluice.Unknown] != 0 {
		t.Errorf("%+v after %d drives, error %v", j, driven, err)
	}
}

// TestWaits: what many hosts wait for is said once.
func TestWaits(t *testing.T) {
	w := newWorld(t)
	if _, err := w.service.ChangeHosts(t.Context(), "prod", control.Hold, []sluice.Host{"web1", "db1"}, "repair"); err != nil {
		t.Fatal(err)
	}
	job := w.submit("web1", "db1")
	waits, err := w.client(w.token("vera", sluice.Grant{Role: access.Viewer})).Waits(t.Context(), string(job))
	n := 0
	for _, x := range waits {
		n += x.Hosts
	}
	if err != nil || n != 2 || waits[0].Rule == "" || waits[0].Text == "" {
		t.Errorf("%+v, error %v", waits, err)
	}
}
