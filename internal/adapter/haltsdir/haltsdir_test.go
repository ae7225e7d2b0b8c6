package haltsdir

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice"
)

// child is set for the process that puts halts until it is killed; its value is the directory.
const child = "SLUICE_TEST_HALTS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		for i := 0; ; i++ {
			h := halt(fmt.Sprintf("%dx%d", os.Getpid(), i))
			if err := Dir(dir).Put(h); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
			fmt.Println(h.ID)
		}
	}
	os.Exit(m.Run())
}

func halt(id string) sluice.KeptHalt {
	return sluice.KeptHalt{ID: id, Server: "s1", At: time.Unix(1e9, 5).UTC(), Principal: "ann", Token: "t1", From: "192.0.2.1", Namespace: "prod", Job: "j1",
		Reason: strings.Repeat("it smokes\n", 500), Known: map[sluice.Namespace]uint64{"prod": 7}}
}

func TestKept(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "halts"))
	if all, err := d.All(); err != nil || len(all) != 0 {
		t.Fatalf("at first %v, error %v", all, err)
	}
	if err := d.Remove("a"); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"a", "b2"} {
		if err := d.Put(halt(id)); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := d.All(); err != nil || !reflect.DeepEqual(all, []sluice.KeptHalt{halt("a"), halt("b2")}) {
		t.Errorf("kept %v, error %v", all, err)
	}
	info, err := os.Stat(filepath.Join(string(d), "a.halt"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info, err)
	}
	for range 2 {
		if err := d.Remove("a"); err != nil {
			t.Error(err)
		}
	}
	if all, err := d.All(); err != nil || len(all) != 1 || all[0].ID != "b2" {
		t.Errorf("then %v, error %v", all, err)
	}
	for _, id := range []string{"", "../a", "A", "a.halt", strings.Repeat("a", 65)} {
		if d.Put(sluice.KeptHalt{ID: id}) == nil || d.Remove(id) == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
}

// TestBroken: a halt that was promised and cannot be read is not passed over.
func TestBroken(t *testing.T) {
	for name, text := range map[string]string{"a.halt": `{"id":"a","principal":`, "b.halt": "", "c.halt": `{"id":"a"}`} {
		d := Dir(t.TempDir())
		path := filepath.Join(string(d), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := d.All(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, error %v", name, all, err)
		}
	}
}

// TestNoRoom: what could not be kept is not there after a restart.
func TestNoRoom(t *testing.T) {
	d := Dir(t.TempDir())
	if err := os.Mkdir(filepath.Join(string(d), unfinished), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(halt("a")); err == nil {
		t.Error("it is said to be kept")
	}
	if all, err := d.All(); err != nil || len(all) != 0 {
		t.Errorf("kept %v, error %v", all, err)
	}
}

// TestKilled: the process is killed at any moment. What it said is kept is there, and nothing is there in part.
func TestKilled(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "halts"))
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	said := map[string]bool{}
	for round := range rounds {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), child+"="+string(d))
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err = errors.Join(err, c.Start()); err != nil {
			t.Fatal(err)
		}
		s := bufio.NewScanner(out)
		for range round % 3 {
			if !s.Scan() {
				t.Fatal("it says nothing")
			}
			said[s.Text()] = true
		}
		if err := c.Process.Kill(); err != nil { // somewhere in the next one
			t.Fatal(err)
		}
		for s.Scan() {
			said[s.Text()] = true
		}
		if err := c.Wait(); err == nil || c.ProcessState.ExitCode() == 3 {
			t.Fatal("it ended by itself: ", err)
		}
	}
	all, err := d.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		if want := halt(h.ID); !reflect.DeepEqual(h, want) {
			t.Errorf("%+v is not whole", h)
		}
		delete(said, h.ID)
	}
	if len(said) > 0 {
		t.Errorf("%v are lost, of which it was said that they are kept", said)
	}
}

// TestEveryPoint: the files as they are after each step of writing one.
func TestEveryPoint(t *testing.T) {
	whole := Dir(t.TempDir())
	if err := whole.Put(halt("a")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(string(whole), "a.halt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, len(text) / 2, len(text)} {
		d := Dir(t.TempDir())
		if err := os.WriteFile(filepath.Join(string(d), unfinished), text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := d.All(); err != nil || len(all) != 0 {
			t.Errorf("with %d bytes of it: %v, error %v", n, all, err)
		}
		if err := d.Put(halt("b")); err != nil {
			t.Errorf("after %d bytes of another: %v", n, err)
		}
		if all, err := d.All(); err != nil || !reflect.DeepEqual(all, []sluice.KeptHalt{halt("b")}) {
			t.Errorf("after %d bytes of another: %v, error %v", n, all, err)
		}
	}
}
