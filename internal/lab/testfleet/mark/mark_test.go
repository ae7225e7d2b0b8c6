package mark_test

import (
	"bufio"
	"os"
	"os/exec"
	"testing"

	"sluice/internal/lab/testfleet/mark"
)

func TestParseStat(t *testing.T) {
	for _, tt := range []struct {
		in    string
		name  string
		state byte
		ppid  int
		bad   bool
	}{
		{in: "12 (sh) S 1 12 12 0", name: "sh", state: 'S', ppid: 1},
		{in: "12 (a) b) R 99", name: "a) b", state: 'R', ppid: 99},
		{in: "12 (a) (b) R 99 0", name: "a) (b", state: 'R', ppid: 99},
		{in: "12 () Z 0", name: "", state: 'Z'},
		{in: "", bad: true},
		{in: ")(", bad: true},
		{in: "12 (sh)", bad: true},
		{in: "12 (sh) S", bad: true},
		{in: "12 (sh) SS 1", bad: true},
		{in: "12 (sh) S one", bad: true},
	} {
		name, state, ppid, err := mark.ParseStat([]byte(tt.in))
		if (err != nil) != tt.bad || name != tt.name || state != tt.state || ppid != tt.ppid {
			t.Errorf("ParseStat(%q) = %q, %q, %d, %v", tt.in, name, state, ppid, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (sh) S 1 12 12 0"))
	f.Add([]byte("12 (a) (b)) R 99 0"))
	f.Add([]byte("()\x00 0"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if name, state, _, err := mark.ParseStat(in); err == nil && (len(name)+3 > len(in) || state == 0) {
			t.Errorf("%q gives the name %q and the state %q", in, name, state)
		}
	})
}

// A process that detached itself and lost its parent is found and ended; one without the mark is left alone.
func TestKillEndsDetachedProcessesAndNoOthers(t *testing.T) {
	entry := "SLUICE_MARK_TEST=" + t.Name() + os.Args[0]
	bystander := exec.Command("sleep", "1000")
	bystander.Env = []string{"SLUICE_MARK_TEST=" + t.Name() + os.Args[0] + "x"}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = bystander.Process.Kill()
		_ = bystander.Wait()
	}()

	start := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 & (trap '' TERM HUP; sleep 1000; sleep 1001) >/dev/null 2>&1 & echo started")
	start.Env = []string{"PATH=" + os.Getenv("PATH"), entry}
	out, err := start.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("the shell did not start anything")
	}
	if err := start.Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := mark.Find(entry)
	if err != nil || len(found) < 2 {
		t.Fatalf("found %v, %v; want the two detached processes", found, err)
	}
	if err := mark.Kill(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	if found, err := mark.Find(entry); err != nil || len(found) != 0 {
		t.Errorf("after Kill: %v, %v", found, err)
	}
	if found, err := mark.Find(bystander.Env[0]); err != nil || len(found) != 1 {
		t.Errorf("the bystander was ended too: %v, %v", found, err)
	}
}
