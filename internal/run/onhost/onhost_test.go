package onhost_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/localexec"
	"sluice/internal/run/onhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func program(t *testing.T) sluice.Run {
	t.Helper()
	tr := localexec.New(localexec.Config{Env: os.Environ()})
	t.Cleanup(func() { _ = tr.Close() })
	l, err := tr.Connect(t.Context(), "here", sluice.SSH{})
	if err != nil {
		t.Fatal(err)
	}
	return onhost.Program(l)
}

func TestProgram(t *testing.T) {
	run := program(t)
	ran, err := run(t.Context(), []string{"sh", "-c", `cat; printf %s "$1" >&2; exit 3`, "sh", "it's $HOME; a \"word\"\n"}, []byte("in\x00put"))
	if err != nil || string(ran.Stdout) != "in\x00put" || string(ran.Stderr) != "it's $HOME; a \"word\"\n" || ran.Status.Code != 3 {
		t.Errorf("%q, %q, %+v, %v", ran.Stdout, ran.Stderr, ran.Status, err)
	}
	if ran, err := run(t.Context(), []string{"true"}, []byte(strings.Repeat("x", 1<<20))); err != nil || ran.Status.Code != 0 {
		t.Errorf("one that does not read: %+v, %v", ran.Status, err)
	}
}

func TestProgramEndsWithTheContext(t *testing.T) {
	run := program(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("it takes too long")
	started := t.TempDir() + "/started"
	go func() {
		for {
			if _, err := os.Stat(started); err == nil {
				cancel(why)
				return
			}
		}
	}()
	if _, err := run(ctx, []string{"sh", "-c", "touch " + started + "; sleep 1000"}, nil); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}
