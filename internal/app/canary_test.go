package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/api"
	"sluice/internal/lab/testfleet"
	"sluice/sealed"
)

// canary is a secret that is nowhere else in the world, and what it looks like.
type canary struct {
	name  string
	looks [][]byte
}

// disguises are the secret as it is, and in the forms that programs like to give to what they pass on.
func newCanary(name, secret string) canary {
	c := canary{name, [][]byte{[]byte(secret), []byte(hex.EncodeToString([]byte(secret)))}}
	for skip := range 3 { // base64 of it, wherever in a longer text it begins
		whole := base64.RawStdEncoding.EncodeToString(append(make([]byte, skip), secret...))
		c.looks = append(c.looks, []byte(whole[4:len(whole)-4]))
	}
	return c
}

func (c canary) in(b []byte) bool {
	return slices.ContainsFunc(c.looks, func(look []byte) bool { return bytes.Contains(b, look) })
}

func chance(prefix string) string {
	b := make([]byte, 15)
	_, _ = rand.Read(b)
	return prefix + hex.EncodeToString(b)
}

// sinks is every place in which a secret could be found, by kind.
type sinks map[string]int

// look looks for a canary in bytes of a kind.
func (s sinks) look(kind string, b []byte, c canary) {
	n := s[kind]
	if c.in(b) {
		n++
	}
	s[kind] = n
}

func (s sinks) total() (n int) {
	for _, hits := range s {
		n += hits
	}
	return n
}

// recorded keeps all that the server answers.
type recorded struct {
	http.RoundTripper
	mu  sync.Mutex
	all bytes.Buffer
}

func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err == nil {
		r.mu.Lock()
		_ = resp.Header.Write(&r.all)
		r.mu.Unlock()
		resp.Body = &tapped{resp.Body, r}
	}
	return resp, err
}

type tapped struct {
	io.ReadCloser
	to *recorded
}

func (t *tapped) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.to.mu.Lock()
	defer t.to.mu.Unlock()
	t.to.all.Write(p[:n])
	return n, err
}

// processes looks at the arguments and environments of all processes of the machine, those on its hosts among them, until
// it is told to stop. Each text is kept once.
func processes(ctx context.Context) (seen map[string]bool, looks int) {
	seen = map[string]bool{}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
			files, _ := filepath.Glob(pattern)
			for _, f := range files {
				b, _ := os.ReadFile(f) // it may have ended
				seen[string(b)] = true
			}
		}
		looks++
		select {
		case <-ctx.Done():
			return seen, looks
		case <-tick.C:
		}
	}
}

// tree is all bytes of all files below a directory.
func tree(t *testing.T, dir string) (out []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		out = append(append(out, path...), b...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCanaries: secrets of every kind go every way that there is; then they are looked for in everything that is kept, said,
// answered or seen in the table of processes. Something that is no secret goes the same way, and is found everywhere, so
// that the looking is known to work.
func TestCanaries(t *testing.T) {
	slow(t)
	o := newOffice(t, testfleet.Config{Hosts: 3, User: testfleet.Deploy,
		Host: testfleet.HostConfig{Sudo: testfleet.SudoPassword}})
	answers := o.record()
	password, guess, passphrase, open := chance("pw-"), chance("guess-"), chance("phrase-"), chance("open-")
	for _, h := range o.f.Hosts {
		o.must(h.SetPassword(o.ctx, testfleet.Deploy, password))
		o.must(h.WriteFile("/var/lib/note", []byte("the password is "+password+" and so on\n"), 0o644))
	}
	out, err := exec.CommandContext(o.ctx, "ssh-keygen", "-q", "-p", "-N", passphrase, "-f", o.f.Identity).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key, err := os.ReadFile(o.f.Identity)
	o.must(err)
	o.must(os.Remove(o.f.Identity))
	keyLine := strings.Split(string(key), "\n")[2]
	canaries := []canary{newCanary("password", password), newCanary("wrong password", guess), newCanary("passphrase", passphrase),
		newCanary("private key", keyLine), newCanary("token", o.secrets[len(o.secrets)-1])}

	watching, stop := context.WithCancel(o.ctx)
	var seen map[string]bool
	var looks int
	var watch sync.WaitGroup
	watch.Go(func() { seen, looks = processes(watching) })
	control := exec.CommandContext(o.ctx, "sleep", "1000")
	control.Env = []string{"OPEN=" + open}
	o.must(control.Start())
	jobs := o.everyWay(password, guess, passphrase, string(key), open)
	_ = control.Process.Kill()
	_ = control.Wait()
	stop()
	watch.Wait()

	for _, id := range jobs { // the answers to every question there is
		_, err := o.client.Events(o.ctx, string(id), 0)
		o.must(err)
		_, err = o.client.Why(o.ctx, string(id), "")
		o.must(err)
		_, err = o.client.SealingOf(o.ctx, id)
		o.must(err)
		for _, h := range o.f.Hosts {
			for _, stream := range []string{"stdout", "stderr"} {
				if r, err := o.client.Output(o.ctx, string(id), sluice.Host(h.Name), stream, 0); err == nil {
					_, err = io.Copy(io.Discard, r)
					o.must(err)
					o.must(r.Close())
				}
			}
		}
	}
	limits, err := os.ReadFile("/proc/" + o.pid() + "/limits")
	o.must(err)
	if !strings.Contains(string(limits), "Max core file size        0                    0") {
		t.Errorf("it could leave a core file: %s", limits)
	}
	o.stop(syscall.SIGTERM)
	data := tree(t, o.data)
	search := func(c canary) sinks {
		s := sinks{}
		s.look("data", data, c)
		s.look("log", []byte(o.spoke.String()), c)
		s.look("answers", answers.all.Bytes(), c)
		for text := range seen {
			s.look("processes", []byte(text), c)
		}
		for _, h := range o.f.Hosts {
			s.look("sshd", []byte(h.Log()), c)
			text, err := h.Exec(o.ctx, "cat $(find /tmp /home /root /var/tmp /run /dev/shm -xdev -type f 2>/dev/null) /dev/null")
			o.must(err)
			s.look("hosts", []byte(text), c)
		}
		return s
	}
	for _, c := range canaries {
		if s := search(c); s.total() > 0 {
			t.Errorf("the %s is in %v", c.name, s)
		} else {
			t.Logf("the %s: looked into %v, %d processes' texts in %d rounds, %d bytes of data, %d of answers", c.name, s, len(seen), looks, len(data), answers.all.Len())
		}
	}
	s := search(newCanary("what is no secret", open))
	for _, kind := range []string{"data", "answers", "processes", "hosts"} {
		if s[kind] == 0 {
			t.Errorf("what is no secret was not found in %s, so the looking shows nothing: %v", kind, s)
		}
	}
	if !bytes.Contains(answers.all.Bytes(), []byte("the password is **")) {
		t.Error("nothing was masked in the output")
	}
}

func (o *office) pid() string {
	o.t.Helper()
	out, err := exec.CommandContext(o.ctx, "pgrep", "-f", "--", "server --data "+o.data).Output()
	o.must(err)
	return strings.Fields(string(out))[0]
}

// record keeps what the server answers from now on.
func (o *office) record() *recorded {
	r := &recorded{RoundTripper: o.http.Transport}
	o.http.Transport = r
	return r
}

// everyWay runs jobs with secrets of every kind: accepted, refused, lost and given anew, used up and cancelled.
func (o *office) everyWay(password, guess, passphrase, key, open string) (jobs []sluice.JobID) {
	o.t.Helper()
	everything := func() sealed.Content {
		return sealed.Content{Password: aSecret(password), Sudo: aSecret(password), Passphrase: aSecret(passphrase), PrivateKey: aSecret(key)}
	}
	asRoot := func(s *api.Submit) { s.Options.Sudo = "root" }
	id := o.submit("cat /var/lib/note; echo "+open+" | tee /tmp/open", everything(), asRoot)
	o.succeeds(id, 0)
	jobs = append(jobs, id)

	id = o.submit("true", sealed.Content{Sudo: aSecret(guess), Passphrase: aSecret(passphrase), PrivateKey: aSecret(key)}, asRoot)
	o.halted(id, 0, sluice.RuleAuth, "")
	jobs = append(jobs, id)

	id = o.submit("cat /var/lib/note >&2; "+count+"; "+hold, everything(), asRoot)
	o.running(o.host(1), 1)
	o.stop(syscall.SIGKILL)
	o.start()
	o.halted(id, 0, sluice.RuleSecrets, "")
	o.letGo(o.f.Hosts...)
	o.succeeds(id, o.resume(id, everything()))
	jobs = append(jobs, id)

	for _, h := range o.f.Hosts {
		_, err := h.Exec(o.ctx, "rm "+goFile)
		o.must(err)
	}
	id = o.submit(count+"; "+hold, everything(), asRoot)
	o.running(o.host(1), 2)
	_, err := o.client.Cancel(o.ctx, id, "")
	o.must(err)
	o.end(id, 0)
	return append(jobs, id)
}

// TestServersMemoryIsClosed: a process of the same user reads neither the memory nor the environment of a server, which has
// the key of its worker in it. It can read those of another process, so that the trying is known to work.
func TestServersMemoryIsClosed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: needs root, to be somebody else")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "sluice-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary, err := os.ReadFile(program(t))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "sluice"), binary, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	as := func(name string, args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, name, args...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		c.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
		c.Dir = dir
		return c
	}
	start := func(c *exec.Cmd) string {
		t.Helper()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
		return "/proc/" + strconv.Itoa(c.Process.Pid) + "/"
	}
	server := as(filepath.Join(dir, "sluice"), "server", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--admin-token-file", filepath.Join(dir, "token"))
	said, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	its := start(server)
	text := make([]byte, 1)
	for line := []byte(nil); !bytes.Contains(line, []byte("takes jobs")); line = append(line, text...) {
		if _, err := said.Read(text); err != nil {
			t.Fatalf("it said %q and ended: %v", line, err)
		}
	}
	other := start(as("sleep", "1000"))
	for _, file := range []string{"environ", "maps", "mem"} {
		if out, err := as("head", "-c0", other+file).CombinedOutput(); err != nil {
			t.Errorf("%s of an ordinary process: %v: %s", file, err, out)
		}
		if out, err := as("head", "-c0", its+file).CombinedOutput(); err == nil || !strings.Contains(string(out), unix.EACCES.Error()) && !strings.Contains(string(out), "denied") {
			t.Errorf("%s of the server can be read: %v %s", file, err, out)
		}
	}
}
