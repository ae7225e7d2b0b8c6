package app_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/app"
	"sluice/internal/front/cli"
)

func (s *served) local() *app.Local {
	return &app.Local{Places: app.Places{Home: s.t.TempDir(), State: s.t.TempDir()}, Env: func(string) string { return "" }, Clock: app.Now}
}

func word(text string) sluice.Secret { return sluice.NewSecret([]byte(text)) }

const cheap = 10 // a guess takes a millisecond

// backup keeps what the server has, while it runs.
func (s *served) backup(passphrase string) []byte {
	s.t.Helper()
	var b bytes.Buffer
	if _, err := s.local().Backup(s.t.Context(), cli.BackupOptions{Data: s.data, Out: &b, Passphrase: word(passphrase), Work: cheap}); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

func (s *served) submit(targets, command string) sluice.JobID {
	s.t.Helper()
	j, err := s.client.Submit(s.t.Context(), api.Submit{Targets: targets, Command: command})
	if err != nil {
		s.t.Fatal(err)
	}
	return j.ID
}

// until waits for an event of a job.
func (s *served) until(id sluice.JobID, is func(sluice.Event) bool) {
	s.t.Helper()
	ctx, found := context.WithCancel(s.t.Context())
	defer found()
	_, err := s.client.Follow(ctx, string(id), 0, func(e sluice.Event) {
		if is(e) {
			found()
		}
	}, nil)
	if ctx.Err() == nil {
		s.t.Fatalf("the job ended without it: %v", err)
	}
}

func (s *served) started(id sluice.JobID) (n int) {
	s.t.Helper()
	events, err := s.client.Events(s.t.Context(), string(id), 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range events {
		if _, is := e.Body.(sluice.TaskStarted); is {
			n++
		}
	}
	return n
}

func lineCount(t *testing.T, dir string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.ran"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(b, []byte("\n"))
	}
	return n
}

// TestRestoreAnOldBackup: a server that is restored while a job was going on starts nothing, knows what others have seen
// since, and goes on when people say so.
func TestRestoreAnOldBackup(t *testing.T) {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.start()
	s.apply(localFleet)
	marks := t.TempDir()
	first := s.submit("$web", "echo printed by $SLUICE_HOST")
	s.end(first)
	mark := "echo >>" + marks + "/$SLUICE_HOST.ran; "
	going := s.submit("$web", mark+"until [ -e "+marks+"/go ]; do sleep 0.05; done")
	s.until(going, func(e sluice.Event) bool { _, is := e.Body.(sluice.TaskStarted); return is })
	kept := s.backup("a passphrase")

	// The world goes on, and the backup does not know.
	if err := os.WriteFile(filepath.Join(marks, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.end(going)
	after := s.submit("web1", "true")
	s.end(after)
	seen, err := s.client.HandBack(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	ran := lineCount(t, marks)

	r := &served{t: t, data: filepath.Join(t.TempDir(), "there", "data"), token: s.token}
	done, err := s.local().Restore(t.Context(), cli.RestoreOptions{Data: r.data, In: bytes.NewReader(kept), Passphrase: word("a passphrase")})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Halted) != 1 || done.Halted[0] != going || done.Epoch < 1 {
		t.Errorf("restored %+v", done)
	}
	r.start()
	if r.tokens != 0 {
		t.Error("there is a first administrator anew")
	}
	before := r.started(going)
	if j, err := r.client.Job(t.Context(), string(going)); err != nil || j.State != "halted" || !strings.Contains(j.Halted.Reason, "restored from the backup") {
		t.Errorf("%+v, error %v", j, err)
	}
	if _, err := r.client.Job(t.Context(), string(after)); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("what came after the backup: %v", err)
	}
	if out, err := r.client.Output(t.Context(), string(first), "web2", "stdout", 0); err != nil {
		t.Error(err)
	} else if b := make([]byte, 100); true {
		n, _ := out.Read(b)
		if out.Close(); string(b[:n]) != "printed by web2\n" {
			t.Errorf("web2 printed %q", b[:n])
		}
	}

	// Who has seen more makes no alarm, but it is known.
	if _, err := r.client.HandBack(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	if st, err := r.client.Standing(t.Context()); err != nil || len(st.Unfit) > 0 || len(st.Lost) == 0 || st.Epoch != done.Epoch {
		t.Errorf("standing %+v, error %v", st, err)
	}

	// The server works: what is new runs, and what was halted does not.
	probe := r.submit("web4", "true")
	r.end(probe)
	if n := r.started(going); n != before {
		t.Errorf("%d attempts began of a job that is halted", n-before)
	}
	if n := lineCount(t, marks); n != ran {
		t.Errorf("%d commands ran since the backup was restored", n-ran)
	}
	if _, err := r.client.Resume(t.Context(), going, nil); err != nil {
		t.Fatal(err)
	}
	r.end(going)
	for _, host := range []string{"web1", "web2"} { // which ran when the backup was made
		if b, err := os.ReadFile(filepath.Join(marks, host+".ran")); err != nil || string(b) != "\n" {
			t.Errorf("on %s it ran again: %q, error %v", host, b, err)
		}
	}
}

// TestBackupIsLocked: nothing of what is in it can be read, nothing that is damaged is restored, and nothing is replaced.
func TestBackupIsLocked(t *testing.T) {
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.start()
	s.apply(localFleet)
	s.end(s.submit("$web", "echo a very plain text"))
	kept := s.backup("a passphrase")
	for _, plain := range []string{"plain", "web1", "default", "passphrase", s.token, "journal", "heads.key", "ustar"} {
		if bytes.Contains(kept, []byte(plain)) {
			t.Errorf("%q is in the backup", plain)
		}
	}
	key, err := os.ReadFile(filepath.Join(s.data, "heads.key"))
	if err != nil || bytes.Contains(kept, key) {
		t.Errorf("the key is in it, or there is none: %v", err)
	}
	restore := func(b []byte, dir, pass string) error {
		_, err := s.local().Restore(t.Context(), cli.RestoreOptions{Data: dir, In: bytes.NewReader(b), Passphrase: word(pass)})
		return err
	}
	dir := filepath.Join(t.TempDir(), "data")
	for name, b := range map[string][]byte{"cut": kept[:len(kept)-1], "cut in the middle": kept[:len(kept)/2], "cut at the beginning": kept[:10], "empty": nil,
		"changed in the middle": flipped(kept, len(kept)/2), "changed at the end": flipped(kept, len(kept)-1), "changed at the beginning": flipped(kept, 3),
		"with more behind it": append(slices.Clone(kept), 'x'), "something else": []byte("hello")} {
		if err := restore(b, dir, "a passphrase"); err == nil || sluice.CodeOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, error %v", name, left, err)
		}
	}
	if err := restore(kept, dir, "another"); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("another passphrase: %v", err)
	}
	if err := restore(kept, s.data, "a passphrase"); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("over the data of a server: %v", err)
	}
	if _, err := s.local().Backup(t.Context(), cli.BackupOptions{Data: s.data, Out: &bytes.Buffer{}}); sluice.CodeOf(err) != sluice.Usage {
		t.Errorf("without a lock: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := restore(kept, dir, "a passphrase"); err != nil {
		t.Fatalf("into an empty directory: %v", err)
	}
	if err := restore(kept, dir, "a passphrase"); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("twice: %v", err)
	}
}

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 0x40
	return b
}

// TestBackupFile: it is locked to a key, gets its name when it is whole, and replaces nothing.
func TestBackupFile(t *testing.T) {
	const identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
	const recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
	s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.start()
	file := filepath.Join(t.TempDir(), "backup.age")
	o := cli.BackupOptions{Data: s.data, Path: file, Recipients: []byte(recipient + "\n")}
	done, err := s.local().Backup(t.Context(), o)
	if err != nil || done.Records == 0 || done.Files == 0 || time.Since(done.Made) > time.Hour {
		t.Fatalf("%+v, error %v", done, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info, err)
	}
	if _, err := s.local().Backup(t.Context(), o); sluice.CodeOf(err) != sluice.Conflict {
		t.Errorf("over another: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("%v is left, error %v", left, err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := s.local().Restore(t.Context(), cli.RestoreOptions{Data: dir, Path: file, Passphrase: word("x")}); err == nil {
		t.Error("a passphrase opens what is locked to a key")
	}
	if _, err := s.local().Restore(t.Context(), cli.RestoreOptions{Data: dir, Path: file, Identities: word(identity)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.local().Backup(t.Context(), cli.BackupOptions{Data: filepath.Join(t.TempDir(), "none"), Path: file + "2", Recipients: []byte(recipient)}); sluice.CodeOf(err) != sluice.NotFound {
		t.Errorf("of no server: %v", err)
	}
}
