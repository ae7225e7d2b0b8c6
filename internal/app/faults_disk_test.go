package app_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/lab/trouble"
)

// Disks that are slow, and disks that fail, under the program itself: the kernel has the test answer its syncs and writes.

// crawling is a disk of 1 MiB/s, of whose syncs each fifth takes two seconds, as far as files below a directory go.
func crawling(dir string) trouble.Rule {
	var mu sync.Mutex
	n := 0
	return func(c trouble.Call) (time.Duration, syscall.Errno) {
		if !strings.HasPrefix(c.Path, dir) {
			return 0, 0
		}
		if c.Kind == trouble.Write {
			return time.Duration(c.Bytes) * time.Second >> 20, 0
		}
		mu.Lock()
		defer mu.Unlock()
		if n++; n%5 == 0 {
			return 2 * time.Second, 0
		}
		return 20 * time.Millisecond, 0
	}
}

// TestSlowDisk: server and workers get on slowly, and that is all. No worker loses its lease, and nothing is handed on.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	const hosts = 6
	s := newStation(t, hosts)
	s.wrong = &trouble.Trouble{}
	disk := s.wrong
	s.rises()
	s.apply(s.all(3))
	var slow trouble.Trouble
	w := s.joins("w1", &slow)
	s.joins("w2", nil)
	disk.SetRule(crawling(s.data))
	slow.SetRule(crawling(w.data))
	marks := t.TempDir()
	began := time.Now()
	id := s.submit("$web", "echo $SLUICE_ATTEMPT >>"+marks+"/$SLUICE_HOST; seq 1 100000")
	// And it stands still altogether, now and then.
	over := make(chan struct{})
	var pulses sync.WaitGroup
	pulses.Go(func() {
		for _, pause := range []time.Duration{300 * time.Millisecond, 2 * time.Second, 500 * time.Millisecond, 2 * time.Second} {
			sig := syscall.SIGCONT
			if pause >= 2*time.Second {
				sig = syscall.SIGSTOP
			}
			_ = s.cmd.Process.Signal(sig)
			select {
			case <-over:
			case <-time.After(pause):
			}
		}
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
	})
	s.succeeded(id, hosts)
	close(over)
	pulses.Wait()
	t.Logf("1 run, %d hosts, took %v; a worker was heard to go %d times", hosts, time.Since(began).Round(time.Millisecond), strings.Count(s.says.String(), "worker gone"))
	disk.SetRule(nil)
	slow.SetRule(nil)
	s.once(marks, hosts)
	if said := s.says.String(); strings.Contains(said, "worker gone") {
		t.Error("a worker lost its line")
	}
	if n := s.started(id); n != hosts {
		t.Errorf("%d starts on %d hosts", n, hosts)
	}
	s.printed(id, "host1", seq(100000))
	s.closes()
}

// failing has the syncs of files fail whose path has a part in it, from when it is armed on, so many times. Later they would
// work: whoever tries again is told that all is well, as a kernel tells him that has dropped the data.
type failing struct {
	mu    sync.Mutex
	part  string
	times int
	hits  int
	after int // syncs of such files after the last failure
}

func (f *failing) arm(part string, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.part, f.times = part, times
}

func (f *failing) rule(c trouble.Call) (time.Duration, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Kind != trouble.Sync || f.part == "" || !strings.Contains(c.Path, f.part) {
		return 0, 0
	}
	if f.times == 0 {
		f.after++
		return 0, 0
	}
	f.times--
	f.hits++
	return 0, syscall.EIO
}

func (f *failing) count() (hits, after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits, f.after
}

// TestSyncFailsOnce: the disk refuses one sync of a server's files, and would take the next. The process ends and says why;
// what runs goes on, and the next start has it all.
func TestSyncFailsOnce(t *testing.T) {
	for name, part := range map[string]string{"journal": "/journal.db-wal", "anchor": "/journal.anchor", "output": "/outputs/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, 2)
			var f failing
			s.wrong = &trouble.Trouble{}
			s.wrong.SetRule(f.rule)
			s.rises()
			s.apply(s.all(2))
			w := s.joins("w1", nil)
			marks := t.TempDir()
			id := s.submit("$web", held(marks))
			await(t, marks+"/host1", 1)
			await(t, marks+"/host2", 1)
			f.arm(part, 1)
			began := time.Now()
			if name == "output" {
				letGo(t, marks)
			} else if j, err := s.client.Submit(t.Context(), api.Submit{Targets: "host1", Command: "true"}); err == nil {
				t.Errorf("a job is taken that is not in the journal: %+v", j)
			}
			select {
			case <-s.ended:
			case <-time.After(time.Minute):
				t.Fatal("the server goes on")
			}
			took := time.Since(began)
			// SQLite moves what was kept before out of its log when it closes, and syncs that; nothing new is kept by it.
			if hits, after := f.count(); hits != 1 || name != "journal" && after != 0 {
				t.Errorf("%d syncs failed, and %d more of the same files were tried", hits, after)
			}
			if code := s.cmd.ProcessState.ExitCode(); code <= 0 {
				t.Errorf("it ended with %v", s.cmd.ProcessState)
			}
			if said := s.says.String(); !strings.Contains(said, "the disk that holds") || !strings.Contains(said, "failed") {
				t.Error("it does not say why it ends")
			}
			letGo(t, marks)
			s.rises()
			s.succeeded(id, 2)
			t.Logf("1 run, ended after %v, over after %v", took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			s.once(marks, 2)
			s.printed(id, "host1", "began\nended\n")
			if w.cmd.ProcessState != nil {
				t.Error("the worker ended, too")
			}
			s.closes()
		})
	}
}

// TestWorkersSyncFails: a worker that cannot keep what it has says so, and what it has to tell gets to the server all the
// same. What was printed counts as cut, because nobody knows what of it is there.
func TestWorkersSyncFails(t *testing.T) {
	t.Parallel()
	s := newStation(t, 2)
	s.rises()
	s.apply(s.all(2))
	var f failing
	wrong := &trouble.Trouble{}
	wrong.SetRule(f.rule)
	w := s.joins("w1", wrong)
	f.arm(w.data, 1000)
	marks := t.TempDir()
	id := s.submit("$web", held(marks))
	letGo(t, marks)
	s.succeeded(id, 2)
	s.once(marks, 2)
	if hits, _ := f.count(); hits == 0 {
		t.Error("nothing was synced")
	}
	w.says.(*told).wait(t, "cannot be kept")
	s.until(id, func(e sluice.Event) bool {
		b, is := e.Body.(sluice.TaskFinished)
		return is && len(b.Truncated) > 0
	})
	f.arm("", 0)
	s.closes()
}
