package gosshd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// session is one channel: some requests that prepare, one that starts a command, and those that concern it while it
// runs.
type session struct {
	server  *Server
	user    string
	channel ssh.Channel
	drop    func()

	env     []string // that the client sent
	tty     *terminal
	started bool

	mu      sync.Mutex
	process *os.Process // nil before it runs and after it was waited for
}

// serve returns when the channel is closed and nothing of the session is left in this process. The command may go on.
func (s *session) serve(requests <-chan *ssh.Request) {
	var wg sync.WaitGroup
	defer wg.Wait()
	gone := make(chan struct{})
	defer close(gone)
	defer func() { _ = s.channel.Close() }()
	for r := range requests {
		ok, command := s.request(r)
		if r.WantReply {
			// An error here is the end of the channel, which ends the loop.
			_ = r.Reply(ok, nil)
		}
		// Only after the reply: a quick command would be over, and the channel closed, before the client knows that it runs.
		if command != nil {
			wg.Go(func() { s.run(*command, gone) })
		}
	}
	if s.tty != nil && !s.started {
		s.tty.close()
	}
}

// request does what the client asks for, and says whether it did; a command is to be started by the caller.
func (s *session) request(r *ssh.Request) (ok bool, command *string) {
	switch r.Type {
	case "env":
		var m struct{ Name, Value string }
		if s.started || ssh.Unmarshal(r.Payload, &m) != nil {
			return false, nil
		}
		s.env = append(s.env, m.Name+"="+m.Value)
		return true, nil
	case "pty-req":
		if s.started || s.tty != nil {
			return false, nil
		}
		var err error
		if s.tty, err = openTerminal(r.Payload); err != nil {
			s.server.logf("a terminal for %s: %v", s.user, err)
		}
		return err == nil, nil
	case "window-change":
		return s.tty != nil && s.tty.resize(r.Payload) == nil, nil
	case "signal":
		var m struct{ Name string }
		return ssh.Unmarshal(r.Payload, &m) == nil && s.signal(m.Name), nil
	case "exec", "shell":
		var m struct{ Command string }
		if s.started || r.Type == "exec" && ssh.Unmarshal(r.Payload, &m) != nil {
			return false, nil
		}
		s.started = true
		s.server.execs.Add(1)
		return true, &m.Command
	}
	return false, nil
}

// signal sends a signal, named without "SIG", to the process group of the command.
func (s *session) signal(name string) bool {
	sig := unix.SignalNum("SIG" + name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return sig != 0 && s.process != nil && unix.Kill(-s.process.Pid, sig) == nil
}

func (s *session) run(command string, gone <-chan struct{}) {
	defer func() { _ = s.channel.Close() }()
	if s.answer(command) {
		return
	}
	argv := []string{s.server.config.Shell, "-c", command}
	if command == "" {
		argv = argv[:1]
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.server.config.Dir
	cmd.Env = append(append([]string{}, s.server.config.Env...), s.server.config.Mark)
	cmd.Env = append(cmd.Env, s.env...)
	var err error
	if s.tty != nil {
		err = s.onTerminal(cmd, gone)
	} else {
		err = s.onPipes(cmd, gone)
	}
	if err != nil {
		s.server.logf("%q: %v", command, err)
	}
}

// answer lets the configured function answer, and reports whether it did.
func (s *session) answer(command string) bool {
	if s.server.config.Answer == nil {
		return false
	}
	dropped := false
	status, answered := s.server.config.Answer(&Exec{
		User: s.user, Command: command, TTY: s.tty != nil, Env: s.env,
		Stdin: s.channel, Stdout: s.channel, Stderr: s.channel.Stderr(),
		Drop: func() { dropped = true; s.drop() },
	})
	if !answered {
		return false
	}
	if s.tty != nil {
		s.tty.close()
	}
	if !dropped {
		_ = s.channel.CloseWrite()
		s.send("exit-status", struct{ Status uint32 }{uint32(status)})
	}
	return true
}

// onPipes runs a command with three pipes.
func (s *session) onPipes(cmd *exec.Cmd, gone <-chan struct{}) error {
	var ours, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close()
		}
	}
	defer func() { closeAll(ours) }()
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(theirs)
			return err
		}
		if i == 0 {
			ours, theirs = append(ours, w), append(theirs, r)
		} else {
			ours, theirs = append(ours, r), append(theirs, w)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := s.start(cmd)
	closeAll(theirs)
	if err != nil {
		return err
	}
	in, out, errs := ours[0], ours[1], ours[2]
	s.attend(cmd, gone, func() { closeAll(ours) },
		func() {
			_, _ = io.Copy(in, s.channel)
			_ = in.Close()
		},
		func() { _, _ = io.Copy(s.channel, out) },
		func() { _, _ = io.Copy(s.channel.Stderr(), errs) })
	return nil
}

// onTerminal runs a command on the terminal that was asked for.
func (s *session) onTerminal(cmd *exec.Cmd, gone <-chan struct{}) error {
	defer s.tty.close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.tty.slave, s.tty.slave, s.tty.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = append(cmd.Env, "TERM="+s.tty.term)
	if err := s.start(cmd); err != nil {
		return err
	}
	_ = s.tty.slave.Close() // so that the end of the last process is the end of the output
	s.attend(cmd, gone, s.tty.close,
		func() { _, _ = io.Copy(s.tty.master, s.channel) },
		// The end of a terminal is an error of reading, not an end of file.
		func() { _, _ = io.Copy(s.channel, s.tty.master) })
	return nil
}

// start starts the command; where that fails, it says so to the client as a shell would.
func (s *session) start(cmd *exec.Cmd) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		_, _ = io.WriteString(s.channel.Stderr(), err.Error()+"\n")
		s.send("exit-status", struct{ Status uint32 }{127})
		return err
	}
	s.process = cmd.Process
	return nil
}

// attend copies until the output ends, sends the status when the command ends, and gives up when the client is gone.
func (s *session) attend(cmd *exec.Cmd, gone <-chan struct{}, release func(), in func(), outs ...func()) {
	var copies, input sync.WaitGroup
	input.Go(in)
	for _, out := range outs {
		copies.Go(out)
	}
	ended := make(chan error, 1)
	s.server.commands.Go(func() { ended <- s.wait(cmd) })
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		copies.Wait()
	}()
	for waiting := 2; waiting > 0; waiting-- {
		select {
		case err := <-ended:
			s.exit(err)
			ended = nil
		case <-copied:
			copied = nil
		case <-gone:
			waiting = 0
		}
	}
	_ = s.channel.Close() // ends the copying of input
	release()
	input.Wait()
	copies.Wait()
}

func (s *session) wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	s.mu.Lock()
	s.process = nil
	s.mu.Unlock()
	return err
}

// exit tells the client how the command ended.
func (s *session) exit(err error) {
	var failed *exec.ExitError
	switch {
	case err == nil:
		s.send("exit-status", struct{ Status uint32 }{0})
		return
	case !errors.As(err, &failed):
		s.server.logf("waiting for a command: %v", err)
		return
	}
	status := failed.Sys().(syscall.WaitStatus)
	if !status.Signaled() {
		s.send("exit-status", struct{ Status uint32 }{uint32(status.ExitStatus())})
		return
	}
	s.send("exit-signal", struct {
		Name       string
		CoreDumped bool
		Message    string
		Language   string
	}{strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG"), status.CoreDump(), "", ""})
}

// send sends a request that wants no reply. That the client is gone is no news to anybody.
func (s *session) send(name string, message any) {
	_, _ = s.channel.SendRequest(name, false, ssh.Marshal(message))
}
