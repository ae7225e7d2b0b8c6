package cli

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/core/validate"
	"sluice/internal/run/control"
)

var update = flag.Bool("update", false, "write what is printed into testdata")

// golden compares what was printed with a file.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it anew): %v\n%s", file, err, got)
	}
}

// What is not known, what a hand changed and what failed is said in words, and hosts that are alike are told together.
func TestWhatIsLiveInWords(t *testing.T) {
	t0 := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local) // what people read is their own time
	var out bytes.Buffer
	a := &app{World: World{Stdout: &out, Clock: func() time.Time { return t0 }}}
	commit := &sluice.Commit{ID: "1a2b3c4d5e6f7a8b", Built: t0.Add(-time.Hour)}
	on := func(host sluice.Host, version string, how func(*live.State)) control.Live {
		s := live.State{Place: live.Place{App: "shop", Env: "production", Host: host}, Known: true, Live: sluice.Installed{Version: version}, Config: "sha256:9f86d081884c7d65",
			Since: t0, By: "ann@laptop", Job: "k3v9q2m7x1ab", Last: "k3v9q2m7x1ab"}
		if how != nil {
			how(&s)
		}
		return control.Live{Namespace: "default", State: s, Commit: commit}
	}
	list := []control.Live{on("web1", "2.0", nil), on("web2", "2.0", func(s *live.State) { s.Since = t0.Add(-time.Minute) }),
		on("web3", "2.0", func(s *live.State) { s.Failed = true }),
		on("web4", "1.0", func(s *live.State) { s.Known, s.Why, s.Last = false, live.Unclear, "z3v9q2m7x1ab" }),
		on("web5", "1.0", func(s *live.State) { s.Known, s.Why, s.Last = false, live.Unclear, "z3v9q2m7x1ab" }),
		on("web6", "0.9", func(s *live.State) { s.Changed, s.Job, s.By = true, "", "" }),
		on("web7", "", func(s *live.State) { s.Live, s.Config, s.Job, s.By = sluice.Installed{}, "", "", "" })}
	list[6].Commit = nil
	if err := a.printLive(list, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.printLive(list[:6], answers{{State: askedSame, Job: "q3v9q2m7x1ab"}, {State: askedSame, Job: "q3v9q2m7x1ab"}, {State: askedUnreachable, Reason: "no route\x1b[31m", Job: "q3v9q2m7x1ab"},
		{State: askedTold, Version: "1.0", Reason: "what it should be is not known", Job: "q3v9q2m7x1ab"}, {State: askedUnknown, Reason: "the fleet has no such host"},
		{State: askedDrift, Reason: "nothing is live", Job: "q3v9q2m7x1ab"}}); err != nil {
		t.Fatal(err)
	}
	released := control.Released{Namespace: "default", State: "succeeded", On: 3, Failed: 1, Latency: live.Latency{Hosts: 3, P50: 90 * time.Minute, P99: 26 * time.Hour},
		Release: live.Release{Job: "k3v9q2m7x1ab", Kind: sluice.DeployTo, App: "shop", Env: "production", Version: "2.0", Config: "sha256:9f86d081884c7d65",
			Commit: commit, By: "ann@laptop", Submitted: t0, Targets: 4}}
	back := released
	back.Release = live.Release{Job: "z3v9q2m7x1ab", Kind: sluice.RollBack, App: "shop", Env: "production", By: "bob\x1b[31m", Submitted: t0, Targets: 2}
	back.State, back.On, back.Failed, back.Latency = "running", 0, 0, live.Latency{}
	released.Validated = &validate.Result{State: validate.Failed, Job: "v3v9q2m7x1ab", Reason: "web1: ended with 3\x1b[31m"}
	if err := a.printReleases([]control.Released{back, released}); err != nil {
		t.Fatal(err)
	}
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	weeks := []control.Latencies{{Namespace: "default", Period: live.Period{App: "shop", Env: "production", From: monday, Days: 7, Releases: 3, Latency: released.Latency}},
		{Namespace: "default", Period: live.Period{App: "shop", Env: "production", From: monday.AddDate(0, 0, -7), Days: 7, Releases: 1,
			Latency: live.Latency{Hosts: 1, P50: 1500 * time.Microsecond, P99: 1500 * time.Microsecond}}}}
	for _, a.output = range []string{"", "json"} {
		if err := a.printLatencies(weeks); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "testdata/where.golden", out.Bytes())
}
