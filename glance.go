package sluice

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// Glance reads the number and the job of an event as it is written, and looks at nothing else: a copy of the log has to know no more, and
// to read it all takes longer than to keep it.
func Glance(line []byte) (seq uint64, job JobID, err error) {
	if seq, job, ok := glance(line); ok {
		return seq, job, nil
	}
	var h header
	if err := json.Unmarshal(line, &h); err != nil {
		return 0, "", err
	}
	if h.V < 1 {
		return 0, "", errors.New("an event without a version")
	}
	return h.Seq, h.Job, nil
}

// The header as [Event.MarshalJSON] writes it, piece by piece.
var (
	beforeSeq  = []byte(`{"v":` + strconv.Itoa(EventVersion) + `,"seq":`)
	beforeTime = []byte(`,"time":"`)
	beforeType = []byte(`","type":"`)
	beforeJob  = []byte(`","job":"`)
	anyJob     = []byte(`"job"`)
)

// glance reads a header that is written in this very way. ok is false for any other.
func glance(b []byte) (seq uint64, job JobID, ok bool) {
	if b, ok = bytes.CutPrefix(b, beforeSeq); !ok {
		return 0, "", false
	}
	number, b, ok := bytes.Cut(b, beforeTime)
	if !ok {
		return 0, "", false
	}
	seq, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return 0, "", false
	}
	quote := bytes.IndexByte(b, '"') // the times have none
	if quote < 0 {
		return 0, "", false
	}
	if b, ok = bytes.CutPrefix(b[quote:], beforeType); !ok {
		return 0, "", false
	}
	if quote = bytes.IndexAny(b, `"\\`); quote < 0 || b[quote] != '"' {
		return 0, "", false
	}
	b = b[quote:]
	if !bytes.HasPrefix(b, beforeJob) {
		return seq, "", !bytes.Contains(b, anyJob) // another place is not where it is written
	}
	b = b[len(beforeJob):]
	if quote = bytes.IndexByte(b, '"'); quote < 0 {
		return 0, "", false
	}
	job = JobID(b[:quote])
	return seq, job, job.Valid()
}
