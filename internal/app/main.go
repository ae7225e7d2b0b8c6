package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"sluice"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/front/cli"
)

// Main runs the program and returns its exit status.
func Main() int { return MainIn(Lab{}) }

// Lab is what measurements and tests of whole processes change about the program.
type Lab struct {
	// Over is another way to hosts than ssh; nil is ssh.
	Over sluice.Transport
	// Lease of a server; 0: 15 s.
	Lease time.Duration
}

// MainIn is Main in a lab.
func MainIn(lab Lab) int {
	env := os.Getenv
	places, err := FindPlaces(env)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		return 2
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	local := &Local{Places: places, Env: env, Environ: withoutToken(os.Environ()), Clock: Now, Over: lab.Over, Lease: lab.Lease}
	signals := interrupts(ctx)
	w := cli.World{
		Args: os.Args[1:], Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())), StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Size:   size,
		ReadFD: readFD, Interrupts: signals, Clock: Now,
		Desk: local.Desk, Remote: local.Remote, Client: reach, Greet: greet, Remember: local.remember, LogIn: logIn, Contexts: contexts{filepath.Join(places.Config, "contexts.json")},
		Artifacts: artifacts{filepath.Join(places.Config, "artifacts.json"), local.who, Now},
		Builder:   local.build,
		Journal:   local.Journal, Trail: local.trail, Backup: local.Backup, Restore: local.Restore, Promote: local.Promote, Demote: local.Demote, Recover: local.Recover, Hostname: os.Hostname, Enrol: local.enrol,
		Balancers: local.balancers,
		Serve:     local.serve, Work: local.work, Fleets: fleetfiles.New(ctx), Layers: layers, DefaultFleet: places.DefaultFleet(), Files: files{}, Build: program(),
	}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		defer tty.Close()
		w.Ask = func(prompt string) (sluice.Secret, error) { return ask(tty, prompt, signals) }
		if term.IsTerminal(int(os.Stdin.Fd())) { // a script that was started from a terminal has nobody to answer
			w.Confirm = func(prompt string) (string, error) { return confirm(tty, prompt, signals) }
			local.Confirm = func(question string) (bool, error) {
				answer, err := confirm(tty, question+" [y/N] ", signals)
				answer = strings.ToLower(strings.TrimSpace(answer))
				return answer == "y" || answer == "yes", err
			}
		}
	}
	return cli.Main(ctx, w)
}

// withoutToken is an environment for commands on this machine: the token for a server is none of their business.
func withoutToken(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool { return strings.HasPrefix(v, "SLUICE_TOKEN=") })
}

func size() (width, height int) {
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 80, 24
	}
	return width, height
}

// interrupts are Ctrl-C and SIGTERM. A terminal that went away (SIGHUP) ends the program at once, as a crash would:
// what runs on the targets runs on.
func interrupts(ctx context.Context) <-chan struct{} {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	out := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			select {
			case <-ctx.Done():
				return
			case out <- struct{}{}:
			}
		}
	}()
	return out
}

// ask reads a secret from the terminal without showing it.
func ask(tty *os.File, prompt string, interrupts <-chan struct{}) (sluice.Secret, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return sluice.Secret{}, err
	}
	fmt.Fprint(tty, prompt)
	text, err := answer(interrupts, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(tty)
	if err != nil {
		return sluice.Secret{}, errors.Join(err, term.Restore(fd, before))
	}
	return sluice.NewSecret(text), nil
}

// confirm reads a line from the terminal.
func confirm(tty *os.File, prompt string, interrupts <-chan struct{}) (string, error) {
	fmt.Fprint(tty, prompt)
	line, err := answer(interrupts, func() ([]byte, error) { return readLine(tty) })
	if err != nil {
		fmt.Fprintln(tty)
	}
	return string(line), err
}

// answer waits for what a person types, or for Ctrl-C. A read from a terminal cannot be called off: after Ctrl-C it
// ends with the program, which has nothing more to do.
func answer(interrupts <-chan struct{}, read func() ([]byte, error)) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-interrupts:
		return nil, sluice.Errorf(sluice.Usage, "interrupted; nothing was done")
	}
}

// readLine reads byte by byte, so that what follows the line stays for whoever reads next.
func readLine(r io.Reader) ([]byte, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := r.Read(b)
		switch {
		case n == 1 && b[0] != '\n':
			line = append(line, b[0])
		case n == 1, err == io.EOF:
			return line, nil
		case err != nil:
			return nil, err
		}
	}
}

// readFD reads a secret from a descriptor. What is longer than any password is a mistake.
func readFD(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d", fd))
	if f == nil {
		return nil, fmt.Errorf("there is no descriptor %d", fd)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64<<10))
}

func program() cli.Build {
	b := cli.Build{Version: Version, Revision: "unknown", Time: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Go = info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				b.Revision += " with changes"
			}
		}
	}
	return b
}

// Version of the program.
const Version = "0.1.0"

func lines(heads []sqlitelog.Head) string {
	var b strings.Builder
	for _, h := range heads {
		fmt.Fprintf(&b, "\n  namespace %s: %d events, head %s", h.Namespace, h.Seq, h.Hash)
	}
	return b.String()
}
