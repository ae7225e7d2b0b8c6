package fleet_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/fleet"
)

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"web":                      "web",
		"web[01-03]":               "web01 web02 web03",
		"web[1-3]":                 "web1 web2 web3",
		"web[8-11]":                "web8 web9 web10 web11",
		"web[08-11]":               "web08 web09 web10 web11",
		"web[098-101]":             "web098 web099 web100 web101",
		"web[98-101]":              "web98 web99 web100 web101",
		"n[a-c]":                   "na nb nc",
		"web[01-03,07]":            "web01 web02 web03 web07",
		"web[7,a]":                 "web7 weba",
		"host{7,8}":                "host7 host8",
		"{a,b}x":                   "ax bx",
		"web{,-standby}":           "web web-standby",
		"r{1,2}n[1-3]":             "r1n1 r1n2 r1n3 r2n1 r2n2 r2n3",
		"web[01-02].example.org":   "web01.example.org web02.example.org",
		"web1,db[1-2] , web1":      "web1 db1 db2",
		"10.0.[0-1].[9-10]":        "10.0.0.9 10.0.0.10 10.0.1.9 10.0.1.10",
		"\n a,\n b\n":              "a b",
		"x[000000000000000001-02]": "error 2",
		"web[01-":                  "error 7",
		"web[":                     "error 4",
		"web[1-2":                  "error 7",
		"web[1:2]":                 "error 5",
		"web[a-2]":                 "error 4",
		"web[a-Z]":                 "error 4",
		"web[]":                    "error 4",
		"web]":                     "error 3",
		"web{a":                    "error 5",
		"web{a[1-2]}":              "error 5",
		"a,,b":                     "error 2",
		"a,":                       "error 2",
		"":                         "error 0",
		"a b":                      "error 2",
		"web*":                     "error 0",
		"-a":                       "error 0",
		"a[1-1000001]":             "error 2",
		"a[1-1000][1-1001]":        "error 0",
		"a[99999999999999999999-999999999999999999999]": "error 2",
		strings.Repeat("a", 254):                        "error 0",
		"a[1-9]" + strings.Repeat("b", 252):             "error 0",
	} {
		hosts, err := fleet.Expand(pattern)
		got := join(hosts)
		var syntax *fleet.SyntaxError
		if errors.As(err, &syntax) {
			got = fmt.Sprintf("error %d", syntax.Offset)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q (%v)", pattern, got, want, err)
		}
	}
}

func join(hosts []sluice.Host) string {
	words := make([]string, len(hosts))
	for i, h := range hosts {
		words[i] = string(h)
	}
	return strings.Join(words, " ")
}

func TestSyntaxErrorShowsThePlace(t *testing.T) {
	_, err := fleet.Expand("db1,\n web[01-")
	want := "expected a number\n   web[01-\n          ^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestFold(t *testing.T) {
	for hosts, want := range map[string]string{
		"":                                       "",
		"web":                                    "web",
		"web1":                                   "web1",
		"web01 web02 web03 db1 db2":              "web[01-03],db[1-2]",
		"db1 web01 db2 web02":                    "db[1-2],web[01-02]",
		"web1 web3 web4 web9":                    "web[1,3-4,9]",
		"web3 web2 web1":                         "web[3,2,1]",
		"web8 web9 web10":                        "web[8-10]",
		"web08 web09 web10":                      "web[08-10]",
		"web99 web100":                           "web[99-100]",
		"web099 web100":                          "web[099-100]",
		"web1 web1":                              "web1",
		"10.0.0.1 10.0.0.2":                      "10.0.0.[1-2]",
		"web01.dc1.org web02.dc1.org":            "web[01-02].dc1.org",
		"r1n1 r1n2 r2n1 r2n2":                    "r1n[1-2],r2n[1-2]",
		"a0 a00 a1 a01":                          "a[0,00,1,01]",
		"a alone b":                              "a,alone,b",
		"x1234567890123456789 x1234567890123456": "x1234567890123456789,x1234567890123456",
	} {
		var list []sluice.Host
		for _, h := range strings.Fields(hosts) {
			list = append(list, sluice.Host(h))
		}
		if got := fleet.Fold(list); got != want {
			t.Errorf("%s: got %s, want %s", hosts, got, want)
		}
	}
}

// hostNames draws names that often share everything but a number.
func hostNames() *rapid.Generator[[]sluice.Host] {
	name := rapid.OneOf(
		rapid.StringMatching(`(web|db|r[0-9]n)[0-9]{1,3}(\.(north|s1))?`),
		rapid.StringMatching(`[a-z0-9_][a-z0-9._-]{0,6}`),
		rapid.StringMatching(`h[089]{1,3}`),
	)
	return rapid.Custom(func(t *rapid.T) []sluice.Host {
		var out []sluice.Host
		for _, n := range rapid.SliceOfN(name, 0, 40).Draw(t, "names") {
			out = append(out, sluice.Host(n))
		}
		return out
	})
}

func TestFoldIsUndoneByExpand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := hostNames().Draw(t, "hosts")
		folded := fleet.Fold(hosts)
		if len(hosts) == 0 {
			if folded != "" {
				t.Fatalf("nothing folds to %q", folded)
			}
			return
		}
		again, err := fleet.Expand(folded)
		if err != nil {
			t.Fatalf("%s: %v", folded, err)
		}
		if !slices.Equal(sortedSet(again), sortedSet(hosts)) {
			t.Fatalf("%s expands to %v, not %v", folded, again, hosts)
		}
	})
}

func sortedSet(hosts []sluice.Host) []sluice.Host {
	hosts = slices.Clone(hosts)
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func FuzzGlob(f *testing.F) {
	for _, s := range []string{"web[01-20]", "{a,b}x[1-3]", "a,b", "n[a-c].x", "web[", "r{1,2}n[1-3,7]", "x[01-007]", "a*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		hosts, err := fleet.Expand(pattern)
		var syntax *fleet.SyntaxError
		if errors.As(err, &syntax) {
			if syntax.Offset < 0 || syntax.Offset > len(pattern) || err.Error() == "" {
				t.Fatalf("offset %d in %q", syntax.Offset, pattern)
			}
			return
		}
		if err != nil || len(hosts) == 0 || len(hosts) > fleet.MaxHosts {
			t.Fatalf("%q: %d hosts, %v", pattern, len(hosts), err)
		}
		for _, h := range hosts {
			if !sluice.ValidHost(string(h)) {
				t.Fatalf("%q names %q", pattern, h)
			}
		}
		if len(hosts) > 1000 {
			return
		}
		again, err := fleet.Expand(fleet.Fold(hosts))
		if err != nil || !slices.Equal(sortedSet(again), sortedSet(hosts)) {
			t.Fatalf("%q: %v folds to %q, which is %v (%v)", pattern, hosts, fleet.Fold(hosts), again, err)
		}
	})
}
