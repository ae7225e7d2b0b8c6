package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sluice"
	"sluice/api"
)

const spelledScript = "#!/bin/sh\n"

// TestSpelled: the command line that is shown for a request, typed into a shell, makes the same job, and so does the call.
func TestSpelled(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: there is no curl")
	}
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data"), noWorker: true}
	s.start()
	s.apply("tag:\n  web: [\"web[1-4]\"]\nconstraint:\n  $web: 2\n")
	blob, err := s.client.Put(t.Context(), strings.NewReader(spelledScript))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]api.Submit{
		"a command":   {Targets: "$web & !web1", Command: "echo 'it''s' \"$HOME\" `id` \\\n  | tee -a /tmp/x # \u00e4"},
		"words":       {Targets: "web[1-2]", Argv: []string{"echo", "a b", "it's", "--x", ""}},
		"one word":    {Targets: "web1", Argv: []string{"/opt/my app"}},
		"a script":    {Targets: "all", Script: &api.Script{Digest: blob.Digest, Name: "it's a script.sh", Args: []string{"--x", "y z"}}},
		"bare script": {Targets: "all", Script: &api.Script{Digest: blob.Digest, Name: "-x"}},
		"options": {Targets: "all", Command: "true", User: "deploy", Options: api.Options{MaxFailures: "5%", MaxParallel: "2", Concurrency: 3, ReadOnly: true,
			Timeout: "1m30s", JobTimeout: "2h", Reconnect: "1m", Sudo: "app", Env: map[string]string{"A": "b c", "B": "=$x"}, NoHooks: true,
			Hooks: "/srv/hooks", TTY: true, Prompts: []string{"pass word: *", "-x"}}},
		"root": {Targets: "all", Command: "-x", Options: api.Options{Sudo: "root"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := s.client.Plan(t.Context(), want)
			if err != nil || p.CommandLine == "" || p.Curl == "" {
				t.Fatalf("%q and %q, error %v", p.CommandLine, p.Curl, err)
			}
			j, err := s.client.Submit(t.Context(), want)
			first := s.asked(j.ID, err)
			var scripts []string
			if want.Script != nil {
				scripts = []string{want.Script.Name}
			}
			if typed := s.asked(s.typed(p.CommandLine, scripts...), nil); !reflect.DeepEqual(first, typed) {
				t.Errorf("%s\nmakes\n%+v, not\n%+v", p.CommandLine, typed, first)
			}
			if called := s.asked(s.called(p.Curl), nil); !reflect.DeepEqual(first, called) {
				t.Errorf("%s\nmakes\n%+v, not\n%+v", p.Curl, called, first)
			}
		})
	}
}

// typed has a shell run a command line, in a directory where its script is. It prints the job's id.
func (s *served) typed(line string, scripts ...string) sluice.JobID {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, name := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(spelledScript), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return sluice.JobID(strings.TrimSpace(s.shell(dir, strings.Replace(line, "sluice run", "sluice run --detach --yes", 1))))
}

// called has a shell run a call of the API.
func (s *served) called(call string) sluice.JobID {
	s.t.Helper()
	var j api.Job
	if err := json.Unmarshal([]byte(s.shell(s.t.TempDir(), call)), &j); err != nil {
		s.t.Fatal(err)
	}
	return j.ID
}

func (s *served) shell(dir, line string) string {
	s.t.Helper()
	c := exec.CommandContext(s.t.Context(), "sh", "-c", line)
	c.Dir = dir
	c.Env = []string{"PATH=" + filepath.Dir(program(s.t)) + ":" + os.Getenv("PATH"), "HOME=" + dir, "SLUICE_SERVER=http://" + s.address, "SLUICE_TOKEN=" + s.token}
	var complaint bytes.Buffer
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		s.t.Fatalf("%v: %s%s", err, line, complaint.String())
	}
	return string(out)
}

func (s *served) asked(id sluice.JobID, err error) api.Asked {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := s.client.Asked(s.t.Context(), string(id))
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}
