package work_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/run/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shells are what a target's sh may be.
var shells = []string{"dash", "busybox", "bash", "ksh93", "mksh"}

// host is a machine as a test sees it: this one, with a home of its own, a place of its own, and a shell.
type host struct {
	t     testing.TB
	home  string
	place string
	path  string // of a directory in which sh is the shell
	login string // the login shell, a path
	uid   uint32 // who logs in

	mu       sync.Mutex
	down     error // what connecting gives
	sessions []*session
	links    int
	// onStart may replace a command, or fail.
	onStart func(command string) (string, error)
}

// as makes a host whose sh and login shell are a shell, for a user.
func newHost(t testing.TB, shell string) *host {
	t.Helper()
	real, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("skipped: no %s here", shell)
	}
	dir := t.TempDir()
	h := &host{t: t, home: filepath.Join(dir, "home"), place: filepath.Join(dir, "place"), path: filepath.Join(dir, "bin"), uid: uint32(os.Getuid())}
	for _, d := range []string{h.home, h.path} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.login = filepath.Join(h.path, "sh")
	if err := os.Symlink(real, h.login); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

// close ends all sessions. A launcher does not outlive its link; a plain command may.
func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		s.cut()
		patience := time.After(time.Minute)
		if strings.Contains(s.command, "export SLUICE") {
			_ = s.process.Kill()
		}
		select {
		case <-s.exited:
		case <-patience:
			h.t.Errorf("the session of %.200q outlives its link", s.command)
			_ = s.process.Kill()
			<-s.exited
		}
	}
}

// asNobody makes the host's user one without rights: no control group can be made.
func (h *host) asNobody() *host {
	h.t.Helper()
	if os.Getuid() != 0 {
		return h
	}
	h.uid = 65534
	for d := filepath.Dir(h.home); len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.Chown(h.home, 65534, 65534); err != nil {
		h.t.Fatal(err)
	}
	h.place = filepath.Join(h.home, "place")
	return h
}

func (h *host) Connect(ctx context.Context, name sluice.Host, _ sluice.SSH) (sluice.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links++
	if h.down != nil {
		return nil, h.down
	}
	return &link{h}, ctx.Err()
}

func (h *host) Close() error { return nil }

func (h *host) setDown(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = err
}

// cut loses the link of every session there is.
func (h *host) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sessions {
		s.cut()
	}
}

type link struct{ h *host }

func (l *link) User() string { return "test" }
func (l *link) Close() error { return nil }

func (l *link) Start(_ context.Context, command string, tty bool) (sluice.Session, error) {
	if tty {
		return nil, errors.New("no terminal here")
	}
	if l.h.onStart != nil {
		var err error
		if command, err = l.h.onStart(command); err != nil {
			return nil, err
		}
	}
	return l.h.start(command)
}

func (l *link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func (h *host) start(command string) (*session, error) {
	cmd := exec.Command(h.login, "-c", command)
	cmd.Dir = h.home
	cmd.Env = []string{"HOME=" + h.home, "PATH=" + h.path + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "USER=test"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if h.uid != uint32(os.Getuid()) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: h.uid, Gid: h.uid}
	}
	var near, far [3]*os.File // stdin, stdout, stderr
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		near[i], far[i] = r, w
		if i == 0 {
			near[i], far[i] = w, r
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far[0], far[1], far[2]
	err := cmd.Start()
	for _, f := range far {
		_ = f.Close()
	}
	if err != nil {
		return nil, err
	}
	s := &session{command: command, process: cmd.Process, in: near[0], out: near[1], err: near[2], exited: make(chan struct{}), cutted: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		s.state = cmd.ProcessState
		close(s.exited)
	}()
	h.mu.Lock()
	h.sessions = append(h.sessions, s)
	h.mu.Unlock()
	return s, nil
}

type session struct {
	command      string
	process      *os.Process
	in, out, err *os.File
	exited       chan struct{}
	cutted       chan struct{}
	once         sync.Once
	state        *os.ProcessState
}

func (s *session) Stdin() io.WriteCloser { return s.in }
func (s *session) Stdout() io.Reader     { return s.out }
func (s *session) Stderr() io.Reader     { return s.err }

// cut closes all ends, as sshd does when its client is gone: the command is not killed.
func (s *session) cut() {
	s.once.Do(func() {
		close(s.cutted)
		_ = s.in.Close()
		_ = s.out.Close()
		_ = s.err.Close()
	})
}

func (s *session) Wait() (sluice.ExitStatus, error) {
	select {
	case <-s.cutted:
		return sluice.ExitStatus{}, sluice.ErrLinkLost
	default:
	}
	select {
	case <-s.cutted:
		return sluice.ExitStatus{}, sluice.ErrLinkLost
	case <-s.exited:
	}
	if ws, ok := s.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return sluice.ExitStatus{Signal: strings.TrimPrefix(signalNames[ws.Signal()], "SIG")}, nil
	}
	return sluice.ExitStatus{Code: s.state.ExitCode()}, nil
}

var signalNames = map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGKILL: "KILL"}

func (s *session) Close() error {
	s.cut()
	return nil
}

// outputs keep streams in memory, with the rules of the port.
type outputs struct {
	mu    sync.Mutex
	kept  map[string][]byte
	fail  error
	syncs int
	// unknown is said of the size of a stream, so often; below 0: always.
	unknown error
	asks    int
}

func newOutputs() *outputs { return &outputs{kept: map[string][]byte{}} }

func key(a sluice.AttemptID, stream string) string { return string(a) + "/" + stream }

func (o *outputs) Write(_ sluice.JobID, a sluice.AttemptID, stream string, offset int64, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return o.fail
	}
	k := key(a, stream)
	have := int64(len(o.kept[k]))
	if offset > have {
		return fmt.Errorf("a gap: %d after %d", offset, have)
	}
	if skip := have - offset; skip < int64(len(data)) {
		o.kept[k] = append(o.kept[k], data[skip:]...)
	}
	return nil
}

func (o *outputs) Sync(sluice.JobID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.syncs++
	return nil
}

func (o *outputs) Size(_ sluice.JobID, a sluice.AttemptID, stream string) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asks != 0 && o.unknown != nil {
		o.asks--
		return 0, o.unknown
	}
	return int64(len(o.kept[key(a, stream)])), nil
}

func (o *outputs) Open(_ sluice.JobID, a sluice.AttemptID, stream string) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return io.NopCloser(bytes.NewReader(bytes.Clone(o.kept[key(a, stream)]))), nil
}

func (o *outputs) Close(sluice.JobID) error { return nil }

func (o *outputs) text(a sluice.AttemptID, stream string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.kept[key(a, stream)])
}

// blobs keep content in memory.
type blobs struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (b *blobs) Put(_ context.Context, r io.Reader) (string, int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil {
		b.kept = map[string][]byte{}
	}
	b.kept[digest] = data
	return digest, int64(len(data)), nil
}

func (b *blobs) Size(ctx context.Context, digest string) (int64, error) { return b.Renew(ctx, digest) }

func (b *blobs) Renew(ctx context.Context, digest string) (int64, error) {
	r, err := b.Open(ctx, digest)
	if err != nil {
		return 0, err
	}
	return io.Copy(io.Discard, r)
}

func (b *blobs) Open(_ context.Context, digest string) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.kept[digest]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// bench is a worker with one host.
type bench struct {
	t       testing.TB
	host    *host
	outputs *outputs
	blobs   *blobs
	creds   sluice.Credentials
	worker  *work.Worker
	job     *sluice.Job
}

func newBench(t testing.TB, h *host) *bench {
	b := &bench{t: t, host: h, outputs: newOutputs(), blobs: &blobs{}}
	b.job = &sluice.Job{ID: newJobID(), Command: "test", Action: sluice.Action{Kind: sluice.RunCommand, Shell: "true"}}
	b.job.Target = sluice.TargetSettings{Dir: h.place, PreHooks: filepath.Join(h.home, "pre.d"), PostHooks: filepath.Join(h.home, "post.d")}
	b.job.Options.Reconnect = 20 * time.Second
	b.restart()
	return b
}

// restart makes a new worker, as a new process would.
func (b *bench) restart() {
	b.worker = work.New(work.Config{
		Transport:    func(sluice.SSH) sluice.Transport { return b.host },
		Outputs:      b.outputs,
		Blobs:        b.blobs,
		Credentials:  b.creds,
		HelloTimeout: 20 * time.Second,
	})
}

// id is the attempt of a bench: its own, for control groups are shared by all hosts of these tests.
func (b *bench) id() sluice.AttemptID { return sluice.NewAttemptID(b.job.ID, 0, 1) }

func newJobID() sluice.JobID {
	var id [sluice.JobIDLength]byte
	for i := range id {
		id[i] = sluice.JobIDAlphabet[rand.IntN(len(sluice.JobIDAlphabet))]
	}
	return sluice.JobID(id[:])
}

// run carries out the job and returns its outcome.
func (b *bench) run() sluice.TaskFinished {
	b.t.Helper()
	r, err := b.do(context.Background(), work.Assignment{})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) do(ctx context.Context, a work.Assignment) (sluice.TaskFinished, error) {
	b.t.Helper()
	var mu sync.Mutex
	var got []sluice.TaskFinished
	a.Job, a.Host = b.job, "web1"
	if a.Attempt == "" {
		a.Attempt = b.id()
	}
	own := a.Commit != nil
	if !own {
		a.Commit = func(_ context.Context, r sluice.TaskFinished) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, r)
			return nil
		}
	}
	err := b.worker.Do(ctx, a)
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		if len(got) > 0 {
			b.t.Errorf("committed %+v and failed with %v", got, err)
		}
		return sluice.TaskFinished{}, err
	}
	if own {
		return sluice.TaskFinished{}, nil
	}
	if len(got) != 1 {
		b.t.Fatalf("committed %d times: %+v", len(got), got)
	}
	return got[0], nil
}

func (b *bench) stdout() string { return b.outputs.text(b.id(), "stdout") }
func (b *bench) stderr() string { return b.outputs.text(b.id(), "stderr") }

// wantClean says that nothing is left on the host.
func (b *bench) wantClean() {
	b.t.Helper()
	if left, err := os.ReadDir(b.host.place); err == nil {
		b.t.Errorf("the place is still there, with %v", left)
	}
}

// hook writes a hook.
func (h *host) hook(name, text string, mode os.FileMode) {
	h.t.Helper()
	file := filepath.Join(h.home, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		h.t.Fatal(err)
	}
}

// eventually waits for a condition in the world outside.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// running lists processes whose command line contains a word.
func running(word string) (pids []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, d := range dirs {
		if b, _ := os.ReadFile(d); bytes.Contains(b, []byte(word)) && !slices.Contains(pids, d) {
			pids = append(pids, filepath.Base(filepath.Dir(d)))
		}
	}
	return pids
}
