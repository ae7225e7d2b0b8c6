package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
)

// targetFlags say which fleet and which hosts.
type targetFlags struct {
	file, expression, hosts string
}

func (t *targetFlags) add(c *cobra.Command) {
	t.addFleet(c)
	c.Flags().StringVarP(&t.expression, "target", "t", "", "target `expression`: tags, globs, and (&), or (,), but not (!)")
	c.Flags().StringVarP(&t.hosts, "hosts", "w", "", "`hosts` by name, such as web[01-20]; needs no fleet file")
}

func (t *targetFlags) addFleet(c *cobra.Command) {
	c.Flags().StringVarP(&t.file, "fleet", "f", "", "fleet `file` (default $SLUICE_FLEET)")
	_ = c.MarkFlagFilename("fleet", "yaml", "yml")
}

// loaded is a fleet and the hosts that are meant.
type loaded struct {
	fleet      *sluice.Fleet
	resolve    func(string) ([]sluice.Host, error)
	targets    []sluice.Host
	expression string
}

// load reads the fleet and works out the targets.
func (a *app) load(t targetFlags) (*loaded, error) {
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
	l, err := a.loadFleet(t, expression)
	if err != nil {
		return nil, err
	}
	targets, err := l.Resolve(expression)
	if err != nil {
		return nil, err
	}
	return &loaded{fleet: l.Fleet(), resolve: l.Resolve, targets: targets, expression: expression}, nil
}

// loadFleet reads the fleet file; with -w and without a file, the names are the fleet.
func (a *app) loadFleet(t targetFlags, expression string) (*fleet.Loaded, error) {
	file := t.file
	if file == "" {
		file = a.Env("SLUICE_FLEET")
	}
	if file == "" {
		file = a.DefaultFleet
	}
	if file == "" && t.hosts != "" {
		return fleet.Adhoc(expression)
	}
	if file == "" {
		return nil, sluice.Errorf(sluice.Usage, "a target expression needs a fleet").WithHint("-f FLEET.yaml, or -w HOSTS without one")
	}
	return fleet.Load(a.Fleets, file)
}

// namespaceFlags say which namespace, for commands on hosts.
type namespaceFlags struct {
	targetFlags
	namespace string
}

func (n *namespaceFlags) add(c *cobra.Command) {
	n.addFleet(c)
	c.Flags().StringVar(&n.namespace, "namespace", "", "`namespace` (default: that of the fleet file)")
}

// which returns the namespace, and the fleet if one is named.
func (a *app) which(n namespaceFlags) (sluice.Namespace, *fleet.Loaded, error) {
	if n.file == "" && a.Env("SLUICE_FLEET") == "" && a.DefaultFleet == "" {
		if n.namespace != "" {
			return sluice.Namespace(n.namespace), nil, nil
		}
		return sluice.DefaultNamespace, nil, nil
	}
	l, err := a.loadFleet(n.targetFlags, "")
	if err != nil {
		return "", nil, err
	}
	if n.namespace != "" {
		return sluice.Namespace(n.namespace), l, nil
	}
	return l.Fleet().Namespace, l, nil
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
