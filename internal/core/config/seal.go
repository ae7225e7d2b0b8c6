package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"sluice"
)

// Seal is a value that only who has a key can read: one that age has encrypted by itself, or one of a file of SOPS.
type Seal struct {
	Type Kind   // of what is inside
	Age  string // armored
	// Of SOPS: the digest of the file, the keys that lead to the value in it, and the value as it stands there.
	File string
	Path Path
	Data string
}

func (s *Seal) equal(o *Seal) bool {
	return s.Type == o.Type && s.Age == o.Age && s.Data == o.Data && s.File == o.File && slices.Equal(s.Path, o.Path)
}

// String says how a value is sealed, and enough of the ciphertext to tell two apart.
func (s *Seal) String() string {
	if s.Age != "" {
		return "age, " + mark(s.Age)
	}
	return "sops, " + mark(s.Data)
}

func mark(ciphertext string) string {
	sum := sha256.Sum256([]byte(ciphertext))
	return hex.EncodeToString(sum[:4])
}

const (
	ageBegin = "-----BEGIN AGE ENCRYPTED FILE-----"
	ageEnd   = "-----END AGE ENCRYPTED FILE-----"
	ageIntro = "age-encryption.org/v1\n"
	maxSeal  = 64 << 10
)

// seal reads what stands behind the mark: the armored text of age, or what a frozen configuration has of a value of SOPS.
func (r *reader) seal(of *Value, at sluice.Position) *Seal {
	if of.Kind == Map {
		return r.sealOfFile(of, at)
	}
	armor := strings.TrimSpace(of.Text)
	var why string
	switch {
	case of.Kind != Text:
		why = "a text must follow, not " + of.Kind.String()
	case len(armor) > maxSeal:
		why = fmt.Sprintf("it has more than %d bytes", maxSeal)
	case strings.HasPrefix(armor, "AGE-SECRET-KEY-"):
		why = "what stands there is a private key of age"
	default:
		why = notArmor(armor)
	}
	if why == "" {
		return &Seal{Type: Text, Age: armor}
	}
	// What stands there is not told: somebody may have forgotten to encrypt it.
	r.fail(at, "this is not sealed by age: %s", why).WithHint("age --armor -r RECIPIENT < FILE prints what belongs behind !sealed |")
	return nil
}

// notArmor says why a text is not what age --armor prints, or "".
func notArmor(armor string) string {
	armor = strings.ReplaceAll(armor, "\r\n", "\n")
	body, begins := strings.CutPrefix(armor, ageBegin+"\n")
	body, ends := strings.CutSuffix(body, "\n"+ageEnd)
	switch {
	case !begins:
		return "the line " + ageBegin + " is missing"
	case !ends:
		return "the line " + ageEnd + " is missing"
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil || !bytes.HasPrefix(raw, []byte(ageIntro)) {
		return "the lines between are damaged"
	}
	return ""
}

var typesOfSeals = map[string]Kind{"text": Text, "number": Number, "truth": Bool}

func nameOfType(k Kind) string {
	for name, kind := range typesOfSeals {
		if kind == k {
			return name
		}
	}
	return ""
}

func (r *reader) sealOfFile(of *Value, at sluice.Position) *Seal {
	s := &Seal{}
	for key, v := range of.Map {
		switch {
		case key == "path" && v.Kind == List:
			for _, e := range v.List {
				s.Path = append(s.Path, e.Text)
			}
		case key == "file" && v.Kind == Text:
			s.File = v.Text
		case key == "data" && v.Kind == Text:
			s.Data = v.Text
		case key == "type" && v.Kind == Text:
			s.Type = typesOfSeals[v.Text]
		}
	}
	if len(of.Map) == 4 && s.File != "" && len(s.Path) > 0 && s.Type != 0 && isSopsData(s.Data) {
		return s
	}
	r.fail(at, "behind !sealed stands what age has encrypted, armored")
	return nil
}
