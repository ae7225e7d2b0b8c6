package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/run/control"
)

// targetFlags say which fleet and which hosts.
type targetFlags struct {
	file, namespace, expression, hosts string
}

func (t *targetFlags) add(c *cobra.Command) {
	t.addFleet(c)
	c.Flags().StringVarP(&t.expression, "target", "t", "", "target `expression`: tags, globs, and (&), or (,), but not (!)")
	c.Flags().StringVarP(&t.hosts, "hosts", "w", "", "`hosts` by name, such as web[01-20]; needs no fleet file")
}

func (t *targetFlags) addFleet(c *cobra.Command) {
	c.Flags().StringVarP(&t.file, "fleet", "f", "", "fleet `file` (default $SLUICE_FLEET, or that of the server)")
	_ = c.MarkFlagFilename("fleet", "yaml", "yml")
	c.Flags().StringVar(&t.namespace, "namespace", "", "`namespace` (default: that of the fleet file)")
}

// loaded is a fleet and the hosts that are meant.
type loaded struct {
	fleet      *sluice.Fleet
	sent       control.Sent
	resolve    func(string) ([]sluice.Host, error)
	targets    []sluice.Host
	expression string
}

// load reads the fleet and works out the targets.
func (a *app) load(ctx context.Context, t targetFlags) (*loaded, error) {
	expression := t.expression
	switch {
	case expression != "" && t.hosts != "":
		return nil, sluice.Errorf(sluice.Usage, "-t and -w both say which hosts; one of them is enough")
	case expression == "" && t.hosts == "":
		return nil, sluice.Errorf(sluice.Usage, "no hosts are meant").
			WithHint("-t EXPRESSION or -w HOSTS says which; -t all means every host of the fleet")
	case expression == "":
		expression = t.hosts
	}
	l, sent, err := a.loadFleet(ctx, t)
	if err != nil {
		return nil, err
	}
	adhoc := l == nil
	if adhoc {
		if l, err = fleet.Adhoc(expression); err != nil {
			return nil, err
		}
	}
	targets, err := l.Resolve(expression)
	if err != nil {
		return nil, err
	}
	f := l.Fleet()
	switch ns := sluice.Namespace(t.namespace); {
	case ns == "" || f.Namespace == ns:
	case !adhoc:
		return nil, sluice.Errorf(sluice.Usage, "--namespace: the fleet is for %s, not for %s", f.Namespace, ns)
	default:
		named := *f
		named.Namespace = ns
		f = &named
	}
	return &loaded{fleet: f, sent: sent, resolve: l.Resolve, targets: targets, expression: expression}, nil
}

// fleetFile is the fleet file that is named, "" if none is. One that is merely there counts where there is no server: a
// server has a fleet of its own.
func (a *app) fleetFile(t targetFlags) string {
	if t.file != "" {
		return t.file
	}
	if file := a.Env("SLUICE_FLEET"); file != "" {
		return file
	}
	if a.elsewhere() {
		return ""
	}
	return a.DefaultFleet
}

// loadFleet reads the fleet file, or else the fleet that was applied on the server. It returns nil where there is neither
// and the hosts are named: then the names are the fleet.
func (a *app) loadFleet(ctx context.Context, t targetFlags) (*fleet.Loaded, control.Sent, error) {
	file := a.fleetFile(t)
	switch {
	case file != "" && a.elsewhere():
		return a.recorded(file)
	case file != "":
		l, err := fleet.Load(a.Fleets, file)
		return l, control.Sent{}, err
	case a.elsewhere():
		l, sent, err := a.appliedFleet(ctx, a.namespace(t))
		if l != nil || err != nil || t.hosts != "" {
			return l, sent, err
		}
		return nil, sent, sluice.Errorf(sluice.Usage, "the server has no fleet in the namespace %s", a.namespace(t)).
			WithHint("sluice fleet apply -f FLEET.yaml puts one there; -w HOSTS needs none")
	case t.hosts != "":
		return nil, control.Sent{}, nil
	}
	return nil, control.Sent{}, sluice.Errorf(sluice.Usage, "a target expression needs a fleet").WithHint("-f FLEET.yaml, or -w HOSTS without one")
}

// recorded loads a fleet file as a server does: with what it is made of and nothing else.
func (a *app) recorded(file string) (*fleet.Loaded, control.Sent, error) {
	rec := fleet.Record(a.Fleets)
	if _, err := fleet.Load(rec, file); err != nil { // its mistakes have places as they are called here
		return nil, control.Sent{}, err
	}
	b, err := rec.Bundle(file)
	if err != nil {
		return nil, control.Sent{}, err
	}
	l, err := b.Load()
	return l, control.Sent{Bundle: &b}, err
}

// appliedFleet is the fleet that was applied, nil if none was.
func (a *app) appliedFleet(ctx context.Context, ns sluice.Namespace) (l *fleet.Loaded, sent control.Sent, err error) {
	err = a.onJournal(ctx, func(svc control.Desk) error {
		var v control.Applied
		if l, v, err = svc.Fleet(ctx, ns); err != nil {
			return err
		}
		sent.Digest = v.Bundle
		return nil
	})
	if sluice.CodeOf(err) == sluice.NotFound {
		return nil, sent, nil
	}
	return l, sent, err
}

// namespace is the one that is named, or the one that is meant where none is.
func (a *app) namespace(t targetFlags) sluice.Namespace {
	if t.namespace != "" {
		return sluice.Namespace(t.namespace)
	}
	return sluice.DefaultNamespace
}

// which returns the namespace for commands on hosts, and the fleet if there is one.
func (a *app) which(ctx context.Context, t targetFlags) (sluice.Namespace, *fleet.Loaded, error) {
	ns, l, _, err := a.whichFleet(ctx, t)
	return ns, l, err
}

// whichFleet is which, with what is to go to a server along with it.
func (a *app) whichFleet(ctx context.Context, t targetFlags) (sluice.Namespace, *fleet.Loaded, control.Sent, error) {
	if a.fleetFile(t) == "" {
		if !a.elsewhere() {
			return a.namespace(t), nil, control.Sent{}, nil
		}
		l, sent, err := a.appliedFleet(ctx, a.namespace(t))
		return a.namespace(t), l, sent, err
	}
	l, sent, err := a.loadFleet(ctx, t)
	if err != nil {
		return "", nil, sent, err
	}
	if t.namespace != "" {
		return sluice.Namespace(t.namespace), l, sent, nil
	}
	return l.Fleet().Namespace, l, sent, nil
}

// namedHosts reads host names and globs from the command line. With a fleet, unknown names are errors.
func namedHosts(l *fleet.Loaded, names []string) ([]sluice.Host, error) {
	var out []sluice.Host
	for _, name := range names {
		var hosts []sluice.Host
		var err error
		if l != nil {
			hosts, err = l.Resolve(name)
		} else {
			hosts, err = fleet.Expand(name)
		}
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			if !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out, nil
}
