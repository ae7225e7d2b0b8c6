package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// throughServer is the same job with and without a server, in pairs, and what the way through the server costs.
func throughServer(ctx context.Context, l *lab) (section, error) {
	n := l.pick([]int{5}, []int{500})[0]
	s := section{title: "Over `sluice run` without a server",
		about: fmt.Sprintf("`true` on %d real ssh addresses, %d at a time, in pairs: without a server, then through one with a worker of its own. The ratio is that of each\n"+
			"pair, and the median of them. What the server uses is in its processor time, which includes that of its command line.", n, width)}
	_, fleet, err := l.hosts(n, l.port)
	if err != nil {
		return s, err
	}
	address := func() (string, error) {
		port, err := freePort()
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
	}
	listen, err := address()
	if err != nil {
		return s, err
	}
	token := l.path("token")
	server, err := l.start(ctx, program{name: "server", argv: []string{l.sluice(), "server", "--data", l.path("data"), "--listen", listen, "--worker-listen", "none",
		"--admin-token-file", token, "--log-level", "error"}})
	if err != nil {
		return s, err
	}
	defer func() { _ = server.end() }()
	if err := l.accepts(ctx, listen); err != nil {
		return s, err
	}
	secret, err := os.ReadFile(token)
	if err != nil {
		return s, err
	}
	here := []string{"SLUICE_SERVER=http://" + listen, "SLUICE_TOKEN=" + strings.TrimSpace(string(secret))}
	if _, err := l.run(ctx, program{name: "fleet apply", argv: []string{l.sluice(), "fleet", "apply", "-f", fleet, "--note", "measured"}, env: here}); err != nil {
		return s, err
	}
	w := strconv.Itoa(width)
	without := l.sluiceProgram("without a server", "run", "-f", fleet, "-t", "all", "--concurrency", w, "--yes", "--", "true")
	with := program{name: "through a server", argv: []string{l.sluice(), "run", "-t", "all", "--concurrency", w, "--yes", "--", "true"}, env: here}
	var pairs []pair
	for round := range l.rounds {
		say("%d hosts, pair %d of %d", n, round+1, l.rounds)
		var p pair
		if p.without, err = l.sample(ctx, without); err != nil {
			return s, err
		}
		before, err := server.usage()
		if err != nil {
			return s, err
		}
		if p.with, err = l.sample(ctx, with); err != nil {
			return s, err
		}
		after, err := server.usage()
		if err != nil {
			return s, err
		}
		p.with.client.CPU += after.CPU - before.CPU
		p.with.client.Memory = after.Memory
		pairs = append(pairs, p)
	}
	of := func(f func(pair) sample) (samples []sample) {
		for _, p := range pairs {
			samples = append(samples, f(p))
		}
		return samples
	}
	s.tables = append(s.tables, table{caption: fmt.Sprintf("%d hosts, %d pairs", n, len(pairs)), results: []result{
		summarise(without.name, n, of(func(p pair) sample { return p.without })), summarise(with.name, n, of(func(p pair) sample { return p.with }))},
		columns: []column{{"wall, x without", func(r, base result) string { return ratio(r.wall, base.wall) }}, fanColumns[2], fanColumns[3], fanColumns[4], fanColumns[5], fanColumns[6]}})
	ratios := make([]float64, len(pairs))
	var all []string
	for i, p := range pairs {
		ratios[i] = p.with.client.Wall.Seconds() / p.without.client.Wall.Seconds()
		all = append(all, fmt.Sprintf("%.3f", ratios[i]))
	}
	s.notes = append(s.notes, "The pairs: "+strings.Join(all, ", ")+".")
	slices.Sort(ratios)
	s.targets = append(s.targets, target{what: fmt.Sprintf("wall through a server, x without one, median of pairs, %d hosts", n), most: 1.1, got: ratios[len(ratios)/2], format: "%.3f"})
	return s, nil
}

// pair is one run of each.
type pair struct{ without, with sample }

// accepts waits until somebody listens.
func (l *lab) accepts(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody listens on %s: %w", address, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
