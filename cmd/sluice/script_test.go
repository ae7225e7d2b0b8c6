package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/internal/app"
	"sluice/internal/lab/testfleet"
)

// The stories in testdata/script, run by the program itself against real sshd. What they may say beyond the words of
// testscript:
//
//	status N PROGRAM ...        run it; the exit status must be N
//	start NAME PROGRAM ...      run it in the background
//	join NAME N                 wait for it; its output becomes stdout and stderr
//	signal NAME SIGNAL          send it INT, TERM or KILL
//	waitfor FILE [N]            wait until the file has N lines (default 1)
//	waitfor event FILTER        wait until the journal has such an event
//	json SOURCE FILTER ...      ask lines of JSON (see json_test.go)
//	events SOURCE               the lines keep what is promised of streams of events
//	check                       the journal keeps the rules; every story ends with it
//	mode FILE OCTAL             the file has these permissions
//	grab NAME FILE PATTERN      wait until a line of the file is like the pattern; its first group becomes the variable
//	[server] ...                only where a server is chosen, see TestStoriesByServer

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sluice": func() {
		// A story has a terminal only where it says so, whoever runs the tests.
		_, _ = syscall.Setsid()
		os.Exit(app.Main())
	}})
}

var update = flag.Bool("update", false, "write what the program prints into the stories that compare it")

// patience bounds every wait; it is reached only when something is wrong.
const patience = 2 * time.Minute

func TestStories(t *testing.T) {
	fleet := testfleet.StartPlain(t, 6)
	p := stories(func(env *testscript.Env) error { return furnish(env, fleet) })
	p.Dir = "../../testdata/script"
	testscript.Run(t, p)
}

// condition tells a story whether a server is chosen.
func condition(server bool) func(string) (bool, error) {
	return func(c string) (bool, error) {
		if c != "server" {
			return false, fmt.Errorf("there is no condition %q", c)
		}
		return server, nil
	}
}

func stories(setup func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup:              setup,
		Condition:          condition(false),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "start": start, "join": join, "signal": signal, "waitfor": waitfor, "ports": ports,
			"json": askJSON, "events": events, "check": checkJournal, "mode": mode, "grab": grab,
		},
	}
}

// furnish gives a story a home of its own, from which the hosts of the fleet can be reached.
func furnish(env *testscript.Env, fleet *testfleet.Fleet) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		return err
	}
	for _, path := range []string{fleet.SSHConfig, fleet.KnownHosts, fleet.Identity} {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text = []byte(strings.ReplaceAll(string(text), fleet.Home, home))
		if err := os.WriteFile(filepath.Join(home, ".ssh", filepath.Base(path)), text, 0o600); err != nil {
			return err
		}
	}
	for _, v := range fleet.Env() {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case name == "PATH":
			// The program must come first; the rest is for sshd's own tools.
			value = env.Getenv("PATH") + ":" + value
		case strings.HasPrefix(name, "XDG_"):
			continue // unset is what most people have
		}
		env.Setenv(name, strings.ReplaceAll(value, fleet.Home, home))
	}
	first := fleet.Hosts[0]
	env.Setenv("HOST1_ADDRESS", first.IP)
	env.Setenv("HOST1_PORT", strconv.Itoa(first.Port))
	env.Setenv("NL", "\n") // which cannot be written in a line
	// Where the program is built with the race detector, each command line would wait a second before it ends.
	env.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=10"))
	env.Setenv("STATE", filepath.Join(home, ".local/state/sluice"))
	running := &processes{named: map[string]*process{}}
	env.Values[processesKey{}] = running
	env.Defer(func() {
		running.end()
		if found := brokenRules(filepath.Join(home, ".local/state/sluice")); found != "" {
			env.T().Fatal("the journal of the story:\n" + found)
		}
	})
	return nil
}

// status runs a program that must end with a status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	want := -1
	if len(args) > 1 {
		want = statusOf(ts, args[0])
	}
	if want < 0 || neg {
		ts.Fatalf("usage: status N PROGRAM ARGUMENT...")
	}
	err := ts.Exec(args[1], args[2:]...)
	if got := exitStatus(err); got != want {
		ts.Fatalf("exit status %d (%v), expected %d", got, err, want)
	}
}

func statusOf(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func exitStatus(err error) int {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	}
	return -1
}

type processesKey struct{}

// processes are what a story runs in the background.
type processes struct {
	mu    sync.Mutex
	named map[string]*process
}

type process struct {
	cmd      *exec.Cmd
	out, err *os.File
	ended    chan struct{}
	result   error
}

// end kills what still runs and waits for it.
func (p *processes) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.named {
		_ = one.cmd.Process.Kill()
		<-one.ended
	}
}

// said is what those that still run have printed.
func (p *processes) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for name, one := range p.named {
		for _, f := range []*os.File{one.out, one.err} {
			text, _ := os.ReadFile(f.Name())
			fmt.Fprintf(&b, "[%s of %s]\n%s", filepath.Ext(f.Name())[1:], name, text)
		}
	}
	return b.String()
}

func (p *processes) get(ts *testscript.TestScript, name string) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.named[name]
	if one == nil {
		ts.Fatalf("nothing named %q was started", name)
	}
	return one
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: start NAME PROGRAM ARGUMENT...")
	}
	all := ts.Value(processesKey{}).(*processes)
	name := args[0]
	path, err := lookPath(ts, args[1])
	ts.Check(err)
	one := &process{cmd: exec.Command(path, args[2:]...), ended: make(chan struct{})}
	one.out, err = os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	one.err, err = os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	one.cmd.Dir, one.cmd.Stdout, one.cmd.Stderr = ts.MkAbs("."), one.out, one.err
	one.cmd.Env = environment(ts)
	ts.Check(one.cmd.Start())
	go func() {
		defer close(one.ended)
		one.result = one.cmd.Wait()
		_, _ = one.out.Close(), one.err.Close()
	}()
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.named[name] != nil {
		ts.Fatalf("%q was started before", name)
	}
	all.named[name] = one
}

// environment is that of the story; testscript does not tell it as a whole.
func environment(ts *testscript.TestScript) []string {
	var out []string
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "WORK", "NL", "GOCOVERDIR", "GORACE", "SLUICE_TESTFLEET",
		"SLUICE_FLEET", "SLUICE_SERVER", "SLUICE_TOKEN", "SLUICE_KEY", "XDG_STATE_HOME", "XDG_CONFIG_HOME"} {
		if value := ts.Getenv(name); value != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %q: %w", name, exec.ErrNotFound)
}

func join(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: join NAME STATUS")
	}
	all := ts.Value(processesKey{}).(*processes)
	one := all.get(ts, args[0])
	select {
	case <-one.ended:
	case <-time.After(patience):
		ts.Fatalf("%s does not end\n%s\n%s", args[0], ts.ReadFile(args[0]+".out"), ts.ReadFile(args[0]+".err"))
	}
	all.mu.Lock()
	delete(all.named, args[0])
	all.mu.Unlock()
	_, _ = ts.Stdout().Write([]byte(ts.ReadFile(args[0] + ".out")))
	_, _ = ts.Stderr().Write([]byte(ts.ReadFile(args[0] + ".err")))
	if got := exitStatus(one.result); got != statusOf(ts, args[1]) {
		ts.Fatalf("%s ended with status %d (%v), expected %s", args[0], got, one.result, args[1])
	}
}

func signal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	if len(args) != 2 || neg || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME INT|TERM|KILL")
	}
	ts.Check(ts.Value(processesKey{}).(*processes).get(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// waitfor waits for what a story's programs do: lines of a file, or an event.
func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg || len(args) < 1 || len(args) > 2:
		ts.Fatalf("usage: waitfor FILE [LINES], waitfor event FILTER")
	case args[0] == "event":
		waitForEvent(ts, args[1])
		return
	}
	want := 1
	if len(args) == 2 {
		want = statusOf(ts, args[1])
	}
	path := ts.MkAbs(args[0])
	all := ts.Value(processesKey{}).(*processes)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		text, err := os.ReadFile(path)
		if err == nil && strings.Count(string(text), "\n") >= want {
			return
		}
		select {
		case <-look.C:
		case <-late:
			ts.Fatalf("%s has not got %d lines: %q, %v\n%s", args[0], want, text, err, all.said())
		}
	}
}

// ports finds an address of the loopback at which nobody listens, nor at the port after it.
func ports(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: ports NAME")
	}
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		at := l.Addr().(*net.TCPAddr)
		next, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", at.Port+1))
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = next.Close()
		ts.Setenv(args[0], at.String())
		return
	}
	ts.Fatalf("there are no two free ports side by side")
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: mode FILE OCTAL")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, expected %s", args[0], got, args[1])
	}
}

func grab(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: grab NAME FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	all := ts.Value(processesKey{}).(*processes)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for {
		text, err := os.ReadFile(ts.MkAbs(args[1]))
		if m := pattern.FindSubmatch(text); err == nil && len(m) > 1 {
			ts.Setenv(args[0], string(m[1]))
			return
		}
		select {
		case <-look.C:
		case <-late:
			ts.Fatalf("nothing in %s is like %s: %q, %v\n%s", args[1], args[2], text, err, all.said())
		}
	}
}
