// Package envelopes keeps the sealed secrets of jobs while they are needed, and opens them where a job is carried out.
//
// A [Store] is the server's half: it has envelopes in memory only, and cannot open them. An [Opener] is the worker's half:
// it has the key, and gives out what was inside by the rules of package secrets. It knows no network and no log.
package envelopes

import (
	"bytes"
	"sync"
	"time"

	"sluice"
	"sluice/sealed"
)

// Limits of a store.
const (
	maxJobs  = 10_000
	maxBytes = 64 << 20
)

// Store keeps envelopes by job. It is safe for concurrent use; the zero value is ready.
type Store struct {
	mu    sync.Mutex
	of    map[sluice.JobID]kept
	bytes int
}

type kept struct {
	sealed.Envelope
	expires time.Time
}

// Put keeps an envelope that somebody gives for a job, in place of what was kept before. It must say that it is from them
// and for the job as it stands; whether that is true is for the worker to see. undo takes it back, and puts back what was
// there.
func (s *Store) Put(j *sluice.Job, by string, e sealed.Envelope, now time.Time) (undo func(), err error) {
	if err := check(j, by, e, now); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, was := s.of[j.ID]
	if err := s.put(j.ID, e, now); err != nil {
		return nil, err
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !bytes.Equal(s.of[j.ID].Envelope, e) {
			return // somebody else has given others since
		}
		s.drop(j.ID)
		if was {
			s.keep(j.ID, before)
		}
	}, nil
}

// PutFirst is Put for a job that is about to be submitted: an envelope that is there stays.
func (s *Store) PutFirst(j *sluice.Job, by string, e sealed.Envelope, now time.Time) (undo func(), err error) {
	if err := check(j, by, e, now); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, is := s.of[j.ID]; is && now.Before(k.expires) {
		return func() {}, nil
	}
	if err := s.put(j.ID, e, now); err != nil {
		return nil, err
	}
	return func() { s.Drop(j.ID, e) }, nil
}

func check(j *sluice.Job, by string, e sealed.Envelope, now time.Time) error {
	h, err := e.Header()
	if err != nil {
		return err
	}
	if h.By != by {
		return sluice.Errorf(sluice.Denied, "the secrets are from %q, and you are %q", h.By, by)
	}
	if err := h.Fits(j, now); err != nil {
		return &sluice.Error{Code: sluice.Conflict, Text: "the secrets do not fit", Err: err,
			Hint: "the fleet may have changed since they were sealed: try again"}
	}
	return nil
}

func (s *Store) put(id sluice.JobID, e sealed.Envelope, now time.Time) error {
	s.drop(id)
	if len(s.of) >= maxJobs || s.bytes+len(e) > maxBytes {
		for id, k := range s.of {
			if !now.Before(k.expires) {
				s.drop(id)
			}
		}
	}
	if len(s.of) >= maxJobs || s.bytes+len(e) > maxBytes {
		return sluice.Errorf(sluice.Contact, "the server keeps the secrets of %d jobs and takes no more", len(s.of)).
			WithHint("when some of them have ended")
	}
	h, err := e.Header()
	if err != nil {
		return err
	}
	s.keep(id, kept{bytes.Clone(e), h.Expires})
	return nil
}

func (s *Store) keep(id sluice.JobID, k kept) {
	if s.of == nil {
		s.of = map[sluice.JobID]kept{}
	}
	s.of[id] = k
	s.bytes += len(k.Envelope)
}

// drop forgets an envelope. Its bytes are left alone: an attempt may be opening them.
func (s *Store) drop(id sluice.JobID) {
	s.bytes -= len(s.of[id].Envelope)
	delete(s.of, id)
}

// Get returns the envelope of a job, or nil. It must not be changed.
func (s *Store) Get(id sluice.JobID, now time.Time) sealed.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, is := s.of[id]
	if is && !now.Before(k.expires) {
		s.drop(id)
		return nil
	}
	return k.Envelope
}

// Drop forgets an envelope of a job. One that was given since stays.
func (s *Store) Drop(id sluice.JobID, e sealed.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(s.of[id].Envelope, e) {
		s.drop(id)
	}
}
