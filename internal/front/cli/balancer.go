package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/balance"
	"sluice/internal/core/document"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

// Balancers are what is done at balancers from this machine, by the rules by which deploys do it.
type Balancers interface {
	// Look reads how a pool is.
	Look(ctx context.Context, b sluice.Balancing) (sluice.BalancedPool, error)
	// Change has servers be as wanted. say is told of what happens; with changed, it is for the record.
	Change(ctx context.Context, of []sluice.Balancing, wanted sluice.ServerState, l BalancerLimits, say func(text string, changed *sluice.BalancerChanged)) error
}

// BalancerLimits bound the waiting: for a pool that cannot do without a server yet, and for requests in flight.
type BalancerLimits struct{ Room, Drain time.Duration }

// balancerFlags say which balancers are meant, and how they are reached.
type balancerFlags struct {
	target         targetFlags
	secrets        secretFlags
	balancer, pool string
}

func (f *balancerFlags) add(c *cobra.Command) {
	f.target.addFleet(c)
	f.secrets.addHere(c)
	f.secrets.none()
	c.Flags().StringVar(&f.pool, "pool", "", "only this `pool`")
}

func (a *app) balancerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "balancer",
		Short: "Show balancers, and take servers out and put them back by hand",
		Long: `Show the load balancers that the fleet file names, and take servers out of them
or put them back by hand, by the rules that deploys keep. It is done from this
machine, with your own ssh; who did it, when and why is in the journal here.`,
		Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.balancerShow(),
		a.balancerChange("drain", sluice.ServerDraining, "Take servers out of their pools, and wait for requests in flight",
			`Have balancers send no new requests to servers, and wait for those in flight.
A pool never falls under the minimum that the fleet file says: it is waited
until it can do without the server, up to --room. All servers go out, or those
that did are put back. Ctrl-C puts them back, too.`),
		a.balancerChange("return", sluice.ServerUp, "Put servers back into their pools",
			`Have balancers send requests to servers again, and wait until each shows them
up; one that checks its servers does so when its own checks pass.`),
		a.balancerChange("maintenance", sluice.ServerMaintenance, "Take servers out of their pools for maintenance",
			`The same as drain, in the balancer's own state for work on a server: haproxy
stops its checks and sends it nothing at all, also not what belongs to sessions
that it has. Balancers without such a state drain.`))
	return c
}

func (a *app) balancerShow() *cobra.Command {
	var f balancerFlags
	c := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show the servers of balancers as they are now",
		Args:  args(0, 1, "the name of a balancer, or nothing"),
		RunE: func(c *cobra.Command, names []string) error {
			if len(names) > 0 {
				f.balancer = names[0]
			}
			return a.atBalancers(c.Context(), &f, func(ctx context.Context, _ sluice.Namespace, at Balancers, pools []sluice.Balancing) error {
				return a.showPools(ctx, at, pools)
			})
		},
	}
	f.add(c)
	return c
}

// atBalancers calls do with the pools that are meant, and the way to them.
func (a *app) atBalancers(ctx context.Context, f *balancerFlags, do func(context.Context, sluice.Namespace, Balancers, []sluice.Balancing) error) error {
	if a.elsewhere() {
		return sluice.Errorf(sluice.Usage, "what is done at balancers by hand is done from this machine, not by the server %s", a.chosen.URL).
			WithHint("--server local, and -f FLEET.yaml: it is in the journal of this machine then")
	}
	if a.fleetFile(f.target) == "" {
		return sluice.Errorf(sluice.Usage, "which balancers there are is said by a fleet file").WithHint("-f FLEET.yaml, with a section balancer")
	}
	ns, l, err := a.which(ctx, f.target)
	if err != nil {
		return err
	}
	pools, err := f.pools(l.Fleet())
	if err != nil {
		return err
	}
	secrets, err := a.secrets(f.secrets)
	if err != nil {
		return err
	}
	at, closing, err := a.Balancers(secrets)
	if err != nil {
		return err
	}
	err = a.interruptible(ctx, func(ctx context.Context) error { return do(ctx, ns, at, pools) })
	return errors.Join(err, closing())
}

// pools are those that are meant.
func (f *balancerFlags) pools(of *sluice.Fleet) (out []sluice.Balancing, err error) {
	var names, known []string
	for _, b := range of.Balancers {
		names = append(names, b.Name)
		if f.balancer != "" && b.Name != f.balancer {
			continue
		}
		for _, p := range b.Pools {
			known = append(known, p.Name)
			if f.pool == "" || p.Name == f.pool {
				var ssh sluice.SSH
				if b.On != "" {
					ssh = of.SSHFor(b.On)
				}
				at, _ := b.In(p.Name, ssh)
				out = append(out, at)
			}
		}
	}
	switch {
	case len(names) == 0:
		return nil, sluice.Errorf(sluice.Usage, "the fleet has no balancers").WithHint("the section balancer of a fleet file names them")
	case f.balancer != "" && !slices.Contains(names, f.balancer):
		return nil, unknownWord("the fleet has no balancer %q", f.balancer, names)
	case len(out) == 0:
		return nil, unknownWord("there is no pool %q", f.pool, known)
	}
	return out, nil
}

// unknownWord says that there is no such thing, and what was probably meant.
func unknownWord(format, word string, known []string) error {
	e := sluice.Errorf(sluice.NotFound, format, word)
	if e.Hint = document.DidYouMean("", word, known); e.Hint == "" && len(known) > 0 {
		e.Hint = "sluice balancer show"
	}
	return e
}

// poolLine is a pool as JSON.
type poolLine struct {
	Balancer string                  `json:"balancer"`
	Driver   string                  `json:"driver"`
	Address  string                  `json:"address"`
	On       sluice.Host             `json:"on,omitzero"`
	Pool     string                  `json:"pool"`
	Up       int                     `json:"up"`    // that get requests
	Least    int                     `json:"least"` // that must
	Of       int                     `json:"of"`
	Servers  []sluice.BalancedServer `json:"servers"`
	Error    string                  `json:"error,omitzero"` // why it cannot be read
}

// showPools shows pools as they are. One that cannot be read keeps no other from being shown.
func (a *app) showPools(ctx context.Context, at Balancers, pools []sluice.Balancing) error {
	failed := false
	last := ""
	for _, b := range pools {
		pool, err := at.Look(ctx, b)
		if ctx.Err() != nil {
			return interruptedHere("nothing was changed")
		}
		failed = failed || err != nil
		counted := balance.MayTakeOut(pool, "", b.Least)
		switch {
		case a.json():
			line := poolLine{b.Name, b.Driver, b.At, b.On, b.Pool, counted.Up, counted.Least, counted.Of, pool.Servers, ""}
			if err != nil {
				line.Error = clean.Line(err.Error())
			}
			if err := a.printJSON(line); err != nil {
				return err
			}
		case err != nil:
			a.complain(err)
		default:
			if b.Name != last {
				fmt.Fprintf(a.Stdout, "%s: %s %s%s\n", b.Name, b.Driver, clean.Line(b.At), on(b))
			}
			last = b.Name
			a.printPool(b, pool, counted)
		}
	}
	if failed {
		return exitError(exitFailures)
	}
	return nil
}

func on(b sluice.Balancing) string {
	if b.On == "" {
		return ""
	}
	return " on " + string(b.On)
}

func (a *app) printPool(b sluice.Balancing, pool sluice.BalancedPool, counted balance.Permission) {
	fmt.Fprintf(a.Stdout, "  %s: %d of %s up, and %d must be\n", clean.Line(b.Pool), counted.Up, count(counted.Of, "server"), counted.Least)
	wide := 10
	for _, s := range pool.Servers {
		wide = max(wide, utf8.RuneCountInString(clean.Line(s.Name))) // as it is shown
	}
	for _, s := range pool.Servers {
		state := string(s.State)
		if s.State == sluice.ServerUp && s.Weight == 0 {
			state = "weight 0"
		}
		if s.Backup {
			state += ", backup"
		}
		flight := "-"
		if s.InFlight >= 0 {
			flight = strconv.Itoa(s.InFlight)
		}
		fmt.Fprintf(a.Stdout, "    %-*s %-14s %5s in flight  %s\n", wide, clean.Line(s.Name), state, flight, clean.Line(s.Address))
	}
}

func (a *app) balancerChange(verb string, wanted sluice.ServerState, short, long string) *cobra.Command {
	var f balancerFlags
	var reason string
	l := BalancerLimits{Room: 10 * time.Minute, Drain: 30 * time.Second}
	c := &cobra.Command{
		Use:     verb + " SERVER... --reason TEXT",
		Short:   short,
		Long:    long,
		Example: "  sluice balancer " + verb + " web1 --reason 'new disk'",
		Args:    args(1, -1, "servers, as balancers call them"),
		RunE: func(c *cobra.Command, servers []string) error {
			return a.atBalancers(c.Context(), &f, func(ctx context.Context, ns sluice.Namespace, at Balancers, pools []sluice.Balancing) error {
				seats, err := findSeats(ctx, at, pools, servers)
				if err != nil {
					return err
				}
				return a.onJournal(ctx, func(svc control.Desk) error { return a.changeSeats(ctx, svc, ns, at, seats, wanted, l, reason) })
			})
		},
	}
	f.add(c)
	needReason(c, &reason)
	c.Flags().StringVar(&f.balancer, "balancer", "", "only the balancer of this `name`")
	if wanted != sluice.ServerUp {
		c.Flags().DurationVar(&l.Drain, "limit", l.Drain, "`time` for requests in flight; what is left then is cut")
		c.Flags().DurationVar(&l.Room, "room", l.Room, "`time` for a pool to be able to do without a server")
	}
	return c
}

// findSeats finds servers in pools: everywhere where they are. Where a pool cannot be read nobody knows that.
func findSeats(ctx context.Context, at Balancers, pools []sluice.Balancing, servers []string) (out []sluice.Balancing, err error) {
	found := map[string]bool{}
	var known []string
	for _, b := range pools {
		pool, err := at.Look(ctx, b)
		if ctx.Err() != nil {
			return nil, interruptedHere("nothing was changed")
		}
		if err != nil {
			e := &sluice.Error{Code: cmp.Or(sluice.CodeOf(err), sluice.Config), Text: "nobody knows who is where, so nothing was changed", Err: err}
			return nil, e.WithHint("--balancer NAME and --pool POOL leave others out")
		}
		for _, s := range pool.Servers {
			known = append(known, s.Name)
			if slices.Contains(servers, s.Name) {
				found[s.Name] = true
				b.Server = s.Name
				out = append(out, b)
			}
		}
	}
	for _, s := range servers {
		if !found[s] {
			return nil, unknownWord("no pool has a server %q", s, known)
		}
	}
	return out, nil
}

// changeSeats notes what is asked for, has it done, and notes what came of it.
func (a *app) changeSeats(ctx context.Context, svc control.Desk, ns sluice.Namespace, at Balancers, seats []sluice.Balancing, wanted sluice.ServerState, l BalancerLimits, reason string) error {
	asked := sluice.BalancerAsked{Wanted: wanted, Reason: reason}
	for _, b := range seats {
		asked.Seats = append(asked.Seats, sluice.BalancerSeat{Balancer: b.Name, Pool: b.Pool, Server: b.Server})
	}
	note := func(ctx context.Context, b sluice.Body) error {
		events, err := svc.Balanced(ctx, ns, b)
		if err == nil && a.json() {
			err = a.printEvents(events)
		}
		return err
	}
	if err := note(ctx, asked); err != nil {
		return err
	}
	var noted error
	stuck := false // nobody saw up again what was taken out
	err := at.Change(ctx, seats, wanted, l, func(text string, changed *sluice.BalancerChanged) {
		switch {
		case changed == nil && !a.json():
			fmt.Fprintf(a.Stderr, "%s\n", clean.Line(text))
		case changed != nil: // it was done, whoever wants no more of it
			stuck = stuck || changed.Wanted == sluice.ServerUp && changed.State != sluice.ServerUp
			noted = errors.Join(noted, note(context.WithoutCancel(ctx), *changed))
			if !a.json() {
				fmt.Fprintf(a.Stdout, "%s\n", clean.Line(balance.Told(*changed)))
			}
		}
	})
	switch {
	case noted != nil:
		return &sluice.Error{Code: sluice.Contact, Text: "what was done is not all in the journal", Err: errors.Join(noted, err)}
	case err == nil:
		return nil
	case ctx.Err() != nil && wanted == sluice.ServerUp:
		return interruptedHere("who is back is shown by sluice balancer show")
	case ctx.Err() != nil && stuck:
		return interruptedHere("not all that this took out was seen up again: see sluice balancer show")
	case ctx.Err() != nil:
		return interruptedHere("what this took out was put back")
	}
	a.complain(err)
	return exitError(exitFailures)
}

func interruptedHere(what string) error {
	return sluice.Errorf(sluice.Contact, "interrupted; %s", what)
}
