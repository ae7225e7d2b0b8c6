package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"sluice/internal/lab/testfleet"
)

// fiveSteps runs five commands, one after the other, on each of some hosts.
func fiveSteps(ctx context.Context, l *lab) (section, error) {
	n := l.pick([]int{3}, []int{50})[0]
	s := section{title: "Five steps on each host",
		about: "Five times `true`, one after the other: for Sluice two hooks before, the command, two hooks after; for Ansible five tasks of a play " +
			"over ControlPersist; for pdsh five calls over ControlMaster."}
	list, fleet, err := l.hosts(n, l.port)
	if err != nil {
		return s, err
	}
	if err := l.writeHooks(); err != nil {
		return s, err
	}
	w := strconv.Itoa(width)
	play := func(name, file, pipelining string) program {
		return program{name: name, argv: []string{"ansible-playbook", "-i", list, "-f", w, "--ssh-common-args=-F " + l.path("ssh.light"), l.path(file)},
			env: []string{"ANSIBLE_PIPELINING=" + pipelining}}
	}
	const raw, command, pipelined = "ansible raw", "ansible command", "ansible command, pipelined"
	results, err := l.compare(ctx, n, l.rounds, []program{
		l.bareProgram(list, l.port, "-width", w, "-steps", "5"),
		l.sluiceProgram(full, "run", "-f", fleet, "-t", "all", "--concurrency", w, "--hooks", l.path("hooks"), "--", "true"),
		{name: "pdsh x 5", argv: []string{"sh", "-c", "for step in 1 2 3 4 5; do pdsh -R ssh -S -f " + w + " -w ^" + list + " true || exit; done"},
			env: []string{"PDSH_SSH_ARGS_APPEND=-F " + l.path("ssh.master")}},
		play(raw, "raw.yml", "False"), play(pipelined, "command.yml", "True"), play(command, "command.yml", "False"),
	})
	if err != nil {
		return s, err
	}
	t := table{caption: fmt.Sprintf("%d hosts", n), columns: fanColumns[:7], results: results}
	s.tables = append(s.tables, t)
	base, ours := t.find(bareGo), t.find(full)
	if !base.ok() || !ours.ok() {
		return s, nil
	}
	s.targets = append(s.targets, target{what: "five steps, x bare Go", most: 1.3, got: ours.wall.Seconds() / base.wall.Seconds(), format: "%.2f"})
	for _, peer := range []struct {
		name  string
		times float64
	}{{raw, 5}, {pipelined, 25}} {
		if r := t.find(peer.name); r.ok() {
			s.targets = append(s.targets, target{what: "five steps, times as fast as " + peer.name, least: peer.times, got: r.wall.Seconds() / ours.wall.Seconds(), format: "%.1f"})
		}
	}
	return s, nil
}

// writeHooks writes two hooks before and two after, and the plays.
func (l *lab) writeHooks() error {
	for _, hook := range []string{"pre.d/10-one", "pre.d/20-two", "post.d/10-one", "post.d/20-two"} {
		if err := l.write("hooks/"+hook, "#!/bin/sh\ntrue\n"); err != nil {
			return err
		}
		if err := os.Chmod(l.path("hooks", hook), 0o700); err != nil {
			return err
		}
	}
	for _, module := range []string{"raw", "command"} {
		play := "- hosts: all\n  gather_facts: false\n  tasks:\n" + strings.Repeat("    - "+module+": \"true\"\n", 5)
		if err := l.write(module+".yml", play); err != nil {
			return err
		}
	}
	return nil
}

const (
	delay = 50 * time.Millisecond // one way
	trip  = 2 * delay
)

// roundTrips counts how often something waits for the other end: the time that a long way adds, in round trips.
func roundTrips(ctx context.Context, l *lab) (section, error) {
	s := section{title: "Round trips",
		about: fmt.Sprintf("One command on one host behind a link of %v there and back. The difference to the same without the delay, in round trips; the one of TCP "+
			"itself is not in it, for any row.", trip)}
	if err := l.writeHooks(); err != nil {
		return s, err
	}
	near, err := l.throughLink(ctx, 0)
	if err != nil {
		return s, err
	}
	far, err := l.throughLink(ctx, delay)
	if err != nil {
		return s, err
	}
	t := table{columns: []column{
		{"round trips", func(r, _ result) string { return fmt.Sprintf("%.1f", trips(r)) }},
		{"more than bare Go", func(r, base result) string { return fmt.Sprintf("%+.1f", trips(r)-trips(base)) }},
	}}
	for i := range far {
		r := far[i]
		r.wall -= near[i].wall
		if r.err == "" {
			r.err = near[i].err
		}
		t.results = append(t.results, r)
	}
	s.tables = append(s.tables, t)
	if base, ours := t.find(bareGo), t.find(full+", four hooks"); base.ok() && ours.ok() {
		s.targets = append(s.targets, target{what: "round trips of a command with four hooks, more than of a bare one", most: 3, got: trips(ours) - trips(base), format: "%.1f"})
	}
	return s, nil
}

func trips(r result) float64 { return r.wall.Seconds() / trip.Seconds() }

// throughLink measures the programs through a link with a delay.
func (l *lab) throughLink(ctx context.Context, oneWay time.Duration) ([]result, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	proxy := testfleet.NewProxy(listener, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
	}, testfleet.Faults{ToServer: testfleet.Flow{Delay: oneWay}, ToClient: testfleet.Flow{Delay: oneWay}})
	port := proxy.Addr().Port
	if err := l.write("one", "127.0.0.1\n"); err != nil {
		return nil, err
	}
	fleet := fmt.Sprintf("ssh: {port: %d}\ntarget: {dir: %q}\ntag: {one: 127.0.0.1}\n", port, l.path("place"))
	if err := l.write("one.yaml", fleet); err != nil {
		return nil, err
	}
	run := func(name string, more ...string) program {
		return l.sluiceProgram(name, append(append([]string{"run", "-f", l.path("one.yaml"), "-t", "all"}, more...), "--", "true")...)
	}
	results, err := l.compare(ctx, 1, l.rounds, []program{
		l.bareProgram(l.path("one"), port), run(readOnly, "--read-only"), run(full), run(full+", four hooks", "--hooks", l.path("hooks")),
		{name: "ssh", argv: []string{"ssh", "-F", l.path("ssh.light"), "-p", strconv.Itoa(port), "127.0.0.1", "true"}},
	})
	if e := proxy.Close(); err == nil {
		err = e
	}
	return results, err
}
