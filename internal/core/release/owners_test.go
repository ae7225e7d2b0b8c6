package release_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice"
	"sluice/internal/core/manifest"
	"sluice/internal/core/release"
)

// TestFilesOfOthersNeedRoot: a user who is not root can give files to nobody else, and finds that out before anything is sent.
func TestFilesOfOthersNeedRoot(t *testing.T) {
	for name, c := range map[string]struct {
		self        int
		user, group string
		why         string
	}{
		"root gives to a user":              {0, "www-data", "", ""},
		"root gives to a group":             {0, "", "adm", ""},
		"a user gives to another":           {1000, "www-data", "", "a file cannot be given to www-data by a user who is not root; --sudo may help"},
		"a user keeps his own":              {1000, "me", "", ""},
		"a user gives to a group":           {1000, "", "adm", "a file cannot be given to the group adm by a user who is not root; --sudo may help"},
		"a user of whom nothing is known":   {0, "nobody", "", "the host did not say who the user nobody is"},
		"a group of which nothing is known": {0, "", "nogroup", "the host did not say which group nogroup is"},
		"nobody gets anything":              {1000, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := manifest.New([]manifest.Entry{{Path: "a", Kind: manifest.File, Mode: 0o640, Size: 1, SHA256: sum("1"), User: c.user, Group: c.group}})
			if err != nil {
				t.Fatal(err)
			}
			w := release.Wish{Kind: sluice.DeployTo, Namespace: "default", Attempt: "a1", Tree: tree, Release: &sluice.Release{App: "shop", Env: "prod", Version: "1",
				Artifact: "sha256:" + sum("a"), Manifest: "sha256:" + sum("m"), Deploy: sluice.Deploy{Root: "/srv/shop", Keep: 2}}}
			r := &release.Report{}
			for _, line := range []string{fmt.Sprintf("self %d %[1]d %[1]d", c.self), "user www-data 33", "user me 1000", "group adm 4", "end"} {
				word, rest, _ := strings.Cut(line, " ")
				if err := r.Take(word, rest); err != nil {
					t.Fatal(err)
				}
			}
			switch _, err := release.Decide(w, r); {
			case c.why == "" && err != nil:
				t.Error(err)
			case c.why != "" && (err == nil || err.Error() != c.why):
				t.Errorf("%v; want %s", err, c.why)
			}
		})
	}
}
