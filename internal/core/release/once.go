package release

import (
	"path"
	"strings"

	"sluice"
	"sluice/internal/core/manifest"
)

// OnceDir is where a version has the hooks that run once.
const OnceDir = "deploy/hooks/once.d"

// Once says where the hooks of a version run that run once: "" where it has none, or runs none. A version that has some and does not
// say where is refused: they would never run.
func Once(d sluice.Deploy, files manifest.Manifest) (string, error) {
	for _, e := range files {
		name := path.Base(e.Path)
		if path.Dir(e.Path) != OnceDir || e.Kind == manifest.Dir || e.Kind == manifest.File && e.Mode&0o111 == 0 || !only(name, "_-.") || strings.HasPrefix(name, ".") {
			continue
		}
		switch {
		case d.NoHooks:
			return "", nil
		case d.Once == "":
			return "", sluice.Errorf(sluice.Config, "the version has %s, and app.yaml does not say which host runs it", e.Path).
				WithHint("once: %s in its section deploy", sluice.OnceFirst)
		}
		return d.Once, nil
	}
	return "", nil
}
