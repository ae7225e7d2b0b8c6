package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/fleet"
)

func TestComplete(t *testing.T) {
	l := mustLoad(t, one(before))
	for _, c := range []struct{ text, words, instead string }{
		{"$ca", "$canary:1", "$ca"},
		{"@app", "@app:6 @app.web:4 @app.db:2", "@app"},
		{"$web & !$ol", "$old:1", "$ol"},
		{"web0", "web01:1 web02:1 web03:1", "web0"},
		{"($app.db, o", "$old:1 old1:1", "o"},
		{"web[01-", "", "web[01-"},
		{"nothing is like this", "", "this"},
		{"web01 ", "$app:6 $app.web:4 $app.db:2", ""},
	} {
		words, instead, more := l.Complete(c.text, 3)
		var got []string
		for _, w := range words {
			got = append(got, fmt.Sprintf("%s:%d", w.Text, w.Hosts))
		}
		if strings.Join(got, " ") != c.words || instead != c.instead {
			t.Errorf("%q: %v in place of %q, want %s", c.text, got, instead, c.words)
		}
		if more && len(words) != 3 {
			t.Errorf("%q: more than %v", c.text, got)
		}
	}
}

// TestWordsResolve: every word that is offered means the hosts that it is said to mean.
func TestWordsResolve(t *testing.T) {
	l := mustLoad(t, one(before))
	words, _, more := l.Complete("", 100)
	if len(words) != 5+7 || more {
		t.Fatalf("%v", words)
	}
	for _, w := range words {
		hosts, err := l.Resolve(w.Text)
		if err != nil || len(hosts) != w.Hosts {
			t.Errorf("%s: %v, error %v; said %d", w.Text, hosts, err, w.Hosts)
		}
	}
}

func TestStand(t *testing.T) {
	f := mustLoad(t, one(before)).Fleet()
	got := fleet.Stand(f, []sluice.Host{"db1", "web01"})
	if fmt.Sprint(got[0]) != "{db1 [app app.db] [$app.db] [rollout: $app.db] {deploy 0  [] []  }}" ||
		fmt.Sprint(got[1]) != "{web01 [app app.web canary] [$app.web] [rollout: $canary rollout: $app.web] {web 0  [] []  }}" {
		t.Errorf("%v", got)
	}
}

// TestFoldSome: what is left of a long list still means hosts of it, and says how many it left out.
func TestFoldSome(t *testing.T) {
	var hosts []sluice.Host
	for i := range 1000 {
		hosts = append(hosts, sluice.Host(fmt.Sprintf("%x.host%d", i*7919%1000, i%3)))
	}
	text, more := fleet.FoldSome(hosts, 200)
	back, err := fleet.Expand(text)
	if err != nil || len(text) > 200 || len(back)+more != len(hosts) || more == 0 {
		t.Fatalf("%q, %d more, error %v", text, more, err)
	}
	for _, h := range back {
		if !slices.Contains(hosts, h) {
			t.Errorf("%s is none of them", h)
		}
	}
	if text, more := fleet.FoldSome([]sluice.Host{"web1", "web2"}, 20); text != "web[1-2]" || more != 0 {
		t.Errorf("%q, %d more", text, more)
	}
	if text, more := fleet.FoldSome(nil, 20); text != "" || more != 0 {
		t.Errorf("%q, %d more", text, more)
	}
}
