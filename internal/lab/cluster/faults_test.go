package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice"
	"sluice/client"
	"sluice/internal/lab/testfleet"
	"sluice/internal/lab/trouble"
)

var faults = []fault{
	{name: "the owner is killed (kill -9)", play: (*house).ownerIsKilled},
	{name: "the owner stands still for longer than its lease, and goes on", play: (*house).ownerStandsStill},
	{name: "the server that leads etcd, and does not own the log, is killed", play: (*house).leaderIsKilled},
	{name: "the owner, which leads etcd as well, is killed", play: (*house).bothInOneAreKilled, rare: true},
	{name: "the owner and the server that leads are killed at once, and start", play: (*house).bothAreKilled, rare: true},
	{name: "the owner is cut off from the others, both ways, and reaches hosts and clients", play: (*house).ownerIsCutOff},
	{name: "the owner hears nothing of the others, and they hear it", play: (*house).ownerIsDeaf},
	{name: "the others hear nothing of the owner, and it hears them", play: (*house).ownerIsMute},
	{name: "the server that leads hears nothing of the others, and they hear it", play: (*house).leaderIsDeaf, rare: true},
	{name: "the others hear nothing of the server that leads, and it hears them", play: (*house).leaderIsMute, rare: true},
	{name: "the owner is cut off for 1 and 2.5 s, with as long between; from the last end of it", play: flapping(time.Second, 2500*time.Millisecond)},
	{name: "the owner is cut off four times for 0.3 s, 1.5, 2 and 3 s each, with as long between", play: flapping(each(4, 300*time.Millisecond, 1500*time.Millisecond, 2*time.Second, 3*time.Second)...), rare: true},
	{name: "two of three are killed: the third starts nothing, takes nothing, and says what it has and how old that is; from the start of the two", play: (*house).twoAreDown},
	{name: "all three are killed at once, and start", play: (*house).allAreKilled},
	{name: "a worker elsewhere is cut off from all servers for 4 s; from the end of that", play: workerIsCutOff(4 * time.Second), before: (*house).byAWorker},
	{name: "a worker elsewhere is cut off from all servers for 20 s, longer than its lease; from the end of that", play: workerIsCutOff(20 * time.Second), before: (*house).byAWorker, rare: true},
	{name: "the server is killed by which a worker elsewhere reaches the owner", play: (*house).workersServerIsKilled, before: (*house).byAWorker},
	{name: "the owner is killed, whose worker elsewhere carries the job out", play: (*house).ownerIsKilled, before: (*house).byAWorker, rare: true},
	{name: "the owner's clock is set 3 h on, and 3 h back", play: clockIsSet(true, 3*time.Hour, -3*time.Hour), before: (*house).withClocks},
	{name: "the clock of a copy is set 3 h on, and 3 h back", play: clockIsSet(false, 3*time.Hour, -3*time.Hour), before: (*house).withClocks, rare: true},
	{name: "the owner's clock is set 30 h on, by which all certificates have ended", play: clockIsSet(true, 30*time.Hour), before: (*house).withClocks, rare: true},
	{name: "the owner is killed, and the clock of a copy is 3 h behind", play: clockOfAHeir(-3 * time.Hour), before: (*house).withClocks, rare: true},
	{name: "the owner is killed, and the clock of a copy is 3 h ahead", play: clockOfAHeir(3 * time.Hour), before: (*house).withClocks, rare: true},
}

func each(n int, all ...time.Duration) (out []time.Duration) {
	for _, d := range all {
		for range n {
			out = append(out, d)
		}
	}
	return out
}

func (h *house) kill(servers ...*server) {
	for _, s := range servers { // at once: each end is waited for
		if s.cmd != nil {
			_ = s.cmd.Process.Kill()
		}
	}
	for _, s := range servers {
		s.kill()
	}
}

func (h *house) start(servers ...*server) {
	h.t.Helper()
	for _, s := range servers {
		s.start()
	}
}

// revive has all that was broken be whole, whatever it was.
func (h *house) revive() {
	h.t.Helper()
	h.kill(h.servers...)
	var all []*testfleet.Site
	for _, s := range h.servers {
		all = append(all, s.site)
	}
	all = append(all, h.worker.site)
	for _, s := range all {
		h.must(s.Hear(h.t.Context(), all...))
	}
	h.worker.kill()
	h.start(h.servers...)
	h.whole()
	h.apply("")
	h.quiet()
}

// quiet waits until no job is under way.
func (h *house) quiet() {
	h.t.Helper()
	h.until("all jobs are over", func() bool {
		ctx, done := h.briefly()
		defer done()
		all, err := h.any.Jobs(ctx, client.JobsQuery{State: "waiting,running,paused"})
		return err == nil && len(all) == 0
	})
}

func sites(servers []*server) (out []*testfleet.Site) {
	for _, s := range servers {
		out = append(out, s.site)
	}
	return out
}

// deafen loses what others send to this server.
func (s *server) deafen(others ...*server) {
	s.h.t.Helper()
	for _, o := range others {
		s.h.must(o.site.Deafen(s.h.t.Context(), s.site))
	}
}

// mute loses what this server sends to others.
func (s *server) mute(others ...*server) {
	s.h.t.Helper()
	s.h.must(s.site.Deafen(s.h.t.Context(), sites(others)...))
}

func (s *server) cut(others ...*server) {
	s.h.t.Helper()
	s.mute(others...)
	s.deafen(others...)
}

func (s *server) heal(others ...*server) {
	s.h.t.Helper()
	s.h.must(s.site.Hear(s.h.t.Context(), sites(others)...))
	for _, o := range others {
		s.h.must(o.site.Hear(s.h.t.Context(), s.site))
	}
}

// apart are the owner and another server that leads: it is the owner itself that sees to that.
func (h *house) apart() (owner, leads *server) {
	h.t.Helper()
	h.until("another server than the owner leads", func() bool {
		owner, leads = h.heads()
		return owner != leads
	})
	return owner, leads
}

// leaderIsKilled: kill -9 of the server by whose node etcd goes. The owner stays the owner.
func (h *house) leaderIsKilled() {
	_, leader := h.apart()
	j := h.begin()
	leader.kill()
	at := time.Now()
	j.next(at, h.decided(at))
	j.ends()
	leader.start()
}

// inOne returns a server that owns the log and leads as well, while jobs run. It comes to that where the one that leads stands still, and
// the owner is the one that comes after it; it lasts until the owner has another one lead, about a second.
func (j *job) inOne() *server {
	h := j.h
	h.t.Helper()
	for end := time.Now().Add(patience); ; {
		j.goesOn()
		owner, leader := h.heads()
		if owner == leader {
			return owner
		}
		if time.Now().After(end) {
			h.t.Fatal("never: the owner leads")
		}
		leader.signal(syscall.SIGSTOP)
		h.until("another one leads", func() bool {
			for _, s := range h.others(leader) {
				if _, now := s.asked(); now != nil && now != leader {
					return true
				}
			}
			return false
		})
		leader.signal(syscall.SIGCONT)
	}
}

// bothInOneAreKilled: kill -9 of the one server that does both.
func (h *house) bothInOneAreKilled() {
	j := h.begin()
	owner := j.inOne()
	at := time.Now()
	owner.kill()
	j.next(at, h.inAnotherTerm(at))
	j.ends()
	owner.start()
}

// bothAreKilled: kill -9 of the owner and of the one that leads, which start at once: until then there is no majority.
func (h *house) bothAreKilled() {
	owner, leader := h.apart()
	j := h.begin()
	at := time.Now()
	h.kill(owner, leader)
	h.start(owner, leader)
	j.next(at, h.inAnotherTerm(at))
	j.ends()
}

// ownerIsDeaf: what the others send to the owner is lost.
func (h *house) ownerIsDeaf() {
	j := h.begin()
	owner := h.owner()
	at := time.Now()
	owner.deafen(h.others(owner)...)
	j.next(at, h.inAnotherTerm(at))
	owner.heal(h.others(owner)...)
	j.ends()
}

// ownerIsMute: what the owner sends to the others is lost.
func (h *house) ownerIsMute() {
	j := h.begin()
	owner := h.owner()
	at := time.Now()
	owner.mute(h.others(owner)...)
	j.next(at, h.inAnotherTerm(at))
	owner.heal(h.others(owner)...)
	j.ends()
}

func (h *house) leaderIsDeaf() {
	_, leader := h.apart()
	j := h.begin()
	leader.deafen(h.others(leader)...)
	at := time.Now()
	j.next(at, h.decided(at))
	leader.heal(h.others(leader)...)
	j.ends()
}

func (h *house) leaderIsMute() {
	_, leader := h.apart()
	j := h.begin()
	leader.mute(h.others(leader)...)
	at := time.Now()
	j.next(at, h.decided(at))
	leader.heal(h.others(leader)...)
	j.ends()
}

// flapping cuts the owner of the beginning off from the others again and again, for some time each, with as long between.
func flapping(times ...time.Duration) func(h *house) {
	return func(h *house) {
		j := h.begin()
		owner := h.owner()
		others := h.others(owner)
		for i, d := range times {
			owner.cut(others...)
			<-time.After(d)
			owner.heal(others...)
			if i < len(times)-1 {
				<-time.After(d)
			}
		}
		at := time.Now()
		j.next(at, h.decided(at))
		j.ends()
	}
}

// worker is one elsewhere, in a network of its own.
type worker struct {
	h     *house
	site  *testfleet.Site
	data  string
	says  log
	cmd   *exec.Cmd
	ended chan struct{}
}

// log is what a process says.
type log struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// far is the pool of the worker elsewhere, in which no server has one.
const far sluice.Pool = "far"

// byAWorker has a worker elsewhere carry all jobs out.
func (h *house) byAWorker() (after func()) {
	h.t.Helper()
	got, err := h.any.InviteWorker(h.t.Context(), "far-1", []sluice.Pool{far})
	h.must(err)
	h.must(os.RemoveAll(h.worker.data))
	h.must(os.WriteFile(h.worker.data+".token", []byte(got.Token+"\n"), 0o600))
	h.worker.start(h.others(h.owner())[0])
	h.apply("host: {$web: {pool: far}}")
	return func() {
		h.worker.kill()
		if h.t.Failed() {
			return
		}
		h.must(h.any.RemoveWorker(h.t.Context(), "far-1"))
		h.apply("")
	}
}

// start starts the worker; it goes to this server first. It returns when it is there.
func (w *worker) start(to *server) {
	w.h.t.Helper()
	w.cmd = w.site.Command(program(w.h.t), "worker", "--data", w.data, "--server", to.forWorkers(), "--enrol-file", w.data+".token")
	w.cmd.Stdout, w.cmd.Stderr = &w.says, &w.says
	w.h.must(w.cmd.Start())
	w.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(w.cmd, w.ended)
	w.h.until("the worker is there", func() bool {
		ctx, done := w.h.briefly()
		defer done()
		all, err := w.h.any.Workers(ctx)
		for _, one := range all {
			if one.Name == "far-1" && one.Health == "connected" {
				return err == nil && w.on() == to
			}
		}
		return false
	})
}

func (w *worker) kill() {
	if w.cmd != nil {
		_ = w.cmd.Process.Kill()
		<-w.ended
	}
}

// on is the server that the worker has a connection to, as the kernel has it; nil: there is none.
func (w *worker) on() *server {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", w.cmd.Process.Pid))
	w.h.must(err)
	for _, s := range w.h.servers {
		at := netip.MustParseAddrPort(s.forWorkers())
		a := at.Addr().As4()
		want := fmt.Sprintf(" %08X:%04X 01 ", binary.NativeEndian.Uint32(a[:]), at.Port())
		if strings.Contains(string(text), want) {
			return s
		}
	}
	return nil
}

// workerIsCutOff: what the worker and all servers send each other is lost for a time. It starts nothing then, as soon as its lease is over,
// and goes on afterwards.
func workerIsCutOff(lasts time.Duration) func(h *house) {
	const lease = 15 * time.Second
	return func(h *house) {
		j := h.begin()
		at := time.Now()
		for _, s := range h.servers {
			h.must(s.site.Deafen(h.t.Context(), h.worker.site))
		}
		h.must(h.worker.site.Deafen(h.t.Context(), sites(h.servers)...))
		<-time.After(lasts)
		if len(j.done) > 0 {
			h.t.Error("the job is over, and the worker could not say so")
		}
		for _, m := range h.marks() {
			if m.begins && m.at.After(at.Add(lease+time.Second)) {
				h.t.Errorf("%s began %v after the worker was cut off", m.attempt, m.at.Sub(at))
			}
		}
		since := time.Now()
		h.must(h.worker.site.Hear(h.t.Context(), sites(h.servers)...))
		for _, s := range h.servers {
			h.must(s.site.Hear(h.t.Context(), h.worker.site))
		}
		j.next(since, anything)
		j.ends()
	}
}

// workersServerIsKilled: kill -9 of a server that does not own the log, by which the worker reaches the one that does.
func (h *house) workersServerIsKilled() {
	owner := h.owner()
	if on := h.worker.on(); on == nil || on == owner {
		h.worker.kill()
		h.worker.start(h.others(owner)[0])
	}
	j := h.begin()
	on := h.worker.on()
	if on == nil || on == owner {
		h.t.Fatalf("the worker is not where it was: %v", on)
	}
	on.kill()
	at := time.Now()
	j.next(at, h.decided(at))
	j.ends()
	on.start()
}

// withClocks has all servers run with wall clocks that can be set: they ask the kernel what time it is, and what it says is not true. The
// clock that only goes forward stays as it is, as when somebody sets the time of a machine.
func (h *house) withClocks() (after func()) {
	h.t.Helper()
	h.kill(h.servers...)
	for _, s := range h.servers {
		s.clock = &trouble.Trouble{Clock: true}
		s.wrong = s.clock
		s.start()
	}
	h.whole()
	return func() {}
}

// clockIsSet sets the clock of the owner, or of another server, in the middle of a job, which goes on, and another one begins and ends
// under the wrong time.
func clockIsSet(owners bool, times ...time.Duration) func(h *house) {
	return func(h *house) {
		for _, ahead := range times {
			j := h.begin()
			s := h.owner()
			if !owners {
				s = h.others(s)[0]
			}
			at := time.Now()
			s.clock.SetClock(ahead)
			j.next(at, anything)
			j.ends()
			j = h.begin()
			j.ends()
			if owners && !h.said(j.id, ahead) {
				h.t.Errorf("the clock of %s was not set: the log knows no such times\n%s", s.name, h.story(j.id))
			}
			s.clock.SetClock(0)
			h.whole()
		}
	}
}

// said reports whether the log has times of a job that are so far ahead.
func (h *house) said(id sluice.JobID, ahead time.Duration) bool {
	h.t.Helper()
	events, err := h.any.Events(h.t.Context(), string(id), 0)
	h.must(err)
	return slices.ContainsFunc(events, func(e sluice.Event) bool { return (time.Until(e.Time) - ahead).Abs() < time.Hour })
}

// clockOfAHeir: the owner is killed, and starts again, while the clock of another one is wrong.
func clockOfAHeir(ahead time.Duration) func(h *house) {
	return func(h *house) {
		j := h.begin()
		owner := h.owner()
		other := h.others(owner)[0]
		other.clock.SetClock(ahead)
		at := time.Now()
		owner.kill()
		j.next(at, h.inAnotherTerm(at))
		owner.clock = &trouble.Trouble{Clock: true}
		owner.wrong = owner.clock
		owner.start()
		j.ends()
		j = h.begin()
		j.ends()
		other.clock.SetClock(0)
	}
}
