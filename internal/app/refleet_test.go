package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sluice"
)

// TestFleetChangesInMidJob: the hosts of a job are those that it was submitted for. A limit that is lowered holds for it at
// once, and one that is raised only for jobs to come.
func TestFleetChangesInMidJob(t *testing.T) {
	fleet := func(hosts string, limit int) string {
		return fmt.Sprintf("ssh: {transport: local}\ntag:\n  web: [\"web[1-%s]\"]\nconstraint:\n  $web: %d\n", hosts, limit)
	}
	for name, c := range map[string]struct{ was, is, atOnce int }{"lowered": {3, 1, 1}, "raised": {1, 6, 1}} {
		t.Run(name, func(t *testing.T) {
			s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
			s.start()
			s.apply(fleet("6", c.was))
			dir := t.TempDir()
			id := s.submit("$web", "echo x >> "+dir+"/ran; until [ -e "+dir+"/go ]; do sleep 0.02; done")
			s.comes(func() bool { return s.started(id) == c.was })
			s.comes(func() bool { b, err := os.ReadFile(dir + "/ran"); return err == nil && len(b) == 2*c.was })
			s.apply(fleet("7", c.is)) // before anything has room to start
			s.must(os.WriteFile(dir+"/go", nil, 0o600))
			if b, is := s.end(id).Body.(sluice.JobFinished); !is || b.Outcome != sluice.Succeeded {
				t.Errorf("it ended with %#v", b)
			}
			events, err := s.client.Events(t.Context(), string(id), 0)
			s.must(err)
			running, started := 0, 0
			for _, e := range events {
				switch b := e.Body.(type) {
				case sluice.TaskStarted:
					running++
					if started++; started > c.was && running > c.atOnce {
						t.Errorf("%s started as number %d of those that run", b.Host, running)
					}
					if b.Host == "web7" {
						t.Error("a host that came later is one of the job")
					}
				case sluice.TaskFinished:
					running--
				}
			}
			if started != 6 {
				t.Errorf("%d of 6 started", started)
			}
		})
	}
}
