package execbalancer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/localexec"
	"sluice/internal/lab/conform"
	"sluice/internal/run/onhost"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program is a balancer made of files: one for each server, with its state in it.
const program = `#!/bin/sh
cd "${0%/*}" || exit 1
[ -d "$2" ] || { echo "no pool $2" >&2; exit 3; }
case $1 in
state)
	echo '{"servers": ['
	sep=
	for s in "$2"/*; do echo "$sep{\"server\": \"${s##*/}\", \"state\": \"$(cat "$s")\", \"in_flight\": 0}"; sep=,; done
	echo ']}' ;;
drain | ready | maintenance)
	[ -n "$3" ] && [ -f "$2/$3" ] || { echo "no server $3" >&2; exit 3; }
	case $1 in drain) s=draining ;; ready) s=up ;; *) s=$1 ;; esac
	echo "$s" >"$2/.$3.new.$$" && mv "$2/.$3.new.$$" "$2/$3" ;;
esac
`

func local(t *testing.T) sluice.Run {
	t.Helper()
	tr := localexec.New(localexec.Config{Env: os.Environ()})
	t.Cleanup(func() { _ = tr.Close() })
	l, err := tr.Connect(t.Context(), "here", sluice.SSH{})
	if err != nil {
		t.Fatal(err)
	}
	return onhost.Program(l)
}

func TestConforms(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put("program", program)
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"s1", "s2", "s3"} {
		put("app/"+s, "up\n")
	}
	conform.Balancer(t, New(local(t), []string{filepath.Join(dir, "program")}, 0), "app")
}

// What a program says that is not understood as a whole is never a pool.
func TestAnswersThatAreNone(t *testing.T) {
	for _, text := range []string{
		"", "null", "{}", "[]", `{"servers": null}`, `{"servers": [{"server": "a"}]}`, `{"servers": [{"server": "a", "state": "ready"}]}`,
		`{"servers": [{"state": "up"}]}`, `{"servers": [{"server": "a", "state": "up", "in_flight": -2}]}`, `{"servers": [{"server": "a", "state": "up", "weight": -1}]}`,
		`{"servers": [{"server": "a", "state": "up", "wieght": 1}]}`, `{"servers": [{"server": "a", "state": "up"}, {"server": "a", "state": "up"}]}`,
		`{"servers": []} {}`, `{"servers": [{"server": "a", "state": "up"}`,
	} {
		if got, err := parse([]byte(text)); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
	got, err := parse([]byte(`{"servers": [{"server": "a", "state": "up"}, {"server": "b", "state": "down", "in_flight": 2, "weight": 0, "backup": true}]}`))
	if err != nil || len(got) != 2 || got[0].InFlight != -1 || got[0].Weight != 1 || got[1].InFlight != 2 || got[1].Weight != 0 || !got[1].Backup {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestFailures(t *testing.T) {
	for script, want := range map[string]string{
		"echo first >&2; echo second >&2; exit 1": "status 1: first", "exit 7": "status 7: it says nothing more", "kill -9 $$": "status 137", "sleep 1000": "more than 200ms",
	} {
		b := New(local(t), []string{"sh", "-c", script}, 200*time.Millisecond)
		if strings.HasPrefix(want, "status") {
			b.limit = time.Minute
		}
		_, err := b.Pool(t.Context(), "app")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
		if err := b.Set(t.Context(), "app", "a", sluice.ServerDraining); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
}
