package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// The names of what the targets are about.
const (
	bareGo   = "bare Go"
	readOnly = "sluice --read-only"
	full     = "sluice"
)

// width is how many hosts are worked on at once where tools are compared.
const width = 64

func at(name string, width int) string { return fmt.Sprintf("%s, %d", name, width) }

// bareProgram is the bare client on a list of hosts.
func (l *lab) bareProgram(list string, port int, more ...string) program {
	return program{name: bareGo, argv: append([]string{l.self, "bare", "-identity", l.path("home/.ssh/id_ed25519"), "-hostkey", l.path("host.pub"),
		"-user", l.user, "-hosts", list, "-port", strconv.Itoa(port)}, more...)}
}

// sluiceProgram is the program itself.
func (l *lab) sluiceProgram(name string, args ...string) program {
	return program{name: name, argv: append([]string{l.sluice()}, args...), journal: true}
}

func (l *lab) pdsh(list, config string, width int, command string) program {
	return program{name: at("pdsh", width), argv: []string{"pdsh", "-R", "ssh", "-S", "-f", strconv.Itoa(width), "-w", "^" + list, command},
		env: []string{"PDSH_SSH_ARGS_APPEND=-F " + l.path(config)}}
}

func (l *lab) clush(list, config string, width int, more ...string) program {
	return program{name: at("clush", width), argv: append([]string{"clush", "-S", "--nostdin", "-f", strconv.Itoa(width), "--hostfile", list,
		"-o", "-F " + l.path(config)}, more...)}
}

func (l *lab) pssh(list, config string, width int, command string) program {
	return program{name: at("pssh", width), argv: []string{"parallel-ssh", "-h", list, "-p", strconv.Itoa(width), "-t", "0", "-x", "-F " + l.path(config), command}}
}

func (l *lab) ansible(list, config string, width int, module, argument string) program {
	return program{name: at("ansible "+module, width), argv: []string{"ansible", "all", "-i", list, "-f", strconv.Itoa(width),
		"--ssh-common-args=-F " + l.path(config), "-m", module, "-a", argument}}
}

// fanOut runs "true" on many hosts.
func fanOut(ctx context.Context, l *lab) (section, error) {
	s := section{
		title: "One command on many hosts",
		about: "`true`, " + strconv.Itoa(width) + " hosts at a time unless the row says otherwise. Peers use the key exchange curve25519-sha256, which is far cheaper " +
			"than OpenSSH's first choice; *stock* is with that choice, and with the tool's own width. Sluice and bare Go always choose for themselves.",
	}
	for _, n := range l.pick([]int{5}, []int{100, 500, 1000}) {
		results, err := l.fan(ctx, n)
		if err != nil {
			return s, err
		}
		t := table{caption: fmt.Sprintf("%d hosts", n), columns: fanColumns, results: results}
		s.tables = append(s.tables, t)
		s.targets = append(s.targets, fanTargets(t)...)
	}
	return s, nil
}

// pick chooses by whether it is to be quick.
func (l *lab) pick(quick, all []int) []int {
	if l.quick {
		return quick
	}
	return all
}

// fan measures all tools on n hosts. What takes minutes is measured on few hosts only.
func (l *lab) fan(ctx context.Context, n int) ([]result, error) {
	list, fleet, err := l.hosts(n, l.port)
	if err != nil {
		return nil, err
	}
	w := strconv.Itoa(width)
	run := []string{"run", "-f", fleet, "-t", "all"}
	sluice := func(name string, more ...string) program {
		return l.sluiceProgram(name, append(append([]string{}, run...), append(more, "--", "true")...)...)
	}
	const light = "ssh.light"
	programs := []program{
		l.bareProgram(list, l.port, "-width", w),
		sluice(readOnly, "--read-only", "--concurrency", w),
		sluice(full, "--concurrency", w),
		l.pdsh(list, light, width, "true"),
		l.clush(list, light, width, "true"),
		l.pssh(list, light, width, "true"),
	}
	if n <= 500 {
		programs = append(programs, l.ansible(list, light, width, "raw", "true"))
	}
	if n <= 100 {
		programs = append(programs, l.ansible(list, light, width, "command", "true"))
	}
	stock := []program{sluice(readOnly+", stock", "--read-only"), sluice(full + ", stock")}
	if n <= 100 {
		const config = "ssh.stock"
		for _, p := range []program{l.pdsh(list, config, 32, "true"), l.clush(list, config, 64, "true"), l.pssh(list, config, 32, "true"),
			l.ansible(list, config, 5, "raw", "true"), l.ansible(list, config, 5, "command", "true")} {
			p.name += ", stock"
			stock = append(stock, p)
		}
	}
	return l.compare(ctx, n, l.rounds, append(programs, stock...))
}

var fanColumns = []column{
	{"client CPU, x bare Go", func(r, base result) string { return ratio(r.cpu, base.cpu) }},
	{"wall, x bare Go", func(r, base result) string { return ratio(r.wall, base.wall) }},
	{"wall s", func(r, _ result) string { return seconds(r.wall) }},
	{"hosts/s", func(r, _ result) string { return strconv.Itoa(int(float64(r.hosts) / r.wall.Seconds())) }},
	{"client CPU ms/host (s per 1,000)", func(r, _ result) string { return perHost(r.cpu, r.hosts) }},
	{"peak memory MB", func(r, _ result) string { return megabytes(r.memory) }},
	{"server CPU ms/host", func(r, _ result) string { return perHost(r.server, r.hosts) }},
	{"of what sshd alone could do", func(r, base result) string { return percent(sshdAlone(base), r.wall) }},
}

// sshdAlone is the time that sshd needs for as many hosts if it has all processors for itself: what it costs the
// bare client's run in processor time, shared out.
func sshdAlone(base result) time.Duration { return base.server / time.Duration(cores()) }

// fanTargets are the targets that a fan-out has to meet.
func fanTargets(t table) (out []target) {
	find := t.find
	peers := []result{find(at("pdsh", width)), find(at("clush", width)), find(at("pssh", width))}
	best := func(of func(result) time.Duration, rs ...result) (d time.Duration) {
		for _, r := range rs {
			if v := of(r); r.ok() && (d == 0 || v < d) {
				d = v
			}
		}
		return d
	}
	cpu, wall := func(r result) time.Duration { return r.cpu }, func(r result) time.Duration { return r.wall }
	base, ro, whole := find(bareGo), find(readOnly), find(full)
	if !base.ok() || !ro.ok() || !whole.ok() {
		return nil
	}
	add := func(what string, most, got float64, format string) {
		out = append(out, target{what: what + ", " + t.caption, most: most, got: got, format: format})
	}
	n := float64(base.hosts)
	switch base.hosts {
	case 1000:
		add("peak memory, 64 at a time", 40, float64(whole.memory)/1e6, "%.0f MB")
	case 100, 500:
		add("client CPU per host, with journal and target protocol", 2.5, whole.cpu.Seconds()*1000/n, "%.2f ms")
		if b := best(cpu, peers...); b > 0 {
			add("the same, as a share of the best of pdsh, clush and pssh", 1.0/5, whole.cpu.Seconds()/b.Seconds(), "%.3f")
		}
		if b := best(cpu, find(at("ansible raw", width)), find(at("ansible command", width))); b > 0 {
			add("the same, as a share of the best Ansible", 1.0/25, whole.cpu.Seconds()/b.Seconds(), "%.3f")
		}
	}
	if base.hosts == 500 {
		if b := best(wall, append(peers, find(at("ansible raw", width)))...); b > 0 {
			add("wall of --read-only, as a share of the fastest peer's", 1, ro.wall.Seconds()/b.Seconds(), "%.2f")
		}
		add("wall of --read-only, x what sshd alone needs", 1/0.8, ro.wall.Seconds()/sshdAlone(base).Seconds(), "%.2f")
		add("wall with the target protocol, x what sshd alone needs", 1/0.5, whole.wall.Seconds()/sshdAlone(base).Seconds(), "%.2f")
		if b := best(wall, peers[:2]...); b > 0 {
			add("wall with the target protocol, as a share of the faster of pdsh and clush", 1, whole.wall.Seconds()/b.Seconds(), "%.2f")
		}
	}
	return out
}

// noFork measures against a server that starts no processes, where the client's own speed shows.
func noFork(ctx context.Context, l *lab) (section, error) {
	s := section{title: "Against a server that starts no process",
		about: "A server in Go that answers at once, on the same processors: what the client itself can do. Both choose a " +
			"key exchange with ML-KEM there, which costs a third of all. The last row holds all connections open at once."}
	n, open := l.pick([]int{20}, []int{1000})[0], l.pick([]int{20}, []int{2000})[0]
	port, stop, err := l.startAnswers(ctx, 0)
	if err != nil {
		return s, err
	}
	list, fleet, err := l.hosts(n, port)
	if err != nil {
		return s, err
	}
	w := strconv.Itoa(width)
	results, err := l.compare(ctx, n, l.rounds, []program{
		l.bareProgram(list, port, "-width", w),
		l.sluiceProgram(readOnly, "run", "-f", fleet, "-t", "all", "--read-only", "--concurrency", w, "--", "true"),
		l.sluiceProgram(readOnly+", stock", "run", "-f", fleet, "-t", "all", "--read-only", "--", "true"),
	})
	if e := stop(); err == nil {
		err = e
	}
	if err != nil {
		return s, err
	}
	t := table{caption: fmt.Sprintf("%d hosts", n), columns: fanColumns[:6], results: results}
	s.tables = append(s.tables, t)
	if r := t.find(readOnly); r.ok() {
		s.targets = append(s.targets, target{what: "hosts in a second against a server that starts no process", least: 600, got: float64(n) / r.wall.Seconds(), format: "%.0f"})
	}
	held, err := l.holdOpen(ctx, open)
	if err != nil {
		return s, err
	}
	t = table{caption: fmt.Sprintf("%d connections open at once", open), columns: fanColumns[2:6], results: []result{held}}
	s.tables = append(s.tables, t)
	if held.ok() {
		s.targets = append(s.targets, target{what: fmt.Sprintf("peak memory with %d open connections", open), most: 160, got: float64(held.memory) / 1e6, format: "%.0f MB"})
	}
	return s, nil
}

// holdOpen has n connections open at once.
func (l *lab) holdOpen(ctx context.Context, n int) (result, error) {
	port, stop, err := l.startAnswers(ctx, n)
	if err != nil {
		return result{}, err
	}
	_, fleet, err := l.hosts(n, port)
	if err != nil {
		return result{}, err
	}
	results, err := l.compare(ctx, n, 1, []program{
		l.sluiceProgram(readOnly, "run", "-f", fleet, "-t", "all", "--read-only", "--concurrency", strconv.Itoa(n), "--", "true"),
	})
	if e := stop(); err == nil {
		err = e
	}
	if err != nil {
		return result{}, err
	}
	return results[0], nil
}

// startAnswers starts the server that starts no processes.
func (l *lab) startAnswers(ctx context.Context, gather int) (port int, stop func() error, err error) {
	if port, err = freePort(); err != nil {
		return 0, nil, err
	}
	if err := l.write("login.pub", l.login.public()); err != nil {
		return 0, nil, err
	}
	c, err := l.start(ctx, program{name: "answer", argv: []string{l.self, "answer", "-port", strconv.Itoa(port), "-key", l.path("server/host_key"),
		"-login", l.path("login.pub"), "-gather", strconv.Itoa(gather)}})
	if err != nil {
		return 0, nil, err
	}
	return port, c.end, l.listening(ctx, port)
}
