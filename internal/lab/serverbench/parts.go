package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// ready is how soon a server takes jobs.
func ready(l *lab) ([]row, error) {
	began := time.Now()
	if err := l.serve("main"); err != nil {
		return nil, err
	}
	took := time.Since(began)
	return []row{{"from nothing to a server that takes jobs", took.Round(time.Millisecond).String(), "1s", met(took < time.Second)}}, nil
}

// moments are how long it is from a wish to what follows.
func moments(l *lab) ([]row, error) {
	var first, last []time.Duration
	for range 40 {
		asked := time.Now()
		j, err := l.submit(20, 5, "sim 100ms")
		if err != nil {
			return nil, err
		}
		if err := wait(func() bool { m, _ := l.marks(j.ID); return len(m) > 5 }); err != nil {
			return nil, err
		}
		halt := time.Now()
		if err := l.ask("POST", "jobs/"+j.ID+"/halt", map[string]string{"reason": "measured"}, nil); err != nil {
			return nil, err
		}
		if err := wait(func() bool { var now job; _ = l.ask("GET", "jobs/"+j.ID, nil, &now); return now.State == "halted" }); err != nil {
			return nil, err
		}
		marks, err := l.marks(j.ID)
		if err != nil {
			return nil, err
		}
		late := time.Duration(0)
		for i, m := range marks {
			if i == 0 {
				first = append(first, m.Time.Sub(asked))
			}
			if m.What == "start" {
				late = max(late, m.Time.Sub(halt))
			}
		}
		last = append(last, late)
	}
	slices.Sort(first)
	slices.Sort(last)
	return []row{{"submit to the first command on a host", both(first), "", ""},
		{"halt to the last start", both(last), "", ""}}, nil
}

// restarts are how long nothing starts when a server is killed in the middle of a job.
func restarts(l *lab) ([]row, error) {
	var gaps []time.Duration
	for range 20 {
		j, err := l.submit(200, 20, "sim 30ms")
		if err != nil {
			return nil, err
		}
		if err := wait(func() bool { m, _ := l.marks(j.ID); return len(m) > 40 }); err != nil {
			return nil, err
		}
		killed := time.Now()
		l.stop()
		if err := l.serve("main"); err != nil {
			return nil, err
		}
		if err := l.end(j.ID); err != nil {
			return nil, err
		}
		marks, err := l.marks(j.ID)
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			if m.What == "start" && m.Time.After(killed) {
				gaps = append(gaps, m.Time.Sub(killed))
				break
			}
		}
	}
	slices.Sort(gaps)
	return []row{{"server killed, to the next start on a host", both(gaps), "", ""}}, nil
}

const wave = 100 * time.Millisecond

// timed has a job carried out and tells how long it took over what the hosts need.
func (l *lab) timed(hosts, atOnce int) (took, needed time.Duration, err error) {
	began := time.Now()
	j, err := l.submit(hosts, atOnce, "sim "+wave.String())
	if err == nil {
		err = l.end(j.ID)
	}
	return time.Since(began), time.Duration((hosts+atOnce-1)/atOnce) * wave, err
}

func (l *lab) jobRow(who string, hosts, atOnce int) (row, error) {
	took, needed, err := l.timed(hosts, atOnce)
	return row{fmt.Sprintf("job on %d hosts, %d at once, %s", hosts, atOnce, who),
		fmt.Sprintf("%.1f s, of which the hosts need %.1f s; %.0f events/s durable; server %d MB", took.Seconds(), needed.Seconds(),
			float64(3*hosts)/took.Seconds(), peak(l.server.Process.Pid)), "", ""}, err
}

// many is a job on ten thousand hosts with the server's own worker.
func many(l *lab) ([]row, error) {
	r, err := l.jobRow("the server's own worker", 10_000, 1000)
	return []row{r}, err
}

// watched is the same with two hundred who watch, and questions meanwhile.
func watched(l *lab) ([]row, error) {
	const watchers, hosts = 200, 10_000
	j, err := l.submit(hosts, 1000, "sim "+wave.String())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	var all sync.WaitGroup
	whole := make(chan bool, watchers)
	for range watchers {
		all.Go(func() { whole <- l.watch(j.ID) == hosts })
	}
	var asked []time.Duration
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	for going := true; going; {
		select {
		case <-over:
			going = false
		case <-time.After(50 * time.Millisecond):
			at := time.Now()
			if err := l.ask("GET", "jobs/"+j.ID, nil, nil); err == nil {
				asked = append(asked, time.Since(at))
			}
		}
	}
	took, good := time.Since(began), 0
	for range watchers {
		if <-whole {
			good++
		}
	}
	slices.Sort(asked)
	return []row{{fmt.Sprintf("the same with %d watchers, to their last event", watchers), fmt.Sprintf("%.1f s; %d saw every end; server %d MB", took.Seconds(), good,
		peak(l.server.Process.Pid)), "", ""}, {"the API meanwhile, GET of the job", both(asked), "", ""}}, nil
}

// watch follows a job and counts the ends of hosts.
func (l *lab) watch(id string) (ends int) {
	r, err := http.NewRequest("GET", "http://"+l.address+"/api/v1/jobs/"+id+"/events", nil)
	if err != nil {
		return -1
	}
	r.Header.Set("Authorization", "Bearer "+l.token)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"task.finished"`) {
			ends++
		}
	}
	return ends
}

// apart is a job through three workers of their own.
func apart(l *lab) ([]row, error) {
	l.stop()
	l.address = ""
	if err := l.serve("apart", "--no-worker"); err != nil {
		return nil, err
	}
	var workers []*exec.Cmd
	defer func() {
		for _, w := range workers {
			_ = w.Process.Kill()
			_ = w.Wait()
		}
	}()
	for i := range 3 {
		name := fmt.Sprintf("w%d", i+1)
		token, err := l.command("workers", "invite", name).Output()
		if err != nil {
			return nil, fmt.Errorf("inviting a worker: %w", err)
		}
		if err := os.WriteFile(l.path(name+".token"), token, 0o600); err != nil {
			return nil, err
		}
		w := l.command("worker", "--server", "http://"+l.address, "--data", l.path(name), "--enrol-file", l.path(name+".token"), "--limit", "400")
		if err := w.Start(); err != nil {
			return nil, err
		}
		workers = append(workers, w)
	}
	err := wait(func() bool {
		var list struct {
			Workers []struct {
				Health string `json:"health"`
			} `json:"workers"`
		}
		_ = l.ask("GET", "workers", nil, &list)
		n := 0
		for _, w := range list.Workers {
			if w.Health == "connected" {
				n++
			}
		}
		return n >= 3
	})
	if err != nil {
		return nil, err
	}
	r, err := l.jobRow("three workers elsewhere", 10_000, 1000)
	if err == nil {
		r.figure += fmt.Sprintf(", a worker %d MB", peak(workers[0].Process.Pid))
	}
	return []row{r}, err
}

// huge is the largest job.
func huge(l *lab, hosts int) ([]row, error) {
	l.stop()
	l.address = ""
	if err := l.serve("huge"); err != nil {
		return nil, err
	}
	r, err := l.jobRow("the server's own worker", hosts, 1000)
	r.aim, r.met = "2 GiB", met(peak(l.server.Process.Pid) < 2048)
	return []row{r}, err
}
