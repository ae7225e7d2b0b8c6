package hostkeys

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// parseHash reads "|1|salt|hash", the hash being HMAC-SHA1 of the name with the salt as key.
func parseHash(s string) (hashedRecord, error) {
	parts := strings.Split(s, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return hashedRecord{}, errors.New("the hashed name is of an unknown kind")
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(salt) == 0 || len(salt) > sha1.BlockSize {
		return hashedRecord{}, errors.New("the hashed name has no salt")
	}
	sum, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil || len(sum) != sha1.Size {
		return hashedRecord{}, errors.New("the hashed name has no hash")
	}
	h := hashedRecord{salt: salt}
	copy(h.hash[:], sum)
	return h, nil
}

func (h *hashedRecord) matches(name string) bool { return hmacSHA1(h.salt, name) == h.hash }

// hmacSHA1 is HMAC without allocations: a file of ten thousand hashed lines is searched for every host.
func hmacSHA1(key []byte, text string) [sha1.Size]byte {
	var buf [sha1.BlockSize + 512]byte
	pad := func(x byte) {
		for i := range sha1.BlockSize {
			buf[i] = x
		}
		for i, k := range key {
			buf[i] ^= k
		}
	}
	pad(0x36)
	n := copy(buf[sha1.BlockSize:], text)
	inner := sha1.Sum(buf[:sha1.BlockSize+n])
	pad(0x5c)
	copy(buf[sha1.BlockSize:], inner[:])
	return sha1.Sum(buf[:sha1.BlockSize+sha1.Size])
}

// Line is a line, without its end, that makes key known for a name as [Name] makes it.
func Line(name string, key ssh.PublicKey, hashed bool) string {
	if hashed {
		salt := make([]byte, sha1.Size)
		_, _ = rand.Read(salt) // never fails
		sum := hmacSHA1(salt, name)
		name = "|1|" + base64.StdEncoding.EncodeToString(salt) + "|" + base64.StdEncoding.EncodeToString(sum[:])
	}
	return name + " " + key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
}
