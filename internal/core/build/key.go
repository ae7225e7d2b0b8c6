package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/artifact"
)

// File is a file that a dependency bundle depends on.
type File struct {
	Path   string
	SHA256 string // of its content, in hexadecimal
}

// Key is under which version a bundle is kept: what it depends on, and nothing else, makes it. Two builds that agree in all of it
// share the bundle.
func Key(d Dependency, platform string, env map[string]string, files []File) string {
	sum := sha256.New()
	line := func(words ...any) { fmt.Fprintf(sum, "%q\n", words) }
	line("bundle", 1) // raised when a bundle means something else
	line("platform", platform)
	line("make", d.Make, d.Dir)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		line("env", k, env[k])
	}
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Path, b.Path) }) {
		line("file", f.Path, f.SHA256)
	}
	return hex.EncodeToString(sum.Sum(nil))[:40]
}

// Program is the file of the checkout that a shell line begins with, such as ./scripts/venv.sh; "" where it begins with another
// word. A bundle depends on it, too.
func Program(line string) string {
	words := strings.Fields(line)
	if len(words) == 0 || strings.ContainsAny(words[0], `'"\$;&|<>()`+"`") {
		return ""
	}
	name := strings.TrimPrefix(words[0], "./")
	if !strings.Contains(words[0], "/") || strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..") {
		return ""
	}
	return name
}

var unlike = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// Platform is what a bundle is made for. release are the lines of /etc/os-release: the distribution and its version say which
// libraries there are.
func Platform(system, machine string, release string) string {
	said := map[string]string{}
	for line := range strings.Lines(release) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			said[k] = strings.Trim(v, `"'`)
		}
	}
	words := []string{system, machine}
	for _, w := range []string{said["ID"], said["VERSION_ID"]} {
		if w = unlike.ReplaceAllString(w, "-"); w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, "-")
}

// At is where a bundle is kept: beside the app's branches.
func (d Dependency) At(app, platform, key string) sluice.ArtifactName {
	return sluice.ArtifactName{App: app, Target: artifact.BundleTarget, File: d.Name + ".tar.gz", Version: unlike.ReplaceAllString(platform, "-") + "-" + key}
}
