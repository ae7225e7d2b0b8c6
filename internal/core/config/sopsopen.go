package config

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sluice"
	"sluice/internal/core/document"
)

func (o *opener) ofFile(s *Seal) (sluice.Secret, error) {
	file := o.files[s.File]
	key, ok := o.keys[s.File]
	if !ok {
		var err error
		if key, err = file.key(o.unlock); err != nil {
			return sluice.Secret{}, err
		}
		o.keys[s.File] = key
		if err := file.verify(key); err != nil {
			return sluice.Secret{}, err
		}
	}
	return decryptSops(key, s.Data, additional(s.Path))
}

// key is the key of the file, by the first recipient that can be served.
func (s *sealedFile) key(unlock Unlock) (sluice.Secret, error) {
	var why error
	for _, to := range s.meta.Age {
		key, err := unlock(to.Enc)
		if err == nil {
			return key, nil
		}
		why = err
	}
	return sluice.Secret{}, why
}

var errChanged = errors.New("the file that SOPS has encrypted was changed since: its sum (mac) is another one")

// macOnlyEncrypted is what the sum begins with where only encrypted values are in it.
var macOnlyEncrypted, _ = hex.DecodeString("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")

// verify computes the sum over all values of the file, in their order, and compares it with the one that SOPS has left.
func (s *sealedFile) verify(key sluice.Secret) error {
	sum := sha512.New()
	if s.meta.MACOnlyEncrypted {
		sum.Write(macOnlyEncrypted)
	}
	err := s.scalars(func(p Path, v any) error {
		encrypted := s.encrypted(p)
		if text, is := v.(string); encrypted && is && text != "" {
			plain, err := decryptSops(key, text, additional(p))
			if err != nil {
				return err
			}
			defer plain.Wipe()
			sum.Write(plain.Reveal()) // of any type: SOPS encrypts what it sums up
			return nil
		}
		if !s.meta.MACOnlyEncrypted || encrypted {
			sum.Write(sopsBytes(v))
		}
		return nil
	})
	if err != nil {
		return err
	}
	at := s.meta.LastModified
	if t, err := time.Parse(time.RFC3339, at); err == nil {
		at = t.Format(time.RFC3339)
	}
	left, err := decryptSops(key, s.meta.MAC, at)
	if err != nil {
		return errChanged
	}
	if subtle.ConstantTimeCompare(left.Reveal(), []byte(fmt.Sprintf("%X", sum.Sum(nil)))) != 1 {
		return errChanged
	}
	return nil
}

func additional(p Path) string { return strings.Join(p, ":") + ":" }

// sopsBytes is how SOPS sums up a value.
func sopsBytes(v any) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case int:
		return strconv.AppendInt(nil, int64(v), 10)
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64)
	case bool:
		if v {
			return []byte("True")
		}
		return []byte("False")
	case time.Time:
		b, _ := v.MarshalText()
		return b
	}
	return nil
}

func decryptSops(key sluice.Secret, text, additional string) (sluice.Secret, error) {
	bad := errors.New("SOPS has not encrypted this value with the key of its file, or not for this place in it")
	parts, _, ok := cutSops(text)
	if !ok {
		return sluice.Secret{}, bad
	}
	data, err1 := base64.StdEncoding.DecodeString(parts.data)
	iv, err2 := base64.StdEncoding.DecodeString(parts.iv)
	tag, err3 := base64.StdEncoding.DecodeString(parts.tag)
	block, err4 := aes.NewCipher(key.Reveal())
	if errors.Join(err1, err2, err3, err4) != nil || len(iv) == 0 || len(tag) != aes.BlockSize || len(key.Reveal()) != 32 {
		return sluice.Secret{}, bad
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(iv))
	if err != nil {
		return sluice.Secret{}, bad
	}
	plain, err := gcm.Open(nil, iv, append(data, tag...), []byte(additional))
	if err != nil {
		return sluice.Secret{}, bad
	}
	return sluice.NewSecret(plain), nil
}

// scalars calls f for all values of the file that are no maps or lists, in the order in which they stand. Null is none.
func (s *sealedFile) scalars(f func(Path, any) error) error {
	if s.json {
		dec := json.NewDecoder(bytes.NewReader(s.raw))
		dec.UseNumber()
		return jsonScalars(dec, nil, f)
	}
	root, err := yamlForm.Parse("sealed.yaml", s.raw)
	if err != nil {
		return err
	}
	return yamlScalars(document.What(root), nil, f)
}

func yamlScalars(n *yaml.Node, p Path, f func(Path, any) error) error {
	switch n = document.What(n); n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := document.What(n.Content[i]).Value
			if len(p) == 0 && key == sopsKey {
				continue
			}
			if err := yamlScalars(n.Content[i+1], p.below(key), f); err != nil {
				return err
			}
		}
		return nil
	case yaml.SequenceNode:
		for _, e := range n.Content {
			if err := yamlScalars(e, p, f); err != nil {
				return err
			}
		}
		return nil
	}
	var v any
	if err := n.Decode(&v); err != nil || v == nil {
		return nil //nolint:nilerr // what is no value is in no sum
	}
	return f(p, v)
}

func jsonScalars(dec *json.Decoder, p Path, f func(Path, any) error) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		for dec.More() {
			below := p
			if t == '{' {
				key, err := dec.Token()
				if err != nil {
					return err
				}
				below = p.below(fmt.Sprint(key))
				if len(below) == 1 && below[0] == sopsKey {
					if err := jsonScalars(dec, below, func(Path, any) error { return nil }); err != nil {
						return err
					}
					continue
				}
			}
			if err := jsonScalars(dec, below, f); err != nil {
				return err
			}
		}
		_, err := dec.Token()
		return err
	case nil:
		return nil
	case json.Number:
		if n, err := strconv.Atoi(string(t)); err == nil {
			return f(p, n)
		}
		v, err := t.Float64()
		if err != nil {
			return err
		}
		return f(p, v)
	}
	return f(p, t)
}
