package sluice

import "strings"

// ArtifactName names one version of one file of an app: APP / TARGET / FILE / VERSION. The target is the branch that it was
// built of. Without a version it names the file, without a file the target, without a target the app; empty, all apps.
type ArtifactName struct {
	App     string `json:"app"`
	Target  string `json:"target,omitempty"`
	File    string `json:"file,omitempty"`
	Version string `json:"version,omitempty"`
}

const (
	// DefaultTarget is the target where nobody names one.
	DefaultTarget = "master"
	// LatestVersion is no version: under this name a file says which one is its latest.
	LatestVersion = "latest"

	maxArtifactPart = 128
)

// Parts are those that the name has, the app first.
func (n ArtifactName) Parts() []string {
	all := []string{n.App, n.Target, n.File, n.Version}
	for i, part := range all {
		if part == "" {
			return all[:i]
		}
	}
	return all
}

// Whole reports whether it names a version.
func (n ArtifactName) Whole() bool { return len(n.Parts()) == 4 }

func (n ArtifactName) String() string { return strings.Join(n.Parts(), "/") }

// Below returns the name with one more part.
func (n ArtifactName) Below(part string) ArtifactName {
	switch len(n.Parts()) {
	case 0:
		n.App = part
	case 1:
		n.Target = part
	case 2:
		n.File = part
	default:
		n.Version = part
	}
	return n
}

// Check says what is wrong with the name, as far as it goes. What it lets pass is never a path: in a directory and in a
// bucket it is the name of one thing.
func (n ArtifactName) Check() error {
	parts := n.Parts()
	for i, part := range []string{n.App, n.Target, n.File, n.Version} {
		what := [...]string{"app", "target", "file", "version"}[i]
		if part != "" && i >= len(parts) {
			return Errorf(Usage, "the name of an artifact has a %s and nothing before it", what)
		}
		if part == "" || artifactPart(part) {
			continue
		}
		e := Errorf(Usage, "%.140q cannot name this %s: letters, digits and . _ + - make one, the first is a letter or a digit, and there are at most %d",
			part, what, maxArtifactPart)
		if near := strings.NewReplacer("/", "-", " ", "-", ":", "-").Replace(part); artifactPart(near) {
			return e.WithHint("such as %s", near)
		}
		return e
	}
	return nil
}

func artifactPart(s string) bool {
	if len(s) > maxArtifactPart {
		return false
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case i > 0 && (r == '.' || r == '_' || r == '+' || r == '-'):
		default:
			return false
		}
	}
	return s != ""
}

// Content is content as its digest names it: "sha256:" and 64 hexadecimal digits.
type Content struct {
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}
