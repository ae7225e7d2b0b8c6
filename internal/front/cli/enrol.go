package cli

import (
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/front/clean"
	"sluice/internal/front/live"
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
replaced.`,
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
	err     error
}

func (a *app) enrol(ctx context.Context, t targetFlags, names []string, yes bool) error {
	if a.elsewhere() {
		return sluice.Errorf(sluice.Usage, "hosts are reached by the known_hosts of the machine that the server, or the worker of their pool, is on; this would change the one here").
			WithHint("there, as the user that Sluice runs as: sluice host enrol --server %s HOST...", localName)
	}
	settings := func(sluice.Host) sluice.SSH { return sluice.SSH{} }
	_, l, err := a.which(ctx, t)
	if err != nil {
		return err
	}
	if l != nil {
		settings = l.Fleet().SSHFor
	}
	hosts, err := namedHosts(l, names)
	if err != nil {
		return err
	}
	return a.interruptible(ctx, func(ctx context.Context) error { return a.enrolAll(ctx, hosts, settings, yes) })
}

func (a *app) enrolAll(ctx context.Context, hosts []sluice.Host, settings func(sluice.Host) sluice.SSH, yes bool) error {
	var fresh []enrolled
	var refused live.Reasons
	err := a.askKeys(ctx, hosts, settings, func(e enrolled) error {
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
	lost, err := a.keep(ctx, fresh, yes)
	if err != nil {
		return err
	}
	a.printRefused(lost)
	if len(refused.All())+len(lost) > 0 {
		return exitError(exitFailures)
	}
	return nil
}

func interrupted() error { return sluice.Errorf(sluice.Contact, "interrupted; nothing was added") }

// askKeys asks the hosts for their keys, some at once, and hands on what came of it in the order of the hosts.
func (a *app) askKeys(ctx context.Context, hosts []sluice.Host, settings func(sluice.Host) sluice.SSH, each func(enrolled) error) error {
	answers := make([]chan enrolled, len(hosts))
	next := make(chan int, len(hosts))
	for i := range hosts {
		answers[i] = make(chan enrolled, 1)
		next <- i
	}
	close(next)
	var asking sync.WaitGroup
	for range min(enrolAtOnce, len(hosts)) {
		asking.Go(func() {
			for i := range next {
				s := settings(hosts[i])
				e := enrolled{host: hosts[i], address: s.Address}
				if e.err = ctx.Err(); e.err == nil {
					e.key, e.err = a.Enrol(ctx, e.host, s)
				}
				answers[i] <- e
			}
		})
	}
	var err error
	for i := range hosts {
		if e := <-answers[i]; err == nil && ctx.Err() == nil {
			err = each(e)
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

func (a *app) printRefused(reasons []*live.Reason) {
	for _, r := range reasons {
		fmt.Fprintf(a.Stderr, "sluice: %s: %s\n", fleet.Fold(r.Hosts), clean.Line(r.Text))
	}
}

// keep adds keys to known_hosts when the person agrees, and returns what went wrong.
func (a *app) keep(ctx context.Context, fresh []enrolled, yes bool) ([]*live.Reason, error) {
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
	var failed live.Reasons
	for _, e := range fresh {
		if err := e.key.Keep(); err != nil {
			failed.Add(e.host, e.address, err.Error())
		}
	}
	return failed.All(), nil
}
