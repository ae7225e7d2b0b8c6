package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a program and all that it started have used so far.
type usage struct {
	Wall   time.Duration
	CPU    time.Duration
	Memory int64 // the most at one time, in bytes
	Status int   // exit status, at the end
	Alive  int   // processes there are
	Ended  bool
}

// The descriptor to which the reaper writes usages, a line each, where somebody listens.
const reportFD = 3

// reaper runs a program, and is the parent of whatever that leaves behind, so that nothing escapes being counted and
// ended.
type reaper struct {
	begun  time.Time
	mu     sync.Mutex
	out    *json.Encoder
	memory int64
}

// reap is the process of the reaper: "[-report] PROGRAM [ARGUMENT...]". A line on its standard input asks for the usage
// so far, the end of it is the end of everything.
func reap(argv []string) int {
	reports := argv[0] == "-report"
	if reports {
		argv = argv[1:]
	}
	path, err := exec.LookPath(argv[0])
	if err == nil {
		err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reap:", err)
		return 126
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Fprintln(os.Stderr, "reap:", err)
		return 126
	}
	if reports {
		unix.CloseOnExec(reportFD)
	}
	r := &reaper{begun: time.Now()}
	main, err := os.StartProcess(path, argv, &os.ProcAttr{Files: []*os.File{null, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "reap:", err)
		return 126
	}
	if reports {
		r.out = json.NewEncoder(os.NewFile(reportFD, "report"))
		go r.watchMemory()
	}
	go r.serve()
	status := r.wait(main.Pid)
	wall := time.Since(r.begun)
	r.endAll()
	u := r.usage()
	u.Wall, u.Status, u.Ended = wall, status, true
	r.report(u)
	return status
}

// serve answers questions, and ends everything when the asker is gone.
func (r *reaper) serve() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		r.report(r.usage())
	}
	for {
		for _, p := range descendants() {
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond) // the process ends meanwhile
	}
}

func (r *reaper) report(u usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out != nil {
		_ = r.out.Encode(u) // if nobody listens any more, the end of our input says so
	}
}

// wait collects children until the one is among them.
func (r *reaper) wait(pid int) int {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 126
		case got == pid && status.Exited():
			return status.ExitStatus()
		case got == pid:
			return 128 + int(status.Signal())
		}
	}
}

// endAll ends what is left.
func (r *reaper) endAll() {
	for {
		for _, p := range descendants() {
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
		if _, err := unix.Wait4(-1, nil, 0, nil); err == unix.ECHILD {
			return
		}
	}
}

// usage adds up those that have ended, and those that have not.
func (r *reaper) usage() usage {
	u := usage{Wall: time.Since(r.begun)}
	for _, p := range descendants() {
		u.CPU += p.cpu
		u.Alive++
	}
	var ended unix.Rusage
	if unix.Getrusage(unix.RUSAGE_CHILDREN, &ended) == nil {
		u.CPU += time.Duration(ended.Utime.Nano() + ended.Stime.Nano())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	u.Memory = max(r.memory, ended.Maxrss<<10) // what the largest had at its peak is known even if nobody looked then
	return u
}

// watchMemory adds up, again and again, what all processes have: pages that several share count in parts. It takes
// no more than a twentieth of a processor.
func (r *reaper) watchMemory() {
	for {
		begun := time.Now()
		var sum int64
		for _, p := range descendants() {
			sum += proportional(p.pid)
		}
		r.mu.Lock()
		r.memory = max(r.memory, sum)
		r.mu.Unlock()
		time.Sleep(max(100*time.Millisecond, 20*time.Since(begun)))
	}
}

// proportional is the memory of a process, with its part of what it shares.
func proportional(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0 // it has ended
	}
	_, rest, _ := bytes.Cut(b, []byte("\nPss:"))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return n << 10
}

// process is one of those that we are the ancestor of.
type process struct {
	pid, parent int
	cpu         time.Duration // its own, and that of the children it has waited for
}

// tick is the unit of processor time in /proc, the same on every Linux there is.
const tick = 10 * time.Millisecond

func descendants() (ours []process) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	names, _ := dir.Readdirnames(-1)
	_ = dir.Close()
	children := map[int][]process{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := readProcess(pid); ok {
				children[p.parent] = append(children[p.parent], p)
			}
		}
	}
	for next := []int{os.Getpid()}; len(next) > 0; next = next[1:] {
		for _, c := range children[next[0]] {
			ours = append(ours, c)
			next = append(next, c.pid)
		}
	}
	return ours
}

func readProcess(pid int) (process, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The name, in parentheses, may have anything in it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 15 {
		return process{}, false
	}
	p := process{pid: pid}
	p.parent, _ = strconv.Atoi(fields[1])
	for _, f := range fields[11:15] {
		n, _ := strconv.Atoi(f)
		p.cpu += time.Duration(n) * tick
	}
	return p, true
}
