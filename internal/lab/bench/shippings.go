package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/internal/lab/testfleet"
)

// application is what is brought to hosts: files of random content, all of one size.
type application struct {
	files int
	bytes int64
	sums  map[string]string // of the first file, by version, as sha256sum prints it
}

// write makes both versions: trees, archives and a git repository.
func (a *application) write(l *lab) error {
	a.sums = map[string]string{}
	size := a.bytes / int64(a.files)
	for i := range a.files {
		name := fmt.Sprintf("files/%d/%d", i%50, i/50)
		content := make([]byte, size)
		_, _ = rand.Read(content) // it never fails
		for _, version := range []string{"1", "2"} {
			age := 0
			if version == "2" && i%100 == 0 { // 1 %
				_, _ = rand.Read(content)
				age = 1
			}
			if i == 0 {
				sum := sha256.Sum256(content)
				a.sums[version] = hex.EncodeToString(sum[:]) + "  -"
			}
			path := "tree/" + version + "/" + name
			err := l.write(path, string(content))
			if err == nil { // what did not change shall look so to those who go by times
				at := time.Unix(1_700_000_000, 0).Add(time.Duration(age) * time.Hour)
				err = os.Chtimes(l.path(path), at, at)
			}
			if err != nil {
				return err
			}
		}
	}
	const script = `set -e
for v in 1 2; do
	printf 'app: shop\ndeploy: {root: %s}\n' "$ROOT" >tree/$v/app.yaml
	mkdir -p archives/$v
	tar -cf archives/$v/shop.tar -C tree/$v .
done
git init -q -b main git
for v in 1 2; do
	cp -a tree/$v/. git/
	git -C git add -A
	git -C git -c user.name=bench -c user.email=bench@example.com commit -q -m "version $v"
	git -C git branch v$v
done
git clone -q --bare git repos/shop.git
`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Env = l.dir, append(os.Environ(), "ROOT="+releaseRoot)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the versions: %w: %s", err, out)
	}
	return nil
}

// shippings are Sluice and its peers. What has to run beside them ends with stop.
func (l *lab) shippings(ctx context.Context, f *testfleet.Fleet) (ways []shipping, stop func() error, err error) {
	config, err := os.ReadFile(f.SSHConfig)
	if err != nil {
		return nil, nil, err
	}
	const light = "  Ciphers aes128-gcm@openssh.com\n  KexAlgorithms curve25519-sha256\n"
	var names strings.Builder
	for _, h := range f.Hosts {
		fmt.Fprintln(&names, h.Name)
	}
	for name, text := range map[string]string{"ship.hosts": names.String(), "ship.ssh": string(config) + light} {
		if err := l.write(name, text); err != nil {
			return nil, nil, err
		}
	}
	if err := errors.Join(l.writePlays(), l.writeCapistrano(f)); err != nil {
		return nil, nil, err
	}
	daemon := f.Command(ctx, "git", "daemon", "--base-path="+l.path("repos"), "--export-all", "--reuseaddr", "--listen="+f.IP)
	// git has another program be the daemon, and both are to end.
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	daemon.Cancel = func() error { return syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL) }
	if err := daemon.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() error {
		err := daemon.Cancel()
		_ = daemon.Wait() // it was killed
		return err
	}
	return []shipping{
		{"sluice", l.sluiceShips(len(f.Hosts)), "live"},
		{"rsync --link-dest, in a loop", l.rsyncShips(""), "live"},
		{"rsync --checksum --link-dest, in a loop", l.rsyncShips("--checksum "), "live"},
		{"tar over ssh, in a loop", l.tarShips, "live"},
		{"ansible unarchive", l.ansibleShips("unarchive.yml"), "live"},
		{"ansible synchronize", l.ansibleShips("synchronize.yml"), "live"},
		{"capistrano, git", l.capistranoShips, "current"},
	}, stop, nil
}

func (l *lab) archive(version string) string { return l.path("archives", version, "shop.tar") }

func (l *lab) shell(text string) program { return program{argv: []string{"sh", "-ec", text}} }

func (l *lab) sluiceShips(hosts int) func(string) program {
	return func(version string) program {
		if version == "1" {
			l.runs++ // its journal and repository are for both versions
		}
		state := l.path("state", strconv.Itoa(l.runs))
		p := l.shell(fmt.Sprintf("%[1]s artifact push shop %[2]s %[3]s --store %[4]s/depot\n"+
			"exec %[1]s deploy shop@%[3]s --env production -w 'host[1-%[5]d]' --concurrency %[6]d --store %[4]s/depot",
			l.sluice(), l.archive(version), version, state, hosts, copyWidth))
		p.env = []string{"XDG_STATE_HOME=" + state}
		return p
	}
}

// each runs a command for every host, many at once.
func (l *lab) each(command string) program {
	return l.shell("exec xargs -P " + strconv.Itoa(copyWidth) + " -I HOST sh -ec '" + command + "' <" + l.path("ship.hosts"))
}

// rsyncShips goes by size and time of files; with --checksum by what is in them, as Sluice does.
func (l *lab) rsyncShips(flag string) func(version string) program {
	return func(version string) program {
		ssh := "ssh -F " + l.path("ship.ssh")
		dir := releaseRoot + "/versions/"
		return l.each(fmt.Sprintf(`%[1]s HOST "mkdir -p %[2]s%[3]s"; rsync -a %[6]s-e "%[1]s" --link-dest=../1 %[4]s/ HOST:%[2]s%[3]s/; exec %[1]s HOST "ln -sfn versions/%[3]s %[5]s/live"`,
			ssh, dir, version, l.path("tree", version), releaseRoot, flag))
	}
}

func (l *lab) tarShips(version string) program {
	dir := releaseRoot + "/versions/" + version
	return l.each(fmt.Sprintf(`exec ssh -F %[1]s HOST "mkdir -p %[2]s && tar -xf - -C %[2]s && ln -sfn versions/%[3]s %[4]s/live" <%[5]s`,
		l.path("ship.ssh"), dir, version, releaseRoot, l.archive(version)))
}

func (l *lab) ansibleShips(play string) func(string) program {
	return func(version string) program {
		return program{argv: []string{"ansible-playbook", "-i", l.path("ship.hosts"), "-f", strconv.Itoa(copyWidth), "--ssh-common-args=-F " + l.path("ship.ssh"),
			"-e", "version=" + version, l.path(play)}, env: []string{"ANSIBLE_PIPELINING=1"}}
	}
}

func (l *lab) writePlays() error {
	head := "- hosts: all\n  gather_facts: false\n  tasks:\n    - file: {path: \"" + releaseRoot + "/versions/{{ version }}\", state: directory}\n"
	tail := "    - file: {src: \"versions/{{ version }}\", dest: \"" + releaseRoot + "/live\", state: link, force: true}\n"
	return errors.Join(
		l.write("unarchive.yml", head+"    - unarchive: {src: \""+l.archive("{{ version }}")+"\", dest: \""+releaseRoot+"/versions/{{ version }}\"}\n"+tail),
		l.write("synchronize.yml", head+"    - ansible.posix.synchronize: {src: \""+l.path("tree/{{ version }}")+"/\", dest: \""+releaseRoot+
			"/versions/{{ version }}/\", link_dest: [\""+releaseRoot+"/versions/1\"], use_ssh_args: true}\n"+tail))
}

func (l *lab) writeCapistrano(f *testfleet.Fleet) error {
	var servers strings.Builder
	for _, h := range f.Hosts {
		fmt.Fprintf(&servers, "server '%s', user: 'root', roles: %%w{app}\n", h.IP)
	}
	return errors.Join(
		l.write("cap/Capfile", "require 'capistrano/setup'\nrequire 'capistrano/deploy'\nrequire 'capistrano/scm/git'\ninstall_plugin Capistrano::SCM::Git\n"),
		l.write("cap/config/deploy.rb", fmt.Sprintf(`set :application, 'shop'
set :repo_url, 'git://%s/shop.git'
set :branch, 'v' + ENV['VERSION']
set :deploy_to, '%s'
set :ssh_options, { keys: ['%s'], keys_only: true, config: false, verify_host_key: :never }
`, f.IP, releaseRoot, f.Identity)),
		l.write("cap/config/deploy/production.rb", servers.String()),
		os.MkdirAll(filepath.Join(l.path("cap"), "log"), 0o700))
}

func (l *lab) capistranoShips(version string) program {
	p := l.shell("cd " + l.path("cap") + " && exec cap production deploy")
	p.env = []string{"VERSION=" + version}
	return p
}
