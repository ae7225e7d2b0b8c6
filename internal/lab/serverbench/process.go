package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc, the same on every Linux there is.
const tick = 10 * time.Millisecond

// used is what a process has used so far, with all its threads.
type used struct {
	cpu     time.Duration
	written int64 // bytes that it had the disk keep
}

func usedBy(processes ...*exec.Cmd) (u used) {
	for _, p := range processes {
		one := usedByPID(p.Process.Pid)
		u.cpu, u.written = u.cpu+one.cpu, u.written+one.written
	}
	return u
}

func usedByPID(pid int) (u used) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u
	}
	// The name, in parentheses, may have anything in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) > 12 {
		for _, f := range fields[11:13] {
			n, _ := strconv.Atoi(f)
			u.cpu += time.Duration(n) * tick
		}
	}
	io, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	_, rest, _ := strings.Cut(string(io), "\nwrite_bytes: ")
	line, _, _ := strings.Cut(rest, "\n")
	u.written, _ = strconv.ParseInt(line, 10, 64)
	return u
}

func (u used) since(before used) used { return used{u.cpu - before.cpu, u.written - before.written} }

// worked is the processor time that was used on this machine, whoever used it.
func worked() (cpu time.Duration) {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	for i, f := range fields {
		switch i {
		case 0, 4, 5, 9, 10: // the name, what was not used, and guests, who are in the others
		default:
			n, _ := strconv.Atoi(f)
			cpu += time.Duration(n) * tick
		}
	}
	return cpu
}

// peak is the most memory that a process had, in MB.
func peak(p *exec.Cmd) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kb >> 10
}

// busy is the share of all processors that was used in a time.
func busy(cpu, took time.Duration) string {
	return fmt.Sprintf("%.0f %%", 100*cpu.Seconds()/took.Seconds()/float64(runtime.NumCPU()))
}
