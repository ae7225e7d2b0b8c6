// Package mark finds and ends processes by an entry in their environment. What tests start on this machine gets
// such an entry, and so do its children however they detach themselves, so that a test can end exactly what it
// started and nothing else. The entry "X=A" stands for "X=A/B", too, so that owners can be divided. It knows nothing
// of fleets and servers.
package mark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Process is one running process.
type Process struct {
	PID  int
	PPID int
	UID  int
	Args []string // the command line; the name in brackets where there is none
}

// List reads the processes of a mounted proc file system, such as "/proc", in the order of their ids. Those that end meanwhile
// and those that have ended and only wait for their parent are left out.
func List(proc string) ([]Process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := read(filepath.Join(proc, e.Name()), pid); ok {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Process) int { return a.PID - b.PID })
	return out, nil
}

func read(dir string, pid int) (Process, bool) {
	info, err := os.Stat(dir)
	if err != nil {
		return Process{}, false
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	name, state, ppid, err := ParseStat(stat)
	if err != nil || state == 'Z' || state == 'X' {
		return Process{}, false
	}
	p := Process{PID: pid, PPID: ppid}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		p.UID = int(st.Uid)
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return Process{}, false
	}
	for arg := range bytes.SplitSeq(bytes.TrimRight(line, "\x00"), []byte{0}) {
		p.Args = append(p.Args, string(arg))
	}
	if len(line) == 0 {
		p.Args = []string{"[" + name + "]"}
	}
	return p, true
}

// ParseStat reads name, state and parent from the text of /proc/PID/stat. The name may contain anything,
// parentheses and blanks too, so what follows it begins after the last closing parenthesis.
func ParseStat(stat []byte) (name string, state byte, ppid int, err error) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return "", 0, 0, fmt.Errorf("%q is not the text of a stat file: no name in parentheses", stat)
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 2 || len(fields[0]) != 1 || fields[0][0] < 'A' || fields[0][0] > 'z' {
		return "", 0, 0, fmt.Errorf("%q is not the text of a stat file: no state and parent after the name", stat)
	}
	ppid, err = strconv.Atoi(string(fields[1]))
	if err != nil {
		return "", 0, 0, fmt.Errorf("%q is not the text of a stat file: parent: %w", stat, err)
	}
	return string(stat[open+1 : end]), fields[0][0], ppid, nil
}

// Find returns the processes of this machine whose environment holds entry, "NAME=VALUE", or a part of it,
// "NAME=VALUE/PART"; this process is not among them.
func Find(entry string) ([]Process, error) {
	all, err := List("/proc")
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, p := range all {
		if p.PID != os.Getpid() && carries(p.PID, entry) {
			out = append(out, p)
		}
	}
	return out, nil
}

func carries(pid int, entry string) bool {
	// Another user's process, or one that just ended, cannot be read: then it is not ours.
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	return err == nil && slices.ContainsFunc(bytes.Split(env, []byte{0}), func(e []byte) bool {
		rest, ok := bytes.CutPrefix(e, []byte(entry))
		return ok && (len(rest) == 0 || rest[0] == '/')
	})
}

// Kill ends every process whose environment holds entry, and returns when two looks in a row have found none:
// one that forks while we look is found by the next.
func Kill(ctx context.Context, entry string) error {
	for none := 0; none < 2; {
		found, err := Find(entry)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			none++
			continue
		}
		none = 0
		for _, p := range found {
			if err := kill(p.PID, entry); err != nil {
				return fmt.Errorf("ending process %d (%q): %w", p.PID, p.Args, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes with the mark %s are still there, the first is %d (%q): %w",
				len(found), entry, found[0].PID, found[0].Args, context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// kill ends the process pid if it still is one of ours: holding it before looking again makes sure that the number was
// not given to another one in between.
func kill(pid int, entry string) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	if !carries(pid, entry) {
		return nil
	}
	err = p.Signal(syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
