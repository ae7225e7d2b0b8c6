package etcd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"sluice"
)

const (
	// most is how many bytes of a payload one key holds: etcd takes requests of 1.5 MiB by default.
	most = 1 << 20
	// compressFrom is the size from which compressing a payload pays.
	compressFrom   = 4 << 10
	compressWindow = 256 << 10
	// maxPayload bounds what is unpacked.
	maxPayload = 128 << 20
)

// header is the first line of a record's value; the payload follows, or is in so many parts.
type header struct {
	First uint64           `json:"first"`
	Prev  sluice.ChainHash `json:"prev"`
	Hash  sluice.ChainHash `json:"hash"`
	Size  int              `json:"size"`
	Zstd  bool             `json:"zstd,omitempty"`
	Parts int              `json:"parts,omitempty"`
}

// packer makes values of records, and back. It is safe for concurrent use.
type packer struct {
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

func newPacker() (*packer, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(compressWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload))
	return &packer{zip, unzip}, err
}

// pack makes the value of a record, and the parts that have to be there before it.
func (p *packer) pack(r sluice.Record) (value []byte, parts [][]byte, err error) {
	h := header{First: r.First, Prev: r.Prev, Hash: r.Hash, Size: len(r.Payload)}
	payload := r.Payload
	if len(payload) >= compressFrom {
		if z := p.zip.EncodeAll(payload, nil); len(z) < len(payload) {
			h.Zstd, payload = true, z
		}
	}
	if len(payload) > most {
		for len(payload) > 0 {
			n := min(most, len(payload))
			parts, payload = append(parts, payload[:n]), payload[n:]
		}
		h.Parts = len(parts)
	}
	line, err := json.Marshal(h)
	return append(append(line, '\n'), payload...), parts, err
}

// headerOf reads the first line of a value, and returns what follows it.
func headerOf(value []byte) (h header, payload []byte, err error) {
	line, payload, ok := bytes.Cut(value, []byte{'\n'})
	if !ok {
		return h, nil, errors.New("its value has no first line")
	}
	err = json.Unmarshal(line, &h)
	return h, payload, err
}

// unpack makes a record of its value, whose parts are in payload already, and proves it.
func (p *packer) unpack(ns sluice.Namespace, last uint64, h header, payload []byte) (r sluice.Record, err error) {
	r = sluice.Record{Namespace: ns, First: h.First, Last: last, Prev: h.Prev, Hash: h.Hash, Payload: payload}
	if h.Size < 0 || h.Size > maxPayload || h.First < 1 || h.First > last {
		return r, errors.New("it has impossible fields")
	}
	if h.Zstd {
		if r.Payload, err = p.unzip.DecodeAll(payload, make([]byte, 0, h.Size)); err != nil {
			return r, fmt.Errorf("it cannot be unpacked: %w", err)
		}
	}
	if len(r.Payload) != h.Size || r.Sum() != r.Hash {
		return r, errors.New("it is not what was written")
	}
	return r, nil
}
