package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sluice"
	"sluice/internal/core/fleet"
	"sluice/internal/core/schedule"
	"sluice/internal/front/clean"
	"sluice/internal/run/control"
)

func (a *app) hostCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Hold, release, retire, list and enrol hosts",
		Args:  noSuchCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		a.hostAct(control.Hold, "Take hosts out of service: nothing starts on them, and they keep their places", "Holding %s.\nNext: sluice host release %[1]s --reason TEXT"),
		a.hostAct(control.Release, "Put hosts back into service, whatever their last outcome was", "Released %s."),
		a.hostAct(control.Retire, "Say that hosts are gone for good: no targets, no members, no holders", "Retired %s."),
		a.hostAct(control.Return, "Take retired hosts back into the fleet", "Returned %s."),
		a.hostList(), a.hostEnrol())
	return c
}

func (a *app) hostAct(act control.HostAct, shortText, said string) *cobra.Command {
	var n namespaceFlags
	var reason string
	c := &cobra.Command{
		Use:   string(act) + " HOST... --reason TEXT",
		Short: shortText,
		Args:  args(1, -1, "hosts"),
		RunE: func(c *cobra.Command, names []string) error {
			ns, l, err := a.which(n)
			if err != nil {
				return err
			}
			hosts, err := namedHosts(l, names)
			if err != nil {
				return err
			}
			svc, closing, err := a.service(c.Context())
			if err != nil {
				return err
			}
			defer closing()
			events, err := svc.ChangeHosts(c.Context(), ns, act, hosts, reason)
			if err != nil {
				return err
			}
			if a.json() {
				for _, e := range events {
					if err := a.printJSON(e); err != nil {
						return err
					}
				}
				return nil
			}
			fmt.Fprintf(a.Stdout, said+"\n", fleet.Fold(hosts))
			return nil
		},
	}
	n.add(c)
	needReason(c, &reason)
	return c
}

// hostLine is a host that is out of service, as JSON.
type hostLine struct {
	Host   sluice.Host  `json:"host"`
	Why    string       `json:"why"`
	Job    sluice.JobID `json:"job,omitzero"`
	Since  time.Time    `json:"since"`
	By     string       `json:"by,omitzero"`
	Reason string       `json:"reason,omitzero"`
}

func (a *app) hostList() *cobra.Command {
	var n namespaceFlags
	var out bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List hosts of the fleet; with --out those that are out of service, and why",
		Args:  args(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			ns, l, err := a.which(n)
			if err != nil {
				return err
			}
			svc, closing, err := a.service(c.Context())
			if err != nil {
				return err
			}
			defer closing()
			infos, err := svc.Out(c.Context(), ns)
			if err != nil {
				return err
			}
			if !out && l != nil {
				return a.listAll(l.Fleet(), infos)
			}
			return a.listOut(infos)
		},
	}
	n.add(c)
	c.Flags().BoolVar(&out, "out", false, "only hosts that are out of service or retired")
	return c
}

// listAll lists every host of the fleet with its state.
func (a *app) listAll(f *sluice.Fleet, infos []schedule.HostInfo) error {
	at := map[sluice.Host]schedule.HostInfo{}
	for _, i := range infos {
		at[i.Host] = i
	}
	for _, h := range f.Hosts {
		i, out := at[h]
		if !out {
			i = schedule.HostInfo{Holder: schedule.Holder{Host: h, Why: "in service"}}
		}
		if a.json() {
			if err := a.printJSON(hostLine{h, i.Why, i.Job, i.Since.UTC(), i.By, i.Reason}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.Stdout, "%-30s %s\n", h, i.Why)
	}
	return nil
}

func (a *app) listOut(infos []schedule.HostInfo) error {
	if len(infos) == 0 && !a.json() {
		fmt.Fprintln(a.Stderr, "No host is out of service.")
		return nil
	}
	for k, i := range infos {
		if a.json() {
			if err := a.printJSON(hostLine{i.Host, i.Why, i.Job, i.Since.UTC(), i.By, i.Reason}); err != nil {
				return err
			}
			continue
		}
		if k == 0 {
			fmt.Fprintf(a.Stdout, "%-24s  %-12s  %-12s  %-10s  %s\n", "HOST", "WHY", "JOB", "FOR", "REASON")
		}
		text := i.Reason
		if i.By != "" {
			text = i.By + ": " + text
		}
		fmt.Fprintf(a.Stdout, "%-24s  %-12s  %-12s  %-10s  %s\n", i.Host, i.Why, i.Job, ago(i.Since, a.Clock()), clean.Line(text))
	}
	return nil
}

func (a *app) hostEnrol() *cobra.Command {
	var t targetFlags
	var yes bool
	c := &cobra.Command{
		Use:   "enrol HOST...",
		Short: "Learn and show the keys of hosts, and add them to known_hosts",
		Long: `Ask hosts for their keys, show the fingerprints, and add them to known_hosts. Compare the fingerprints with what the
console of the host says: whoever is in the middle now stays there. A key that differs from a known one is never replaced.`,
		Args: args(1, -1, "hosts"),
		RunE: func(c *cobra.Command, names []string) error { return a.enrol(c, t, names, yes) },
	}
	t.addFleet(c)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "add them without being asked")
	return c
}

func (a *app) enrol(c *cobra.Command, t targetFlags, names []string, yes bool) error {
	settings := func(sluice.Host) sluice.SSH { return sluice.SSH{} }
	var l *fleet.Loaded
	if t.file != "" || a.Env("SLUICE_FLEET") != "" || a.DefaultFleet != "" {
		var err error
		if l, err = a.loadFleet(t, ""); err != nil {
			return err
		}
		settings = l.Fleet().SSHFor
	}
	hosts, err := namedHosts(l, names)
	if err != nil {
		return err
	}
	var keys []HostKey
	failed := false
	for _, h := range hosts {
		k, err := a.Enrol(c.Context(), h, settings(h))
		if err != nil {
			failed = true
			fmt.Fprintf(a.Stderr, "sluice: %s: %v\n", h, err)
			continue
		}
		state := "new"
		if k.Known {
			state = "known"
		} else {
			keys = append(keys, k)
		}
		if a.json() {
			if err := a.printJSON(map[string]any{"host": h, "address": k.Address, "type": k.Type, "fingerprint": k.Fingerprint, "state": state}); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(a.Stdout, "%-24s %-8s %-20s %s\n", h, state, k.Type, k.Fingerprint)
		}
	}
	if err := a.keep(keys, yes); err != nil {
		return err
	}
	if failed {
		return exitError(exitFailures)
	}
	return nil
}

// keep adds keys to known_hosts, when the person agrees.
func (a *app) keep(keys []HostKey, yes bool) error {
	if len(keys) == 0 {
		return nil
	}
	if !yes {
		if a.Confirm == nil {
			return sluice.Errorf(sluice.Usage, "%s not added", count(len(keys), "new key")).WithHint("--yes adds them without being asked")
		}
		answer, err := a.Confirm(fmt.Sprintf("Add %s to known_hosts? [y/N] ", count(len(keys), "key")))
		if err != nil {
			return err
		}
		if answer != "y" && answer != "yes" {
			return sluice.Errorf(sluice.Usage, "nothing was added")
		}
	}
	for _, k := range keys {
		if err := k.Keep(); err != nil {
			return err
		}
	}
	return nil
}
