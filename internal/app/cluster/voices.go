package cluster

import (
	"context"
	"log/slog"
	"sync"

	"sluice"
	"sluice/internal/adapter/peerwire"
	"sluice/internal/core/member"
)

// voices are the versions of the protocol among servers in which the others spoke last. Some may be of versions with which this server
// can have nothing to do.
type voices struct {
	mu    sync.Mutex
	spoke map[string]int
}

// heard notes a version, and says once that it is too far away.
func (v *voices) heard(name string, protocol int, log *slog.Logger) {
	v.mu.Lock()
	was, known := v.spoke[name]
	if v.spoke == nil {
		v.spoke = map[string]int{}
	}
	v.spoke[name] = protocol
	v.mu.Unlock()
	if known && was == protocol {
		return
	}
	if err := peerwire.Apart(name, protocol); err != nil {
		log.Error(err.Error())
	}
}

// apart says why this server can have nothing to do with another one; nil: it can, or never heard of it.
func (v *voices) apart(name string) error {
	v.mu.Lock()
	protocol, known := v.spoke[name]
	v.mu.Unlock()
	if !known {
		return nil
	}
	return peerwire.Apart(name, protocol)
}

// understood says why this server must not own the log: it is too far away from so many of the members that the others, with this one, are
// no majority. Those would hand it nothing, and what commands print would be kept nowhere else.
func (n *neighbours) understood(ctx context.Context) error {
	all, err := n.members.All(ctx)
	if err != nil {
		return err
	}
	return enough(all, n.self, n.voices.apart)
}

// enough is one of the reasons where too many are apart.
func enough(all []member.Known, self sluice.ServerName, apart func(string) error) (why error) {
	members, far := 0, 0
	for _, m := range all {
		if !m.Joined {
			continue
		}
		members++
		if m.Name == self {
			continue
		}
		if err := apart(string(m.Name)); err != nil {
			far, why = far+1, err
		}
	}
	if far > 0 && members-far <= members/2 {
		return why
	}
	return nil
}

// hear has every other member say once in which version it speaks, before this server owns the log for the first time. Who does not answer
// now is heard when it asks something.
func (n *neighbours) hear(ctx context.Context) error {
	others, err := n.all(ctx)
	if err != nil {
		return err
	}
	var asked sync.WaitGroup
	for _, o := range others {
		asked.Go(func() {
			within, done := context.WithTimeout(ctx, aboutWithin)
			defer done()
			_ = o.Ask(within, "about", struct{}{}, nil) // what it says of itself is for the owner
		})
	}
	asked.Wait()
	return nil
}
