package release

import (
	_ "embed"
	"errors"
	"fmt"
	"path"
	"strings"

	"sluice"
	"sluice/internal/core/target"
)

//go:embed ask.sh
var ask string

// Ask is a question to hosts: what is live of an app there? It is asked by a job that only reads.
type Ask struct {
	App, Env string   // Env "" for all
	Roots    []string // where the app is on the hosts; each says what is in all of them
}

// mostRoots bounds the roots of a question: an app has one, and another one where that was changed once.
const mostRoots = 100

// Check refuses what cannot be asked.
func (a *Ask) Check() error {
	if !plainName(a.App) || a.Env != "" && !plainName(a.Env) {
		return fmt.Errorf("%q and %q cannot name an app and an environment", a.App, a.Env)
	}
	if len(a.Roots) == 0 || len(a.Roots) > mostRoots {
		return fmt.Errorf("%d roots: expected 1 to %d", len(a.Roots), mostRoots)
	}
	for _, r := range a.Roots {
		if !validRoot(r) {
			return fmt.Errorf("the root %q of the app is no clean absolute path", r)
		}
	}
	return nil
}

// Action is the command that asks.
func (a *Ask) Action() sluice.Action {
	return sluice.Action{Kind: sluice.RunCommand, Shell: "set -- " + target.Quote(a.Roots...) + "\n" + target.Shrink(ask)}
}

// Told says in one line what the job does.
func (a *Ask) Told() string {
	if a.Env == "" {
		return "ask what is live of " + a.App
	}
	return fmt.Sprintf("ask what is live of %s in %s", a.App, a.Env)
}

// Seen is what a host said of a root when it was asked.
type Seen struct {
	report Report
	unseen string // what the user who asked may not see
}

// ReadSeen reads what a host answered, by root.
func ReadSeen(text string) (map[string]*Seen, error) {
	out := map[string]*Seen{}
	var at *Seen
	for l := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		var err error
		switch {
		case word == "root":
			if at != nil && !at.report.whole {
				return nil, errNotAll
			}
			at = &Seen{}
			out[rest] = at
		case at == nil || at.report.whole:
			err = fmt.Errorf("what the host says of itself cannot be read: %.200q", l)
		case word == "unseen":
			at.unseen = rest
		default:
			err = at.report.Take(word, rest)
		}
		if err != nil {
			return nil, err
		}
	}
	if at == nil || !at.report.whole {
		return nil, errNotAll
	}
	return out, nil
}

var errNotAll = errors.New("the host did not say all of what is on it")

// Link is where live leads, as it stands on the host; "" without one.
func (s *Seen) Link() string { return s.report.Live }

// Against holds what is live against what is on record. Where it cannot be told whether it is the same, unseen says why.
func (s *Seen) Against(was sluice.Installed) (is sluice.Installed, same bool, unseen string) {
	r := &s.report
	if r.Live == "" {
		if s.unseen != "" {
			return is, false, s.may()
		}
		return is, len(r.Ways) == 0 && was == is, ""
	}
	name := strings.TrimPrefix(r.Live, "versions/")
	is = r.installed(name)
	if s.unseen == "" || is.Manifest != "" {
		return is, is == was, ""
	}
	if name != r.Live && validTree(name) {
		is.Version, _, _ = strings.Cut(name, "~") // so directories are named
	}
	if is.Version == was.Version {
		return is, false, "the version has that name, but whether it is the same cannot be told: " + s.may()
	}
	return is, false, ""
}

func (s *Seen) may() string {
	return s.unseen + " may not be looked into by who asked; --sudo may help"
}

// Way is what stands where the link should be; "" for nothing.
func (s *Seen) Way() string { return strings.Join(s.report.Ways, "; ") }

func validRoot(s string) bool { return path.IsAbs(s) && path.Clean(s) == s && s != "/" && !odd(s) }
