package release_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/internal/core/release"
)

// TestConfigsGiveBackWhatWasFolded: each host has its own again, and no more are named than have to be.
func TestConfigsGiveBackWhatWasFolded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := map[sluice.Host][]byte{}
		var hosts []sluice.Host
		count := map[string]int{}
		for i := range rapid.IntRange(1, 12).Draw(t, "hosts") {
			h := sluice.Host(fmt.Sprintf("h%d", i))
			hosts, of[h] = append(hosts, h), fmt.Appendf(nil, `{"n":%d}`, rapid.IntRange(0, 3).Draw(t, "which"))
			count[string(of[h])]++
		}
		most := 0
		for _, n := range count {
			most = max(most, n)
		}
		text, err := release.CommonConfigs(hosts, of).Encode()
		if err != nil {
			t.Fatal(err)
		}
		c, err := release.ParseConfigs(text)
		if err != nil || len(c.Hosts) != len(hosts)-most {
			t.Fatalf("%+v, %v", c, err)
		}
		for _, h := range hosts {
			if !bytes.Equal(c.For(h), of[h]) {
				t.Fatalf("%s has %s, of %s", h, c.For(h), of[h])
			}
		}
	})
}

func TestConfigsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "{}", `{"common": }`, `{"hosts": {"a": {}}}`} {
		if c, err := release.ParseConfigs([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, c)
		}
	}
}
