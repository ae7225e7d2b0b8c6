package app_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/api"
	"sluice/internal/run/control"
)

// descriptors lets a process have so many more files than it has. Its descriptors have gaps, which count.
func descriptors(t *testing.T, pid, more int) (free func()) {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	has := map[int]bool{}
	for _, f := range open {
		n, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		has[n] = true
	}
	limit := 0
	for left := more; left > 0 || has[limit]; limit++ {
		if !has[limit] {
			left--
		}
	}
	var before unix.Rlimit
	err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before)
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(limit), Max: before.Max}, nil)
	}
	if err != nil {
		t.Skipf("skipped: the limits of a process cannot be set here: %v", err)
	}
	return func() {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestNoDescriptors: a server that can open nothing more keeps those out who come, and what runs goes on; a worker that can
// open nothing gives back what it is given, and who asks is told why; one that cannot reach a host for that says so, and that
// nothing was started there. With room again all is as before.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	const hosts = 5
	s := newStation(t, hosts)
	s.rises()
	s.apply(s.all(hosts))
	w := s.joins("w1", nil)
	marks := t.TempDir()
	id := s.submit("host1,host2", held(marks))
	await(t, marks+"/host1", 1)
	await(t, marks+"/host2", 1)

	began := time.Now()
	free := descriptors(t, s.cmd.Process.Pid, 3)
	var crowd []net.Conn
	for range 40 {
		c, err := net.Dial("tcp", s.address)
		s.must(err)
		crowd = append(crowd, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	third := control.NewJobID() // asked for twice, it is one job
	taken, err := s.client.Submit(ctx, api.Submit{ID: third, Targets: "host3", Command: "echo >>" + marks + "/host3"})
	cancel()
	t.Logf("a job without descriptors: %v, error %v", taken.ID, err)
	for _, c := range crowd {
		_ = c.Close()
	}
	free()
	if err != nil {
		s.comes(func() bool {
			j, err := s.client.Submit(t.Context(), api.Submit{ID: third, Targets: "host3", Command: "echo >>" + marks + "/host3"})
			taken = j
			return err == nil
		})
	}
	s.succeeded(taken.ID, 1)
	t.Logf("server: 1 run, jobs are taken again after %v", time.Since(began).Round(time.Millisecond))

	began = time.Now()
	free = descriptors(t, w.cmd.Process.Pid, 0)
	back := s.submit("host5", "echo >>"+marks+"/host5")
	s.comes(func() bool {
		if s.lineless() || s.roomy(back) {
			return true
		}
		reasons, err := s.client.Why(t.Context(), string(back), "host5")
		s.must(err)
		return slices.ContainsFunc(reasons, func(r api.Reason) bool {
			return strings.Contains(r.Text, "worker w1 gave it back") && strings.Contains(r.Text, "too many open files")
		})
	})
	free()
	s.succeeded(back, 1)

	free = descriptors(t, w.cmd.Process.Pid, 1)
	bad := s.submit("host4", "echo >>"+marks+"/host4")
	ended, held := s.starved(bad, free)
	if held && ended.Outcome != sluice.Succeeded && (ended.Outcome != sluice.Unreachable || !ended.NotStarted || !strings.Contains(ended.Reason, "too many open files")) {
		t.Errorf("without descriptors it ended with %+v", ended)
	}
	free()
	last := s.end(bad)
	if ended.Outcome == sluice.Unreachable {
		events, err := s.client.Retry(t.Context(), bad, nil, nil)
		s.must(err)
		last, err = s.client.Follow(t.Context(), string(bad), events[0].Seq, func(sluice.Event) {}, nil)
		s.must(err)
	}
	if b, is := last.Body.(sluice.JobFinished); !is || b.Outcome != sluice.Succeeded {
		t.Errorf("with room again it ended with %+v", last.Body)
	}
	t.Logf("worker: 1 run, over after %v", time.Since(began).Round(time.Millisecond))
	letGo(t, marks)
	s.succeeded(id, 2)
	s.keptOrSaid(id, 2)
	s.once(marks, hosts)
	s.closes()
}

// starved waits for the outcome of a host whose worker can open nothing. A line to the server that is lost under load cannot be
// made again without descriptors, so that the worker has them back then; held says that it had a line all the time.
func (s *station) starved(id sluice.JobID, free func()) (ended sluice.TaskFinished, held bool) {
	s.t.Helper()
	held = true
	s.comes(func() bool {
		if held && s.lineless() {
			free()
			held = false
		}
		events, err := s.client.Events(s.t.Context(), string(id), 0)
		s.must(err)
		for _, e := range events {
			if b, is := e.Body.(sluice.TaskFinished); is {
				ended = b
				return true
			}
		}
		return false
	})
	return ended, held
}

// lineless reports whether the worker has lost its line.
func (s *station) lineless() bool {
	list, err := s.client.Workers(s.t.Context())
	if err == nil && list[0].Health != "connected" {
		s.t.Log("the worker has lost its line, and gets its descriptors back")
		return true
	}
	return false
}

// roomy reports whether a job was carried out without descriptors: what the worker still had open when it was looked at, and has
// closed since, was room for it.
func (s *station) roomy(id sluice.JobID) bool {
	j, err := s.client.Job(s.t.Context(), string(id))
	s.must(err)
	if j.State == "succeeded" {
		s.t.Logf("there was room for job %s after all", id)
		return true
	}
	return false
}

// keptOrSaid sees that the output of held commands is whole, or that it is said that it is not.
func (s *station) keptOrSaid(id sluice.JobID, hosts int) {
	s.t.Helper()
	events, err := s.client.Events(s.t.Context(), string(id), 0)
	s.must(err)
	for _, e := range events {
		if b, is := e.Body.(sluice.TaskFinished); is {
			hosts--
			if len(b.Truncated) == 0 {
				s.printed(id, b.Host, "began\nended\n")
			} else {
				s.t.Logf("the output of %s counts as cut", b.Host)
			}
		}
	}
	if hosts != 0 {
		s.t.Errorf("%d outcomes are missing", hosts)
	}
}

// limitMemory puts a process under a limit of 96 MiB. It returns how often the kernel has killed for it.
func limitMemory(t *testing.T, pid int) (kills func() string) {
	t.Helper()
	name := fmt.Sprintf("sluice-test-%d", pid)
	group, limit, events := filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes", "memory.oom_control"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group, limit, events = filepath.Join("/sys/fs/cgroup", name), "memory.max", "memory.events"
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("skipped: no control group can be made here: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(group) })
	for file, text := range map[string]string{limit: fmt.Sprint(96 << 20), "cgroup.procs": fmt.Sprint(pid)} {
		if err := os.WriteFile(filepath.Join(group, file), []byte(text), 0o600); err != nil {
			t.Skipf("skipped: memory cannot be limited here: %v", err)
		}
	}
	return func() string {
		b, _ := os.ReadFile(filepath.Join(group, events))
		return string(b)
	}
}

// TestNoMemory: a server with little memory is sent more than fits. If the kernel kills it, it is as after any kill: what was
// acknowledged is there, what ran goes on, nothing runs twice.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	const hosts = 2
	s := newStation(t, hosts)
	s.rises()
	s.apply(s.all(2))
	s.joins("w1", nil)
	marks := t.TempDir()
	id := s.submit("$web", held(marks))
	await(t, marks+"/host1", 1)
	await(t, marks+"/host2", 1)
	kills := limitMemory(t, s.cmd.Process.Pid)
	var mu sync.Mutex
	var taken []sluice.JobID
	var senders sync.WaitGroup
	for range 16 {
		senders.Go(func() {
			for range 20 {
				j, err := s.client.Submit(t.Context(), api.Submit{Targets: "host1", Command: ": " + strings.Repeat("x", 900_000)})
				if err != nil {
					return
				}
				mu.Lock()
				taken = append(taken, j.ID)
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	t.Logf("%d jobs of 900 kB were taken; %q", len(taken), kills())
	select {
	case <-s.ended:
		t.Logf("the server ended: %v", s.cmd.ProcessState)
	default:
		s.falls()
	}
	began := time.Now()
	s.rises()
	for _, id := range taken {
		if _, err := s.client.Job(t.Context(), string(id)); err != nil {
			t.Errorf("a job that was taken: %v", err)
		}
	}
	if _, err := s.client.HaltAll(t.Context(), "default", "a test"); err != nil {
		t.Error(err)
	}
	letGo(t, marks)
	s.comes(func() bool {
		j, err := s.client.Job(t.Context(), string(id))
		return err == nil && j.Running == 0
	})
	t.Logf("1 run, over %v after the next start", time.Since(began).Round(time.Millisecond))
	s.once(marks, hosts)
	s.printed(id, "host1", "began\nended\n")
	s.closes()
}
