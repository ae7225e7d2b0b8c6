package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice"
)

// TestPlacesAreKept: in the order in which they are tried, and read as an earlier program wrote one.
func TestPlacesAreKept(t *testing.T) {
	p := &places{file: filepath.Join(t.TempDir(), "server"), list: []string{"a:1"}, trouble: func(err error) { t.Error(err) }}
	kept := func() string {
		text, err := os.ReadFile(p.file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(text)), " ")
	}
	p.leave()
	p.come("a:1")
	p.told([]string{"b:1", "a:1", "c:1"})
	p.serves()
	if got := kept(); got != "a:1 b:1 c:1" {
		t.Errorf("it keeps %q", got)
	}
	p.leave() // the line was good
	if got := p.all(); got[0] != "a:1" {
		t.Errorf("after a good line it tries %v", got)
	}
	p.come("b:1")
	p.leave() // it gave no lease
	if got := p.all(); !slices.Equal(got, []string{"a:1", "c:1", "b:1"}) {
		t.Errorf("after one that gave no lease it tries %v", got)
	}
	p.come("c:1")
	p.serves()
	if got := kept(); got != "c:1 a:1 b:1" {
		t.Errorf("it keeps %q", got)
	}
}

// TestTokenWithServers: one without any is the one that earlier workers read.
func TestTokenWithServers(t *testing.T) {
	pin := strings.Repeat("0f", 32)
	for _, servers := range [][]string{nil, {"a.example.com:7658", "[2001:db8::1]:7658"}} {
		text := enrolToken{"w1", 7658, "secret", pin, servers}.String()
		got, err := parseEnrolToken(text)
		if err != nil || got.name != "w1" || got.port != 7658 || got.secret != "secret" || got.pin != pin || !slices.Equal(got.servers, servers) {
			t.Errorf("%s is %+v, error %v", text, got, err)
		}
		if servers == nil && text != "sluicew.w1.7658.secret."+pin {
			t.Errorf("the token is %s", text)
		}
		for _, bad := range []string{text + ".", text + ".!", text + ".YQ", text + ".YTox.YTox"} {
			if _, err := parseEnrolToken(bad); sluice.CodeOf(err) != sluice.Usage || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", bad, err)
			}
		}
	}
}
