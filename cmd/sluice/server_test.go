package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/internal/lab/testfleet"
	"sluice/sealed"
)

// here are the stories that can be true only without a server, and why.
var here = map[string]string{
	"audit":   "it begins with a journal of which nothing is there, and reads a file of it",
	"backup":  "it is about data of which no server is in the way, and locks take their time",
	"contact": "the journal of this machine is what there is no contact to",
	"crash":   "whoever runs a job there does not drive it",
	"places":  "it is about where things are on this machine",
	"sudo":    "its sudo is found by the PATH of the command line",
}

// TestStoriesByServer: with a server, the same command lines have the same output, events and exit status as without one.
func TestStoriesByServer(t *testing.T) {
	files, err := filepath.Glob("../../testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	fleet := testfleet.StartPlain(t, 6)
	p := stories(func(env *testscript.Env) error {
		if err := furnish(env, fleet); err != nil {
			return err
		}
		return serve(env)
	})
	p.Condition = condition(true)
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".txtar"); here[name] == "" {
			p.Files = append(p.Files, f)
		}
	}
	testscript.Run(t, p)
}

// TestServerStories are about a server itself, which they start, kill and ask.
func TestServerStories(t *testing.T) {
	fleet := testfleet.StartPlain(t, 4)
	p := stories(func(env *testscript.Env) error { return furnish(env, fleet) })
	p.Dir = "../../testdata/server"
	testscript.Run(t, p)
}

var takesJobs = regexp.MustCompile(`takes jobs on (\S+)`)

// serve starts a server for a story, on the journal that the story's own checks read.
func serve(env *testscript.Env) error {
	program, err := exec.LookPath("sluice") // testscript's, which is this test
	if err != nil {
		return err
	}
	home := env.Getenv("HOME")
	token := filepath.Join(home, "admin.token")
	one := &process{ended: make(chan struct{})}
	one.cmd = exec.Command(program, "server", "--data", env.Getenv("STATE"), "--listen", "127.0.0.1:0", "--admin-token-file", token, "--local-targets")
	one.cmd.Env = append(slices.Clone(env.Vars), "HOME="+home)
	if one.out, err = os.Create(filepath.Join(home, "server.out")); err != nil {
		return err
	}
	if one.err, err = os.Create(filepath.Join(home, "server.err")); err != nil {
		return err
	}
	one.cmd.Stdout, one.cmd.Stderr = one.out, one.err
	if err := one.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(one.ended)
		one.result = one.cmd.Wait()
		_, _ = one.out.Close(), one.err.Close()
	}()
	all := env.Values[processesKey{}].(*processes)
	all.named["server"] = one
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		text, err := os.ReadFile(one.err.Name())
		if err != nil {
			return err
		}
		if m := takesJobs.FindSubmatch(text); m != nil {
			env.Setenv("SLUICE_SERVER", string(m[1]))
			break
		}
		select {
		case <-look.C:
		case <-one.ended:
			return fmt.Errorf("the server ended: %s", text)
		case <-late:
			return fmt.Errorf("the server does not start: %s", text)
		}
	}
	secret, err := os.ReadFile(token)
	if err != nil {
		return err
	}
	env.Setenv("SLUICE_TOKEN", strings.TrimSpace(string(secret)))
	return knowWorker(env)
}

// knowWorker lets secrets go to the worker of a story's server without a question. How it becomes known is another story.
func knowWorker(env *testscript.Env) error {
	text, err := os.ReadFile(filepath.Join(env.Getenv("STATE"), "worker.key"))
	if err != nil {
		return err
	}
	key, err := sealed.ParseWorkerKey(text)
	if err != nil {
		return err
	}
	dir := filepath.Join(env.Getenv("HOME"), ".config", "sluice")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	server := strings.TrimPrefix(env.Getenv("SLUICE_SERVER"), "http://")
	return os.WriteFile(filepath.Join(dir, "known_workers"), sealed.Known{{Name: server + "/embedded", Key: key.Public()}}.Text(), 0o600)
}
