package rights_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice"
	"sluice/internal/adapter/sqlitelog"
	"sluice/internal/core/access"
	"sluice/internal/lab/fake"
	"sluice/internal/run/rights"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func clock() time.Time { return begin }

func openSQLite(t *testing.T, dir string) sluice.Log {
	t.Helper()
	l, err := sqlitelog.Open(t.Context(), sqlitelog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// onBoth runs a test on the log in memory and on the real one. again opens the same log as another process would.
func onBoth(t *testing.T, test func(t *testing.T, l sluice.Log, again func() sluice.Log)) {
	t.Run("fake", func(t *testing.T) {
		l := fake.NewLog()
		test(t, l, func() sluice.Log { return l })
	})
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		test(t, openSQLite(t, dir), func() sluice.Log { return openSQLite(t, dir) })
	})
}

func keeper(t testing.TB, l sluice.Log) *rights.Keeper {
	t.Helper()
	k, err := rights.New(t.Context(), l, clock)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// founded is a keeper whose first administrator is root.
func founded(t testing.TB, l sluice.Log) (*rights.Keeper, access.Bearer) {
	t.Helper()
	k := keeper(t, l)
	secret, err := k.First(t.Context(), "root", "first")
	if err != nil || secret == "" {
		t.Fatalf("the first administrator has the secret %q: %v", secret, err)
	}
	return k, login(t, k, secret)
}

func login(t testing.TB, k *rights.Keeper, secret string) access.Bearer {
	t.Helper()
	b, err := k.Login(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func change(t testing.TB, k *rights.Keeper, b access.Bearer, changes ...sluice.Body) {
	t.Helper()
	if err := k.Change(t.Context(), b, changes...); err != nil {
		t.Fatal(err)
	}
}

func events(t *testing.T, l sluice.Log) []sluice.Event {
	t.Helper()
	out, err := l.Read(t.Context(), sluice.AccessNamespace, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func want(t *testing.T, what string, err error, code sluice.Code) {
	t.Helper()
	if sluice.CodeOf(err) != code || (err == nil) != (code == "") {
		t.Errorf("%s: %v (%s), want %q", what, err, sluice.CodeOf(err), code)
	}
}

func added(p sluice.Principal) sluice.Body { return sluice.PrincipalAdded{Principal: p} }

func given(p sluice.Principal, r sluice.Role, ns sluice.Namespace) sluice.Body {
	return sluice.GrantGiven{Grant: sluice.Grant{Principal: p, Role: r, Namespace: ns}}
}

var see = access.Ask{Right: sluice.SeeJobs, Namespace: "prod"}

func TestTheFirstIsMadeOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, l sluice.Log, again func() sluice.Log) {
		ctx := t.Context()
		keepers := []*rights.Keeper{keeper(t, l), keeper(t, again())}
		secrets := make([]string, 20)
		var all sync.WaitGroup
		for i := range secrets {
			all.Go(func() {
				var err error
				if secrets[i], err = keepers[i%2].First(ctx, sluice.Principal(fmt.Sprintf("root%d", i)), ""); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		made := strings.Join(secrets, "")
		if strings.Count(made, "sluice_") != 1 {
			t.Fatalf("these were made: %q", secrets)
		}
		k := keeper(t, again())
		if secret, err := k.First(ctx, "root", ""); err != nil || secret != "" {
			t.Errorf("after it was opened again there is another: %q %v", secret, err)
		}
		b := login(t, k, made)
		want(t, "the first", k.Allow(ctx, b, access.Ask{Right: sluice.RunServer}), "")
		if n := len(events(t, l)); n != 3 {
			t.Errorf("there are %d events, want 3", n)
		}
		people, err := k.People(ctx)
		if err != nil || len(people) != 1 {
			t.Errorf("known are %+v %v", people, err)
		}
	})
}

func TestTheFirstMustHaveAName(t *testing.T) {
	l := fake.NewLog()
	k := keeper(t, l)
	secret, err := k.First(t.Context(), "no name", "")
	want(t, "a name of two words", err, sluice.Usage)
	if secret != "" || len(events(t, l)) != 0 {
		t.Errorf("%q, and %d events", secret, len(events(t, l)))
	}
	founded(t, l)
}

// Who could not see the answer of the log must not be locked out: nobody can be the first again.
func TestTheFirstIsNotLostWithTheAnswer(t *testing.T) {
	lost := errors.New("the link broke")
	l := fake.NewLog()
	k := keeper(t, l)
	l.Faults.Set(fake.LogResult, fake.Once(lost))
	secret, err := k.First(t.Context(), "root", "")
	if err != nil {
		t.Fatal(err)
	}
	login(t, k, secret)

	l = fake.NewLog()
	k = keeper(t, l)
	l.Faults.Set(fake.LogResult, func(context.Context) error {
		l.Faults.Set(fake.LogRead, fake.Once(lost))
		return lost
	})
	if secret, err = k.First(t.Context(), "root", ""); !errors.Is(err, lost) || secret == "" {
		t.Fatalf("%q %v; want both, for it is not known", secret, err)
	}
	login(t, k, secret)

	l = fake.NewLog()
	k = keeper(t, l)
	l.Faults.Set(fake.LogUpdate, fake.Once(lost))
	if secret, err = k.First(t.Context(), "root", ""); !errors.Is(err, lost) || secret != "" {
		t.Fatalf("%q %v; want no secret, for nothing was appended", secret, err)
	}
	founded(t, l)
}

func TestWhatCannotBeAppendedIsNotDone(t *testing.T) {
	ctx := t.Context()
	full := errors.New("the disk is full")
	l := fake.NewLog()
	k, root := founded(t, l)
	change(t, k, root, added("ann"))
	before := len(events(t, l))
	l.Faults.Set(fake.LogUpdate, fake.Always(full))
	if err := k.Change(ctx, root, given("ann", access.Viewer, "")); !errors.Is(err, full) {
		t.Errorf("Change: %v", err)
	}
	secret, made, err := k.MakeToken(ctx, root, sluice.Token{Principal: "ann"})
	if !errors.Is(err, full) || secret != "" || made.ID != "" {
		t.Errorf("MakeToken: %q %v %v", secret, made, err)
	}
	if err := k.Note(ctx, sluice.AccessNoted{What: "GET /"}); !errors.Is(err, full) {
		t.Errorf("Note: %v", err)
	}
	want(t, "what was not given", k.Allow(ctx, access.As("ann"), see), sluice.Denied)
	if n := len(events(t, l)); n != before {
		t.Errorf("%d events became %d", before, n)
	}
	people, err := k.People(ctx)
	if err != nil || len(people[0].Tokens)+len(people[0].Grants) != 0 {
		t.Errorf("%+v %v", people, err)
	}
	l.Faults.Set(fake.LogUpdate, nil)
	change(t, k, root, given("ann", access.Viewer, ""))
	want(t, "what was given then", k.Allow(ctx, access.As("ann"), see), "")
}

func TestNothingIsAnsweredWithoutTheLog(t *testing.T) {
	ctx := t.Context()
	gone := errors.New("no disk")
	l := fake.NewLog()
	k, root := founded(t, l)
	l.Faults.Set(fake.LogRead, fake.Always(gone))
	_, login := k.Login(ctx, "sluice_x")
	_, _, spaces := k.Namespaces(ctx, root, sluice.SeeJobs)
	_, people := k.People(ctx)
	_, roles := k.Roles(ctx)
	for what, err := range map[string]error{"Login": login, "Namespaces": spaces, "People": people, "Roles": roles,
		"Allow": k.Allow(ctx, root, see), "Change": k.Change(ctx, root, added("ann")), "Note": k.Note(ctx, sluice.AccessNoted{})} {
		if !errors.Is(err, gone) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := rights.New(ctx, l, clock); !errors.Is(err, gone) {
		t.Errorf("New: %v", err)
	}
}

// A log of which an event does not fit is not judged by: that is no conflict of whoever asks.
func TestALogThatDoesNotFit(t *testing.T) {
	l := fake.NewLog()
	_, err := l.Update(t.Context(), sluice.AccessNamespace, 0, func([]sluice.Event) ([]sluice.Event, error) {
		return []sluice.Event{{Time: begin, Body: given("ann", access.Admin, "")}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rights.New(t.Context(), l, clock)
	want(t, "New", err, sluice.Contact)
}

func TestTwoKeepersSeeEachOther(t *testing.T) {
	onBoth(t, func(t *testing.T, l sluice.Log, again func() sluice.Log) {
		ctx := t.Context()
		a, root := founded(t, l)
		b := keeper(t, again())
		change(t, a, root, added("ann"), given("ann", access.Viewer, ""))
		want(t, "what the other has given", b.Allow(ctx, access.As("ann"), see), "")
		secret, made, err := b.MakeToken(ctx, root, sluice.Token{Principal: "ann", Only: []sluice.Right{sluice.SeeJobs}})
		if err != nil {
			t.Fatal(err)
		}
		ann := login(t, a, secret)
		want(t, "by the other's token", a.Allow(ctx, ann, see), "")
		change(t, b, root, sluice.TokenRevoked{ID: made.ID})
		want(t, "by a revoked token", a.Allow(ctx, ann, see), sluice.Denied)
		want(t, "changing by a revoked token", a.Change(ctx, ann, sluice.TokenRevoked{ID: made.ID}), sluice.Denied)
		_, _, err = a.Namespaces(ctx, ann, sluice.SeeJobs)
		want(t, "listing by a revoked token", err, sluice.Denied)
		_, err = a.Login(ctx, secret)
		want(t, "with a revoked token", err, sluice.Denied)
		change(t, b, root, sluice.PrincipalRemoved{Principal: "ann"})
		want(t, "somebody removed", a.Allow(ctx, access.As("ann"), see), sluice.Denied)
	})
}

func TestTokensEnd(t *testing.T) {
	ctx := t.Context()
	now := begin
	k, err := rights.New(ctx, fake.NewLog(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	first, err := k.First(ctx, "root", "")
	if err != nil {
		t.Fatal(err)
	}
	root := login(t, k, first)
	_, _, err = k.MakeToken(ctx, root, sluice.Token{Principal: "root", Expires: begin})
	want(t, "a token that is over", err, sluice.Usage)
	secret, made, err := k.MakeToken(ctx, root, sluice.Token{ID: "mine", Digest: "mine", Principal: "root", Expires: k.Until(time.Hour).In(time.FixedZone("", 3600))})
	if err != nil || made.ID == "mine" || made.Digest == "mine" || made.Expires != begin.Add(time.Hour) {
		t.Fatalf("%+v %v", made, err)
	}
	if !k.Until(0).IsZero() {
		t.Error("for ever has an end")
	}
	b := login(t, k, secret)
	now = begin.Add(time.Hour - 1)
	want(t, "in time", k.Allow(ctx, b, see), "")
	now = begin.Add(time.Hour)
	want(t, "asking too late", k.Allow(ctx, b, see), sluice.Denied)
	want(t, "changing too late", k.Change(ctx, b, added("ann")), sluice.Denied)
	_, err = k.Login(ctx, secret)
	want(t, "coming too late", err, sluice.Denied)
	login(t, k, first)
}

func TestChangesAreAllOrNone(t *testing.T) {
	onBoth(t, func(t *testing.T, l sluice.Log, again func() sluice.Log) {
		ctx := t.Context()
		k, root := founded(t, l)
		change(t, k, root, added("ann"), given("ann", access.Admin, "prod"))
		before := len(events(t, l))
		for name, c := range map[string]struct {
			b       access.Bearer
			changes []sluice.Body
			code    sluice.Code
		}{
			"the second is there by the first": {root, []sluice.Body{added("bob"), added("bob")}, sluice.Conflict},
			"both last administrators": {root, []sluice.Body{added("bob"), given("bob", access.Admin, ""),
				sluice.PrincipalRemoved{Principal: "bob"}, sluice.PrincipalRemoved{Principal: "root"}}, sluice.Conflict},
			"the second may not be":             {access.As("ann"), []sluice.Body{given("ann", access.Viewer, "prod"), given("ann", access.Viewer, "")}, sluice.Denied},
			"the first takes the right away":    {access.As("ann"), []sluice.Body{sluice.GrantTaken{Grant: sluice.Grant{Principal: "ann", Role: access.Admin, Namespace: "prod"}}, given("ann", access.Viewer, "prod")}, sluice.Denied},
			"what is no change":                 {root, []sluice.Body{added("bob"), sluice.AccessNoted{What: "nothing happened"}}, sluice.Usage},
			"an event of a job":                 {root, []sluice.Body{sluice.JobStarted{}}, sluice.Usage},
			"a token of no name lets anyone in": {root, []sluice.Body{sluice.TokenMade{Token: sluice.Token{Principal: "root", Digest: access.Digest(nil), Parent: root.Token}}}, sluice.Usage},
		} {
			want(t, name, k.Change(ctx, c.b, c.changes...), c.code)
			if n := len(events(t, l)); n != before {
				t.Fatalf("%s: %d events became %d", name, before, n)
			}
		}
		keeper(t, again()) // it can be read
	})
}

// Who made a change is who asked for it, whatever the change says.
func TestChangesAreSigned(t *testing.T) {
	l := fake.NewLog()
	k, root := founded(t, l)
	change(t, k, root, sluice.PrincipalAdded{Principal: "ann", By: "somebody else"})
	all := events(t, l)
	if got := all[len(all)-1]; got.Body != (sluice.PrincipalAdded{Principal: "ann", By: "root"}) || !got.Time.Equal(begin) {
		t.Errorf("%+v", got)
	}
	for _, e := range all[:3] {
		if text, err := json.Marshal(e); err != nil || !strings.Contains(string(text), `"by":"root"`) {
			t.Errorf("the first is made by %s %v", text, err)
		}
	}
}

func TestSecretsAreNotInTheLog(t *testing.T) {
	onBoth(t, func(t *testing.T, l sluice.Log, again func() sluice.Log) {
		ctx := t.Context()
		k := keeper(t, l)
		first, err := k.First(ctx, "root", "first")
		if err != nil {
			t.Fatal(err)
		}
		root := login(t, k, first)
		secrets := []string{first}
		for range 5 {
			secret, made, err := k.MakeToken(ctx, root, sluice.Token{Principal: "root"})
			if err != nil || made.Digest != access.Digest([]byte(secret)) {
				t.Fatalf("%+v %v", made, err)
			}
			login(t, k, secret)
			secrets = append(secrets, secret)
		}
		text, err := json.Marshal(events(t, l))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, s := range secrets {
			bare, ok := strings.CutPrefix(s, "sluice_")
			if !ok || len(bare) < 43 || seen[s] {
				t.Errorf("%q is no secret", s)
			}
			seen[s] = true
			if strings.Contains(string(text), bare) {
				t.Errorf("the log has the secret %s", s)
			}
		}
		_, err = k.Login(ctx, first+"x")
		if err == nil || strings.Contains(err.Error(), first) {
			t.Errorf("a refusal says %v", err)
		}
	})
}

// Logins, questions and changes of many at once; the last word is the log's, and it fits.
func TestManyAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, l sluice.Log, again func() sluice.Log) {
		ctx := t.Context()
		a, root := founded(t, l)
		b := keeper(t, again())
		secret, _, err := a.MakeToken(ctx, root, sluice.Token{Principal: "root"})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		made := 0
		for i := range 8 {
			k := []*rights.Keeper{a, b}[i%2]
			all.Go(func() {
				for n := range 10 {
					who := sluice.Principal(fmt.Sprintf("p%d", n)) // the same for all
					err := k.Change(ctx, root, added(who), given(who, access.Viewer, "prod"))
					if err == nil {
						mu.Lock()
						made++
						mu.Unlock()
					} else if sluice.CodeOf(err) != sluice.Conflict {
						t.Error(err)
					}
					if err := k.Allow(ctx, access.As(who), see); err != nil {
						t.Errorf("%s is there and may not: %v", who, err)
					}
					if _, err := k.Login(ctx, secret); err != nil {
						t.Error(err)
					}
					if _, _, err := k.Namespaces(ctx, root, sluice.SeeJobs); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if made != 10 {
			t.Errorf("ten were to be added, each once, and %d were", made)
		}
		if people, err := keeper(t, again()).People(ctx); err != nil || len(people) != 11 {
			t.Errorf("%d are known: %v", len(people), err)
		}
	})
}

// While an append waits for the log, others are answered; and who waits does so no longer than the context.
func TestNobodyWaitsForAnAppend(t *testing.T) {
	l := fake.NewLog()
	k, root := founded(t, l)
	gate, inside := make(chan struct{}), make(chan struct{})
	l.Faults.Set(fake.LogUpdate, func(ctx context.Context) error {
		close(inside)
		return fake.Hold(gate)(ctx)
	})
	ended := make(chan error, 1)
	go func() { ended <- k.Change(t.Context(), root, added("ann")) }()
	<-inside
	want(t, "meanwhile", k.Allow(t.Context(), root, see), "")
	l.Faults.Set(fake.LogUpdate, nil)
	close(gate)
	if err := <-ended; err != nil {
		t.Error(err)
	}

	gate, inside = make(chan struct{}), make(chan struct{})
	l.Faults.Set(fake.LogRead, func(ctx context.Context) error {
		close(inside)
		return fake.Hold(gate)(ctx)
	})
	go func() { ended <- k.Allow(t.Context(), root, see) }()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Allow(ctx, root, see); !errors.Is(err, context.Canceled) {
		t.Errorf("behind a slow log: %v", err)
	}
	close(gate)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestTheFirstSecretIsHandedOverBeforeItIsValid: a secret that nobody has kept must not be the only way in.
func TestTheFirstSecretIsHandedOverBeforeItIsValid(t *testing.T) {
	log := fake.NewLog()
	k, err := rights.New(t.Context(), log, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	lost := ""
	if err := k.HandFirst(t.Context(), "root", "", func(s string) error { lost = s; return full }); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	kept := ""
	err = k.HandFirst(t.Context(), "root", "", func(s string) error {
		kept = s
		if _, err := k.Login(t.Context(), s); sluice.CodeOf(err) != sluice.Denied {
			t.Errorf("while it is handed over, a login says %v", err)
		}
		return nil
	})
	if err != nil || kept == lost {
		t.Fatalf("error %v", err)
	}
	if b, err := k.Login(t.Context(), kept); err != nil || b.Principal != "root" {
		t.Errorf("%+v, error %v", b, err)
	}
	if _, err := k.Login(t.Context(), lost); sluice.CodeOf(err) != sluice.Denied {
		t.Errorf("the one that was lost: %v", err)
	}
	err = k.HandFirst(t.Context(), "root", "", func(string) error { t.Error("handed over again"); return nil })
	if err != nil {
		t.Error(err)
	}
}
