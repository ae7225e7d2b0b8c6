package release_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
	"sluice/internal/core/target"
)

// shells are what must be able to carry the steps out.
var shells = []string{"dash", "busybox sh", "bash"}

func eachShell(t *testing.T, f func(t *testing.T, m *machine)) {
	for _, s := range shells {
		t.Run(s, func(t *testing.T) { f(t, newMachine(t, s)) })
	}
}

// machine is a host as these tests need it: a directory and a shell, without a supervisor.
type machine struct {
	t       testing.TB
	shell   []string
	dir     string // of everything
	root    string // of the app
	path    string // of programs that come before others
	content map[string][]byte
	tries   int
	point   string // shell text of d_point
	answers string // what steps read
	out     string // of the last run
	steps   []string
	env     map[string]string
	sent    int64 // bytes of the last parcel
}

func newMachine(t testing.TB, shell string) *machine {
	t.Helper()
	words := strings.Fields(shell)
	if _, err := exec.LookPath(words[0]); err != nil {
		t.Skipf("skipped: no %s here", words[0])
	}
	return machineIn(t, shell, t.TempDir())
}

func machineIn(t testing.TB, shell, dir string) *machine {
	t.Helper()
	words := strings.Fields(shell)
	m := &machine{t: t, shell: words, dir: dir, root: filepath.Join(dir, `srv/it's "an" äpp`), content: map[string][]byte{}, path: filepath.Join(dir, "bin")}
	if err := os.Mkdir(m.path, 0o755); err != nil {
		t.Fatal(err)
	}
	if words[0] == "busybox" {
		// Then all programs are busybox's, too.
		for _, p := range []string{"tar", "sha256sum", "readlink", "sed", "sort", "uniq", "ln", "mv", "rm", "mkdir", "rmdir", "sync", "head", "df", "cat", "id", "gzip"} {
			m.link(p)
		}
	}
	return m
}

func (m *machine) link(program string) {
	busybox, err := exec.LookPath("busybox")
	if err == nil {
		err = os.Symlink(busybox, filepath.Join(m.path, program))
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) sh(text, stdin string, env map[string]string) (string, error) {
	cmd := exec.Command(m.shell[0], append(slices.Clone(m.shell[1:]), "-c", text)...)
	cmd.Env = []string{"PATH=" + m.path + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + m.dir, "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tree makes a manifest of files by name; a name with "->" is a link, and one with "*" before it is executable.
func (m *machine) tree(files map[string]string) manifest.Manifest {
	m.t.Helper()
	var entries []manifest.Entry
	for name, text := range files {
		if from, to, ok := strings.Cut(name, "->"); ok {
			entries = append(entries, manifest.Entry{Path: from, Kind: manifest.Link, To: to})
			continue
		}
		name, program := strings.CutPrefix(name, "*")
		e := manifest.Entry{Path: name, Kind: manifest.File, Mode: 0o640, Size: int64(len(text)), SHA256: sum(text)}
		if program {
			e.Mode = 0o755
		}
		m.content[e.SHA256] = []byte(text)
		entries = append(entries, e)
	}
	tree, err := manifest.New(entries)
	if err != nil {
		m.t.Fatal(err)
	}
	return tree
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func (m *machine) open(sha string) (io.ReadCloser, error) {
	b, ok := m.content[sha]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

const job = sluice.JobID("0123456789ab")

// wish is a deploy of a version; its artifact is the tree.
func (m *machine) wish(version string, tree manifest.Manifest) release.Wish {
	m.tries++
	return release.Wish{Kind: sluice.DeployTo, Namespace: "default", Job: job, Attempt: sluice.NewAttemptID(job, 0, m.tries), By: "ann", Since: "2026-01-02T03:04:05Z", Tree: tree,
		Release: &sluice.Release{App: "shop", Env: "prod", Version: version, Manifest: "sha256:" + sum(version), Deploy: sluice.Deploy{Root: m.root, Keep: 3}}}
}

func (m *machine) back(version, digest string) release.Wish {
	w := m.wish("", nil)
	w.Kind, w.Back = sluice.RollBack, &sluice.Installed{Version: version, Manifest: digest}
	return w
}

// look asks the machine, and fetches the lists of some trees.
func (m *machine) look(w release.Wish, lists ...string) (*release.Report, map[string]manifest.Manifest) {
	m.t.Helper()
	var ask strings.Builder
	for _, name := range lists {
		ask.WriteString("m " + name + "\n")
	}
	out, err := m.sh(release.LookText("nonce", m.dir, w), ask.String()+"q\n", nil)
	if err != nil {
		m.t.Fatalf("the look: %v: %s", err, out)
	}
	r, got, at := &release.Report{}, map[string]manifest.Manifest{}, ""
	target.NewFramer("nonce").Feed([]byte(out), func(i target.Item) {
		switch {
		case i.Word == "":
			if at == "" {
				m.t.Fatalf("the look says %q", i.Data)
			}
			list, err := manifest.Parse(i.Data)
			if err != nil {
				m.t.Fatal(err)
			}
			got[at] = list
		case i.Word == "list":
			at = i.Rest
		case i.Word == ".":
			at = ""
		default:
			if err := r.Take(i.Word, i.Rest); err != nil {
				m.t.Fatal(err)
			}
		}
	})
	return r, got
}

// supervisor stands for that of package target.
const supervisor = `s_nl='
'
s_w() { printf %s "$1"; }
s_step() {
	s_name=$1
	shift
	if [ -f "$s_here/killed" ]; then return 1; fi
	( cd / && export SLUICE_PHASE="${s_name%%/*}" && $s_do "$@" )
	s_c=$?
	echo "$s_name $s_c" >>"$s_here/steps"
	return $s_c
}
s_hooks() {
	s_l= s_ph=$1 s_hd=$2
	for s_h in "$2"/*; do
		if [ -f "$s_h" ] && [ -x "$s_h" ]; then s_l="$s_l ${s_h##*/}"; fi
	done
	for s_h in $s_l; do s_step "$s_ph/$s_h" $s_via "$s_hd/$s_h" || return; done
}
s_do=exec s_via=
`

// run looks, decides and carries out. The status is that of the steps, -1 where the shell was killed; the error is why the
// machine cannot take it.
func (m *machine) run(w release.Wish) (int, error) {
	m.t.Helper()
	r, _ := m.look(w)
	p, err := release.Decide(w, r)
	if err != nil {
		return 1, err
	}
	return m.carry(w, p), nil
}

func (m *machine) carry(w release.Wish, p *release.Plan) int {
	m.t.Helper()
	here := filepath.Join(m.dir, "attempt")
	if err := os.RemoveAll(here); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Mkdir(here, 0o700); err != nil {
		m.t.Fatal(err)
	}
	var parcel *release.Parcel
	if p.Needs() {
		var names []string
		for _, t := range p.Linkable() {
			names = append(names, t.Name)
		}
		_, lists := m.look(w, names...)
		var err error
		if parcel, err = p.Parcel(lists); err != nil {
			m.t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(here, "blob"))
		if err == nil {
			err = parcel.Write(f, m.open)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		st, err := f.Stat()
		if err != nil || st.Size() > parcel.Size() || parcel.Linked == 0 && st.Size() != parcel.Size() {
			m.t.Errorf("the parcel has %d bytes, and said %d (%v)", st.Size(), parcel.Size(), err)
		}
		m.sent = st.Size()
		_ = f.Close()
	}
	epoch, err := m.sh(`read -r a </proc/sys/kernel/random/boot_id; read -r b </proc/1/stat; set -- ${b##*') '}; echo $a.${20}`, "", nil)
	if err != nil {
		m.t.Fatal(epoch, err)
	}
	text := supervisor + "s_id=" + string(w.Attempt) + " s_epoch=" + strings.TrimSpace(epoch) + " s_here=" + target.Quote(here) + "\n" +
		"s_w '' >\"$s_here/live\"\n" + p.Steps(parcel, m.point) + "s_main\nexit $?\n"
	env := p.Env()
	maps.Copy(env, m.env)
	m.out, err = m.sh(text, m.answers, env)
	steps, _ := os.ReadFile(filepath.Join(here, "steps"))
	m.steps = strings.Split(strings.TrimSpace(string(steps)), "\n")
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	m.t.Fatal(err)
	return 0
}

func (m *machine) want(status int, w release.Wish) {
	m.t.Helper()
	code, err := m.run(w)
	if err != nil || code != status {
		m.t.Fatalf("status %d, %v; want %d\n%s\n%s", code, err, status, m.out, strings.Join(m.steps, "\n"))
	}
}

// refused says that the machine does not take it, and why.
func (m *machine) refused(w release.Wish, why string) {
	m.t.Helper()
	if _, err := m.run(w); err == nil || !strings.Contains(err.Error(), why) {
		m.t.Fatalf("%v; it shall say %q\n%s", err, why, m.out)
	}
}

// wantLive says that the tree is live, and nothing else than it.
func (m *machine) wantLive(name string, tree manifest.Manifest) {
	m.t.Helper()
	got, err := os.Readlink(filepath.Join(m.root, "live"))
	if err != nil || got != "versions/"+name {
		m.t.Fatalf("live leads to %q, %v; want %s\n%s", got, err, name, m.out)
	}
	if err := same(filepath.Join(m.root, "live"), tree); err != nil {
		m.t.Fatal(err)
	}
}

// same holds a directory against a manifest, in its own way: nothing is missing, nothing more is there.
func same(dir string, tree manifest.Manifest) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	n := 0
	err = filepath.WalkDir(dir, func(string, os.DirEntry, error) error { n++; return nil })
	if err != nil || n != len(tree)+1 {
		return fmt.Errorf("%s has %d entries, want %d (%v)", dir, n-1, len(tree), err)
	}
	for _, e := range tree {
		p := filepath.Join(dir, e.Path)
		st, err := os.Lstat(p)
		if err != nil {
			return err
		}
		switch e.Kind {
		case manifest.Link:
			if to, err := os.Readlink(p); err != nil || to != e.To {
				return fmt.Errorf("%s leads to %q, want %q", p, to, e.To)
			}
		case manifest.File:
			b, err := os.ReadFile(p)
			if err != nil || sum(string(b)) != e.SHA256 || uint32(st.Mode().Perm()) != e.Mode || !st.Mode().IsRegular() {
				return fmt.Errorf("%s is not what it should be: %v, %v, %.50q", p, err, st.Mode(), b)
			}
		case manifest.Dir:
			if !st.IsDir() || uint32(st.Mode().Perm()) != e.Mode {
				return fmt.Errorf("%s is %v", p, st.Mode())
			}
		}
	}
	return nil
}

func (m *machine) versions() []string {
	m.t.Helper()
	entries, err := os.ReadDir(filepath.Join(m.root, "versions"))
	if err != nil {
		m.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (m *machine) file(parts ...string) string {
	return filepath.Join(append([]string{m.root}, parts...)...)
}

func (m *machine) write(text string, parts ...string) {
	m.t.Helper()
	if err := os.WriteFile(m.file(parts...), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func link(path, to string) release.Link { return release.Link{Path: path, To: to} }
