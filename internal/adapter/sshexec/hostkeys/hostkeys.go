// Package hostkeys reads OpenSSH known_hosts files and decides whether a host's key is the right one.
//
// It is a pure function of bytes: reading and writing the files is the caller's. It must not know of
// connections. In doubt it refuses: what it cannot read makes no key known, and a line that revokes something
// it cannot read makes the whole file unusable.
//
// golang.org/x/crypto/ssh/knownhosts is not used: it tries every line for every host, fails on the first line
// that it does not understand, and cannot say which keys of a host are known.
package hostkeys

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"sluice"
	"sluice/internal/adapter/sshexec/pattern"
)

// Entry is a key that a file names for a host.
type Entry struct {
	File string
	Line int
	Key  ssh.PublicKey
	CA   bool // an authority that signs host keys
}

// record is an entry whose key is not decoded yet: few of the lines of a file are ever asked for.
type record struct {
	line int
	ca   bool
	blob []byte
}

type patternRecord struct {
	patterns []string
	record   int
}

type hashedRecord struct {
	salt   []byte
	hash   [sha1.Size]byte
	record int
}

// DB is what a file says. It is safe for concurrent use.
type DB struct {
	file     string
	records  []record
	plain    map[string][]int // names without wildcards
	patterns []patternRecord
	hashed   []hashedRecord
	revoked  map[string]int // wire form of the key to its line

	mu   sync.Mutex
	seen map[string][]int // answers of the hashed lines, each of which costs two hashes
}

// Parse reads a known_hosts file. Lines that it does not understand are skipped, but for those with a marker:
// they may take trust away, so they are errors.
func Parse(file string, data []byte) (*DB, error) {
	db := &DB{file: file, plain: map[string][]int{}, revoked: map[string]int{}, seen: map[string][]int{}}
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := db.add(n, string(line)); err != nil && line[0] == '@' {
			e := sluice.Errorf(sluice.Config, "this line is not understood and may revoke a key: %s", err)
			e.At = sluice.Position{File: file, Line: n, Column: 1}
			return nil, e.WithHint("correct or remove the line")
		}
	}
	return db, nil
}

func (db *DB) add(n int, line string) error {
	marker := ""
	if line[0] == '@' {
		marker, line = word(line)
	}
	names, line := word(line)
	kind, line := word(line)
	encoded, _ := word(line)
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(blob) == 0 {
		return errors.New("there is no key in it")
	}
	if got := blobType(blob); got != kind {
		return fmt.Errorf("it says %q, but the key is of the type %q", kind, got)
	}
	switch marker {
	case "@revoked":
		// For every host, whatever names stand in the line: a key that is out is out.
		db.revoked[string(blob)] = n
		return nil
	case "", "@cert-authority":
	default:
		return fmt.Errorf("the marker %q is unknown", marker)
	}
	db.records = append(db.records, record{line: n, ca: marker != "", blob: blob})
	return db.index(strings.ToLower(names), names, len(db.records)-1)
}

func (db *DB) index(names, asWritten string, i int) error {
	switch {
	case strings.HasPrefix(names, "|"):
		h, err := parseHash(asWritten)
		if err != nil {
			return err
		}
		h.record = i
		db.hashed = append(db.hashed, h)
	case strings.ContainsAny(names, "*?!"):
		db.patterns = append(db.patterns, patternRecord{strings.Split(names, ","), i})
	default:
		for name := range strings.SplitSeq(names, ",") {
			db.plain[name] = append(db.plain[name], i)
		}
	}
	return nil
}

func word(s string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
	return first, strings.TrimLeft(rest, " ")
}

func blobType(blob []byte) string {
	if len(blob) < 4 {
		return ""
	}
	n := int(blob[0])<<24 | int(blob[1])<<16 | int(blob[2])<<8 | int(blob[3])
	if n < 0 || n > len(blob)-4 {
		return ""
	}
	return string(blob[4 : 4+n])
}

// Name is how known_hosts files call a host: its name in lower case, or "[name]:port" off the usual port.
func Name(host string, port int) string {
	host = strings.ToLower(host)
	if port == 22 || port == 0 {
		return host
	}
	return "[" + host + "]:" + strconv.Itoa(port)
}

// Lookup returns the entries for a name as [Name] makes it, in the order of the file.
func (db *DB) Lookup(name string) (out []Entry) {
	name = strings.ToLower(name)
	hits := slices.Clone(db.plain[name])
	for _, p := range db.patterns {
		if pattern.MatchAny(p.patterns, name) {
			hits = append(hits, p.record)
		}
	}
	hits = append(hits, db.lookupHashed(name)...)
	slices.Sort(hits)
	for _, i := range slices.Compact(hits) {
		r := db.records[i]
		if key, err := ssh.ParsePublicKey(r.blob); err == nil {
			out = append(out, Entry{File: db.file, Line: r.line, Key: key, CA: r.ca})
		}
	}
	return out
}

func (db *DB) lookupHashed(name string) []int {
	if len(db.hashed) == 0 {
		return nil
	}
	db.mu.Lock()
	found, ok := db.seen[name]
	db.mu.Unlock()
	if ok {
		return found
	}
	for i := range db.hashed {
		if db.hashed[i].matches(name) {
			found = append(found, db.hashed[i].record)
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.seen[name] = found
	return found
}

// Revoked returns the line that revokes a key, a certificate's key or its authority.
func (db *DB) Revoked(key ssh.PublicKey) (at sluice.Position, revoked bool) {
	for _, k := range parts(key) {
		if line, ok := db.revoked[string(k.Marshal())]; ok {
			return sluice.Position{File: db.file, Line: line, Column: 1}, true
		}
	}
	return sluice.Position{}, false
}

// parts are all keys that a trust in key rests on.
func parts(key ssh.PublicKey) []ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return []ssh.PublicKey{cert, cert.Key, cert.SignatureKey}
	}
	return []ssh.PublicKey{key}
}

// ParseRevoked reads a file of revoked keys as RevokedHostKeys names it: one public key per line. Other
// forms are errors, because a list that is not understood revokes nothing.
func ParseRevoked(file string, data []byte) (*DB, error) {
	if bytes.HasPrefix(data, []byte("SSHKRL\n\x00")) {
		return nil, &sluice.Error{Code: sluice.Config, At: sluice.Position{File: file},
			Text: "binary key revocation lists are not supported",
			Hint: "list the revoked public keys as text, one per line"}
	}
	db := &DB{file: file, revoked: map[string]int{}}
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			return nil, &sluice.Error{Code: sluice.Config, At: sluice.Position{File: file, Line: n, Column: 1},
				Text: "this is no public key", Err: err}
		}
		db.revoked[string(key.Marshal())] = n
	}
	return db, nil
}
