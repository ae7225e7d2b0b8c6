package live

import (
	"fmt"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/release"
)

// changed has every kind of change, and what would steer a terminal.
func changed() release.Changes {
	var hosts []sluice.Host
	for i := range 1000 {
		hosts = append(hosts, sluice.Host(fmt.Sprintf("web%d", i+1)))
	}
	return release.Changes{
		Files: []release.FileChange{
			{Path: "deploy/configuration.json", Kind: release.FileChanged, Hosts: hosts, Sealed: []string{"db.password", "db.pin"}, Added: 2, Removed: 2,
				Diff: "@@ -1,4 +1,4 @@\n db:\n-  password: sealed (age, 0a1b2c3d)\n-  port: 5432\n+  password: sealed (age, 4e5f6a7b)\n+  port: 5433\n name: \"größer\""},
			{Path: "deploy/etc/app.ini", Kind: release.FileChanged, Hosts: hosts[:2], Mode: "0640", ModeWas: "0644", OwnerWas: ":", Owner: "www-data:", Outside: "/etc/app.ini",
				Sealed: []string{"db.password"}, Added: 1, Removed: 1, Diff: "@@ -1 +1,2 @@\n-\x1b[31mred\x1b[2J\r\n+\u202eback\ttab\n\\ No newline at end of file"},
			{Path: "deploy/etc/app.ini", Kind: release.FileChanged, Hosts: hosts[2:3], Added: 900, Removed: 0, Diff: "@@ -1 +1,901 @@\n-a\n+b", Left: 899},
			{Path: "deploy/gone", Kind: release.FileGone, Hosts: hosts, OutsideWas: "/etc/\x1b[7mgone", Removed: 1, Note: "the artifact has a file there now, which is not compared", Diff: "@@ -1 +0,0 @@\n-x"},
			{Path: "deploy/new", Kind: release.FileNew, Hosts: hosts[:1], Mode: "0600", Added: 1, Diff: "@@ -0,0 +1 @@\n+x"},
		},
		More:    []release.MoreChanges{{Path: "deploy/etc/app.ini", Changes: 12, Hosts: 14}},
		Same:    hosts[990:995],
		Unknown: []release.NotCompared{{Hosts: hosts[995:], Reason: "it is not known what is live there: an attempt is running\x1b[1m (job k3v9q2m7x1ab)"}},
	}
}

func TestChanges(t *testing.T) {
	for name, s := range map[string]Screen{"80": {Width: 80, Unicode: true}, "colour": {Width: 120, Unicode: true, Color: true}, "ascii": {Width: 100}} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := Changes(&b, changed(), s); err != nil {
				t.Fatal(err)
			}
			golden(t, "changes/"+name+".txt", b.String())
			if !s.Color && strings.Contains(b.String(), "\x1b") || strings.ContainsAny(b.String(), "\r\u202e") {
				t.Error("something steers the terminal")
			}
		})
	}
}
