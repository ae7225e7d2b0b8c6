package app

import (
	"os"
	"testing"
	"time"

	"sluice"
	"sluice/internal/front/cli"
	"sluice/internal/lab/balanced"
	"sluice/internal/run/control"
)

// TestByHandAtHAProxy: a real haproxy, as the command line shows and changes it; its pool keeps its minimum, and a load notices nothing.
func TestByHandAtHAProxy(t *testing.T) {
	servers := balanced.StartServers(t, 2)
	h := balanced.StartHAProxy(t, servers)
	load := balanced.StartLoad(t, h.Front)
	home := t.TempDir()
	l := &Local{Places: Places{Home: home, State: home, Config: home}, Env: func(string) string { return "" }, Environ: os.Environ(), Clock: Now}
	b, closing, err := l.balancers(control.Secrets{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closing(); err != nil {
			t.Error(err)
		}
	}()
	seat := func(server string) []sluice.Balancing {
		return []sluice.Balancing{{Name: "web", Driver: "haproxy", At: h.Socket, Pool: "app", Server: server, Least: sluice.Count(1)}}
	}
	limits := cli.BalancerLimits{Room: time.Millisecond, Drain: time.Minute}
	change := func(server string, to sluice.ServerState) (last sluice.BalancerChanged, err error) {
		err = b.Change(t.Context(), seat(server), to, limits, func(text string, c *sluice.BalancerChanged) {
			t.Log(text)
			if c != nil {
				last = *c
			}
		})
		return last, err
	}
	state := func(server string) sluice.ServerState {
		p, err := b.Look(t.Context(), seat(server)[0])
		if err != nil {
			t.Fatal(err)
		}
		s, _ := p.Server(server)
		return s.State
	}
	for state("s1") != sluice.ServerUp || state("s2") != sluice.ServerUp { // its checks have to pass first
		if t.Context().Err() != nil {
			t.Fatal("they never come up")
		}
	}
	for _, to := range []sluice.ServerState{sluice.ServerDraining, sluice.ServerMaintenance} {
		if c, err := change("s1", to); err != nil || c.State != to || c.Cut != 0 || c.Before == "" || state("s1") != to {
			t.Errorf("%s: %+v, error %v; it is %s", to, c, err, state("s1"))
		}
		if c, err := change("s2", to); sluice.CodeOf(err) != sluice.Conflict || c.Error == "" || c.State != "" || state("s2") != sluice.ServerUp {
			t.Errorf("the last one may go: %+v, error %v; it is %s", c, err, state("s2"))
		}
	}
	if c, err := change("s1", sluice.ServerUp); err != nil || c.State != sluice.ServerUp || c.Before != sluice.ServerMaintenance || state("s1") != sluice.ServerUp {
		t.Errorf("%+v, error %v", c, err)
	}
	if failed, _ := load.Stop(); len(failed) > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", len(failed), load.Asked.Load(), failed[0])
	}
}
