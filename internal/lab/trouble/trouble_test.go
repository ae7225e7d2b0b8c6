package trouble_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/internal/lab/trouble"
)

const role = "SLUICE_TROUBLE_TEST"

func TestMain(m *testing.M) {
	trouble.Launch()
	if path := os.Getenv(role); path != "" {
		os.Exit(subject(path))
	}
	os.Exit(m.Run())
}

// subject is the program of these tests: it writes, syncs, and says what came of it and what time it is.
func subject(path string) int {
	f, err := os.Create(path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_, wrote := f.WriteAt(make([]byte, 1<<20), 0)
	fmt.Printf("%v|%v|%d", wrote, f.Sync(), time.Now().Unix())
	return 0
}

// told runs the subject and returns what it said, and how long it took.
func told(t *testing.T, tr *trouble.Trouble) (wrote, synced string, at time.Time, took time.Duration) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	cmd.Env = append(os.Environ(), role+"="+filepath.Join(t.TempDir(), "file"))
	began := time.Now()
	err = tr.Start(cmd)
	if errors.Is(err, trouble.ErrUnavailable) {
		t.Skip("skipped:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	tr.Close()
	parts := strings.Split(out.String(), "|")
	if err != nil || len(parts) != 3 {
		t.Fatalf("it said %q and ended with %v", out.String(), err)
	}
	var unix int64
	if _, err := fmt.Sscan(parts[2], &unix); err != nil {
		t.Fatal(err)
	}
	return parts[0], parts[1], time.Unix(unix, 0), time.Since(began)
}

func TestSyncFails(t *testing.T) {
	var tr trouble.Trouble
	tr.SetRule(func(c trouble.Call) (time.Duration, syscall.Errno) {
		if c.Kind == trouble.Sync && filepath.Base(c.Path) == "file" {
			return 0, syscall.EIO
		}
		return 0, 0
	})
	wrote, synced, _, _ := told(t, &tr)
	if wrote != "<nil>" || !strings.Contains(synced, "input/output error") {
		t.Errorf("writing: %s, syncing: %s", wrote, synced)
	}
}

func TestSlow(t *testing.T) {
	const pause = 200 * time.Millisecond
	var bytes atomic.Int64
	var tr trouble.Trouble
	tr.SetRule(func(c trouble.Call) (time.Duration, syscall.Errno) {
		bytes.Add(c.Bytes)
		return pause, 0
	})
	wrote, synced, at, took := told(t, &tr)
	if wrote != "<nil>" || synced != "<nil>" || took < 2*pause || bytes.Load() != 1<<20 {
		t.Errorf("%d bytes in %v: %s, %s", bytes.Load(), took, wrote, synced)
	}
	if away := time.Since(at); away > time.Hour || away < -time.Hour {
		t.Errorf("it is %v there", at)
	}
}

func TestClockIsSet(t *testing.T) {
	for _, ahead := range []time.Duration{0, 87600 * time.Hour, -48 * time.Hour} {
		tr := trouble.Trouble{Clock: true}
		tr.SetClock(ahead)
		_, _, at, _ := told(t, &tr)
		if away := at.Sub(time.Now().Add(ahead)); away > time.Hour || away < -time.Hour {
			t.Errorf("set ahead by %v, it is %v there", ahead, at)
		}
	}
}
