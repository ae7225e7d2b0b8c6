package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/internal/lab/simhosts"
)

// lab is the processes of a measurement.
type lab struct {
	dir, program string
	address      string
	token        string
	hosts        *exec.Cmd
	server       *exec.Cmd
	log          *os.File
}

func newLab() (*lab, error) {
	dir, err := os.MkdirTemp("", "serverbench")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, program: filepath.Join(dir, "simulated")}
	if out, err := exec.Command("go", "build", "-o", l.program, "sluice/internal/lab/simulated").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	if l.log, err = os.Create(l.path("log")); err != nil {
		return nil, err
	}
	l.hosts = exec.Command(l.program, "hosts", l.path("hosts"), l.path("trace"))
	if err := l.hosts.Start(); err != nil {
		return nil, err
	}
	err = wait(func() bool { _, err := os.Stat(l.path("hosts")); return err == nil })
	return l, err
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) close() {
	l.stop()
	_ = l.hosts.Process.Kill()
	_ = l.hosts.Wait()
	_ = l.log.Close()
	_ = os.RemoveAll(l.dir)
}

func wait(is func() bool) error {
	for end := time.Now().Add(5 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("it takes more than five minutes")
		}
	}
	return nil
}

// command is the program itself, on simulated hosts.
func (l *lab) command(args ...string) *exec.Cmd {
	c := exec.Command(l.program, args...)
	c.Env = append(os.Environ(), "SIMULATED_HOSTS="+l.path("hosts"), "HOME="+l.dir, "SLUICE_SERVER=http://"+l.address, "SLUICE_TOKEN="+l.token)
	c.Stderr = l.log
	return c
}

// serve starts a server on data of a name, and returns when it takes jobs.
func (l *lab) serve(data string, flags ...string) error {
	if l.address == "" {
		n, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		l.address = n.Addr().String()
		_ = n.Close()
	}
	l.server = l.command(append([]string{"server", "--data", l.path(data), "--listen", l.address, "--admin-token-file", l.path("token"), "--log-level", "error"}, flags...)...)
	if err := l.server.Start(); err != nil {
		return err
	}
	err := wait(func() bool {
		r, err := http.Get("http://" + l.address + "/readyz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	if text, is := os.ReadFile(l.path("token")); is == nil {
		l.token = strings.TrimSpace(string(text))
	}
	return err
}

// stop is kill -9.
func (l *lab) stop() {
	if l.server != nil {
		_ = l.server.Process.Kill()
		_ = l.server.Wait()
		l.server = nil
	}
}

// peak is the most memory that a process had, in MB.
func peak(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kb >> 10
}

type job struct {
	ID     string         `json:"id"`
	State  string         `json:"state"`
	Counts map[string]int `json:"counts"`
}

func (l *lab) ask(method, path string, body any, out any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, "http://"+l.address+"/api/v1/"+path, in)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+l.token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
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
	err := wait(func() bool {
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

// marks are what happened on the hosts for a job.
func (l *lab) marks(id string) (out []simhosts.Mark, err error) {
	f, err := os.Open(l.path("trace"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var m simhosts.Mark
		if json.Unmarshal(lines.Bytes(), &m) == nil && strings.HasPrefix(m.Attempt, id+"-") {
			out = append(out, m)
		}
	}
	return out, lines.Err()
}
