package app_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/internal/app"
)

// newer is the next version of the program, as far as others can tell: it speaks the next version of what workers say, and of what servers
// say to each other.
var newer = sync.OnceValues(func() (string, error) {
	return variant("newer", map[string][2]string{
		"internal/adapter/workerwire/doc.go": {`Protocol = 1\n`, "Protocol = 2\n"},
		"internal/adapter/peerwire/doc.go":   {`Protocol = 1\n`, "Protocol = 2\n"},
		"internal/app/main.go":               {`const Version = ".*"`, `const Version = "` + newerVersion + `"`},
	})
})

// farther is a server of some versions on.
var farther = sync.OnceValues(func() (string, error) {
	return variant("farther", map[string][2]string{"internal/adapter/peerwire/doc.go": {`Protocol = 1\n\tOldest   = 1\n`, "Protocol = 9\n\tOldest = 8\n"}})
})

// variant is a program of these sources, in which the compiler is shown other numbers. The program itself was built before.
func variant(name string, changes map[string][2]string) (string, error) {
	dir := built.dir
	replace := map[string]string{}
	for file, change := range changes {
		path, err := filepath.Abs(filepath.Join("../..", file))
		if err != nil {
			return "", err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		changed := regexp.MustCompile(change[0]).ReplaceAll(text, []byte(change[1]))
		if string(changed) == string(text) {
			return "", sluice.Errorf(sluice.Usage, "%s has no %s", file, change[0])
		}
		into := filepath.Join(dir, name+"_"+strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(into, changed, 0o600); err != nil {
			return "", err
		}
		replace[path] = into
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list, program := filepath.Join(dir, name+".json"), filepath.Join(dir, name)
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-overlay", list, "-o", program, "sluice/cmd/sluice").CombinedOutput()
	if err != nil {
		return "", sluice.Errorf(sluice.Usage, "%v: %s", err, out)
	}
	return program, nil
}

const newerVersion = "99.0.0"

// versions are two programs of which one follows the other. SLUICE_OLDER is a release that this one follows; without it,
// this one is the older one.
func versions(t *testing.T) (older, next string) {
	t.Helper()
	this := program(t)
	if path := os.Getenv("SLUICE_OLDER"); path != "" {
		return path, this
	}
	next, err := newer()
	if err != nil {
		t.Fatal(err)
	}
	return this, next
}

// TestUpgrade has server and workers change to the next version, and the server back again, each in the middle of a job.
// Every pair works together, nothing runs twice, and what the older one does not know stays in the journal as it is.
func TestUpgrade(t *testing.T) {
	slow(t)
	t.Parallel()
	older, next := versions(t)
	const hosts = 4
	s := newStation(t, hosts)
	s.program = older
	s.rises()
	s.apply(s.all(2))
	w := s.joins("w1", nil)
	inMiddle := func(what string, change func()) {
		t.Helper()
		marks := t.TempDir()
		id := s.submit("$web", held(marks))
		await(t, marks+"/host1", 1)
		await(t, marks+"/host2", 1)
		began := time.Now()
		change()
		letGo(t, marks)
		s.succeeded(id, hosts)
		t.Logf("%s: 1 run, over after %v", what, time.Since(began).Round(time.Millisecond))
		s.once(marks, hosts)
		s.printed(id, "host1", "began\nended\n")
		s.printed(id, "host4", "began\nended\n")
	}
	server := func(program string) {
		s.must(s.cmd.Process.Signal(syscall.SIGTERM))
		<-s.ended
		s.program = program
		s.rises()
	}
	worker := func(program string) {
		w.signal(syscall.SIGTERM)
		w.program = program
		w.start()
	}
	version := func(want string) {
		t.Helper()
		if os.Getenv("SLUICE_OLDER") != "" {
			return
		}
		if got := s.health("w1", "connected"); got.Version != want {
			t.Errorf("the worker is of version %q, want %q", got.Version, want)
		}
	}
	inMiddle("a newer server, an older worker", func() { server(next) })
	version(app.Version)
	inMiddle("a newer worker", func() { worker(next) })
	version(newerVersion)
	unknown := sluice.Event{Time: app.Now(), Body: novelty{"blue"}}
	inMiddle("an older server, a newer worker", func() {
		s.must(s.cmd.Process.Signal(syscall.SIGTERM))
		<-s.ended
		s.journal(sluice.DefaultNamespace, unknown)
		s.program = older
		s.rises()
	})
	version(newerVersion)
	inMiddle("all as before", func() { worker(older) })
	found := 0
	for _, e := range s.closes() {
		if e.Body.Type() == (novelty{}).Type() {
			if b, err := json.Marshal(e); err != nil || !strings.Contains(string(b), `"colour":"blue"`) {
				t.Errorf("what is new is kept as %s, error %v", b, err)
			}
			found++
		}
	}
	if found != 1 {
		t.Errorf("what is new is in the journal %d times", found)
	}
}
