package release

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice"
	"sluice/internal/core/manifest"
)

// Wish is what shall happen on a host, as the job says it.
type Wish struct {
	Kind      sluice.ActionKind // [sluice.DeployTo] or [sluice.RollBack]
	Namespace sluice.Namespace
	Job       sluice.JobID
	Attempt   sluice.AttemptID
	By, Since string // who and when, for whoever finds the lock
	Release   *sluice.Release
	// Back is what the host goes back to (rollback), or must be able to go back to (deploy, nil for no matter).
	Back *sluice.Installed
	// Tree are all files of the version on this host, and Outside the links that lead there (deploy).
	Tree    manifest.Manifest
	Outside []Link
	// Once says that this host runs what the release runs once.
	Once bool
	// After says that this host runs what the release runs once, after all others.
	After bool
	// Wait says that somebody follows who drains the host and says when it is well.
	Wait bool
}

// Link is a symbolic link outside of the tree, through live, such as /etc/nginx/sites-enabled/shop.
type Link struct {
	Path string // absolute
	To   string // in the tree
}

// owner is to whom the root of an app belongs.
func (w Wish) owner() string {
	return fmt.Sprintf("%s/%s/%s", w.Namespace, w.Release.App, w.Release.Env)
}

// Check refuses what no host could take.
func (w Wish) Check() error {
	if err := Check(w.Kind, w.Release); err != nil {
		return err
	}
	if w.Kind == sluice.RollBack {
		if w.Back == nil {
			return errors.New("the job does not say what this host goes back to")
		}
		return nil
	}
	if err := w.Tree.Check(); err != nil {
		return fmt.Errorf("the version cannot be put on a host: %w", err)
	}
	seen := map[string]bool{}
	for _, l := range w.Outside {
		if err := checkOutside(l.Path, w.Release.Deploy.Root); err != nil {
			return err
		}
		switch {
		case seen[l.Path]:
			return fmt.Errorf("the link %q is there twice", l.Path)
		case !slices.ContainsFunc(w.Tree, func(e manifest.Entry) bool { return e.Path == l.To }):
			return fmt.Errorf("the link %q leads to %q, which is not in the version", l.Path, l.To)
		}
		seen[l.Path] = true
	}
	return nil
}

// Plan is what will be done on a host.
type Plan struct {
	wish   Wish
	report *Report
	tree   Tree // what is made live
	reuse  bool // it is there already
	remove []string
	seq    int
}

// Decide says what to do on a host that has reported, or why it cannot take the release. Nothing has been changed there.
func Decide(w Wish, r *Report) (*Plan, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := obstacle(w, r); err != nil {
		return nil, err
	}
	p := &Plan{wish: w, report: r, seq: 1}
	for _, t := range r.Trees {
		p.seq = max(p.seq, t.Seq+1)
	}
	var err error
	if w.Kind == sluice.RollBack {
		err = p.goBack()
	} else {
		err = p.choose()
	}
	if err != nil {
		return nil, err
	}
	var safe []string
	if w.Back != nil {
		safe = append(safe, w.Back.Manifest)
	}
	live, _ := r.live()
	p.remove = outdated(r.Trees, p.tree.Name, live.Name, w.Release.Deploy.Keep, safe)
	return p, nil
}

// obstacle is why the host can take nothing of the app.
func obstacle(w Wish, r *Report) error {
	switch {
	case !r.whole:
		return errors.New("the host did not say all of what is on it")
	case len(r.Lacks) > 0:
		return fmt.Errorf("the host has no %s", strings.Join(r.Lacks, ", "))
	case len(r.Nobody) > 0:
		return fmt.Errorf("the host knows no %s", strings.Join(r.Nobody, " and no "))
	case r.Owner != "" && r.Owner != w.owner():
		return fmt.Errorf("%s belongs to %s (namespace/app/environment), and this is %s", w.Release.Deploy.Root, r.Owner, w.owner())
	case r.Lock != "":
		return fmt.Errorf("another attempt is at work in %s: %s", w.Release.Deploy.Root, r.Lock)
	case len(r.Ways) > 0:
		return errors.New(strings.Join(r.Ways, "; "))
	case r.Self != 0 && (w.Release.Deploy.Group != "" || w.Release.Deploy.User != "" && r.UID != r.Self):
		return fmt.Errorf("files cannot be given to %s by a user who is not root; --sudo may help", strings.Trim(w.Release.Deploy.User+":"+w.Release.Deploy.Group, ":"))
	}
	return unowned(w, r)
}

// unowned is why single files cannot be given to whom they shall belong.
func unowned(w Wish, r *Report) error {
	users, groups := w.Tree.Owners()
	for _, u := range users {
		uid, ok := r.Users[u]
		if !ok {
			return fmt.Errorf("the host did not say who the user %s is", u)
		}
		if r.Self != 0 && uid != r.Self {
			return fmt.Errorf("a file cannot be given to %s by a user who is not root; --sudo may help", u)
		}
	}
	for _, g := range groups {
		if _, ok := r.Groups[g]; !ok {
			return fmt.Errorf("the host did not say which group %s is", g)
		}
		if r.Self != 0 {
			return fmt.Errorf("a file cannot be given to the group %s by a user who is not root; --sudo may help", g)
		}
	}
	return nil
}

// goBack finds what the host goes back to among what it keeps.
func (p *Plan) goBack() error {
	back := p.wish.Back
	why := "it is not kept here"
	for _, t := range p.report.Trees {
		switch {
		case t.Version != back.Version || back.Manifest != "" && t.Manifest != back.Manifest:
		case t.Damaged:
			why = fmt.Sprintf("versions/%s was changed since it was put there", t.Name)
		default:
			p.tree, p.reuse = t, true
			return nil
		}
	}
	return fmt.Errorf("the host cannot go back to %s: %s", back.Version, why)
}

// canGoBack says why the way back is not there.
func (p *Plan) canGoBack() error {
	if p.wish.Back == nil || p.wish.Back.Manifest == "" {
		return nil
	}
	back := Plan{wish: p.wish, report: p.report}
	return back.goBack()
}

// choose gives the version a directory: that of its name if it can, else one with a part of its digest behind it. What is
// live is never made anew where it stands, not even if it is damaged.
func (p *Plan) choose() error {
	if err := p.canGoBack(); err != nil {
		return err
	}
	w, r := p.wish, p.report
	digest := w.Tree.Digest()
	hex, _ := bare(digest)
	p.tree = Tree{Version: w.Release.Version, Manifest: digest, Artifact: w.Release.Manifest, Config: w.Release.Config, UID: r.UID, GID: r.GID}
	for _, t := range r.Trees {
		if t.Version == p.tree.Version && t.Artifact != p.tree.Artifact {
			return fmt.Errorf("version %s is on the host with other files: it was made of %s, and this is %s; a version never changes, so push this as another one", t.Version, short(t.Artifact), short(p.tree.Artifact))
		}
		if t.Version == p.tree.Version && t.Manifest == digest && !t.Damaged && t.UID == r.UID && t.GID == r.GID {
			p.tree, p.reuse = t, true
			return nil
		}
	}
	for i := range 100 {
		name := w.Release.Version
		if i > 0 {
			name += "~" + hex[:8]
		}
		if i > 1 {
			name += fmt.Sprintf("~%d", i)
		}
		t, ours := r.tree(name)
		switch {
		case slices.Contains(r.Foreign, name):
			return fmt.Errorf("%s/versions/%s is in the way: Sluice has not put it there; move it away", w.Release.Deploy.Root, name)
		case !ours, t.Manifest == digest && r.Live != "versions/"+name && !p.isBack(t):
			p.tree.Name = name
			return nil
		}
	}
	return fmt.Errorf("there are a hundred copies of version %s on the host", w.Release.Version)
}

// isBack reports whether the host may have to go back to this tree.
func (p *Plan) isBack(t Tree) bool { return p.wish.Back != nil && p.wish.Back.Manifest == t.Manifest }

func short(digest string) string {
	hex, ok := bare(digest)
	if !ok {
		return "something unknown"
	}
	return hex[:12]
}

// Tree is the name of the directory that the version has below versions.
func (p *Plan) Tree() string { return p.tree.Name }

// Needs reports whether anything has to be sent.
func (p *Plan) Needs() bool { return !p.reuse }

// Linkable are the trees that files can be linked from: whole ones with the same owner, the live one first, then those
// that were live last. Of which of them the lists of files are fetched is up to the caller.
func (p *Plan) Linkable() []Tree {
	var out []Tree
	live, _ := p.report.live()
	for _, t := range p.report.Trees {
		if !t.Damaged && t.UID == p.tree.UID && t.GID == p.tree.GID && t.Name != p.tree.Name {
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b Tree) int {
		switch {
		case a.Name == live.Name:
			return -1
		case b.Name == live.Name:
			return 1
		}
		return b.Seq - a.Seq
	})
	return out
}

// Fits says why what is sent does not fit on the host, or nil. It lies there twice until it is unpacked.
func (p *Plan) Fits(parcel *Parcel) error {
	const spare = 1 << 20
	need, blob := parcel.unpacked+spare, parcel.size+spare
	r := p.report
	if r.Mount == r.PlaceMount {
		need += blob
	} else if r.PlaceMount != "" && r.PlaceFree < blob {
		return fmt.Errorf("%s has %d MB free, and what is sent needs %d MB there", r.PlaceMount, r.PlaceFree>>20, mb(blob))
	}
	if r.Mount != "" && r.Free < need {
		return fmt.Errorf("%s has %d MB free, and version %s needs %d MB there", r.Mount, r.Free>>20, p.tree.Version, mb(need))
	}
	return nil
}

func mb(n int64) int64 { return (n + 1<<20 - 1) >> 20 }
