package app_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/lab/testfleet/mark"
)

// everything is the processes of server, workers and hosts.
func (s *station) everything() []mark.Process {
	s.t.Helper()
	env := s.fleet.Env()
	i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, "SLUICE_TESTFLEET=") })
	all, err := mark.Find(env[i])
	s.must(err)
	return all
}

// TestEverythingStandsStill stops server, workers and all that runs on the hosts for longer than a lease, as when machines
// are put aside, and has them go on in any order. Nobody takes an old lease for a lease, and nothing starts twice.
func TestEverythingStandsStill(t *testing.T) {
	t.Parallel()
	const lease, hosts = 15 * time.Second, 4
	s := newStation(t, hosts)
	s.rises()
	s.apply(s.all(2))
	s.joins("w1", nil)
	s.joins("w2", nil)
	marks := t.TempDir()
	id := s.submit("$web", held(marks))
	await(t, marks+"/host1", 1)
	await(t, marks+"/host2", 1)
	all := s.everything()
	if len(all) < 3+2*2 {
		t.Fatalf("of server, two workers and two hosts there are %v", all)
	}
	for _, p := range all {
		_ = syscall.Kill(p.PID, syscall.SIGSTOP)
	}
	<-time.After(lease + time.Second)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	began := time.Now()
	for _, p := range all {
		_ = syscall.Kill(p.PID, syscall.SIGCONT)
	}
	letGo(t, marks)
	s.succeeded(id, hosts)
	t.Logf("1 run, %d processes stood still, over %v after they went on", len(all), time.Since(began).Round(time.Millisecond))
	s.once(marks, hosts)
	s.closes()
}

// sluice is a command line against the server.
func (s *station) sluice(args ...string) (out string, status int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), program(s.t), append([]string{"--server", "http://" + s.address, "--token-file", s.path("token")}, args...)...)
	cmd.Env = s.fleet.Env()
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// TestEverythingIsKilled: server, worker and the command line that waits are killed at once, and start from cold, whoever is
// first, while the OpenID provider and the receiver of webhooks are away. What ran ends as it did, what was halted stays halted,
// and the command line works.
func TestEverythingIsKilled(t *testing.T) {
	for _, first := range []string{"the server", "the worker"} {
		t.Run(first+" is first", func(t *testing.T) {
			t.Parallel()
			const hosts = 4
			nobody := "http://" + freeAddress(t)
			s := newStation(t, hosts, "--oidc-issuer", nobody, "--oidc-client-id", "sluice", "--webhook-allow", "127.0.0.0/8", "--webhook-allow-http")
			s.rises()
			s.apply(s.all(2))
			if _, err := s.client.SetWebhook(t.Context(), "chat", api.SetWebhook{URL: nobody, Events: []string{"job.finished"}}); err != nil {
				t.Fatal(err)
			}
			w := s.joins("w1", nil)
			halted := s.submit("$web", "false") // two fail, and there is no room for more
			if b, is := s.end(halted).Body.(sluice.JobHalted); !is || b.Rule != sluice.RuleConstraint {
				t.Fatalf("it ended with %+v", b)
			}
			if _, err := s.client.ChangeHosts(t.Context(), "default", "release", []sluice.Host{"host1", "host2"}, "a test"); err != nil {
				t.Fatal(err)
			}
			marks := t.TempDir()
			id := s.submit("$web", held(marks))
			waiting := exec.Command(program(t), "--server", "http://"+s.address, "--token-file", s.path("token"), "wait", string(id))
			waiting.Env = s.fleet.Env()
			s.must(waiting.Start())
			await(t, marks+"/host1", 1)
			await(t, marks+"/host2", 1)
			for _, cmd := range []*exec.Cmd{s.cmd, w.cmd, waiting} {
				s.must(cmd.Process.Kill())
			}
			<-s.ended
			_, _ = w.cmd.Process.Wait()
			_ = waiting.Wait()
			letGo(t, marks)
			began := time.Now()
			if first == "the worker" {
				w.start()
				w.says.(*told).wait(t, "no line to the server")
				s.rises()
			} else {
				s.rises()
				w.start()
			}
			s.succeeded(id, hosts)
			t.Logf("1 run, over %v after the first start", time.Since(began).Round(time.Millisecond))
			s.once(marks, hosts)
			for _, args := range [][]string{{"jobs"}, {"status", string(id)}, {"log", string(id), "host1"}, {"host", "list"}, {"workers"}, {"audit", "verify"}, {"run", "-t", "host1", "--", "true"}} {
				if out, status := s.sluice(args...); status != 0 {
					t.Errorf("sluice %q: %d, %s", args, status, out)
				}
			}
			if j, err := s.client.Job(t.Context(), string(halted)); err != nil {
				t.Error(err)
			} else if b, _ := json.Marshal(j); j.State != "halted" {
				t.Errorf("what was halted is %s", b)
			}
			s.closes()
		})
	}
}
