package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"sluice"
	"sluice/client"
	"sluice/internal/app/private"
	"sluice/sealed"
)

// Trusted is what a person's machine keeps to give secrets to the workers of servers: the key that they sign with, and the
// workers that they trust. The server says which workers there are; whether they are the right ones is decided here.
type Trusted struct {
	// Dir is where both are kept, as files that the person alone may read.
	Dir string
	// Server is the address of the server, as its workers are told apart from those of others.
	Server string
	// Fingerprints are those of workers that are trusted without a question.
	Fingerprints []string
	// Confirm asks a question; nil where there is nobody to ask.
	Confirm func(question string) (bool, error)
	// Tell says something to the person.
	Tell func(text string)
}

const (
	signingKey   = "signing.key"
	knownWorkers = "known_workers"
)

// Sealer seals for the workers of the server. The key to sign with is made where there is none.
func (t *Trusted) Sealer(clock sluice.Clock) (*client.Sealer, error) {
	signer, err := t.signer()
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the key that secrets are signed with", Err: err}
	}
	return &client.Sealer{Signer: signer, Trust: t.trust, Clock: clock}, nil
}

func (t *Trusted) signer() (*sealed.Signer, error) {
	path := filepath.Join(t.Dir, signingKey)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t.newSigner(path)
	}
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, errors.Join(err, fmt.Errorf("others may read %s, so it is not used", path))
	}
	return sealed.ParseSigner(text)
}

// newSigner makes a key. Of two that are made at once, the first counts.
func (t *Trusted) newSigner(path string) (*sealed.Signer, error) {
	s, err := sealed.NewSigner()
	if err != nil {
		return nil, err
	}
	text, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return nil, err
	}
	whole := filepath.Join(t.Dir, fmt.Sprintf(".%s-%d", signingKey, os.Getpid()))
	if err := private.Write(whole, text); err != nil {
		return nil, err
	}
	err = os.Link(whole, path)
	if err = errors.Join(os.Remove(whole), ignoring(err, fs.ErrExist), private.Sync(t.Dir)); err != nil {
		return nil, err
	}
	return t.signer()
}

func ignoring(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

func (t *Trusted) read() (sealed.Known, error) {
	text, err := os.ReadFile(filepath.Join(t.Dir, knownWorkers))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var known sealed.Known
	if err == nil {
		known, err = sealed.ParseKnown(text)
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: filepath.Join(t.Dir, knownWorkers), Err: err}
	}
	return known, nil
}

// trust lets secrets be sealed to workers that are known, or that the person says are right. One that shows another key
// than before gets nothing, whatever anybody says: that line must be taken out of the file by hand.
func (t *Trusted) trust(_ context.Context, workers sealed.Known) error {
	known, err := t.read()
	if err != nil {
		return err
	}
	before := len(known)
	for _, w := range workers {
		n := sealed.Named{Name: t.Server + "/" + w.Name, Key: w.Key}
		had := known.Of(n.Name)
		switch {
		case known.Has(n.Name, n.Key):
			continue
		case len(had) > 0:
			return sluice.Errorf(sluice.Denied, "THE KEY OF WORKER %s IS ANOTHER ONE: it was %s, and the server now says %s. "+
				"Somebody may want your passwords; nothing was sent", w.Name, had[0].Fingerprint(), w.Key.Fingerprint()).
				WithHint("if the worker was set up anew, and says this fingerprint itself, remove the line %q from %s",
					n.Name+" "+had[0].String(), filepath.Join(t.Dir, knownWorkers))
		}
		if err := t.meet(w); err != nil {
			return err
		}
		known = append(known, n)
	}
	if len(known) == before {
		return nil
	}
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return err
	}
	return private.Write(filepath.Join(t.Dir, knownWorkers), known.Text())
}

// meet decides about a worker that is not known yet.
func (t *Trusted) meet(w sealed.Named) error {
	fingerprint := w.Key.Fingerprint()
	if slices.Contains(t.Fingerprints, fingerprint) {
		return nil
	}
	unknown := sluice.Errorf(sluice.Denied, "worker %s of %s is not known here; its key is %s", w.Name, t.Server, fingerprint).
		WithHint("compare it with what the worker prints when it starts, then: --trust-worker %s", fingerprint)
	if t.Confirm == nil {
		return unknown
	}
	t.Tell(fmt.Sprintf("Your secrets go to worker %s of %s, which is not known here. Its key is\n  %s\n"+
		"The worker prints that when it starts.", w.Name, t.Server, fingerprint))
	yes, err := t.Confirm("Is it the same?")
	if err != nil {
		return err
	}
	if !yes {
		return unknown
	}
	return nil
}
