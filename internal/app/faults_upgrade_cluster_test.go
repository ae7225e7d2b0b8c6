package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/check"
	"sluice/internal/lab/testfleet"
)

// firstCluster is the commit that brought clusters. While there is no release, it is the version before this one; the first release takes
// its place here, and each one that of the one before.
const firstCluster = "e2c3e61b333d83fc707107a5a0626244bcd8b49a"

// errNotHere says that this checkout does not reach back to a commit: it is a shallow one, or none of git.
var errNotHere = errors.New("this checkout does not have the version before")

// before is the program of the version before this one, built of the sources as they were then.
var before = sync.OnceValues(func() (string, error) {
	if err := exec.Command("git", "-C", "../..", "cat-file", "-e", firstCluster+"^{commit}").Run(); err != nil {
		return "", errNotHere
	}
	dir := filepath.Join(built.dir, "before")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	var sources bytes.Buffer
	archive := exec.Command("git", "-C", "../..", "archive", firstCluster)
	archive.Stdout = &sources
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = &sources
	for _, c := range []*exec.Cmd{archive, unpack} {
		var said bytes.Buffer
		c.Stderr = &said
		if err := c.Run(); err != nil {
			return "", sluice.Errorf(sluice.Usage, "%s: %v: %s", c, err, said.String())
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "older"), "./cmd/sluice")
	build.Dir = dir
	out, err := build.CombinedOutput()
	if err != nil {
		return "", sluice.Errorf(sluice.Usage, "%v: %s", err, out)
	}
	return filepath.Join(dir, "older"), nil
})

// clusterVersions are two programs of which one follows the other, and both know clusters: SLUICE_OLDER and this one; or the version before
// and this one; or, where neither is here, this one and the next, as far as others can tell.
func clusterVersions(t *testing.T) (older, next string) {
	t.Helper()
	this := program(t)
	if path := os.Getenv("SLUICE_OLDER"); path != "" {
		return path, this
	}
	path, err := before()
	switch {
	case err == nil:
		t.Logf("from the commit %.7s to these sources", firstCluster)
		return path, this
	case !errors.Is(err, errNotHere):
		t.Fatal(err)
	}
	t.Logf("%v: from these sources to the same with other numbers", err)
	if path, err = newer(); err != nil {
		t.Fatal(err)
	}
	return this, path
}

// trio are three servers of a cluster, each in a process of its own, and a worker, on hosts that live on.
type trio struct {
	*served // goes to any server
	of      map[sluice.ServerName]*station
	worker  *process
}

var three = []sluice.ServerName{"a", "b", "c"}

// newTrio makes a cluster of servers of one program.
func newTrio(t *testing.T, program string, hosts int) *trio {
	t.Helper()
	c := &trio{of: map[sluice.ServerName]*station{}, served: &served{t: t, fleet: testfleet.StartPlain(t, hosts)}}
	var urls []string
	for _, name := range three {
		s := &station{served: &served{t: t, data: filepath.Join(t.TempDir(), "data"), fleet: c.fleet}, dir: t.TempDir(), says: newTold(), program: program}
		s.address, s.workers = freeAddress(t), freeAddress(t)
		s.args = []string{"--cluster", twoPorts(t), "--name", string(name)}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s said:\n%s", name, s.says)
			}
		})
		c.of[name] = s
		urls = append(urls, "http://"+s.address)
	}
	first := c.of["a"]
	first.launch()
	c.soon("the first token", func() bool {
		text, err := os.ReadFile(first.path("token"))
		c.token = strings.TrimSpace(string(text))
		return err == nil && c.token != ""
	})
	for _, name := range three {
		c.of[name].token = c.token
		c.of[name].connect()
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	var err error
	c.client, err = client.New(strings.Join(urls, ","), c.token, &http.Client{Transport: transport})
	c.must(err)
	c.is("a", "owner")
	for _, name := range three[1:] {
		invited, err := c.client.InviteServer(t.Context(), name, "")
		c.must(err)
		s := c.of[name]
		c.must(os.WriteFile(s.path("join"), []byte(invited.Token+"\n"), 0o600))
		s.args = append(s.args, "--join", s.path("join"))
		s.launch()
		c.is(name, "copy")
	}
	c.apply(first.all(2))
	c.workers = first.workers
	c.worker = &process{s: c.served, program: program, says: newTold()}
	c.worker.enrol("w1")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the worker said:\n%s", c.worker.says)
		}
	})
	return c
}

// ends has a server end in order.
func (s *station) ends() {
	s.t.Helper()
	s.must(s.cmd.Process.Signal(syscall.SIGTERM))
	<-s.ended
}

// cluster is what a majority says of the servers.
func (c *trio) cluster() (out api.Cluster) {
	c.t.Helper()
	c.soon("a server knows the others", func() bool {
		got, err := c.client.Cluster(c.t.Context())
		out = got
		return err == nil && got.Majority && got.Owner != ""
	})
	return out
}

// soon waits for what takes long on a machine that does much at a time.
func (c *trio) soon(what string, is func() bool) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(2 * time.Minute); !is(); {
		select {
		case <-tick.C:
		case <-late:
			c.t.Fatalf("it never came: %s", what)
		}
	}
}

// is waits until a server has one of these roles, and all of the log.
func (c *trio) is(name sluice.ServerName, roles ...string) {
	c.t.Helper()
	c.soon(fmt.Sprintf("%s is %q", name, roles), func() bool {
		return slices.ContainsFunc(c.cluster().Members, func(m api.Member) bool {
			return m.Name == name && slices.Contains(roles, m.Role) && m.Behind != nil && *m.Behind == 0
		})
	})
}

// turns restarts one server with a program, as the documents say: when it is back, it has all of the log.
func (c *trio) turns(name sluice.ServerName, program string) {
	c.t.Helper()
	c.of[name].ends()
	c.of[name].program = program
	c.of[name].launch()
	c.is(name, "copy", "owner")
}

// owner is who owns the log, and others are the rest.
func (c *trio) owner() (owner sluice.ServerName, others []sluice.ServerName) {
	c.t.Helper()
	owner = c.cluster().Owner
	return owner, slices.DeleteFunc(slices.Clone(three), func(name sluice.ServerName) bool { return name == owner })
}

// TestUpgradeCluster: the three servers of a cluster and a worker change to the next version, one after the other, while one job runs from
// before the first change to after the last, and others in the middle of each. New servers follow an older owner, and older ones a new
// owner; one goes back. Nothing is lost, nothing runs twice. A server that is too many versions away is refused, says so, and takes nothing
// over.
func TestUpgradeCluster(t *testing.T) {
	slow(t)
	t.Parallel()
	older, next := clusterVersions(t)
	far, err := farther()
	if err != nil {
		t.Fatal(err)
	}
	const hosts = 5 // the first of which has the long job
	c := newTrio(t, older, hosts)
	marks := t.TempDir()
	long := c.submit("host1", held(marks))
	await(t, marks+"/host1", 1)
	var jobs []sluice.JobID
	during := func(what string, change func()) {
		t.Helper()
		marks := t.TempDir()
		id := c.submit("$web & !host1", held(marks))
		jobs = append(jobs, id)
		await(t, marks+"/host2", 1) // host1 has the other place
		began := time.Now()
		change()
		letGo(t, marks)
		c.succeeded(id, hosts-1)
		t.Logf("%s: over after %v", what, time.Since(began).Round(time.Millisecond))
		for i := 2; i <= hosts; i++ {
			if text, err := os.ReadFile(fmt.Sprintf("%s/host%d", marks, i)); err != nil || bytes.Count(text, []byte("\n")) != 1 {
				t.Errorf("%s: on host%d it ran %q, error %v", what, i, text, err)
			}
			c.printed(id, sluice.Host(fmt.Sprintf("host%d", i)), "began\nended\n")
		}
		if t.Failed() {
			t.Fatal(c.story(id))
		}
	}
	was, others := c.owner()
	during("a newer copy, an older owner", func() { c.turns(others[0], next) })
	during("two newer copies, an older owner", func() { c.turns(others[1], next) })
	during("an older copy, a newer owner", func() { c.turns(was, older) })
	for now, _ := c.owner(); now == was; now, _ = c.owner() { // on a machine that does much, a term can end by itself
		during("the older one owns the log again", func() { c.turns(was, older) })
	}
	during("all servers newer, an older worker", func() { c.turns(was, next) })
	during("a newer worker", func() {
		c.worker.signal(syscall.SIGTERM)
		c.worker.program = next
		c.worker.start()
		c.health("w1", "connected")
	})
	during("one server older again", func() {
		_, others := c.owner()
		was = others[0]
		c.turns(was, older)
	})
	during("and newer again", func() { c.turns(was, next) })

	during("a server that is too many versions away", func() {
		owner, others := c.owner()
		alien := others[0]
		s := c.of[alien]
		s.ends()
		s.program = far
		s.launch()
		const why = "of what servers say to each other"
		c.soon(string(alien)+" says why it answers nothing", func() bool {
			_, err := s.client.Jobs(t.Context(), client.JobsQuery{})
			return sluice.CodeOf(err) == sluice.Config && strings.Contains(err.Error(), why)
		})
		c.soon("the owner says why it does not hear "+string(alien), func() bool {
			got, err := c.of[owner].client.Cluster(t.Context())
			return err == nil && slices.ContainsFunc(got.Members, func(m api.Member) bool {
				return m.Name == alien && m.Role == api.LostRole && strings.Contains(m.Trouble, why)
			})
		})
		// The owner goes. Another one takes the log over, and not the one that the others do not understand.
		c.of[owner].ends()
		c.soon("another one owns the log", func() bool {
			got, err := c.of[others[1]].client.Cluster(t.Context())
			if err == nil && got.Owner == alien {
				t.Fatalf("%s owns the log", alien)
			}
			return err == nil && got.Owner == others[1]
		})
		c.of[owner].launch()
		c.is(owner, "copy", "owner")
		c.turns(alien, next)
	})

	letGo(t, marks)
	c.succeeded(long, 1)
	c.printed(long, "host1", "began\nended\n")
	if t.Failed() {
		t.Log(c.story(long))
	}
	if text, err := os.ReadFile(marks + "/host1"); err != nil || bytes.Count(text, []byte("\n")) != 1 {
		t.Errorf("on host1 it ran %q, error %v", text, err)
	}
	for _, name := range three {
		c.is(name, "copy", "owner")
	}
	c.closes(append(jobs, long))
}

// closes ends all servers, and asks the last questions: are the logs whole and the same, do they keep the rules, is everything there?
func (c *trio) closes(jobs []sluice.JobID) {
	c.t.Helper()
	for _, name := range three {
		c.must(c.of[name].cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, name := range three {
		<-c.of[name].ended
		verified(c.t, c.of[name].data)
	}
	var logs [][]sluice.Record
	for _, name := range three {
		logs = append(logs, c.records(name))
	}
	for i, name := range three[1:] {
		n := min(len(logs[0]), len(logs[i+1])) // what was appended last may not have come everywhere
		if n+2 < max(len(logs[0]), len(logs[i+1])) || !slices.EqualFunc(logs[0][:n], logs[i+1][:n], func(a, b sluice.Record) bool {
			return a.Namespace == b.Namespace && a.First == b.First && a.Hash == b.Hash && bytes.Equal(a.Payload, b.Payload)
		}) {
			c.t.Errorf("%s has another log than a: %d and %d records", name, len(logs[i+1]), len(logs[0]))
		}
	}
	for _, name := range three {
		events := journalOf(c.t, c.of[name].data, sluice.DefaultNamespace)
		for _, v := range check.Log(events) {
			c.t.Errorf("the log of %s breaks a rule: %v", name, v)
		}
		over := 0
		for _, e := range events {
			if b, is := e.Body.(sluice.JobFinished); is && b.Outcome == sluice.Succeeded && slices.Contains(jobs, e.Job) {
				over++
			}
		}
		if over != len(jobs) {
			c.t.Errorf("%s has %d jobs that succeeded of %d", name, over, len(jobs))
		}
	}
}

// records are those of the log of a server that does not run, of the namespace with the jobs.
func (c *trio) records(name sluice.ServerName) (out []sluice.Record) {
	c.t.Helper()
	log, err := sqlitelog.Open(c.t.Context(), sqlitelog.Config{Dir: c.of[name].data})
	c.must(err)
	defer func() { c.must(log.Close()) }()
	c.must(log.Records(c.t.Context(), nil, func(r sluice.Record) error {
		if r.Namespace == sluice.DefaultNamespace {
			r.Payload = bytes.Clone(r.Payload)
			out = append(out, r)
		}
		return nil
	}))
	return out
}
