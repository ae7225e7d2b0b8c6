package sqlitelog

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"sluice"

	"github.com/klauspost/compress/zstd"
)

const (
	// compressFrom is the payload size from which compressing pays: below it the row fits a page or two.
	compressFrom   = 4 << 10
	compressWindow = 256 << 10
	// maxPayload bounds a record, written or unpacked. Rules for 100,000 hosts are a few megabytes.
	maxPayload = 128 << 20
)

// How a payload is stored.
const (
	formPlain = 0
	formZstd  = 1
)

type hash [sha256.Size]byte

// mark is a place in the chain of a namespace: the last event of a record, and that record's hash. The zero
// mark is the beginning.
type mark struct {
	seq  uint64
	hash hash
}

// record is one append, unpacked.
type record struct {
	ns          sluice.Namespace
	first, last uint64
	prev, hash  hash
	payload     []byte
}

func (r *record) end() mark { return mark{r.last, r.hash} }

// sum is what the record's hash must be.
func (r *record) sum() hash { return hash(r.whole().Sum()) }

// whole is the record as others see it. The payload is shared.
func (r *record) whole() sluice.Record {
	return sluice.Record{Namespace: r.ns, First: r.first, Last: r.last, Prev: sluice.ChainHash(r.prev), Hash: sluice.ChainHash(r.hash), Payload: r.payload}
}

// row is a record as it is stored.
type row struct {
	id          int64
	first, last int64
	prev, hash  []byte
	form        int64
	size        int64
	payload     []byte
}

// packer turns events into records and back. It is safe for concurrent use.
type packer struct {
	zip   *zstd.Encoder
	unzip *zstd.Decoder
}

func newPacker() (*packer, error) {
	// A small window: the usual one would take 8 MB to compress even the shortest payload.
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(compressWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload))
	if err != nil {
		return nil, err
	}
	return &packer{zip, unzip}, nil
}

func (p *packer) close() { p.unzip.Close() }

// pack numbers the events, which follow head, and makes a record of them.
func pack(ns sluice.Namespace, head mark, events []sluice.Event) (record, error) {
	r := record{ns: ns, first: head.seq + 1, last: head.seq + uint64(len(events)), prev: head.hash}
	var b bytes.Buffer
	for i := range events {
		e := &events[i]
		e.Seq = r.first + uint64(i)
		if err := writeEvent(&b, *e); err != nil {
			return r, err
		}
	}
	if b.Len() > maxPayload {
		return r, fmt.Errorf("%d events make %d bytes; at most %d fit into one append", len(events), b.Len(), maxPayload)
	}
	r.payload = b.Bytes()
	r.hash = r.sum()
	return r, nil
}

func writeEvent(b *bytes.Buffer, e sluice.Event) error {
	if e.Body == nil {
		return errors.New("an event without a body")
	}
	if e.Job != "" && !e.Job.Valid() {
		return fmt.Errorf("%s: %q is no job id", e.Body.Type(), e.Job)
	}
	line, err := e.MarshalJSON() // json.Marshal would read it all again
	if err != nil {
		return fmt.Errorf("%s: %w", e.Body.Type(), err)
	}
	if _, unknown := e.Body.(sluice.UnknownBody); unknown {
		// Its bytes are kept as they are, number included: it can be copied, but not given another place.
		var at struct{ Seq uint64 }
		if err := json.Unmarshal(line, &at); err != nil || at.Seq != e.Seq {
			return fmt.Errorf("%s: an event of a type that this version does not know has the number %d and cannot become %d",
				e.Body.Type(), at.Seq, e.Seq)
		}
	}
	b.Write(line)
	b.WriteByte('\n')
	return nil
}

// store makes a row of a record.
func (p *packer) store(r record) row {
	w := row{first: int64(r.first), last: int64(r.last), prev: r.prev[:], hash: r.hash[:],
		form: formPlain, size: int64(len(r.payload)), payload: r.payload}
	if len(r.payload) >= compressFrom {
		if z := p.zip.EncodeAll(r.payload, nil); len(z) < len(r.payload) {
			w.form, w.payload = formZstd, z
		}
	}
	return w
}

// load makes a record of a row, and proves that it is what was written.
func (p *packer) load(ns sluice.Namespace, w row) (record, error) {
	r := record{ns: ns, first: uint64(w.first), last: uint64(w.last), payload: w.payload}
	if w.first < 1 || w.last < w.first || len(w.prev) != len(r.prev) || len(w.hash) != len(r.hash) ||
		w.size < 0 || w.size > maxPayload {
		return r, damaged(ns, "the record of the events %d to %d has impossible fields", w.first, w.last)
	}
	copy(r.prev[:], w.prev)
	copy(r.hash[:], w.hash)
	if w.form == formZstd {
		var err error
		if r.payload, err = p.unzip.DecodeAll(w.payload, make([]byte, 0, w.size)); err != nil {
			return r, damaged(ns, "the events %d to %d cannot be unpacked (%v)", w.first, w.last, err)
		}
	}
	if w.form != formPlain && w.form != formZstd || int64(len(r.payload)) != w.size || r.sum() != r.hash {
		return r, damaged(ns, "the events %d to %d are not what was written", w.first, w.last)
	}
	return r, nil
}

// events appends the record's events after the number `after` to out.
func (r *record) events(out []sluice.Event, after uint64) ([]sluice.Event, error) {
	err := r.each(after, func(line []byte) (uint64, error) {
		var e sluice.Event
		err := json.Unmarshal(line, &e)
		out = append(out, e)
		return e.Seq, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// jobs are the jobs that the record's events are about, each once. It does not read more of them.
func (r *record) jobs() (out []sluice.JobID, err error) {
	seen := map[sluice.JobID]bool{}
	err = r.each(0, func(line []byte) (uint64, error) {
		seq, job, err := sluice.Glance(line)
		if job != "" && !seen[job] {
			seen[job] = true
			out = append(out, job)
		}
		return seq, err
	})
	return out, err
}

// each reads the lines of the events after the number `after`. read returns which number one says that it is.
func (r *record) each(after uint64, read func(line []byte) (uint64, error)) error {
	rest, seq := r.payload, r.first
	for ; len(rest) > 0; seq++ {
		line, more, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok || seq > r.last {
			return damaged(r.ns, "the record of the events %d to %d holds another number of events", r.first, r.last)
		}
		rest = more
		if seq <= after {
			continue
		}
		is, err := read(line)
		if err != nil {
			return damaged(r.ns, "event %d cannot be read (%v)", seq, err)
		}
		if is != seq {
			return damaged(r.ns, "event %d says that it is %d", seq, is)
		}
	}
	if seq != r.last+1 {
		return damaged(r.ns, "the record of the events %d to %d holds another number of events", r.first, r.last)
	}
	return nil
}

// jobs are the jobs that the events are about, each once.
func jobs(events []sluice.Event) []sluice.JobID {
	var out []sluice.JobID
	seen := map[sluice.JobID]bool{}
	for i := range events {
		if j := events[i].Job; j != "" && !seen[j] {
			seen[j] = true
			out = append(out, j)
		}
	}
	return out
}
