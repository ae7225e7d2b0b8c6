package app_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/headsdir"
	"sluice/internal/core/witness"
)

// TestAnAlarmIsRaisedByTheNextOwner: others have seen more of the log than the servers have. Whoever owns it next knows that, too, also one
// that was not there when the alarm was raised; and when a person has declared the log the truth, all know that.
func TestAnAlarmIsRaisedByTheNextOwner(t *testing.T) {
	c := newCrowd(t, "a", "b", "c")
	a, b, late := c.servers["a"], c.servers["b"], c.servers["c"]
	a.apply(localFleet)
	a.runs("true")
	if err := late.stop(); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(a.data, "heads.key"))
	if err != nil {
		t.Fatal(err)
	}
	seen := witness.Key(key).Sign(sluice.Head{Namespace: "default", Seq: 1000, Hash: sluice.ChainHash{1}}, 0)
	if _, err := a.client.HandBack(t.Context(), []sluice.SeenHead{seen}); err != nil {
		t.Fatal(err)
	}
	c.alarmed("b", true)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	late.start()
	refused(t, c, "b")
	if st, err := b.client.Standing(t.Context()); err != nil || !slices.Contains(st.Unfit, seen) {
		t.Errorf("the next owner knows %+v, %v", st, err)
	}
	c.alarmed("c", true)
	if _, err := b.client.Repair(t.Context(), "it was tried out"); err != nil {
		t.Fatal(err)
	}
	a.start()
	for _, name := range c.names {
		c.alarmed(name, false)
	}
	b.runs("true")

	// The owner hears of an alarm that another server has kept.
	if err := late.stop(); err != nil {
		t.Fatal(err)
	}
	seen = witness.Key(key).Sign(sluice.Head{Namespace: "default", Seq: 2000, Hash: sluice.ChainHash{2}}, 1)
	if err := headsdir.Dir(late.data).SetAlarm([]sluice.SeenHead{seen}); err != nil {
		t.Fatal(err)
	}
	late.start()
	c.alarmed("b", true)
	refused(t, c, "a")
}

// refused sees to it that a server takes no job because of the alarm, as soon as somebody owns the log.
func refused(t *testing.T, c *crowd, name sluice.ServerName) {
	t.Helper()
	for {
		ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
		j, err := c.servers[name].client.Submit(ctx, api.Submit{Targets: "$web", Command: "true"})
		done()
		if err == nil {
			t.Fatalf("it takes the job %s", j.ID)
		}
		if strings.Contains(err.Error(), "others have seen more") {
			return
		}
		if sluice.CodeOf(err) != sluice.Contact || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// alarmed waits until a server keeps, or does not keep, that the alarm is raised.
func (c *crowd) alarmed(name sluice.ServerName, want bool) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		heads, err := headsdir.Dir(c.servers[name].data).Alarm()
		if err != nil {
			c.t.Fatal(err)
		}
		if len(heads) > 0 == want {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the server %s keeps %d heads of an alarm", name, len(heads))
		}
		select {
		case <-c.t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
