package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/app/private"
	"sluice/internal/core/crew"
	"sluice/internal/run/control"
	"sluice/internal/run/envelopes"
	"sluice/sealed"
)

// custody is what a server has to do with secrets: it keeps envelopes, and has them opened by its own worker, or by the one
// elsewhere that they are sealed to.
type custody struct {
	store   envelopes.Store
	opener  envelopes.Opener
	service *control.Service
	clock   sluice.Clock
	log     *slog.Logger
	workers *workers // set before anything is asked

	mu        sync.Mutex
	entrusted map[sluice.JobID]*entrusted // jobs that are being carried out
	approvals map[sluice.JobID][][]byte   // of jobs that are being carried out, as they were signed
}

// newCustody finds the key of the server's own worker, or makes it. From here on the memory of this process is closed.
func (s *Server) newCustody(service *control.Service) (*custody, error) {
	if err := closeMemory(); err != nil {
		return nil, err
	}
	c := &custody{service: service, clock: s.Clock, log: s.Log, entrusted: map[sluice.JobID]*entrusted{}, approvals: map[sluice.JobID][][]byte{}}
	if s.NoWorker {
		return c, nil // and no key: there is nothing here that could open anything
	}
	opener, err := newOpener(s.Data, s.Submitters, s.Clock, s.Log)
	if err != nil {
		return nil, err
	}
	c.opener = *opener
	s.Log.Info("the server's own worker opens secrets", "worker", sluice.EmbeddedWorker, "key", opener.Key.Public().Fingerprint())
	return c, nil
}

// sealKeyFile has the key of a worker that secrets are sealed to.
const sealKeyFile = "worker.key"

// newOpener is a worker's half of secrets: its key, and the keys of those who give some, in files of its data. With a file of
// submitters, those count who stand in it, and no others.
func newOpener(data, submitters string, clock sluice.Clock, log *slog.Logger) (*envelopes.Opener, error) {
	key, err := workerKey(filepath.Join(data, sealKeyFile))
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the worker's key for secrets", Err: err}
	}
	p := &pins{path: filepath.Join(data, "submitters"), told: func(text string) { log.Info(text) }}
	if submitters != "" {
		p = &pins{path: submitters, strict: true}
		if _, err := p.read(); err != nil {
			return nil, err
		}
	}
	return &envelopes.Opener{Key: key, Trust: p.trust, Clock: clock, Hold: hold}, nil
}

func workerKey(path string) (*sealed.WorkerKey, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		defer clear(text)
		return sealed.ParseWorkerKey(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := sealed.NewWorkerKey()
	if err != nil {
		return nil, err
	}
	if text, err = key.Marshal(); err != nil {
		return nil, err
	}
	defer clear(text)
	return key, private.Write(path, text)
}

// Workers are those that the secrets of a job are sealed to: one, since how often a password may still be tried is known to
// one worker alone.
func (c *custody) Workers(ctx context.Context, j *sluice.Job) (sealed.Known, error) {
	if c.workers.pool.Own(j) {
		return sealed.Known{{Name: string(sluice.EmbeddedWorker), Key: c.opener.Key.Public()}}, nil
	}
	return c.workers.forSecrets(ctx, j)
}

func (c *custody) Put(ctx context.Context, j *sluice.Job, by string, e sealed.Envelope) (undo func(), err error) {
	if err := c.workers.maySeal(ctx, j, e); err != nil {
		return nil, err
	}
	undo, err = c.store.Put(j, by, e, c.clock())
	c.poke(j.ID)
	return undo, err
}

func (c *custody) PutFirst(ctx context.Context, j *sluice.Job, by string, e sealed.Envelope) (undo func(), err error) {
	if err := c.workers.maySeal(ctx, j, e); err != nil {
		return nil, err
	}
	return c.store.PutFirst(j, by, e, c.clock())
}

// Has reports whether there are secrets for a job.
func (c *custody) Has(id sluice.JobID) bool { return c.store.Get(id, c.clock()) != nil }

// kept are the secrets of one job, wherever they are opened.
type kept interface {
	// Check says why they are not good.
	Check() error
	// Expires is when they are not good any more; zero where there are none.
	Expires() time.Time
	// Opened is the envelope that they are of, or nil.
	Opened() sealed.Envelope
	Close()
}

// carry has a job carried out, with its secrets if it has any. Without those that it needs it is halted, and only asked
// how what runs ended.
func (c *custody) carry(ctx context.Context, id sluice.JobID, o control.DriveOptions) error {
	j, _, err := c.service.Info(ctx, string(id))
	if err != nil {
		return err
	}
	if !j.Spec.Options.NeedsSecrets() {
		_, err := c.service.Carry(ctx, id, o)
		return err
	}
	var secrets kept
	var news <-chan struct{}
	look := func() {}
	if c.workers.pool.Own(j.Spec) {
		own := c.opener.Job(j.Spec, func() sealed.Envelope { return c.store.Get(id, c.clock()) },
			func(e sealed.Envelope) { c.store.Drop(id, e) })
		o.Credentials, secrets = own, own
	} else {
		there := c.entrust(ctx, j.Spec)
		news, look, secrets = there.news, there.look, there
		look()
	}
	defer secrets.Close()
	if err := c.recall(ctx, j.Spec); err != nil {
		return err
	}
	defer c.forget(id)
	halted, err := c.halt(ctx, id, secrets)
	if err != nil || halted {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { c.watch(inner, id, secrets, news, look) })
	last, err := c.service.Carry(ctx, id, o)
	stop()
	watch.Wait()
	if _, is := last.Body.(sluice.JobFinished); is {
		c.store.Drop(id, secrets.Opened())
	}
	return err
}

// recall takes up the approvals of a job that were signed before it was carried out here.
func (c *custody) recall(ctx context.Context, j *sluice.Job) error {
	if !slices.ContainsFunc(j.Targets, func(h sluice.Host) bool { return len(sealed.Before(j, h)) > 0 }) {
		return nil
	}
	events, err := c.service.Events(ctx, j.ID)
	if err != nil {
		return err
	}
	for _, e := range events {
		if g, is := e.Body.(sluice.GatePassed); is && len(g.Signed) > 0 {
			c.Approved(j.ID, g.Signed)
		}
	}
	return nil
}

// Approved has an approval go to workers with the attempts of a job from now on. undo takes it back.
func (c *custody) Approved(id sluice.JobID, a sealed.Approval) (undo func()) {
	same := func(other []byte) bool { return bytes.Equal(a, other) }
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.approvals[id], same) {
		return func() {}
	}
	c.approvals[id] = append(slices.Clip(c.approvals[id]), a)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.approvals[id] = slices.DeleteFunc(slices.Clone(c.approvals[id]), same); len(c.approvals[id]) == 0 {
			delete(c.approvals, id)
		}
	}
}

// WantsSigned reports whether the worker that has a job carries out signed jobs alone.
func (c *custody) WantsSigned(id sluice.JobID) bool {
	has, _ := c.workers.pool.Holder(id)
	return has != "" && slices.ContainsFunc(c.workers.pool.Members(), func(m crew.Member) bool { return m.Name == has && m.SignedOnly })
}

// Approvals implements [pool.Custody].
func (c *custody) Approvals(id sluice.JobID) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.approvals[id]
}

func (c *custody) forget(id sluice.JobID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.approvals, id)
}

// halt halts a job whose secrets do not open. It reports whether the job is halted by that: nothing of it runs.
func (c *custody) halt(ctx context.Context, id sluice.JobID, secrets kept) (halted bool, err error) {
	why := secrets.Check()
	if why == nil {
		return false, nil
	}
	events, err := c.service.Lacks(ctx, id, reason(why), func() bool { return secrets.Check() != nil })
	for _, e := range events {
		if _, is := e.Body.(sluice.JobHalted); is {
			halted = true
		}
	}
	return halted, err
}

// reason is an error and what to do, in one line.
func reason(err error) string {
	var e *sluice.Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Error() + "; " + e.Hint
	}
	return err.Error()
}

// watch halts a job when its secrets are not good any more. news says that there may be something for look to see.
func (c *custody) watch(ctx context.Context, id sluice.JobID, secrets kept, news <-chan struct{}, look func()) {
	for {
		left := time.Minute // where nothing was opened there may be something later
		if at := secrets.Expires(); !at.IsZero() {
			left = max(at.Sub(c.clock()), 0)
		}
		t := time.NewTimer(left)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-news:
			t.Stop()
		case <-t.C:
		}
		look()
		if secrets.Check() == nil {
			continue
		}
		if _, err := c.halt(ctx, id, secrets); err != nil && ctx.Err() == nil {
			c.log.Warn(fmt.Sprintf("its secrets are over, and it cannot be halted: %v", err), "job", id)
		}
		select { // it is halting, or being resumed
		case <-ctx.Done():
			return
		case <-news:
			look()
		case <-time.After(time.Second):
		}
	}
}

// pins are the keys with which people sign, in a file: of lines of a name and a key. Unless they are strict, whoever comes
// first under a name is believed, and written down.
type pins struct {
	path   string
	strict bool
	told   func(text string)

	mu sync.Mutex
}

func (p *pins) read() (sealed.Known, error) {
	text, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) && !p.strict {
		return nil, nil
	}
	var known sealed.Known
	if err == nil {
		known, err = sealed.ParseKnown(text)
	}
	if err != nil {
		return nil, &sluice.Error{Code: sluice.Config, Text: "the keys of those who give secrets, " + p.path, Err: err}
	}
	return known, nil
}

// trust says whether the secrets of somebody who signs with a key are taken. The file is read each time, so that a line can
// be added or taken away while the worker runs.
func (p *pins) trust(by string, signer sealed.Key) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, err := p.read()
	if err != nil {
		return err
	}
	switch keys := known.Of(by); {
	case known.Has(by, signer):
		return nil
	case len(keys) > 0:
		return sluice.Errorf(sluice.Denied, "the secrets of %s are signed with the key %s, and the worker knows %s by %s: "+
			"either another machine of theirs, or somebody who says to be them", by, signer.Fingerprint(), by, keys[0].Fingerprint()).
			WithHint("if it is theirs, add the line %q to %s on the worker", by+" "+signer.String(), p.path)
	case p.strict:
		return sluice.Errorf(sluice.Denied, "the worker does not know %s, whose secrets are signed with the key %s", by, signer.Fingerprint()).
			WithHint("add the line %q to %s on the worker", by+" "+signer.String(), p.path)
	case !sealed.Namable(by):
		return sluice.Errorf(sluice.Denied, "the worker cannot remember anybody by the name %q", by)
	}
	if err := private.Write(p.path, append(known, sealed.Named{Name: by, Key: signer}).Text()); err != nil {
		return fmt.Errorf("the worker cannot remember the key of %s: %w", by, err)
	}
	if p.told != nil {
		p.told(fmt.Sprintf("secrets of %s are signed with the key %s from now on", by, signer.Fingerprint()))
	}
	return nil
}
