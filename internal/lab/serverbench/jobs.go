package main

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

const (
	wave   = 100 * time.Millisecond // what a command takes
	many   = 10_000
	atOnce = 1000
)

var jobHead = []string{"hosts", "who carries it out", "at once", "s", "hosts alone s", "x", "events/s durable", "processors busy",
	"server CPU µs/host", "workers CPU µs/host", "hosts' CPU µs/host", "written KB/host", "server MB", "a worker MB"}

// carried is how a job went.
type carried struct {
	who                    string
	hosts, atOnce          int
	took, alone            time.Duration
	server, workers, lab   used
	machine                time.Duration // processor time, whoever used it
	serverPeak, workerPeak int
}

func (c carried) cells() []string {
	per := func(u used) string { return fmt.Sprintf("%.0f", float64(u.cpu.Microseconds())/float64(c.hosts)) }
	worker := func(text string) string {
		if c.workerPeak == 0 {
			return ""
		}
		return text
	}
	all := c.server.cpu + c.workers.cpu + c.lab.cpu
	return []string{fmt.Sprint(c.hosts), c.who, fmt.Sprint(c.atOnce), seconds(c.took), seconds(c.alone), fmt.Sprintf("%.1f", c.took.Seconds()/c.alone.Seconds()),
		fmt.Sprintf("%.0f", float64(3*c.hosts)/c.took.Seconds()), busy(all, c.took), per(c.server), worker(per(c.workers)), per(c.lab),
		fmt.Sprintf("%.1f", float64(c.server.written+c.workers.written)/1024/float64(c.hosts)), fmt.Sprint(c.serverPeak), worker(fmt.Sprint(c.workerPeak))}
}

// carry has a job carried out by the server.
func (l *lab) carry(who string, hosts, atOnce int, each time.Duration) (carried, error) {
	c := carried{who: who, hosts: hosts, atOnce: atOnce, alone: alone(hosts, atOnce, each)}
	server, workers, lab, machine := usedBy(l.servers...), usedBy(l.workers...), usedBy(l.hosts), worked()
	began := time.Now()
	j, err := l.submit(hosts, atOnce, "sim "+each.String())
	if err == nil {
		err = l.end(j.ID)
	}
	c.took, c.machine = time.Since(began), worked()-machine
	c.server, c.workers, c.lab = usedBy(l.servers...).since(server), usedBy(l.workers...).since(workers), usedBy(l.hosts).since(lab)
	for _, s := range l.servers {
		c.serverPeak = max(c.serverPeak, peak(s))
	}
	for _, w := range l.workers {
		c.workerPeak = max(c.workerPeak, peak(w))
	}
	return c, err
}

// alone is the time that the hosts need if nothing else did.
func alone(hosts, atOnce int, each time.Duration) time.Duration {
	return time.Duration((hosts+atOnce-1)/atOnce) * each
}

// byItself is the same without a server: one command line with its journal.
func (l *lab) byItself(hosts, atOnce int, each time.Duration) (carried, error) {
	c := carried{who: "`sluice run`, without a server", hosts: hosts, atOnce: atOnce, alone: alone(hosts, atOnce, each)}
	run := l.command("run", "--server", "local", "--concurrency", fmt.Sprint(atOnce), "--yes", "-q", "-w", fmt.Sprintf("h[1-%d]", hosts), "--", "sim "+each.String())
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return c, err
	}
	defer null.Close()
	run.Stdin, run.Stdout = null, null
	lab := usedBy(l.hosts)
	began := time.Now()
	if err := run.Start(); err != nil {
		return c, err
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err = <-ended:
			c.took = time.Since(began)
			c.server.cpu = run.ProcessState.UserTime() + run.ProcessState.SystemTime()
			c.lab = usedBy(l.hosts).since(lab)
			return c, err
		case <-look.C:
			if l.ctx.Err() != nil {
				_ = run.Process.Kill()
			}
			c.serverPeak = max(c.serverPeak, peak(run))
			c.server.written = max(c.server.written, usedBy(run).written)
		}
	}
}

// jobs are ten thousand hosts without a server, with the server's own worker, and with three workers elsewhere.
func jobs(l *lab) (section, error) {
	s := section{title: "Ten thousand hosts", head: jobHead, about: fmt.Sprintf(
		"Commands of %v and of 2 s. *Hosts alone* is what the commands take in all, so many at once; *x* is the time over that. An attempt\n"+
			"is three events. The first row of each length is the program without a server, whose processor time stands in the column of the server.", wave)}
	for _, each := range []time.Duration{wave, 2 * time.Second} {
		c, err := l.byItself(many, atOnce, each)
		if err != nil {
			return s, err
		}
		s.row(c.cells()...)
		if err := l.serve("--worker-limit", fmt.Sprint(atOnce)); err != nil {
			return s, err
		}
		if c, err = l.carry("a server's own worker", many, atOnce, each); err != nil {
			return s, err
		}
		s.row(c.cells()...)
		if err := l.anew("--no-worker"); err != nil {
			return s, err
		}
		if err := l.work(3, 400); err != nil {
			return s, err
		}
		if c, err = l.carry("three workers elsewhere", many, atOnce, each); err != nil {
			return s, err
		}
		s.row(c.cells()...)
		if each == wave {
			s.notes = append(s.notes, limit(c))
		}
		l.kill()
		if err := os.RemoveAll(l.path("data")); err != nil {
			return s, err
		}
	}
	return s, nil
}

// anew starts a server without data.
func (l *lab) anew(flags ...string) error {
	l.kill()
	for _, dir := range []string{"data", "w1", "w2", "w3"} {
		if err := os.RemoveAll(l.path(dir)); err != nil {
			return err
		}
	}
	l.address = ""
	return l.serve(flags...)
}

// limit says what keeps a job from being faster.
func limit(c carried) string {
	all := c.server.cpu + c.workers.cpu + c.lab.cpu
	of := fmt.Sprintf("With %s, %d hosts and commands of %v, the processors were busy to %s, the simulated hosts with %.0f %% of that", c.who, c.hosts, wave,
		busy(all, c.took), 100*c.lab.cpu.Seconds()/all.Seconds())
	others := max(0, c.machine-all)
	switch whole := c.took.Seconds() * float64(runtime.NumCPU()); {
	case others.Seconds() > whole/5:
		return of + ". Something else on the machine used " + busy(others, c.took) + " of them, so that these times say little."
	case c.machine.Seconds() > 0.8*whole:
		return of + ": they are the limit."
	}
	return of + fmt.Sprintf(": the limit is the wait for the disk, which kept %.1f KB a host.", float64(c.server.written+c.workers.written)/1024/float64(c.hosts))
}

// huge is the largest job.
func huge(l *lab, hosts int) (section, error) {
	s := section{title: fmt.Sprintf("%d hosts on one server", hosts), head: jobHead}
	if err := l.serve("--worker-limit", fmt.Sprint(atOnce)); err != nil {
		return s, err
	}
	c, err := l.carry("its own worker", hosts, atOnce, wave)
	if err != nil {
		return s, err
	}
	s.row(c.cells()...)
	s.aim(aim{what: fmt.Sprintf("memory of a server that carries out a job on %d hosts", hosts), shall: "< 2 GiB", is: fmt.Sprintf("%d MB", c.serverPeak), met: c.serverPeak < 2048})
	s.notes = append(s.notes, limit(c))
	return s, nil
}
