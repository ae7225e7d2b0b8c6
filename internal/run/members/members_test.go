package members_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/lab/fake"
	"sluice/internal/run/members"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// onBoth runs a test on the log in memory and on the real one.
func onBoth(t *testing.T, test func(t *testing.T, l sluice.Log)) {
	t.Run("fake", func(t *testing.T) { test(t, fake.NewLog()) })
	t.Run("sqlite", func(t *testing.T) {
		l, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, l)
	})
}

func keeper(t *testing.T, l sluice.Log, clock sluice.Clock) *members.Keeper {
	t.Helper()
	k, err := members.New(t.Context(), l, clock)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func names(t *testing.T, k *members.Keeper) string {
	t.Helper()
	all, err := k.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range all {
		out = append(out, string(m.Name)+"@"+m.Address)
	}
	return strings.Join(out, " ")
}

func has(t *testing.T, k *members.Keeper, want string) {
	t.Helper()
	if got := names(t, k); got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
}

func refused(t *testing.T, err error, code sluice.Code) {
	t.Helper()
	if sluice.CodeOf(err) != code {
		t.Errorf("%v, want the code %q", err, code)
	}
}

// TestMembers: one founds the cluster, others are invited, join and are replaced; whoever reads the log anew knows the same.
func TestMembers(t *testing.T) {
	onBoth(t, func(t *testing.T, l sluice.Log) {
		ctx, now := t.Context(), begin
		clock := func() time.Time { return now }
		k, other := keeper(t, l, clock), keeper(t, l, clock)
		if err := errors.Join(k.Found(ctx, "s1", "s1:1"), k.Found(ctx, "s1", "s1:1")); err != nil {
			t.Fatal(err)
		}
		refused(t, k.Found(ctx, "s1", "s1:2"), sluice.Conflict)
		refused(t, other.Found(ctx, "s2", "s2:1"), sluice.Conflict)
		secret, expires, err := k.Invite(ctx, "ann", "s2", "")
		if err != nil || len(secret) != 32 || !expires.Equal(begin.Add(15*time.Minute)) {
			t.Fatalf("%d characters, until %s, %v", len(secret), expires, err)
		}
		has(t, other, "s1@s1:1 s2@")
		if m, err := other.Join(ctx, "s2", secret, "s2:1", "192.0.2.1:5"); err != nil || m.Address != "s2:1" || m.Replaces != "" {
			t.Fatalf("%+v, %v", m, err)
		}
		joined, err := l.Read(ctx, sluice.AccessNamespace, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Join(ctx, "s2", secret, "s2:1", "192.0.2.1:6"); err != nil { // its answer was lost
			t.Error(err)
		}
		_, err = k.Join(ctx, "s2", secret, "elsewhere:1", "192.0.2.2:5")
		refused(t, err, sluice.Denied)
		if again, err := l.Read(ctx, sluice.AccessNamespace, 0, 100); err != nil || len(again) != len(joined) {
			t.Errorf("%d events became %d, %v", len(joined), len(again), err)
		}

		secret, _, err = k.Invite(ctx, "bob", "s3", "s1")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if m, err := k.Join(ctx, "s3", secret, "s3:1", ""); err != nil || m.Replaces != "s1" {
				t.Fatalf("%+v, %v", m, err)
			}
		}
		has(t, other, "s2@s2:1 s3@s3:1")
		events, err := l.Read(ctx, sluice.AccessNamespace, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := events[len(events)-1].Body.(sluice.ServerRemoved); !ok || b != (sluice.ServerRemoved{Server: "s1", By: "bob", Reason: "replaced by s3"}) {
			t.Errorf("%+v", events[len(events)-1].Body)
		}

		secret, _, err = k.Invite(ctx, "ann", "s4", "")
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(15 * time.Minute)
		_, err = k.Join(ctx, "s4", secret, "s4:1", "")
		refused(t, err, sluice.Denied)
		if err := k.Remove(ctx, "ann", "s2"); err != nil {
			t.Fatal(err)
		}
		refused(t, k.Remove(ctx, "ann", "s2"), sluice.NotFound)
		refused(t, k.Remove(ctx, "ann", "s3"), sluice.Conflict)
		has(t, keeper(t, l, clock), "s3@s3:1")
	})
}

// TestNoSecretInTheLog: only a digest of it is.
func TestNoSecretInTheLog(t *testing.T) {
	l := fake.NewLog()
	secret, _, err := keeper(t, l, func() time.Time { return begin }).Invite(t.Context(), "ann", "s2", "")
	if err != nil {
		t.Fatal(err)
	}
	events, err := l.Read(t.Context(), sluice.AccessNamespace, 0, 10)
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	if text, err := events[0].MarshalJSON(); err != nil || strings.Contains(string(text), secret) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestAnswerThatIsLost: where nobody knows whether the append was done, the same wish again finds out.
func TestAnswerThatIsLost(t *testing.T) {
	l := fake.NewLog()
	k := keeper(t, l, func() time.Time { return begin })
	secret, _, err := k.Invite(t.Context(), "ann", "s2", "")
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("lost")
	l.Faults.Set(fake.LogResult, func(context.Context) error { return lost })
	if _, err := k.Join(t.Context(), "s2", secret, "s2:1", ""); !errors.Is(err, lost) {
		t.Fatal(err)
	}
	l.Faults.Set(fake.LogResult, nil)
	if _, err := k.Join(t.Context(), "s2", secret, "s2:1", ""); err != nil {
		t.Fatal(err)
	}
	has(t, k, "s2@s2:1")
	if events, err := l.Read(t.Context(), sluice.AccessNamespace, 0, 10); err != nil || len(events) != 2 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestAddresses(t *testing.T) {
	k := keeper(t, fake.NewLog(), func() time.Time { return begin })
	for _, a := range []string{"", "s1", ":1", "s1:", "s1:0", "s1:65536", "s1:http", "0.0.0.0:1", "[::]:1", "::1:1"} {
		refused(t, k.Found(t.Context(), "s1", a), sluice.Usage)
		_, err := k.Join(t.Context(), "s1", "secret", a, "")
		refused(t, err, sluice.Usage)
	}
	if err := k.Found(t.Context(), "s1", "[::1]:1"); err != nil {
		t.Error(err)
	}
}

// TestBegin: on a log that another cluster had, the first server of a new one is the only member, whoever was one before or could have become
// one.
func TestBegin(t *testing.T) {
	onBoth(t, func(t *testing.T, l sluice.Log) {
		k := keeper(t, l, func() time.Time { return begin })
		for _, want := range []struct {
			name    sluice.ServerName
			address string
		}{{"a", "10.0.0.1:7659"}, {"a", "10.0.0.1:7659"}, {"z", "10.0.0.9:7659"}, {"z", "10.0.0.8:7659"}} {
			if err := k.Begin(t.Context(), "root", want.name, want.address, "another cluster begins"); err != nil {
				t.Fatal(err)
			}
			has(t, k, string(want.name)+"@"+want.address)
			if _, _, err := k.Invite(t.Context(), "root", "guest", ""); err != nil {
				t.Fatal(err)
			}
		}
	})
}
