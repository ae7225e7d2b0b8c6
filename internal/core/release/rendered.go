package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"sluice"
	"sluice/internal/core/config"
	"sluice/internal/core/document"
	"sluice/internal/core/manifest"
	"sluice/internal/core/template"
)

// TemplateDir is where the templates of an artifact are. What nothing is said of becomes a file of the same name beside it:
// deploy/templates/etc/app.ini is rendered to deploy/etc/app.ini.
const (
	TemplateDir  = "deploy/templates"
	renderedDir  = "deploy"
	maxTemplates = 200
)

// othersMay are the rights that whoever is on the host has, without being owner or in the group.
const othersMay = 0o007

// checkTemplates refuses what cannot be rendered to anything, whatever the artifact has.
func checkTemplates(d sluice.Deploy) error {
	if len(d.Templates) > maxTemplates {
		return fmt.Errorf("more than %d templates", maxTemplates)
	}
	to, outside := map[string]string{ConfigPath: "the configuration"}, map[string]string{}
	for _, t := range d.Templates {
		switch {
		case !strings.HasPrefix(t.From, TemplateDir+"/") || path.Clean(t.From) != t.From || odd(t.From):
			return fmt.Errorf("the template %q is not in %s", t.From, TemplateDir)
		case t.To == "" || path.IsAbs(t.To) || path.Clean(t.To) != t.To || t.To == "." || strings.HasPrefix(t.To+"/", "../") || odd(t.To):
			return fmt.Errorf("the template %s cannot become %q: a path in the version is expected", t.From, t.To)
		case to[t.To] != "":
			return fmt.Errorf("the template %s cannot become %s: %s does", t.From, t.To, to[t.To])
		case t.User != "" && !userName(t.User), t.Group != "" && !userName(t.Group):
			return fmt.Errorf("%q and %q cannot own a file: a user and a group are names or numbers", t.User, t.Group)
		case t.Outside != "" && outside[t.Outside] != "":
			return fmt.Errorf("%s cannot lead to both %s and %s", t.Outside, outside[t.Outside], t.To)
		}
		to[t.To], outside[t.Outside] = t.From, t.To
		if t.Outside != "" {
			if err := checkOutside(t.Outside, d.Root); err != nil {
				return err
			}
		}
		if t.Mode != "" {
			if _, err := modeOf(t.Mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkOutside refuses a path for a link outside.
func checkOutside(p, root string) error {
	switch {
	case !path.IsAbs(p) || path.Clean(p) != p || p == "/" || odd(p):
		return fmt.Errorf("%q is no clean absolute path for a link", p)
	case p == root || strings.HasPrefix(p, root+"/"):
		return fmt.Errorf("the link %q is in the root of the app", p)
	}
	return nil
}

func modeOf(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 || n == 0 {
		return 0, fmt.Errorf("%q is no mode: permissions in octal such as 0640 are expected", text)
	}
	return uint32(n), nil
}

// Templates are all templates of an artifact, in the order of what they become: those of which app.yaml says something, and the
// others that are there. at are the places in app.yaml, for messages.
func Templates(files manifest.Manifest, said []sluice.Template, at []sluice.Position) ([]sluice.Template, error) {
	var problems document.Problems
	bad := func(at sluice.Position, format string, args ...any) *sluice.Error {
		e := document.ErrorAt(at, format, args...)
		problems.Add(e)
		return e
	}
	all := map[string]bool{}
	var there []string
	out := slices.Clone(said)
	for _, e := range files {
		here := sluice.Position{File: e.Path}
		switch {
		case !strings.HasPrefix(e.Path, TemplateDir+"/") || e.Kind == manifest.Dir:
			continue
		case e.Kind == manifest.Link:
			bad(here, "it is a link, and a template is a file")
		case e.Size > template.MaxBytes:
			bad(here, "it has more than %d bytes, which is too large for a template", template.MaxBytes)
		}
		all[e.Path], there = true, append(there, e.Path)
		if !slices.ContainsFunc(said, func(t sluice.Template) bool { return t.From == e.Path }) {
			out = append(out, sluice.Template{From: e.Path, To: renderedDir + strings.TrimPrefix(e.Path, TemplateDir)})
		}
	}
	for i, t := range said {
		if all[t.From] {
			continue
		}
		var place sluice.Position
		if i < len(at) {
			place = at[i]
		}
		e := bad(place, "there is no template %s in the artifact", t.From)
		e.Hint = document.DidYouMean("", t.From, there)
	}
	slices.SortStableFunc(out, func(a, b sluice.Template) int { return strings.Compare(a.To, b.To) })
	return out, problems.Err()
}

// Made is a file that is made for one host.
type Made struct {
	Path        string
	Mode        uint32
	User, Group string // "" for those of the version
	Outside     string // a link to it; "" for none
	Content     []byte
}

// Sum names the content.
func (m Made) Sum() string {
	sum := sha256.Sum256(m.Content)
	return hex.EncodeToString(sum[:])
}

// Wipe forgets what was made: there may be secrets in it.
func Wipe(made []Made) {
	for _, m := range made {
		clear(m.Content)
	}
}

// Renderer renders the templates of an artifact for one host after the other. It is safe for concurrent use.
type Renderer struct {
	files  manifest.Manifest
	list   []sluice.Template
	modes  map[string]uint32 // of the templates
	parsed map[string]*template.Template
}

// NewRenderer reads templates of an artifact that has these files. text gives the content of a template. What is wrong in them
// is told at once, each with its place.
func NewRenderer(files manifest.Manifest, list []sluice.Template, text func(manifest.Entry) ([]byte, error)) (*Renderer, error) {
	r := &Renderer{files: files, list: list, modes: map[string]uint32{}, parsed: map[string]*template.Template{}}
	at := map[string]manifest.Entry{}
	for _, e := range files {
		at[e.Path] = e
	}
	var problems document.Problems
	for _, t := range list {
		e, ok := at[t.From]
		switch {
		case !ok || e.Kind != manifest.File || e.Size > template.MaxBytes:
			return nil, sluice.Errorf(sluice.Config, "the artifact has no template %s", t.From)
		case r.parsed[t.From] != nil:
			continue
		}
		content, err := text(e)
		if err != nil {
			return nil, fmt.Errorf("the template %s: %w", t.From, err)
		}
		one, err := template.Parse(t.From, content)
		problems.Join(err)
		r.modes[t.From], r.parsed[t.From] = e.Mode, one
	}
	return r, problems.Err()
}

// Host is all that a version has on one host.
type Host struct {
	Files manifest.Manifest
	Links []Link
	Made  []Made // those of the files that are not in the artifact
}

// Render makes the files of one host of its configuration, opened or closed: the configuration itself, and what the templates come
// to. Without one (nil) there are the templates alone. All that is wrong is told at once.
func (r *Renderer) Render(c *config.Opened) (Host, error) {
	var made []Made
	values := map[string]any{}
	if c != nil {
		secret := c.JSON()
		defer secret.Wipe()
		made = append(made, Made{Path: ConfigPath, Mode: ConfigMode, Content: append(bytes.Clone(secret.Reveal()), '\n')})
		values = c.Values(func(key, text string, bare bool) any { return template.Hide(key, text, bare) })
	}
	more, err := r.templates(values)
	h := Host{Made: append(made, more...)}
	if err == nil {
		h.Files, h.Links, err = r.with(h.Made)
	}
	if err != nil {
		Wipe(h.Made)
		return Host{}, err
	}
	return h, nil
}

func (r *Renderer) templates(values map[string]any) (out []Made, err error) {
	var problems document.Problems
	for _, t := range r.list {
		got, err := r.parsed[t.From].Render(values)
		if err != nil {
			problems.Join(err)
			continue
		}
		mode, err := r.mode(t, got.Secret)
		problems.Join(err)
		out = append(out, Made{Path: t.To, Mode: mode, User: t.User, Group: t.Group, Outside: t.Outside, Content: got.Text})
	}
	return out, problems.Err()
}

// mode is never one by which everybody reads what was sealed.
func (r *Renderer) mode(t sluice.Template, secret bool) (uint32, error) {
	if t.Mode == "" {
		mode := r.modes[t.From]
		if secret {
			mode &^= othersMay
		}
		return mode, nil
	}
	mode, err := modeOf(t.Mode)
	if err == nil && secret && mode&othersMay != 0 {
		return 0, document.ErrorAt(sluice.Position{File: t.From}, "something sealed is in it, and with the mode %s anybody on the host could have it", t.Mode).
			WithHint("mode: \"%04o\" in app.yaml, or leave it out", mode&^othersMay)
	}
	return mode, err
}

// with is the artifact's tree with what was made for a host, and the links to that outside. None of it is there already.
func (r *Renderer) with(made []Made) (manifest.Manifest, []Link, error) {
	if len(made) == 0 {
		return r.files, nil, nil
	}
	there := make(map[string]bool, len(r.files))
	for _, e := range r.files {
		there[e.Path] = true
	}
	entries := slices.Clone(r.files)
	var links []Link
	for _, f := range made {
		if there[f.Path] {
			return nil, nil, sluice.Errorf(sluice.Config, "the artifact has a file %s, and what is made for the host belongs there", f.Path)
		}
		entries = append(entries, manifest.Entry{Path: f.Path, Kind: manifest.File, Mode: f.Mode, Size: int64(len(f.Content)), SHA256: f.Sum(), User: f.User, Group: f.Group})
		if f.Outside != "" {
			links = append(links, Link{Path: f.Outside, To: f.Path})
		}
	}
	all, err := manifest.New(entries)
	if err != nil {
		return nil, nil, sluice.Errorf(sluice.Config, "with what is made for the host: %v", err)
	}
	return all, links, nil
}
