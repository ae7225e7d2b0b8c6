package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/api"
	"sluice/client"
	"sluice/internal/core/fleet"
	"sluice/internal/core/view"
	"sluice/internal/front/clean"
)

// enrolAtOnce is how many hosts are asked for their keys at once: most of the time is waiting.
const enrolAtOnce = 16

func (a *app) hostEnrol() *cobra.Command {
	var t targetFlags
	var yes bool
	c := &cobra.Command{
		Use:   "enrol HOST...",
		Short: "Learn and show the keys of hosts, and add them to known_hosts",
		Long: `Ask hosts for their keys, show the fingerprints, and add them to known_hosts.
Compare the fingerprints with what the console of the host says: whoever is in
the middle now stays there. A key that differs from a known one is never
replaced.

Where a server is chosen, the server asks, and adds them to its own known_hosts.
That takes the right server.run, and is on record. Hosts that other workers
reach are known on the machines of those.`,
		Example: `  sluice host enrol 'web[01-20]'`,
		Args:    args(1, -1, "hosts"),
		RunE:    func(c *cobra.Command, names []string) error { return a.enrol(c.Context(), t, names, yes) },
	}
	t.addFleet(c)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "add them without being asked")
	return c
}

// enrolled is what came of asking one host for its key.
type enrolled struct {
	host    sluice.Host
	address string // where the fleet says that it is; "" if it says nothing
	key     HostKey
	wire    []byte // the key itself, from a server
	err     error
}

// keyring is where keys are learnt and kept: this machine, or a server.
type keyring struct {
	// chunk is how many hosts are asked at a time, atOnce how often that is done side by side.
	chunk, atOnce int
	// ask asks hosts, and answers in their order. An error is that nobody can be asked.
	ask func(context.Context, []sluice.Host) ([]enrolled, error)
	// keep adds keys; what went wrong with one is told.
	keep func(ctx context.Context, fresh []enrolled, failed func(enrolled, error)) error
}

func (a *app) enrol(ctx context.Context, t targetFlags, names []string, yes bool) error {
	ns, l, sent, err := a.whichFleet(ctx, t)
	if err != nil {
		return err
	}
	settings := func(sluice.Host) sluice.SSH { return sluice.SSH{} }
	if l != nil {
		settings = l.Fleet().SSHFor
	}
	hosts, err := namedHosts(l, names)
	if err != nil {
		return err
	}
	ring, closing := a.ownKeys(settings), func() error { return nil }
	if a.elsewhere() {
		var s *client.Client
		if s, closing, err = a.Client(*a.chosen); err != nil {
			return err
		}
		ring = serverKeys(s, ns, sent.Bundle, settings)
	}
	err = a.interruptible(ctx, func(ctx context.Context) error { return a.enrolAll(ctx, ring, hosts, yes) })
	return errors.Join(err, closing())
}

// ownKeys are the known_hosts of this machine.
func (a *app) ownKeys(settings func(sluice.Host) sluice.SSH) keyring {
	return keyring{chunk: 1, atOnce: enrolAtOnce,
		ask: func(ctx context.Context, hosts []sluice.Host) ([]enrolled, error) {
			s := settings(hosts[0])
			e := enrolled{host: hosts[0], address: s.Address}
			e.key, e.err = a.Enrol(ctx, e.host, s)
			return []enrolled{e}, nil
		},
		keep: func(_ context.Context, fresh []enrolled, failed func(enrolled, error)) error {
			for _, e := range fresh {
				if err := e.key.Keep(); err != nil {
					failed(e, err)
				}
			}
			return nil
		}}
}

// serverKeys are those that the server's own worker knows hosts by. sent is a fleet that goes along; nil: the applied one counts.
func serverKeys(s *client.Client, ns sluice.Namespace, sent *fleet.Bundle, settings func(sluice.Host) sluice.SSH) keyring {
	var given any // without a fleet it must be nil, which a nil *Bundle in it is not
	if sent != nil {
		given = sent
	}
	return keyring{chunk: enrolAtOnce, atOnce: 2, // while the slow ones of a chunk are waited for, the next one is asked
		ask: func(ctx context.Context, hosts []sluice.Host) ([]enrolled, error) {
			keys, err := s.AskHostKeys(ctx, api.AskHostKeys{Namespace: ns, Fleet: given, Hosts: hosts})
			if err != nil {
				return nil, err
			}
			out := make([]enrolled, len(hosts))
			for i, h := range hosts {
				out[i] = enrolledAt(h, settings(h), keys[i])
			}
			return out, nil
		},
		keep: func(ctx context.Context, fresh []enrolled, failed func(enrolled, error)) error {
			for part := range slices.Chunk(fresh, client.MaxHostKeys) {
				add := api.AddHostKeys{Namespace: ns, Fleet: given}
				for _, e := range part {
					add.Keys = append(add.Keys, api.PublicKey{Host: e.host, Type: e.key.Type, Key: e.wire})
				}
				// Once agreed it is done: nobody could say of an interrupted request what came of it.
				added, err := s.AddHostKeys(context.WithoutCancel(ctx), add)
				if err != nil {
					return err
				}
				for i, k := range added {
					if k.Error != "" {
						failed(part[i], errors.New(k.Error))
					}
				}
			}
			return nil
		}}
}

// enrolledAt is what a server says of a host. The fingerprint is of the key that would be added, whatever the server says.
func enrolledAt(h sluice.Host, s sluice.SSH, k api.HostKey) enrolled {
	e := enrolled{host: h, address: s.Address, wire: k.Key}
	switch {
	case k.Error != "":
		e.err = errors.New(k.Error)
	case k.Host != h || len(k.Key) == 0:
		e.err = errors.New("the server does not say which key it has")
	}
	sum := sha256.Sum256(k.Key)
	e.key = HostKey{Fingerprint: "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]), Type: clean.Text(k.Type), Address: clean.Text(k.Address),
		Known: k.State == "known"}
	return e
}

func (a *app) enrolAll(ctx context.Context, ring keyring, hosts []sluice.Host, yes bool) error {
	var fresh []enrolled
	var refused view.Reasons
	err := askKeys(ctx, ring, hosts, func(e enrolled) error {
		if e.err != nil {
			refused.Add(e.host, e.address, e.err.Error())
			return nil
		}
		if !e.key.Known {
			fresh = append(fresh, e)
		}
		return a.printKey(e)
	})
	if err != nil {
		return err
	}
	a.printRefused(refused.All())
	lost, err := a.keep(ctx, ring, fresh, yes)
	a.printRefused(lost)
	if err != nil {
		return err
	}
	if len(refused.All())+len(lost) > 0 {
		return exitError(exitFailures)
	}
	return nil
}

func interrupted() error { return sluice.Errorf(sluice.Contact, "interrupted; nothing was added") }

// askKeys asks the hosts for their keys, some at once, and hands on what came of it in the order of the hosts.
func askKeys(ctx context.Context, ring keyring, hosts []sluice.Host, each func(enrolled) error) error {
	type answer struct {
		keys []enrolled
		err  error
	}
	chunks := slices.Collect(slices.Chunk(hosts, ring.chunk))
	answers := make([]chan answer, len(chunks))
	next := make(chan int, len(chunks))
	for i := range chunks {
		answers[i] = make(chan answer, 1)
		next <- i
	}
	close(next)
	var over atomic.Bool // nobody else is asked; the context goes on, since keys are kept within it
	var asking sync.WaitGroup
	for range min(ring.atOnce, len(chunks)) {
		asking.Go(func() {
			for i := range next {
				var got answer
				if got.err = ctx.Err(); got.err == nil && !over.Load() {
					got.keys, got.err = ring.ask(ctx, chunks[i])
				}
				answers[i] <- got
			}
		})
	}
	var err error
	for i := range chunks {
		got := <-answers[i]
		if err == nil {
			err = got.err
		}
		for _, e := range got.keys {
			if err == nil && ctx.Err() == nil {
				err = each(e)
			}
		}
		if err != nil {
			over.Store(true)
		}
	}
	asking.Wait()
	if ctx.Err() != nil {
		return interrupted()
	}
	return err
}

func (a *app) printKey(e enrolled) error {
	state := "new"
	if e.key.Known {
		state = "known"
	}
	if a.json() {
		return a.printJSON(map[string]any{"host": e.host, "address": e.key.Address, "type": e.key.Type, "fingerprint": e.key.Fingerprint, "state": state})
	}
	_, err := fmt.Fprintf(a.Stdout, "%-24s %-8s %-20s %s\n", e.host, state, e.key.Type, e.key.Fingerprint)
	return err
}

func (a *app) printRefused(reasons []*view.Reason) {
	for _, r := range reasons {
		fmt.Fprintf(a.Stderr, "sluice: %s: %s\n", fleet.Fold(r.Hosts), clean.Line(r.Text))
	}
}

// keep adds keys when the person agrees, and returns what went wrong.
func (a *app) keep(ctx context.Context, ring keyring, fresh []enrolled, yes bool) ([]*view.Reason, error) {
	if len(fresh) == 0 {
		return nil, nil
	}
	if !yes {
		if a.Confirm == nil {
			return nil, sluice.Errorf(sluice.Usage, "%s not added", count(len(fresh), "new key")).WithHint("--yes adds them without being asked")
		}
		yes, err := a.agreed(fmt.Sprintf("Add %s to known_hosts?", count(len(fresh), "key")))
		if err == nil && !yes {
			err = sluice.Errorf(sluice.Usage, "nothing was added")
		}
		if err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, interrupted()
	}
	var failed view.Reasons
	err := ring.keep(ctx, fresh, func(e enrolled, err error) { failed.Add(e.host, e.address, err.Error()) })
	return failed.All(), err
}
