// Hosts to try something on: isolated ones on this machine, with an OpenSSH and a name each, and a shell that reaches them. It
// needs root, for namespaces of their own. All of it is gone when the shell ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"sluice/internal/lab/testfleet"
)

const usage = "usage: hosts NAME... [-- PROGRAM ARGUMENT...]"

func main() {
	err := hosts(os.Args[1:])
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		os.Exit(max(ended.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, "hosts:", err)
		os.Exit(1)
	}
}

func hosts(args []string) (err error) {
	names, program := args, []string{"bash", "-i"}
	for i, a := range args {
		if a == "--" {
			names, program = args[:i], args[i+1:]
			break
		}
	}
	if len(names) == 0 || len(program) == 0 {
		return errors.New(usage)
	}
	// An interrupt ends the making. Later the terminal sends it to the shell, too, and it is meant for what runs there: it is caught here
	// until the end, and not ignored, as the shell would inherit that.
	making, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	f, err := testfleet.New(making, testfleet.Config{Hosts: len(names), Names: names, Host: testfleet.HostConfig{
		Files: map[string]string{"/var/log/supervisor/.keep": ""}, // logs begin empty, and Debian's package makes it when it is installed
	}})
	if err != nil {
		return interrupted(making, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	cmd, err := prepare(making, f, program)
	if err := interrupted(making, err); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "These hosts are there: %s. Their end is that of this shell.\n", strings.Join(names, ", "))
	return cmd.Run()
}

// interrupted is the error of what was done, or that it was interrupted, which says more than what became of it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// prepare builds sluice, and returns what is run for the user, with it and with the hosts.
func prepare(ctx context.Context, f *testfleet.Fleet, program []string) (*exec.Cmd, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	sluice := filepath.Join(f.Home, "bin", "sluice")
	build := exec.CommandContext(ctx, "go", "build", "-o", sluice, "sluice/cmd/sluice")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building the program (this runs from a checkout): %w", err)
	}
	known, err := table(f)
	if err != nil {
		return nil, err
	}
	// It ends by itself, and what it leaves behind ends with the fleet.
	cmd := f.Command(context.Background(), "unshare", append([]string{"--mount", "sh", "-c", enter, known}, program...)...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(sluice)+":"+os.Getenv("PATH"), "TERM="+os.Getenv("TERM"))
	return cmd, nil
}

// enter has the names of the hosts known to what runs in the shell, and to nobody else.
const enter = `mount --bind "$0" /etc/hosts && exec "$@"`

// table is the path of a file in the form of /etc/hosts.
func table(f *testfleet.Fleet) (string, error) {
	text := "127.0.0.1 localhost\n"
	for _, h := range f.Hosts {
		text += h.IP + " " + h.Name + "\n"
	}
	path := filepath.Join(f.Home, "hosts")
	return path, os.WriteFile(path, []byte(text), 0o644)
}
