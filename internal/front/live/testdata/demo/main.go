package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"

	"sluice"
	"sluice/internal/core/plan"
	"sluice/internal/core/rehearse"
	"sluice/internal/core/schedule"
	"sluice/internal/core/view"
	"sluice/internal/front/live"
)

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	speed, _ := strconv.ParseFloat(os.Args[2], 64)
	w, _ := strconv.Atoi(os.Args[3])
	h, _ := strconv.Atoi(os.Args[4])
	stop, _ := time.ParseDuration(os.Args[5])
	f := &sluice.Fleet{Namespace: "prod", Tags: map[sluice.Tag][]sluice.Host{}}
	for i := range n {
		f.Hosts = append(f.Hosts, sluice.Host(fmt.Sprintf("web%0*d", len(os.Args[1]), i+1)))
	}
	f.Tags["canary"], f.Tags["colo.north"], f.Tags["colo.south"] = f.Hosts[:n/20], f.Hosts[n/20:n/2], f.Hosts[n/2:]
	f.TagOrder = []sluice.Tag{"canary", "colo.north", "colo.south"}
	f.Sequences = []sluice.Sequence{{Name: "rollout", Entries: []sluice.Entry{{Name: "$canary", Hosts: f.Tags["canary"], Gate: sluice.Gate{Pause: 20 * time.Second, MaxFailures: sluice.Percent(50)}},
		{Name: "$colo.north", Hosts: f.Tags["colo.north"], Gate: sluice.Gate{MaxFailures: sluice.Percent(20)}}, {Name: "$colo.south", Hosts: f.Tags["colo.south"]}}}}
	f.Constraints = []sluice.Constraint{{Name: "$app", Groups: []sluice.Group{{Name: "$app", Limit: sluice.Percent(15), Members: f.Hosts}}}}
	p, targets, err := plan.Make(f, f.Hosts)
	if err != nil {
		panic(err)
	}
	rules, _ := sluice.NewRules(f.Hosts, f.Constraints)
	job := sluice.Job{ID: "k3m9x2p7qz4t", Namespace: "prod", Command: "apt-get -y install nginx", Targets: targets, Tracks: p.Tracks, Rules: rules.Digest}
	start := time.Now()
	var events []sluice.Event
	_, err = rehearse.Run(f, rules, job, rehearse.Options{Seed: 3, Start: start, Duration: 20 * time.Second, Jitter: 0.7, Fail: rehearse.Chance{Share: 0.02}, PatienceFor: time.Hour}, func(e sluice.Event) { events = append(events, e) })
	if err != nil {
		panic(err)
	}
	fake := func() time.Time { return start.Add(time.Duration(float64(time.Since(start)) * speed)) }
	pt := live.NewPainter(live.Terminal{Out: os.Stdout, Size: func() (int, int) { if w > 0 { return w, h }; a, b, _ := term.GetSize(1); return a, b }, Color: true, Unicode: true, Clock: fake, Footer: "Ctrl-C halts; twice cancels"})
	st := schedule.New()
	j := view.New()
	var last time.Time
	for _, e := range events {
		if e.Time.Sub(start) > stop {
			break
		}
		time.Sleep(time.Duration(float64(e.Time.Sub(fake())) / speed))
		_ = st.Apply(e)
		if e.Job != "" {
			pt.Event(e)
			j.Apply(e)
			if b, ok := e.Body.(sluice.TaskFinished); ok && b.Outcome != sluice.Succeeded {
				o := sluice.NewTaskOutput(b.Host, "", "stderr", 0, []byte("E: Sub-process /usr/bin/dpkg returned an error code (1)\n"))
				pt.Event(sluice.Event{Time: e.Time, Job: e.Job, Body: o})
			}
		}
		if time.Since(last) > time.Second/2 {
			last = time.Now()
			pt.Waits(st.Waits(job.ID))
		}
	}
	if stop < time.Hour {
		time.Sleep(time.Hour)
	}
	pt.Close()
	_ = live.Summary(os.Stdout, j, func(h sluice.Host, s string) ([]byte, bool, error) {
		if j.Task(h).Outcome != sluice.Succeeded && s == "stderr" {
			return []byte("E: Sub-process /usr/bin/dpkg returned an error code (1)\n"), false, nil
		}
		return []byte("0 upgraded, 1 newly installed\n"), false, nil
	}, live.SummaryOptions{Color: true, Unicode: true})
}
