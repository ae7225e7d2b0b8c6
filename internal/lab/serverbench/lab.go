package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/internal/lab/simhosts"
)

// lab is the processes of one part: hosts, a server, workers.
type lab struct {
	dir, program string
	profile      string // where the server can be profiled; "" is nowhere
	address      string
	token        string
	log          *os.File
	hosts        *exec.Cmd
	servers      []*exec.Cmd // one, or those of a cluster
	workers      []*exec.Cmd
	ctx          context.Context // ends when the part takes too long

	read  int64 // of the trace
	marks map[string][]simhosts.Mark
}

func newLab(ctx context.Context, program, profile string) (*lab, error) {
	dir, err := os.MkdirTemp("", "serverbench")
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, dir: dir, program: program, profile: profile, marks: map[string][]simhosts.Mark{}}
	if l.log, err = os.Create(l.path("log")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	l.hosts = exec.Command(program, "hosts", l.path("hosts"), l.path("trace"))
	if err := l.hosts.Start(); err != nil {
		return nil, errors.Join(err, l.log.Close(), os.RemoveAll(dir))
	}
	if err := l.wait(func() bool { _, err := os.Stat(l.path("hosts")); return err == nil }); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// close ends all that there is.
func (l *lab) close() {
	l.kill()
	_ = l.hosts.Process.Kill()
	_ = l.hosts.Wait()
	_ = l.log.Close()
	_ = os.RemoveAll(l.dir)
}

// said is the end of what the processes wrote to their standard error.
func (l *lab) said() string {
	text, _ := os.ReadFile(l.path("log"))
	s := strings.TrimSpace(string(text))
	return s[max(0, len(s)-2000):]
}

var errLate = errors.New("it took too long")

// wait asks every millisecond.
func (l *lab) wait(is func() bool) error {
	looked := time.Now()
	for !is() {
		if l.ctx.Err() != nil {
			return errLate
		}
		if time.Since(looked) > time.Second {
			if looked = time.Now(); l.gone() {
				return errors.New("a server has ended")
			}
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// gone reports whether a server has ended by itself.
func (l *lab) gone() bool {
	return slices.ContainsFunc(l.servers, func(c *exec.Cmd) bool {
		if c == nil || c.Process == nil || c.ProcessState != nil { // it was ended here
			return false
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

// command is the program itself, on simulated hosts.
func (l *lab) command(args ...string) *exec.Cmd {
	c := exec.Command(l.program, args...)
	c.Env = append(os.Environ(), "SIMULATED_HOSTS="+l.path("hosts"), "HOME="+l.dir, "XDG_STATE_HOME="+l.path("state"))
	if l.address != "" {
		c.Env = append(c.Env, "SLUICE_SERVER=http://"+l.address, "SLUICE_TOKEN="+l.token)
	}
	c.Stderr = l.log
	return c
}

// serve starts the server, and returns when it takes jobs.
func (l *lab) serve(flags ...string) error {
	if l.address == "" {
		ports, err := free(1)
		if err != nil {
			return err
		}
		l.address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	}
	s := l.command(append([]string{"server", "--data", l.path("data"), "--listen", l.address, "--admin-token-file", l.path("token"), "--log-level", "error"}, flags...)...)
	if l.profile != "" {
		s.Env = append(s.Env, "SIMULATED_PPROF="+l.profile)
	}
	if err := s.Start(); err != nil {
		return err
	}
	l.servers = []*exec.Cmd{s}
	return l.ready()
}

// ready waits until the server takes jobs.
func (l *lab) ready() error {
	err := l.wait(func() bool {
		r, err := http.NewRequestWithContext(l.ctx, "GET", "http://"+l.address+"/readyz", nil)
		if err != nil {
			return false
		}
		answer, err := client.Do(r)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	if text, is := os.ReadFile(l.path("token")); is == nil {
		l.token = strings.TrimSpace(string(text))
	}
	return err
}

// free are ports of the loopback that nobody uses, in a row.
func free(n int) ([]int, error) {
	for range 1000 {
		first := lowest + mathrand.IntN(highest-lowest-n)
		var ports []int
		var all []net.Listener
		for len(ports) < n {
			next, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+len(ports)))
			if err != nil {
				break
			}
			ports, all = append(ports, first+len(ports)), append(all, next)
		}
		for _, l := range all {
			_ = l.Close()
		}
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports in a row", n)
}

// lowest and highest bound the ports of servers: none that the system gives to whoever connects somewhere, or one that is started again may find
// its own taken.
const lowest, highest = 15_000, 32_000

// work starts workers elsewhere, and returns when they are connected.
func (l *lab) work(n, limit int) error {
	for i := range n {
		name := fmt.Sprintf("w%d", i+1)
		token, err := l.command("workers", "invite", name).Output()
		if err != nil {
			return fmt.Errorf("inviting a worker: %w", err)
		}
		if err := os.WriteFile(l.path(name+".token"), token, 0o600); err != nil {
			return err
		}
		w := l.command("worker", "--server", "http://"+l.address, "--data", l.path(name), "--enrol-file", l.path(name+".token"), "--limit", fmt.Sprint(limit))
		if err := w.Start(); err != nil {
			return err
		}
		l.workers = append(l.workers, w)
	}
	return l.wait(func() bool {
		var list struct {
			Workers []struct {
				Health string `json:"health"`
			} `json:"workers"`
		}
		_ = l.ask("GET", "workers", nil, &list)
		connected := 0
		for _, w := range list.Workers {
			if w.Health == "connected" {
				connected++
			}
		}
		return connected >= n
	})
}

// kill is kill -9 of all servers and workers.
func (l *lab) kill() {
	for _, p := range append(l.servers, l.workers...) {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	l.servers, l.workers = nil, nil
}

type job struct {
	ID     string         `json:"id"`
	State  string         `json:"state"`
	Counts map[string]int `json:"counts"`
}

// client has connections enough for all who ask at once.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

func (l *lab) ask(method, path string, body any, out any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(l.ctx, method, "http://"+l.address+"/api/v1/"+path, in)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+l.token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", method, path, text)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	return err
}

// submit asks for a job on so many hosts.
func (l *lab) submit(hosts, atOnce int, command string) (j job, err error) {
	err = l.ask("POST", "jobs", map[string]any{"targets": fmt.Sprintf("h[1-%d]", hosts), "command": command,
		"options": map[string]any{"concurrency": atOnce}}, &j)
	return j, err
}

// end waits for the end of a job, and holds it to success.
func (l *lab) end(id string) error {
	var j job
	err := l.wait(func() bool {
		if l.ask("GET", "jobs/"+id, nil, &j) != nil {
			return false
		}
		if j.State == "waiting" || j.State == "running" {
			time.Sleep(50 * time.Millisecond)
			return false
		}
		return true
	})
	if err == nil && j.State != "succeeded" {
		err = fmt.Errorf("job %s is %s: %v", id, j.State, j.Counts)
	}
	return err
}

// happened is what happened on the hosts for a job, so far. The trace is read once, line by line.
func (l *lab) happened(id string) []simhosts.Mark {
	f, err := os.Open(l.path("trace"))
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.NewSectionReader(f, l.read, 1<<40))
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return l.marks[id]
		}
		l.read, text = l.read+int64(len(line))+1, rest
		var m simhosts.Mark
		if json.Unmarshal(line, &m) == nil {
			of, _, _ := strings.Cut(m.Attempt, "-")
			l.marks[of] = append(l.marks[of], m)
		}
	}
}
