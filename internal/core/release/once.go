package release

import (
	"path"
	"strings"

	"sluice"
	"sluice/internal/core/manifest"
)

// OnceDir is where a version has the hooks that run once before other hosts change, and AfterDir those that run once after all others.
const (
	OnceDir  = "deploy/hooks/once.d"
	AfterDir = "deploy/hooks/after.d"
)

// Once says where the hooks of a version run that run once: "" where it has none, or runs none. A version that has some and does not
// say where is refused: they would never run.
func Once(d sluice.Deploy, files manifest.Manifest) (string, error) {
	name := hookIn(OnceDir, files)
	switch {
	case name == "" || d.NoHooks:
		return "", nil
	case d.Once == "":
		return "", sluice.Errorf(sluice.Config, "the version has %s, and app.yaml does not say which host runs it", name).
			WithHint("once: %s in its section deploy", sluice.OnceFirst)
	}
	return d.Once, nil
}

// After says where the hooks of a version run that run once after all other hosts: "" where it has none, or runs none. Nobody waits for
// that host, so any will do where app.yaml does not say which.
func After(d sluice.Deploy, files manifest.Manifest) string {
	switch {
	case d.NoHooks || hookIn(AfterDir, files) == "":
		return ""
	case d.After == "":
		return sluice.AfterLast
	}
	return d.After
}

// hookIn is the first hook that a version has in a directory; "" for none.
func hookIn(dir string, files manifest.Manifest) string {
	for _, e := range files {
		name := path.Base(e.Path)
		if path.Dir(e.Path) == dir && e.Kind != manifest.Dir && (e.Kind != manifest.File || e.Mode&0o111 != 0) && only(name, "_-.") && !strings.HasPrefix(name, ".") {
			return e.Path
		}
	}
	return ""
}
