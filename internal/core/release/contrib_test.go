package release_test

import (
	"os"
	"testing"
	"time"
)

// Old pages find their assets, for as long as they may.
func TestKeepAssets(t *testing.T) {
	text, err := os.ReadFile("../../../contrib/hooks/keep-assets")
	if err != nil {
		t.Fatal(err)
	}
	eachShell(t, func(t *testing.T, m *machine) {
		app := func(assets ...string) map[string]string {
			files := map[string]string{"*deploy/hooks/prepare.d/50-keep-assets": string(text)}
			for _, a := range assets {
				files["static/"+a] = a
			}
			return files
		}
		m.want(0, m.wish("1", m.tree(app("all", "js/a 1.js", "old.css"))))
		long := time.Now().AddDate(0, 0, -40)
		if err := os.Chtimes(m.file("versions/1/static/old.css"), long, long); err != nil {
			t.Fatal(err)
		}
		m.want(0, m.wish("2", m.tree(app("all", "a-2.js"))))
		m.want(0, m.wish("3", m.tree(app("all", "a-3.js"))))
		for name, want := range map[string]bool{"all": true, "js/a 1.js": true, "a-2.js": true, "a-3.js": true, "old.css": false} {
			if b, err := os.ReadFile(m.file("live/static", name)); (err == nil) != want || want && string(b) != name {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
	})
}
