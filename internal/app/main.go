package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/term"

	"sluice"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/front/cli"
)

// Main runs the program and returns its exit status.
func Main() int {
	env := os.Getenv
	places, err := FindPlaces(env)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		return 2
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	local := &Local{Places: places, Env: env, Environ: os.Environ(), Clock: Now}
	w := cli.World{
		Args: os.Args[1:], Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())), StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Size:   size,
		ReadFD: readFD, Interrupts: interrupts(ctx), Clock: Now,
		Service: local.Service, Journal: local.Journal, Enrol: local.enrol,
		Fleets: fleetfiles.New(ctx), DefaultFleet: places.DefaultFleet(), Files: files{}, Build: build(),
	}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		defer tty.Close()
		w.Ask = func(prompt string) (sluice.Secret, error) { return ask(tty, prompt) }
		if term.IsTerminal(int(os.Stdin.Fd())) { // a script that was started from a terminal has nobody to answer
			w.Confirm = func(prompt string) (string, error) { return confirm(tty, prompt) }
		}
	}
	return cli.Main(ctx, w)
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
func ask(tty *os.File, prompt string) (sluice.Secret, error) {
	fmt.Fprint(tty, prompt)
	text, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	if err != nil {
		return sluice.Secret{}, err
	}
	return sluice.NewSecret(text), nil
}

func confirm(tty *os.File, prompt string) (string, error) {
	fmt.Fprint(tty, prompt)
	var line strings.Builder
	b := make([]byte, 1)
	for {
		n, err := tty.Read(b)
		if n == 1 && b[0] != '\n' {
			line.WriteByte(b[0])
			continue
		}
		if err == io.EOF || n == 1 {
			return line.String(), nil
		}
		if err != nil {
			return "", err
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

func build() cli.Build {
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
