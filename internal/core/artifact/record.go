// Package artifact says what is on record of the versions of an app: what they are, who built them of what, which is the
// latest, and which ones nobody needs any more.
//
// It is values in and values out, and knows nothing of where records and contents are kept.
package artifact

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice"
)

// Limits of a record.
const (
	MaxRecord = 64 << 10 // bytes, with the signature
	maxMeta   = 64       // keys
	maxValue  = 2048     // bytes of a value
)

// form is the version of the form of records.
const form = 1

// Record is what is known of a version. It never changes.
type Record struct {
	Form int `json:"form"`
	sluice.ArtifactName
	sluice.Content        // the archive
	Manifest       string `json:"manifest"` // digest of the manifest of its tree, which is content, too
	// Unpacked is the size of all files together, Entries the number of files, directories and links.
	Unpacked int64             `json:"unpacked"`
	Entries  int               `json:"entries"`
	Pushed   time.Time         `json:"pushed"`
	By       string            `json:"by"` // who pushed it, such as "ann@laptop"
	Meta     map[string]string `json:"meta,omitempty"`
}

// sumPrefix begins the last line of a record: the digest of all that is before it.
const sumPrefix = "sum sha256:"

// Commit is what it was built of; "" where the metadata do not say.
func (r Record) Commit() string { return r.Meta["commit"] }

// BuiltOf is what the metadata say of what it was built of; nil where they say nothing.
func (r Record) BuiltOf() *sluice.Commit {
	c := sluice.Commit{ID: r.Commit(), Builder: r.Meta["builder"]}
	// A time that is none is not known.
	c.Time, _ = time.Parse(time.RFC3339, r.Meta["committed"])
	c.Built, _ = time.Parse(time.RFC3339, r.Meta["built"])
	if c == (sluice.Commit{}) {
		return nil
	}
	return &c
}

// Statement is the text that a signature is made over: one line.
func (r Record) Statement() ([]byte, error) {
	r.Form = form
	r.Pushed = r.Pushed.UTC()
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	return append(b, '\n'), err
}

// Encode writes a record: the statement, the signature if there is one (lines of text), and a sum, so that no bit of it
// changes unseen.
func Encode(statement, signature []byte) ([]byte, error) {
	b := slices.Concat(statement, signature)
	if !bytes.HasSuffix(b, []byte("\n")) {
		b = append(b, '\n')
	}
	b = fmt.Appendf(b, "%s%x\n", sumPrefix, sha256.Sum256(b))
	if len(b) > MaxRecord {
		return nil, sluice.Errorf(sluice.Usage, "the record of the version has %d bytes, and may have %d", len(b), MaxRecord).WithHint("the metadata are what can be less")
	}
	return b, nil
}

// Parsed is a record as it was read.
type Parsed struct {
	Record
	Statement []byte // what the signature is made over
	Signature []byte // nil where there is none
	Sum       string // digest of the statement
}

// Parse reads the record of the version that is asked for.
func Parse(text []byte, of sluice.ArtifactName) (Parsed, error) {
	p, err := parse(text)
	switch {
	case err != nil:
		return Parsed{}, damaged(of, err)
	case p.ArtifactName != of:
		return Parsed{}, damaged(of, fmt.Errorf("it is that of %s", p.ArtifactName))
	}
	return p, nil
}

func damaged(of sluice.ArtifactName, err error) error {
	e := sluice.Errorf(sluice.Conflict, "the record of %s cannot be believed", of).WithHint("restore it, or take the version away with sluice artifact remove and push it again")
	e.Err = err
	return e
}

func parse(text []byte) (p Parsed, err error) {
	if len(text) > MaxRecord {
		return p, fmt.Errorf("it is longer than %d bytes", MaxRecord)
	}
	cut := bytes.LastIndex(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) + 1
	before, last := text[:cut], string(text[cut:])
	if last != fmt.Sprintf("%s%x\n", sumPrefix, sha256.Sum256(before)) {
		return p, fmt.Errorf("its sum does not fit: it is damaged")
	}
	line, rest, _ := bytes.Cut(before, []byte("\n"))
	p.Statement = append(slices.Clone(line), '\n')
	if len(rest) > 0 {
		p.Signature = rest
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&p.Record); err != nil {
		return p, err
	}
	if _, err := d.Token(); err != io.EOF {
		return p, fmt.Errorf("something follows its statement")
	}
	sum := sha256.Sum256(p.Statement)
	p.Sum = "sha256:" + hex.EncodeToString(sum[:])
	return p, p.check()
}

func (r Record) check() error {
	switch {
	case r.Form != form:
		return fmt.Errorf("its form is %d, and this program knows %d: a newer program may read it", r.Form, form)
	case !r.Whole():
		return fmt.Errorf("it names no version")
	case !IsDigest(r.Digest) || !IsDigest(r.Manifest) || r.Bytes < 0 || r.Unpacked < 0 || r.Entries < 0:
		return fmt.Errorf("its digests or sizes are none")
	case r.Version == sluice.LatestVersion:
		return sluice.Errorf(sluice.Usage, "%q is no version, it says which one is the latest", r.Version)
	case len(r.By) > maxValue || odd(r.By):
		return fmt.Errorf("who pushed it has an odd name, %.100q", r.By)
	}
	if err := r.ArtifactName.Check(); err != nil {
		return err
	}
	return checkMeta(r.Meta)
}

// IsDigest reports whether s is "sha256:" and 64 hexadecimal digits.
func IsDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

// ParseMeta reads metadata: a JSON object of texts, numbers and truths, such as {"commit": "1a2b3c", "branch": "master",
// "builder": "ci/4711", "built": "2026-01-02T03:04:05Z"}.
func ParseMeta(text []byte) (map[string]string, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var in map[string]any
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("metadata are a JSON object, such as {\"commit\": \"1a2b3c\"}: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the object of the metadata")
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		switch v := v.(type) {
		case string:
			out[k] = v
		case json.Number:
			out[k] = v.String()
		case bool:
			out[k] = strconv.FormatBool(v)
		case nil:
		default:
			return nil, fmt.Errorf("%q of the metadata is a list or an object; a text is expected", k)
		}
	}
	return out, checkMeta(out)
}

func checkMeta(m map[string]string) error {
	if len(m) > maxMeta {
		return fmt.Errorf("there are %d metadata, and at most %d may be", len(m), maxMeta)
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch v := m[k]; {
		case k == "" || len(k) > 64 || odd(k):
			return fmt.Errorf("%.80q is an odd name of metadata", k)
		case len(v) > maxValue || odd(v):
			return fmt.Errorf("%q of the metadata is longer than %d bytes, or has control characters", k, maxValue)
		case k == "built":
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				return fmt.Errorf("%q of the metadata is a time such as 2026-01-02T03:04:05Z, not %q", k, v)
			}
		}
	}
	return nil
}

func odd(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// Compare orders versions as people count: numbers in them by their value, so v9 is before v10.
func Compare(a, b string) int {
	for a != "" && b != "" {
		x, y := run(a), run(b)
		a, b = a[len(x):], b[len(y):]
		if c := compareRuns(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareRuns(x, y string) int {
	if !digit(x[0]) || !digit(y[0]) {
		return strings.Compare(x, y)
	}
	m, n := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	return cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n), cmp.Compare(len(x), len(y)))
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// run is what s begins with: digits only, or none.
func run(s string) string {
	for i := range len(s) {
		if digit(s[i]) != digit(s[0]) {
			return s[:i]
		}
	}
	return s
}

// Newer orders records from old to new: by when they were pushed, and at the same moment by their versions.
func Newer(a, b Record) int { return cmp.Or(a.Pushed.Compare(b.Pushed), Compare(a.Version, b.Version)) }
