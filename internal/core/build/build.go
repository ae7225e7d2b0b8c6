// Package build says what a build is made of: what app.yaml asks for, what a checkout is at, under which version and target
// the result is kept, which files go into the archive, and what is told to the forge.
//
// It is values in and values out, and knows nothing of files, git, processes and repositories.
package build

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Spec is the section build of app.yaml. Each part is a line for the shell; "" where there is nothing to do.
type Spec struct {
	Build, Test string
	Bundle      Bundle
	File        string // the artifact's file; its end says how it is packed
	Env         map[string]string
	Timeouts    Timeouts
	Bundles     []Dependency
	Status      *Status
}

// Timeouts bound each part.
type Timeouts struct{ Build, Test, Bundle time.Duration }

// DefaultTimeout is for a part of which nothing is said.
const DefaultTimeout = time.Hour

// Bundle says what goes into the archive: a directory of the checkout, perhaps one that a script leaves, and what of it.
type Bundle struct {
	Run              string
	Dir              string // relative to the checkout; "" is the checkout itself
	Include, Exclude []string
}

// Dependency is a directory that depends on nothing but a few files, such as a virtualenv on its list of requirements: it is
// made once, and shared by builds.
type Dependency struct {
	Name     string
	KeyedBy  []string // files of the checkout
	Make     string   // a line for the shell
	Dir      string   // what it leaves, relative to the checkout
	Platform string   // "auto", "any", or a text
	Timeout  time.Duration
}

// Platforms that are words of ours.
const (
	AutoPlatform = "auto" // that of the machine
	AnyPlatform  = "any"  // it is the same everywhere
)

// Checkout is what git says of the directory that is built.
type Checkout struct {
	Commit  string // the full id
	Branch  string // "" where none is checked out
	Tags    []string
	Author  string
	Subject string
	// Authored and Committed are when the change was written, and when it became this commit.
	Authored, Committed time.Time
	// Changed are paths that differ from the commit, Added those that it does not know and is not told to ignore. They begin at
	// the top of the repository; Prefix is where the directory is in it, "" or with a slash at its end.
	Changed, Added []string
	Prefix         string
}

// Without leaves files below a directory out that git does not know: those of dependency bundles are ours.
func (c Checkout) Without(dir string) Checkout {
	c.Added = slices.DeleteFunc(slices.Clone(c.Added), func(p string) bool { return strings.HasPrefix(p, c.Prefix+dir+"/") })
	return c
}

// Dirty are the paths that are not as the commit has them.
func (c Checkout) Dirty() []string { return append(append([]string(nil), c.Changed...), c.Added...) }

// second is how times stand in versions: to the second, in an order that sorts.
const second = "20060102-150405"

var tagged = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$`)

// Version is what a build is called where nobody says: the tag of the commit, if it has just one, else when it was committed
// and the beginning of its id, so that the same commit is the same version wherever it is built. What is not the commit's
// alone has the time of the build behind it.
func Version(c Checkout, now time.Time) string {
	v := c.Committed.UTC().Format(second) + "-" + c.Commit[:min(len(c.Commit), 12)]
	if len(c.Tags) == 1 && tagged.MatchString(c.Tags[0]) && c.Tags[0] != sluice.LatestVersion {
		v = c.Tags[0]
	}
	if len(c.Dirty()) > 0 {
		v += "+dirty." + now.UTC().Format(second)
	}
	return v
}

// mainlines are branches whose target is the default one.
var mainlines = map[string]bool{"main": true, "master": true, "trunk": true}

// Target is under which branch a build is kept where nobody says.
func Target(c Checkout) (string, error) {
	switch {
	case c.Branch == "":
		return "", sluice.Errorf(sluice.Usage, "no branch is checked out, so it is not known for which target this is").
			WithHint("--target %s, or the name of another branch", sluice.DefaultTarget)
	case mainlines[c.Branch]:
		return sluice.DefaultTarget, nil
	}
	return strings.ReplaceAll(c.Branch, "/", "-"), nil
}

// Clean refuses what is not as the commit has it.
func Clean(c Checkout) error {
	dirty := c.Dirty()
	if len(dirty) == 0 {
		return nil
	}
	return sluice.Errorf(sluice.Conflict, "the checkout is not what commit %s is: %s", short(c.Commit), few(dirty)).
		WithHint("commit it, have git ignore it, or --dirty, which says so in the version")
}

// Same says why what was built is not the commit that the build began with. Files that git does not know may have come: they
// are what a build makes.
func Same(before, after Checkout, dirty bool) error {
	switch {
	case before.Commit != after.Commit:
		return sluice.Errorf(sluice.Conflict, "somebody checked out %s while %s was built, so the archive may be of both", short(after.Commit), short(before.Commit)).
			WithHint("build again")
	case len(after.Changed) > 0 && !dirty:
		return sluice.Errorf(sluice.Conflict, "files of the commit were changed while it was built: %s", few(after.Changed)).
			WithHint("have the scripts write files that git ignores, or --dirty")
	}
	return nil
}

func short(commit string) string { return commit[:min(len(commit), 12)] }

func few(names []string) string {
	const most = 5
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// Takes says whether a file of the bundle's directory goes into the archive. What git keeps for itself never does.
func (b Bundle) Takes(file string) bool {
	in := len(b.Include) == 0
	for _, p := range b.Include {
		in = in || Matches(p, file)
	}
	return in && !b.LeavesOut(file)
}

// LeavesOut says that neither a path nor what is below it goes into the archive.
func (b Bundle) LeavesOut(file string) bool {
	if path.Base(file) == ".git" || strings.HasPrefix(file, ".git/") || strings.Contains(file, "/.git/") {
		return true
	}
	for _, p := range b.Exclude {
		if Matches(p, file) {
			return true
		}
	}
	return false
}

// Matches says whether a pattern is that of a path or of a directory above it. In a pattern ** stands for any number of
// directories, and the rest is as in [path.Match].
func Matches(pattern, file string) bool {
	names := strings.Split(file, "/")
	parts := strings.Split(pattern, "/")
	// at[i] says that the first i parts of the pattern are used up by the names so far.
	at := make([]bool, len(parts)+1)
	at[0] = true
	for i := 0; i < len(parts) && parts[i] == "**"; i++ {
		at[i+1] = true
	}
	for _, name := range names {
		next := make([]bool, len(parts)+1)
		for i, part := range parts {
			if part == "**" {
				next[i] = next[i] || at[i]
			} else if ok, err := path.Match(part, name); at[i] && ok && err == nil {
				next[i+1] = true
			}
		}
		for i, part := range parts { // ** may stand for nothing
			next[i+1] = next[i+1] || part == "**" && next[i]
		}
		if at = next; at[len(parts)] {
			return true
		}
	}
	return false
}

// CheckPattern says what is wrong with a pattern.
func CheckPattern(p string) error {
	for part := range strings.SplitSeq(p, "/") {
		if _, err := path.Match(part, ""); err != nil || part == "" || part == "." || part == ".." {
			return fmt.Errorf("%.100q is no pattern for paths of the checkout, such as app/** or **/*.pyc", p)
		}
		if strings.Contains(part, "**") && part != "**" {
			return fmt.Errorf("in %.100q ** stands for directories, so it stands alone between slashes", p)
		}
	}
	return nil
}
