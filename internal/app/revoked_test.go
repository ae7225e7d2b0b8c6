package app_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/client"
)

// TestRevokedInMidJob: what is taken from somebody stops the job that runs for them. What runs ends in peace, and nothing
// of the job starts any more.
func TestRevokedInMidJob(t *testing.T) {
	grant := sluice.Grant{Principal: "ann", Role: "operator", Namespace: "default", Tags: []sluice.Tag{"web"}}
	for name, revoke := range map[string]func(s *served, token sluice.TokenID) error{
		"the grant": func(s *served, _ sluice.TokenID) error { return s.client.TakeGrant(s.t.Context(), grant) },
		"the token": func(s *served, token sluice.TokenID) error { return s.client.RevokeToken(s.t.Context(), token, false) },
		"ann":       func(s *served, _ sluice.TokenID) error { return s.client.RemovePrincipal(s.t.Context(), "ann") },
	} {
		t.Run(name, func(t *testing.T) {
			s := &served{t: t, data: filepath.Join(t.TempDir(), "data")}
			s.start()
			s.apply("ssh: {transport: local}\ntag:\n  web: [\"web[1-4]\"]\nconstraint:\n  $web: 1\n")
			s.must(s.client.AddPrincipal(t.Context(), "ann", false))
			s.must(s.client.Grant(t.Context(), grant))
			made, err := s.client.MakeToken(t.Context(), api.TokenWish{Principal: "ann"})
			s.must(err)
			ann, err := client.New("http://"+s.address, made.Secret, nil)
			s.must(err)
			dir := t.TempDir()
			j, err := ann.Submit(t.Context(), api.Submit{Targets: "$web", Command: "echo x >> " + dir + "/ran; until [ -e " + dir + "/go ]; do sleep 0.02; done"})
			s.must(err)

			events, last := make(chan sluice.Event, 1000), make(chan sluice.Event, 1)
			go func() {
				e, err := s.client.Follow(t.Context(), string(j.ID), 0, func(e sluice.Event) { events <- e }, nil)
				if err != nil {
					t.Error(err)
				}
				close(events)
				last <- e
			}()
			for e := range events {
				if _, is := e.Body.(sluice.TaskStarted); is {
					break
				}
			}
			s.comes(func() bool { _, err := os.Stat(dir + "/ran"); return err == nil })
			s.must(revoke(s, made.ID))
			s.must(os.WriteFile(dir+"/go", nil, 0o600))
			for e := range events {
				if b, is := e.Body.(sluice.TaskStarted); is {
					t.Errorf("%s started after that", b.Host)
				}
			}
			if b, is := (<-last).Body.(sluice.JobHalted); !is || b.Rule != sluice.RuleRights {
				t.Errorf("it ended with %#v", b)
			}
			if ran, err := os.ReadFile(dir + "/ran"); err != nil || string(ran) != "x\n" {
				t.Errorf("ran %q, error %v", ran, err)
			}
		})
	}
}

func (s *served) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// comes waits for what others do.
func (s *served) comes(is func() bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !is(); {
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatal("it never came")
		}
	}
}
