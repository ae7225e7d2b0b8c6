package sluice_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

// accessBodies and clusterBodies have one event of every type of [sluice.AccessNamespace], with every field set.
func accessBodies() []sluice.Body {
	grant := sluice.Grant{Principal: "ann@example.org", Role: "deployer", Namespace: "prod", Tags: []sluice.Tag{"app.web", "env.prod"}}
	token := sluice.Token{ID: "k3v9x2m4qp", Principal: "ann@example.org", Digest: strings.Repeat("0f", 32), Label: "nightly <build>",
		Expires: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), Only: []sluice.Right{sluice.SeeJobs, sluice.SubmitJob}, Namespace: "prod", Parent: "p0000000aa", Lasting: true}
	return []sluice.Body{
		sluice.PrincipalAdded{Principal: "ann@example.org", Again: true, By: "root"},
		sluice.PrincipalRemoved{Principal: "bob", By: "root"},
		sluice.RoleDefined{Role: "deployer", May: []sluice.Right{sluice.SeeJobs, sluice.SubmitJob}, By: "root"},
		sluice.GrantGiven{Grant: grant, By: "root"},
		sluice.GrantTaken{Grant: grant, By: "root"},
		sluice.TokenMade{Token: token, By: "root"},
		sluice.TokenRevoked{ID: token.ID, Made: true, By: "root"},
		sluice.AccessNoted{Principal: "ann@example.org", Token: token.ID, Right: sluice.SeeOutput, Namespace: "prod", What: "GET /api/v1/jobs/0123456789ab/output",
			Refused: "no grant allows it", From: "192.0.2.7:4711", Times: 3},
		sluice.ServerRestored{Epoch: 1, Backup: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Heads: aHead(), By: "root@server"},
		sluice.LogRepaired{Epoch: 2, Heads: aHead(), Seen: aHead(), Reason: "a disk was lost", By: "root"},
		sluice.WorkerInvited{Worker: "w1", Pools: []sluice.Pool{"default", "dmz"}, Digest: strings.Repeat("0f", 32),
			Expires: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), By: "root"},
		sluice.WorkerEnrolled{Worker: "w1", Serial: "1f", Expires: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), SealKey: []byte{1, 2, 3}, From: "192.0.2.8:4711"},
		sluice.WorkerRenewed{Worker: "w1", Serial: "2f", Expires: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)},
		sluice.WorkerDrained{Worker: "w1", Off: true, By: "root"},
		sluice.WorkerRemoved{Worker: "w1", By: "root"},
	}
}

func clusterBodies() []sluice.Body {
	return []sluice.Body{
		sluice.ServerInvited{Server: "s4.example.com", Replaces: "s2", Digest: strings.Repeat("0f", 32), Expires: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), By: "root"},
		sluice.ServerJoined{Server: "s4.example.com", Address: "s4.example.com:7659", From: "192.0.2.8:4711"},
		sluice.ServerRemoved{Server: "s2", By: "root", Reason: "replaced by s4.example.com"},
	}
}

func aHead() []sluice.Head {
	return []sluice.Head{{Namespace: "prod", Seq: 120, Hash: sluice.ChainHash{0xab, 31: 0xcd}}}
}

// What these events say comes back from what is written, whichever fields are set, and nothing in them can be taken for a
// field of the header.
func TestEventsOfAccessComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(what string) string { return rapid.OneOf(rapid.Just(""), rapid.String()).Draw(t, what) }
		rights := rapid.Custom(func(t *rapid.T) []sluice.Right {
			out := rapid.SliceOf(rapid.SampledFrom(sluice.Rights())).Draw(t, "rights")
			if len(out) == 0 {
				return nil
			}
			return out
		})
		grant := sluice.Grant{Principal: sluice.Principal(text("principal")), Role: sluice.Role(text("role")), Namespace: sluice.Namespace(text("namespace"))}
		if tag := text("tag"); tag != "" {
			grant.Tags = []sluice.Tag{sluice.Tag(tag)}
		}
		by := sluice.Principal(text("by"))
		token := sluice.Token{ID: sluice.TokenID(text("id")), Principal: grant.Principal, Digest: text("digest"), Label: text("label"),
			Only: rights.Draw(t, "only"), Namespace: grant.Namespace,
			Parent: sluice.TokenID(text("parent")), Lasting: rapid.Bool().Draw(t, "lasting")}
		if rapid.Bool().Draw(t, "ends") {
			token.Expires = time.Unix(rapid.Int64Range(0, 1<<36).Draw(t, "second"), rapid.Int64Range(0, 999999999).Draw(t, "nanosecond")).UTC()
		}
		b := rapid.SampledFrom([]sluice.Body{
			sluice.PrincipalAdded{Principal: grant.Principal, Again: len(by) > 1, By: by}, sluice.PrincipalRemoved{Principal: grant.Principal, By: by},
			sluice.RoleDefined{Role: grant.Role, May: rights.Draw(t, "may"), By: by}, sluice.GrantGiven{Grant: grant, By: by},
			sluice.GrantTaken{Grant: grant, By: by}, sluice.TokenMade{Token: token, By: by}, sluice.TokenRevoked{ID: token.ID, By: by},
			sluice.AccessNoted{Principal: by, Token: token.ID, Right: sluice.Right(text("right")), Namespace: grant.Namespace, What: text("what"),
				Refused: text("refused"), From: text("from"), Times: rapid.IntRange(0, 9).Draw(t, "times")},
		}).Draw(t, "body")
		want := sluice.Event{Seq: rapid.Uint64().Draw(t, "seq"), Time: time.Unix(1e9, 7).UTC(), Body: b}
		line, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got sluice.Event
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nis read as\n%+v\nwant\n%+v", line, got, want)
		}
	})
}

func TestNamesOfPrincipals(t *testing.T) {
	for name, want := range map[string]bool{"ann": true, "ann@example.org": true, "7of9": true, "CI-bot_2+x": true, strings.Repeat("a", 64): true,
		"": false, ".access": false, "-x": false, "@": false, "a b": false, "ann\n": false, "a/b": false, "ä": false, "a\x00": false, "a,b": false,
		strings.Repeat("a", 65): false} {
		if _, err := sluice.ParsePrincipal(name); (err == nil) != want {
			t.Errorf("ParsePrincipal(%q): %v", name, err)
		}
		if _, err := sluice.ParseRole(name); (err == nil) != want {
			t.Errorf("ParseRole(%q): %v", name, err)
		}
	}
}

func TestReservedNamespaces(t *testing.T) {
	for ns, want := range map[sluice.Namespace]bool{sluice.AccessNamespace: true, "access": false, "": false, "prod": false} {
		if ns.Reserved() != want {
			t.Errorf("%q: %v", ns, !want)
		}
	}
}

func FuzzParsePrincipal(f *testing.F) {
	for _, s := range []string{"ann", "ann@example.org", "", "-x", "a\n", "\xff", strings.Repeat("a", 65), "a b", "..", "$x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		good := len(s) > 0 && len(s) <= 64 && strings.Trim(s, letters+"._@+-") == "" && strings.Contains(letters, s[:1])
		for i := range len(s) {
			good = good && strings.IndexByte(letters+"._@+-", s[i]) >= 0
		}
		p, err := sluice.ParsePrincipal(s)
		if (err == nil) != good || err == nil && string(p) != s || err != nil && (p != "" || sluice.CodeOf(err) != sluice.Usage) {
			t.Errorf("%q: %q, %v", s, p, err)
		}
	})
}

func FuzzParseRight(f *testing.F) {
	for _, r := range sluice.Rights() {
		f.Add(string(r))
	}
	for _, s := range []string{"", "job", "job.*", "JOB.SEE", "job.see ", "job.see\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := sluice.ParseRight(s)
		if good := slices.Contains(sluice.Rights(), sluice.Right(s)); (err == nil) != good || err == nil && string(r) != s || err != nil && r != "" {
			t.Errorf("%q: %q, %v", s, r, err)
		}
	})
}

func TestTokensShowNoDigest(t *testing.T) {
	for _, b := range append(accessBodies(), clusterBodies()...) {
		if made, ok := b.(sluice.TokenMade); ok {
			if text := fmt.Sprint(made.Token) + fmt.Sprintf("%v %s", made.Token, made.Token); strings.Contains(text, made.Digest) {
				t.Errorf("it shows: %s", text)
			}
		}
	}
}
