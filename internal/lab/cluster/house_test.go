package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/fleetfiles"
	"sluice/internal/core/fleet"
	"sluice/internal/lab/testfleet"
	"sluice/internal/lab/trouble"
)

// house is three servers of one cluster, and hosts that live on.
type house struct {
	t       *testing.T // of the fault that is played
	all     *testing.T
	fleet   *testfleet.Fleet
	servers []*server
	worker  *worker
	token   string
	any     *client.Client // goes to any server
	sure    promises
	terms   terms
	again   []time.Duration // from a fault to the next start on a host
	takes   time.Duration   // a command of a job; 0: half a second
}

// server is one of them, in a process of its own.
type server struct {
	h      *house
	name   sluice.ServerName
	site   *testfleet.Site
	data   string
	port   int // of the loopback of its site
	client *client.Client

	cmd   *exec.Cmd
	ended chan struct{}
	wrong *trouble.Trouble // of the next start; nil: nothing is
	clock *trouble.Trouble // by which its clock can be set; nil: it cannot
	says  *said
}

const (
	// limit is how many hosts may be out at once.
	limit      = 4
	peerPort   = 7659
	workerPort = 7658
)

// size is how many hosts there are.
func size() int {
	if !asked() {
		return 8
	}
	return 20
}

// rounds is how often each thing is done.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("SLUICE_TEST_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 1
}

// newHouse starts hosts and three servers, and makes these one cluster.
func newHouse(t *testing.T) *house {
	t.Helper()
	return newHouseWith(t, func(s *server) { s.data = filepath.Join(t.TempDir(), "data") })
}

// newHouseWith has each server begin with what it is given: its data, and what is wrong.
func newHouseWith(t *testing.T, give func(*server)) *house {
	t.Helper()
	h := &house{t: t, all: t, fleet: testfleet.Start(t, testfleet.Config{Hosts: size()})}
	sites, err := h.fleet.AddSites(t.Context(), 4)
	h.must(err)
	t.Cleanup(h.end)
	h.worker = &worker{h: h, site: sites[3], data: filepath.Join(t.TempDir(), "worker")}
	var urls []string
	for i, site := range sites[:3] {
		s := &server{h: h, name: sluice.ServerName("s" + strconv.Itoa(i+1)), site: site, port: 7661 + i}
		give(s)
		s.says = &said{h: h, name: s.name}
		h.servers = append(h.servers, s)
		urls = append(urls, s.url())
	}
	first := h.servers[0]
	first.start()
	h.until("the first token is there", func() bool {
		text, err := os.ReadFile(first.data + ".token")
		h.token = strings.TrimSpace(string(text))
		return err == nil && h.token != ""
	})
	h.any = h.connect(strings.Join(urls, ","))
	for _, s := range h.servers {
		s.client = h.connect(s.url())
	}
	first.is(api.OwnerRole)
	for _, s := range h.servers[1:] {
		s.join()
	}
	h.apply("")
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// connect is a client that goes to servers in their networks: the port says to which.
func (h *house) connect(urls string) *client.Client {
	h.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		for _, s := range h.servers {
			if strings.HasSuffix(address, ":"+strconv.Itoa(s.port)) {
				return s.site.Dial(ctx, network, address)
			}
		}
		return nil, fmt.Errorf("nobody is at %s", address)
	}}
	h.t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New(urls, h.token, &http.Client{Transport: transport})
	h.must(err)
	return c
}

// apply has all hosts in one group, few of which may be out at once, and more said about the group.
func (h *house) apply(more string) {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "fleet.yaml")
	h.must(os.WriteFile(file, fmt.Appendf(nil, "tag: {web: [\"host[1-%d]\"]}\nconstraint: {$web: %d}\n%s\n", size(), limit, more), 0o600))
	b, err := fleet.Record(fleetfiles.New(h.t.Context())).Bundle(file)
	h.must(err)
	_, err = h.any.ApplyFleet(h.t.Context(), "default", b, "", -1)
	h.must(err)
}

// end kills what is left, and tells the story if something was wrong.
func (h *house) end() {
	for _, s := range h.servers {
		s.kill()
		if h.t.Failed() {
			h.t.Logf("%s said:\n%s", s.name, s.says)
		}
	}
	h.worker.kill()
	if h.t.Failed() {
		h.t.Logf("the worker said:\n%s", &h.worker.says)
	}
}

// patience bounds every wait: machines that run tests are slow.
const patience = 3 * time.Minute

// until waits for something that is asked for again and again.
func (h *house) until(what string, is func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			h.t.Fatalf("never: %s", what)
		}
		select {
		case <-h.t.Context().Done():
			h.t.Fatal("the test is over")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// briefly bounds a single question: a server may stand still.
func (h *house) briefly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(h.t.Context(), 10*time.Second)
}

// owner is the server that owns the log, as one says that is in contact with a majority.
func (h *house) owner() *server {
	h.t.Helper()
	owner, _ := h.heads()
	return owner
}

// heads are the server that owns the log and the one by whose node etcd goes, as one says that is in contact with a majority.
func (h *house) heads() (owner, leads *server) {
	h.t.Helper()
	h.until("a server owns the log, and one leads", func() bool {
		for _, s := range h.servers {
			if s.up() {
				if owner, leads = s.asked(); owner != nil && leads != nil {
					return true
				}
			}
		}
		return false
	})
	return owner, leads
}

// asked is what a server says who owns the log, and who leads.
func (s *server) asked() (owner, leads *server) {
	ctx, done := s.h.briefly()
	defer done()
	c, err := s.client.Cluster(ctx)
	if err != nil || !c.Majority {
		return nil, nil
	}
	for _, o := range s.h.servers {
		for _, m := range c.Members {
			if m.Name == o.name && m.Name == c.Owner {
				owner = o
			}
			if m.Name == o.name && m.Leads {
				leads = o
			}
		}
	}
	return owner, leads
}

// others are all servers but some.
func (h *house) others(but ...*server) (out []*server) {
	for _, s := range h.servers {
		if !slices.Contains(but, s) {
			out = append(out, s)
		}
	}
	return out
}

// whole waits until all servers are there, and have all of the log.
func (h *house) whole() {
	h.t.Helper()
	said := ""
	defer func() {
		if h.t.Failed() {
			h.t.Log(said)
		}
	}()
	h.until("all servers are there again", func() bool {
		for _, s := range h.servers {
			if !s.up() {
				h.t.Fatalf("%s ended: %v", s.name, s.cmd.ProcessState)
			}
			ctx, done := h.briefly()
			c, err := s.client.Cluster(ctx)
			done()
			said = fmt.Sprintf("%s: %+v, error %v", s.name, c, err)
			if err != nil || c.Owner == "" || !c.Majority || len(c.Members) != len(h.servers) ||
				slices.ContainsFunc(c.Members, func(m api.Member) bool {
					return m.Role != api.OwnerRole && m.Role != api.CopyRole || m.Behind == nil || *m.Behind > 0
				}) {
				return false
			}
		}
		return true
	})
}

func (s *server) url() string { return "http://127.0.0.1:" + strconv.Itoa(s.port) }

func (s *server) peer() string { return net.JoinHostPort(s.site.IP, strconv.Itoa(peerPort)) }

// forWorkers is where workers come.
func (s *server) forWorkers() string { return net.JoinHostPort(s.site.IP, strconv.Itoa(workerPort)) }

// start starts the server; args come on top of what it always has.
func (s *server) start(args ...string) {
	s.h.t.Helper()
	args = append([]string{"server", "--data", s.data, "--listen", "127.0.0.1:" + strconv.Itoa(s.port), "--worker-listen", s.forWorkers(),
		"--cluster", s.peer(), "--name", string(s.name), "--admin-token-file", s.data + ".token"}, args...)
	s.cmd = s.site.Command(program(s.h.t), args...)
	s.cmd.Stdout, s.cmd.Stderr = s.says, s.says
	var err error
	if wrong := s.wrong; wrong != nil {
		s.wrong = nil
		// What goes wrong does so from the first program on, so no other one may come before.
		env := s.cmd.Env
		s.cmd = exec.Command(program(s.h.t), args...)
		s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr, s.cmd.WaitDelay = env, s.says, s.says, time.Second
		if err = s.site.Within(func() error { return wrong.Start(s.cmd) }); errors.Is(err, trouble.ErrUnavailable) {
			s.cmd = nil
			if os.Getenv("CI") == "true" || os.Getenv("SLUICE_TEST_MUST_RUN") == "1" {
				s.h.t.Fatal(err)
			}
			s.h.t.Skip("skipped:", err)
		}
		s.h.all.Cleanup(wrong.Close)
	} else {
		err = s.cmd.Start()
	}
	s.h.must(err)
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(s.cmd, s.ended)
}

// join has a server take part that is none of the cluster.
func (s *server) join() {
	s.h.t.Helper()
	invited, err := s.h.any.InviteServer(s.h.t.Context(), s.name, "")
	s.h.must(err)
	file := s.data + ".join"
	s.h.must(os.WriteFile(file, []byte(invited.Token+"\n"), 0o600))
	s.start("--join", file)
	s.is(api.CopyRole)
}

// is waits until the server has one of these roles.
func (s *server) is(roles ...string) {
	s.h.t.Helper()
	s.h.until(fmt.Sprintf("%s is %q", s.name, roles), func() bool {
		if !s.up() {
			s.h.t.Fatalf("%s ended: %v", s.name, s.cmd.ProcessState)
		}
		ctx, done := s.h.briefly()
		defer done()
		c, err := s.h.any.Cluster(ctx)
		return err == nil && slices.ContainsFunc(c.Members, func(m api.Member) bool { return m.Name == s.name && slices.Contains(roles, m.Role) })
	})
}

// up reports whether the process is there.
func (s *server) up() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// kill is kill -9, and waits for the end.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.h.t.Helper()
	s.h.must(s.cmd.Process.Signal(sig))
}

// said is what a server said, of all starts. Of that, terms are noted when they are heard of.
type said struct {
	h    *house
	name sluice.ServerName

	mu   sync.Mutex
	all  bytes.Buffer
	seen int // bytes that were looked through
}

var owns = regexp.MustCompile(`this server owns the log" term=(\d+)`)

func (l *said) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(p)
	text := l.all.Bytes()
	for {
		n := bytes.IndexByte(text[l.seen:], '\n')
		if n < 0 {
			return len(p), nil
		}
		if m := owns.FindSubmatch(text[l.seen : l.seen+n]); m != nil {
			number, _ := strconv.ParseUint(string(m[1]), 10, 64)
			l.h.terms.begins(term{number, l.name, time.Now()})
		}
		l.seen += n + 1
	}
}

func (l *said) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
