package app

import (
	"context"
	"slices"
	"strings"

	"sluice"
	"sluice/api"
	"sluice/internal/adapter/sshexec"
	"sluice/internal/front/cli"
)

// learn asks a host for its key.
func (l *Local) learn(ctx context.Context, h sluice.Host, s sluice.SSH) (key sshexec.Key, out api.HostKey, err error) {
	t, err := l.ssh(nil)
	if err != nil {
		return nil, out, err
	}
	defer t.Close()
	key, fingerprint, err := t.Enrol(ctx, h, s)
	if err != nil {
		return nil, out, err
	}
	known, name, err := t.Knows(h, s, key)
	if err != nil {
		return nil, out, err
	}
	out = api.HostKey{Host: h, Address: name, Type: key.Type(), Key: key.Marshal(), Fingerprint: fingerprint, State: "new"}
	if known {
		out.State = "known"
	}
	return key, out, nil
}

// enrol learns the key of a host for this machine.
func (l *Local) enrol(ctx context.Context, h sluice.Host, s sluice.SSH) (cli.HostKey, error) {
	key, learned, err := l.learn(ctx, h, s)
	if err != nil {
		return cli.HostKey{}, err
	}
	return cli.HostKey{Fingerprint: learned.Fingerprint, Type: learned.Type, Address: learned.Address, Known: learned.State == "known", Keep: func() error {
		t, err := l.ssh(nil)
		if err != nil {
			return err
		}
		defer t.Close()
		return t.AppendKnownHost(ctx, h, s, key, nil)
	}}, nil
}

// hostKeys are those that a server's own worker knows hosts by: the known_hosts of the user that the server runs as.
type hostKeys struct {
	local   *Local
	workers *workers
}

// Ask asks a host for its key.
func (k hostKeys) Ask(ctx context.Context, h sluice.Host, s sluice.SSH) (api.HostKey, error) {
	if err := k.ours(ctx, h, s); err != nil {
		return api.HostKey{}, err
	}
	_, out, err := k.local.learn(ctx, h, s)
	return out, err
}

// Add makes a key known.
func (k hostKeys) Add(ctx context.Context, s sluice.SSH, given api.PublicKey, first, then func(api.HostKey) error) (api.HostKey, error) {
	if err := k.ours(ctx, given.Host, s); err != nil {
		return api.HostKey{}, err
	}
	key, err := sshexec.ParseHostKey(given.Type, given.Key)
	if err != nil {
		return api.HostKey{}, err
	}
	t, err := k.local.ssh(nil)
	if err != nil {
		return api.HostKey{}, err
	}
	defer t.Close()
	known, name, err := t.Knows(given.Host, s, key)
	if err != nil {
		return api.HostKey{}, err
	}
	out := api.HostKey{Host: given.Host, Address: name, Type: key.Type(), Key: given.Key, Fingerprint: sshexec.Fingerprint(key), State: "known"}
	if known {
		return out, nil
	}
	if err := first(out); err != nil {
		return api.HostKey{}, err
	}
	out.State = "added"
	return out, t.AppendKnownHost(ctx, given.Host, s, key, func() error { return then(out) })
}

// ours refuses hosts that others reach, who know them by files of their own.
func (k hostKeys) ours(ctx context.Context, h sluice.Host, s sluice.SSH) error {
	if k.workers.pool.Own(&sluice.Job{Targets: []sluice.Host{h}, SSH: s}) {
		return nil
	}
	pool := s.Pool.OrDefault()
	known, err := k.workers.roster.All(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, w := range known {
		if w.Enrolled && slices.Contains(w.Pools, pool) {
			names = append(names, string(w.Name))
		}
	}
	if len(names) == 0 {
		names = []string{"there is none yet"}
	}
	return sluice.Errorf(sluice.Usage, "the server does not reach %s itself; have a look at its key on the machine of each worker of the pool %s (%s), "+
		"as the user that Sluice runs as there, with: sluice host enrol --server local %[1]s", h, pool, strings.Join(names, ", "))
}

// learnKey makes a key known as an administrator's wish does.
func (s *Server) learnKey(ctx context.Context, k sluice.LearnedKey) error {
	key, err := sshexec.ParseHostKey(k.Type, k.Key)
	if err != nil {
		return err
	}
	t, err := s.local().ssh(nil)
	if err != nil {
		return err
	}
	defer t.Close()
	return t.AppendKnownHost(ctx, k.Host, k.SSH, key, nil)
}
