package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// seat is one server of a cluster.
type seat struct {
	name                    string
	address, workers, peers string
	joins                   string // the file that its invitation is in; "": it is the first
}

// trio is three servers of one cluster. Each stands in the lab's list of servers at its place here.
type trio struct {
	l     *lab
	seats []seat
}

// newTrio starts three servers, and returns when each has its copy.
func newTrio(l *lab) (*trio, error) {
	t := &trio{l: l}
	for i := range 3 {
		ports, err := free(4)
		if err != nil {
			return t, err
		}
		at := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", ports[n]) }
		s := seat{name: fmt.Sprintf("s%d", i+1), peers: at(0), address: at(2), workers: at(3)} // etcd takes the one behind that of servers
		t.seats = append(t.seats, s)
		if i == 0 {
			l.address = s.address
		} else {
			t.seats[i].joins = l.path(s.name + ".join")
			if err := l.command("server", "members", "add", s.name, "--join-file", t.seats[i].joins).Run(); err != nil {
				return t, fmt.Errorf("inviting a server: %w", err)
			}
		}
		l.servers = append(l.servers, nil)
		if err := t.start(i); err != nil {
			return t, err
		}
		if i == 0 {
			if err := l.ready(); err != nil {
				return t, err
			}
		}
		if err := t.whole(); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *trio) start(i int) error {
	s := t.seats[i]
	args := []string{"server", "--cluster", s.peers, "--name", s.name, "--data", t.l.path(s.name), "--listen", s.address, "--worker-listen", s.workers,
		"--admin-token-file", t.l.path("token"), "--log-level", "error", "--worker-limit", fmt.Sprint(atOnce)}
	if s.joins != "" {
		args = append(args, "--join", s.joins)
	}
	c := t.l.command(args...)
	t.l.servers[i] = c
	return c.Start()
}

type clusterSays struct {
	Owner    string `json:"owner"`
	Majority bool   `json:"majority"`
	Members  []struct {
		Server string  `json:"server"`
		Role   string  `json:"role"`
		Behind *uint64 `json:"behind"`
	} `json:"members"`
}

// whole returns when all servers that were started are there and have all of the log.
func (t *trio) whole() error {
	return t.l.wait(func() bool {
		var is clusterSays
		if t.l.ask("GET", "servers", nil, &is) != nil || !is.Majority || is.Owner == "" {
			time.Sleep(20 * time.Millisecond)
			return false
		}
		good := 0
		for _, m := range is.Members {
			if (m.Role == "owner" || m.Role == "copy") && m.Behind != nil && *m.Behind == 0 {
				good++
			}
		}
		if good < len(t.l.servers) {
			time.Sleep(20 * time.Millisecond)
		}
		return good == len(t.l.servers)
	})
}

// owner is the place of the server that owns the log.
func (t *trio) owner() (i int, err error) {
	err = t.l.wait(func() bool {
		var is clusterSays
		err := t.l.ask("GET", "servers", nil, &is)
		i = slices.IndexFunc(t.seats, func(s seat) bool { return s.name == is.Owner })
		return err == nil && is.Majority && i >= 0
	})
	return i, err
}

// sharedAppends is the log alone: one writer, three nodes of etcd and three copies in one process, next to a journal alone.
func sharedAppends(l *lab) (section, error) {
	s := section{title: "The log alone", head: []string{"events at once", "p50 ms", "p99 ms", "events/s", "a single server's p50 ms", "p99 ms", "events/s", "x p50"},
		about: "One writer. An append to the log of a cluster is on the disks of a majority before it counts, and in the owner's copy; *events/s* goes on until\n" +
			"all three copies have all. A single server has its journal. Both append in turn, so that both see the same disk."}
	program := l.path("replica")
	if out, err := exec.CommandContext(l.ctx, "go", "test", "-c", "-o", program, "sluice/internal/run/replica").CombinedOutput(); err != nil {
		return s, fmt.Errorf("building the benchmarks of the log: %w: %s", err, out)
	}
	c := exec.CommandContext(l.ctx, program, "-test.run", "^$", "-test.bench", "^BenchmarkAppend$", "-test.benchtime", "5s")
	c.Dir = l.dir
	out, err := c.Output()
	if err != nil {
		return s, fmt.Errorf("the benchmarks of the log: %w", err)
	}
	var best float64
	for name, figures := range benchmarks(string(out)) {
		_, size, is := strings.Cut(name, "/")
		if !is {
			continue
		}
		size, _, _ = strings.Cut(size, "-")
		s.row(size, ms(figures["p50-ms"]), ms(figures["p99-ms"]), fmt.Sprintf("%.0f", figures["events/s"]), ms(figures["single-p50-ms"]), ms(figures["single-p99-ms"]),
			fmt.Sprintf("%.0f", figures["single-events/s"]), fmt.Sprintf("%.2f", figures["p50-ratio"]))
		if size == "1" {
			s.aim(aim{what: "one event appended to a cluster's log, median", shall: "< 3 ms", is: ms(figures["p50-ms"]) + " ms", met: figures["p50-ms"] < 3})
		}
		best = max(best, figures["events/s"])
	}
	if len(s.rows) == 0 {
		return s, fmt.Errorf("the benchmarks of the log gave no figures: %s", out)
	}
	s.aim(aim{what: "packed appends to a cluster's log", shall: "> 50,000 events/s", is: fmt.Sprintf("%.0f", best), met: best > 50_000,
		why: "three nodes and three copies share the processors"})
	return s, nil
}

func ms(v float64) string { return fmt.Sprintf("%.2f", v) }

// sharedJobs are ten thousand hosts with one server and with three, in turn.
func sharedJobs(l *lab) (section, error) {
	s := section{title: "Ten thousand hosts", head: append(slices.Clone(jobHead), "x a single server"), about: fmt.Sprintf(
		"Commands of %v and of 2 s, carried out by the owner's own worker. *Server* is all three together; *server MB* is the one that had most.", wave)}
	most := 0
	for _, each := range []time.Duration{wave, 2 * time.Second} {
		var ratios []float64
		for range 3 {
			if err := l.anew("--worker-limit", fmt.Sprint(atOnce)); err != nil {
				return s, err
			}
			single, err := l.carry("a single server", many, atOnce, each)
			if err != nil {
				return s, err
			}
			l.kill()
			t, err := newTrio(l)
			if err != nil {
				return s, err
			}
			three, err := l.carry("a cluster of three", many, atOnce, each)
			if err == nil {
				err = t.whole()
			}
			if err != nil {
				return s, err
			}
			ratios = append(ratios, three.took.Seconds()/single.took.Seconds())
			most = max(most, three.serverPeak)
			s.row(append(single.cells(), "")...)
			s.row(append(three.cells(), fmt.Sprintf("%.2f", ratios[len(ratios)-1]))...)
			if err := t.forget(); err != nil {
				return s, err
			}
		}
		slices.Sort(ratios)
		s.aim(aim{what: fmt.Sprintf("wall of a cluster, x a single server, median of pairs, %d hosts, commands of %v", many, each), shall: "≤ 1.15",
			is: fmt.Sprintf("%.2f", ratios[len(ratios)/2]), met: ratios[len(ratios)/2] <= 1.15,
			why: "three servers have the work of three to do, and the processors of one here"})
	}
	s.aim(aim{what: fmt.Sprintf("memory of a server of a cluster that carries out a job on %d hosts", many), shall: "< 250 MB", is: fmt.Sprintf("%d MB", most), met: most < 250})
	return s, nil
}

// forget ends the cluster, and leaves nothing of it.
func (t *trio) forget() error {
	t.l.kill()
	var errs []error
	for _, s := range t.seats {
		errs = append(errs, os.RemoveAll(t.l.path(s.name)))
	}
	return errors.Join(append(errs, os.Remove(t.l.path("token")))...)
}

// ownerKilled is how long nothing starts when the owner of the log is killed in the middle of a job.
func ownerKilled(l *lab, times int) (section, error) {
	s := section{title: "The owner is killed", head: spreadHead,
		about: "`kill -9` of the server that owns the log, with its own worker, in the middle of a job on 400 hosts, 20 at once, 300 ms each. Another one takes\n" +
			"over; the one that was killed is started again before the next time."}
	t, err := newTrio(l)
	if err != nil {
		return s, err
	}
	var next []time.Duration
	for range times {
		gap, err := t.killOwner()
		if err != nil {
			return s, err
		}
		next = append(next, gap)
	}
	s.spread("killed to the next start on a host", next)
	p50, p99 := percentile(next, 0.5), percentile(next, 0.99) // sorted by spread
	s.aim(aim{what: "the owner killed to the next start on a host, median", shall: "< 3 s", is: seconds(p50) + " s", met: p50 < 3*time.Second})
	s.aim(aim{what: "the same, 99 of 100", shall: "< 6 s", is: seconds(p99) + " s", met: p99 < 6*time.Second})
	return s, nil
}

// killOwner is one time, and returns how long it was until the next start.
func (t *trio) killOwner() (gap time.Duration, err error) {
	l := t.l
	i, err := t.owner()
	if err != nil {
		return 0, err
	}
	l.address = t.seats[(i+1)%3].address
	j, err := l.submit(400, 20, "sim 300ms")
	if err != nil {
		return 0, err
	}
	if err := l.wait(func() bool { return len(l.happened(j.ID)) > 80 }); err != nil {
		return 0, err
	}
	killed := time.Now()
	_ = l.servers[i].Process.Kill()
	_ = l.servers[i].Wait()
	if err := l.wait(func() bool { return after(l, j.ID, killed) > 0 }); err != nil {
		return 0, err
	}
	gap = after(l, j.ID, killed)
	if err := l.end(j.ID); err != nil {
		return 0, err
	}
	starts := map[string]int{}
	for _, m := range l.happened(j.ID) {
		if m.What == "start" {
			starts[m.Host]++
		}
		if starts[m.Host] > 1 {
			return 0, fmt.Errorf("%s started twice on %s", m.Attempt, m.Host)
		}
	}
	if err := t.start(i); err != nil {
		return 0, err
	}
	return gap, t.whole()
}

// after is how long after a moment something starts on a host; 0: nothing has.
func after(l *lab, job string, moment time.Time) time.Duration {
	for _, m := range l.happened(job) {
		if m.What == "start" && m.Time.After(moment) {
			return m.Time.Sub(moment)
		}
	}
	time.Sleep(5 * time.Millisecond)
	return 0
}
