package cli

import (
	"context"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/live"
	"sluice/internal/core/release"
	"sluice/internal/run/control"
)

// recorded is a desk with what is on record by now.
type recorded struct {
	control.Desk
	now []control.Live
}

func (r recorded) Live(context.Context, control.LiveQuery) ([]control.Live, error) { return r.now, nil }

// Drift is what differs from the record and was not made by a job, while the host was asked neither.
func TestWhatHostsSayIsCompared(t *testing.T) {
	const root = "root /srv/shop\n"
	const about = "tree 2.0 0 good whole 2.0 sha256:1111111111111111111111111111111111111111111111111111111111111111 - - 0 0\n"
	two := sluice.Installed{Version: "2.0", Manifest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
	was := control.Live{State: live.State{Place: live.Place{App: "shop", Env: "prod", Host: "a"}, Known: true, Live: two, Job: "j1", Last: "j1"}}
	but := func(how func(*control.Live)) control.Live { l := was; how(&l); return l }
	running := but(func(l *control.Live) { l.Known, l.Why, l.Last = false, live.Running, "j2" })
	nothing := but(func(l *control.Live) { l.Live = sluice.Installed{} })
	for _, c := range []struct {
		name, text    string
		was           control.Live
		now           []control.Live
		state, reason string
	}{
		{"same", "live versions/2.0\n" + about, was, []control.Live{was}, askedSame, ""},
		{"drift", "live versions/1.0\n", was, []control.Live{was}, askedDrift, "live leads to versions/1.0"},
		{"other files", "live versions/2.0\n", was, []control.Live{was}, askedDrift, "live leads to versions/2.0"},
		{"nothing", "", was, []control.Live{was}, askedDrift, "nothing is live"},
		{"nothing, as it was", "", nothing, []control.Live{nothing}, askedSame, ""},
		{"a directory", "way /srv/shop/live is no symbolic link\n", nothing, []control.Live{nothing}, askedDrift, "is no symbolic link"},
		{"unseen", "unseen /srv\n", was, []control.Live{was}, askedUnknown, "--sudo may help"},
		{"nothing to compare with", "live versions/2.0\n" + about, running, []control.Live{running}, askedTold, "an attempt is running"},
		{"a job begins meanwhile", "live versions/1.0\n", was, []control.Live{running}, askedUnknown, "job j2 was at work"},
		{"a job ends meanwhile", "live versions/1.0\n", running, []control.Live{was}, askedUnknown, "job j1 was at work"},
		{"a job was there meanwhile", "live versions/1.0\n", was, []control.Live{but(func(l *control.Live) { l.Last = "j2" })}, askedUnknown, "job j2 was at work"},
		{"retired meanwhile", "live versions/2.0\n" + about, was, nil, askedUnknown, "off the record"},
	} {
		all, err := release.ReadSeen(root + c.text + "end\n")
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		n := &inquiry{svc: recorded{now: c.now}, list: []control.Live{c.was}, out: answers{compared(all["/srv/shop"], c.was)}}
		if err := n.meanwhile(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := n.out[0]
		if got.State != c.state || !strings.Contains(got.Reason, c.reason) || c.reason == "" && got.Reason != "" {
			t.Errorf("%s: %+v, want %s, %q", c.name, got, c.state, c.reason)
		}
		if (n.out.status() == nil) != (c.state == askedSame) {
			t.Errorf("%s: the exit status is %v", c.name, n.out.status())
		}
	}
}
