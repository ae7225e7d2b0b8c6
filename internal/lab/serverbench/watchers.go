package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

const watchers = 200

// watched is a job on ten thousand hosts that many follow, and questions meanwhile.
func watched(l *lab) (section, error) {
	s := section{title: "Those who watch", head: []string{"watchers", "s to the last event of the last one", "saw every end", "server CPU s", "watchers' CPU s", "server MB", "API p50 ms", "API p99 ms", "questions"},
		about: fmt.Sprintf("A job on %d hosts, %d at once, %v each, carried out by the server's own worker. Watchers follow its events to the end; they are in one\n"+
			"process, which reads %d events for each. Somebody asks for the job every 50 ms meanwhile.", many, atOnce, wave, 3*many)}
	if err := l.serve("--worker-limit", fmt.Sprint(atOnce)); err != nil {
		return s, err
	}
	for _, n := range []int{0, watchers} {
		if err := l.follow(&s, n); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (l *lab) follow(s *section, n int) error {
	ctx, stop := context.WithCancel(l.ctx)
	defer stop()
	server, self := usedBy(l.servers...), usedByPID(os.Getpid())
	began := time.Now()
	j, err := l.submit(many, atOnce, "sim "+wave.String())
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	seen := make([]int, n)
	for i := range n {
		all.Go(func() { seen[i] = l.watch(ctx, j.ID) })
	}
	over := make(chan error, 1)
	go func() {
		err := l.end(j.ID)
		if err == nil {
			all.Wait()
		}
		over <- err
	}()
	var asked []time.Duration
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for going := true; going; {
		select {
		case err := <-over:
			if err != nil {
				return err
			}
			going = false
		case <-look.C:
			at := time.Now()
			if err := l.ask("GET", "jobs/"+j.ID, nil, nil); err == nil {
				asked = append(asked, time.Since(at))
			}
		}
	}
	took, good := time.Since(began), 0
	for _, ends := range seen {
		if ends == many {
			good++
		}
	}
	slices.Sort(asked)
	s.row(fmt.Sprint(n), seconds(took), fmt.Sprint(good), seconds(usedBy(l.servers...).since(server).cpu), seconds(usedByPID(os.Getpid()).since(self).cpu),
		fmt.Sprint(peak(l.servers[0])), millis(percentile(asked, 0.5)), millis(percentile(asked, 0.99)), fmt.Sprint(len(asked)))
	if good != n {
		return fmt.Errorf("%d of %d watchers saw the end of every host", good, n)
	}
	return nil
}

// watch follows a job and counts the ends of hosts.
func (l *lab) watch(ctx context.Context, id string) (ends int) {
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.address+"/api/v1/jobs/"+id+"/events", nil)
	if err != nil {
		return -1
	}
	r.Header.Set("Authorization", "Bearer "+l.token)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := client.Do(r)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if bytes.Contains(lines.Bytes(), []byte(`"task.finished"`)) {
			ends++
		}
	}
	return ends
}

// rest is what a server needs that has nothing to do.
func rest(l *lab) (section, error) {
	const idle = 20 * time.Second
	s := section{title: "At rest", head: []string{"who", "CPU ms/s", "memory MB"},
		about: fmt.Sprintf("Three workers are connected and ten people watch a job that waits for a host which is held. %v of that.", idle)}
	if err := l.serve("--no-worker"); err != nil {
		return s, err
	}
	if err := l.work(3, 100); err != nil {
		return s, err
	}
	if err := l.ask("POST", "namespaces/default/hosts/hold", map[string]any{"hosts": []string{"h1"}, "reason": "measured"}, nil); err != nil {
		return s, err
	}
	j, err := l.submit(1, 1, "sim 1ms")
	if err != nil {
		return s, err
	}
	ctx, stop := context.WithCancel(l.ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for range 10 {
		all.Go(func() { l.watch(ctx, j.ID) })
	}
	time.Sleep(2 * time.Second) // what is to be told about the beginning has been
	server, worker := usedBy(l.servers...), usedBy(l.workers[0])
	time.Sleep(idle)
	server, worker = usedBy(l.servers...).since(server), usedBy(l.workers[0]).since(worker)
	per := func(u used) string { return fmt.Sprintf("%.1f", float64(u.cpu.Milliseconds())/idle.Seconds()) }
	s.row("server", per(server), fmt.Sprint(peak(l.servers[0])))
	s.row("one worker", per(worker), fmt.Sprint(peak(l.workers[0])))
	s.aim(aim{what: "processor time of a server at rest", shall: "< 10 ms/s", is: per(server) + " ms/s", met: server.cpu < idle/100})
	return s, nil
}
