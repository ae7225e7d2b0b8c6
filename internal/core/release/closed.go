package release

import (
	"sluice/internal/core/config"
	"sluice/internal/core/document"
	"sluice/internal/core/manifest"
	"sluice/internal/core/template"
)

// Closed is all that is made for one host, with words in the place of what is sealed: it can be shown, and compared with another.
type Closed struct {
	Files []ClosedFile
	Tree  manifest.Manifest // of the artifact
}

// ClosedFile is a file that is made for a host.
type ClosedFile struct {
	Path    string
	Mode    uint32
	Owner   string // user and group with ":" between; "" in the place of those of the version
	Outside string // a link to it; "" for none
	// Text is what people read: of the configuration a key a line.
	Text string
	// Sealed are the ciphertexts of all that is sealed and that the file may depend on, by key; they are digests.
	Sealed map[string][]string
}

// Closed renders for a host with a configuration, and opens nothing; "" is none.
func (r *Renderer) Closed(frozen string) (Closed, error) {
	out := Closed{Tree: r.files}
	values := map[string]any{}
	var look config.Look
	if frozen != "" {
		var err error
		if look, err = config.FrozenOf([]byte(frozen)).Look(); err != nil {
			return Closed{}, err
		}
		out.Files = append(out.Files, ClosedFile{Path: ConfigPath, Mode: ConfigMode, Owner: ":", Text: look.Lines, Sealed: look.Sealed})
		values = look.Closed.Values(func(key, text string, bare bool) any { return template.Hide(key, text, bare) })
	}
	var problems document.Problems
	for _, t := range r.list {
		got, err := r.parsed[t.From].Render(values)
		if err != nil {
			problems.Join(err)
			continue
		}
		mode, err := r.mode(t, got.Secret)
		problems.Join(err)
		f := ClosedFile{Path: t.To, Mode: mode, Owner: t.User + ":" + t.Group, Outside: t.Outside, Text: string(got.Text), Sealed: map[string][]string{}}
		for _, key := range got.Sealed {
			f.Sealed[key] = look.Sealed[key]
		}
		out.Files = append(out.Files, f)
	}
	return out, problems.Err()
}
