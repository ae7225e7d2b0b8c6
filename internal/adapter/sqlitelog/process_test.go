package sqlitelog

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sluice"
)

// Tests of several processes start the test binary again. The environment says what it is to do.
const (
	roleEnv = "SLUICE_TEST_ROLE"
	dirEnv  = "SLUICE_TEST_DIR"
	nameEnv = "SLUICE_TEST_NAME"
)

func playRole(role string) int {
	play := map[string]func(dir, name string) error{
		"append":   func(dir, name string) error { return appendMany(dir, name, 200) },
		"forever":  func(dir, name string) error { return appendMany(dir, name, 1<<30) },
		"fulldisk": fillDisk,
		"echo":     echo,
	}[role]
	if play == nil {
		fmt.Fprintln(os.Stderr, "no such role:", role)
		return 2
	}
	if err := play(os.Getenv(dirEnv), os.Getenv(nameEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func startRole(t testing.TB, role, dir, name string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir, nameEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// appendMany appends events for the hosts NAME-0, NAME-1, ... and prints the number of each that is acknowledged.
// Every append is decided on what came before, so whatever is lost or slipped in shows.
func appendMany(dir, name string, n int) error {
	ctx := context.Background()
	l, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	var seen uint64
	for i := 0; i < n; i++ {
		head, err := l.Update(ctx, "prod", seen, func(tail []sluice.Event) ([]sluice.Event, error) {
			for k, e := range tail {
				if e.Seq != seen+uint64(k)+1 {
					return nil, fmt.Errorf("event %d in the place of %d", e.Seq, seen+uint64(k)+1)
				}
			}
			return []sluice.Event{held(fmt.Sprintf("%s-%d", name, i))}, nil
		})
		if err != nil {
			return err
		}
		fmt.Println(head, i)
		seen = head
	}
	return l.Close()
}

func TestFourProcesses(t *testing.T) {
	const processes, each = 4, 200
	dir := t.TempDir()
	var wg sync.WaitGroup
	for p := range processes {
		cmd := startRole(t, "append", dir, fmt.Sprint("p", p))
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("process %d: %v", p, err)
			}
		})
	}
	wg.Wait()
	l := openIn(t, dir)
	got := hosts(t, l, "prod")
	if len(got) != processes*each {
		t.Fatalf("%d events, want %d", len(got), processes*each)
	}
	next := map[string]int{}
	for _, host := range got {
		p, n, _ := strings.Cut(host, "-")
		if n != strconv.Itoa(next[p]) {
			t.Fatalf("%s follows %s-%d", host, p, next[p]-1)
		}
		next[p]++
	}
	if _, err := l.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestKilled kills two appending processes again and again. What they had acknowledged is there afterwards.
func TestKilled(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	promised := map[uint64]string{} // by number: the host
	for round := range rounds {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for c := range 2 {
			name := fmt.Sprintf("r%dc%d", round, c)
			cmd := startRole(t, "forever", dir, name)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				left := 1 + rand.IntN(25)
				for lines := bufio.NewScanner(out); lines.Scan(); {
					seq, i, _ := strings.Cut(lines.Text(), " ")
					n, err := strconv.ParseUint(seq, 10, 64)
					if err != nil {
						t.Errorf("the process said %q", lines.Text())
					}
					mu.Lock()
					promised[n] = name + "-" + i
					mu.Unlock()
					if left--; left == 0 {
						_ = cmd.Process.Kill()
					}
				}
				_ = cmd.Wait()
			})
		}
		wg.Wait()
		l := openIn(t, dir)
		if _, err := l.Verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got := hosts(t, l, "prod")
		for seq, host := range promised {
			if seq > uint64(len(got)) || got[seq-1] != host {
				t.Fatalf("round %d: the acknowledged event %d (%s) is gone", round, seq, host)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(promised) < rounds {
		t.Errorf("only %d events were acknowledged in %d rounds: nothing was tested", len(promised), rounds)
	}
}

// echo waits for each event of one namespace and answers it in another.
func echo(dir, _ string) error {
	ctx := context.Background()
	l, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	for seen := uint64(0); ; {
		if err := l.Wait(ctx, "ask", seen); err != nil {
			return err
		}
		events, err := l.Read(ctx, "ask", seen, 100)
		if err != nil {
			return err
		}
		for _, e := range events {
			seen = e.Seq
			if e.Body.(sluice.HostHeld).Host == "end" {
				return l.Close()
			}
			if _, err := l.Update(ctx, "answer", 0, deciding(held(string(e.Body.(sluice.HostHeld).Host)))); err != nil {
				return err
			}
		}
	}
}

func TestWaitForAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	l := openIn(t, dir)
	cmd := startRole(t, "echo", dir, "")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10) {
		appendTo(t, l, "ask", fmt.Sprint("h", i))
		if err := l.Wait(t.Context(), "answer", i); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, l, "ask", "end")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got, want := hosts(t, l, "answer"), hosts(t, l, "ask")[:10]; !slices.Equal(got, want) {
		t.Errorf("answers %v to %v", got, want)
	}
}

// fillDisk runs in a mount namespace of its own, on a small tmpfs.
func fillDisk(dir, _ string) error {
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=3m"); err != nil {
		return err
	}
	ballast := dir + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		return err
	}
	ctx := context.Background()
	l, err := Open(ctx, Config{Dir: dir + "/journal"})
	if err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{})
	var want []string
	put := func(size int) error {
		b := make([]byte, size/2)
		_, _ = random.Read(b)
		host := fmt.Sprintf("%x", b)
		head, err := l.Update(ctx, "prod", uint64(len(want)), deciding(held(host)))
		if err != nil {
			return err
		}
		if want = append(want, host); head != uint64(len(want)) {
			return fmt.Errorf("head %d after %d acknowledged appends", head, len(want))
		}
		return nil
	}
	for err == nil { // down to the last page, so that every part of an append meets the end of the disk
		err = put(20_000)
	}
	first := err
	for err = nil; err == nil; {
		err = put(200)
	}
	for _, err := range []error{first, err} {
		if sluice.CodeOf(err) != sluice.Contact || !strings.Contains(err.Error(), "no room") {
			return fmt.Errorf("the error of a full disk is %q", err)
		}
	}
	if _, err := l.Update(ctx, "fresh", 0, deciding(held("h"))); err != nil && sluice.CodeOf(err) != sluice.Contact {
		return fmt.Errorf("a new namespace on a full disk: %w", err)
	}
	if events, err := l.Read(ctx, "prod", 0, 1<<20); err != nil || len(events) != len(want) {
		return fmt.Errorf("on a full disk %d events of %d can be read, error %w", len(events), len(want), err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	for range 5 {
		if err := put(20_000); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if _, err := l.Update(ctx, "fresh", 0, deciding(held("h"))); err != nil {
		return fmt.Errorf("a new namespace, with room again: %w", err)
	}
	if err := l.Close(); err != nil {
		return err
	}
	if l, err = Open(ctx, Config{Dir: dir + "/journal"}); err != nil {
		return err
	}
	if _, err := l.Verify(ctx); err != nil {
		return err
	}
	events, err := l.Read(ctx, "prod", 0, 1<<20)
	if err != nil || len(events) != len(want) {
		return fmt.Errorf("%d events, want %d, error %w", len(events), len(want), err)
	}
	for i, e := range events {
		if string(e.Body.(sluice.HostHeld).Host) != want[i] {
			return fmt.Errorf("event %d is not what was acknowledged", i+1)
		}
	}
	return l.Close()
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: a small file system can be mounted by root only")
	}
	cmd := startRole(t, "fulldisk", t.TempDir(), "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}
