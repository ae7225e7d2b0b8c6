package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/run/fold"
)

const page = 10000 // events at a time

// Applied is a version of the fleet of a namespace.
type Applied struct {
	sluice.FleetApplied
	Namespace sluice.Namespace
	Seq       uint64
	Time      time.Time
	// Same says that the content is what was the current version already: no new one was made.
	Same bool
}

// FleetAt says which version of a fleet is meant: that of a number, else that of a time, else the current one.
type FleetAt struct {
	Version int
	Time    time.Time
}

// applied remembers the fleets of namespaces, so that neither the log nor a bundle is read again for every question.
type applied struct {
	mu     sync.Mutex
	spaces map[sluice.Namespace]*appliedSpace
}

type appliedSpace struct {
	mu      sync.Mutex
	seq     uint64 // up to which the log was read
	history []Applied
	digest  string // of the bundle of loaded
	loaded  *fleet.Loaded
}

func (a *applied) space(ns sluice.Namespace) *appliedSpace {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spaces == nil {
		a.spaces = map[sluice.Namespace]*appliedSpace{}
	}
	if a.spaces[ns] == nil {
		a.spaces[ns] = &appliedSpace{}
	}
	return a.spaces[ns]
}

func (a *applied) forget(ns sluice.Namespace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.spaces, ns)
}

// take adds an event to a history.
func take(history []Applied, ns sluice.Namespace, e sluice.Event) []Applied {
	if b, ok := e.Body.(sluice.FleetApplied); ok {
		history = append(history, Applied{FleetApplied: b, Namespace: ns, Seq: e.Seq, Time: e.Time})
	}
	return history
}

// Fleets lists the versions of the fleet of a namespace, oldest first.
func (s *Service) Fleets(ctx context.Context, ns sluice.Namespace) ([]Applied, error) {
	sp := s.read().space(ns)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	err := s.catchUp(ctx, ns, sp)
	return slices.Clone(sp.history), err
}

// catchUp reads on to the head of the log.
func (s *Service) catchUp(ctx context.Context, ns sluice.Namespace, sp *appliedSpace) error {
	for {
		events, err := s.Log.Read(ctx, ns, sp.seq, page)
		if sp.seq == 0 && len(events) == 0 {
			s.read().forget(ns) // whoever asks for names that are none shall not fill the memory
		}
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			sp.history, sp.seq = take(sp.history, ns, e), e.Seq
		}
	}
}

// ApplyFleet makes the fleet of a bundle the current one of its namespace, and puts its rules in force. base is the version
// that the change was made from: where another one is current by now, the error is a Conflict. A base below 0 takes
// whatever is there. What is current already is no new version, whatever the base: to apply it twice does no harm.
func (s *Service) ApplyFleet(ctx context.Context, b fleet.Bundle, note string, base int) (Applied, error) {
	b, err := fleet.Record(b.Source()).Bundle(b.Main) // what the fleet does not need is left out
	if err != nil {
		return Applied{}, err
	}
	loaded, err := b.Load()
	if err != nil {
		return Applied{}, err
	}
	f := loaded.Fleet()
	rules, err := sluice.NewRules(f.Hosts, f.Constraints)
	if err != nil {
		return Applied{}, err
	}
	data, err := b.Encode()
	if err != nil {
		return Applied{}, err
	}
	digest, _, err := s.Blobs.Put(ctx, bytes.NewReader(data))
	if err != nil {
		return Applied{}, fmt.Errorf("keeping the fleet: %w", err)
	}
	next := sluice.FleetApplied{Bundle: digest, Rules: rules.Digest, Hosts: len(f.Hosts), By: s.By, Note: note}
	return s.apply(ctx, f.Namespace, next, rules, base)
}

func (s *Service) apply(ctx context.Context, ns sluice.Namespace, next sluice.FleetApplied, rules sluice.Rules, base int) (Applied, error) {
	state, err := fold.Namespace(ctx, s.Log, ns)
	if err != nil {
		return Applied{}, err
	}
	history, err := s.Fleets(ctx, ns) // read after the state: what comes after both is in the tail
	if err != nil {
		return Applied{}, err
	}
	var now Applied
	var made []sluice.Event
	_, err = s.Log.Update(ctx, ns, state.Seq(), func(tail []sluice.Event) ([]sluice.Event, error) {
		seen := lastSeq(history)
		for _, e := range tail {
			if err := state.Apply(e); err != nil {
				return nil, err
			}
			if e.Seq > seen {
				history = take(history, ns, e)
			}
		}
		if len(history) > 0 {
			now = history[len(history)-1]
		}
		var err error
		made, err = s.decideFleet(state, now, next, rules, base)
		return made, err
	})
	if err != nil {
		return Applied{}, err
	}
	for _, e := range made {
		if b, ok := e.Body.(sluice.FleetApplied); ok {
			return Applied{FleetApplied: b, Namespace: ns, Seq: e.Seq, Time: e.Time}, nil
		}
	}
	now.Same = true
	return now, nil
}

func lastSeq(history []Applied) uint64 {
	if len(history) == 0 {
		return 0
	}
	return history[len(history)-1].Seq
}

// decideFleet makes the events that put a fleet in the place of the one that is there now.
func (s *Service) decideFleet(state *schedule.State, now Applied, next sluice.FleetApplied, rules sluice.Rules, base int) ([]sluice.Event, error) {
	var out []sluice.Event
	if state.InForce() != rules.Digest {
		out = append(out, s.event("", sluice.RulesApplied{Rules: rules, By: s.By}))
	}
	switch {
	case now.Version > 0 && now.Bundle == next.Bundle:
		return out, nil // rules of a job's own fleet file may have come between
	case base >= 0 && base != now.Version:
		return nil, stale(now, base)
	}
	next.Version = now.Version + 1
	return append(out, s.event("", next)), nil
}

func stale(now Applied, base int) error {
	if now.Version == 0 {
		return sluice.Errorf(sluice.Conflict, "the change was made from version %d of the fleet, and none was applied yet", base)
	}
	return sluice.Errorf(sluice.Conflict, "the change was made from version %d of the fleet, and %s applied version %d meanwhile", base, now.By, now.Version).
		WithHint("look at what is different, take it over, and apply again with version %d as the base", now.Version)
}

// FleetAt returns the bundle of a version of a namespace's fleet.
func (s *Service) FleetAt(ctx context.Context, ns sluice.Namespace, at FleetAt) (fleet.Bundle, Applied, error) {
	history, err := s.Fleets(ctx, ns)
	if err != nil {
		return fleet.Bundle{}, Applied{}, err
	}
	is, err := at.in(ns, history)
	if err != nil {
		return fleet.Bundle{}, Applied{}, err
	}
	b, err := s.bundle(ctx, is)
	return b, is, err
}

func (at FleetAt) in(ns sluice.Namespace, history []Applied) (Applied, error) {
	if len(history) == 0 {
		return Applied{}, sluice.Errorf(sluice.NotFound, "no fleet was applied to the namespace %s", ns)
	}
	newest := history[len(history)-1]
	for _, a := range slices.Backward(history) {
		switch {
		case at.Version != 0:
			if a.Version == at.Version {
				return a, nil
			}
		case at.Time.IsZero() || !a.Time.After(at.Time):
			return a, nil
		}
	}
	if at.Version != 0 {
		return Applied{}, sluice.Errorf(sluice.NotFound, "the fleet of %s has no version %d; the newest is %d", ns, at.Version, newest.Version)
	}
	return Applied{}, sluice.Errorf(sluice.NotFound, "the namespace %s had no fleet at %s; the first was applied at %s", ns,
		at.Time.UTC().Format(time.RFC3339), history[0].Time.UTC().Format(time.RFC3339))
}

// bundle reads what a version was loaded from.
func (s *Service) bundle(ctx context.Context, a Applied) (fleet.Bundle, error) {
	fail := func(err error) (fleet.Bundle, error) {
		return fleet.Bundle{}, &sluice.Error{Code: sluice.Contact, Text: fmt.Sprintf("version %d of the fleet of %s cannot be read", a.Version, a.Namespace), Err: err}
	}
	r, err := s.Blobs.Open(ctx, a.Bundle)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Errorf("its content %s is not there", a.Bundle))
	} else if err != nil {
		return fail(err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, fleet.MaxBundle+1))
	if err != nil {
		return fail(err)
	}
	b, err := fleet.DecodeBundle(data)
	if err != nil {
		return fail(err)
	}
	if digest, err := b.Digest(); err != nil || digest != a.Bundle {
		return fail(fmt.Errorf("its content is not %s", a.Bundle))
	}
	return b, nil
}

// Fleet returns the current fleet of a namespace, for planning and for target expressions. Several may use it at once.
func (s *Service) Fleet(ctx context.Context, ns sluice.Namespace) (*fleet.Loaded, Applied, error) {
	sp := s.read().space(ns)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if err := s.catchUp(ctx, ns, sp); err != nil {
		return nil, Applied{}, err
	}
	is, err := FleetAt{}.in(ns, sp.history)
	if err != nil {
		return nil, Applied{}, err
	}
	if sp.digest != is.Bundle {
		b, err := s.bundle(ctx, is)
		if err != nil {
			return nil, Applied{}, err
		}
		loaded, err := b.Load()
		if err != nil {
			return nil, Applied{}, fmt.Errorf("version %d of the fleet of %s: %w", is.Version, ns, err)
		}
		sp.digest, sp.loaded = is.Bundle, loaded
	}
	return sp.loaded, is, nil
}

// HostsOf says which hosts a tag of a namespace has, as its fleet says now. Where there is no fleet, a tag has none.
func (s *Service) HostsOf(ctx context.Context, ns sluice.Namespace) (func(sluice.Tag) []sluice.Host, error) {
	loaded, _, err := s.Fleet(ctx, ns)
	if sluice.CodeOf(err) == sluice.NotFound {
		return func(sluice.Tag) []sluice.Host { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	return func(t sluice.Tag) []sluice.Host { return loaded.Fleet().Tags[t] }, nil
}
