package sluice

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// ChainHash is the SHA-256 of a record, and with it of all before it. The zero value is the beginning of every chain.
type ChainHash [sha256.Size]byte

func (h ChainHash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes 64 hexadecimal digits.
func (h ChainHash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (h *ChainHash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("%q is no hash: 64 hexadecimal digits are", b)
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// Head is a place in the chain of a namespace: the last event of a record, and that record's hash. Whoever keeps one
// elsewhere can prove later that the log still has all events up to it.
type Head struct {
	Namespace Namespace `json:"namespace"`
	Seq       uint64    `json:"seq"`
	Hash      ChainHash `json:"hash"`
}

// SeenHead is a head that a server has shown to somebody, who may hand it back.
type SeenHead struct {
	Head
	// Epoch is that of the server then; it grows with every restore and repair.
	Epoch int `json:"epoch"`
	// Sign is 64 hexadecimal digits, made with a key that only the server has.
	Sign string `json:"sign"`
}

// Record is one append to the log of a namespace, and its place in the chain.
type Record struct {
	Namespace   Namespace
	First, Last uint64 // numbers of its events
	Prev, Hash  ChainHash
	Payload     []byte // its events as they were written, one a line
}

// Sum is what the record's hash must be.
func (r Record) Sum() (out ChainHash) {
	h := sha256.New()
	h.Write(r.Prev[:])
	var b [20]byte
	binary.BigEndian.PutUint32(b[:4], uint32(len(r.Namespace)))
	h.Write(b[:4])
	h.Write([]byte(r.Namespace))
	binary.BigEndian.PutUint64(b[4:12], r.First)
	binary.BigEndian.PutUint64(b[12:20], r.Last)
	h.Write(b[4:20])
	h.Write(r.Payload)
	h.Sum(out[:0])
	return out
}

// Head is the record's end.
func (r Record) Head() Head { return Head{r.Namespace, r.Last, r.Hash} }

type wireRecord struct {
	Namespace Namespace `json:"namespace"`
	First     uint64    `json:"first"`
	Last      uint64    `json:"last"`
	Prev      ChainHash `json:"prev"`
	Hash      ChainHash `json:"hash"`
	Encoding  string    `json:"encoding,omitzero"` // "base64" where the payload is not UTF-8
	Payload   string    `json:"payload"`
}

// MarshalJSON keeps every byte of the payload: the hash is made of them.
func (r Record) MarshalJSON() ([]byte, error) {
	w := wireRecord{Namespace: r.Namespace, First: r.First, Last: r.Last, Prev: r.Prev, Hash: r.Hash, Payload: string(r.Payload)}
	if !utf8.Valid(r.Payload) {
		w.Encoding, w.Payload = "base64", base64.StdEncoding.EncodeToString(r.Payload)
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Record) UnmarshalJSON(b []byte) (err error) {
	var w wireRecord
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*r = Record{w.Namespace, w.First, w.Last, w.Prev, w.Hash, []byte(w.Payload)}
	switch w.Encoding {
	case "":
	case "base64":
		r.Payload, err = base64.StdEncoding.DecodeString(w.Payload)
	default:
		err = fmt.Errorf("a record in the encoding %q", w.Encoding)
	}
	return err
}

// Chains are the records behind a [Log], which may be one of these, too.
type Chains interface {
	// Records hands on the records of all namespaces whose last event has a number greater than after has for the
	// namespace (0 where it has none), by namespace, in order, as they stand at one moment. Each is proved by itself and to
	// continue the one before. visit's error ends it and is returned; visit must not keep the payload.
	Records(ctx context.Context, after map[Namespace]uint64, visit func(Record) error) error
	// Heads are the ends of all namespaces, sorted by name.
	Heads(ctx context.Context) ([]Head, error)
	// HashAt is the hash of the record that ends with an event; ok is false where none does.
	HashAt(ctx context.Context, ns Namespace, seq uint64) (h ChainHash, ok bool, err error)
}
