// The demonstration: a real rollout on a fleet that it brings along. It needs Go and a shell, no root and no sshd:
// the hosts are ssh servers in this process, each on a loopback address of its own, and what they run are real
// commands. It runs the program as anybody would, and knows nothing of its inside. Nothing is left when it ends,
// however it ends.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"sluice/internal/lab/testfleet"
)

//go:embed fleet.yaml
var fleetFile string

//go:embed upgrade.sh
var upgradeScript string

const hosts = 40

// fullHost is the host on which the upgrade fails.
const fullHost = "web17"

func main() {
	record := flag.String("record", "", "only carry the rollout out, and make a moving picture of it in this SVG `file`")
	fast := flag.Bool("fast", false, "do not wait for readers, and let hosts be quick")
	flag.Parse()
	err := demo(*record, *fast)
	switch {
	case errors.Is(err, errStopped):
		fmt.Fprintln(os.Stderr, "\nStopped. The fleet is gone, nothing is left.")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var errStopped = errors.New("stopped")

func demo(record string, fast bool) (err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if record != "" {
		if record, err = filepath.Abs(record); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		return err
	}
	// The fleet removes the directory, also if this process is killed; this is for an end before there is a fleet.
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	s := &story{dir: dir, fast: fast, terminal: term.IsTerminal(int(os.Stdout.Fd()))}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.heed(ctx, signals, stop)
	}()
	defer func() {
		stop(nil)
		<-watched
	}()

	fmt.Fprintf(os.Stderr, "Building the program, and starting a fleet of %d hosts on loopback addresses ...\n", hosts)
	if err := s.start(ctx); err != nil {
		return errors.Join(cause(ctx, err), s.close())
	}
	if record != "" {
		err = s.record(ctx, record)
	} else {
		err = s.tell(ctx)
	}
	return errors.Join(cause(ctx, err), s.close())
}

// cause is why something failed: because it was stopped, or by itself.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStopped) {
		return errStopped
	}
	return err
}

// start builds the program and starts the hosts.
func (s *story) start(ctx context.Context) error {
	c := testfleet.PlainConfig{Hosts: hosts, InProcess: true, Dir: s.dir}
	for i := range hosts - 4 {
		c.Names = append(c.Names, fmt.Sprintf("web%02d", i+1))
	}
	c.Names = append(c.Names, "db1", "db2", "db3", "db4")
	if s.fast {
		c.Env = []string{"DEMO_LONGEST=400"}
	}
	var err error
	if s.fleet, err = testfleet.NewPlain(ctx, c); err != nil {
		return err
	}
	work := filepath.Join(s.fleet.Home, "demo")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	// Where attempts live is set, so that nothing is written outside of the demonstration's own directory. All hosts
	// share it, and the last one to leave would remove it under the feet of the next: there is always one more in it.
	place := filepath.Join(s.dir, "attempts")
	if err := os.MkdirAll(filepath.Join(place, "demo"), 0o700); err != nil {
		return err
	}
	target := fmt.Sprintf("target: {dir: %q}\n", place)
	for name, text := range map[string]string{"fleet.yaml": fleetFile + target, "upgrade.sh": upgradeScript} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	s.work, s.program = work, filepath.Join(s.dir, "sluice")
	build := exec.CommandContext(ctx, "go", "build", "-o", s.program, "sluice/cmd/sluice")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the program (the demonstration runs from a checkout): %w", err)
	}
	return s.fleet.Host(fullHost).WriteFile("disk-is-full", nil, 0o600)
}

func (s *story) close() error {
	if s.fleet == nil {
		return nil
	}
	return s.fleet.Close()
}

// heed turns signals into an end of the story. The terminal has sent Ctrl-C to the program as well, which halts its
// job and ends by itself; what does not end in time, or was not told, is killed.
func (s *story) heed(ctx context.Context, signals <-chan os.Signal, stop context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
		return
	case sig := <-signals:
		if sig != os.Interrupt || !s.running() {
			stop(errStopped)
			return
		}
	}
	s.stopping.Store(true)
	patience := time.NewTimer(patienceFor)
	defer patience.Stop()
	for n := 1; n < 3; n++ {
		select {
		case <-ctx.Done():
			return
		case <-patience.C:
			n = 3
		case <-signals:
		}
	}
	stop(errStopped)
}

const patienceFor = 10 * time.Second
