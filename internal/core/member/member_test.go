package member_test

import (
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/internal/core/crew"
	"sluice/internal/core/member"
)

var now = time.Unix(1000, 0)

// list is a fold that a test adds events to.
type list struct {
	*member.List
	t *testing.T
}

func newList(t *testing.T) list { return list{member.NewList(), t} }

func (l list) add(bodies ...sluice.Body) {
	l.t.Helper()
	for _, b := range bodies {
		if err := l.Apply(sluice.Event{Seq: l.Seq() + 1, Time: now, Body: b}); err != nil {
			l.t.Fatal(err)
		}
	}
}

func invited(name sluice.ServerName, secret string, replaces sluice.ServerName) sluice.Body {
	return sluice.ServerInvited{Server: name, Replaces: replaces, Digest: crew.Digest(secret), Expires: now.Add(time.Minute), By: "ann"}
}

// joins says what comes of a server's wish to join: "" if it may, "again" if it has, else the beginning of why not.
func (l list) joins(want string, name sluice.ServerName, secret, address string, at time.Time) {
	l.t.Helper()
	again, err := l.MayJoin(name, secret, address, at)
	got := ""
	switch {
	case err != nil:
		got = err.Error()
	case again:
		got = "again"
	}
	if want == "" && got != "" || !strings.HasPrefix(got, want) {
		l.t.Errorf("%s with %q at %s: %q, want %q", name, secret, address, got, want)
	}
}

func (l list) has(want string) {
	l.t.Helper()
	var got []string
	for _, k := range l.All(now) {
		if k.Joined {
			got = append(got, string(k.Name)+"@"+k.Address)
		} else {
			got = append(got, string(k.Name))
		}
	}
	if s := strings.Join(got, " "); s != want {
		l.t.Errorf("there are %q, want %q", s, want)
	}
}

// TestInvitation: it is good for one server at one address, for its time, and for that one until it expires.
func TestInvitation(t *testing.T) {
	l := newList(t)
	l.add(sluice.ServerJoined{Server: "s1", Address: "s1:1"}, invited("s2", "secret", ""))
	l.has("s1@s1:1 s2")
	const none = "the token does not let"
	l.joins("", "s2", "secret", "s2:1", now)
	l.joins(none, "s2", "other", "s2:1", now)
	l.joins(none, "s2", "", "s2:1", now)
	l.joins(none, "s3", "secret", "s3:1", now)
	l.joins(none, "s1", "", "s1:1", now) // who founded the cluster had none
	l.joins("the token for the server s2 has expired", "s2", "secret", "s2:1", now.Add(time.Minute))
	l.joins("the server s1 has the address s1:1", "s2", "secret", "s1:1", now)

	l.add(sluice.ServerJoined{Server: "s2", Address: "s2:1"})
	l.has("s1@s1:1 s2@s2:1")
	l.joins("again", "s2", "secret", "s2:1", now.Add(time.Minute-1))
	l.joins("the token was used before, by the server at s2:1", "s2", "secret", "s9:1", now)
	l.joins("the token for the server s2 has expired", "s2", "secret", "s2:1", now.Add(time.Minute))

	l.add(sluice.ServerRemoved{Server: "s2", By: "ann"})
	l.has("s1@s1:1")
	l.joins(none, "s2", "secret", "s2:1", now)
	l.add(invited("s2", "first", ""), invited("s2", "second", ""))
	l.joins(none, "s2", "first", "s2:1", now)
	l.joins("", "s2", "second", "s2:1", now)
	l.add(sluice.ServerRemoved{Server: "s2", By: "ann"})
	l.joins(none, "s2", "second", "s2:1", now)
	if all := l.All(now); len(all) != 1 {
		t.Errorf("there are %+v", all)
	}
	l.add(invited("s3", "third", ""))
	if all := l.All(now.Add(time.Minute)); len(all) != 1 {
		t.Errorf("an invitation that expired is shown: %+v", all)
	}
}

// TestReplacement: whom a server replaces is the member that was meant, and of two in its place the newer counts.
func TestReplacement(t *testing.T) {
	l := newList(t)
	l.add(sluice.ServerJoined{Server: "s1", Address: "s1:1"}, sluice.ServerJoined{Server: "s2", Address: "s2:1"})
	replaces := func(name, want sluice.ServerName) {
		t.Helper()
		if k, err := l.Find(name); err != nil || k.Replaces != want {
			t.Errorf("%s replaces %q, %v, want %q", name, k.Replaces, err, want)
		}
	}
	l.add(invited("s3", "a", "s1"), invited("s4", "b", "s1"))
	l.has("s1@s1:1 s2@s2:1 s4")
	l.joins("the token does not", "s3", "a", "s3:1", now)
	l.joins("", "s4", "b", "s1:1", now) // on the address that becomes free
	l.joins("the server s2 has", "s4", "b", "s2:1", now)
	l.add(sluice.ServerJoined{Server: "s4", Address: "s1:1"}, sluice.ServerRemoved{Server: "s1", By: "ann"})
	l.has("s2@s2:1 s4@s1:1")
	replaces("s4", "s1") // for one that comes again
	l.joins("again", "s4", "b", "s1:1", now)

	l.add(invited("s5", "c", "s2"), sluice.ServerRemoved{Server: "s2", By: "ann"}, invited("s2", "d", ""), sluice.ServerJoined{Server: "s2", Address: "s2:2"})
	replaces("s5", "") // another s2 than this one was meant
	l.add(invited("s6", "e", ""), invited("s7", "f", ""))
	l.has("s2@s2:2 s4@s1:1 s5 s6 s7")
}

// TestWhatIsRefused: nobody is invited under the name of a member, and the last one stays.
func TestWhatIsRefused(t *testing.T) {
	l := newList(t)
	refused := func(err error, code sluice.Code) {
		t.Helper()
		if sluice.CodeOf(err) != code {
			t.Errorf("%v, want the code %q", err, code)
		}
	}
	refused(l.MayInvite("s2", "s1"), sluice.NotFound)
	l.add(sluice.ServerJoined{Server: "s1", Address: "s1:1"}, invited("s2", "a", ""))
	refused(l.MayInvite("s1", ""), sluice.Conflict)
	refused(l.MayInvite("s1", "s1"), sluice.Conflict)
	refused(l.MayInvite("s2", ""), "")
	refused(l.MayInvite("s3", "s1"), "")
	refused(l.MayInvite("s3", "s2"), sluice.NotFound) // it has not joined
	refused(l.MayRemove("s1"), sluice.Conflict)
	refused(l.MayRemove("s2"), "") // an invitation is withdrawn
	refused(l.MayRemove("s9"), sluice.NotFound)
	l.add(sluice.ServerJoined{Server: "s2", Address: "s2:1"})
	refused(l.MayRemove("s1"), "")
	l.add(sluice.ServerRemoved{Server: "s1", By: "ann"})
	refused(l.MayInvite("s1", ""), "")
	refused(l.MayRemove("s1"), sluice.NotFound)
	l.add(sluice.ServerRemoved{Server: "s2"}, sluice.ServerJoined{Server: "s1", Address: "s1:2"}) // founded anew
	l.has("s1@s1:2")
	if err := l.Apply(sluice.Event{Seq: l.Seq() + 2, Body: sluice.ServerRemoved{Server: "s2"}}); err == nil {
		t.Error("an event is left out")
	}
}

func TestServerNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, s := range []string{"s1", "web-1.example.com", "1", "10.0.0.1", long} {
		if n, err := sluice.ParseServerName(s); err != nil || string(n) != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "S1", "a_b", ".a", "a.", "a..b", "-a", "a-", "a.-b", "a-.b", "a b", "a\n", "ä", long + "a"} {
		if n, err := sluice.ParseServerName(s); sluice.CodeOf(err) != sluice.Usage || n != "" {
			t.Errorf("%q: %v", s, err)
		}
	}
}
