package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/internal/lab/testfleet"
)

// TestHostStories are about what takes hosts of their own, with supervisor, HAProxy and nginx: they have those of "make hosts".
func TestHostStories(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it deploys on a fleet")
	}
	fleet := testfleet.Start(t, testfleet.Config{Hosts: 4, Names: []string{"web1", "web2", "web3", "lb1"},
		Host: testfleet.HostConfig{Files: map[string]string{"/var/log/supervisor/.keep": "", "/var/log/nginx/.keep": "", "/var/lib/nginx/.keep": ""}}})
	for _, need := range []string{"supervisord", "haproxy", "nginx"} {
		if _, err := fleet.Hosts[0].Exec(t.Context(), "command -v "+need); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("there is no %s; .ci/install-test-deps installs it", need)
			}
			t.Skipf("skipped: there is no %s here", need)
		}
	}
	p := stories(func(env *testscript.Env) error {
		if err := furnish(env, fleet); err != nil {
			return err
		}
		return among(env, fleet)
	})
	p.Dir = "../../testdata/hosts"
	testscript.Run(t, p)
}

// among has a story's program run in the network of the hosts, and gives the story the examples.
func among(env *testscript.Env, fleet *testfleet.Fleet) error {
	if err := os.CopyFS(filepath.Join(env.WorkDir, "examples"), os.DirFS("../../examples")); err != nil {
		return err
	}
	program, err := exec.LookPath("sluice") // testscript's, which is this test
	if err != nil {
		return err
	}
	bin := filepath.Join(env.WorkDir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return err
	}
	text := "#!/bin/sh\nexec " + strings.Join(fleet.Command(env.T().(testing.TB).Context(), program).Args, " ") + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "sluice"), []byte(text), 0o700); err != nil {
		return err
	}
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	return nil
}
