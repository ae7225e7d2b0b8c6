package main

import (
	"fmt"
	"time"
)

// soon is how long it is from a wish to what follows.
func soon(l *lab) (section, error) {
	s := section{title: "How soon", head: spreadHead,
		about: "A job on 20 hosts, five at once, 100 ms each, that is halted in the middle. The moment of a start is the host's. A start after the\n" +
			"halt had been given to the worker before it; the time to the last start is 0 where there was none."}
	began := time.Now()
	if err := l.serve(); err != nil {
		return s, err
	}
	took := time.Since(began)
	s.aim(aim{what: "from nothing to a server that takes jobs", shall: "< 1 s", is: millis(took) + " ms", met: took < time.Second})
	var first, answered, last []time.Duration
	for range 200 {
		asked := time.Now()
		j, err := l.submit(20, 5, "sim 100ms")
		if err != nil {
			return s, err
		}
		if err := l.wait(func() bool { return len(l.happened(j.ID)) > 5 }); err != nil {
			return s, err
		}
		halt := time.Now()
		if err := l.ask("POST", "jobs/"+j.ID+"/halt", map[string]string{"reason": "measured"}, nil); err != nil {
			return s, err
		}
		answered = append(answered, time.Since(halt))
		err = l.wait(func() bool {
			time.Sleep(50 * time.Millisecond) // nobody may ask without pause
			var now job
			_ = l.ask("GET", "jobs/"+j.ID, nil, &now)
			return now.State == "halted"
		})
		if err != nil {
			return s, err
		}
		late := time.Duration(0)
		for i, m := range l.happened(j.ID) {
			if i == 0 {
				first = append(first, m.Time.Sub(asked))
			}
			if m.What == "start" {
				late = max(late, m.Time.Sub(halt))
			}
		}
		last = append(last, late)
	}
	s.spread("submit to the first command on a host", first)
	s.spread("halt to its answer", answered)
	s.spread("halt to the last start on a host", last)
	return s, nil
}

// killed is how long nothing starts when a server is killed in the middle of a job.
func killed(l *lab) (section, error) {
	s := section{title: "Killed", head: spreadHead, about: "`kill -9` of a server with its own worker, in the middle of a job on 200 hosts, 20 at once, 30 ms each. Another one is started\nat once."}
	if err := l.serve(); err != nil {
		return s, err
	}
	var ready, next []time.Duration
	for range 60 {
		j, err := l.submit(200, 20, "sim 30ms")
		if err != nil {
			return s, err
		}
		if err := l.wait(func() bool { return len(l.happened(j.ID)) > 40 }); err != nil {
			return s, err
		}
		killed := time.Now()
		l.kill()
		if err := l.serve(); err != nil {
			return s, err
		}
		ready = append(ready, time.Since(killed))
		if err := l.end(j.ID); err != nil {
			return s, err
		}
		starts := map[string]int{}
		gap := time.Duration(0)
		for _, m := range l.happened(j.ID) {
			if m.What != "start" {
				continue
			}
			if starts[m.Host]++; starts[m.Host] > 1 {
				return s, fmt.Errorf("%s started twice on %s", m.Attempt, m.Host)
			}
			if gap == 0 && m.Time.After(killed) {
				gap = m.Time.Sub(killed)
			}
		}
		next = append(next, gap)
	}
	s.spread("killed to answering again", ready)
	s.spread("killed to the next start on a host", next)
	return s, nil
}
