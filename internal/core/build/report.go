package build

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/internal/core/artifact"
)

// Took is how long a part of a build took.
type Took struct {
	Part    string        `json:"part"` // build, test, bundle, pack, push, or the name of a dependency bundle
	Seconds float64       `json:"seconds"`
	Note    string        `json:"note,omitempty"` // such as "from the repository"
	Time    time.Duration `json:"-"`
}

// Report is what came of a build.
type Report struct {
	App     string `json:"app"`
	Target  string `json:"target"`
	File    string `json:"file"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
	// Manifest is the digest of what is in the tree: it is the same for the same files, however they are packed.
	Manifest string            `json:"manifest"`
	Bytes    int64             `json:"bytes"`
	Meta     map[string]string `json:"meta"`
	Took     []Took            `json:"took"`
	Pushed   *artifact.Pushed  `json:"pushed,omitempty"` // nil: it was not asked for
	// Unsaid is why the forge was not told, "" where it was or nobody wanted that.
	Unsaid string `json:"unsaid,omitempty"`
}

// Failed says which part of a build failed, and how.
type Failed struct {
	Part   string   `json:"part"`
	Script string   `json:"script"`
	How    string   `json:"how"` // such as "ended with status 3"
	Last   []string `json:"last"`
}

// Error names the part, the script and the last lines that it printed.
func (f *Failed) Error() string {
	script, rest, _ := strings.Cut(f.Script, "\n")
	if rest != "" {
		script += " ..."
	}
	text := fmt.Sprintf("%s failed: %s: it %s", f.Part, script, f.How)
	for _, l := range f.Last {
		text += "\n  | " + l
	}
	return text
}

// Seconds rounds a time to what people read.
func Seconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond)) / float64(time.Second)
}

// Names of metadata, beside commit, branch, builder and built.
const (
	tookPrefix = "seconds."
	maxText    = 200
)

// Meta is what the record of the artifact says of its build.
func Meta(c Checkout, builder string, built time.Time, took []Took, bundles map[string]string, link string) map[string]string {
	m := map[string]string{
		"commit": c.Commit, "builder": builder, "built": built.UTC().Format(time.RFC3339),
		"authored": c.Authored.UTC().Format(time.RFC3339), "committed": c.Committed.UTC().Format(time.RFC3339),
	}
	if len(c.Dirty()) > 0 {
		m["dirty"] = "true"
	}
	for k, v := range map[string]string{"branch": c.Branch, "author": c.Author, "subject": c.Subject, "link": link} {
		if v = plain(v); v != "" {
			m[k] = v
		}
	}
	for _, t := range took {
		m[tookPrefix+t.Part] = strconv.FormatFloat(t.Seconds, 'f', -1, 64)
	}
	for name, digest := range bundles {
		m[artifact.BundlePrefix+name] = digest
	}
	return m
}

// plain is a text as records take it: of one line, and not endless.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if runes := []rune(s); len(runes) > maxText {
		s = string(runes[:maxText-3]) + "..."
	}
	return strings.TrimSpace(s)
}
