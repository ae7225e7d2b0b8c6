package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

// sopsKey is where SOPS keeps what it needs itself.
const sopsKey = "sops"

// sealedFile is a file that SOPS has encrypted.
type sealedFile struct {
	digest string
	json   bool
	raw    []byte
	meta   sopsMeta
	rules  []sopsRule
}

// sopsMeta is what SOPS says of a file, as far as it matters here.
type sopsMeta struct {
	MAC          string `json:"mac" yaml:"mac"`
	LastModified string `json:"lastmodified" yaml:"lastmodified"`
	Age          []struct {
		Recipient string `json:"recipient" yaml:"recipient"`
		Enc       string `json:"enc" yaml:"enc"`
	} `json:"age" yaml:"age"`
	KeyGroups               []any  `json:"key_groups" yaml:"key_groups"`
	UnencryptedSuffix       string `json:"unencrypted_suffix" yaml:"unencrypted_suffix"`
	EncryptedSuffix         string `json:"encrypted_suffix" yaml:"encrypted_suffix"`
	UnencryptedRegex        string `json:"unencrypted_regex" yaml:"unencrypted_regex"`
	EncryptedRegex          string `json:"encrypted_regex" yaml:"encrypted_regex"`
	UnencryptedCommentRegex string `json:"unencrypted_comment_regex" yaml:"unencrypted_comment_regex"`
	EncryptedCommentRegex   string `json:"encrypted_comment_regex" yaml:"encrypted_comment_regex"`
	MACOnlyEncrypted        bool   `json:"mac_only_encrypted" yaml:"mac_only_encrypted"`
}

// sopsRule says which keys are encrypted with all below them, or are not.
type sopsRule struct {
	encrypted bool
	matches   func(key string) bool
}

// sops finds out whether SOPS has encrypted the file, and how.
func (y *yamlReader) sops(text []byte) *sealedFile {
	root := document.What(y.doc.Root)
	for i := 0; i+1 < len(root.Content); i += 2 {
		if document.What(root.Content[i]).Value != sopsKey {
			continue
		}
		var meta sopsMeta
		n := document.What(root.Content[i+1])
		if n.Kind != yaml.MappingNode || n.Decode(&meta) != nil || meta.MAC == "" {
			return nil // a key of the application that happens to be called so
		}
		return y.sealed(meta, text, y.doc.At(root.Content[i]))
	}
	return nil
}

func (j *jsonReader) sops(text []byte) *sealedFile {
	var top struct {
		Sops sopsMeta `json:"sops"`
	}
	if json.Unmarshal(text, &top) != nil || top.Sops.MAC == "" {
		return nil
	}
	return j.sealed(top.Sops, text, sluice.Position{File: j.file})
}

// sealed reads what SOPS says of a file. A file that no worker could open is refused where it is read.
func (r *reader) sealed(meta sopsMeta, text []byte, at sluice.Position) *sealedFile {
	sum := sha256.Sum256(text)
	s := &sealedFile{digest: "sha256:" + hex.EncodeToString(sum[:]), json: path.Ext(r.file) == ".json", raw: text, meta: meta}
	switch {
	case len(meta.KeyGroups) > 0:
		r.fail(at, "SOPS has split the key of this file between several groups, which is not supported").WithHint("encrypt it to recipients of age alone: sops rotate with one key group")
	case len(meta.Age) == 0:
		r.fail(at, "SOPS has encrypted this file to nobody who has a key of age").WithHint("sops rotate -i --add-age RECIPIENT %s adds one", r.file)
	case meta.UnencryptedCommentRegex != "" || meta.EncryptedCommentRegex != "":
		r.fail(at, "comments say which values of this file are encrypted, which is not supported").WithHint("choose by keys: encrypted_regex, encrypted_suffix")
	}
	for _, c := range []struct {
		text      string
		encrypted bool
		regex     bool
	}{
		{meta.UnencryptedSuffix, false, false}, {meta.EncryptedSuffix, true, false},
		{meta.UnencryptedRegex, false, true}, {meta.EncryptedRegex, true, true},
	} {
		switch {
		case c.text == "":
		case !c.regex:
			s.rules = append(s.rules, sopsRule{c.encrypted, func(key string) bool { return strings.HasSuffix(key, c.text) }})
		default:
			re, err := regexp.Compile(c.text)
			if err != nil {
				r.fail(at, "SOPS has chosen the keys of this file by an expression that is none: %v", err)
				continue
			}
			s.rules = append(s.rules, sopsRule{c.encrypted, re.MatchString})
		}
	}
	if r.seals == nil {
		r.seals = map[string]*sealedFile{}
	}
	r.seals[s.digest] = s
	return s
}

// encrypted says whether the values at a path are. A later rule counts more, and one that says what is encrypted leaves the
// rest in the open.
func (s *sealedFile) encrypted(p Path) bool {
	out := true
	for _, rule := range s.rules {
		hit := false
		for _, key := range p {
			hit = hit || rule.matches(key)
		}
		if rule.encrypted || hit {
			out = rule.encrypted == hit
		}
	}
	return out
}

// leaf reads a value that is no map and no list. It says false for one that is in the open.
func (s *sealedFile) leaf(n *yaml.Node, p Path, at sluice.Position, r *reader) (*Value, bool) {
	if !s.encrypted(p) || document.IsNull(n) {
		return nil, false
	}
	if n.ShortTag() != "!!str" {
		return s.open(p, at, r), true
	}
	return s.sealedText(n.Value, p, at, r)
}

// open complains of a value that should be encrypted and is not. It is not told.
func (s *sealedFile) open(p Path, at sluice.Position, r *reader) *Value {
	r.fail(at, "%s is not encrypted, in a file where SOPS would have it so", p).WithHint("if it is a secret, it is out: change it, and edit the file with sops")
	return &Value{Kind: Null, At: at}
}

func (s *sealedFile) sealedText(text string, p Path, at sluice.Position, r *reader) (*Value, bool) {
	switch {
	case text == "": // SOPS leaves what is empty as it is
		return &Value{Kind: Text, At: at}, true
	case !isSopsData(text):
		return s.open(p, at, r), true
	}
	_, kind, _ := cutSops(text)
	if typesOfSops[kind] == 0 {
		r.fail(at, "SOPS says that %s is of the type %.20q, which is not supported", p, kind)
	}
	return &Value{Kind: Sealed, At: at, Sealed: &Seal{Type: typesOfSops[kind], File: s.digest, Path: p, Data: text}}, true
}

// scalar reads a value of JSON, likewise.
func (s *sealedFile) scalar(v any, p Path, at sluice.Position, r *reader) (*Value, bool) {
	if !s.encrypted(p) || v == nil {
		return nil, false
	}
	text, ok := v.(string)
	if !ok {
		return s.open(p, at, r), true
	}
	return s.sealedText(text, p, at, r)
}

var typesOfSops = map[string]Kind{"str": Text, "bytes": Text, "time": Text, "int": Number, "float": Number, "bool": Bool}

const sopsBegin = "ENC[AES256_GCM,data:"

// sopsParts are the parts of an encrypted value, in base64.
type sopsParts struct{ data, iv, tag string }

// cutSops takes an encrypted value apart.
func cutSops(text string) (parts sopsParts, kind string, ok bool) {
	rest, ok := strings.CutPrefix(text, sopsBegin)
	if !ok {
		return parts, "", false
	}
	if rest, ok = strings.CutSuffix(rest, "]"); !ok {
		return parts, "", false
	}
	f := strings.Split(rest, ",")
	if len(f) != 4 || !strings.HasPrefix(f[1], "iv:") || !strings.HasPrefix(f[2], "tag:") || !strings.HasPrefix(f[3], "type:") {
		return parts, "", false
	}
	return sopsParts{f[0], f[1][len("iv:"):], f[2][len("tag:"):]}, f[3][len("type:"):], true
}

func isSopsData(text string) bool {
	_, _, ok := cutSops(text)
	return ok
}
