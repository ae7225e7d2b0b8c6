package cluster

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/lab/testfleet"
	"sluice/internal/lab/trouble"
)

// TestFaultsOfDisks breaks disks and what is on them, as [TestFaults] breaks processes and networks.
//
// A server's data are on a tmpfs of its own, which is filled. Slow disks are made by [trouble]: the kernel hands syncs and writes of one
// process over to the test, which lets them wait. That works for each server by itself, without device mapper, FUSE or a throttle of
// cgroups, which this needs no machine to have; what it cannot slow down are reads, and writes by mmap.
func TestFaultsOfDisks(t *testing.T) {
	disks := map[sluice.ServerName]*trouble.Trouble{}
	h := newHouseWith(t, func(s *server) {
		s.data, s.wrong = filepath.Join(smallDisk(t), "data"), &trouble.Trouble{}
		disks[s.name] = s.wrong
	})
	copies := func(tell func(*house, *server)) func(*house) {
		return func(h *house) { tell(h, h.others(h.owner())[0]) }
	}
	owners := func(tell func(*house, *server)) func(*house) { return func(h *house) { tell(h, h.owner()) } }
	for _, story := range []struct {
		name string
		long bool
		tell func(h *house)
	}{
		{"a disk is slow, of the owner and of a copy", false, func(h *house) { h.disksAreSlow(disks) }}, // before any is started anew
		{"the disk of the owner fills up", false, owners((*house).diskFillsUp)},
		{"the disk of the owner is full", true, owners((*house).diskIsFull)},
		{"the disk of a copy is full", false, copies((*house).diskIsFull)},
		{"all disks fill up", false, (*house).allDisksFillUp},
		{"all disks are full", true, (*house).allDisksAreFull},
		{"the journal of a copy is changed", false, copies((*house).journalIsChanged)},
		{"the journal of the owner is changed", true, owners((*house).journalIsChanged)},
		{"what etcd keeps is changed", false, copies((*house).engineIsChanged)},
		{"what etcd keeps is changed while a copy runs", true, copies((*house).engineIsChangedUnder)},
		{"what etcd keeps is changed while the owner runs", true, owners((*house).engineIsChangedUnder)},
		{"one server goes back", false, copies((*house).oneGoesBack)},
		{"all servers go back", true, (*house).allGoBack},
	} {
		if story.long && os.Getenv("SLUICE_TEST_ROUNDS") == "" {
			continue
		}
		ok := t.Run(story.name, func(t *testing.T) {
			h.t, h.again = t, nil
			for range rounds() {
				story.tell(h)
			}
			h.whole()
			slices.Sort(h.again)
			if n := len(h.again); n > 0 {
				t.Logf("%d rounds, %d hosts; from the fault, or its end, to an owner: p50 %v, p99 %v", rounds(), size(),
					h.again[n/2].Round(time.Millisecond), h.again[n*99/100].Round(time.Millisecond))
			}
		})
		h.t = t
		if !ok {
			return
		}
	}
	h.truth() // of all: when all servers start at once, that takes its time
}

// smallDisk is a file system of its own, which can be filled. etcd alone takes 130 MB of it at once.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=400m"); err != nil {
		t.Fatalf("a small file system cannot be mounted here: %v", err) // where hosts can be isolated, it can
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// disk is where a server's data are.
func (s *server) disk() string { return filepath.Dir(s.data) }

func (s *server) ballast() string { return filepath.Join(s.disk(), "ballast") }

// fill leaves so many bytes free on the disk of a server.
func (s *server) fill(left uint64) {
	s.h.t.Helper()
	f, err := os.OpenFile(s.ballast(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	s.h.must(err)
	defer f.Close()
	var st syscall.Statfs_t
	s.h.must(syscall.Statfs(s.disk(), &st))
	if free := st.Bavail * uint64(st.Bsize); free > left+fewMegabytes/2 { // at once, but for what others take meanwhile
		s.h.must(syscall.Fallocate(int(f.Fd()), 0, 0, int64(free-left-fewMegabytes/2)))
	}
	if left > 0 {
		return
	}
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 16
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		s.h.t.Fatal(err)
	}
}

// free undoes that.
func (s *server) free() {
	s.h.t.Helper()
	s.h.must(os.Remove(s.ballast()))
}

// endsItself waits until the process of a server ends, and says why.
func (s *server) endsItself(why ...string) {
	s.h.t.Helper()
	s.h.until(string(s.name)+" ends", func() bool { return !s.up() })
	if code := s.cmd.ProcessState.ExitCode(); code <= 0 {
		s.h.t.Errorf("%s ended with %v", s.name, s.cmd.ProcessState)
	}
	said := s.says.String()
	for _, w := range why {
		if !strings.Contains(said, w) {
			s.h.t.Errorf("%s ends, and does not say %q", s.name, w)
		}
	}
	if strings.Contains(said, "goroutine ") {
		s.h.t.Errorf("%s ends by a panic", s.name)
	}
}

// stop ends a server in order.
func (s *server) stop() {
	s.h.t.Helper()
	s.signal(syscall.SIGTERM)
	<-s.ended
}

// troubled waits until what is said of a server at another one says what is wrong with it.
func (s *server) troubled(words string) {
	s.h.t.Helper()
	said := ""
	defer func() {
		if s.h.t.Failed() {
			s.h.t.Log(said)
		}
	}()
	s.h.until("it is shown that "+string(s.name)+" has "+words, func() bool {
		ctx, done := s.h.briefly()
		defer done()
		c, err := s.h.any.Cluster(ctx)
		if err != nil {
			return false
		}
		for _, m := range c.Members {
			if m.Name == s.name {
				said = m.Role + ": " + m.Trouble
				return strings.Contains(m.Trouble, words) && m.Role != api.OwnerRole
			}
		}
		return false
	})
}

// another waits until another server than one owns the log, and notes how long that took.
func (h *house) another(than *server, since time.Time) {
	h.t.Helper()
	h.until("another server owns the log", func() bool { return h.owner() != than })
	h.again = append(h.again, time.Since(since))
}

// fewMegabytes is less than a server needs that owns the log, and more than it writes in a while.
const fewMegabytes = 20 << 20

// diskFillsUp: the disk of the owner has little room left. Another one owns the log, and says why; the first goes on as a copy.
func (h *house) diskFillsUp(s *server) {
	j := h.begin()
	at := time.Now()
	s.fill(fewMegabytes)
	h.another(s, at)
	j.ends()
	s.troubled("MiB left")
	h.begin().ends()
	s.free()
	h.whole()
}

// diskIsFull: the disk of one server has no room left, not a byte, while the job runs to its end. That server ends, and says why.
func (h *house) diskIsFull(s *server) {
	owns := h.owner() == s
	j := h.begin()
	at, said := time.Now(), len(s.says.String())
	s.fill(0)
	if owns {
		h.another(s, at)
	}
	j.ends()
	h.begin().ends()
	if !s.wounded(said) {
		s.troubled("MiB left")
	}
	s.free()
	s.comes(said)
	h.whole()
}

// wounded reports whether a server has said, after so much, that etcd cannot write. It may be long until etcd wants to.
func (s *server) wounded(after int) bool {
	return strings.Contains(s.says.String()[after:], "the node of the cluster cannot go on")
}

// comes starts a server that has ended, or is about to, because etcd could not write.
func (s *server) comes(after int) {
	s.h.t.Helper()
	if s.wounded(after) {
		s.endsItself("no space left on device")
		s.start()
	}
}

// allDisksFillUp: nobody can own the log. Nothing starts and nothing is taken; what is known is told, and so is why. With room it goes on by itself.
func (h *house) allDisksFillUp() {
	h.takes = 4 * time.Second // so that some hosts are left when nobody owns the log
	defer func() { h.takes = 0 }()
	j := h.begin()
	for _, s := range h.servers {
		s.fill(fewMegabytes)
	}
	s := h.servers[0]
	var since time.Time
	s.client.Stale = func(at time.Time) { since = at }
	defer func() { s.client.Stale = nil }()
	h.until("nobody owns the log", func() bool {
		ctx, done := h.briefly()
		defer done()
		_, err := s.client.Job(ctx, string(j.id))
		return err == nil && !since.IsZero()
	})
	before := h.starts(j.id)
	ctx, done := h.briefly()
	defer done()
	if _, err := s.client.Submit(ctx, api.Submit{Targets: "$web", Command: "true"}); sluice.CodeOf(err) != sluice.Contact {
		h.t.Errorf("without room it takes a job: %v", err)
	}
	if _, err := s.client.Jobs(ctx, client.JobsQuery{}); err != nil {
		h.t.Errorf("without room it does not list its jobs: %v", err)
	}
	for _, o := range h.servers {
		o.troubled("MiB left")
	}
	if now := h.starts(j.id); now != before {
		h.t.Errorf("%d commands began while nobody owned the log", now-before)
	}
	j.isKept(s) // though it hears of a majority: nobody owns the log
	at := time.Now()
	for _, s := range h.servers {
		s.free()
	}
	h.another(nil, at)
	j.halts()
	if now := h.starts(j.id); now != before {
		h.t.Errorf("%d commands began before the halt held", now-before)
	}
	j.resumes()
	j.ends()
	h.begin().ends()
	h.whole()
}

// allDisksAreFull: not a byte is left anywhere. Servers end; with room, they are started, and go on.
func (h *house) allDisksAreFull() {
	j := h.begin()
	said := map[*server]int{}
	for _, s := range h.servers {
		said[s] = len(s.says.String())
		s.fill(0)
	}
	h.until("nobody owns the log", func() bool {
		return !slices.ContainsFunc(h.servers, func(s *server) bool {
			ctx, done := h.briefly()
			defer done()
			c, err := s.client.Cluster(ctx)
			return err == nil && c.Majority && c.Owner != ""
		})
	})
	at := time.Now()
	for _, s := range h.servers {
		s.free()
	}
	for _, s := range h.servers {
		s.comes(said[s])
	}
	h.another(nil, at)
	j.ends()
	h.begin().ends()
	h.whole()
}

// crawling is a disk of 1 MiB/s, of whose syncs each fifth takes two seconds.
func crawling(dir string) trouble.Rule {
	var n atomic.Int64
	return func(c trouble.Call) (time.Duration, syscall.Errno) {
		switch {
		case !strings.HasPrefix(c.Path, dir):
			return 0, 0
		case c.Kind == trouble.Write:
			return time.Duration(c.Bytes) * time.Second >> 20, 0
		case n.Add(1)%5 == 0:
			return 2 * time.Second, 0
		}
		return 20 * time.Millisecond, 0
	}
}

// disksAreSlow: the disk of a copy crawls, then that of the owner. It takes longer, and that is all.
func (h *house) disksAreSlow(disks map[sluice.ServerName]*trouble.Trouble) {
	for what, of := range map[string]func() *server{"a copy": func() *server { return h.others(h.owner())[0] }, "the owner": h.owner} {
		s := of()
		j := h.begin()
		at := time.Now()
		disks[s.name].SetRule(crawling(s.data))
		j.ends()
		h.t.Logf("the disk of %s crawls: the job is over after %v", what, time.Since(at).Round(time.Millisecond))
		disks[s.name].SetRule(nil)
		h.whole()
	}
}

// replaced has a server whose data cannot be used any more take part again, as people do it: out, and in with nothing.
func (s *server) replaced() {
	h := s.h
	h.t.Helper()
	h.until("it is removed", func() bool {
		ctx, done := h.briefly()
		defer done()
		err := h.any.RemoveServer(ctx, s.name)
		if err != nil && sluice.CodeOf(err) != sluice.Contact {
			h.t.Logf("removing %s: %v", s.name, err)
		}
		return err == nil || sluice.CodeOf(err) == sluice.NotFound
	})
	if s.up() {
		s.h.until("it ends", func() bool { return !s.up() })
	}
	h.must(os.RemoveAll(s.data))
	h.must(os.RemoveAll(s.data + ".join"))
	s.join()
	h.whole()
}

// journalIsChanged: a value in one server's copy is another one. It is found, the server does not own the log any more, and the job goes on.
func (h *house) journalIsChanged(s *server) {
	j := h.begin()
	db, err := sql.Open("sqlite", s.data+"/journal.db?_pragma=busy_timeout(5000)")
	h.must(err)
	_, err = db.Exec("UPDATE record SET payload = zeroblob(length(payload)) WHERE ns = 'default' AND first = 3")
	h.must(errors.Join(err, db.Close()))
	j.ends()
	s.stop()
	s.start() // all is proved then, and now and then
	s.troubled("damaged")
	h.begin().ends()
	s.replaced()
}

// engineIsChanged: a value that etcd keeps on one server is another one.
func (h *house) engineIsChanged(s *server) {
	j := h.begin()
	s.stop()
	db, err := bbolt.Open(filepath.Join(s.data, "etcd/member/snap/db"), 0o600, nil)
	h.must(err)
	h.must(errors.Join(db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		k, v := b.Cursor().Last()
		v = slices.Clone(v)
		v[len(v)-1] ^= 1
		return b.Put(slices.Clone(k), v)
	}), db.Close()))
	s.start()
	s.endsItself("is not what the others keep", "sluice server members replace")
	j.ends()
	s.replaced()
}

// engineIsChangedUnder: the same in the file of a server that runs on. It ends within a minute or two; if it is the owner, another one is.
func (h *house) engineIsChangedUnder(s *server) {
	owns := h.owner() == s
	j := h.begin()
	file := filepath.Join(s.data, "etcd/member/snap/db")
	value := oldestRecord(h, file)
	text, err := os.ReadFile(file)
	h.must(err)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	h.must(err)
	at, n := time.Now(), 0
	for from := 0; ; n++ { // pages that are not in use any more have it, too
		i := bytes.Index(text[from:], value)
		if i < 0 {
			break
		}
		from += i + len(value)
		_, err := f.WriteAt([]byte{value[len(value)-1] ^ 1}, int64(from-1))
		h.must(err)
	}
	h.must(f.Close())
	if n == 0 {
		h.t.Fatal("the value is not in the file")
	}
	s.endsItself("is not what the others keep", "sluice server members replace")
	h.t.Logf("found after %v", time.Since(at).Round(time.Millisecond))
	if owns {
		h.another(s, at)
	}
	j.ends()
	s.start()
	s.endsItself("is not what the others keep")
	s.replaced()
}

// oldestRecord is how the first record of the log is kept in a file of etcd, which may be written to meanwhile.
func oldestRecord(h *house, file string) (value []byte) {
	h.t.Helper()
	copied := filepath.Join(h.t.TempDir(), "db")
	h.until("a copy of the file is whole", func() bool {
		if out, err := exec.Command("cp", file, copied).CombinedOutput(); err != nil {
			h.t.Fatalf("%v: %s", err, out)
		}
		db, err := bbolt.Open(copied, 0o600, &bbolt.Options{ReadOnly: true})
		if err != nil {
			return false
		}
		err = db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("key")).ForEach(func(_, v []byte) error {
				if value == nil && bytes.Contains(v, []byte("/log/default/")) {
					value = slices.Clone(v)
				}
				return nil
			})
		})
		return errors.Join(err, db.Close()) == nil && value != nil
	})
	return value
}

// keep copies a server's data as they are.
func (s *server) keep() {
	s.h.t.Helper()
	s.h.must(os.RemoveAll(s.data + ".kept"))
	if out, err := exec.Command("cp", "-a", "--sparse=always", s.data, s.data+".kept").CombinedOutput(); err != nil {
		s.h.t.Fatalf("%v: %s", err, out)
	}
}

// putBack has a server's data be what was kept.
func (s *server) putBack() {
	s.h.t.Helper()
	s.h.must(os.RemoveAll(s.data))
	s.h.must(os.Rename(s.data+".kept", s.data))
}

// oneGoesBack: the disk of one server is put back to what it was. It has told the others that it keeps what it has not any more, so it
// takes no part in what they decide; they go on.
func (h *house) oneGoesBack(s *server) {
	s.stop()
	s.keep()
	s.start()
	h.whole()
	h.begin().ends()
	s.stop()
	s.putBack()
	s.start()
	s.endsItself("its disk is older than it was", "sluice server members replace "+string(s.name))
	h.begin().ends()
	s.replaced()
}

// allGoBack: the disks of all servers are put back to what they were. They fit together, so nobody but a witness can tell: who has seen more
// hands that back, and from then on nothing starts before a person has decided. What was acknowledged since is lost, as it is with the disks.
func (h *house) allGoBack() {
	for _, s := range h.servers {
		s.stop()
	}
	for _, s := range h.servers {
		s.keep()
		s.start()
	}
	forget := h.remember()
	h.whole()
	j := h.begin()
	j.ends()
	seen, err := h.any.HandBack(h.t.Context(), nil)
	h.must(err)
	h.truth()
	for _, s := range h.servers {
		s.putBack()
	}
	forget()
	before := len(h.marks())
	for _, s := range h.servers {
		s.start()
	}
	h.whole()
	_, err = h.any.HandBack(h.t.Context(), seen)
	h.must(err)
	_, err = h.any.Submit(h.t.Context(), api.Submit{Targets: "$web", Command: command(0)})
	if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "others have seen more") {
		h.t.Errorf("a log that is known to have been longer takes a job: %v", err)
	}
	if n := len(h.marks()) - before; n > 0 {
		h.t.Errorf("%d commands began before a person decided", n)
	}
	_, err = h.any.Repair(h.t.Context(), "the disks were put back, and the hosts were looked at")
	h.must(err)
	h.begin().ends()
}

// remember returns what makes all that checks look at what it is now: the logs do not know of what comes until then.
func (h *house) remember() (forget func()) {
	h.t.Helper()
	sure, terms, files := h.sure.list(), h.terms.list(), map[*testfleet.Host][]byte{}
	for _, host := range h.fleet.Hosts {
		text, err := host.ReadFile(ran)
		if !errors.Is(err, fs.ErrNotExist) {
			h.must(err)
		}
		files[host] = text
	}
	return func() {
		h.t.Helper()
		h.sure.mu.Lock()
		h.sure.all = sure
		h.sure.mu.Unlock()
		h.terms.mu.Lock()
		h.terms.all = terms
		h.terms.mu.Unlock()
		for host, text := range files {
			h.must(host.WriteFile(ran, text, 0o600))
		}
	}
}
