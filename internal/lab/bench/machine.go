package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// fact is something about the machine. Nothing in it names the machine or its people.
type fact struct{ name, value string }

func describe(ctx context.Context) []fact {
	facts := []fact{{"processor", fmt.Sprintf("%s, %d cores", processor(), cores())}, {"memory", memory()}, {"kernel", kernel()}, {"Go", runtime.Version()}}
	for _, p := range []struct {
		name string
		argv []string
	}{
		{"OpenSSH", []string{"ssh", "-V"}}, {"pdsh", []string{"pdsh", "-V"}}, {"clush", []string{"clush", "--version"}},
		{"pssh", []string{"parallel-ssh", "--version"}}, {"ansible", []string{"ansible", "--version"}}, {"rsync", []string{"rsync", "--version"}}, {"capistrano", []string{"cap", "--version"}},
	} {
		facts = append(facts, fact{p.name, version(ctx, p.argv)})
	}
	return facts
}

var versionNumber = regexp.MustCompile(`[0-9]+\.[0-9]+[0-9A-Za-z.]*`)

// version is the first number in what a program says of itself.
func version(ctx context.Context, argv []string) string {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if v := versionNumber.Find(out); v != nil && err == nil {
		return string(v)
	}
	return "not installed"
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, rest, found := bytes.Cut(b, []byte("model name"))
	if !found {
		return runtime.GOARCH
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.Trim(string(line), " \t:")
}

func memory() string {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return "unknown"
	}
	return fmt.Sprintf("%d GB", i.Totalram*uint64(i.Unit)/1e9)
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
