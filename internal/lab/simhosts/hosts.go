package simhosts

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Mark is one thing that truly happened on a host.
type Mark struct {
	Host    string    `json:"host"`
	Attempt string    `json:"attempt"`
	What    string    `json:"what"` // start or end
	Code    int       `json:"code,omitempty"`
	PID     int       `json:"pid,omitempty"` // where the host is real
	Time    time.Time `json:"time"`
}

// Hosts are all hosts of a process.
type Hosts struct {
	begin time.Time
	trace func(Mark) // never two at once

	mu       sync.Mutex
	attempts map[string]*attempt // by host and attempt
	running  sync.WaitGroup
}

// New makes hosts. trace is told what happens; nil: nobody wants to know.
func New(trace func(Mark)) *Hosts {
	if trace == nil {
		trace = func(Mark) {}
	}
	return &Hosts{begin: time.Now(), trace: trace, attempts: map[string]*attempt{}}
}

// attempt is the directory of one on its host.
type attempt struct {
	host, id string
	gate     string // "", started or revoked
	began    time.Time
	ended    chan struct{}
	kill     chan string // has room for one
	record   string      // once ended is closed
	code     int
}

// sim is what a command says of itself.
var sim = regexp.MustCompile(`\bsim ([0-9.]+(?:ns|us|ms|s|m))(?: ([0-9]+))?`)

// work reads what a command would take, and its exit status.
func work(command string) (time.Duration, int) {
	m := sim.FindStringSubmatch(command)
	if m == nil {
		return 0, 0
	}
	d, _ := time.ParseDuration(m[1])
	code, _ := strconv.Atoi(m[2])
	return d, code
}

// uptime is a moment as the supervisor writes it.
func (h *Hosts) uptime(t time.Time) string { return fmt.Sprintf("%.2f", t.Sub(h.begin).Seconds()+1) }

// enter makes the directory of an attempt, or finds it.
func (h *Hosts) enter(host, id string) (a *attempt, made bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := host + " " + id
	if a := h.attempts[key]; a != nil {
		return a, false
	}
	a = &attempt{host: host, id: id, ended: make(chan struct{}), kill: make(chan string, 1)}
	h.attempts[key] = a
	return a, true
}

func (h *Hosts) remove(a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if key := a.host + " " + a.id; h.attempts[key] == a {
		delete(h.attempts, key)
	}
}

// take takes the gate: exactly one ever does.
func (h *Hosts) take(a *attempt, word string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.gate != "" {
		return false
	}
	a.gate = word
	return true
}

func (h *Hosts) gate(a *attempt) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return a.gate
}

func (h *Hosts) mark(m Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m.Time = time.Now()
	h.trace(m)
}

// run carries an attempt out, whoever is connected.
func (h *Hosts) run(a *attempt, command string) {
	takes, code := work(command)
	a.began = time.Now()
	h.mark(Mark{Host: a.host, Attempt: a.id, What: "start"})
	h.running.Go(func() {
		t := time.NewTimer(takes)
		defer t.Stop()
		killed := ""
		select {
		case <-t.C:
		case killed = <-a.kill:
			code = 143
		}
		now := time.Now()
		a.code = code
		a.record = fmt.Sprintf("c=%d b=%s t=%s", code, h.uptime(a.began), h.uptime(now))
		if killed != "" {
			a.record += " k=" + killed
		}
		h.mark(Mark{Host: a.host, Attempt: a.id, What: "end", Code: code})
		close(a.ended)
	})
}

// session is one command on a host, as the host sees it.
type session struct {
	hosts *Hosts
	host  string
	in    *bufio.Reader
	out   func(stream byte, data []byte) error
}

var (
	plainMarks = regexp.MustCompile(`echo (\S+); echo (\S+) >&2;`)
	helloMark  = regexp.MustCompile(`echo (sluice-[0-9a-f]+); exec sh`)
	header     = regexp.MustCompile(`s_id='?([^' ]+)'? s_n='?([^' ]+)'? s_mode=(\w+) `)
)

// serve answers one command, and returns its exit status. An error says that the client is gone.
func (s *session) serve(command string) (status int, err error) {
	if m := helloMark.FindStringSubmatch(command); m != nil {
		if err := s.out(1, []byte(m[1]+"\n")); err != nil {
			return 0, err
		}
		return s.supervise()
	}
	if m := plainMarks.FindStringSubmatch(command); m != nil {
		takes, code := work(command)
		for stream := range byte(2) {
			if err := s.out(stream+1, []byte(m[stream+1]+"\n")); err != nil {
				return 0, err
			}
		}
		t := time.NewTimer(takes)
		defer t.Stop()
		<-t.C
		return code, s.out(1, []byte("on "+s.host+"\n"))
	}
	return 127, s.out(2, []byte("a simulated host runs no such command\n"))
}

// script reads the supervisor's text to its end.
func (s *session) script() (head, command string, err error) {
	var last [3]string
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		if head == "" {
			head = line
		}
		if len(line) > 15 && line[:15] == "s_step command " {
			command = line
		}
		last = [3]string{last[1], last[2], line}
		if last == [3]string{"s_listen\n", "exit 0\n", "}\n"} {
			return head, command, nil
		}
	}
}

func (s *session) supervise() (int, error) {
	head, command, err := s.script()
	if err != nil {
		return 0, err
	}
	m := header.FindStringSubmatch(head)
	if m == nil {
		return 97, nil
	}
	frame := func(text string) error { return s.out(1, []byte("\x1e"+m[2]+" "+text+"\n")) }
	for {
		a, made := s.hosts.enter(s.host, m[1])
		switch {
		case made && m[3] == "run":
			if err := frame("new"); err != nil {
				return 0, err
			}
			if word := s.goes(a, command); word != "" {
				_ = frame(word)
				return 0, nil
			}
			return 0, s.follow(a, frame)
		case made:
			s.hosts.take(a, "revoked")
		case s.hosts.gate(a) == "":
			// Somebody prepares it; whoever takes the gate first decides.
			word := map[bool]string{true: "reset", false: "revoked"}[m[3] == "run"]
			if time.Sleep(50 * time.Millisecond); s.hosts.take(a, word) && word == "reset" {
				s.hosts.remove(a)
			}
			continue
		}
		switch s.hosts.gate(a) {
		case "reset":
			s.hosts.remove(a)
			continue
		case "revoked":
			if err := frame("revoked"); err != nil {
				return 0, err
			}
			return 0, s.acknowledged(a)
		}
		if err := frame("old"); err != nil {
			return 0, err
		}
		return 0, s.follow(a, frame)
	}
}

// goes waits for the go. Without it the attempt is as if it had never been; where somebody else came before, it is theirs.
func (s *session) goes(a *attempt, command string) (word string) {
	line, err := s.in.ReadString('\n')
	switch {
	case err == nil && line == "go\n":
		if s.hosts.take(a, "started") {
			s.hosts.run(a, command)
			return ""
		}
	case s.hosts.take(a, "reset"):
		s.hosts.remove(a)
		return "revoked"
	}
	return "gone"
}

// follow sends what there is to know up to the end, and waits until it is acknowledged.
func (s *session) follow(a *attempt, frame func(string) error) error {
	lines := make(chan string)
	gone := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			line, err := s.in.ReadString('\n')
			if err != nil {
				return
			}
			select {
			case lines <- line:
			case <-over:
				return
			}
		}
	}()
	defer close(over)
	ended := (<-chan struct{})(a.ended)
	for {
		select {
		case <-gone:
			return io.ErrUnexpectedEOF
		case line := <-lines:
			switch {
			case line == "ack\n":
				s.hosts.remove(a)
				return nil
			case len(line) > 2 && line[:2] == "k ":
				select {
				case a.kill <- line[2 : len(line)-1]:
				default:
				}
			}
		case <-ended:
			ended = nil
			text := "on " + a.host + "\n"
			for _, f := range []string{fmt.Sprintf("s 1 command %d %s %s", a.code, s.hosts.uptime(a.began), s.hosts.uptime(time.Now())), "o 0"} {
				if err := frame(f); err != nil {
					return err
				}
			}
			if err := s.out(1, []byte(text)); err != nil {
				return err
			}
			for _, f := range []string{fmt.Sprintf(". %d", len(text)), "end " + a.record + " ."} {
				if err := frame(f); err != nil {
					return err
				}
			}
		}
	}
}

// acknowledged waits until the record may go.
func (s *session) acknowledged(a *attempt) error {
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "ack\n" {
			s.hosts.remove(a)
			return nil
		}
	}
}
