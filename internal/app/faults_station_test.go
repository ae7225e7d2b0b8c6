package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/client"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/check"
	"sluice/internal/lab/testfleet"
	"sluice/internal/lab/trouble"
)

// station is a server in a process of its own, which faults may hit, with the hosts of a plain fleet and data that outlive
// it. What served can do with a server, works here, too.
type station struct {
	*served
	dir     string // not the server's data
	program string // "": this version
	args    []string
	wrong   *trouble.Trouble // of the next start; nil: nothing is
	says    *told            // of all starts
	cmd     *exec.Cmd
	ended   chan struct{}
	crew    []*process
}

// newStation starts a server that carries nothing out itself, on so many hosts.
func newStation(t *testing.T, hosts int, args ...string) *station {
	t.Helper()
	s := &station{served: &served{t: t, data: filepath.Join(t.TempDir(), "data"), fleet: testfleet.StartPlain(t, hosts)}, dir: t.TempDir(), says: newTold()}
	s.address, s.workers = freeAddress(t), freeAddress(t)
	s.args = append([]string{"--no-worker"}, args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server said:\n%s", s.says)
		}
	})
	return s
}

// rises starts the server, and returns when it answers.
func (s *station) rises() {
	s.t.Helper()
	s.launch()
	began := time.Now()
	s.comes(func() bool {
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended: %v", s.cmd.ProcessState)
		default:
		}
		resp, err := s.http().Get("http://" + s.address + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	token, err := os.ReadFile(s.path("token"))
	s.must(err)
	s.token = strings.TrimSpace(string(token))
	s.client, err = client.New("http://"+s.address, s.token, s.http())
	s.must(err)
	s.t.Logf("the server answers after %v", time.Since(began).Round(time.Millisecond))
}

// launch starts the server.
func (s *station) launch() {
	s.t.Helper()
	if s.program == "" {
		s.program = program(s.t)
	}
	cmd := exec.Command(s.program, append([]string{"server", "--data", s.data, "--listen", s.address, "--worker-listen", s.workers,
		"--admin-token-file", s.path("token")}, s.args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.fleet.Env(), s.says, s.says
	wrong := s.wrong
	s.wrong = nil
	begin(s.t, cmd, wrong)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	s.cmd, s.ended = cmd, ended
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		<-ended
	})
}

func (s *station) http() *http.Client {
	t := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	return &http.Client{Transport: t}
}

func (s *station) path(name string) string { return filepath.Join(s.dir, name) }

// falls kills the server, and waits for its end.
func (s *station) falls() {
	s.t.Helper()
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// joins starts a worker elsewhere; wrong may be nil.
func (s *station) joins(name sluice.WorkerName, wrong *trouble.Trouble) *process {
	s.t.Helper()
	p := &process{s: s.served, wrong: wrong, says: newTold()}
	p.enrol(name)
	s.crew = append(s.crew, p)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s said:\n%s", name, p.says)
		}
	})
	return p
}

// all is a fleet file with all hosts in one group, so many of which may be out at once.
func (s *station) all(limit int) string {
	return fmt.Sprintf("tag: {web: [\"host[1-%d]\"]}\nconstraint: {$web: %d}\n", len(s.fleet.Hosts), limit)
}

// once says that the command of a story ran once on each of the hosts.
func (s *station) once(marks string, hosts int) {
	s.t.Helper()
	for i := 1; i <= hosts; i++ {
		b, err := os.ReadFile(fmt.Sprintf("%s/host%d", marks, i))
		if err != nil || bytes.Count(b, []byte("\n")) != 1 {
			s.t.Errorf("on host%d it ran %q, error %v", i, b, err)
		}
	}
}

// closes ends the server, and asks the last questions: is the journal whole, does it keep the rules, has any place a secret?
func (s *station) closes() []sluice.Event {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
	for _, p := range s.crew {
		if p.cmd.ProcessState == nil {
			p.signal(syscall.SIGTERM)
		}
	}
	verified(s.t, s.data)
	events := journalOf(s.t, s.data, sluice.DefaultNamespace)
	for _, v := range check.Log(events) {
		s.t.Errorf("the journal breaks a rule: %v", v)
	}
	s.keepsSecrets()
	return events
}

// journalOf reads the journal of a server that is not there.
func journalOf(t *testing.T, dir string, ns sluice.Namespace) []sluice.Event {
	t.Helper()
	log, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	events, err := log.Read(t.Context(), ns, 0, 1<<20)
	if err = errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	return events
}

// keepsSecrets searches what server and workers wrote and said.
func (s *station) keepsSecrets() {
	s.t.Helper()
	key, err := os.ReadFile(s.fleet.Identity)
	s.must(err)
	secrets := []string{s.token, strings.Split(string(key), "\n")[2]}
	look := func(where string, data []byte) {
		for _, secret := range secrets {
			if bytes.Contains(data, []byte(secret)) {
				s.t.Errorf("%s has a secret", where)
			}
		}
	}
	look("what the server said", []byte(s.says.String()))
	dirs := []string{s.data}
	for _, p := range s.crew {
		dirs = append(dirs, p.data)
		look("what a worker said", []byte(fmt.Sprint(p.says)))
	}
	for _, dir := range dirs {
		s.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			look(path, b)
			return err
		}))
	}
}
