package work

import (
	"bytes"

	"sluice/internal/core/target"
)

// stream is one of the two outputs on its way into the store: redacted, bounded, each byte once.
type stream struct {
	t        *attempt
	name     string
	read     int64 // offset behind the last byte that came from the host
	written  int64 // offset behind the last byte in the store; less than read by what the redactor holds
	limit    int64
	redactor *target.Redactor
	hidden   bool // there may be secrets in it that nobody here knows: none of it is kept
	cut      bool // there was more than is kept
	broken   bool // the store did not take it
	fresh    bool // something was written
}

// take adds bytes that begin at an offset. What is known already is dropped.
func (s *stream) take(offset int64, data []byte) {
	if known := s.read - offset; known > 0 {
		data = data[min(known, int64(len(data))):]
	}
	if len(data) == 0 {
		return
	}
	if room := max(0, s.limit-s.read); int64(len(data)) > room {
		s.cut = true
		data = data[:room]
	}
	s.read += int64(len(data))
	if s.t.lure.Feed(s.name, data) {
		s.t.spoofed = true
	}
	if s.t.prompts != nil {
		s.t.prompts.Feed(s.name, data)
	}
	if s.hidden {
		s.cut = true
		return
	}
	s.write(s.redactor.Feed(data))
}

// flush writes what the redactor holds: no more will come.
func (s *stream) flush() { s.write(s.redactor.Rest()) }

func (s *stream) write(data []byte) {
	if len(data) == 0 || s.broken {
		return
	}
	a := s.t.a
	if err := s.t.w.cfg.Outputs.Write(a.Job.ID, a.Attempt, s.name, s.written, data); err != nil {
		s.broken = true // the outcome matters more than the output
		return
	}
	s.fresh = true
	offset := s.written
	s.written += int64(len(data))
	if a.Output != nil {
		a.Output(s.name, offset, bytes.Clone(data))
	}
}
