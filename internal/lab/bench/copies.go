package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"sluice/internal/lab/testfleet"
)

// copyWidth is how many hosts are written to at once.
const copyWidth = 16

// copies puts a large file on many hosts. They need files of their own, so this part has isolated hosts, where there
// is root.
func copies(ctx context.Context, l *lab) (s section, err error) {
	n, size := l.pick([]int{3}, []int{50})[0], int64(l.pick([]int{1}, []int{50})[0])<<20
	s = section{title: fmt.Sprintf("%d MB to %d hosts", size>>20, n),
		about: fmt.Sprintf("%d at a time; *gcm* is the cipher aes128-gcm@openssh.com. The hosts are isolated from each other, each with an sshd of its own.", copyWidth)}
	fleet, err := testfleet.New(ctx, testfleet.Config{Hosts: n, Host: testfleet.HostConfig{Disk: 3*size + 16<<20, SSHD: []string{"MaxStartups 1000", "SetEnv SHLVL=1"}}})
	switch {
	case errors.Is(err, testfleet.ErrUnavailable):
		return s, fmt.Errorf("%w: isolated hosts need root and some programs", errSkipped)
	case err != nil:
		return s, err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	file := l.path("content")
	if err := writeRandom(file, size); err != nil {
		return s, err
	}
	programs, err := l.copyPrograms(ctx, fleet, file)
	if err != nil {
		return s, err
	}
	t := table{columns: []column{
		{"wall, x ssh cat", func(r, base result) string { return ratio(r.wall, base.wall) }},
		fanColumns[2], {"client CPU s", func(r, _ result) string { return seconds(r.cpu) }}, fanColumns[5],
		{"MB/s", func(r, _ result) string {
			return fmt.Sprintf("%.0f", float64(int64(r.hosts)*size)/1e6/r.wall.Seconds())
		}},
	}}
	for i := range programs {
		programs[i].after = func(ctx context.Context) error { return takeAway(ctx, fleet, size) }
	}
	if t.results, err = l.compare(ctx, n, l.rounds, programs); err != nil {
		return s, err
	}
	s.tables = append(s.tables, t)
	if base, ours := t.find(sshCat), t.find(full+" copy"); base.ok() && ours.ok() {
		s.targets = append(s.targets, target{what: s.title + ", x ssh cat", most: 1.1, got: ours.wall.Seconds() / base.wall.Seconds(), format: "%.2f"})
	}
	return s, nil
}

const (
	copied = "/root/copied" // where the file goes
	sshCat = "ssh cat, gcm" // what the others are compared with
)

func writeRandom(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for ; size > 0 && err == nil; size -= int64(len(block)) {
		_, _ = rand.Read(block) // it never fails
		_, err = f.Write(block)
	}
	return errors.Join(err, f.Close())
}

// takeAway removes the file from all hosts; it must be there, whole.
func takeAway(ctx context.Context, f *testfleet.Fleet, size int64) error {
	return onAll(ctx, f, fmt.Sprintf("test \"$(stat -c %%s %s)\" = %d; status=$?; rm -f %[1]s; exit $status", copied, size))
}

func (l *lab) copyPrograms(ctx context.Context, f *testfleet.Fleet, file string) ([]program, error) {
	var names, addresses strings.Builder
	for _, h := range f.Hosts {
		fmt.Fprintln(&names, h.Name)
		fmt.Fprintln(&addresses, h.Addr())
	}
	config, err := os.ReadFile(f.SSHConfig)
	if err != nil {
		return nil, err
	}
	const gcm = "  Ciphers aes128-gcm@openssh.com\n  KexAlgorithms curve25519-sha256\n"
	for name, text := range map[string]string{"copy.hosts": names.String(), "copy.addresses": addresses.String(), "copy.gcm": string(config) + gcm,
		"copy.key": string(ssh.MarshalAuthorizedKey(f.Hosts[0].Key()))} {
		if err := l.write(name, text); err != nil {
			return nil, err
		}
	}
	w := strconv.Itoa(copyWidth)
	list := l.path("copy.hosts")
	each := func(name, command string) program {
		return program{name: name, argv: []string{"sh", "-c", "xargs -P " + w + " -I HOST sh -c '" + command + "' <" + list}}
	}
	gcmConfig := "-F " + l.path("copy.gcm")
	ansible := l.ansible(list, "copy.gcm", copyWidth, "copy", "src="+file+" dest="+copied)
	programs := []program{
		each(sshCat, "exec ssh "+gcmConfig+" HOST \"cat >"+copied+"\" <"+file),
		l.sluiceProgram(full+" copy", "copy", "-w", fmt.Sprintf("host[1-%d]", len(f.Hosts)), "--concurrency", w, file, copied),
		each("scp, gcm", "exec scp -q "+gcmConfig+" "+file+" HOST:"+copied),
		each("scp, stock", "exec scp -q -F "+f.SSHConfig+" "+file+" HOST:"+copied),
		l.clush(list, "copy.gcm", copyWidth, "--copy", file, "--dest", copied),
		ansible,
	}
	for i := range programs {
		programs[i].env = append(programs[i].env, "HOME="+f.Home)
		programs[i].within = func(argv []string) *exec.Cmd { return f.Command(ctx, argv[0], argv[1:]...) }
	}
	return programs, nil
}
