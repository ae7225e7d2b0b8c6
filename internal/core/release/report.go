package release

import (
	"fmt"
	"strconv"
	"strings"

	"sluice"
)

// Report is what a host said about itself and an app on it.
type Report struct {
	Lacks []string // programs that are not there
	// Nobody are users and groups that the host does not know, such as "user shop".
	Nobody []string
	Gzip   bool // it has the program
	Self   int  // the user who looked
	// UID and GID will own the files, but those that belong to one of Users or Groups.
	UID, GID      int
	Users, Groups map[string]int
	// Free is what is free where the app is and where attempts are, in bytes; Mount says of which file system. Without
	// a mount it is not known.
	Free, PlaceFree   int64
	Mount, PlaceMount string
	Ways              []string // what is in the way, and why
	Owner             string   // to whom the root belongs: namespace/app/environment; "" for nobody
	Lock              string   // who is at work there, "" for nobody
	Live              string   // where the link live leads, as it stands; "" without one
	Intent            Intent
	Trees             []Tree
	Foreign           []string // directories of versions that we have not made
	whole             bool
}

// Tree is a version that was put on the host and is kept there.
type Tree struct {
	Name     string // of its directory
	Seq      int    // the higher, the later it was live; 0: never
	Good     bool   // a deploy of it or a rollback to it succeeded
	Damaged  bool
	Version  string
	Manifest string // digest of all its files
	Artifact string // digest of the manifest of the artifact's files
	Config   string
	UID, GID int // who owns its files
}

// Intent is the last swing that was meant.
type Intent struct {
	Attempt      sluice.AttemptID
	Before, Tree string // Before "" for none
}

// Whole reports whether the host said all that it had to say.
func (r *Report) Whole() bool { return r.whole }

// Take adds one line of the look. Root on the host could say anything, so nothing is believed that is not in its form.
func (r *Report) Take(word, rest string) error {
	f := strings.Fields(rest)
	var err error
	switch word {
	case "lacks":
		r.Lacks = append(r.Lacks, rest)
	case "has":
		r.Gzip = r.Gzip || rest == "gzip"
	case "nobody":
		r.Nobody = append(r.Nobody, rest)
	case "self":
		err = r.takeSelf(f)
	case "user":
		err = takeOwner(&r.Users, f)
	case "group":
		err = takeOwner(&r.Groups, f)
	case "free":
		err = r.takeFree(f)
	case "way":
		r.Ways = append(r.Ways, rest)
	case "owner":
		r.Owner = rest
	case "lock":
		r.Lock = rest
	case "live":
		r.Live = rest
	case "intent":
		err = r.takeIntent(f)
	case "tree":
		err = r.takeTree(f)
	case "foreign":
		r.Foreign = append(r.Foreign, rest)
	case "end":
		r.whole = true
	default:
		err = fmt.Errorf("the word %q is not known", word)
	}
	if err != nil {
		return fmt.Errorf("what the host says of itself cannot be read: %.20q %.200q: %w", word, rest, err)
	}
	return nil
}

func (r *Report) takeSelf(f []string) (err error) {
	if len(f) != 3 {
		return fmt.Errorf("%d words, expected 3", len(f))
	}
	for i, to := range []*int{&r.Self, &r.UID, &r.GID} {
		if f[i] == "-" {
			*to = -1
			continue
		}
		if *to, err = natural(f[i]); err != nil {
			return err
		}
	}
	return nil
}

// takeOwner reads "NAME NUMBER".
func takeOwner(to *map[string]int, f []string) error {
	if len(f) != 2 {
		return fmt.Errorf("%d words, expected 2", len(f))
	}
	n, err := natural(f[1])
	if err != nil {
		return err
	}
	if *to == nil {
		*to = map[string]int{}
	}
	(*to)[f[0]] = n
	return nil
}

func (r *Report) takeFree(f []string) error {
	if len(f) < 3 {
		return fmt.Errorf("%d words, expected 3", len(f))
	}
	kb, err := strconv.ParseInt(f[1], 10, 53)
	if err != nil {
		return err
	}
	bytes, mount := max(0, kb)<<10, strings.Join(f[2:], " ")
	switch f[0] {
	case "root":
		r.Free, r.Mount = bytes, mount
	case "place":
		r.PlaceFree, r.PlaceMount = bytes, mount
	}
	return nil
}

func (r *Report) takeIntent(f []string) error {
	if len(f) != 3 {
		return nil // it was cut by a power cut: nothing was meant
	}
	r.Intent = Intent{Attempt: sluice.AttemptID(f[0]), Before: unlessDash(f[1]), Tree: f[2]}
	return nil
}

// takeTree reads "NAME SEQ good|failed whole|damaged" and what [about] wrote.
func (r *Report) takeTree(f []string) (err error) {
	if len(f) != 10 {
		return fmt.Errorf("%d words, expected 10", len(f))
	}
	t := Tree{Name: f[0], Good: f[2] == "good", Damaged: f[3] != "whole", Version: f[4], Manifest: f[5], Artifact: unlessDash(f[6]), Config: unlessDash(f[7])}
	if !validTree(t.Name) || !ValidVersion(t.Version) {
		return fmt.Errorf("%q is no name of a version", t.Name)
	}
	if _, ok := bare(t.Manifest); !ok {
		return fmt.Errorf("%q is no digest", t.Manifest)
	}
	for i, to := range map[int]*int{1: &t.Seq, 8: &t.UID, 9: &t.GID} {
		if *to, err = natural(f[i]); err != nil {
			return err
		}
	}
	r.Trees = append(r.Trees, t)
	return nil
}

// about is the line of a tree's record, as the host keeps it.
func about(t Tree) string {
	return strings.Join([]string{t.Version, t.Manifest, orDash(t.Artifact), orDash(t.Config), strconv.Itoa(t.UID), strconv.Itoa(t.GID)}, " ") + "\n"
}

func natural(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func unlessDash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// live is the tree that is live, if we have put it there.
func (r *Report) live() (Tree, bool) {
	name, ok := strings.CutPrefix(r.Live, "versions/")
	if !ok {
		return Tree{}, false
	}
	return r.tree(name)
}

func (r *Report) tree(name string) (Tree, bool) {
	for _, t := range r.Trees {
		if t.Name == name {
			return t, true
		}
	}
	return Tree{}, false
}

// Activation is what the host proves at the end of an attempt: what is live, and what was before.
func (r *Report) Activation(app, env string, attempt sluice.AttemptID) *sluice.Activation {
	a := &sluice.Activation{App: app, Env: env, Live: r.installed(strings.TrimPrefix(r.Live, "versions/"))}
	a.Before = a.Live
	if r.Intent.Attempt == attempt {
		a.Before = r.installed(r.Intent.Before)
	}
	return a
}

func (r *Report) installed(name string) sluice.Installed {
	if t, ok := r.tree(name); ok {
		return sluice.Installed{Version: t.Version, Manifest: t.Manifest, Config: t.Config}
	}
	return sluice.Installed{Version: name}
}
